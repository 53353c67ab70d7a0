/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tars by hand, and stores in a folder of the test's own. */
#include "common/auto.h"
#include "common/err.h"
#include "remove_tree.h"
#include "sync/compress.h"
#include "sync/there/store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static char store_dir[64];

__attribute__((unused)) static void lab_open(void)
{
    strcpy(store_dir, "/tmp/ptremote-store.XXXXXX");
    cr_assert_not_null(mkdtemp(store_dir));
    cr_assert_eq(chdir(store_dir), 0);
}

__attribute__((unused)) static void lab_close(void)
{
    cr_assert_eq(chdir("/"), 0);
    remove_tree(store_dir);
}

#define LAB_STORE "cache/store/blake2b"

/* --- tars --- */

__attribute__((unused)) static void tar_header(struct pt_buf *b, const char *name, char type, uint64_t size)
{
    unsigned char *h = pt_buf_reserve(b, 512);
    unsigned sum = 0;
    cr_assert_not_null(h);
    memset(h, 0, 512);
    memcpy(h, name, strnlen(name, 100));
    memcpy(h + 100, "0000644", 8);
    memcpy(h + 108, "0000000", 8);
    memcpy(h + 116, "0000000", 8);
    char octal[16];
    snprintf(octal, sizeof(octal), "%011llo", (unsigned long long)size);
    memcpy(h + 124, octal, 12);
    memcpy(h + 136, "00000000000", 12);
    memset(h + 148, ' ', 8);
    h[156] = (unsigned char)type;
    memcpy(h + 257, "ustar\00000", 8);
    for (int i = 0; i < 512; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
    b->len += 512;
}

static void tar_zeros(struct pt_buf *b, size_t n)
{
    static const char zeros[1024];
    pt_buf_append(b, zeros, n);
}

/* Gives the offset of the content. */
__attribute__((unused)) static uint64_t tar_file(struct pt_buf *b, const char *name, const void *data,
                                                 size_t n)
{
    tar_header(b, name, '0', n);
    uint64_t at = b->len;
    pt_buf_append(b, data, n);
    tar_zeros(b, -n % 512);
    return at;
}

__attribute__((unused)) static void tar_end(struct pt_buf *b)
{
    tar_zeros(b, 1024);
}

/* --- blobs --- */

struct lab_blob {
    unsigned char *data;
    uint32_t size;
    uint64_t at; /* in its tar */
    unsigned char digest[PT_DIGEST];
};

/* Content that is like no other's; half of it cannot be squeezed. */
__attribute__((unused)) static struct lab_blob blob_make(uint64_t seed, uint32_t size)
{
    struct lab_blob b = {.data = malloc(size + 1u), .size = size};
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    cr_assert_not_null(b.data);
    for (uint32_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        b.data[i] = i % 64 < 32 ? (unsigned char)x : (unsigned char)seed;
    }
    cr_assert_eq(pt_digest_buffer(PT_DIGEST_BLAKE2B, b.data, size, b.digest, NULL), 0);
    return b;
}

struct lab_set {
    struct lab_blob *v;
    size_t n;
    struct pt_buf tar;
};

/* n blobs of sizes from 1 to max, in a tar with an end. */
__attribute__((unused)) static struct lab_set set_make(uint64_t seed, size_t n, uint32_t max)
{
    struct lab_set s = {.v = calloc(n, sizeof(*s.v)), .n = n};
    for (size_t i = 0; i < n; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%zu", i);
        uint64_t key = seed * 1000003 + i;
        s.v[i] = blob_make(key, 1 + (uint32_t)(key * 2654435761u % max));
        s.v[i].at = tar_file(&s.tar, name, s.v[i].data, s.v[i].size);
    }
    tar_end(&s.tar);
    return s;
}

__attribute__((unused)) static void set_free(struct lab_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i].data);
    free(s->v);
    pt_buf_fini(&s->tar);
}

