/* SPDX-License-Identifier: Apache-2.0 */
/* A push against a host that is only a script here: what goes out, and what an agent may and may not say. */
#include "sync_lab.h"

#include "sync/compress.h"
#include "sync/delta.h"
#include "sync/here/scan.h"

TestSuite(sync_push, .init = lab_open, .fini = lab_close);

/* A push with all that belongs to it; the bulk stream is taken apart as it is given. */
struct talk {
    struct pt_fanout *fanout;
    struct pt_push *push;
    struct pt_manifest *base;
    struct pt_known *known;
    const char *const *keep;
    size_t nkeep;
    unsigned lanes; /* 0: this one */
    struct pt_offer offer;
    char objects[128];  /* "DELTA ARCHIVE+ ARCHIVE!" */
    struct pt_buf data; /* of the last DELTA or MANIFEST, as it came */
    uint64_t raw;       /* of all segments */
    size_t frames, most;
    unsigned packed, stored;
    struct pt_err err;
};

static void start(struct talk *t, struct pt_manifest *m)
{
    struct pt_buf control = {0};
    struct pt_reader body;
    uint8_t type;
    size_t total;
    t->err = PT_ERR_INIT;
    t->fanout = pt_fanout_create(m, lab_dir, t->lanes ? t->lanes : 1, &t->err);
    cr_assert_not_null(t->fanout, "%s", t->err.msg);
    struct pt_push_spec spec = {
        .fanout = t->fanout, .base = t->base, .known = t->known, .keep = t->keep, .nkeep = t->nkeep};
    t->push = pt_push_create(&spec, &control, &t->err);
    cr_assert_not_null(t->push, "%s", t->err.msg);
    cr_assert_eq(pt_frame_next(control.data, control.len, PT_MAX_FRAME, &type, &body, &total), 1);
    cr_assert(type == PT_C_MANIFEST && total == control.len, "one frame");
    cr_assert_eq(pt_offer_decode(&body, &t->offer, &t->err), 0, "%s", t->err.msg);
    cr_assert_eq(memcmp(t->offer.root, pt_manifest_root(m), PT_DIGEST), 0);
    pt_buf_fini(&control);
}

static void stop(struct talk *t)
{
    pt_push_destroy(t->push);
    pt_fanout_destroy(t->fanout);
    pt_manifest_destroy(t->base);
    pt_known_destroy(t->known);
    pt_offer_fini(&t->offer);
    pt_buf_fini(&t->data);
}

static void say_object(struct talk *t, const char *word)
{
    size_t n = strlen(t->objects);
    snprintf(t->objects + n, sizeof(t->objects) - n, "%s%s", n && word[0] != '.' ? " " : "", word);
}

static void take_segment(struct talk *t, struct pt_reader *r)
{
    size_t n;
    uint8_t packed = pt_get_u8(r);
    uint32_t raw = pt_get_u32(r);
    pt_get_bytes(r, &n);
    cr_assert(pt_get_end(r) && packed <= 1 && raw && raw <= PT_SEGMENT_MAX && n);
    t->raw += raw;
    t->packed += packed;
    t->stored += !packed;
}

static void take_frame(struct talk *t, uint8_t type, struct pt_reader *r)
{
    switch (type) {
    case PT_B_DELTA:
    case PT_B_MANIFEST:
        pt_buf_clear(&t->data);
        say_object(t, type == PT_B_DELTA ? "DELTA" : "MANIFEST");
        break;
    case PT_B_ARCHIVE:
        say_object(t, "ARCHIVE");
        break;
    case PT_B_DATA:
        cr_assert(r->left && r->left <= PT_DATA_CHUNK);
        pt_buf_append(&t->data, r->p, r->left);
        break;
    case PT_B_SEGMENT:
        take_segment(t, r);
        break;
    default:
        cr_assert(type == PT_B_END && r->left == 0, "%u", type);
        say_object(t, ".");
    }
}

