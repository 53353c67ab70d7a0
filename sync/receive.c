/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One MANIFEST after the other, each served to its end:
 *   root known and the workspace is that tree, or becomes it without a byte of content -> TREE 0, SYNCED
 *   else TREE 1, the manifest comes, NEED goes out, then what is too much is removed while the archive is on
 * its way; each of its files is checked and renamed into place; SYNCED. The archive ends early (the tree
 * changed while it was sent) -> RESEND; what arrived stays. Anything else -> FAIL, and the end. Killed at any
 * moment, it leaves files that are whole. The record of the last tree stays true meanwhile, since it vouches
 * for a file only as long as stat(2) gives what it gave then.
 */
#include "sync/receive.h"

#include "common/auto.h"
#include "common/message.h"
#include "sync/beneath.h"
#include "sync/compress.h"
#include "sync/diff.h"
#include "sync/frames.h"
#include "sync/unpack.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define MAX_MANIFEST (256u << 20) /* bytes, encoded */

struct receiver {
    struct pt_frames frames;
    struct pt_place place;
    char *folder; /* the workspace: tree, tmp, record, lock */
    char *record_path;
    struct pt_record record;
    struct pt_survey survey;
    bool surveyed;
    uint8_t algorithm;
    unsigned char root[PT_DIGEST];
    uint64_t removed;
};

enum served { SERVED_END = 0, SERVED_ONE = 1 };

/* --- answers --- */

static int answer_tree(struct receiver *r, uint8_t wanted, struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_TREE);
    pt_put_u8(&b, wanted);
    pt_frame_end(&b, mark);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

static int answer_need(struct receiver *r, const struct pt_manifest *m, const struct pt_diff *d,
                       struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t n = pt_manifest_count(m), mark = pt_frame_begin(&b, PT_C_NEED);
    pt_put_u32(&b, (uint32_t)n);
    pt_put_bytes(&b, d->need, (n + 7) / 8);
    pt_frame_end(&b, mark);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

static int answer_synced(struct receiver *r, uint64_t files, uint64_t bytes, uint64_t removed,
                         struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_SYNCED);
    pt_put_u64(&b, files);
    pt_put_u64(&b, bytes);
    pt_put_u64(&b, removed);
    pt_frame_end(&b, mark);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

static int answer_resend(struct receiver *r, const char *why, struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_RESEND);
    pt_put_str(&b, why);
    pt_frame_end(&b, mark);
    int rc = pt_frames_send(&r->frames, &b, err);
    pt_buf_fini(&b);
    return rc;
}

static void answer_fail(struct receiver *r, const struct pt_err *err)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_FAIL);
    pt_put_u8(&b, PT_STAGE_TREE);
    pt_put_str(&b, err->msg);
    pt_put_str(&b, err->hint);
    pt_frame_end(&b, mark);
    pt_frames_send(&r->frames, &b, NULL);
    pt_buf_fini(&b);
}

/* --- the workspace --- */

static int survey(struct receiver *r, struct pt_err *err)
{
    if (r->surveyed)
        return 0;
    pt_record_fini(&r->record);
    pt_survey_fini(&r->survey);
    pt_record_load(&r->record, r->record_path);
    if (pt_survey_take(&r->survey, r->place.tree, err) < 0)
        return -1;
    r->surveyed = true;
    return 0;
}

/* The workspace is the tree now: its modes, and the record of it. */
static int seal(struct receiver *r, const struct pt_manifest *m, struct pt_err *err)
{
    struct pt_record next = {.manifest = (struct pt_manifest *)(uintptr_t)m};
    next.clock_ns = pt_stamp_clock(r->folder);
    next.stamps = calloc(pt_manifest_count(m) + 1, sizeof(*next.stamps));
    if (!next.stamps)
        return pt_err_set(err, "out of memory");
    r->surveyed = false;
    int rc = pt_diff_seal(m, &r->place, next.stamps, err);
    if (rc == 0 && pt_record_save(&next, r->record_path) < 0)
        rc = pt_err_set_kind(err, PT_ERR_INFRA, "cannot write %s: %s", r->record_path, strerror(errno));
    free(next.stamps);
    return rc;
}

