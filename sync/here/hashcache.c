/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/hashcache.h"
#include "common/io.h"

#include "common/auto.h"
#include "sync/chunk.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* The file, in this machine's own byte order: a head, n entries, a hash table of `slots` numbers of entries
 * from 1 on, and the chunks of large files. Each entry vouches for itself, so that nothing is done for those
 * that nobody asks for. */
#define MAGIC    0x50544832u /* "PTH2" */
#define MAX_SIZE (1u << 30)

struct head {
    uint32_t magic, algorithm, n, slots;
    uint64_t nchunks, check;
};

struct entry {
    struct pt_stamp stamp;
    unsigned char digest[PT_DIGEST];
    uint32_t first_chunk, nchunks;
    uint64_t check;
};

struct table {
    void *data; /* heap */
    uint32_t n, slots;
    uint64_t nchunks;
    const struct entry *entries;
    const uint32_t *slot;
    const struct pt_chunk *chunks;
};

struct pt_hashcache {
    char *path;
    enum pt_digest_algorithm algorithm;
    int64_t clock_ns; /* of the file system, when it was opened */
    struct table old;
    atomic_bool *seen; /* which of the old were asked for */
    struct entry *fresh;
    size_t nfresh, cap;
    struct pt_chunk *chunks; /* of the fresh */
    size_t nchunks;
};

/* Any one word that differs makes a difference. */
static uint64_t mix(const void *data, size_t words)
{
    uint64_t h = 0x9e3779b97f4a7c15ULL;
    for (size_t i = 0; i < words; i++) {
        uint64_t w;
        memcpy(&w, (const char *)data + i * sizeof(w), sizeof(w));
        h = (h ^ w) * 0xbf58476d1ce4e5b9ULL;
        h ^= h >> 31;
    }
    return h;
}

static uint64_t entry_check(const struct entry *e)
{
    return mix(e, offsetof(struct entry, check) / 8);
}

static uint64_t head_check(const struct head *h)
{
    return mix(h, offsetof(struct head, check) / 8);
}

static uint32_t slot_of(const struct pt_stamp *stamp, uint32_t slots)
{
    uint64_t key[2] = {stamp->dev, stamp->ino};
    return (uint32_t)(mix(key, 2) >> 32) & (slots - 1);
}

static bool same_inode(const struct pt_stamp *a, const struct pt_stamp *b)
{
    return a->ino == b->ino && a->dev == b->dev;
}

/* --- reading --- */

static void *read_file(const char *path, size_t *size)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_SIZE ||
        (size_t)st.st_size < sizeof(struct head))
        return NULL;
    pt_auto_free char *data = malloc((size_t)st.st_size);
    size_t got = 0;
    *size = (size_t)st.st_size;
    while (data && got < *size) {
        ssize_t n = read(fd, data + got, *size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return NULL;
        got += (size_t)n;
    }
    return pt_steal_ptr(&data);
}

static bool lay_out(struct table *t, size_t size, enum pt_digest_algorithm algorithm)
{
    const struct head *h = t->data;
    if (h->magic != MAGIC || h->algorithm != algorithm || h->check != head_check(h) ||
        h->nchunks > MAX_SIZE / sizeof(struct pt_chunk) || !h->slots || (h->slots & (h->slots - 1)))
        return false;
    uint64_t entries = (uint64_t)h->n * sizeof(struct entry), slots = (uint64_t)h->slots * sizeof(uint32_t);
    if (size != sizeof(*h) + entries + slots + h->nchunks * sizeof(struct pt_chunk))
        return false;
    t->n = h->n;
    t->slots = h->slots;
    t->nchunks = h->nchunks;
    t->entries = (const void *)(h + 1);
    t->slot = (const void *)(t->entries + t->n);
    t->chunks = (const void *)(t->slot + t->slots);
    return true;
}

