/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/digest.h"
#include "sync/glob.h"

#include <criterion/criterion.h>
#include <string.h>

struct row {
    const char *glob, *path;
    bool match, covers;
};

Test(sync_glob, table)
{
    static const struct row rows[] = {
        {"a", "a", 1, 1},
        {"a", "a/b", 0, 1},
        {"a/", "a/b/c", 0, 1},
        {"./a/b", "a/b", 1, 1},
        {"/a", "a", 1, 1},
        {"a", "ab", 0, 0},
        {"*", "a", 1, 1},
        {"*", "a/b", 0, 1},
        {"*.so", "x.so", 1, 1},
        {"*.so", "d/x.so", 0, 0},
        {"**/*.so", "x.so", 1, 1},
        {"**/*.so", "a/b/x.so", 1, 1},
        {"**/*.so", "a/b/x.soo", 0, 0},
        {"a/**", "a", 1, 1},
        {"a/**", "a/b/c", 1, 1},
        {"a/**/z", "a/z", 1, 1},
        {"a/**/z", "a/b/c/z", 1, 1},
        {"a/**/z", "a/b/c/z/q", 0, 1},
        {"a/**/b/**/c", "a/x/b/y/b/z/c", 1, 1},
        {"**", "a/b", 1, 1},
        {"**/b/c", "b/b/c", 1, 1},
        {"**/b/c", "a/b/b/c", 1, 1},
        {"a**b", "axxb", 1, 1},
        {"a**b", "a/b", 0, 0},
        {"?", "x", 1, 1},
        {"?", "", 0, 0},
        {"?", "xy", 0, 0},
        {"a?c", "a/c", 0, 0},
        {"[a-c]x", "bx", 1, 1},
        {"[a-c]x", "dx", 0, 0},
        {"[!a-c]x", "dx", 1, 1},
        {"[^a-c]x", "ax", 0, 0},
        {"[]]", "]", 1, 1},
        {"[!]]", "]", 0, 0},
        {"[a-]", "-", 1, 1},
        {"[\\]]", "]", 1, 1},
        {"[", "[", 1, 1},
        {"[ab", "[ab", 1, 1},
        {"\\*", "*", 1, 1},
        {"\\*", "x", 0, 0},
        {"[\x80-\xff]*", "\xc3\xa9", 1, 1},
        {"?", "\xc3\xa9", 0, 0},
        {"*a*b*c*", "xxaxxbxxcxx", 1, 1},
        {"*a*b*c*", "xxaxxcxxbxx", 0, 0},
        {"", "a", 0, 0},
        {"/", "a", 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(pt_glob_match(rows[i].glob, rows[i].path), rows[i].match, "%s %s", rows[i].glob,
                     rows[i].path);
        cr_expect_eq(pt_glob_covers(rows[i].glob, rows[i].path), rows[i].covers, "covers %s %s", rows[i].glob,
                     rows[i].path);
    }
}

Test(sync_glob, enters)
{
    static const struct row rows[] = {
        {"a/b/*.so", "a", 1, 0},   {"a/b/*.so", "a/b", 1, 0}, {"a/b/*.so", "b", 0, 0},
        {"a/b/*.so", "a/c", 0, 0}, {"**/*.so", "x/y", 1, 0},  {"a/**/x", "a/q/r", 1, 0},
        {"a/**/x", "b", 0, 0},     {"a", "a/b", 1, 0},        {"*.so", "a", 0, 0},
        {"b*/c", "build", 1, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        cr_expect_eq(pt_glob_enters(rows[i].glob, rows[i].path), rows[i].match, "%s %s", rows[i].glob,
                     rows[i].path);
}

Test(sync_glob, many_stars_are_not_slow)
{
    char path[4001], glob[512] = "";
    memset(path, 'a', 4000);
    path[4000] = '\0';
    for (int i = 0; i < 60; i++)
        strcat(glob, "*a");
    strcat(glob, "b");
    cr_assert_not(pt_glob_match(glob, path));
    for (size_t i = 1; i < 4000; i += 2)
        path[i] = '/';
    glob[0] = '\0';
    for (int i = 0; i < 60; i++)
        strcat(glob, "**/a/");
    strcat(glob, "b");
    cr_assert_not(pt_glob_match(glob, path));
}

Test(sync_digest, known_values)
{
    unsigned char d[PT_DIGEST];
    char hex[PT_DIGEST_HEX];
    cr_assert_eq(pt_digest_buffer(PT_DIGEST_SHA256, "abc", 3, d, NULL), 0);
    pt_digest_hex(d, hex);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, "abc", 3, d, NULL), 0);
    pt_digest_hex(d, hex);
    cr_assert_str_eq(hex, "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1");
    cr_assert_eq(pt_digest_buffer(9, "abc", 3, d, NULL), -1);
    cr_assert_eq(pt_digest_file(PT_DIGEST_SHA256, "/nonexistent", d, NULL), -1);
    cr_assert_eq(pt_digest_file(PT_DIGEST_SHA256, "/", d, NULL), -1);
}

Test(sync_digest, again_and_again)
{
    unsigned char one[PT_DIGEST], two[PT_DIGEST];
    struct pt_digest *d = pt_digest_create(PT_DIGEST_BLAKE2B, NULL);
    pt_digest_add(d, "ab", 2);
    pt_digest_add(d, "", 0);
    pt_digest_add(d, "c", 1);
    cr_assert_eq(pt_digest_end(d, one), 0);
    pt_digest_add(d, "abc", 3);
    cr_assert_eq(pt_digest_end(d, two), 0);
    cr_assert_arr_eq(one, two, PT_DIGEST);
    pt_digest_destroy(d);
}