/* All that can be given now, waiting for the archive's thread. */
static int drain(struct talk *t, size_t max, int level)
{
    for (;;) {
        struct pt_buf bulk = {0};
        struct pt_reader body;
        uint8_t type;
        size_t total, used = 0;
        int rc = pt_push_pull(t->push, &bulk, max, level, &t->err);
        while (used < bulk.len &&
               pt_frame_next(bulk.data + used, bulk.len - used, PT_FRAME_MAX, &type, &body, &total) > 0) {
            used += total;
            t->frames++;
            take_frame(t, type, &body);
        }
        cr_assert_eq(used, bulk.len, "whole frames only");
        t->most = bulk.len > t->most ? bulk.len : t->most;
        pt_buf_fini(&bulk);
        if (rc < 0)
            return -1;
        struct pollfd p = {.fd = pt_push_fd(t->push), .events = POLLIN};
        if (rc == 0 && p.fd < 0)
            return 0;
        if (rc == 0)
            cr_assert_eq(poll(&p, 1, 60000), 1, "the archive does not come");
    }
}

static int tell(struct talk *t, uint8_t type, const void *data, size_t n)
{
    struct pt_reader r = {.p = data, .left = n};
    return pt_push_control(t->push, type, &r, &t->err);
}

static int tell_frame(struct talk *t, struct pt_buf *frame)
{
    int rc = tell(t, frame->data[4], frame->data + PT_FRAME_HEAD, frame->len - PT_FRAME_HEAD);
    pt_buf_fini(frame);
    return rc;
}

static int tell_need(struct talk *t, uint32_t blobs, const void *bits, size_t n)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_NEED);
    pt_put_u32(&b, blobs);
    pt_put_bytes(&b, bits, n);
    pt_frame_end(&b, mark);
    return tell_frame(t, &b);
}

static int tell_synced(struct talk *t)
{
    struct pt_buf b = {0};
    pt_synced_encode(&(struct pt_synced){.files_sent = 3, .removed = 1}, &b);
    return tell_frame(t, &b);
}

static int tell_resend(struct talk *t, const char *why)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_RESEND);
    pt_put_str(&b, why);
    pt_frame_end(&b, mark);
    return tell_frame(t, &b);
}

/* here/ has the files a and d/f and an empty one: entries 0 to 3, blobs 0 and 1. */
static struct pt_manifest *some_files(void)
{
    lab_text("here/a", "alpha");
    lab_text("here/d/f", "phi");
    lab_text("here/e", "");
    return lab_scan();
}

static void random_file(const char *path, size_t n, unsigned seed)
{
    unsigned char *data = malloc(n);
    uint32_t x = seed;
    for (size_t i = 0; i < n; i++)
        data[i] = (unsigned char)((x = x * 1664525u + 1013904223u) >> 24);
    lab_write(path, data, n);
    free(data);
}

/* --- what goes out --- */

Test(sync_push, an_unchanged_tree_is_one_small_frame)
{
    struct talk t = {.base = some_files()};
    start(&t, lab_scan());
    cr_assert(t.offer.how == PT_OFFER_ROOT && !t.offer.archive);
    cr_assert_eq(drain(&t, 100000, 1), 0);
    cr_assert_eq(t.frames, 0);
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_OFFERED);
    cr_assert_eq(tell_synced(&t), 0);
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_DONE);
    struct pt_push_figures f;
    pt_push_get_figures(t.push, &f);
    cr_assert(f.wire == 0 && f.total == 0 && f.synced.files_sent == 3 && f.synced.removed == 1);
    stop(&t);
}

Test(sync_push, globs_to_keep_travel_along)
{
    static const char *const keep[] = {"/build/**", "*.o"};
    struct talk t = {.base = some_files(), .keep = keep, .nkeep = 2};
    start(&t, lab_scan());
    cr_assert_eq(t.offer.nkeep, 2);
    cr_assert_str_eq(t.offer.keep[0], "/build/**");
    cr_assert_str_eq(t.offer.keep[1], "*.o");
    stop(&t);
}

