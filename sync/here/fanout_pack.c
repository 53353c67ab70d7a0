/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "sync/here/fanout_inside.h"
#include "sync/here/files.h"
#include "sync/here/tar.h"
#include "sync/stamp.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#define FIRST_PIECE (64u << 10) /* so that the first lane soon has something to send */
#define FEW         2           /* pieces that a lane may always have before it, however full memory is */

/* A piece that the fastest lane will want compressed, but not the one it is just about to take: that is the
 * lane's, while the thread reads on. */
static struct pt_fan_piece *to_squeeze(const struct pt_fan_pack *pack, int *level)
{
    size_t leader = pt_fan_leader(pack, level);
    for (size_t i = leader + 1; *level > 0 && i < pack->n; i++)
        if (pt_fan_wants_packing(pack->pieces[i], *level) && !pack->pieces[i]->busy)
            return pack->pieces[i];
    return NULL;
}

/* May let go of the lock; what it says is true of now. */
static bool may_read(struct pt_fan_pack *pack, uint32_t room)
{
    size_t leader = pt_fan_leader(pack, NULL);
    uint64_t taken = leader < pack->n ? pack->pieces[leader]->at : pack->length;
    if (!pack->parcels || pack->length - taken + room > PT_FANOUT_AHEAD)
        return false;
    return pt_fan_make_room(pack->f, pack->f->pooled ? 0 : room) || pack->n - pt_fan_leader(pack, NULL) < FEW;
}

/* Compress what will be wanted; without such, go on when that much may be read. False when stopped. */
static bool await_room(struct pt_fan_pack *pack, uint32_t room)
{
    int level = 0;
    while (!pack->stop) {
        struct pt_fan_piece *piece = to_squeeze(pack, &level);
        if (piece) {
            pt_fan_squeeze(pack->f, piece, level, &pack->scratch);
        } else if (may_read(pack, room)) {
            return !pack->stop;
        } else if (!pack->stop) {
            pack->waiting = true;
            pthread_cond_wait(&pack->changed, &pack->f->lock);
        }
    }
    return false;
}

/* The next piece to fill, with its place in the list. */
static int new_piece(struct pt_fan_pack *pack)
{
    uint32_t room = pack->n < 4 ? FIRST_PIECE << pack->n : PT_SEGMENT_MAX;
    if (!await_room(pack, room))
        return -1;
    if (pack->n == pack->cap) {
        size_t cap = pack->cap ? 2 * pack->cap : 64;
        struct pt_fan_piece **pieces = reallocarray(pack->pieces, cap, sizeof(struct pt_fan_piece *));
        if (!pieces)
            return pt_err_set(&pack->err, "packing: out of memory");
        pack->pieces = pieces;
        pack->cap = cap;
    }
    pack->filling = pt_fan_piece_create(pack->f, room);
    pack->filled = pack->good = 0;
    return pack->filling ? 0 : pt_err_set(&pack->err, "packing: out of memory");
}

static void *room_for(void *arg, size_t *n)
{
    struct pt_fan_pack *pack = arg;
    if (!pack->filling) {
        pthread_mutex_lock(&pack->f->lock);
        int rc = new_piece(pack);
        pthread_mutex_unlock(&pack->f->lock);
        if (rc < 0)
            return NULL;
    }
    *n = pack->filling->room - pack->filled;
    return pack->filling->data + pack->filled;
}

/* With the lock: the first n bytes of what is being filled are a piece. */
static void publish(struct pt_fan_pack *pack, uint32_t n)
{
    struct pt_fan_piece *piece = pt_steal_ptr(&pack->filling);
    if (!piece)
        return;
    if (n == 0) {
        pt_fan_piece_unref(pack->f, piece);
        return;
    }
    piece->at = pack->length;
    piece->raw = n;
    pack->pieces[pack->n++] = piece;
    pack->length += n;
    pt_fan_refresh(pack->f);
}

static void took(void *arg, size_t n)
{
    struct pt_fan_pack *pack = arg;
    pack->filled += (uint32_t)n;
    if (pack->filled < pack->filling->room)
        return;
    pthread_mutex_lock(&pack->f->lock);
    publish(pack, pack->filled);
    pthread_mutex_unlock(&pack->f->lock);
}

static enum pt_parcel_got changed(struct pt_err *err, const char *path)
{
    pt_err_set(err, "%s changed while it was sent", path);
    return PT_PARCEL_CHANGED;
}

static enum pt_parcel_got unreadable(struct pt_err *err, const char *path)
{
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ESTALE)
        return changed(err, path);
    pt_err_set_kind(err, PT_ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
    pt_files_hint(err, path);
    return PT_PARCEL_FAILED;
}

