/* SPDX-License-Identifier: Apache-2.0 */
/* Where large files are cut, and what a scan knows of them. */
#include "sync/chunk.h"
#include "sync/here/hashcache.h"
#include "sync/here/scan.h"
#include "sync_lab.h"

TestSuite(sync_chunk, .init = lab_open, .fini = lab_close);

/* Always the same bytes without a pattern: xorshift64. */
static unsigned char *noise(size_t n, uint64_t seed)
{
    unsigned char *out = malloc(n + 8);
    cr_assert_not_null(out);
    for (size_t i = 0; i < n; i += 8) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        memcpy(out + i, &seed, 8);
    }
    return out;
}

static size_t cut_all(const unsigned char *data, size_t n, struct pt_chunk *chunks, size_t cap)
{
    size_t count = 0;
    for (size_t at = 0, size; at < n; at += size) {
        size = pt_chunk_cut(data + at, n - at);
        cr_assert(size > 0 && size <= PT_CHUNK_MAX && (size > PT_CHUNK_MIN || at + size == n));
        cr_assert_lt(count, cap);
        chunks[count].size = (uint32_t)size;
        pt_digest_buffer(PT_DIGEST_BLAKE2B, data + at, size, chunks[count++].digest, NULL);
    }
    return count;
}

/* Were these to change, every large file would be sent again by the next version. */
Test(sync_chunk, cuts_never_change)
{
    static const uint32_t wanted[] = {682804, 1231120, 1326345, 1214939, 782694, 1082423, 1343814, 724469};
    size_t n = 8u << 20;
    struct pt_chunk chunks[64];
    pt_auto_free unsigned char *data = noise(n, 1);
    size_t count = cut_all(data, n, chunks, 64);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(chunks[i].size, wanted[i], "%zu: %u", i, chunks[i].size);
    cr_assert_eq(count, PT_COUNT(wanted));
}

Test(sync_chunk, edges)
{
    pt_auto_free unsigned char *zeros = calloc(1, 5u << 20);
    for (size_t n = 0; n <= PT_CHUNK_MIN; n += PT_CHUNK_MIN / 4)
        cr_assert_eq(pt_chunk_cut(zeros, n), n);
    cr_assert_eq(pt_chunk_cut(zeros, PT_CHUNK_MAX), PT_CHUNK_MAX);
    cr_assert_eq(pt_chunk_cut(zeros, 5u << 20), PT_CHUNK_MAX);
}

Test(sync_chunk, piece_by_piece_is_the_same)
{
    size_t n = 12u << 20, at = 0;
    struct pt_chunk chunks[64];
    struct pt_chunker c = {0};
    pt_auto_free unsigned char *data = noise(n, 2);
    memset(data + (4u << 20), 0, 5u << 20);
    size_t count = cut_all(data, n, chunks, 64);
    for (size_t i = 0; i < count; i++) {
        bool cut = false;
        size_t size = 0;
        while (!cut && at < n) {
            size_t piece = (size_t)random() % 70000;
            size_t took = pt_chunker_feed(&c, data + at, piece < n - at ? piece : n - at, &cut);
            at += took;
            size += took;
        }
        cr_assert_eq(size, chunks[i].size, "%zu", i);
    }
    cr_assert_eq(at, n);
}

static size_t unknown_in(const struct pt_chunk *a, size_t na, const struct pt_chunk *b, size_t nb)
{
    size_t unknown = nb;
    for (size_t i = 0; i < nb; i++)
        for (size_t k = 0; k < na; k++)
            if (memcmp(a[k].digest, b[i].digest, PT_DIGEST) == 0) {
                unknown--;
                break;
            }
    return unknown;
}

Test(sync_chunk, an_inserted_byte_changes_few_chunks)
{
    size_t n = 64u << 20;
    static struct pt_chunk before[256], after[256];
    pt_auto_free unsigned char *data = noise(n + 1, 3);
    size_t na = cut_all(data + 1, n, before, 256), nb = cut_all(data, n + 1, after, 256);
    cr_assert_leq(unknown_in(before, na, after, nb), 3);
    memmove(data + (32u << 20), data + (32u << 20) + 5, 1u << 20);
    nb = cut_all(data, n + 1, after, 256);
    cr_assert_leq(unknown_in(before, na, after, nb), 8);
}