/* 1 when the workspace is the tree that was asked for, or could be made so from here. */
static int already_there(struct receiver *r, struct pt_err *err)
{
    const struct pt_manifest *m = r->record.manifest;
    struct pt_diff d = {0};
    if (!m || pt_manifest_algorithm(m) != r->algorithm ||
        memcmp(pt_manifest_root(m), r->root, PT_DIGEST) != 0)
        return 0;
    if (pt_diff_make(&d, m, &r->record, &r->survey, &r->place, err) < 0)
        return -1;
    int rc = d.nneed ? 0 : 1;
    if (rc && (d.local || d.extra) && pt_diff_settle(m, &r->survey, &r->place, err) < 0)
        rc = -1;
    if (rc > 0 && (d.local || d.extra || d.reread) && seal(r, m, err) < 0)
        rc = -1;
    r->removed = d.extra;
    pt_diff_fini(&d);
    return rc;
}

/* --- objects --- */

static int unexpected(uint8_t type, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "the tree: message %u came out of turn or is malformed", type);
}

/* The first frame of an object. */
static int begin(struct receiver *r, uint8_t wanted, struct pt_err *err)
{
    uint8_t type;
    struct pt_reader body;
    int rc = pt_frames_next(&r->frames, &type, &body, err);
    if (rc == 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "the connection ended while the tree was sent");
    if (rc > 0 && (type != wanted || !pt_get_end(&body)))
        return unexpected(type, err);
    return rc < 0 ? -1 : 0;
}

/* The next bytes of an object: how many, 0 at its end. */
static ssize_t next_data(struct receiver *r, const void **data, struct pt_err *err)
{
    uint8_t type;
    struct pt_reader body;
    int rc = pt_frames_next(&r->frames, &type, &body, err);
    if (rc == 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "the connection ended while the tree was sent");
    if (rc < 0)
        return -1;
    if (type == PT_B_END && body.left == 0)
        return 0;
    if (type != PT_B_DATA || body.left == 0)
        return unexpected(type, err);
    *data = body.p;
    return (ssize_t)body.left;
}

static struct pt_manifest *take_manifest(struct receiver *r, struct pt_err *err)
{
    struct pt_buf plain = {0};
    struct pt_manifest *m = NULL;
    struct pt_inflate *z = pt_inflate_create(MAX_MANIFEST, err);
    const void *data;
    ssize_t n = z ? begin(r, PT_B_MANIFEST, err) : -1;
    if (n == 0)
        while ((n = next_data(r, &data, err)) > 0)
            if (pt_inflate_add(z, data, (size_t)n, &plain, err) < 0) {
                n = -1;
                break;
            }
    if (n == 0 && pt_inflate_end(z, err) == 0)
        m = pt_manifest_decode(plain.data, plain.len, err);
    if (m &&
        (pt_manifest_algorithm(m) != r->algorithm || memcmp(pt_manifest_root(m), r->root, PT_DIGEST) != 0)) {
        pt_err_set_kind(err, PT_ERR_INFRA, "the manifest is not the one that was announced");
        pt_manifest_destroy(m);
        m = NULL;
    }
    pt_inflate_destroy(z);
    pt_buf_fini(&plain);
    return m;
}

struct archive_source {
    struct receiver *r;
    struct pt_err *err;
    bool ended;
};

static ssize_t read_archive(void *arg, const void **data)
{
    struct archive_source *s = arg;
    ssize_t n = next_data(s->r, data, s->err);
    s->ended = n == 0;
    return n;
}

static int64_t choose_mtime(void *arg, const struct pt_entry *e)
{
    const struct archive_source *s = arg;
    return pt_diff_mtime(e, &s->r->record, &s->r->survey);
}

