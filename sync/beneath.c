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
    if (b->fd >= 0)
        close(b->fd);
    free(b->at);
    b->fd = -1;
    b->at = NULL;
}

void pt_beneath_fini(struct pt_beneath *b)
{
    int saved = errno;
    pt_beneath_forget(b);
    errno = saved;
}

/* From the folder `from` down the n bytes of `way`. A new descriptor, or -1. */
static int descend(int from, const char *way, size_t n)
{
    int fd = fcntl(from, F_DUPFD_CLOEXEC, 0);
    char part[256];
    for (const char *p = way, *end = way + n; fd >= 0 && p < end;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t len = (size_t)((slash ? slash : end) - p);
        bool dots = len <= 2 && memcmp(p, "..", len) == 0;
        if (len >= sizeof(part) || dots) {
            close(fd);
            errno = dots ? EINVAL : ENAMETOOLONG;
            return -1;
        }
        memcpy(part, p, len);
        part[len] = '\0';
        int next = openat(fd, part, O_PATH | FOLDER);
        int saved = errno;
        close(fd);
        errno = saved;
        fd = next;
        p += len + 1;
    }
    return fd;
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
    size_t n = (size_t)(slash - path), have = b->at ? strlen(b->at) : 0;
    if (b->at && have == n && memcmp(b->at, path, n) == 0)
        return b->fd;
    bool on_the_way = b->at && have < n && memcmp(b->at, path, have) == 0 && path[have] == '/';
    int fd = on_the_way ? descend(b->fd, path + have + 1, n - have - 1) : descend(b->root, path, n);
    if (fd < 0)
        return -1;
    char *at = strndup(path, n);
    if (!at) {
        close(fd);
        return -1;
    }
    pt_beneath_forget(b);
    b->fd = fd;
    b->at = at;
    return fd;
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

/* Remove what is no folder; move folders into `flat` under names of their own, so that depth never counts. */
static int empty_folder(DIR *d, int flat, uint64_t *next)
{
    const struct dirent *e;
    while ((errno = 0, e = readdir(d))) {
        char name[32];
        if (is_dots(e->d_name) || unlinkat(dirfd(d), e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM)
            return -1;
        do
            snprintf(name, sizeof(name), "gone.%llu", (unsigned long long)(*next)++);
        while (faccessat(flat, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
        /* A folder can be moved only by who may write in it. */
        if (fchmodat(dirfd(d), e->d_name, 0700, 0) < 0 || renameat(dirfd(d), e->d_name, flat, name) < 0)
            return -1;
    }
    return errno ? -1 : 0;
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
        if (is_dots(e->d_name) || unlinkat(dir, e->d_name, 0) == 0)
            continue;
        rc = 1;
        DIR *inner = fchmodat(dir, e->d_name, 0700, 0) == 0 ? open_folder(dir, e->d_name) : NULL;
        if (!inner || empty_folder(inner, dir, next) < 0 || unlinkat(dir, e->d_name, AT_REMOVEDIR) < 0)
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