Test(sync_push, few_edits_go_in_one_write)
{
    struct talk t = {.base = some_files()};
    lab_text("here/a", "beta");
    lab_text("here/copy", "beta");
    lab_text("here/moved", "phi");
    t.known = pt_known_create();
    cr_assert_eq(pt_known_add(t.known, t.base), 1);
    struct pt_manifest *m = lab_scan();
    start(&t, m);
    cr_assert(t.offer.how == PT_OFFER_DELTA && t.offer.archive && t.offer.blobs == pt_manifest_blobs(m));
    cr_assert_eq(t.offer.sent[0], 1, "the new content once, what is only elsewhere not at all");
    cr_assert_eq(drain(&t, 100000, 0), 0);
    cr_assert_str_eq(t.objects, "DELTA. ARCHIVE.");
    cr_assert(t.packed == 1 && t.stored == 0, "compressed although the caller would not");
    struct pt_buf plain = {0};
    struct pt_inflate *z = pt_inflate_create(1 << 20, NULL);
    cr_assert_eq(pt_inflate_add(z, t.data.data, t.data.len, &plain, NULL), 0);
    struct pt_manifest *made = pt_delta_apply(t.base, plain.data, plain.len, &t.err);
    cr_assert_not_null(made, "%s", t.err.msg);
    cr_assert_eq(memcmp(pt_manifest_root(made), pt_manifest_root(m), PT_DIGEST), 0);
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_SENT);
    cr_assert_eq(tell_synced(&t), 0);
    pt_manifest_destroy(made);
    pt_inflate_destroy(z);
    pt_buf_fini(&plain);
    stop(&t);
}

Test(sync_push, much_is_not_guessed)
{
    struct talk t = {.base = some_files()};
    random_file("here/big", PT_PUSH_GUESS + 1, 1);
    start(&t, lab_scan());
    cr_assert(t.offer.how == PT_OFFER_DELTA && !t.offer.archive);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, "DELTA.");
    cr_assert_eq(tell_need(&t, 3, "\2", 1), 0);
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_SENDING);
    drain(&t, 100000, 0);
    cr_assert_str_eq(t.objects, "DELTA. ARCHIVE.");
    cr_assert(t.packed == 0 && t.raw > PT_PUSH_GUESS);
    cr_assert_eq(tell_synced(&t), 0);
    struct pt_push_figures f;
    pt_push_get_figures(t.push, &f);
    cr_assert(f.raw == PT_PUSH_GUESS + 1 && f.total == f.raw && f.wire > f.raw && !f.forgot);
    stop(&t);
}

Test(sync_push, without_a_memory_the_host_is_asked)
{
    struct talk t = {0};
    start(&t, some_files());
    cr_assert(t.offer.how == PT_OFFER_WHOLE && !t.offer.archive);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, "MANIFEST.");
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_OFFERED);
    cr_assert_eq(tell_need(&t, 2, "\3", 1), 0);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, "MANIFEST. ARCHIVE.");
    cr_assert_eq(tell_synced(&t), 0);
    stop(&t);
}

/* SHA-256 after BLAKE2b: nothing of the old memory can be meant. */
Test(sync_push, another_digest_needs_the_whole_manifest)
{
    struct talk t = {.base = some_files()};
    char folder[128];
    snprintf(folder, sizeof(folder), "%s/here", lab_dir);
    struct pt_tree_spec spec = {.root = folder, .algorithm = PT_DIGEST_SHA256};
    start(&t, pt_manifest_scan(&spec, NULL));
    cr_assert_eq(t.offer.how, PT_OFFER_WHOLE);
    stop(&t);
}

Test(sync_push, a_wrong_memory_takes_one_more_turn)
{
    struct talk t = {.base = some_files()};
    lab_text("here/a", "beta");
    start(&t, lab_scan());
    cr_assert(t.offer.archive);
    cr_assert_eq(tell(&t, PT_C_TREE, "\1", 1), 0);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, "DELTA. ARCHIVE. MANIFEST.");
    cr_assert_eq(t.raw, 0, "nobody wants the guess any more");
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_OFFERED);
    cr_assert_eq(tell_need(&t, 2, "\3", 1), 0);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, "DELTA. ARCHIVE. MANIFEST. ARCHIVE.");
    cr_assert_eq(tell_synced(&t), 0);
    stop(&t);
}

/* TREE while the guess is half given: the object ends, the manifest follows. */
Test(sync_push, a_guess_is_cut_short)
{
    struct talk t = {.base = some_files()};
    random_file("here/big", PT_PUSH_GUESS - 100, 1);
    start(&t, lab_scan());
    struct pt_buf bulk = {0};
    while (!pt_push_open(t.push) || pt_push_state(t.push) != PT_PUSH_SENDING || pt_push_fd(t.push) < 0) {
        cr_assert_geq(pt_push_pull(t.push, &bulk, 1, 1, &t.err), 0);
    }
    cr_assert_eq(tell(&t, PT_C_TREE, "\1", 1), 0);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, ". MANIFEST.");
    cr_assert_eq(tell_synced(&t), 0, "the store had it all");
    pt_buf_fini(&bulk);
    stop(&t);
}

