/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/place.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/io.h"
#include "sync/beneath.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define NEW   ".ptremote.new"
#define BLOCK (64u << 10) /* zeros of large files are left out in pieces of so many bytes */

struct file {
    uint32_t entry;
    uint32_t left; /* its blobs that are not written yet */
    bool sent;     /* some of it came in an archive */
    bool placed;
};

/* A place where some content belongs. */
struct spot {
    const unsigned char *digest;
    uint32_t blob, size;
    struct file *file;
    uint64_t offset;
    bool done; /* of the first spot of a content: it was written to all */
};

struct pt_placer {
    const struct pt_site *site;
    struct pt_synced *figures;
    struct pt_beneath beneath;
    struct file *files;
    size_t nfiles;
    struct spot *spots; /* sorted by content, then blob */
    size_t nspots;
    size_t lacks;
    int part; /* the large file that was last written to, or -1 */
    const struct file *part_of;
    bool no_flags; /* the file system's rename has none */
};

static int by_content(const unsigned char a[PT_DIGEST], uint32_t na, const unsigned char b[PT_DIGEST],
                      uint32_t nb)
{
    int order = memcmp(a, b, PT_DIGEST);
    return order ? order : (na > nb) - (na < nb);
}

static int by_content_and_blob(const void *x, const void *y)
{
    const struct spot *a = x, *b = y;
    int order = by_content(a->digest, a->size, b->digest, b->size);
    return order ? order : (a->blob > b->blob) - (a->blob < b->blob);
}

static bool same_content(const struct spot *a, const struct spot *b)
{
    return by_content(a->digest, a->size, b->digest, b->size) == 0;
}

static bool first_of_content(const struct pt_placer *p, size_t i)
{
    return i == 0 || !same_content(&p->spots[i - 1], &p->spots[i]);
}