static void load(struct pt_hashcache *c)
{
    size_t size;
    c->old.data = read_file(c->path, &size);
    if (c->old.data && lay_out(&c->old, size, c->algorithm))
        c->seen = calloc(c->old.n + (size_t)1, sizeof(*c->seen));
    if (!c->seen) {
        free(c->old.data);
        c->old = (struct table){0};
    }
}

static int64_t clock_beside(const char *path)
{
    const char *slash = strrchr(path, '/');
    pt_auto_free char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    return pt_stamp_clock(folder ? folder : "/nonexistent");
}

struct pt_hashcache *pt_hashcache_open(const char *path, enum pt_digest_algorithm algorithm)
{
    struct pt_hashcache *c = calloc(1, sizeof(*c));
    if (!c || (path && !(c->path = strdup(path)))) {
        pt_hashcache_destroy(c);
        return NULL;
    }
    c->algorithm = algorithm;
    if (path) {
        c->clock_ns = clock_beside(path);
        load(c);
    }
    return c;
}

void pt_hashcache_destroy(struct pt_hashcache *c)
{
    if (!c)
        return;
    int saved = errno;
    free(c->path);
    free(c->old.data);
    free(c->seen);
    free(c->fresh);
    free(c->chunks);
    free(c);
    errno = saved;
}

/* The old entry of a file, if it is what was written. */
static const struct entry *find(const struct table *t, const struct pt_stamp *stamp)
{
    uint32_t at = t->slots ? slot_of(stamp, t->slots) : 0;
    for (uint32_t i = 0; i < t->slots; i++, at = (at + 1) & (t->slots - 1)) {
        uint32_t number = t->slot[at];
        if (number == 0 || number > t->n)
            return NULL;
        const struct entry *e = &t->entries[number - 1];
        if (same_inode(&e->stamp, stamp))
            return e->check == entry_check(e) ? e : NULL;
    }
    return NULL;
}

/* The digest of an entry is that of its chunks. */
static bool chunks_whole(const struct pt_hashcache *c, const struct entry *e)
{
    unsigned char digest[PT_DIGEST];
    const struct table *t = &c->old;
    return e->first_chunk <= t->nchunks && e->nchunks <= t->nchunks - e->first_chunk &&
           pt_chunks_digest(c->algorithm, t->chunks + e->first_chunk, e->nchunks, digest) == 0 &&
           memcmp(digest, e->digest, PT_DIGEST) == 0;
}

bool pt_hashcache_get(struct pt_hashcache *c, const struct pt_stamp *stamp, struct pt_hashed *out)
{
    const struct entry *e = find(&c->old, stamp);
    bool wanted = stamp->size > PT_CHUNKED_FROM;
    if (!e || !pt_stamp_equal(&e->stamp, stamp) || wanted != (e->nchunks > 0) ||
        (wanted && !chunks_whole(c, e)))
        return false;
    *out = (struct pt_hashed){e->digest, wanted ? c->old.chunks + e->first_chunk : NULL, e->nchunks};
    atomic_store_explicit(&c->seen[e - c->old.entries], true, memory_order_relaxed);
    return true;
}

void pt_hashcache_put(struct pt_hashcache *c, const struct pt_content *content)
{
    if (!c->path || pt_stamp_racy(&content->stamp, c->clock_ns))
        return;
    if (c->nfresh == c->cap) {
        size_t cap = c->cap ? 2 * c->cap : 256;
        struct entry *fresh = reallocarray(c->fresh, cap, sizeof(*fresh));
        if (!fresh)
            return;
        c->fresh = fresh;
        c->cap = cap;
    }
    size_t n = content->nchunks;
    if (n) {
        struct pt_chunk *chunks = reallocarray(c->chunks, c->nchunks + n, sizeof(*chunks));
        if (!chunks)
            return;
        c->chunks = chunks;
        memcpy(chunks + c->nchunks, content->chunks, n * sizeof(*chunks));
    }
    struct entry *e = &c->fresh[c->nfresh++];
    *e = (struct entry){.stamp = content->stamp, .first_chunk = (uint32_t)c->nchunks, .nchunks = (uint32_t)n};
    memcpy(e->digest, content->digest, PT_DIGEST);
    c->nchunks += n;
}

