/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "sync/there/store_inside.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <time.h>

#define TRIES 16

static int write_both(int fd, struct iovec *v, int n)
{
    while (n > 0) {
        ssize_t done = writev(fd, v, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        while (n > 0 && (size_t)done >= v->iov_len) {
            done -= (ssize_t)v->iov_len;
            v++;
            n--;
        }
        if (n > 0) {
            v->iov_base = (char *)v->iov_base + done;
            v->iov_len -= (size_t)done;
        }
    }
    return 0;
}

/* Made and held by us: whoever tidies looks for a moment whether it can lock the file. */
static int take_file(const struct pt_store *s, const char *file)
{
    struct stat st, now;
    pt_auto_fd int fd = openat(s->dir, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    bool held = flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
    if (held && fstat(fd, &st) == 0 && fstatat(s->dir, file, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_ino == now.st_ino)
        return pt_steal_fd(&fd);
    unlinkat(s->dir, file, 0);
    errno = EEXIST;
    return -1;
}

struct store_pack *pt_store_pack_begin(const struct pt_store *s, const char *suffix)
{
    struct store_pack *p = pt_store_pack_create();
    if (!p)
        return NULL;
    char file[STORE_FILE];
    for (int i = 0; i < TRIES && p->fd < 0; i++) {
        uint64_t random;
        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
            break;
        snprintf(p->name, sizeof(p->name), "%016llx", (unsigned long long)random);
        pt_store_file(file, p->name, suffix);
        p->fd = take_file(s, file);
        if (p->fd < 0 && errno != EEXIST)
            break;
    }
    unsigned char head[STORE_HEAD] = STORE_MAGIC;
    memcpy(head + STORE_BOOT_AT, s->boot, STORE_BOOT);
    struct iovec v = {.iov_base = head, .iov_len = sizeof(head)};
    if (p->fd >= 0 && write_both(p->fd, &v, 1) == 0)
        return p;
    if (p->fd >= 0)
        pt_store_pack_remove(s, p, suffix);
    pt_store_pack_destroy(p);
    return NULL;
}

int pt_store_pack_write(struct store_pack *p, const struct pt_segment *segment)
{
    struct store_segment_head head = {.magic = STORE_SEGMENT_MAGIC,
                                      .raw = htobe32(segment->raw),
                                      .size = htobe32(segment->size),
                                      .packed = segment->packed};
    struct iovec v[2] = {
        {.iov_base = &head, .iov_len = sizeof(head)},
        {.iov_base = (void *)(uintptr_t)segment->data, .iov_len = segment->size},
    };
    return write_both(p->fd, v, 2) < 0
               ? -1
               : pt_store_pack_segment(p, segment->size, segment->raw, segment->packed);
}

/* A machine that could not see our lock may have renamed it already, with an index of what there was. */
static int publish(const struct pt_store *s, const struct store_pack *p, const char *suffix)
{
    char from[STORE_FILE], to[STORE_FILE];
    struct stat ours, there;
    pt_store_file(from, p->name, suffix);
    pt_store_file(to, p->name, ".pack");
    if (renameat(s->dir, from, s->dir, to) == 0)
        return 0;
    int saved = errno;
    if (saved == ENOENT && fstat(p->fd, &ours) == 0 &&
        fstatat(s->dir, to, &there, AT_SYMLINK_NOFOLLOW) == 0 && ours.st_ino == there.st_ino)
        return 0;
    errno = saved;
    return -1;
}

int pt_store_pack_end(struct pt_store *s, struct store_pack *p, const char *suffix)
{
    if (pt_store_pack_save(s, p) < 0 || publish(s, p, suffix) < 0) {
        int saved = errno;
        pt_store_pack_remove(s, p, suffix);
        pt_store_pack_destroy(p);
        errno = saved;
        return -1;
    }
    close(pt_steal_fd(&p->fd));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    p->used = now.tv_sec;
    return pt_store_take(s, p);
}

/* --- an archive --- */

static int cannot_keep(const struct pt_store *s, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "cannot keep files in '%s' on the host: %s",
                           s ? s->folder : "the store", s ? strerror(errno) : "there is none");
}

int pt_store_begin(struct pt_store *s, struct pt_err *err)
{
    if (!s)
        return cannot_keep(s, err);
    pt_store_end(s, NULL);
    s->writing = pt_store_pack_begin(s, ".part");
    return s->writing ? 0 : cannot_keep(s, err);
}

static void abandon(struct pt_store *s)
{
    int saved = errno;
    pt_store_pack_remove(s, s->writing, ".part");
    pt_store_pack_destroy(s->writing);
    s->writing = NULL;
    errno = saved;
}

int pt_store_segment(struct pt_store *s, const struct pt_segment *segment, struct pt_err *err)
{
    if (!s || !s->writing)
        return 0;
    errno = EINVAL;
    if (pt_segment_fits(segment->size, segment->raw, segment->packed) &&
        pt_store_pack_write(s->writing, segment) == 0)
        return 0;
    abandon(s);
    return cannot_keep(s, err);
}

void pt_store_note(struct pt_store *s, const unsigned char digest[PT_DIGEST], uint64_t raw_offset,
                   uint32_t size)
{
    if (!s || size == 0 || size > PT_BLOB_MAX)
        return;
    pthread_mutex_lock(&s->lock);
    struct store_pack *notes = &s->notes;
    struct store_blob blob = {.offset = raw_offset, .size = size};
    memcpy(blob.digest, digest, PT_DIGEST);
    if (notes->nblobs < STORE_MAX_BLOBS)
        pt_store_pack_blob(notes, &blob);
    pthread_mutex_unlock(&s->lock);
}

int pt_store_end(struct pt_store *s, struct pt_err *err)
{
    if (!s)
        return 0;
    struct store_pack *p = s->writing;
    for (size_t i = 0; p && i < s->notes.nblobs; i++) {
        const struct store_blob *b = &s->notes.blobs[i];
        if (b->size <= p->raw && b->offset <= p->raw - b->size && pt_store_pack_blob(p, b) < 0)
            break;
    }
    s->notes.nblobs = 0;
    s->writing = NULL;
    if (!p)
        return 0;
    if (p->nblobs > 0)
        return pt_store_pack_end(s, p, ".part") < 0 ? cannot_keep(s, err) : 0;
    pt_store_pack_remove(s, p, ".part");
    pt_store_pack_destroy(p);
    return 0;
}