Test(sync_push, a_memory_of_the_store_that_was_wrong_is_told)
{
    struct talk t = {.base = some_files()};
    t.known = pt_known_create();
    cr_assert_eq(pt_known_add(t.known, t.base), 1);
    lab_text("here/b", "new");
    start(&t, lab_scan());
    drain(&t, 100000, 1);
    cr_assert_eq(tell_need(&t, 3, "\5", 1), 0);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, "DELTA. ARCHIVE. ARCHIVE.");
    cr_assert_eq(tell_synced(&t), 0);
    struct pt_push_figures f;
    pt_push_get_figures(t.push, &f);
    cr_assert(f.forgot);
    stop(&t);
}

Test(sync_push, pulls_are_bounded)
{
    struct talk t = {0};
    random_file("here/big", 5 << 20, 7);
    start(&t, lab_scan());
    drain(&t, 1000, 0);
    cr_assert_eq(tell_need(&t, 1, "\1", 1), 0);
    drain(&t, 1000, 0);
    cr_assert_leq(t.most, PT_SEGMENT_MAX + 100);
    cr_assert_gt(t.frames, 5);
    stop(&t);
}

/* --- a tree that changes --- */

Test(sync_push, a_file_that_changed_ends_the_archive_early)
{
    struct talk t = {0};
    start(&t, some_files());
    drain(&t, 100000, 1);
    lab_text("here/a", "changed since");
    cr_assert_eq(tell_need(&t, 2, "\3", 1), 0);
    drain(&t, 100000, 1);
    cr_assert_str_eq(t.objects, "MANIFEST. ARCHIVE.");
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_SENT);
    cr_assert_eq(tell_synced(&t), -1, "that cannot be");
    cr_assert_eq(tell_resend(&t, "it ended early"), 0);
    cr_assert_eq(pt_push_state(t.push), PT_PUSH_STALE);
    cr_assert_not_null(strstr(pt_push_why(t.push), "a"), "%s", pt_push_why(t.push));
    stop(&t);
}

Test(sync_push, the_host_names_what_it_could_not_take)
{
    struct talk t = {0};
    start(&t, some_files());
    drain(&t, 100000, 1);
    cr_assert_eq(tell_need(&t, 2, "\3", 1), 0);
    drain(&t, 100000, 1);
    cr_assert_eq(tell_resend(&t, "d/f has not its digest"), 0);
    cr_assert_str_eq(pt_push_why(t.push), "d/f has not its digest");
    stop(&t);
}

/* --- what an agent may not say --- */

Test(sync_push, every_truncation_is_refused)
{
    static const unsigned char need[] = {0, 0, 0, 2, 0, 0, 0, 1, 3};
    struct pt_buf synced = {0};
    pt_synced_encode(&(struct pt_synced){.files_sent = 3}, &synced);
    for (size_t n = 0; n <= sizeof(need); n++) {
        struct talk t = {0};
        start(&t, some_files());
        drain(&t, 100000, 1);
        cr_assert_eq(tell(&t, PT_C_NEED, need, n), n < sizeof(need) ? -1 : 0, "%zu", n);
        stop(&t);
    }
    size_t body = synced.len - PT_FRAME_HEAD;
    for (size_t n = 0; n <= body; n++) {
        struct talk t = {.base = some_files()};
        start(&t, lab_scan());
        cr_assert_eq(tell(&t, PT_C_SYNCED, synced.data + PT_FRAME_HEAD, n), n < body ? -1 : 0, "%zu", n);
        stop(&t);
    }
    pt_buf_fini(&synced);
}

Test(sync_push, needs_that_are_none)
{
    static const struct {
        uint32_t blobs;
        const char *bits;
        size_t n;
    } bad[] = {{1, "\1", 1}, {3, "\1", 1},   {2, "\4", 1}, {2, "\377", 1},
               {2, "\0", 1}, {2, "\1\0", 2}, {2, "", 0}};
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        struct talk t = {0};
        start(&t, some_files());
        drain(&t, 100000, 1);
        cr_assert_eq(tell_need(&t, bad[i].blobs, bad[i].bits, bad[i].n), -1, "%zu", i);
        cr_assert(t.err.msg[0]);
        stop(&t);
    }
}

