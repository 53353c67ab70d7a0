/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Trees for a fan-out, and lanes that read it. Digests are of no matter to it: these trees have none. */
#include "common/auto.h"
#include "common/err.h"
#include "remove_tree.h"
#include "sync/chunk.h"
#include "sync/compress.h"
#include "sync/here/fanout.h"
#include "sync/stamp.h"

#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LAB_DEADLINE 60000 /* ms that anything may take */
#define LAB_MIB      (1u << 20)

static char lab_dir[64], lab_spill[80];

/* The tree is the folder that the test stands in. */
static void lab_open(void)
{
    strcpy(lab_dir, "/tmp/ptremote-fanout.XXXXXX");
    cr_assert_not_null(mkdtemp(lab_dir));
    cr_assert_eq(chmod(lab_dir, 0755), 0);
    cr_assert_eq(chdir(lab_dir), 0);
    snprintf(lab_spill, sizeof(lab_spill), "%s/spill", lab_dir);
    cr_assert_eq(mkdir("spill", 0777), 0);
    cr_assert_eq(mkdir("here", 0755), 0);
    cr_assert_eq(chdir("here"), 0);
}

static void lab_close(void)
{
    cr_assert_eq(chdir("/"), 0);
    remove_tree(lab_dir);
}

static uint64_t lab_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* A file of n bytes: text that packs well, or noise that does not. */
static void lab_file(const char *path, size_t n, bool noise)
{
    static uint64_t state = 7;
    pt_auto_free char *block = malloc(LAB_MIB + 8);
    pt_auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    while (n > 0) {
        size_t part = n < LAB_MIB ? n : LAB_MIB;
        for (size_t i = 0; i < part; i += 8) {
            uint64_t r = lab_random(&state);
            memcpy(block + i, noise ? (const char *)&r : r & 1 ? "def test" : "return x", 8);
        }
        cr_assert_eq(write(fd, block, part), (ssize_t)part);
        n -= part;
    }
}

static void lab_add(struct pt_manifest *m, const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0, "%s", path);
    struct pt_entry e = {.path = path,
                         .type = PT_ENTRY_FILE,
                         .mode = st.st_mode & 0777,
                         .size = (uint64_t)st.st_size,
                         .mtime_ns = pt_timespec_ns(st.st_mtim)};
    pt_auto_free struct pt_chunk *chunks = NULL;
    if (e.size > PT_CHUNKED_FROM) {
        uint64_t left = e.size;
        chunks = calloc(e.size / 1000000 + 2, sizeof(*chunks));
        for (; left > 0; left -= chunks[e.nchunks++].size) {
            uint32_t want = 1000000 + 1234567 * (e.nchunks % 3);
            chunks[e.nchunks].size = left < want ? (uint32_t)left : want;
        }
        e.chunks = chunks;
        cr_assert_eq(pt_chunks_digest(PT_DIGEST_BLAKE2B, chunks, e.nchunks, e.digest), 0);
    }
    cr_assert_eq(pt_manifest_add(m, &e, NULL), 0);
}

/* All files of the tree, as they are now. */
static struct pt_manifest *lab_scan(void)
{
    struct pt_err err = PT_ERR_INIT;
    char here[80];
    snprintf(here, sizeof(here), "%s/here", lab_dir);
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, here, &err);
    DIR *d = opendir(".");
    for (const struct dirent *e; (e = readdir(d));)
        if (e->d_type == DT_REG)
            lab_add(m, e->d_name);
    closedir(d);
    cr_assert_eq(pt_manifest_seal(m, &err), 0, "%s", err.msg);
    return m;
}

__attribute__((unused)) static struct pt_fanout *lab_fanout(struct pt_manifest *m, unsigned lanes)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_fanout *f = pt_fanout_create(m, lab_spill, lanes, &err);
    cr_assert_not_null(f, "%s", err.msg);
    return f;
}

/* Which blobs: every step-th from `from`. Heap. */
static unsigned char *lab_need(const struct pt_fanout *f, uint32_t from, uint32_t step)
{
    uint32_t n = pt_manifest_blobs(pt_fanout_manifest(f));
    unsigned char *need = calloc(n / 8 + 1, 1);
    for (uint32_t i = from; i < n; i += step)
        need[i / 8] |= (unsigned char)(1u << (i % 8));
    return need;
}

/* --- a lane --- */

struct lab_lane {
    struct pt_fanout *f;
    struct pt_parcel *parcel;
    int level;
    struct pt_digest *digest; /* of the raw bytes */
    uint64_t raw, wire;
    uint32_t segments, packed, last_raw;
    FILE *keep; /* the raw bytes too, when set */
    enum pt_parcel_got got;
    struct pt_err err;
    unsigned char result[PT_DIGEST];
    unsigned char room[PT_SEGMENT_MAX];
};

__attribute__((unused)) static struct lab_lane *lab_join(struct pt_fanout *f, const unsigned char *need,
                                                         int level)
{
    struct lab_lane *lane = calloc(1, sizeof(*lane));
    lane->f = f;
    lane->level = level;
    lane->err = PT_ERR_INIT;
    lane->digest = pt_digest_create(PT_DIGEST_BLAKE2B, NULL);
    pt_auto_free unsigned char *all = lab_need(f, 0, 1);
    lane->parcel = pt_fanout_join(f, need ? need : all, &lane->err);
    cr_assert_not_null(lane->parcel, "%s", lane->err.msg);
    return lane;
}

