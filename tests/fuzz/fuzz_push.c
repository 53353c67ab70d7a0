/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent says while the tree is sent to it, whenever it says it: what it is given are whole objects,
 * one after the other, whatever it asked for; it is done once it has all of that, and no lane is counted
 * twice. The input: what is thought of the host; messages; how fast it reads. */
#include "common/message.h"
#include "fuzz_tree.h"
#include "sync/here/known.h"
#include "sync/here/push.h"

#define STEPS 100

struct pt_parcel {
    bool there, ended;
    unsigned left; /* segments */
    unsigned char need[8];
};

static struct {
    struct pt_parcel parcels[4];
    unsigned nparcels, joins, skips;
    enum pt_parcel_got next; /* what happens to parcels */
    struct pt_buf bulk;
    uint8_t open; /* the object under way on the bulk stream, 0: none */
    unsigned manifests, archives, deltas;
} lab;

static const struct pt_manifest *tree;

/* --- the fanout --- */

const struct pt_manifest *pt_fanout_manifest(const struct pt_fanout *f)
{
    (void)f;
    return tree;
}

struct pt_parcel *pt_fanout_join(struct pt_fanout *f, const unsigned char *need, struct pt_err *err)
{
    (void)f;
    uint32_t n = pt_manifest_blobs(tree), any = 0;
    FUZZ_CHECK(lab.nparcels < 2 && n <= 64);
    if (lab.next == PT_PARCEL_FAILED) {
        pt_err_set(err, "no memory");
        return NULL;
    }
    struct pt_parcel *p = &lab.parcels[lab.nparcels++];
    *p = (struct pt_parcel){.there = true, .left = 2};
    memcpy(p->need, need, (n + 7) / 8);
    for (uint32_t i = 0; i < 8 * ((n + 7) / 8); i++) {
        bool set = need[i / 8] >> i % 8 & 1;
        FUZZ_CHECK(!set || i < n);
        any += set;
    }
    FUZZ_CHECK(any);
    lab.joins++;
    return p;
}

void pt_fanout_skip(struct pt_fanout *f)
{
    (void)f;
    lab.skips++;
}

int pt_parcel_fd(const struct pt_parcel *p)
{
    FUZZ_CHECK(p->there);
    return 7;
}

enum pt_parcel_got pt_parcel_next(struct pt_parcel *p, int level, struct pt_segment *out, struct pt_err *err)
{
    static const unsigned char data[] = "segment";
    FUZZ_CHECK(p->there && !p->ended && level >= 0);
    if (lab.next == PT_PARCEL_FAILED || lab.next == PT_PARCEL_CHANGED)
        pt_err_set(err, "a: it changed");
    p->ended = lab.next == PT_PARCEL_CHANGED || lab.next == PT_PARCEL_FAILED;
    if (lab.next != PT_PARCEL_SEGMENT)
        return lab.next == PT_PARCEL_END ? PT_PARCEL_NOTHING : lab.next;
    if (p->left-- == 0) {
        p->ended = true;
        return PT_PARCEL_END;
    }
    *out = (struct pt_segment){.data = (unsigned char *)(uintptr_t)data, .size = 7, .raw = 7};
    return PT_PARCEL_SEGMENT;
}

uint64_t pt_parcel_total(const struct pt_parcel *p)
{
    (void)p;
    return 14;
}

void pt_parcel_leave(struct pt_parcel *p)
{
    if (!p)
        return;
    FUZZ_CHECK(p->there);
    p->there = false;
}

/* --- what is given --- */

static void take_frame(uint8_t type)
{
    bool begins = type == PT_B_DELTA || type == PT_B_MANIFEST || type == PT_B_ARCHIVE;
    FUZZ_CHECK(begins == !lab.open);
    FUZZ_CHECK(begins || type == PT_B_END || type == (lab.open == PT_B_ARCHIVE ? PT_B_SEGMENT : PT_B_DATA));
    lab.deltas += type == PT_B_DELTA;
    lab.manifests += type == PT_B_MANIFEST;
    lab.archives += type == PT_B_ARCHIVE;
    lab.open = begins ? type : type == PT_B_END ? 0 : lab.open;
}

static void take_bulk(void)
{
    struct pt_reader r;
    uint8_t type;
    size_t total;
    for (size_t used = 0; used < lab.bulk.len; used += total) {
        FUZZ_CHECK(
            pt_frame_next(lab.bulk.data + used, lab.bulk.len - used, PT_MAX_FRAME, &type, &r, &total) == 1);
        take_frame(type);
    }
    pt_buf_clear(&lab.bulk);
}

static int pull(struct pt_push *p, uint8_t how, struct pt_err *err)
{
    lab.next = how >> 4 == 1   ? PT_PARCEL_FAILED
               : how >> 4 == 2 ? PT_PARCEL_CHANGED
               : how >> 4 == 3 ? PT_PARCEL_NOTHING
                               : PT_PARCEL_SEGMENT;
    int fd = pt_push_fd(p);
    FUZZ_CHECK(fd == -1 || fd == 7);
    int rc = pt_push_pull(p, &lab.bulk, how & 8 ? 65536 : 1 + (how & 7), how & 1 ? 3 : 0, err);
    FUZZ_CHECK(rc >= 0 || err->msg[0]);
    if (rc >= 0) {
        FUZZ_CHECK((rc == 1) == (lab.bulk.len > 0));
        take_bulk();
        FUZZ_CHECK(pt_push_open(p) == (lab.open != 0));
    }
    pt_buf_clear(&lab.bulk);
    return rc;
}

