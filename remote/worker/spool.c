/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/spool.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define SPOOL_MAX ((uint64_t)1 << 30)
#define ROOM      ((uint64_t)64 << 20) /* bytes that others keep */
#define LOOK      (1u << 20) /* bytes between two looks at the room, and two times it is given back */

struct pt_spool {
    int fd;
    uint64_t begin, end; /* what waits */
    uint64_t looked;     /* end, when the room was looked at */
    uint64_t freed;      /* the file has no blocks below this */
};

static int open_nameless(const char *dir)
{
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL))
        return fd;
    if (snprintf(path, sizeof(path), "%s/spool.XXXXXX", dir) >= (int)sizeof(path))
        return -1;
    if ((fd = mkostemp(path, O_CLOEXEC)) >= 0)
        unlink(path);
    return fd;
}

struct pt_spool *pt_spool_create(const char *dir, struct pt_err *err)
{
    struct pt_spool *spool = calloc(1, sizeof(*spool));
    if (spool && (spool->fd = open_nameless(dir)) >= 0)
        return spool;
    pt_err_set(err, "a file in %s: %s", dir, strerror(errno));
    free(spool);
    return NULL;
}

void pt_spool_destroy(struct pt_spool *spool)
{
    if (!spool)
        return;
    close(spool->fd);
    free(spool);
}

bool pt_spool_empty(const struct pt_spool *spool)
{
    return !spool || spool->begin == spool->end;
}

static bool has_room(struct pt_spool *spool, size_t n)
{
    struct statvfs vfs;
    if (spool->end - spool->begin + n > SPOOL_MAX)
        return false;
    if (spool->looked && spool->end - spool->looked < LOOK)
        return true;
    if (fstatvfs(spool->fd, &vfs) == 0 && (uint64_t)vfs.f_bavail * vfs.f_frsize < ROOM + n)
        return false;
    spool->looked = spool->end;
    return true;
}

/* What was written in part is written over by what comes next. */
int pt_spool_add(struct pt_spool *spool, const void *frame, size_t n)
{
    if (!has_room(spool, n) || pt_write_at(spool->fd, frame, n, spool->end) < 0)
        return -1;
    spool->end += n;
    return 0;
}

static int read_at(const struct pt_spool *spool, struct pt_buf *out, size_t n, struct pt_err *err)
{
    size_t done = 0;
    char *room = pt_buf_reserve(out, n);
    while (room && done < n) {
        ssize_t k = pread(spool->fd, room + done, n - done, (off_t)(spool->begin + done));
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return pt_err_set(err, "what waited on the disk cannot be read: %s",
                              k < 0 ? strerror(errno) : "it is gone");
        done += (size_t)k;
    }
    return room ? 0 : pt_err_set(err, "out of memory");
}

/* Bytes of the whole frames at the front of n; 0: not even one. */
static size_t whole_frames(const unsigned char *data, size_t n, size_t *first)
{
    size_t used = 0;
    *first = 0;
    while (n - used >= PT_FRAME_HEAD) {
        struct pt_reader r = {.p = data + used, .left = 4};
        size_t frame = 4 + (size_t)pt_get_u32(&r);
        if (used == 0)
            *first = frame;
        if (frame > n - used)
            break;
        used += frame;
    }
    return used;
}

/* The disk has back what was read. */
static void give_back(struct pt_spool *spool)
{
    if (pt_spool_empty(spool)) {
        if (ftruncate(spool->fd, 0) == 0)
            spool->begin = spool->end = spool->looked = spool->freed = 0;
    } else if (spool->begin - spool->freed >= LOOK) {
        if (fallocate(spool->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)spool->freed,
                      (off_t)(spool->begin - spool->freed)) == 0)
            spool->freed = spool->begin;
    }
}

int pt_spool_take(struct pt_spool *spool, struct pt_buf *out, size_t max, struct pt_err *err)
{
    uint64_t have = spool->end - spool->begin;
    size_t first, n = have < max ? (size_t)have : max;
    if (read_at(spool, out, n, err) < 0)
        return -1;
    size_t whole = whole_frames(out->data + out->len, n, &first);
    if (whole == 0 && first > n && first <= have) {
        if (read_at(spool, out, first, err) < 0)
            return -1;
        whole = first;
    }
    if (whole == 0)
        return pt_err_set(err, "what waited on the disk is damaged");
    out->len += whole;
    spool->begin += whole;
    give_back(spool);
    return 0;
}