static enum pt_parcel_got as_told(enum pt_tar_got got, struct pt_err *err, const char *path)
{
    switch (got) {
    case PT_TAR_DONE:
        return PT_PARCEL_END;
    case PT_TAR_SHORT:
        return changed(err, path);
    case PT_TAR_UNREADABLE:
        return unreadable(err, path);
    case PT_TAR_STOPPED:
    case PT_TAR_BROKEN:
        break;
    }
    return PT_PARCEL_FAILED;
}

static bool is_needed(const struct pt_fan_pack *pack, uint32_t number)
{
    return pack->need[number / 8] >> (number % 8) & 1;
}

/* The needed blobs of one open file, as long as it stays as it was; END when all went in. */
static enum pt_parcel_got add_blobs(struct pt_fan_pack *pack, struct pt_tar *tar, const struct pt_entry *e,
                                    uint32_t first, int fd, const struct stat *st, struct pt_err *err)
{
    const struct pt_stamp before = pt_stamp_of(st);
    uint64_t offset = 0;
    uint32_t size;
    for (uint32_t i = 0; i == 0 || i < e->nchunks; i++, offset += size) {
        struct stat now;
        size = e->nchunks ? e->chunks[i].size : (uint32_t)e->size;
        if (!is_needed(pack, first + i))
            continue;
        enum pt_tar_got got = pt_tar_blob(tar, first + i, fd, offset, size, err);
        if (got != PT_TAR_DONE)
            return as_told(got, err, e->path);
        if (fstat(fd, &now) < 0)
            return unreadable(err, e->path);
        const struct pt_stamp after = pt_stamp_of(&now);
        if (!pt_stamp_equal(&before, &after))
            return changed(err, e->path);
        pack->good = pack->filled;
    }
    return PT_PARCEL_END;
}

static enum pt_parcel_got add_file(struct pt_fan_pack *pack, struct pt_tar *tar, const struct pt_entry *e,
                                   uint32_t first, struct pt_err *err)
{
    struct stat st;
    pt_auto_fd int fd = openat(pack->f->root, e->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return unreadable(err, e->path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != e->size || (st.st_mode & 0777) != e->mode ||
        pt_timespec_ns(st.st_mtim) != e->mtime_ns)
        return changed(err, e->path);
    return add_blobs(pack, tar, e, first, fd, &st, err);
}

static enum pt_parcel_got add_all(struct pt_fan_pack *pack, struct pt_tar *tar, struct pt_err *err)
{
    const struct pt_manifest *m = pack->f->manifest;
    enum pt_parcel_got got = PT_PARCEL_END;
    for (size_t i = 0; i < pt_manifest_count(m) && got == PT_PARCEL_END; i++) {
        uint32_t first = pt_manifest_first_blob(m, i), end = pt_manifest_first_blob(m, i + 1);
        bool needed = false;
        for (uint32_t n = first; n < end && !needed; n++)
            needed = is_needed(pack, n);
        if (needed)
            got = add_file(pack, tar, pt_manifest_get(m, i), first, err);
    }
    return got == PT_PARCEL_END ? as_told(pt_tar_end(tar, err), err, "") : got;
}

/* What was packed, then what the lanes will want compressed of it. */
static void finish(struct pt_fan_pack *pack, enum pt_parcel_got got, const struct pt_err *err)
{
    int level = 0;
    struct pt_fan_piece *piece;
    pthread_mutex_lock(&pack->f->lock);
    if (err->msg[0])
        pack->err = *err;
    pack->state = got;
    publish(pack, got == PT_PARCEL_END ? pack->filled : pack->good);
    pt_fan_refresh(pack->f);
    while (!pack->stop && (piece = to_squeeze(pack, &level)))
        pt_fan_squeeze(pack->f, piece, level, &pack->scratch);
    pthread_mutex_unlock(&pack->f->lock);
}

static void *run(void *arg)
{
    struct pt_fan_pack *pack = arg;
    struct pt_err err = PT_ERR_INIT;
    const struct pt_tar_out out = {.room = room_for, .took = took, .arg = pack};
    struct pt_tar *tar = pt_tar_create(&out, &err);
    enum pt_parcel_got got = tar ? add_all(pack, tar, &err) : PT_PARCEL_FAILED;
    pt_tar_destroy(tar);
    finish(pack, got, &err);
    return NULL;
}

/* The thread takes no signals. */
int pt_fan_start(struct pt_fan_pack *pack)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&pack->thread, NULL, run, pack);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = rc;
    return rc ? -1 : 0;
}
