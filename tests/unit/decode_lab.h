/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What every decoder of messages must bear: truncations, surplus bytes, random changes, and memory that ends.
 * Include this, then the .c files under test. */
#include "fail_alloc.h"

#include "common/err.h"
#include "common/message.h"

#include <criterion/criterion.h>

#define UNUSED __attribute__((unused))

/* Decodes a body and forgets what it was. 0 or -1. */
typedef int decode_fn(struct pt_reader *r, struct pt_err *err);

/* NAME_once: the decode_fn of that message, which does `with` to what it decoded, m. */
#define DECODER_WITH(name, with)                                                                             \
    static int name##_once(struct pt_reader *r, struct pt_err *err)                                          \
    {                                                                                                        \
        struct pt_##name m;                                                                                  \
        if (pt_##name##_decode(r, &m, err) < 0)                                                              \
            return -1;                                                                                       \
        with;                                                                                                \
        pt_##name##_fini(&m);                                                                                \
        return 0;                                                                                            \
    }
#define DECODER(name) DECODER_WITH(name, (void)0)

/* The body of the one frame in b, after `skip` bytes. */
UNUSED static struct pt_reader body_of(const struct pt_buf *b, uint8_t want, size_t skip)
{
    struct pt_reader body;
    uint8_t type;
    size_t total;
    cr_assert_not(b->bad);
    cr_assert_eq(pt_frame_next(b->data, b->len, PT_MAX_FRAME, &type, &body, &total), 1);
    cr_assert(total == b->len && type == want);
    cr_assert_eq(pt_get_raw(&body, skip) != NULL, true);
    return body;
}

/* A copy that ends where its memory ends, so that a sanitizer sees any step beyond. */
UNUSED static int decode_copy(decode_fn *decode, const unsigned char *p, size_t n, struct pt_err *err)
{
    unsigned char *copy = (malloc)(n ? n : 1);
    memcpy(copy, p, n);
    struct pt_reader r = {.p = copy, .left = n};
    int rc = decode(&r, err);
    free(copy);
    return rc;
}

UNUSED static void refuse_all_but_the_whole(decode_fn *decode, const unsigned char *p, size_t n)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_eq(decode_copy(decode, p, n, &err), 0, "%s", err.msg);
    for (size_t k = 0; k < n; k++) {
        err = PT_ERR_INIT;
        cr_expect_eq(decode_copy(decode, p, k, &err), -1, "%zu of %zu bytes were taken", k, n);
        cr_expect(err.msg[0] != '\0');
    }
    unsigned char *more = (malloc)(n + 1);
    memcpy(more, p, n);
    more[n] = 0;
    cr_expect_eq(decode_copy(decode, more, n + 1, &err), -1, "a surplus byte was taken");
    free(more);
}

UNUSED static void change_at_random(decode_fn *decode, const unsigned char *p, size_t n)
{
    uint32_t seed = 1;
    unsigned char *copy = (malloc)(n);
    for (int round = 0; round < 3000; round++) {
        struct pt_err err = PT_ERR_INIT;
        memcpy(copy, p, n);
        for (uint32_t k = 0; k <= (uint32_t)round % 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            copy[(seed >> 8) % n] =
                round % 2 ? (unsigned char)(seed >> 24) : (unsigned char)(255 * (seed >> 31));
        }
        decode_copy(decode, copy, n, &err);
    }
    free(copy);
}

UNUSED static void fail_each_allocation(decode_fn *decode, const unsigned char *p, size_t n)
{
    long at = 0;
    int rc;
    do {
        struct pt_err err = PT_ERR_INIT;
        struct pt_reader r = {.p = p, .left = n};
        fail_hit = false;
        fail_at = ++at;
        rc = decode(&r, &err);
        fail_at = 0;
        cr_expect(rc == 0 || (fail_hit && err.msg[0]), "allocation %ld", at);
    } while (fail_hit);
    cr_expect(at > 1 && rc == 0);
}

UNUSED static void check(decode_fn *decode, struct pt_buf *b, uint8_t type, size_t skip)
{
    struct pt_reader r = body_of(b, type, skip);
    refuse_all_but_the_whole(decode, r.p, r.left);
    change_at_random(decode, r.p, r.left);
    fail_each_allocation(decode, r.p, r.left);
    pt_buf_fini(b);
}
