/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/scan.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "sync/here/files.h"
#include "sync/here/walk.h"

#include <stdatomic.h>
#include <string.h>

#define READ_TRIES 3            /* of a file that changes while it is read */
#define HELP_FROM  (256u << 10) /* bytes to read that are worth a second thread */
#define HELP_FILES 16           /* and files */
#define LARGE      (1u << 20)   /* is read first, so that no thread is left with it at the end */

/* A file that the cache does not know. */
struct unread {
    const struct pt_item *item;
    struct pt_content content;
    bool there;
};

struct scan {
    const struct pt_tree_spec *spec;
    int root;
    struct pt_item *const *items;
    size_t n;
    struct unread *unread;
    size_t nunread;
    atomic_size_t next; /* of those, counted twice: the large, then the others */
    atomic_bool failed;
    pthread_mutex_t lock; /* of err */
    struct pt_err *err;
};

static bool cancelled(const struct scan *s)
{
    return s->spec->cancel && *s->spec->cancel;
}

/* 0 also when the file is gone. */
static int read_one(const struct scan *s, struct pt_content_reader *r, struct unread *u, struct pt_err *err)
{
    const struct pt_item *x = u->item;
    if (cancelled(s))
        return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted while reading %s", x->path);
    for (int i = 0; i < READ_TRIES; i++) {
        int rc = pt_content_read(r, s->root, x->path, x->flags & PT_ITEM_FOLLOW, &u->content);
        if (rc < 0)
            return pt_files_unreadable(x->path, err);
        u->there = rc > 0;
        if (u->there)
            return 0;
    }
    pt_err_set_kind(err, PT_ERR_USAGE, "%s changes all the time while it is read", x->path);
    return pt_files_hint(err, x->path);
}

static void read_some(void *arg, unsigned number)
{
    struct scan *s = arg;
    struct pt_err err = PT_ERR_INIT;
    struct pt_content_reader *r = pt_content_create(s->spec->algorithm, &err);
    int rc = r ? 0 : -1;
    (void)number;
    while (rc == 0 && !s->failed) {
        size_t i = atomic_fetch_add(&s->next, 1);
        if (i >= 2 * s->nunread)
            break;
        struct unread *u = &s->unread[i % s->nunread];
        if ((u->item->stamp.size >= LARGE) == (i < s->nunread))
            rc = read_one(s, r, u, &err);
    }
    pt_content_destroy(r);
    if (rc == 0)
        return;
    pthread_mutex_lock(&s->lock);
    if (!s->failed && s->err)
        *s->err = err;
    s->failed = true;
    pthread_mutex_unlock(&s->lock);
}

static bool is_unread(const struct pt_item *x)
{
    return x->type == PT_ENTRY_FILE && !x->hashed.digest;
}

/* Read what the cache does not know. */
static int read_all(struct scan *s, struct pt_err *err)
{
    struct pt_crew crew;
    uint64_t bytes = 0;
    for (size_t i = 0; i < s->n; i++)
        s->nunread += is_unread(s->items[i]);
    if (!s->nunread)
        return 0;
    if (!(s->unread = calloc(s->nunread, sizeof(*s->unread))))
        return pt_err_set(err, "out of memory");
    struct unread *u = s->unread;
    for (size_t i = 0; i < s->n; i++) {
        if (!is_unread(s->items[i]))
            continue;
        u++->item = s->items[i];
        bytes += s->items[i]->stamp.size;
    }
    bool help = s->nunread > 1 && (bytes >= HELP_FROM || s->nunread >= HELP_FILES);
    s->err = err;
    pt_crew_start(&crew, help ? pt_crew_size() : 1, read_some, s);
    read_some(s, 0);
    pt_crew_join(&crew);
    return s->failed ? -1 : 0;
}

static int add_item(struct pt_manifest *m, const struct pt_item *x, const struct pt_content *read,
                    struct pt_err *err)
{
    struct pt_entry e = {
        .path = x->path, .link = x->link, .type = x->type, .mode = x->mode, .mtime_ns = x->stamp.mtime_ns};
    if (read) {
        e.mode = read->mode;
        e.size = read->stamp.size;
        e.mtime_ns = read->stamp.mtime_ns;
        e.chunks = read->chunks;
        e.nchunks = read->nchunks;
        memcpy(e.digest, read->digest, PT_DIGEST);
    } else if (x->type == PT_ENTRY_FILE) {
        e.size = x->stamp.size;
        e.chunks = x->hashed.chunks;
        e.nchunks = x->hashed.nchunks;
        memcpy(e.digest, x->hashed.digest, PT_DIGEST);
    }
    return pt_manifest_add(m, &e, err);
}

static int add_all(const struct scan *s, struct pt_manifest *m, struct pt_hashcache *cache,
                   struct pt_err *err)
{
    const struct unread *u = s->unread;
    for (size_t i = 0; i < s->n; i++) {
        const struct pt_content *read = NULL;
        if (is_unread(s->items[i])) {
            if (!u++->there)
                continue;
            read = &u[-1].content;
            pt_hashcache_put(cache, read);
        }
        if (add_item(m, s->items[i], read, err) < 0)
            return -1;
    }
    return 0;
}

/* The manifest of what was listed; NULL with err. */
static struct pt_manifest *make(const struct pt_tree_spec *spec, struct pt_files *files,
                                struct pt_hashcache *cache, struct pt_err *err)
{
    struct scan s = {.spec = spec};
    pthread_mutex_init(&s.lock, NULL);
    struct pt_manifest *m = pt_manifest_create(spec->algorithm, spec->root, err);
    int rc = m ? pt_files_list(files, cache, err) : -1;
    if (rc == 0 && !(s.items = pt_files_items(files, &s.n, &s.root)))
        rc = pt_err_set(err, "out of memory");
    if (rc == 0)
        rc = read_all(&s, err);
    if (rc == 0 && cancelled(&s))
        rc = pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted while reading %s", spec->root);
    if (rc == 0 && (rc = add_all(&s, m, cache, err)) == 0)
        rc = pt_manifest_seal(m, err);
    for (size_t i = 0; s.unread && i < s.nunread; i++)
        pt_content_fini(&s.unread[i].content);
    free(s.unread);
    pthread_mutex_destroy(&s.lock);
    if (rc == 0)
        return m;
    pt_manifest_destroy(m);
    return NULL;
}

struct pt_manifest *pt_manifest_scan(const struct pt_tree_spec *spec, struct pt_err *err)
{
    struct pt_manifest *m = NULL;
    struct pt_files *files = pt_files_start(spec, err);
    if (!files)
        return NULL;
    struct pt_hashcache *cache = pt_hashcache_open(spec->cache, spec->algorithm);
    if (!cache)
        pt_err_set(err, "out of memory");
    else
        m = make(spec, files, cache, err);
    if (m && pt_hashcache_save(cache) < 0)
        pt_debug("%s: %s", spec->cache, strerror(errno));
    pt_files_destroy(files);
    pt_hashcache_destroy(cache);
    return m;
}