Test(sync_push, out_of_turn)
{
    struct talk t = {0};
    start(&t, some_files());
    cr_assert_eq(tell(&t, PT_C_TREE, "\1", 1), -1, "the whole manifest is coming already");
    cr_assert_eq(tell_need(&t, 2, "\3", 1), -1, "it has not gone yet");
    cr_assert_eq(tell_synced(&t), -1);
    cr_assert_eq(tell_resend(&t, ""), -1);
    cr_assert_eq(tell(&t, PT_C_PONG, "", 0), -1);
    drain(&t, 100000, 1);
    cr_assert_eq(tell_resend(&t, "no archive went"), -1);
    cr_assert_eq(tell_need(&t, 2, "\1", 1), 0);
    cr_assert_eq(tell_need(&t, 2, "\2", 1), -1, "twice");
    cr_assert_eq(tell_synced(&t), -1, "the archive is not through");
    cr_assert_eq(tell_resend(&t, "early"), -1);
    drain(&t, 100000, 1);
    cr_assert_eq(tell_synced(&t), 0);
    cr_assert_eq(tell_synced(&t), -1);
    cr_assert_eq(tell_resend(&t, "late"), -1);
    stop(&t);
}

Test(sync_push, trees_that_are_asked_for_wrongly)
{
    struct talk t = {.base = some_files()};
    lab_text("here/a", "beta");
    start(&t, lab_scan());
    cr_assert_eq(tell(&t, PT_C_TREE, "\0", 1), -1);
    cr_assert_eq(tell(&t, PT_C_TREE, "\2", 1), -1);
    cr_assert_eq(tell(&t, PT_C_TREE, "", 0), -1);
    cr_assert_eq(tell(&t, PT_C_TREE, "\1\1", 2), -1);
    cr_assert_eq(tell(&t, PT_C_TREE, "\1", 1), 0);
    cr_assert_eq(tell(&t, PT_C_TREE, "\1", 1), -1);
    cr_assert_eq(tell_need(&t, 2, "\3", 1), -1, "before it has what it asked for");
    drain(&t, 100000, 1);
    cr_assert_eq(tell_resend(&t, "of the guess that it dropped"), -1);
    stop(&t);
}

/* --- ends --- */

/* No signal may end the program, and nothing may hang, when a push stops while its archive is made. */
Test(sync_push, destroyed_while_packing)
{
    random_file("here/a", 16 << 20, 3);
    lab_text("here/d/f", "phi");
    signal(SIGPIPE, SIG_DFL);
    for (int pulls = 0; pulls < 6; pulls += 3) {
        struct talk t = {0};
        struct pt_buf out = {0};
        start(&t, lab_scan());
        drain(&t, 100000, 1);
        size_t n = (pt_manifest_blobs(pt_fanout_manifest(t.fanout)) + 7) / 8;
        unsigned char *bits = calloc(1, n);
        bits[0] = 1;
        cr_assert_eq(tell_need(&t, pt_manifest_blobs(pt_fanout_manifest(t.fanout)), bits, n), 0);
        for (int i = 0; i < pulls; i++) {
            struct pollfd fd = {.fd = pt_push_fd(t.push), .events = POLLIN};
            cr_assert_eq(poll(&fd, 1, 60000), 1);
            cr_assert_geq(pt_push_pull(t.push, &out, 1000, 1, NULL), 0);
        }
        cr_assert_eq(pt_push_state(t.push), PT_PUSH_SENDING);
        free(bits);
        pt_buf_fini(&out);
        stop(&t);
    }
}

/* Where two lanes are expected, what is packed stays until both joined or skipped. */
Test(sync_push, a_push_without_an_archive_skips_the_fanout)
{
    struct talk t = {.lanes = 2};
    struct pt_buf control = {0};
    start(&t, some_files());
    struct pt_push_spec same = {.fanout = t.fanout, .base = pt_fanout_manifest(t.fanout)};
    struct pt_push *other = pt_push_create(&same, &control, &t.err);
    drain(&t, 100000, 0);
    cr_assert_eq(tell_need(&t, 2, "\3", 1), 0);
    drain(&t, 100000, 0);
    cr_assert_gt(pt_fanout_kept(t.fanout), 0);
    pt_push_destroy(other);
    cr_assert_eq(pt_fanout_kept(t.fanout), 0);
    pt_buf_fini(&control);
    stop(&t);
}
