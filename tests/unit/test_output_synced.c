/* SPDX-License-Identifier: Apache-2.0 */
#include "output/synced.h"

#include <criterion/criterion.h>

static const char *words(struct pt_synced_words w)
{
    static char text[256];
    pt_synced_words(&w, text, sizeof(text));
    return text;
}

Test(synced, bytes)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 bytes"},
                 {1, "1 byte"},
                 {999, "999 bytes"},
                 {1000, "1.0 KB"},
                 {12345, "12.3 KB"},
                 {999949, "999.9 KB"},
                 {999950, "1.0 MB"},
                 {67200000, "67.2 MB"},
                 {4000000000, "4.0 GB"},
                 {5000000000000, "5.0 TB"},
                 {UINT64_MAX, "18446744.1 TB"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[32];
        pt_bytes_words(cases[i].bytes, text, sizeof(text));
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(synced, what_is_nought_is_not_told)
{
    cr_expect_str_eq(words((struct pt_synced_words){.wire = 312, .seconds = 0.051}),
                     "no file sent (312 bytes on the wire), in 0.05 s");
    cr_expect_str_eq(
        words((struct pt_synced_words){.wire = 4000,
                                       .files_sent = 1,
                                       .bytes_sent = 12100,
                                       .files_reused = 2884,
                                       .bytes_reused = 67200000,
                                       .removed = 2,
                                       .seconds = 1.234}),
        "1 file sent (12.1 KB, 4.0 KB on the wire), 2884 reused (67.2 MB), 2 removed, in 1.23 s");
}

Test(synced, a_short_buffer_holds_what_fits)
{
    struct pt_synced_words w = {.files_sent = UINT64_MAX,
                                .bytes_sent = UINT64_MAX,
                                .files_reused = UINT64_MAX,
                                .removed = UINT64_MAX,
                                .seconds = 1e9};
    for (size_t size = 1; size < 160; size++) {
        char text[160];
        memset(text, 'x', sizeof(text));
        pt_synced_words(&w, text, size);
        cr_expect_lt(strlen(text), size);
        cr_expect(size == sizeof(text) || text[size] == 'x');
    }
}