/* --- what the agent says --- */

static void put_need(struct pt_buf *b, struct fuzz_parts *in, uint8_t how)
{
    unsigned char bits[16] = {0};
    uint32_t n = pt_manifest_blobs(tree) + (how == 0xff);
    bits[0] = fuzz_byte(in);
    if (how < 0xf0)
        bits[0] &= (unsigned char)((1u << n) - 1);
    pt_put_u32(b, n);
    pt_put_bytes(b, bits, how == 0xfe ? 3 : (n + 7) / 8);
}

static void put_synced(struct pt_buf *b)
{
    struct pt_buf frame = {0};
    pt_synced_encode(&(struct pt_synced){.files_sent = 1}, &frame);
    if (!frame.bad)
        pt_buf_append(b, frame.data + PT_FRAME_HEAD, frame.len - PT_FRAME_HEAD);
    pt_buf_fini(&frame);
}

static int say(struct pt_push *p, struct fuzz_parts *in, uint8_t kind, struct pt_err *err)
{
    static const uint8_t types[] = {PT_C_TREE, PT_C_NEED, PT_C_SYNCED, PT_C_RESEND};
    struct pt_buf b = {0};
    uint8_t type = types[kind % 4], how = fuzz_byte(in);
    unsigned held = fuzz_hold();
    if (how == 0xfd) {
        struct fuzz_parts part = fuzz_part(in);
        type = how & 1 ? type : fuzz_byte(in);
        pt_buf_append(&b, part.p, part.left);
    } else if (type == PT_C_TREE) {
        pt_put_u8(&b, how < 0xf0);
    } else if (type == PT_C_NEED) {
        put_need(&b, in, how);
    } else if (type == PT_C_SYNCED) {
        put_synced(&b);
    } else {
        pt_put_str(&b, how & 1 ? "it changed there" : "");
    }
    if (kind == 63)
        type = how;
    fuzz_release(held);
    struct pt_reader r = {.p = b.data, .left = b.len};
    int rc = pt_push_control(p, type, &r, err);
    FUZZ_CHECK(rc == 0 || err->msg[0]);
    pt_buf_fini(&b);
    return rc;
}

/* --- all of it --- */

static struct pt_manifest *other_tree(void)
{
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    tree_file(m, "a", "alpha");
    tree_file(m, "z", "zeta");
    FUZZ_CHECK(pt_manifest_seal(m, NULL) == 0);
    return m;
}

static void check_end(const struct pt_push *p)
{
    struct pt_push_figures f;
    pt_push_get_figures(p, &f);
    enum pt_push_state state = pt_push_state(p);
    FUZZ_CHECK(state <= PT_PUSH_STALE && pt_push_why(p));
    if (state == PT_PUSH_DONE || state == PT_PUSH_STALE)
        FUZZ_CHECK(!lab.open);
    FUZZ_CHECK(lab.deltas <= 1 && lab.manifests <= 1 && lab.archives <= 2);
    FUZZ_CHECK(f.raw <= f.total + 14);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static struct pt_manifest *same, *other;
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf control = {0};
    uint8_t how = fuzz_byte(&in);
    unsigned held = fuzz_hold();
    if (!tree) {
        tree = same = tree_make();
        other = other_tree();
    }
    memset(&lab, 0, sizeof(lab));
    struct pt_known *known = how & 4 ? pt_known_create() : NULL;
    if (known && how & 8)
        FUZZ_CHECK(pt_known_add(known, other) == 1);
    fuzz_release(held);
    const char *const keep[] = {"*.log"};
    struct pt_push_spec spec = {.fanout = (struct pt_fanout *)&lab,
                                .base = (how & 3) == 1   ? same
                                        : (how & 3) == 2 ? other
                                                         : NULL,
                                .known = known,
                                .keep = keep,
                                .nkeep = how >> 4 & 1,
                                .ask = how >> 5 & 1};
    lab.next = how == 0xff ? PT_PARCEL_FAILED : PT_PARCEL_SEGMENT;
    struct pt_push *p = pt_push_create(&spec, &control, &err);
    FUZZ_CHECK(p || err.msg[0]);
    int rc = 0;
    for (int i = 0; p && i < STEPS && rc >= 0 && in.left > 0; i++) {
        uint8_t what = fuzz_byte(&in);
        rc = what & 64 ? say(p, &in, what & 63, &err) : pull(p, what, &err);
        check_end(p);
    }
    pt_push_destroy(p);
    for (unsigned i = 0; i < lab.nparcels; i++)
        FUZZ_CHECK(!lab.parcels[i].there);
    FUZZ_CHECK(lab.skips <= 1 && (lab.joins > 0) != (lab.skips > 0));
    pt_known_destroy(known);
    pt_buf_fini(&control);
    pt_buf_fini(&lab.bulk);
}
