/* SPDX-License-Identifier: Apache-2.0 */
/* What a host is thought to have, and what is guessed from it. */
#include "common/auto.h"
#include "common/err.h"
#include "sync/here/guess.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file of `size` bytes whose content is named by a number. */
static void add(struct pt_manifest *m, const char *path, uint32_t content, uint64_t size)
{
    struct pt_entry e = {.path = path, .type = PT_ENTRY_FILE, .mode = 0644, .size = size};
    uint64_t mixed = content; /* as even as a digest, at a hundredth of its price */
    for (size_t at = 0; at < sizeof(e.digest); at += sizeof(mixed)) {
        mixed = (mixed ^ 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
        mixed ^= mixed >> 31;
        memcpy(e.digest + at, &mixed, sizeof(mixed));
    }
    cr_assert_eq(pt_manifest_add(m, &e, NULL), 0);
}

static struct pt_manifest *tree(void)
{
    return pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
}

static struct pt_manifest *sealed(struct pt_manifest *m)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_manifest_seal(m, &err), 0, "%s", err.msg);
    return m;
}

/* Files n with contents from `first` on. */
static struct pt_manifest *many(uint32_t first, uint32_t n)
{
    struct pt_manifest *m = tree();
    char path[16];
    for (uint32_t i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "f%u", i);
        add(m, path, first + i, 1);
    }
    return sealed(m);
}

static const unsigned char *digest_of(const struct pt_manifest *m, const char *path)
{
    return pt_manifest_find(m, path)->digest;
}

Test(sync_known, grows_by_trees)
{
    struct pt_known *k = pt_known_create();
    struct pt_manifest *a = many(0, 100), *b = many(50, 100), *c = many(500, 1);
    cr_assert_not(pt_known_has(NULL, digest_of(a, "f0")));
    cr_assert_not(pt_known_has(k, digest_of(a, "f0")));
    cr_assert_eq(pt_known_add(k, a), 1);
    cr_assert_eq(pt_known_add(k, a), 0);
    cr_assert_eq(pt_known_add(k, b), 1);
    cr_assert_eq(pt_known_count(k), 150);
    for (uint32_t i = 0; i < pt_manifest_blobs(b); i++)
        cr_assert(pt_known_has(k, pt_manifest_blob(b, i).digest));
    cr_assert_not(pt_known_has(k, digest_of(c, "f0")));
    pt_manifest_destroy(a);
    pt_manifest_destroy(b);
    pt_manifest_destroy(c);
    pt_known_destroy(k);
}

Test(sync_known, begins_anew_when_it_is_too_much)
{
    struct pt_known *k = pt_known_create();
    struct pt_manifest *a = many(0, PT_KNOWN_MAX - 5), *b = many(1u << 30, 10);
    cr_assert_eq(pt_known_add(k, a), 1);
    cr_assert_eq(pt_known_count(k), PT_KNOWN_MAX - 5);
    cr_assert_eq(pt_known_add(k, b), 1);
    cr_assert_eq(pt_known_count(k), 10);
    cr_assert(pt_known_has(k, digest_of(b, "f3")) && !pt_known_has(k, digest_of(a, "f3")));
    pt_manifest_destroy(a);
    pt_manifest_destroy(b);
    pt_known_destroy(k);
}

Test(sync_known, every_truncation_and_disorder_is_refused)
{
    struct pt_known *k = pt_known_create();
    struct pt_manifest *a = many(0, 9);
    struct pt_buf b = {0};
    cr_assert_eq(pt_known_add(k, a), 1);
    pt_known_encode(k, &b);
    for (size_t n = 0; n < b.len; n++) {
        struct pt_reader r = {.p = b.data, .left = n};
        cr_assert(!pt_known_decode(&r) && r.bad, "%zu", n);
    }
    struct pt_reader r = {.p = b.data, .left = b.len};
    struct pt_known *same = pt_known_decode(&r);
    cr_assert(same && pt_get_end(&r) && pt_known_count(same) == 9);
    cr_assert(pt_known_has(same, digest_of(a, "f8")));
    memcpy(b.data + 4, b.data + 12, 8); /* one twice */
    r = (struct pt_reader){.p = b.data, .left = b.len};
    cr_assert_null(pt_known_decode(&r));
    memset(b.data, 255, 4);
    r = (struct pt_reader){.p = b.data, .left = b.len};
    cr_assert_null(pt_known_decode(&r));
    pt_known_destroy(same);
    pt_known_destroy(k);
    pt_manifest_destroy(a);
    pt_buf_fini(&b);
}

