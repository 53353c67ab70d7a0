/* SPDX-License-Identifier: Apache-2.0 */
/* Deltas: base and difference give the target, for any two trees; refused when they are anything else. */
#include "common/auto.h"
#include "common/err.h"
#include "sync/delta.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NODES 64

/* A tree that is edited: a node's path is its name below its folder. */
struct node {
    bool there;
    int folder; /* a node before it, or -1 */
    char name[16];
    struct pt_entry e;
    struct pt_chunk chunks[3];
};

struct tree {
    struct node nodes[MAX_NODES];
    int n;
};

static unsigned pick(unsigned n)
{
    return (unsigned)random() % n;
}

static void fill(struct node *x)
{
    x->e = (struct pt_entry){.type = PT_ENTRY_FILE, .mode = pick(2) ? 0644 : 0755, .mtime_ns = pick(5) - 2};
    unsigned kind = pick(10);
    if (kind < 3) {
        x->e.type = PT_ENTRY_DIR;
    } else if (kind == 3) {
        x->e.type = PT_ENTRY_LINK;
        x->e.link = pick(2) ? "a" : "b/c";
        x->e.mode = 0;
    } else if (kind == 4) {
        for (uint32_t i = 0; i < 3; i++) {
            x->chunks[i].size = 3u << 20;
            x->chunks[i].digest[0] = (unsigned char)pick(3);
        }
        x->e.size = 9u << 20;
    } else {
        x->e.size = pick(3);
        x->e.digest[3] = (unsigned char)pick(3);
    }
}

static bool holds(const struct tree *t, int folder)
{
    return folder < 0 || (t->nodes[folder].there && t->nodes[folder].e.type == PT_ENTRY_DIR &&
                          holds(t, t->nodes[folder].folder));
}

static void edit(struct tree *t)
{
    if (t->n < MAX_NODES && pick(3)) {
        struct node *x = &t->nodes[t->n];
        *x = (struct node){.there = true, .folder = (int)pick((unsigned)t->n + 1) - 1};
        snprintf(x->name, sizeof(x->name), "%s%d", pick(2) ? "a." : "b", t->n);
        fill(x);
        t->n++;
    } else if (t->n) {
        struct node *x = &t->nodes[pick((unsigned)t->n)];
        x->there = pick(3);
        fill(x);
    }
}

static void path_of(const struct tree *t, int i, char *out, size_t size)
{
    if (t->nodes[i].folder >= 0) {
        path_of(t, t->nodes[i].folder, out, size);
        strcat(out, "/");
    }
    strcat(out, t->nodes[i].name);
}

static struct pt_manifest *make(const struct tree *t)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    for (int i = 0; i < t->n; i++) {
        char path[MAX_NODES * 16] = "";
        struct pt_entry e = t->nodes[i].e;
        if (!t->nodes[i].there || !holds(t, t->nodes[i].folder))
            continue;
        path_of(t, i, path, sizeof(path));
        e.path = path;
        if (e.size > 2) {
            e.chunks = t->nodes[i].chunks;
            e.nchunks = 3;
            cr_assert_eq(pt_chunks_digest(PT_DIGEST_BLAKE2B, e.chunks, 3, e.digest), 0);
        }
        cr_assert_eq(pt_manifest_add(m, &e, NULL), 0);
    }
    cr_assert_eq(pt_manifest_seal(m, &err), 0, "%s", err.msg);
    return m;
}

static void same(const struct pt_manifest *a, const struct pt_manifest *b)
{
    struct pt_buf x = {0}, y = {0};
    pt_manifest_encode(a, &x);
    pt_manifest_encode(b, &y);
    cr_assert(x.len == y.len && memcmp(x.data, y.data, x.len) == 0);
    pt_buf_fini(&x);
    pt_buf_fini(&y);
}

static void there_and_back(const struct pt_manifest *base, const struct pt_manifest *target)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf d = {0};
    cr_assert_eq(pt_delta_encode(base, target, &d), 0);
    struct pt_manifest *m = pt_delta_apply(base, d.data, d.len, &err);
    cr_assert_not_null(m, "%s", err.msg);
    same(m, target);
    if (memcmp(pt_manifest_root(base), pt_manifest_root(target), PT_DIGEST) != 0) {
        cr_assert_null(pt_delta_apply(target, d.data, d.len, &err), "another base");
        cr_assert_not_null(strstr(err.msg, "another manifest"), "%s", err.msg);
    }
    pt_manifest_destroy(m);
    pt_buf_fini(&d);
}

Test(sync_delta, any_tree_any_edits)
{
    for (unsigned round = 0; round < 300; round++) {
        static struct tree t;
        srandom(round);
        t.n = 0;
        for (unsigned i = pick(80); i > 0; i--)
            edit(&t);
        struct pt_manifest *base = make(&t);
        for (unsigned i = pick(round % 3 ? 5 : 100); i > 0; i--)
            edit(&t);
        struct pt_manifest *target = make(&t);
        there_and_back(base, target);
        there_and_back(target, base);
        there_and_back(base, base);
        pt_manifest_destroy(base);
        pt_manifest_destroy(target);
    }
}

static struct pt_manifest *of(const struct pt_entry *entries, size_t n)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(pt_manifest_add(m, &entries[i], NULL), 0);
    cr_assert_eq(pt_manifest_seal(m, &err), 0, "%s", err.msg);
    return m;
}