/* --- writing --- */

/* The next file, as it grows. */
struct draft {
    struct entry *entries;
    uint32_t *slot;
    struct pt_chunk *chunks;
    uint32_t n, slots;
    uint64_t nchunks, chunks_cap;
};

/* The first entry of a file is the one that counts. */
static void take(struct draft *d, const struct entry *e, const struct pt_chunk *chunks)
{
    uint32_t at = slot_of(&e->stamp, d->slots);
    for (; d->slot[at]; at = (at + 1) & (d->slots - 1))
        if (same_inode(&d->entries[d->slot[at] - 1].stamp, &e->stamp))
            return;
    if (e->nchunks > d->chunks_cap - d->nchunks)
        return;
    struct entry *into = &d->entries[d->n++];
    *into = *e;
    into->first_chunk = (uint32_t)d->nchunks;
    into->check = entry_check(into);
    d->slot[at] = d->n;
    if (e->nchunks)
        memcpy(d->chunks + d->nchunks, chunks + e->first_chunk, e->nchunks * sizeof(*chunks));
    d->nchunks += e->nchunks;
}

static void take_all(struct draft *d, const struct pt_hashcache *c, bool all)
{
    for (size_t i = 0; i < c->nfresh; i++)
        take(d, &c->fresh[i], c->chunks);
    for (uint32_t i = 0; i < c->old.n; i++) {
        const struct entry *e = &c->old.entries[i];
        if ((all || c->seen[i]) && e->check == entry_check(e) && (!e->nchunks || chunks_whole(c, e)))
            take(d, e, c->old.chunks);
    }
}

static int write_draft(const struct pt_hashcache *c, const struct draft *d)
{
    struct head h = {MAGIC, c->algorithm, d->n, d->slots, d->nchunks, 0};
    h.check = head_check(&h);
    pt_auto_free char *temp = NULL;
    if (asprintf(&temp, "%s.XXXXXX", c->path) < 0) {
        temp = NULL;
        return -1;
    }
    pt_auto_fd int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (pt_write_all(fd, &h, sizeof(h)) == 0 &&
        pt_write_all(fd, d->entries, d->n * sizeof(*d->entries)) == 0 &&
        pt_write_all(fd, d->slot, d->slots * sizeof(*d->slot)) == 0 &&
        pt_write_all(fd, d->chunks, d->nchunks * sizeof(*d->chunks)) == 0 && rename(temp, c->path) == 0)
        return 0;
    int saved = errno;
    unlink(temp);
    errno = saved;
    return -1;
}

int pt_hashcache_save(struct pt_hashcache *c)
{
    size_t live = c->nfresh;
    for (uint32_t i = 0; i < c->old.n; i++)
        live += c->seen[i];
    bool all = c->old.n + c->nfresh <= 2 * live;
    if (!c->path || (!c->nfresh && (all || !c->old.n)))
        return 0;
    size_t most = c->nfresh + c->old.n;
    struct draft d = {.slots = 64, .chunks_cap = c->nchunks + c->old.nchunks};
    while (d.slots < 2 * most)
        d.slots *= 2;
    pt_auto_free struct entry *entries = d.entries = calloc(most + 1, sizeof(*d.entries));
    pt_auto_free uint32_t *slot = d.slot = calloc(d.slots, sizeof(*d.slot));
    pt_auto_free struct pt_chunk *chunks = d.chunks = calloc(d.chunks_cap + 1, sizeof(*d.chunks));
    if (!entries || !slot || !chunks)
        return -1;
    take_all(&d, c, all);
    return write_draft(c, &d);
}