/* 0 when it is unpacked, 1 when it ended early. */
static int take_archive(struct receiver *r, const struct pt_manifest *m, const struct pt_diff *d,
                        struct pt_unpack *u, struct pt_err *err)
{
    struct archive_source s = {.r = r, .err = err};
    const void *data;
    *u = (struct pt_unpack){.manifest = m,
                            .need = d->need,
                            .tree = r->place.tree,
                            .temp = r->place.temp,
                            .read = read_archive,
                            .mtime = choose_mtime,
                            .arg = &s};
    if (begin(r, PT_B_ARCHIVE, err) < 0)
        return -1;
    int rc = pt_unpack_archive(u, err);
    while (rc >= 0 && !s.ended)
        if (read_archive(&s, &data) < 0)
            rc = -1;
    return rc;
}

/* --- one tree --- */

static int fetch(struct receiver *r, const struct pt_manifest *m, struct pt_err *err)
{
    struct pt_diff d;
    struct pt_unpack u = {0};
    if (pt_diff_make(&d, m, &r->record, &r->survey, &r->place, err) < 0)
        return -1;
    int rc = answer_need(r, m, &d, err);
    if (rc == 0)
        rc = pt_diff_settle(m, &r->survey, &r->place, err);
    if (rc == 0 && d.nneed)
        rc = take_archive(r, m, &d, &u, err);
    r->surveyed = false;
    if (rc == 0)
        rc = seal(r, m, err);
    if (rc == 0)
        rc = answer_synced(r, u.files, u.bytes, d.extra, err);
    else if (rc > 0)
        rc = answer_resend(r, "the archive ended early", err);
    pt_diff_fini(&d);
    return rc;
}

static int serve_manifest(struct receiver *r, struct pt_err *err)
{
    if (survey(r, err) < 0)
        return -1;
    int there = already_there(r, err);
    if (there < 0)
        return -1;
    if (answer_tree(r, there ? 0 : 1, err) < 0)
        return -1;
    if (there)
        return answer_synced(r, 0, 0, r->removed, err);
    struct pt_manifest *m = take_manifest(r, err);
    int rc = m ? fetch(r, m, err) : -1;
    pt_manifest_destroy(m);
    return rc;
}

static int serve_one(struct receiver *r, struct pt_err *err)
{
    uint8_t type;
    struct pt_reader body;
    int rc = pt_frames_next(&r->frames, &type, &body, err);
    if (rc <= 0)
        return rc < 0 ? -1 : SERVED_END;
    r->algorithm = pt_get_u8(&body);
    const void *root = pt_get_raw(&body, PT_DIGEST);
    if (type != PT_C_MANIFEST || !pt_get_end(&body))
        return unexpected(type, err);
    memcpy(r->root, root, PT_DIGEST);
    return serve_manifest(r, err) < 0 ? -1 : SERVED_ONE;
}

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
    r->place.tree = open(tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    r->place.temp = open(temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (r->place.tree < 0 || r->place.temp < 0 || fchmod(r->place.tree, 0700) < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "%s: %s", tree, strerror(errno));
    pt_purge(r->place.temp); /* of one that was killed; what resists shows when it matters */
    return 0;
}

int pt_receive(int fd, const char *tree, struct pt_err *err)
{
    struct receiver r = {.frames = {.fd = fd}, .place = {-1, -1}};
    struct pt_err local = PT_ERR_INIT;
    if (!err)
        err = &local;
    int rc = open_place(&r, tree, err);
    /* While the master still scans; an error comes again when it matters. */
    if (rc == 0)
        survey(&r, NULL);
    if (rc == 0)
        while ((rc = serve_one(&r, err)) == SERVED_ONE)
            ;
    if (rc < 0)
        answer_fail(&r, err);
    pt_frames_fini(&r.frames);
    pt_record_fini(&r.record);
    pt_survey_fini(&r.survey);
    free(r.folder);
    free(r.record_path);
    if (r.place.tree >= 0)
        close(r.place.tree);
    if (r.place.temp >= 0)
        close(r.place.temp);
    return rc;
}
