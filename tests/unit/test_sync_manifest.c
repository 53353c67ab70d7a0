/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: canonical, and refused when they are anything else. */
#include "common/err.h"
#include "sync/chunk.h"
#include "sync/compress.h"
#include "sync/manifest.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct pt_entry good[] = {
    {.path = "z.py", .type = PT_ENTRY_FILE, .mode = 0644, .size = 7, .mtime_ns = 12, .digest = {9}},
    {.path = "a", .type = PT_ENTRY_DIR, .mode = 0755},
    {.path = "a/b\n\xff", .type = PT_ENTRY_FILE, .mode = 0755, .size = 1, .mtime_ns = -5},
    {.path = "a.b", .type = PT_ENTRY_DIR, .mode = 0700},
    {.path = "a/up", .type = PT_ENTRY_LINK, .link = "../z.py"},
};

static struct pt_manifest *make(const struct pt_entry *entries, size_t n, struct pt_err *err)
{
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, err);
    cr_assert_not_null(m);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(pt_manifest_add(m, &entries[i], err), 0);
    if (pt_manifest_seal(m, err) == 0)
        return m;
    pt_manifest_destroy(m);
    return NULL;
}

Test(sync_manifest, round_trip)
{
    struct pt_buf b = {0};
    struct pt_manifest *m = make(good, 5, NULL);
    cr_assert_not_null(m);
    pt_manifest_encode(m, &b);
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *d = pt_manifest_decode(b.data, b.len, &err);
    cr_assert_not_null(d, "%s", err.msg);
    cr_assert_eq(pt_manifest_count(d), 5);
    cr_assert_eq(pt_manifest_bytes(d), 8);
    cr_assert_arr_eq(pt_manifest_root(d), pt_manifest_root(m), PT_DIGEST);
    for (size_t i = 0; i < 5; i++) {
        const struct pt_entry *x = pt_manifest_get(m, i), *y = pt_manifest_get(d, i);
        cr_assert_str_eq(x->path, y->path);
        cr_assert(x->type == y->type && x->mode == y->mode && x->size == y->size &&
                  x->mtime_ns == y->mtime_ns);
        cr_assert_arr_eq(x->digest, y->digest, PT_DIGEST);
        cr_assert(i == 0 || strcmp(pt_manifest_get(d, i - 1)->path, y->path) < 0);
    }
    cr_assert_str_eq(pt_manifest_find(d, "a/up")->link, "../z.py");
    cr_assert_null(pt_manifest_find(d, "a/u"));
    cr_assert_null(pt_manifest_folder(d));
    pt_manifest_destroy(m);
    pt_manifest_destroy(d);
    pt_buf_fini(&b);
}

Test(sync_manifest, root_is_of_content)
{
    struct pt_entry e[5];
    memcpy(e, good, sizeof(e));
    struct pt_manifest *m = make(good, 5, NULL);
    e[0].mtime_ns = 99;
    struct pt_entry swap = e[1];
    e[1] = e[3], e[3] = swap;
    struct pt_manifest *same = make(e, 5, NULL);
    cr_assert_arr_eq(pt_manifest_root(m), pt_manifest_root(same), PT_DIGEST);
    for (int change = 0; change < 4; change++) {
        memcpy(e, good, sizeof(e));
        if (change == 0)
            e[0].mode = 0600;
        if (change == 1)
            e[0].digest[31] = 1;
        if (change == 2)
            e[4].link = "b\n\xff";
        if (change == 3)
            e[2].path = "a/B";
        struct pt_manifest *other = make(e, 5, NULL);
        cr_assert(memcmp(pt_manifest_root(m), pt_manifest_root(other), PT_DIGEST) != 0, "%d", change);
        pt_manifest_destroy(other);
    }
    pt_manifest_destroy(m);
    pt_manifest_destroy(same);
}

