/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/beneath.h"

#include "common/auto.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FOLDER (O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

void pt_beneath_forget(struct pt_beneath *b)
{
    while (b->depth > 0)
        close(b->fds[--b->depth]);
}

void pt_beneath_fini(struct pt_beneath *b)
{
    int saved = errno;
    pt_beneath_forget(b);
    errno = saved;
}

/* One part further down: its descriptor is the last of b's then. When there are too many, the one before
 * goes.
 */
static int enter(struct pt_beneath *b, const char *path, size_t from, size_t end)
{
    char part[256];
    size_t len = end - from;
    bool dots = len <= 2 && memcmp(path + from, "..", len) == 0;
    if (len >= sizeof(part) || dots || end >= sizeof(b->at)) {
        errno = dots ? EINVAL : ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path + from, len);
    part[len] = '\0';
    int fd = openat(b->depth ? b->fds[b->depth - 1] : b->root, part, O_PATH | FOLDER);
    if (fd < 0)
        return -1;
    if (b->depth == PT_BENEATH_LEVELS)
        close(b->fds[--b->depth]);
    memcpy(b->at + from, path + from, len);
    if (from)
        b->at[from - 1] = '/';
    b->fds[b->depth] = fd;
    b->ends[b->depth++] = end;
    return 0;
}

int pt_beneath_parent(struct pt_beneath *b, const char *path, const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash ? slash + 1 : path;
    if (strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0 || !**name) {
        errno = EINVAL;
        return -1;
    }
    if (!slash)
        return b->root;
    size_t n = (size_t)(slash - path), have;
    for (; b->depth > 0; close(b->fds[--b->depth])) {
        have = b->ends[b->depth - 1];
        if (have <= n && path[have] == '/' && memcmp(b->at, path, have) == 0)
            break;
    }
    for (size_t from = b->depth ? b->ends[b->depth - 1] + 1 : 0, end; from <= n; from = end + 1) {
        end = (size_t)((const char *)memchr(path + from, '/', n + 1 - from) - path);
        if (enter(b, path, from, end) < 0)
            return -1;
    }
    return b->fds[b->depth - 1];
}

int pt_beneath_stat(struct pt_beneath *b, const char *path, struct stat *st)
{
    const char *name;
    int dir = pt_beneath_parent(b, path, &name);
    return dir < 0 ? -1 : fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW);
}

/* --- purge --- */

static DIR *open_folder(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | FOLDER);
    if (fd < 0)
        return NULL;
    DIR *d = fdopendir(fd);
    if (!d)
        close(fd);
    return d;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Move the folder `name` of `dir` into `flat` under a name of its own. */
static int flatten(int dir, const char *name, int flat, uint64_t *next)
{
    char own[32];
    int rc = fchmodat(dir, name, 0700, 0); /* a folder can be moved only by who may write in it */
    while (rc == 0) {
        snprintf(own, sizeof(own), "gone.%llu", (unsigned long long)(*next)++);
        if (faccessat(flat, own, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            continue;
        rc = renameat(dir, name, flat, own);
        if (rc == 0)
            break;
        if (errno == EEXIST || errno == ENOTEMPTY) /* another took that name meanwhile */
            rc = 0;
    }
    return rc;
}

/* Remove what is no folder; move folders into `flat`, so that depth never counts. */
static int empty_folder(DIR *d, int flat, uint64_t *next)
{
    const struct dirent *e;
    while ((errno = 0, e = readdir(d))) {
        if (is_dots(e->d_name) || unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM)
            return -1;
        if (flatten(dirfd(d), e->d_name, flat, next) < 0 && errno != ENOENT)
            return -1;
    }
    return errno ? -1 : 0;
}

/* False for what another file system is mounted on: that is nobody's to empty. */
static bool is_within(int dir, int inner)
{
    struct stat a, b;
    if (fstat(dir, &a) == 0 && fstat(inner, &b) == 0 && a.st_dev == b.st_dev)
        return true;
    errno = EXDEV;
    return false;
}

/* One pass: every folder in `dir` is emptied and removed, its folders now lie in `dir`. 1 when some do. */
static int purge_pass(int dir, uint64_t *next)
{
    DIR *d = open_folder(dir, ".");
    if (!d)
        return -1;
    int rc = 0;
    const struct dirent *e;
    while (rc >= 0 && (errno = 0, e = readdir(d))) {
        if (is_dots(e->d_name) || unlinkat(dir, e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        rc = 1;
        DIR *inner = fchmodat(dir, e->d_name, 0700, 0) == 0 ? open_folder(dir, e->d_name) : NULL;
        if ((!inner || !is_within(dir, dirfd(inner)) || empty_folder(inner, dir, next) < 0 ||
             unlinkat(dir, e->d_name, AT_REMOVEDIR) < 0) &&
            errno != ENOENT)
            rc = -1;
        int saved = errno;
        if (inner)
            closedir(inner);
        errno = saved;
    }
    int saved = rc < 0 ? errno : 0;
    closedir(d);
    errno = saved;
    return rc;
}

int pt_purge(int dir)
{
    uint64_t next = 0;
    int rc;
    while ((rc = purge_pass(dir, &next)) > 0)
        ;
    return rc;
}
