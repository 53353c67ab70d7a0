/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/manifest.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "sync/files.h"
#include "sync/hashcache.h"

#include <fcntl.h>
#include <string.h>

#define READ_TRIES 3 /* of a file that changes while it is read */

struct scan {
    const struct pt_tree_spec *spec;
    int root;
    struct pt_paths paths;   /* as listed */
    struct pt_paths folders; /* above them, and really folders */
    struct pt_hashcache *cache;
    struct pt_content_reader *reader;
    struct pt_manifest *manifest;
};

static bool cancelled(const struct scan *s)
{
    return s->spec->cancel && *s->spec->cancel;
}

static bool vanished(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

static int unreadable(const char *path, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
    return pt_files_hint(err, path);
}

static int add_file(struct scan *s, struct pt_entry *e, const struct pt_hashed *h, struct pt_err *err)
{
    memcpy(e->digest, h->digest, PT_DIGEST);
    e->chunks = h->chunks;
    e->nchunks = h->nchunks;
    return pt_manifest_add(s->manifest, e, err);
}

/* A file that the cache does not know. */
static int read_file(struct scan *s, struct pt_entry *e, struct pt_err *err)
{
    for (int i = 0; i < READ_TRIES; i++) {
        struct pt_content content;
        int rc = pt_content_read(s->reader, s->root, e->path, false, &content);
        if (rc < 0)
            return vanished(errno) ? 0 : unreadable(e->path, err);
        if (rc == 0)
            continue;
        e->size = content.stamp.size;
        e->mtime_ns = content.stamp.mtime_ns;
        e->mode = content.mode;
        pt_hashcache_put(s->cache, &content);
        struct pt_hashed h = {content.digest, content.chunks, content.nchunks};
        rc = add_file(s, e, &h, err);
        pt_content_fini(&content);
        return rc;
    }
    pt_err_set_kind(err, PT_ERR_USAGE, "%s changes all the time while it is read", e->path);
    return pt_files_hint(err, e->path);
}

static int fill_file(struct scan *s, const struct stat *st, struct pt_entry *e, struct pt_err *err)
{
    struct pt_stamp stamp = pt_stamp_of(st);
    struct pt_hashed h;
    if (!pt_hashcache_get(s->cache, &stamp, s->spec->chunks, &h))
        return read_file(s, e, err);
    e->size = stamp.size;
    return add_file(s, e, &h, err);
}

static int fill_link(const struct scan *s, char target[PT_PATH_LIMIT], struct pt_entry *e, struct pt_err *err)
{
    ssize_t n = readlinkat(s->root, e->path, target, PT_PATH_LIMIT);
    if (n < 0)
        return vanished(errno) || errno == EINVAL ? 0 : unreadable(e->path, err);
    if (n == 0 || n == PT_PATH_LIMIT)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: its link target is too long", e->path);
    target[n] = '\0';
    e->link = target;
    e->mode = 0;
    return 1;
}

static int add_path(struct scan *s, const char *path, struct pt_err *err)
{
    struct stat st;
    char target[PT_PATH_LIMIT];
    if (fstatat(s->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return vanished(errno) ? 0 : unreadable(path, err);
    struct pt_entry e = {.path = path, .mode = st.st_mode & 0777, .mtime_ns = pt_timespec_ns(st.st_mtim)};
    int rc = 0;
    if (S_ISDIR(st.st_mode)) {
        e.type = PT_ENTRY_DIR;
        rc = 1;
    } else if (S_ISREG(st.st_mode)) {
        e.type = PT_ENTRY_FILE;
        return fill_file(s, &st, &e, err);
    } else if (S_ISLNK(st.st_mode)) {
        e.type = PT_ENTRY_LINK;
        rc = fill_link(s, target, &e, err);
    }
    return rc > 0 ? pt_manifest_add(s->manifest, &e, err) : rc;
}

static bool parent_known(const struct scan *s, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return true;
    pt_auto_free char *parent = strndup(path, (size_t)(slash - path));
    return parent && pt_paths_has(&s->folders, parent);
}

/* The folders that hold what was listed. What git lists below a link, or a file by now, is not there. */
static int add_folders(struct scan *s, struct pt_err *err)
{
    struct stat st;
    struct pt_paths parents = {0};
    int rc = pt_paths_parents(&s->paths, &parents);
    for (size_t i = 0; rc == 0 && i < parents.n; i++) {
        const char *path = parents.v[i];
        if (parent_known(s, path) && fstatat(s->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(st.st_mode))
            rc = pt_paths_add(&s->folders, "", path);
    }
    pt_paths_fini(&parents);
    for (size_t i = 0; rc == 0 && i < s->folders.n; i++)
        rc = add_path(s, s->folders.v[i], err);
    return rc;
}

static int add_all(struct scan *s, struct pt_err *err)
{
    if (add_folders(s, err) < 0)
        return -1;
    for (size_t i = 0; i < s->paths.n; i++) {
        const char *path = s->paths.v[i];
        if (cancelled(s))
            return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted while reading %s", path);
        if (strlen(path) >= PT_PATH_LIMIT)
            return pt_err_set_kind(err, PT_ERR_USAGE, "%.60s...: the path is too long", path);
        if (parent_known(s, path) && !pt_paths_has(&s->folders, path) && add_path(s, path, err) < 0)
            return -1;
    }
    return 0;
}

static void save_cache(struct scan *s)
{
    if (pt_hashcache_save(s->cache) < 0)
        pt_debug("%s: %s", s->spec->cache, strerror(errno));
}

struct pt_manifest *pt_manifest_scan(const struct pt_tree_spec *spec, struct pt_err *err)
{
    struct scan s = {.spec = spec};
    struct pt_manifest *out = NULL;
    s.root = open(spec->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s.root < 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", spec->root, strerror(errno));
        return NULL;
    }
    s.cache = pt_hashcache_open(spec->cache, spec->algorithm);
    s.reader = pt_content_create(spec->algorithm, spec->chunks, err);
    s.manifest = pt_manifest_create(spec->algorithm, spec->root, err);
    if (!s.cache)
        pt_err_set(err, "out of memory");
    if (s.cache && s.reader && s.manifest && pt_files_list(spec, &s.paths, err) == 0 &&
        add_all(&s, err) == 0 && pt_manifest_seal(s.manifest, err) == 0)
        out = pt_steal_ptr(&s.manifest);
    if (out)
        save_cache(&s);
    pt_hashcache_destroy(s.cache);
    pt_content_destroy(s.reader);
    pt_manifest_destroy(s.manifest);
    pt_paths_fini(&s.paths);
    pt_paths_fini(&s.folders);
    close(s.root);
    return out;
}
