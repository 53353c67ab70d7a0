/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/hashcache.h"

#include "common/auto.h"
#include "common/wire.h"
#include "sync/sealed.h"

#include <string.h>

#define MAGIC      0x50544831u /* "PTH1" */
#define ENTRY_SIZE (5 * 8 + PT_DIGEST)

struct entry {
    struct pt_stamp stamp;
    unsigned char digest[PT_DIGEST];
};

struct list {
    struct entry *e;
    size_t n, cap;
};

struct pt_hashcache {
    char *path;
    enum pt_digest_algorithm algorithm;
    int64_t clock_ns;     /* of the file system, when it was opened */
    struct list old, now; /* as it was in the file, sorted; what will be in the next */
    bool changed;
};

static int by_inode(const void *a, const void *b)
{
    const struct pt_stamp *x = &((const struct entry *)a)->stamp, *y = &((const struct entry *)b)->stamp;
    if (x->dev != y->dev)
        return x->dev < y->dev ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static bool push(struct list *l, const struct entry *e)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 256;
        struct entry *grown = reallocarray(l->e, cap, sizeof(*grown));
        if (!grown)
            return false;
        l->e = grown;
        l->cap = cap;
    }
    l->e[l->n++] = *e;
    return true;
}

static void get_entry(struct pt_reader *r, struct entry *e)
{
    e->stamp.dev = pt_get_u64(r);
    e->stamp.ino = pt_get_u64(r);
    e->stamp.size = pt_get_u64(r);
    e->stamp.mtime_ns = (int64_t)pt_get_u64(r);
    e->stamp.ctime_ns = (int64_t)pt_get_u64(r);
    const void *digest = pt_get_raw(r, PT_DIGEST);
    if (digest)
        memcpy(e->digest, digest, PT_DIGEST);
}

static void put_entry(struct pt_buf *b, const struct entry *e)
{
    pt_put_u64(b, e->stamp.dev);
    pt_put_u64(b, e->stamp.ino);
    pt_put_u64(b, e->stamp.size);
    pt_put_u64(b, (uint64_t)e->stamp.mtime_ns);
    pt_put_u64(b, (uint64_t)e->stamp.ctime_ns);
    pt_buf_append(b, e->digest, PT_DIGEST);
}

static void load(struct pt_hashcache *c)
{
    struct pt_buf b = {0};
    if (pt_sealed_read(c->path, &b) == 0) {
        struct pt_reader r = {.p = b.data, .left = b.len};
        uint32_t magic = pt_get_u32(&r);
        uint8_t algorithm = pt_get_u8(&r);
        uint32_t n = pt_get_u32(&r);
        if (magic != MAGIC || algorithm != c->algorithm || r.left != (size_t)n * ENTRY_SIZE)
            r.bad = true;
        for (uint32_t i = 0; i < n && !r.bad; i++) {
            struct entry e = {0};
            get_entry(&r, &e);
            if (!push(&c->old, &e))
                r.bad = true;
        }
        if (!pt_get_end(&r))
            c->old.n = 0;
    }
    pt_buf_fini(&b);
    if (c->old.n)
        qsort(c->old.e, c->old.n, sizeof(*c->old.e), by_inode);
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
    free(c->old.e);
    free(c->now.e);
    free(c);
    errno = saved;
}

bool pt_hashcache_get(struct pt_hashcache *c, const struct pt_stamp *stamp, unsigned char digest[PT_DIGEST])
{
    struct entry key = {.stamp = *stamp};
    const struct entry *e = c->old.n ? bsearch(&key, c->old.e, c->old.n, sizeof(*c->old.e), by_inode) : NULL;
    if (!e || !pt_stamp_equal(&e->stamp, stamp))
        return false;
    memcpy(digest, e->digest, PT_DIGEST);
    if (!push(&c->now, e))
        c->changed = true;
    return true;
}

void pt_hashcache_put(struct pt_hashcache *c, const struct pt_stamp *stamp,
                      const unsigned char digest[PT_DIGEST])
{
    if (!c->path || pt_stamp_racy(stamp, c->clock_ns))
        return;
    struct entry e = {.stamp = *stamp};
    memcpy(e.digest, digest, PT_DIGEST);
    c->changed = true;
    push(&c->now, &e);
}

int pt_hashcache_save(struct pt_hashcache *c)
{
    if (!c->path || (!c->changed && c->now.n == c->old.n))
        return 0;
    struct pt_buf b = {0};
    pt_put_u32(&b, MAGIC);
    pt_put_u8(&b, (uint8_t)c->algorithm);
    pt_put_u32(&b, (uint32_t)c->now.n);
    for (size_t i = 0; i < c->now.n; i++)
        put_entry(&b, &c->now.e[i]);
    int rc = pt_sealed_write(c->path, &b);
    pt_buf_fini(&b);
    return rc;
}
