/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Trees for targets: digests are right where the input cannot make them so. */
#include "common/err.h"
#include "fuzz.h"
#include "sync/chunk.h"
#include "sync/manifest.h"
#include "sync/manifest_wire.h"

#define UNUSED __attribute__((unused))

/* A digest that anybody can tell: of these bytes. */
UNUSED static void tree_digest(const char *content, unsigned char out[PT_DIGEST])
{
    FUZZ_CHECK(pt_digest_buffer(PT_DIGEST_BLAKE2B, content, strlen(content), out, NULL) == 0);
}

UNUSED static void tree_file(struct pt_manifest *m, const char *path, const char *content)
{
    struct pt_entry e = {
        .path = path, .type = PT_ENTRY_FILE, .mode = 0644, .size = strlen(content), .mtime_ns = 5};
    tree_digest(content, e.digest);
    FUZZ_CHECK(pt_manifest_add(m, &e, NULL) == 0);
}

/* A small tree with an entry of each kind; its blobs are "alpha" (0), "beta" (1) and the chunks of a large
 * file. */
UNUSED static struct pt_manifest *tree_make(void)
{
    static struct pt_chunk chunks[] = {{.size = PT_CHUNK_MAX}, {.size = PT_CHUNK_MAX}, {.size = 7}};
    struct pt_entry dir = {.path = "d", .type = PT_ENTRY_DIR, .mode = 0755};
    struct pt_entry link = {.path = "d/link", .link = "../a", .type = PT_ENTRY_LINK};
    struct pt_entry large = {.path = "large",
                             .type = PT_ENTRY_FILE,
                             .mode = 0600,
                             .size = 2 * PT_CHUNK_MAX + 7,
                             .chunks = chunks,
                             .nchunks = 3};
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    FUZZ_CHECK(m && pt_chunks_digest(PT_DIGEST_BLAKE2B, chunks, 3, large.digest) == 0);
    tree_file(m, "a", "alpha");
    FUZZ_CHECK(pt_manifest_add(m, &dir, NULL) == 0);
    tree_file(m, "d/b", "beta");
    tree_file(m, "d/empty", "");
    FUZZ_CHECK(pt_manifest_add(m, &link, NULL) == 0 && pt_manifest_add(m, &large, NULL) == 0);
    FUZZ_CHECK(pt_manifest_seal(m, NULL) == 0);
    return m;
}

/* Large files get the digest of their chunks. */
UNUSED static void tree_repair(struct pt_manifest *m)
{
    unsigned held = fuzz_hold();
    for (size_t i = 0; i < pt_manifest_count(m); i++) {
        struct pt_entry *e = (struct pt_entry *)(uintptr_t)pt_manifest_get(m, i);
        if (e->nchunks)
            FUZZ_CHECK(pt_chunks_digest(pt_manifest_algorithm(m), e->chunks, e->nchunks, e->digest) == 0);
    }
    fuzz_release(held);
}

/* What was accepted is a manifest in every respect. */
UNUSED static void tree_check(const struct pt_manifest *m)
{
    uint64_t bytes = 0, blobs = 0;
    for (size_t i = 0; i < pt_manifest_count(m); i++) {
        const struct pt_entry *e = pt_manifest_get(m, i);
        FUZZ_CHECK(pt_path_valid(e->path) && pt_manifest_find(m, e->path) == e);
        FUZZ_CHECK((e->type == PT_ENTRY_LINK) == (e->link != NULL) && !(e->mode & ~0777u));
        uint32_t first = pt_manifest_first_blob(m, i), end = pt_manifest_first_blob(m, i + 1);
        uint64_t size = 0;
        for (uint32_t b = first; b < end; b++) {
            struct pt_blob blob = pt_manifest_blob(m, b);
            FUZZ_CHECK(blob.entry == i && blob.chunk == b - first && blob.offset == size && blob.size > 0);
            size += blob.size;
        }
        FUZZ_CHECK(size == e->size && first == blobs);
        blobs = end;
        bytes += size;
    }
    FUZZ_CHECK(pt_manifest_blobs(m) == blobs && pt_manifest_bytes(m) == bytes && !pt_manifest_folder(m));
    struct pt_buf b = {0};
    struct pt_err err = PT_ERR_INIT;
    pt_manifest_encode(m, &b);
    struct pt_manifest *again = pt_manifest_decode(b.data, b.len, &err);
    FUZZ_CHECK(again && memcmp(pt_manifest_root(again), pt_manifest_root(m), PT_DIGEST) == 0);
    pt_manifest_destroy(again);
    pt_buf_fini(&b);
}
