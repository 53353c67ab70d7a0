/* SPDX-License-Identifier: Apache-2.0 */
#include "store_lab.h"

#include <pthread.h>

static struct pt_buf pack(const void *raw, size_t n, int level)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf b = {0};
    cr_assert_eq(pt_segment_pack(raw, n, level, &b, &err), 0, "%s", err.msg);
    cr_assert_leq(b.len, PT_SEGMENT_BYTES);
    return b;
}

/* The unpacked bytes must be those, and none may be written behind them. */
static int unpack(const void *data, size_t size, uint32_t raw, bool packed, unsigned char *out,
                  struct pt_err *err)
{
    struct pt_segment s = {.data = data, .size = (uint32_t)size, .raw = raw, .packed = packed};
    out[raw] = 0x5a;
    int rc = pt_segment_unpack(&s, out, err);
    cr_assert_eq(out[raw], 0x5a);
    return rc;
}

Test(sync_segment, both_ways)
{
    static const uint32_t sizes[] = {1, 2, 511, 65536, 131073, PT_SEGMENT_MAX};
    static const int levels[] = {1, 3, 9, 19};
    struct pt_err err = PT_ERR_INIT;
    pt_auto_free unsigned char *out = malloc(PT_SEGMENT_MAX + 1);
    for (size_t i = 0; i < PT_COUNT(sizes); i++) {
        struct lab_blob b = blob_make(i, sizes[i]);
        for (size_t k = 0; k < PT_COUNT(levels); k++) {
            struct pt_buf p = pack(b.data, b.size, levels[k]);
            cr_assert_eq(unpack(p.data, p.len, b.size, true, out, &err), 0, "%s", err.msg);
            cr_assert_eq(memcmp(out, b.data, b.size), 0);
            pt_buf_fini(&p);
        }
        cr_assert_eq(unpack(b.data, b.size, b.size, false, out, &err), 0, "%s", err.msg);
        cr_assert_eq(memcmp(out, b.data, b.size), 0);
        free(b.data);
    }
}

Test(sync_segment, refuses_every_truncation_and_what_follows)
{
    struct lab_blob b = blob_make(7, 3000);
    struct pt_buf p = pack(b.data, b.size, 3);
    unsigned char out[3001];
    for (size_t n = 0; n < p.len; n++) {
        struct pt_err err = PT_ERR_INIT;
        pt_auto_free unsigned char *part = malloc(n + 1);
        memcpy(part, p.data, n);
        cr_assert_eq(unpack(part, n, b.size, true, out, &err), -1, "%zu", n);
        cr_assert(err.msg[0], "%zu", n);
    }
    struct pt_buf twice = {0};
    pt_buf_append(&twice, p.data, p.len);
    pt_buf_append(&twice, p.data, p.len);
    pt_auto_free unsigned char *both = malloc(6001);
    cr_assert_eq(unpack(twice.data, twice.len, 6000, true, both, NULL), -1);
    cr_assert_eq(unpack(twice.data, twice.len, 3000, true, both, NULL), -1);
    cr_assert_eq(unpack(twice.data, p.len + 1, 3000, true, both, NULL), -1);
    pt_buf_fini(&twice);
    pt_buf_fini(&p);
    free(b.data);
}

Test(sync_segment, refuses_another_length)
{
    struct lab_blob b = blob_make(9, 5000);
    struct pt_buf p = pack(b.data, b.size, 1);
    pt_auto_free unsigned char *out = malloc(PT_SEGMENT_MAX + 2);
    static const uint32_t others[] = {0, 1, 4999, 5001, PT_SEGMENT_MAX, PT_SEGMENT_MAX + 1};
    for (size_t i = 0; i < PT_COUNT(others); i++)
        cr_assert_eq(unpack(p.data, p.len, others[i], true, out, NULL), -1, "%u", others[i]);
    cr_assert_eq(unpack(b.data, 5000, 4999, false, out, NULL), -1);
    cr_assert_eq(unpack(b.data, 0, 0, false, out, NULL), -1);
    pt_buf_fini(&p);
    free(b.data);
}

/* Every bit of a frame flipped: refused, or other bytes of the right length. */
Test(sync_segment, survives_damage)
{
    struct lab_blob b = blob_make(11, 700);
    struct pt_buf p = pack(b.data, b.size, 3);
    unsigned char out[701];
    for (size_t i = 0; i < 8 * p.len; i++) {
        p.data[i / 8] ^= (unsigned char)(1u << i % 8);
        unpack(p.data, p.len, b.size, true, out, NULL);
        p.data[i / 8] ^= (unsigned char)(1u << i % 8);
    }
    pt_buf_fini(&p);
    free(b.data);
}

/* Frames by hand: a window of 2 TiB, content of 4 GiB from one byte repeated, and one that is only skipped.
 */
Test(sync_segment, refuses_bombs)
{
    unsigned char out[1025];
    static const unsigned char window[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x23,
                                           0x00, 0x00, 'a',  'b',  'c',  'd'};
    static const unsigned char content[] = {0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0,    0,    0,  0,
                                            1,    0,    0,    0,    0x03, 0x00, 0x10, 'a'};
    static const unsigned char skipped[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};
    struct pt_buf repeated = {0};
    static const unsigned char head[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x78};
    static const unsigned char rle[] = {0x02, 0x00, 0x10, 'a'}; /* 128 KiB of one byte */
    pt_buf_append(&repeated, head, sizeof(head));
    for (int i = 0; i < 1000; i++)
        pt_buf_append(&repeated, rle, sizeof(rle));
    repeated.data[repeated.len - 4] |= 1;
    cr_assert_eq(unpack(window, sizeof(window), 1024, true, out, NULL), -1);
    cr_assert_eq(unpack(content, sizeof(content), 1024, true, out, NULL), -1);
    cr_assert_eq(unpack(skipped, sizeof(skipped), 4, true, out, NULL), -1);
    cr_assert_eq(unpack(repeated.data, repeated.len, 1024, true, out, NULL), -1);
    pt_buf_fini(&repeated);
}

static void *other_thread(void *arg)
{
    const struct lab_blob *b = arg;
    pt_auto_free unsigned char *out = malloc(b->size + 1u);
    for (int i = 0; i < 20; i++) {
        struct pt_buf p = {0};
        if (pt_segment_pack(b->data, b->size, 1 + i % 5, &p, NULL) < 0 ||
            unpack(p.data, p.len, b->size, true, out, NULL) < 0 || memcmp(out, b->data, b->size) != 0)
            return arg;
        pt_buf_fini(&p);
    }
    return NULL;
}

Test(sync_segment, threads_do_not_meet)
{
    pthread_t threads[4];
    struct lab_blob blobs[4];
    for (size_t i = 0; i < 4; i++) {
        blobs[i] = blob_make(i, 200000);
        cr_assert_eq(pthread_create(&threads[i], NULL, other_thread, &blobs[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *bad;
        cr_assert_eq(pthread_join(threads[i], &bad), 0);
        cr_assert_null(bad);
        free(blobs[i].data);
    }
}
