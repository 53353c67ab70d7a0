/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MANIFEST after the other, each served to its end: the tree is found (the record's, or a delta on it, or
 * sent whole after TREE), compared with the workspace, and what is too much is removed. Content that is
 * lacking is taken from the store, then from the archive that came with the offer, and what is lacking still
 * is asked for by NEED; SYNCED. An archive that ends early (the tree changed while it was sent), or content
 * that is not what was announced -> RESEND; what arrived and was right stays. Anything else -> FAIL, and the
 * end.
 * Killed at any moment, it leaves files that are whole. The record of the last tree stays true meanwhile,
 * since it vouches for a file only as long as stat(2) gives what it gave then.
 */
#include "sync/there/receive.h"

#include "common/auto.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/message.h"
#include "sync/beneath.h"
#include "sync/there/intake.h"
#include "sync/there/unpack.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define IDLE_MS     200 /* nothing comes for so long: time to tidy the store */
#define STORE_LIMIT (4ull << 30)

struct receiver {
    struct pt_frames frames;
    const char *cache;
    char *folder; /* the workspace: tree, tmp, record, lock */
    char *record_path;
    int tree, temp;
    struct pt_record record;
    struct pt_survey survey;
    bool surveyed;
    struct pt_store *store; /* opened when content is lacking */
    uint8_t store_algorithm;
    bool stored;             /* an archive since the store was last tidied */
    struct pt_err storeless; /* why it is not kept, to be told once the tree is there; "" when it is */
};

/* One tree on its way. */
struct passage {
    struct receiver *r;
    struct pt_offer offer;
    struct pt_manifest *sent; /* the tree when it was sent, else NULL */
    struct pt_site site;
    struct pt_diff diff;
    struct pt_placer *placer;
    struct pt_synced figures;
    int64_t began;
};

enum served { SERVED_END = 0, SERVED_ONE = 1 };

/* --- answers --- */