/* The raw bytes [from, to) as segments of `piece` bytes; level 0 stores them. */
static void lab_segments(struct pt_store *s, const struct pt_buf *raw, size_t to, size_t piece, int level)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf b = {0};
    for (size_t at = 0; at < to; at += piece) {
        size_t n = to - at < piece ? to - at : piece;
        struct pt_segment g = {.data = raw->data + at, .size = (uint32_t)n, .raw = (uint32_t)n};
        b.len = 0;
        if (level) {
            cr_assert_eq(pt_segment_pack(raw->data + at, n, level, &b, &err), 0, "%s", err.msg);
            g = (struct pt_segment){
                .data = b.data, .size = (uint32_t)b.len, .raw = (uint32_t)n, .packed = true};
        }
        cr_assert_eq(pt_store_segment(s, &g, &err), 0, "%s", err.msg);
    }
    pt_buf_fini(&b);
}

__attribute__((unused)) static void lab_put(struct pt_store *s, const struct lab_set *set, size_t piece,
                                            int level)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_store_begin(s, &err), 0, "%s", err.msg);
    lab_segments(s, &set->tar, set->tar.len, piece, level);
    for (size_t i = 0; i < set->n; i++)
        pt_store_note(s, set->v[i].digest, set->v[i].at, set->v[i].size);
    cr_assert_eq(pt_store_end(s, &err), 0, "%s", err.msg);
}

__attribute__((unused)) static struct pt_store *lab_store(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_store *s = pt_store_open("cache", PT_DIGEST_BLAKE2B, &err);
    cr_assert_not_null(s, "%s", err.msg);
    return s;
}

static int lab_check(void *arg, uint32_t number, const void *data, uint32_t size)
{
    const struct lab_set *set = arg;
    cr_assert_lt(number, set->n);
    cr_assert_eq(size, set->v[number].size);
    cr_assert_eq(memcmp(data, set->v[number].data, size), 0, "blob %u has other content", number);
    return 0;
}

/* Reads all of the set that the store gives, every byte compared; how many those are. */
__attribute__((unused)) static size_t lab_get(struct pt_store *s, struct lab_set *set)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_store_want *w = calloc(set->n + 1, sizeof(*w));
    size_t got = 0;
    for (size_t i = 0; i < set->n; i++) {
        w[i] = (struct pt_store_want){.size = set->v[i].size, .number = (uint32_t)i};
        memcpy(w[i].digest, set->v[i].digest, PT_DIGEST);
    }
    cr_assert_eq(pt_store_read(s, w, set->n, lab_check, set, &err), 0, "%s", err.msg);
    for (size_t i = 0; i < set->n; i++) {
        got += !w[i].lost;
        cr_assert_eq(pt_store_has(s, w[i].digest, w[i].size), !w[i].lost, "blob %zu", i);
    }
    free(w);
    return got;
}

/* --- files of the store --- */

/* The first file with that suffix, below the lab; "" when there is none. */
__attribute__((unused)) static const char *lab_find(const char *suffix)
{
    static char found[512];
    DIR *d = opendir(LAB_STORE);
    found[0] = '\0';
    for (const struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name), m = strlen(suffix);
        if (n > m && strcmp(e->d_name + n - m, suffix) == 0 && !found[0])
            snprintf(found, sizeof(found), "%s/%s", LAB_STORE, e->d_name);
    }
    if (d)
        closedir(d);
    return found;
}

__attribute__((unused)) static size_t lab_count(const char *suffix)
{
    size_t count = 0;
    DIR *d = opendir(LAB_STORE);
    for (const struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name), m = strlen(suffix);
        count += n > m && strcmp(e->d_name + n - m, suffix) == 0;
    }
    if (d)
        closedir(d);
    return count;
}

__attribute__((unused)) static void lab_slurp(const char *path, struct pt_buf *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(fstat(fd, &st), 0);
    void *room = pt_buf_reserve(out, (size_t)st.st_size + 1);
    cr_assert_eq(read(fd, room, (size_t)st.st_size), st.st_size);
    out->len += (size_t)st.st_size;
    close(fd);
}

__attribute__((unused)) static void lab_spill(const char *path, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(write(fd, data, n), (ssize_t)n);
    close(fd);
}

/* As if nobody had written to it for so long. */
__attribute__((unused)) static void lab_age(const char *path, time_t seconds)
{
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){.tv_sec = now.tv_sec - seconds};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}