static const struct pt_entry before[] = {
    {.path = "a", .type = PT_ENTRY_DIR, .mode = 0755},
    {.path = "a/x", .type = PT_ENTRY_FILE, .mode = 0644, .size = 1},
    {.path = "b", .type = PT_ENTRY_FILE, .mode = 0644, .size = 1},
    {.path = "c", .type = PT_ENTRY_LINK, .link = "b"},
};
static const struct pt_entry after[] = {
    {.path = "a", .type = PT_ENTRY_FILE, .mode = 0755, .size = 3, .digest = {1}},
    {.path = "b", .type = PT_ENTRY_FILE, .mode = 0644, .size = 1, .mtime_ns = 5},
    {.path = "d", .type = PT_ENTRY_LINK, .link = "a"},
};

Test(sync_delta, every_truncation_and_flip)
{
    struct pt_manifest *base = of(before, PT_COUNT(before)), *target = of(after, PT_COUNT(after));
    struct pt_buf d = {0};
    cr_assert_eq(pt_delta_encode(base, target, &d), 0);
    for (size_t n = 0; n < d.len; n++) {
        struct pt_err err = PT_ERR_INIT;
        unsigned char *copy = malloc(n ? n : 1);
        memcpy(copy, d.data, n);
        cr_assert_null(pt_delta_apply(base, copy, n, &err), "%zu", n);
        cr_assert(err.msg[0]);
        free(copy);
    }
    for (size_t i = 0; i < 8 * d.len; i++) {
        d.data[i / 8] ^= (unsigned char)(1 << i % 8);
        struct pt_manifest *m = pt_delta_apply(base, d.data, d.len, NULL);
        if (m)
            cr_assert_arr_eq(pt_manifest_root(m), pt_manifest_root(target), PT_DIGEST,
                             "only mtimes may differ");
        pt_manifest_destroy(m);
        d.data[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    pt_put_u8(&d, 0);
    cr_assert_null(pt_delta_apply(base, d.data, d.len, NULL), "a trailing byte");
    pt_manifest_destroy(base);
    pt_manifest_destroy(target);
    pt_buf_fini(&d);
}

/* A delta by hand: removes these paths, brings these entries; the root is that of `target`. */
static struct pt_manifest *by_hand(const struct pt_manifest *base, const char *const *gone, uint32_t ngone,
                                   uint32_t nentries, const struct pt_manifest *target)
{
    struct pt_buf d = {0};
    cr_assert_eq(pt_delta_encode(base, base, &d), 0);
    size_t head = d.len - 8;
    memcpy(d.data + head - PT_DIGEST, pt_manifest_root(target), PT_DIGEST);
    d.len = head;
    pt_put_u32(&d, ngone);
    for (uint32_t i = 0; i < ngone && gone; i++)
        pt_put_str(&d, gone[i]);
    pt_put_u32(&d, nentries);
    struct pt_manifest *m = pt_delta_apply(base, d.data, d.len, NULL);
    pt_buf_fini(&d);
    return m;
}

Test(sync_delta, removals)
{
    static const char *const good[] = {"b", "c"}, *const absent[] = {"b", "bb"}, *const twice[] = {"b", "b"},
                             *const backwards[] = {"c", "b"}, *const folder[] = {"a"};
    struct pt_manifest *base = of(before, PT_COUNT(before)), *target = of(before, 2);
    struct pt_manifest *m = by_hand(base, good, 2, 0, target);
    cr_assert_not_null(m);
    pt_manifest_destroy(m);
    cr_assert_null(by_hand(base, absent, 2, 0, target));
    cr_assert_null(by_hand(base, twice, 2, 0, target));
    cr_assert_null(by_hand(base, backwards, 2, 0, target));
    cr_assert_null(by_hand(base, folder, 1, 0, target), "what lay in it stays");
    cr_assert_null(by_hand(base, good, 1, 0, target), "another root");
    pt_manifest_destroy(base);
    pt_manifest_destroy(target);
}

Test(sync_delta, huge_counts_are_no_allocation)
{
    struct pt_manifest *base = of(before, PT_COUNT(before));
    cr_assert_null(by_hand(base, NULL, 1000000000, 0, base));
    cr_assert_null(by_hand(base, NULL, 0, 1000000000, base));
    pt_manifest_destroy(base);
}

Test(sync_delta, few_edits_are_few_bytes)
{
    struct pt_manifest *m[2];
    for (int round = 0; round < 2; round++) {
        m[round] = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
        for (unsigned i = 0; i < 2000; i++) {
            char path[32];
            snprintf(path, sizeof(path), "tests_%u.py", i);
            struct pt_entry e = {.path = path, .type = PT_ENTRY_FILE, .mode = 0644, .size = 9};
            e.digest[0] = round && i % 1000 == 7;
            cr_assert_eq(pt_manifest_add(m[round], &e, NULL), 0);
        }
        cr_assert_eq(pt_manifest_seal(m[round], NULL), 0);
    }
    struct pt_buf d = {0};
    cr_assert_eq(pt_delta_encode(m[0], m[1], &d), 0);
    cr_assert_lt(d.len, 300, "%zu", d.len);
    pt_buf_fini(&d);
    pt_manifest_destroy(m[0]);
    pt_manifest_destroy(m[1]);
}