/* --- in a scan --- */

static struct pt_manifest *scan_large(void)
{
    char root[128], cache[128];
    struct pt_err err = PT_ERR_INIT;
    snprintf(root, sizeof(root), "%s/here", lab_dir);
    snprintf(cache, sizeof(cache), "%s/hashcache", lab_dir);
    struct pt_tree_spec spec = {.root = root, .cache = cache, .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    cr_assert_not_null(m, "%s", err.msg);
    return m;
}

Test(sync_chunk, scan_of_large_files)
{
    size_t n = 9u << 20;
    struct pt_chunk chunks[64];
    unsigned char whole[PT_DIGEST];
    pt_auto_free unsigned char *data = noise(n, 4);
    lab_write("here/large", data, n);
    lab_write("here/limit", data, PT_CHUNKED_FROM);
    size_t count = cut_all(data, n, chunks, 64);
    struct pt_manifest *m = scan_large();
    const struct pt_entry *e = pt_manifest_find(m, "large"), *limit = pt_manifest_find(m, "limit");
    cr_assert_eq(e->size, n);
    cr_assert_eq(e->nchunks, count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(e->chunks[i].size, chunks[i].size);
        cr_assert_arr_eq(e->chunks[i].digest, chunks[i].digest, PT_DIGEST);
    }
    cr_assert_eq(limit->nchunks, 0);
    cr_assert_eq(pt_digest_file(PT_DIGEST_BLAKE2B, "here/limit", whole, NULL), 0);
    cr_assert_arr_eq(limit->digest, whole, PT_DIGEST);
    pt_manifest_destroy(m);
}

static int made_of(const struct pt_entry *e, const char *path)
{
    struct stat st;
    unsigned char *data = malloc(e->size);
    int fd = open(path, O_RDONLY | O_CLOEXEC), bad = 0;
    cr_assert(fstat(fd, &st) == 0 && (uint64_t)st.st_size == e->size);
    for (size_t at = 0; at < e->size;) {
        ssize_t got = read(fd, data + at, e->size - at);
        cr_assert_gt(got, 0);
        at += (size_t)got;
    }
    close(fd);
    struct pt_chunk *chunks = calloc(e->nchunks + (size_t)1, sizeof(*chunks));
    size_t n = cut_all(data, e->size, chunks, e->nchunks + (size_t)1);
    bad = n != e->nchunks;
    for (size_t i = 0; !bad && i < n; i++)
        bad = chunks[i].size != e->chunks[i].size ||
              memcmp(chunks[i].digest, e->chunks[i].digest, PT_DIGEST) != 0;
    free(chunks);
    free(data);
    return bad;
}

/* Holes are not read; where they begin and end makes no difference. */
Test(sync_chunk, holes)
{
    pt_auto_free unsigned char *data = noise(3u << 20, 5);
    for (int round = 0; round < 6; round++) {
        int fd = open("here/sparse", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        off_t at = 0;
        for (int i = 0; i < 4; i++) {
            size_t n = (size_t)random() % (3u << 20);
            at += random() % 2 ? random() % (14 << 20) : (random() % 9) * 4096;
            cr_assert_eq(pwrite(fd, data, n, at), (ssize_t)n);
            at += (off_t)n;
        }
        cr_assert_eq(ftruncate(fd, at + random() % (20 << 20) + (9 << 20)), 0);
        close(fd);
        struct pt_manifest *m = scan_large();
        cr_assert_not(made_of(pt_manifest_find(m, "sparse"), "here/sparse"), "%d", round);
        pt_manifest_destroy(m);
    }
}

Test(sync_chunk, four_gibibytes_of_nothing)
{
    int fd = open("here/sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    cr_assert_eq(pwrite(fd, "x", 1, (off_t)3 << 30), 1);
    cr_assert_eq(ftruncate(fd, ((off_t)4 << 30) + 5), 0);
    close(fd);
    struct pt_manifest *m = scan_large();
    const struct pt_entry *e = pt_manifest_find(m, "sparse");
    cr_assert_eq(e->size, ((uint64_t)4 << 30) + 5);
    cr_assert(e->nchunks >= 1024 && e->nchunks < 1100, "%u", e->nchunks);
    pt_manifest_destroy(m);
}

/* --- in the hash cache --- */

static struct pt_content content_of(const char *path, struct pt_chunk *chunks, uint32_t n)
{
    struct stat st;
    cr_assert_eq(lstat(path, &st), 0);
    struct pt_content c = {.stamp = pt_stamp_of(&st), .chunks = chunks, .nchunks = n};
    c.stamp.mtime_ns = c.stamp.ctime_ns = 5;
    cr_assert_eq(pt_chunks_digest(PT_DIGEST_BLAKE2B, chunks, n, c.digest), 0);
    return c;
}

Test(sync_chunk, cache_remembers_chunks)
{
    struct pt_chunk chunks[7] = {{.size = 1}, {.size = 2}, {.size = 3}, {.size = 4}};
    struct pt_hashed h;
    lab_text("a", "");
    lab_text("b", "");
    lab_text("c", "");
    cr_assert_eq(truncate("a", PT_CHUNKED_FROM + 1) | truncate("b", PT_CHUNKED_FROM + 1), 0);
    struct pt_content a = content_of("a", chunks, 3), b = content_of("b", chunks + 2, 2),
                      plain = content_of("c", NULL, 0);
    struct pt_hashcache *c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
    pt_hashcache_put(c, &a);
    pt_hashcache_put(c, &b);
    pt_hashcache_put(c, &plain);
    cr_assert_eq(pt_hashcache_save(c), 0);
    pt_hashcache_destroy(c);
    for (int round = 0; round < 3; round++) {
        c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
        cr_assert(pt_hashcache_get(c, &plain.stamp, &h));
        cr_assert_eq(h.nchunks, 0);
        cr_assert(pt_hashcache_get(c, &b.stamp, &h));
        cr_assert(h.nchunks == 2 && memcmp(h.chunks, b.chunks, 2 * sizeof(*chunks)) == 0);
        cr_assert_arr_eq(h.digest, b.digest, PT_DIGEST);
        if (round == 0) {
            a.nchunks = 4;
            a.stamp.mtime_ns = 6;
            cr_assert_eq(pt_chunks_digest(PT_DIGEST_BLAKE2B, chunks, 4, a.digest), 0);
            pt_hashcache_put(c, &a);
        } else {
            cr_assert(pt_hashcache_get(c, &a.stamp, &h));
            cr_assert(h.nchunks == 4 && h.chunks[3].size == 4);
        }
        cr_assert_eq(pt_hashcache_save(c), 0);
        pt_hashcache_destroy(c);
    }
}

static ino_t inode(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_ino;
}

Test(sync_chunk, cache_is_written_when_there_is_news)
{
    struct pt_hashed h;
    struct pt_stamp stamps[100];
    struct pt_hashcache *c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
    for (size_t i = 0; i < 100; i++) {
        struct pt_content content = {.stamp = {.dev = 1, .ino = i, .mtime_ns = 1, .ctime_ns = 1}};
        stamps[i] = content.stamp;
        pt_hashcache_put(c, &content);
    }
    cr_assert_eq(pt_hashcache_save(c), 0);
    pt_hashcache_destroy(c);
    ino_t first = inode("cachefile");
    static const size_t asked[] = {100, 50, 49};
    for (size_t round = 0; round < 3; round++) {
        c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
        for (size_t i = 0; i < asked[round]; i++)
            cr_assert(pt_hashcache_get(c, &stamps[i], &h));
        cr_assert_eq(pt_hashcache_save(c), 0);
        pt_hashcache_destroy(c);
        cr_assert_eq(inode("cachefile") == first, round < 2, "%zu", round);
    }
    c = pt_hashcache_open("cachefile", PT_DIGEST_BLAKE2B);
    cr_assert(pt_hashcache_get(c, &stamps[48], &h));
    cr_assert_not(pt_hashcache_get(c, &stamps[49], &h), "no one asked for it");
    pt_hashcache_destroy(c);
}
