/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "sync/compress.h"
#include "sync/paths.h"
#include "sync/stamp.h"
#include "sync/there/store_inside.h"
#include "sync/there/untar.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

struct salvage {
    int fd;
    uint64_t size; /* of the file */
    struct store_pack *pack;
    struct pt_digest *digest;
    unsigned char *bytes, *raw;
};

static bool is_old(const struct pt_store *s, const struct stat *st)
{
    return pt_stamp_clock(s->folder) - pt_timespec_ns(st->st_mtim) > STORE_STALE_NS;
}

bool pt_store_old(const struct pt_store *s, const char *file)
{
    struct stat st;
    return fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_old(s, &st);
}

/* The lock tells only about machines that share this kernel. */
static bool is_abandoned(const struct pt_store *s, int fd, const char *file)
{
    static const unsigned char unknown[STORE_BOOT];
    unsigned char head[STORE_HEAD];
    struct stat st, now;
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if ((!locked && errno == EWOULDBLOCK) || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        fstatat(s->dir, file, &now, AT_SYMLINK_NOFOLLOW) < 0 || now.st_ino != st.st_ino)
        return false;
    bool ours = pt_store_pread(fd, head, sizeof(head), 0) > 0 &&
                memcmp(head + STORE_BOOT_AT, s->boot, STORE_BOOT) == 0 &&
                memcmp(s->boot, unknown, STORE_BOOT) != 0;
    return (locked && ours) || is_old(s, &st);
}

int pt_store_abandoned(const struct pt_store *s, const char *file)
{
    pt_auto_fd int fd = openat(s->dir, file, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    return fd >= 0 && is_abandoned(s, fd, file) ? pt_steal_fd(&fd) : -1;
}

/* The next segment for the tar; 0 where the file stops making sense. */
static ssize_t next_segment(void *arg, const void **data)
{
    struct salvage *v = arg;
    struct store_pack *p = v->pack;
    struct store_segment_head head;
    if (v->size - p->bytes < sizeof(head) || pt_store_pread(v->fd, &head, sizeof(head), p->bytes) <= 0)
        return 0;
    struct pt_segment s = {
        .data = v->bytes, .size = be32toh(head.size), .raw = be32toh(head.raw), .packed = head.packed == 1};
    if (head.magic != STORE_SEGMENT_MAGIC || head.packed > 1 || !pt_segment_fits(s.size, s.raw, s.packed) ||
        v->size - p->bytes - sizeof(head) < s.size ||
        pt_store_pread(v->fd, v->bytes, s.size, p->bytes + sizeof(head)) <= 0 ||
        pt_segment_unpack(&s, v->raw, NULL) < 0 || pt_store_pack_segment(p, s.size, s.raw, s.packed) < 0)
        return 0;
    *data = v->raw;
    return (ssize_t)s.raw;
}

static void read_blobs(struct salvage *v)
{
    struct pt_untar_entry e;
    struct pt_untar *u = pt_untar_create(next_segment, v, NULL);
    while (u && v->pack->nblobs < STORE_MAX_BLOBS && pt_untar_next(u, PT_BLOB_MAX, &e, NULL) == 1) {
        struct store_blob b = {.offset = e.offset, .size = e.size};
        pt_digest_add(v->digest, e.data, e.size);
        if (pt_digest_end(v->digest, b.digest) < 0 || (b.size > 0 && pt_store_pack_blob(v->pack, &b) < 0))
            break;
    }
    pt_untar_destroy(u);
}

/* What is whole in the file, as a pack without a name; NULL when that is nothing. */
static struct store_pack *read_pack(const struct pt_store *s, int fd)
{
    struct stat st;
    char magic[STORE_BOOT_AT];
    struct salvage v = {.fd = fd, .pack = pt_store_pack_create()};
    v.bytes = malloc(PT_SEGMENT_BYTES);
    v.raw = malloc(PT_SEGMENT_MAX);
    v.digest = pt_digest_create(s->algorithm, NULL);
    if (v.pack && v.bytes && v.raw && v.digest && fstat(fd, &st) == 0 && st.st_size > STORE_HEAD &&
        pt_store_pread(fd, magic, sizeof(magic), 0) > 0 && memcmp(magic, STORE_MAGIC, sizeof(magic)) == 0) {
        v.size = (uint64_t)st.st_size;
        read_blobs(&v);
    }
    pt_digest_destroy(v.digest);
    free(v.bytes);
    free(v.raw);
    if (v.pack && v.pack->nblobs > 0)
        return v.pack;
    pt_store_pack_destroy(v.pack);
    return NULL;
}

static void salvage(struct pt_store *s, const char *file)
{
    pt_auto_fd int fd = pt_store_abandoned(s, file);
    if (fd < 0)
        return;
    const char *suffix = file + STORE_NAME;
    struct store_pack *p = pt_store_pack_load(s, file, suffix);
    if (p && pt_store_is(file, ".pack")) { /* it came meanwhile, or is more than we want to know */
        pt_store_pack_destroy(p);
        return;
    }
    if (!p)
        p = read_pack(s, fd);
    if (p) {
        memcpy(p->name, file, STORE_NAME);
        p->fd = pt_steal_fd(&fd);
        pt_store_pack_end(s, p, suffix);
        return;
    }
    struct store_pack nothing = {.fd = -1};
    memcpy(nothing.name, file, STORE_NAME);
    pt_store_pack_remove(s, &nothing, suffix);
}

static bool is_listed(const struct pt_store *s, const char *file)
{
    for (size_t i = 0; i < s->npacks; i++)
        if (memcmp(s->packs[i]->name, file, STORE_NAME) == 0)
            return true;
    return false;
}

void pt_store_salvage(struct pt_store *s)
{
    DIR *d = opendir(s->folder);
    struct pt_paths found = {0};
    for (const struct dirent *e; d && (e = readdir(d));)
        if (pt_store_is(e->d_name, ".part") || (pt_store_is(e->d_name, ".pack") && !is_listed(s, e->d_name)))
            pt_paths_add(&found, "", e->d_name);
    if (d)
        closedir(d);
    for (size_t i = 0; i < found.n; i++)
        salvage(s, found.v[i]);
    pt_paths_fini(&found);
}
