/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of digests: the bytes of the file; then with checks that are right. */
#include "sync/here/hashcache.c"

#include "fuzz_tree.h"

/* Give head and entries the checks that they should have; large files the digest of their chunks. */
static void repair(unsigned char *data, size_t size)
{
    struct head *h = (void *)data;
    if (size < sizeof(*h))
        return;
    h->magic = MAGIC;
    h->algorithm = PT_DIGEST_BLAKE2B;
    h->check = head_check(h);
    struct table t = {.data = data};
    if (!lay_out(&t, size, PT_DIGEST_BLAKE2B))
        return;
    for (uint32_t i = 0; i < t.n; i++) {
        struct entry *e = (struct entry *)(uintptr_t)&t.entries[i];
        if (e->nchunks && e->first_chunk <= t.nchunks && e->nchunks <= t.nchunks - e->first_chunk)
            pt_chunks_digest(PT_DIGEST_BLAKE2B, t.chunks + e->first_chunk, e->nchunks, e->digest);
        e->check = entry_check(e);
    }
}

static void ask(struct pt_hashcache *c)
{
    for (uint32_t i = 0; i < c->old.n; i++) {
        struct pt_stamp stamp = c->old.entries[i].stamp;
        struct pt_hashed h;
        if (!pt_hashcache_get(c, &stamp, &h))
            continue;
        uint64_t sum = 0;
        FUZZ_CHECK((stamp.size > PT_CHUNKED_FROM) == (h.nchunks > 0));
        for (uint32_t k = 0; k < h.nchunks; k++)
            sum += h.chunks[k].size + h.chunks[k].digest[PT_DIGEST - 1];
        FUZZ_CHECK(sum + h.digest[0] < UINT64_MAX);
    }
}

static void put_some(struct pt_hashcache *c, uint8_t n)
{
    struct pt_chunk chunks[2] = {{.size = 5u << 20}, {.size = 4u << 20}};
    for (uint8_t i = 0; i < n; i++) {
        struct pt_content content = {.stamp = {1, i, 9u << 20, 3, 4}, .chunks = chunks, .nchunks = i % 3};
        pt_hashcache_put(c, &content);
    }
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    uint8_t how = fuzz_byte(&in);
    unsigned char *copy = NULL;
    char path[300];
    snprintf(path, sizeof(path), "%s", fuzz_path("hashes"));
    if (how & 1) { /* laid out anew, as it must be aligned */
        fuzz_file("hashes", in.p, in.left);
        size_t n = 0;
        if ((copy = read_file(path, &n))) {
            repair(copy, n);
            fuzz_file("hashes", copy, n);
        }
        free(copy);
    } else {
        fuzz_file("hashes", in.p, in.left);
    }
    struct pt_hashcache *c = pt_hashcache_open(path, PT_DIGEST_BLAKE2B);
    if (c) {
        ask(c);
        put_some(c, how >> 4);
        FUZZ_CHECK(pt_hashcache_save(c) == 0 || fuzz_starved());
        pt_hashcache_destroy(c);
    }
    fuzz_feed();
    c = pt_hashcache_open(path, PT_DIGEST_BLAKE2B);
    FUZZ_CHECK(c);
    ask(c);
    pt_hashcache_destroy(c);
    c = pt_hashcache_open(NULL, PT_DIGEST_BLAKE2B);
    put_some(c, 1);
    FUZZ_CHECK(pt_hashcache_save(c) == 0);
    pt_hashcache_destroy(c);
    pt_hashcache_destroy(NULL);
    fuzz_remove("hashes");
}