/* --- guesses --- */

/* The paths whose blobs are guessed, by their first letter. */
static void check(struct pt_manifest *base, struct pt_manifest *target, const struct pt_known *known,
                  uint64_t limit, const char *want)
{
    char got[32] = "";
    unsigned char *bits = pt_guess(base, target, known, limit);
    for (uint32_t i = 0; bits && i < pt_manifest_blobs(target); i++)
        if (bits[i / 8] >> (i % 8) & 1)
            strncat(got, pt_manifest_get(target, pt_manifest_blob(target, i).entry)->path, 1);
    cr_expect_str_eq(got, want);
    cr_expect_eq(bits != NULL, *want != '\0');
    free(bits);
}

Test(sync_known, guesses_what_is_new)
{
    struct pt_manifest *base = tree(), *target = tree();
    struct pt_known *known = pt_known_create();
    add(base, "a", 1, 10);
    add(base, "b", 2, 10);
    add(base, "gone", 3, 10);
    sealed(base);
    add(target, "a", 1, 10);
    add(target, "b", 20, 10); /* edited */
    add(target, "c", 20, 10); /* the same again */
    add(target, "d", 3, 10);  /* renamed */
    add(target, "e", 30, 10); /* new */
    add(target, "f", 0, 0);   /* empty: has no blob */
    sealed(target);
    check(base, target, NULL, 100, "bde");
    cr_assert_eq(pt_known_add(known, base), 1);
    check(base, target, known, 100, "be");
    check(base, target, known, 20, "be");
    check(base, target, known, 19, "");
    check(base, base, NULL, 100, "");
    cr_assert_eq(pt_known_add(known, target), 1);
    check(base, target, known, 100, "");
    pt_known_destroy(known);
    pt_manifest_destroy(base);
    pt_manifest_destroy(target);
}

Test(sync_known, guesses_chunks_that_are_new)
{
    struct pt_manifest *base = tree(), *target = tree();
    struct pt_known *known = pt_known_create();
    struct pt_chunk chunks[40];
    struct pt_entry e = {
        .path = "large", .type = PT_ENTRY_FILE, .mode = 0644, .chunks = chunks, .nchunks = 40};
    for (uint32_t round = 0; round < 2; round++) {
        e.size = 0;
        for (uint32_t i = 0; i < 40; i++) {
            uint32_t content = round && i == 17 ? 1000 : i;
            chunks[i].size = 1u << 20;
            e.size += chunks[i].size;
            cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, &content, 4, chunks[i].digest, NULL), 0);
        }
        cr_assert_eq(pt_chunks_digest(PT_DIGEST_BLAKE2B, chunks, 40, e.digest), 0);
        cr_assert_eq(pt_manifest_add(round ? target : base, &e, NULL), 0);
    }
    sealed(base);
    sealed(target);
    cr_assert_eq(pt_known_add(known, base), 1);
    unsigned char *bits = pt_guess(base, target, known, 4u << 20);
    cr_assert(bits && bits[2] == 2 && bits[0] == 0 && bits[1] == 0 && bits[3] == 0 && bits[4] == 0);
    cr_assert_null(pt_guess(base, target, NULL, 4u << 20), "without a memory it is too much");
    free(bits);
    pt_known_destroy(known);
    pt_manifest_destroy(base);
    pt_manifest_destroy(target);
}
