/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire.h"

#include <criterion/criterion.h>
#include <string.h>

Test(wire, numbers_are_big_endian)
{
    static const unsigned char want[] = {7, 1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8};
    struct pt_buf b = {0};
    pt_put_u8(&b, 7);
    pt_put_u32(&b, 0x01020304u);
    pt_put_u64(&b, 0x0102030405060708u);
    cr_assert(!b.bad && b.len == sizeof(want) && memcmp(b.data, want, sizeof(want)) == 0);
    struct pt_reader r = {.p = b.data, .left = b.len};
    cr_expect_eq(pt_get_u8(&r), 7);
    cr_expect_eq(pt_get_u32(&r), 0x01020304u);
    cr_expect_eq(pt_get_u64(&r), 0x0102030405060708u);
    cr_expect(pt_get_end(&r));
    pt_buf_fini(&b);
}

Test(wire, reader_goes_bad_and_stays_bad)
{
    static const unsigned char bytes[] = {0, 0, 1};
    struct pt_reader r = {.p = bytes, .left = sizeof(bytes)};
    size_t n = 9;
    cr_expect_eq(pt_get_u32(&r), 0);
    cr_expect(r.bad);
    cr_expect_eq(pt_get_u8(&r), 0);
    cr_expect_eq(pt_get_u64(&r), 0);
    cr_expect_null(pt_get_bytes(&r, &n));
    cr_expect_eq(n, 0);
    cr_expect_null(pt_get_str(&r, 10));
    cr_expect_null(pt_get_raw(&r, 0));
    cr_expect_not(pt_get_end(&r));
}

Test(wire, strings)
{
    struct pt_buf b = {0};
    pt_put_str(&b, "hello");
    pt_put_str(&b, NULL);
    pt_put_bytes(&b, "a\0b", 3);
    struct pt_reader r = {.p = b.data, .left = b.len};
    char *hello = pt_get_str(&r, 5), *empty = pt_get_str(&r, 0);
    cr_assert_str_eq(hello, "hello");
    cr_assert_str_eq(empty, "");
    cr_expect_null(pt_get_str(&r, 100), "a NUL inside must be refused");
    cr_expect(r.bad);
    struct pt_reader longer = {.p = b.data, .left = b.len};
    cr_expect_null(pt_get_str(&longer, 4), "more than max must be refused");
    free(hello);
    free(empty);
    pt_buf_fini(&b);
}

Test(wire, length_beyond_the_end)
{
    static const unsigned char lie[] = {0xff, 0xff, 0xff, 0xff, 'x'};
    struct pt_reader r = {.p = lie, .left = sizeof(lie)};
    size_t n;
    cr_expect_null(pt_get_bytes(&r, &n));
    cr_expect(r.bad);
}

Test(wire, surplus_is_no_end)
{
    struct pt_reader r = {.p = (const unsigned char *)"ab", .left = 2};
    pt_get_u8(&r);
    cr_expect_not(pt_get_end(&r));
}

Test(wire, frames_one_after_the_other)
{
    struct pt_buf b = {0};
    for (uint8_t i = 1; i <= 3; i++) {
        size_t mark = pt_frame_begin(&b, i);
        for (uint8_t k = 0; k < i; k++)
            pt_put_u8(&b, k);
        pt_frame_end(&b, mark);
    }
    size_t at = 0, total = 0;
    for (uint8_t i = 1; i <= 3; i++, at += total) {
        struct pt_reader body;
        uint8_t type;
        cr_assert_eq(pt_frame_next(b.data + at, b.len - at, 100, &type, &body, &total), 1);
        cr_expect_eq(type, i);
        cr_expect_eq(body.left, i);
    }
    cr_expect_eq(at, b.len);
    pt_buf_fini(&b);
}

Test(wire, every_prefix_of_a_frame_waits)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, 9);
    pt_put_str(&b, "some text");
    pt_frame_end(&b, mark);
    struct pt_reader body;
    uint8_t type;
    size_t total;
    for (size_t n = 0; n < b.len; n++)
        cr_expect_eq(pt_frame_next(b.data, n, 100, &type, &body, &total), 0);
    cr_expect_eq(pt_frame_next(b.data, b.len, 100, &type, &body, &total), 1);
    pt_buf_fini(&b);
}

Test(wire, frame_lengths_that_are_refused)
{
    static const unsigned char zero[] = {0, 0, 0, 0, 1}, big[] = {0, 0, 0, 101, 1},
                               huge[] = {255, 255, 255, 255};
    struct pt_reader body;
    uint8_t type;
    size_t total;
    cr_expect_eq(pt_frame_next(zero, sizeof(zero), 100, &type, &body, &total), -1);
    cr_expect_eq(pt_frame_next(big, sizeof(big), 100, &type, &body, &total), -1);
    cr_expect_eq(pt_frame_next(huge, sizeof(huge), PT_FRAME_MAX, &type, &body, &total), -1);
}

Test(wire, buffer_grows_and_is_consumed)
{
    struct pt_buf b = {0};
    for (uint32_t i = 0; i < 10000; i++)
        pt_put_u32(&b, i);
    pt_buf_consume(&b, 4 * 9999);
    struct pt_reader r = {.p = b.data, .left = b.len};
    cr_expect_eq(pt_get_u32(&r), 9999);
    cr_expect(pt_get_end(&r));
    pt_buf_consume(&b, 100);
    cr_expect_eq(b.len, 0);
    pt_buf_fini(&b);
}

Test(wire, impossible_sizes_make_it_bad)
{
    struct pt_buf b = {0};
    cr_expect_null(pt_buf_reserve(&b, SIZE_MAX / 2));
    cr_expect(b.bad);
    pt_put_u8(&b, 1);
    cr_expect_eq(b.len, 0, "a bad buffer takes nothing");
    pt_buf_fini(&b);
    pt_set_u32(&b, 0, 1);
    cr_expect(b.bad, "there is no u32 to overwrite");
    pt_buf_fini(&b);
}