static int answer_bytes(struct receiver *r, uint8_t type, const void *data, size_t n, struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    pt_buf_append(&b, data, n);
    pt_frame_end(&b, mark);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

static int answer_need(struct receiver *r, uint32_t blobs, const unsigned char *bits, struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_NEED);
    pt_put_u32(&b, blobs);
    pt_put_bytes(&b, bits, ((size_t)blobs + 7) / 8);
    pt_frame_end(&b, mark);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

static int answer_text(struct receiver *r, uint8_t type, int first, const struct pt_err *text,
                       struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    if (first >= 0)
        pt_put_u8(&b, (uint8_t)first);
    pt_put_str(&b, text->msg);
    if (type == PT_C_FAIL)
        pt_put_str(&b, text->hint);
    pt_frame_end(&b, mark);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

static int answer_synced(struct receiver *r, const struct pt_synced *figures, struct pt_err *err)
{
    struct pt_buf b = {0};
    if (r->storeless.msg[0] && answer_text(r, PT_C_LOG, PT_LOG_WARN, &r->storeless, err) < 0)
        return -1;
    r->storeless = PT_ERR_INIT;
    pt_synced_encode(figures, &b);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

/* A host without room for the tree itself tells that alone. */
static void warn(void *arg, const struct pt_err *why)
{
    struct receiver *r = arg;
    r->storeless = *why;
    pt_err_wrap(&r->storeless, "what is sent now is not kept on the host");
}

/* --- what is there --- */

static int survey(struct receiver *r, struct pt_err *err)
{
    if (r->surveyed)
        return 0;
    pt_survey_fini(&r->survey);
    if (fchmod(r->tree, 0700) < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "%s/tree: %s", r->folder, strerror(errno));
    if (pt_survey_take(&r->survey, r->tree, r->folder, err) < 0)
        return -1;
    r->surveyed = true;
    return 0;
}

static void open_store(struct receiver *r, uint8_t algorithm)
{
    struct pt_err err = PT_ERR_INIT;
    if (r->store_algorithm == algorithm)
        return;
    pt_store_close(r->store);
    r->store_algorithm = algorithm;
    r->store = pt_store_open(r->cache, algorithm, &err);
    if (!r->store)
        warn(r, &err);
}

static bool has_root(const struct pt_manifest *m, const struct pt_offer *offer)
{
    return m && pt_manifest_algorithm(m) == offer->algorithm &&
           memcmp(pt_manifest_root(m), offer->root, PT_DIGEST) == 0;
}

/* --- which tree --- */

/* It is not known here: it comes whole, without the archive that was made for what is known. */
static int ask_for_tree(struct passage *p, struct pt_err *err)
{
    struct pt_frames *f = &p->r->frames;
    if (answer_bytes(p->r, PT_C_TREE, "\1", 1, err) < 0 ||
        (p->offer.archive && pt_intake_drop(f, PT_B_ARCHIVE, err) < 0))
        return -1;
    p->offer.archive = false;
    p->sent = pt_intake_manifest(f, err);
    return p->sent ? 0 : -1;
}

static int find_tree(struct passage *p, struct pt_err *err)
{
    struct pt_frames *f = &p->r->frames;
    const struct pt_manifest *last = p->r->record.manifest;
    int rc = 0;
    if (has_root(last, &p->offer)) {
        p->site.target = last;
        return p->offer.how == PT_OFFER_ROOT
                   ? 0
                   : pt_intake_drop(f, p->offer.how == PT_OFFER_DELTA ? PT_B_DELTA : PT_B_MANIFEST, err);
    }
    if (p->offer.how == PT_OFFER_WHOLE)
        rc = (p->sent = pt_intake_manifest(f, err)) ? 1 : -1;
    else if (p->offer.how == PT_OFFER_DELTA)
        rc = pt_intake_delta(f, last, &p->sent, err);
    if (rc == 0)
        rc = ask_for_tree(p, err);
    if (rc >= 0 && !has_root(p->sent, &p->offer))
        rc = pt_err_set_kind(err, PT_ERR_INFRA, "the manifest is not the one that was announced");
    p->site.target = p->sent;
    return rc < 0 ? -1 : 0;
}

/* --- content --- */

static int next_segment(void *arg, struct pt_segment *out, struct pt_err *err)
{
    struct receiver *r = arg;
    return pt_intake_segment(&r->frames, out, err);
}

/* Whether the store lacks one of the blobs whose bits are set. */
static bool is_news(const struct passage *p, const unsigned char *bits)
{
    for (uint32_t i = 0, n = pt_manifest_blobs(p->site.target); i < n; i++) {
        if (!(bits[i / 8] >> (i % 8) & 1))
            continue;
        struct pt_blob b = pt_manifest_blob(p->site.target, i);
        if (!pt_store_has(p->r->store, b.digest, b.size))
            return true;
    }
    return false;
}

/* As pt_unpack_archive. */
static int take_archive(struct passage *p, const unsigned char *expected, struct pt_err *err)
{
    struct receiver *r = p->r;
    struct pt_unpack u = {.manifest = p->site.target,
                          .expected = expected,
                          .placer = p->placer,
                          .store = is_news(p, expected) ? r->store : NULL,
                          .next = next_segment,
                          .warn = warn,
                          .arg = r};
    if (pt_intake_begin(&r->frames, PT_B_ARCHIVE, err) < 0)
        return -1;
    r->stored = true;
    return pt_unpack_archive(&u, err);
}

/* An archive that came with the offer. */
static int take_announced(struct passage *p, struct pt_err *err)
{
    uint32_t n = p->offer.blobs;
    if (n != pt_manifest_blobs(p->site.target) || (n % 8 && p->offer.sent[n / 8] >> n % 8))
        return pt_err_set_kind(err, PT_ERR_INFRA, "the offer of a tree is malformed");
    open_store(p->r, p->offer.algorithm);
    return take_archive(p, p->offer.sent, err);
}

static int take_needed(struct passage *p, struct pt_err *err)
{
    uint32_t blobs = pt_manifest_blobs(p->site.target);
    pt_auto_free unsigned char *bits = calloc(blobs / 8 + 1, 1);
    if (!bits)
        return pt_err_set(err, "out of memory");
    pt_placer_need(p->placer, bits);
    pt_store_end(p->r->store, NULL);
    if (answer_need(p->r, blobs, bits, err) < 0)
        return -1;
    return take_archive(p, bits, err);
}

/* Everything that is lacking: 0, 1 when it must be sent again (err says why), -1. */
static int fill(struct passage *p, struct pt_err *err)
{
    int rc = 0;
    if (p->diff.local || p->diff.wrong)
        rc = pt_settle(&p->site, err);
    if (rc == 0 && p->diff.wrong && !(p->placer = pt_placer_create(&p->site, &p->figures, err)))
        rc = -1;
    if (rc == 0 && p->placer && pt_placer_lacks(p->placer)) {
        open_store(p->r, p->offer.algorithm);
        rc = pt_placer_restore(p->placer, p->r->store, p->offer.archive ? p->offer.sent : NULL, err);
    }
    if (rc == 0 && p->offer.archive)
        rc = take_announced(p, err);
    if (rc == 0 && p->placer && pt_placer_lacks(p->placer))
        rc = take_needed(p, err);
    return rc;
}

/* --- one tree --- */

/* The record of what the workspace is now. */
static int seal(struct passage *p, struct pt_record *next, struct pt_err *err)
{
    const struct pt_manifest *m = p->site.target;
    *next = (struct pt_record){.stamps = calloc(pt_manifest_count(m) + 1, sizeof(*next->stamps))};
    if (!next->stamps)
        return pt_err_set(err, "out of memory");
    return pt_settle_seal(&p->site, pt_stamp_clock(p->r->folder), next->stamps, err);
}

/* What was sent is what was written last, from now on; kept on disk only after the answer. */
static void remember(struct passage *p, struct pt_record *next)
{
    struct receiver *r = p->r;
    if (p->sent) {
        next->manifest = p->sent;
        p->sent = NULL;
    } else {
        next->manifest = r->record.manifest;
        r->record.manifest = NULL;
    }
    pt_record_fini(&r->record);
    r->record = *next;
    *next = (struct pt_record){0};
    pt_record_save(&r->record, r->record_path); /* else the last one is there, and as true as before */
}

static int apply(struct passage *p, struct pt_err *err)
{
    struct receiver *r = p->r;
    struct pt_record next = {0};
    bool same = !p->sent && !p->diff.local && !p->diff.wrong && !p->diff.reread;
    p->figures.files_right = p->diff.right;
    p->figures.bytes_right = p->diff.right_bytes;
    p->figures.removed = p->diff.extra;
    p->figures.survey_ms = r->survey.ms;
    r->surveyed = false; /* it changes now, or when tests run */
    int rc = fill(p, err);
    if (rc == 0 && !same)
        rc = seal(p, &next, err);
    p->figures.apply_ms = (uint32_t)(pt_now_ms() - p->began);
    if (rc == 0)
        rc = answer_synced(r, &p->figures, err);
    else if (rc > 0)
        rc = answer_text(r, PT_C_RESEND, -1, err, err) < 0 ? -1 : 1;
    if (rc == 0 && !same)
        remember(p, &next);
    pt_store_end(r->store, NULL);
    pt_record_fini(&next);
    return rc < 0 ? -1 : 0;
}

static int serve_tree(struct receiver *r, struct pt_reader *body, struct pt_err *err)
{
    struct passage p = {.r = r, .began = pt_now_ms(), .site.temp = r->temp};
    p.site.present = (struct pt_present){.tree = r->tree, .record = &r->record, .survey = &r->survey};
    p.site.diff = &p.diff;
    int rc = pt_offer_decode(body, &p.offer, err);
    if (rc == 0)
        rc = survey(r, err);
    if (rc == 0)
        rc = find_tree(&p, err);
    if (rc == 0)
        rc = pt_diff_make(&p.diff, p.site.target, &p.site.present, p.offer.keep, p.offer.nkeep, err);
    if (rc == 0)
        rc = apply(&p, err);
    pt_placer_destroy(p.placer);
    pt_diff_fini(&p.diff);
    pt_manifest_destroy(p.sent);
    pt_offer_fini(&p.offer);
    return rc;
}

static void tidy(struct receiver *r)
{
    const struct pt_manifest *m = r->record.manifest;
    if (!r->stored || !pt_frames_idle(&r->frames, IDLE_MS))
        return;
    pt_store_tidy(r->store, STORE_LIMIT + 2 * (m ? pt_manifest_bytes(m) : 0));
    r->stored = false;
}

static int serve_one(struct receiver *r, struct pt_err *err)
{
    uint8_t type;
    struct pt_reader body;
    tidy(r);
    int rc = pt_frames_next(&r->frames, &type, &body, err);
    if (rc <= 0)
        return rc < 0 ? -1 : SERVED_END;
    if (type == PT_C_SURVEY && pt_get_end(&body)) {
        survey(r, NULL); /* an error comes again when it matters */
        return SERVED_ONE;
    }
    if (type != PT_C_MANIFEST)
        return pt_intake_unexpected(type, err);
    return serve_tree(r, &body, err) < 0 ? -1 : SERVED_ONE;
}

/* --- life --- */

static int open_place(struct receiver *r, const char *tree, struct pt_err *err)
{
    const char *slash = strrchr(tree, '/');
    pt_auto_free char *temp = NULL;
    if (!slash || slash == tree)
        return pt_err_set(err, "'%s' is no place for a tree", tree);
    r->folder = strndup(tree, (size_t)(slash - tree));
    if (!r->folder || asprintf(&r->record_path, "%s/record", r->folder) < 0) {
        r->record_path = NULL;
        return pt_err_set(err, "out of memory");
    }
    if (asprintf(&temp, "%s/tmp", r->folder) < 0) {
        temp = NULL;
        return pt_err_set(err, "out of memory");
    }
    r->tree = open(tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    r->temp = open(temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r->tree < 0 || r->temp < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "%s: %s", tree, strerror(errno));
    pt_purge(r->temp); /* of one that was killed; what resists shows when it matters */
    return 0;
}

int pt_receive(int fd, const char *tree, const char *cache, struct pt_err *err)
{
    struct receiver r = {
        .frames = {.fd = fd}, .cache = cache, .tree = -1, .temp = -1, .storeless = PT_ERR_INIT};
    struct pt_err local = PT_ERR_INIT;
    if (!err)
        err = &local;
    umask(0); /* modes are those of the tree */
    int rc = open_place(&r, tree, err);
    if (rc == 0) {
        /* While the master still scans; an error comes again when it matters. */
        pt_record_load(&r.record, r.record_path);
        survey(&r, NULL);
        while ((rc = serve_one(&r, err)) == SERVED_ONE)
            ;
    }
    if (rc < 0)
        answer_text(&r, PT_C_FAIL, PT_STAGE_TREE, err, NULL);
    pt_store_close(r.store);
    pt_frames_fini(&r.frames);
    pt_record_fini(&r.record);
    pt_survey_fini(&r.survey);
    free(r.folder);
    free(r.record_path);
    if (r.tree >= 0)
        close(r.tree);
    if (r.temp >= 0)
        close(r.temp);
    return rc;
}