/* The first spot for the content of a blob, or NULL. */
static struct spot *find(const struct pt_placer *p, const struct pt_blob *blob)
{
    size_t low = 0, high = p->nspots;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = by_content(p->spots[mid].digest, p->spots[mid].size, blob->digest, blob->size);
        if (order == 0 && first_of_content(p, mid))
            return &p->spots[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* --- writing --- */

/* From the name in temp to the final one. Where nothing was, something now can only be another entry. */
static int rename_in(struct pt_placer *p, const char *from, int dir, const char *name, size_t i,
                     struct pt_err *err)
{
    const struct pt_match *m = &p->site->diff->entries[i];
    struct stat st;
    bool free_name = m->node == PT_NOWHERE || p->site->diff->going[m->node];
    int rc = -1;
    errno = EINVAL;
    if (free_name && !p->no_flags)
        rc = renameat2(p->site->temp, from, dir, name, RENAME_NOREPLACE);
    if (rc < 0 && (errno == EINVAL || errno == ENOSYS)) {
        p->no_flags |= free_name;
        errno = EEXIST;
        if (!free_name || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            rc = renameat(p->site->temp, from, dir, name);
    }
    if (rc < 0 && free_name && errno == EEXIST) {
        if (pt_settle_collision(p->site, i, err) < 0)
            return -1;
        rc = renameat(p->site->temp, from, dir, name);
    }
    return rc < 0 ? pt_settle_cannot("write", pt_manifest_get(p->site->target, i)->path, err) : 0;
}

/* The file is whole: times, and its name. */
static int finish(struct pt_placer *p, struct file *f, int fd, const char *from, struct pt_err *err)
{
    const char *name;
    const struct pt_entry *e = pt_manifest_get(p->site->target, f->entry);
    int64_t mtime = pt_diff_mtime(p->site->diff, p->site->target, f->entry, &p->site->present);
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, pt_ns_timespec(mtime)};
    int dir = pt_beneath_parent(&p->beneath, e->path, &name);
    if (dir < 0 || futimens(fd, times) < 0)
        return pt_settle_cannot("write", e->path, err);
    if (rename_in(p, from, dir, name, f->entry, err) < 0)
        return -1;
    f->placed = true;
    if (f->sent)
        p->figures->files_sent++;
    else if (e->size) /* an empty one is all in the manifest */
        p->figures->files_reused++;
    return 0;
}

static int write_whole(struct pt_placer *p, struct file *f, const void *data, size_t n, struct pt_err *err)
{
    const struct pt_entry *e = pt_manifest_get(p->site->target, f->entry);
    pt_auto_fd int fd =
        openat(p->site->temp, NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)e->mode);
    if (fd < 0)
        return pt_settle_cannot("write", e->path, err);
    int rc = pt_write_at(fd, data, n, 0) < 0 ? pt_settle_cannot("write", e->path, err)
                                             : finish(p, f, fd, NEW, err);
    if (rc < 0)
        unlinkat(p->site->temp, NEW, 0);
    return rc;
}

static void part_name(const struct file *f, char name[32])
{
    snprintf(name, 32, "part.%u", f->entry);
}

static int open_part(struct pt_placer *p, const struct file *f)
{
    char name[32];
    if (p->part >= 0 && p->part_of == f)
        return p->part;
    if (p->part >= 0)
        close(p->part);
    part_name(f, name);
    p->part_of = f;
    p->part = openat(p->site->temp, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    return p->part;
}

static bool all_zero(const unsigned char *data, size_t n)
{
    return data[0] == 0 && memcmp(data, data + 1, n - 1) == 0;
}

/* Zeros are holes. */
static int write_sparse(int fd, const unsigned char *data, size_t n, uint64_t offset)
{
    for (size_t at = 0, len; at < n; at += len) {
        len = n - at < BLOCK ? n - at : BLOCK;
        if (!all_zero(data + at, len) && pt_write_at(fd, data + at, len, offset + at) < 0)
            return -1;
    }
    return 0;
}

static int write_chunk(struct pt_placer *p, const struct spot *s, const void *data, struct pt_err *err)
{
    struct file *f = s->file;
    const struct pt_entry *e = pt_manifest_get(p->site->target, f->entry);
    char name[32];
    int fd = open_part(p, f);
    if (fd < 0 || write_sparse(fd, data, s->size, s->offset) < 0)
        return pt_settle_cannot("write", e->path, err);
    if (f->left > 1)
        return 0;
    if (ftruncate(fd, (off_t)e->size) < 0 || fchmod(fd, (mode_t)e->mode) < 0)
        return pt_settle_cannot("write", e->path, err);
    part_name(f, name);
    int rc = finish(p, f, fd, name, err);
    close(p->part);
    p->part = -1;
    return rc;
}

/* To every spot from `first` on that has its content. `sent`: it came in an archive. */
static int put(struct pt_placer *p, struct spot *first, const void *data, bool sent, struct pt_err *err)
{
    for (struct spot *s = first; s < p->spots + p->nspots && same_content(s, first); s++) {
        bool travelled = sent && s == first;
        s->file->sent |= travelled;
        if ((pt_manifest_get(p->site->target, s->file->entry)->nchunks
                 ? write_chunk(p, s, data, err)
                 : write_whole(p, s->file, data, s->size, err)) < 0)
            return -1;
        s->file->left--;
        *(travelled ? &p->figures->bytes_sent : &p->figures->bytes_reused) += s->size;
    }
    first->done = true;
    p->lacks--;
    return 0;
}

int pt_placer_put(struct pt_placer *p, const struct pt_blob *blob, const void *data, struct pt_err *err)
{
    struct spot *first = find(p, blob);
    return first && !first->done ? put(p, first, data, true, err) : 0;
}

void pt_placer_undo(struct pt_placer *p, const struct pt_blob *blob)
{
    struct spot *first = find(p, blob);
    for (struct spot *s = first; s && s < p->spots + p->nspots && same_content(s, first); s++) {
        const char *name, *path = pt_manifest_get(p->site->target, s->file->entry)->path;
        int dir = s->file->placed ? pt_beneath_parent(&p->beneath, path, &name) : -1;
        if (dir >= 0)
            unlinkat(dir, name, 0);
        s->file->placed = false;
    }
}

/* --- what is lacking --- */

size_t pt_placer_lacks(const struct pt_placer *p)
{
    return p->lacks;
}

void pt_placer_need(const struct pt_placer *p, unsigned char *bits)
{
    for (size_t i = 0; i < p->nspots; i++)
        if (first_of_content(p, i) && !p->spots[i].done)
            bits[p->spots[i].blob / 8] |= (unsigned char)(1u << (p->spots[i].blob % 8));
}

/* Mark the first spot of each content that arrives anyway. */
static void mark_coming(const struct pt_placer *p, const unsigned char *coming, bool *arrives)
{
    uint32_t blobs = pt_manifest_blobs(p->site->target);
    for (uint32_t i = 0; i < blobs; i++) {
        if (!(coming[i / 8] >> (i % 8) & 1))
            continue;
        struct pt_blob blob = pt_manifest_blob(p->site->target, i);
        const struct spot *s = find(p, &blob);
        if (s)
            arrives[s - p->spots] = true;
    }
}

struct restore {
    struct pt_placer *placer;
    struct pt_err *err;
};

static int give(void *arg, uint32_t number, const void *data, uint32_t size)
{
    struct restore *r = arg;
    (void)size;
    return put(r->placer, &r->placer->spots[number], data, false, r->err);
}

int pt_placer_restore(struct pt_placer *p, struct pt_store *store, const unsigned char *coming,
                      struct pt_err *err)
{
    struct restore r = {p, err};
    pt_auto_free struct pt_store_want *wants = calloc(p->lacks + 1, sizeof(*wants));
    pt_auto_free bool *arrives = calloc(p->nspots + 1, sizeof(*arrives));
    size_t n = 0;
    if (!wants || !arrives)
        return pt_err_set(err, "out of memory");
    if (coming)
        mark_coming(p, coming, arrives);
    for (size_t i = 0; i < p->nspots; i++) {
        const struct spot *s = &p->spots[i];
        if (!first_of_content(p, i) || s->done || arrives[i] || !pt_store_has(store, s->digest, s->size))
            continue;
        wants[n] = (struct pt_store_want){.size = s->size, .number = (uint32_t)i};
        memcpy(wants[n++].digest, s->digest, PT_DIGEST);
    }
    return n ? pt_store_read(store, wants, n, give, &r, err) : 0;
}

/* --- life --- */

static void add_spots(struct pt_placer *p, struct file *f)
{
    const struct pt_entry *e = pt_manifest_get(p->site->target, f->entry);
    uint32_t blob = pt_manifest_first_blob(p->site->target, f->entry);
    uint64_t offset = 0;
    f->left = e->nchunks ? e->nchunks : e->size > 0;
    for (uint32_t i = 0; i < f->left; i++) {
        const struct pt_chunk *c = e->nchunks ? &e->chunks[i] : NULL;
        p->spots[p->nspots++] = (struct spot){.digest = c ? c->digest : e->digest,
                                              .blob = blob + i,
                                              .size = c ? c->size : (uint32_t)e->size,
                                              .file = f,
                                              .offset = offset};
        offset += c ? c->size : 0;
    }
}

/* Which files are lacking, and where each content belongs. */
static int fill(struct pt_placer *p)
{
    const struct pt_manifest *m = p->site->target;
    size_t n = pt_manifest_count(m), spots = 0;
    for (size_t i = 0; i < n; i++)
        if (p->site->diff->entries[i].wrong)
            spots += pt_manifest_first_blob(m, i + 1) - pt_manifest_first_blob(m, i);
    p->files = calloc(p->site->diff->wrong + 1, sizeof(*p->files));
    p->spots = calloc(spots + 1, sizeof(*p->spots));
    if (!p->files || !p->spots)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (!p->site->diff->entries[i].wrong)
            continue;
        p->files[p->nfiles].entry = (uint32_t)i;
        add_spots(p, &p->files[p->nfiles++]);
    }
    qsort(p->spots, p->nspots, sizeof(*p->spots), by_content_and_blob);
    for (size_t i = 0; i < p->nspots; i++)
        p->lacks += first_of_content(p, i);
    return 0;
}

struct pt_placer *pt_placer_create(const struct pt_site *site, struct pt_synced *figures, struct pt_err *err)
{
    struct pt_placer *p = calloc(1, sizeof(*p));
    if (!p) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    p->site = site;
    p->figures = figures;
    p->part = -1;
    p->beneath = PT_BENEATH(site->present.tree);
    int rc = fill(p) < 0 ? pt_err_set(err, "out of memory") : 0;
    for (size_t i = 0; rc == 0 && i < p->nfiles; i++)
        if (p->files[i].left == 0)
            rc = write_whole(p, &p->files[i], NULL, 0, err);
    if (rc == 0)
        return p;
    pt_placer_destroy(p);
    return NULL;
}

void pt_placer_destroy(struct pt_placer *p)
{
    if (!p)
        return;
    int saved = errno;
    if (p->part >= 0)
        close(p->part);
    pt_beneath_fini(&p->beneath);
    free(p->files);
    free(p->spots);
    free(p);
    errno = saved;
}