Test(sync_manifest, every_truncation_and_flip)
{
    struct pt_buf b = {0};
    struct pt_manifest *m = make(good, 5, NULL);
    pt_manifest_encode(m, &b);
    for (size_t n = 0; n < b.len; n++) {
        unsigned char *copy = malloc(n ? n : 1);
        memcpy(copy, b.data, n);
        cr_assert_null(pt_manifest_decode(copy, n, NULL), "%zu", n);
        free(copy);
    }
    for (size_t i = 0; i < 8 * b.len; i++) {
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
        struct pt_manifest *d = pt_manifest_decode(b.data, b.len, NULL);
        if (d)
            cr_assert_arr_eq(pt_manifest_root(d), pt_manifest_root(m), PT_DIGEST, "only mtimes may differ");
        pt_manifest_destroy(d);
        b.data[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    pt_put_u8(&b, 0);
    cr_assert_null(pt_manifest_decode(b.data, b.len, NULL), "a trailing byte");
    pt_manifest_destroy(m);
    pt_buf_fini(&b);
}

static void refused(const struct pt_entry *entries, size_t n, const char *words)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(make(entries, n, &err), "%s", words);
    cr_assert_not_null(strstr(err.msg, words), "%s", err.msg);
}

#define FILE_AT(p)                                                                                           \
    {                                                                                                        \
        .path = p, .type = PT_ENTRY_FILE, .mode = 0644                                                       \
    }
#define DIR_AT(p)                                                                                            \
    {                                                                                                        \
        .path = p, .type = PT_ENTRY_DIR, .mode = 0755                                                        \
    }
#define REFUSED(words, ...)                                                                                  \
    do {                                                                                                     \
        const struct pt_entry list[] = {__VA_ARGS__};                                                        \
        refused(list, sizeof(list) / sizeof(list[0]), words);                                                \
    } while (0)

Test(sync_manifest, names)
{
    static const char *const bad[] = {"/a",    "..",   ".",  "../a", "a/..", "a/../b",
                                      "a/./b", "a//b", "a/", "",     "/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        REFUSED("is no name", FILE_AT(bad[i]));
    char *path = malloc(5000);
    memset(path, 'x', 4999);
    path[4999] = '\0';
    REFUSED("is no name", FILE_AT(path));
    free(path);
}

Test(sync_manifest, structure)
{
    REFUSED("listed twice", FILE_AT("a"), FILE_AT("a"));
    REFUSED("not a folder", FILE_AT("a"), FILE_AT("a/b"));
    REFUSED("not a folder", FILE_AT("a/b"));
    REFUSED("not a folder", {.path = "a", .type = PT_ENTRY_LINK, .link = "b"}, DIR_AT("b"), FILE_AT("a/c"));
    REFUSED("malformed", {.path = "a", .type = PT_ENTRY_FILE, .mode = 04755});
    REFUSED("malformed", {.path = "a", .type = 7, .mode = 0755});
    REFUSED("malformed", {.path = "a", .type = PT_ENTRY_LINK, .mode = 0777, .link = "b"});
    REFUSED("malformed", {.path = "a", .type = PT_ENTRY_FILE, .link = "b"});
    REFUSED("its chunks are not", {.path = "a", .type = PT_ENTRY_FILE, .size = UINT64_MAX});
    REFUSED("its chunks are not", {.path = "a", .type = PT_ENTRY_FILE, .size = PT_CHUNKED_FROM + 1});
    REFUSED("its chunks are not",
            {.path = "a", .type = PT_ENTRY_DIR, .mode = 0755, .size = PT_CHUNKED_FROM + 1});
}

#define LINK(p, t)                                                                                           \
    {                                                                                                        \
        .path = p, .type = PT_ENTRY_LINK, .link = t                                                          \
    }

Test(sync_manifest, links_that_leave)
{
    REFUSED("outside of the tree", LINK("l", "/etc/passwd"));
    REFUSED("outside of the tree", LINK("l", ".."));
    REFUSED("outside of the tree", LINK("l", "x/../../y"));
    REFUSED("outside of the tree", DIR_AT("d"), LINK("d/l", "../../x"));
    /* Each looks fine alone: through `up`, which is `d/..`, one gets higher than the names say. */
    REFUSED("outside of the tree", DIR_AT("d"), DIR_AT("d/e"), LINK("d/e/up", "../.."),
            LINK("l", "d/e/up/.."));
    struct pt_err err = PT_ERR_INIT;
    const struct pt_entry list[] = {LINK("l", "/etc")};
    cr_assert_null(make(list, 1, &err));
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_not_null(strstr(err.hint, "--exclude"));
}

Test(sync_manifest, links_that_stay)
{
    const struct pt_entry list[] = {
        DIR_AT("d"),
        DIR_AT("d/e"),
        LINK("d/e/top", "../.."),
        LINK("d/e/self", "self"),
        LINK("loop1", "loop2"),
        LINK("loop2", "loop1"),
        LINK("l", "d/e/top/d/e"),
        LINK("m", "./d/./e//../nothing"),
        LINK("dot", "."),
    };
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = make(list, sizeof(list) / sizeof(list[0]), &err);
    cr_assert_not_null(m, "%s", err.msg);
    pt_manifest_destroy(m);
}

Test(sync_manifest, huge_count_is_no_allocation)
{
    struct pt_buf b = {0};
    struct pt_manifest *m = make(good, 5, NULL);
    pt_manifest_encode(m, &b);
    pt_set_u32(&b, 4 + 1 + PT_DIGEST, 0xffffffffu);
    cr_assert_null(pt_manifest_decode(b.data, b.len, NULL));
    pt_manifest_destroy(m);
    pt_buf_fini(&b);
}

Test(sync_manifest, zstd_prefixes_and_limits)
{
    char text[20000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(random() % 7);
    struct pt_buf z = {0};
    cr_assert_eq(pt_deflate(text, sizeof(text), &z, NULL), 0);
    for (size_t n = 0; n <= z.len; n += n + 16 < z.len ? 13 : 1) {
        struct pt_buf out = {0};
        struct pt_inflate *i = pt_inflate_create(sizeof(text), NULL);
        for (size_t at = 0; at < n; at += 100)
            cr_assert_eq(pt_inflate_add(i, z.data + at, n - at < 100 ? n - at : 100, &out, NULL), 0);
        cr_assert_eq(pt_inflate_end(i, NULL), n == z.len ? 0 : -1);
        if (n == z.len)
            cr_assert(out.len == sizeof(text) && memcmp(out.data, text, out.len) == 0);
        pt_inflate_destroy(i);
        pt_buf_fini(&out);
    }
    struct pt_buf out = {0};
    struct pt_inflate *i = pt_inflate_create(sizeof(text) - 1, NULL);
    cr_assert_eq(pt_inflate_add(i, z.data, z.len, &out, NULL), -1);
    pt_inflate_destroy(i);
    i = pt_inflate_create(sizeof(text), NULL);
    pt_put_u8(&z, 1);
    cr_assert_eq(pt_inflate_add(i, z.data, z.len, &out, NULL), -1, "bytes after the end");
    pt_inflate_destroy(i);
    pt_buf_fini(&out);
    pt_buf_fini(&z);
}