__attribute__((unused)) static void lab_leave(struct lab_lane *lane)
{
    pt_parcel_leave(lane->parcel);
    pt_digest_destroy(lane->digest);
    free(lane);
}

static void lab_await(const struct lab_lane *lane)
{
    struct pollfd p = {.fd = pt_parcel_fd(lane->parcel), .events = POLLIN};
    cr_assert_eq(poll(&p, 1, LAB_DEADLINE), 1, "nothing came");
}

static void lab_take(struct lab_lane *lane, const struct pt_segment *s)
{
    const void *raw = s->data;
    cr_assert(pt_segment_fits(s->size, s->raw, s->packed));
    if (s->packed) {
        cr_assert_eq(pt_segment_unpack(s, lane->room, &lane->err), 0, "%s", lane->err.msg);
        cr_assert_lt(s->size, s->raw * 97 / 100 + 1);
        raw = lane->room;
    }
    pt_digest_add(lane->digest, raw, s->raw);
    if (lane->keep)
        cr_assert_eq(fwrite(raw, 1, s->raw, lane->keep), s->raw);
    lane->raw += s->raw;
    lane->wire += s->size;
    lane->last_raw = s->raw;
    lane->segments++;
    lane->packed += s->packed;
}

/* One segment, waited for by the event alone; false at the end. */
static bool lab_step(struct lab_lane *lane)
{
    struct pt_segment s;
    do {
        lab_await(lane);
        lane->got = pt_parcel_next(lane->parcel, lane->level, &s, &lane->err);
    } while (lane->got == PT_PARCEL_NOTHING);
    if (lane->got != PT_PARCEL_SEGMENT)
        return false;
    lab_take(lane, &s);
    return true;
}

/* All that comes; gives how it ended. */
static enum pt_parcel_got lab_drain(struct lab_lane *lane)
{
    while (lab_step(lane))
        ;
    cr_assert_eq(pt_digest_end(lane->digest, lane->result), 0);
    return lane->got;
}

__attribute__((unused)) static void *lab_drain_thread(void *arg)
{
    lab_drain(arg);
    return NULL;
}

__attribute__((unused)) static void lab_whole(const struct lab_lane *lane)
{
    cr_assert_eq(lane->got, PT_PARCEL_END, "%d: %s", lane->got, lane->err.msg);
}

/* --- what came --- */

static void lab_same_content(const struct pt_manifest *m, uint32_t number, struct archive *a)
{
    struct pt_blob b = pt_manifest_blob(m, number);
    const char *path = pt_manifest_get(m, b.entry)->path;
    pt_auto_free char *want = malloc(b.size + 1);
    pt_auto_free char *got = malloc(b.size + 1);
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, want, b.size, (off_t)b.offset), (ssize_t)b.size, "%s", path);
    cr_assert_eq(archive_read_data(a, got, b.size + 1), (la_ssize_t)b.size, "%s", path);
    cr_assert_eq(memcmp(want, got, b.size), 0, "%s: blob %u", path, number);
}

/* Reads the archive back: every needed blob in order, as it lies in the tree. Gives how many whole entries
 * there were, and in *whole whether the archive is at its proper end. */
__attribute__((unused)) static uint32_t lab_read_back(const struct pt_manifest *m, const unsigned char *need,
                                                      const void *data, size_t n, bool *whole)
{
    struct archive *a = archive_read_new();
    struct archive_entry *e;
    uint32_t count = 0, number = 0;
    archive_read_support_format_tar(a);
    cr_assert_eq(archive_read_open_memory(a, data, n), ARCHIVE_OK);
    int rc;
    while ((rc = archive_read_next_header(a, &e)) == ARCHIVE_OK) {
        char name[16];
        while (number < pt_manifest_blobs(m) && !(need[number / 8] >> (number % 8) & 1))
            number++;
        snprintf(name, sizeof(name), "%u", (unsigned)number);
        cr_assert_str_eq(archive_entry_pathname(e), name);
        cr_assert_eq(archive_entry_filetype(e), AE_IFREG);
        cr_assert_eq(archive_entry_perm(e), 0600);
        cr_assert_eq(archive_entry_mtime(e), 0);
        cr_assert_eq(archive_format(a), ARCHIVE_FORMAT_TAR_USTAR);
        lab_same_content(m, number++, a);
        count++;
    }
    *whole = rc == ARCHIVE_EOF;
    archive_read_free(a);
    return count;
}

/* Descriptors of nameless files below the spill folder. */
__attribute__((unused)) static unsigned lab_spills(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    for (const struct dirent *e; (e = readdir(d));) {
        char target[256] = "";
        if (readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1) > 0 &&
            strncmp(target, lab_spill, strlen(lab_spill)) == 0 && strstr(target, " (deleted)"))
            count++;
    }
    closedir(d);
    return count;
}
