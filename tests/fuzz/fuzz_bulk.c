/* SPDX-License-Identifier: Apache-2.0 */
/* The objects of the bulk stream, from frames: as they came; then frames and compression that are right
 * around what came, as a master that went wrong would send it. */
#include "common/message.h"
#include "fuzz_tree.h"
#include "sync/compress.h"
#include "sync/there/intake.h"

#include <unistd.h>

static struct pt_manifest *base;

static void take_segments(struct pt_frames *f, struct pt_err *err)
{
    static unsigned char raw[PT_SEGMENT_MAX];
    struct pt_segment s;
    int rc = pt_intake_begin(f, PT_B_ARCHIVE, err);
    while (rc == 0 && (rc = pt_intake_segment(f, &s, err)) == 1) {
        struct pt_err why = PT_ERR_INIT;
        FUZZ_CHECK(s.data && s.size > 0 && s.raw > 0 && s.raw <= PT_SEGMENT_MAX);
        FUZZ_CHECK(pt_segment_unpack(&s, raw, &why) == 0 || why.msg[0]);
        rc = 0;
        err->msg[0] = '\0';
        if (f->in.len == 0)
            break;
    }
    FUZZ_CHECK(rc >= 0 || err->msg[0]);
}

static void take_object(int fd, uint8_t what)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_frames f = {.fd = fd};
    struct pt_manifest *m = NULL;
    int rc;
    if (what == 0) {
        m = pt_intake_manifest(&f, &err);
        FUZZ_CHECK(m || err.msg[0]);
    } else if (what == 1) {
        rc = pt_intake_delta(&f, base, &m, &err);
        FUZZ_CHECK(rc < 0 ? err.msg[0] != '\0' : (rc == 1) == (m != NULL));
    } else if (what == 2) {
        take_segments(&f, &err);
    } else {
        rc = pt_intake_drop(&f, what == 3 ? PT_B_ARCHIVE : PT_B_DELTA, &err);
        FUZZ_CHECK(rc == 0 || err.msg[0]);
    }
    if (m) {
        fuzz_feed();
        tree_check(m);
    }
    pt_manifest_destroy(m);
    pt_frames_fini(&f);
    close(fd);
}

static void put_frame(struct pt_buf *out, uint8_t type, const void *data, size_t n)
{
    size_t mark = pt_frame_begin(out, type);
    pt_buf_append(out, data, n);
    pt_frame_end(out, mark);
}

/* An object whose frames are right, in two pieces of DATA or one SEGMENT. */
static int wrap(uint8_t what, struct fuzz_parts in, bool whole, bool cut)
{
    struct pt_buf wire = {0}, packed = {0};
    unsigned held = fuzz_hold();
    FUZZ_CHECK(pt_deflate(in.p, in.left, &packed, NULL) == 0);
    put_frame(&wire, what == 0 ? PT_B_MANIFEST : what == 1 ? PT_B_DELTA : PT_B_ARCHIVE, NULL, 0);
    if (what < 2) {
        put_frame(&wire, PT_B_DATA, packed.data, packed.len / 2);
        put_frame(&wire, PT_B_DATA, packed.data + packed.len / 2, packed.len - packed.len / 2);
    } else {
        size_t mark = pt_frame_begin(&wire, PT_B_SEGMENT);
        pt_put_u8(&wire, 1);
        pt_put_u32(&wire, (uint32_t)in.left + !whole);
        pt_put_bytes(&wire, packed.data, packed.len);
        pt_frame_end(&wire, mark);
    }
    put_frame(&wire, PT_B_END, NULL, 0);
    int fd = fuzz_fd(wire.data, wire.len - (cut ? wire.len / 3 : 0));
    pt_buf_fini(&wire);
    pt_buf_fini(&packed);
    fuzz_release(held);
    return fd;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    uint8_t what = fuzz_byte(&in);
    if (!base) {
        unsigned held = fuzz_hold();
        base = tree_make();
        fuzz_release(held);
    }
    if (what & 64) {
        int fd = wrap(what % 3, in, what & 32, what & 16);
        take_object(fd, what % 3);
    } else {
        take_object(fuzz_fd(in.p, in.left), what % 5);
    }
}
