/* SPDX-License-Identifier: Apache-2.0 */
#include "output/atomic.h"

#include "common/auto.h"
#include "common/err.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static int make_parents(const char *path, struct pt_err *err)
{
    pt_auto_free char *dir = strdup(path);
    if (!dir)
        return pt_err_set(err, "%s: out of memory", path);
    for (char *p = dir + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        if (mkdir(dir, 0777) < 0 && errno != EEXIST)
            return pt_err_set_kind(err, PT_ERR_USAGE, "%s: folder %s: %s", path, dir, strerror(errno));
        *p = '/';
    }
    return 0;
}

static int open_beside(struct pt_atomic *a)
{
    mode_t mask = umask(0);
    umask(mask);
    int fd = mkostemp(a->tmp, O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0666 & ~mask) < 0 || !(a->file = fdopen(fd, "w"))) {
        int saved = errno;
        if (fd >= 0) {
            close(fd);
            unlink(a->tmp);
        }
        errno = saved;
        return -1;
    }
    return 0;
}

static int open_file(struct pt_atomic *a, const char *path)
{
    struct stat st;
    a->path = realpath(path, NULL); /* a symlink stays one */
    if (!a->path && errno != ENOMEM)
        a->path = strdup(path);
    if (!a->path)
        return -1;
    if (stat(a->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        a->file = S_ISDIR(st.st_mode) ? NULL : fopen(a->path, "we");
        if (S_ISDIR(st.st_mode))
            errno = EISDIR;
        return a->file ? 0 : -1;
    }
    if (asprintf(&a->tmp, "%s.XXXXXX", a->path) < 0) {
        a->tmp = NULL;
        return -1;
    }
    return open_beside(a);
}

int pt_atomic_init(struct pt_atomic *a, const char *path, struct pt_err *err)
{
    *a = (struct pt_atomic){0};
    if (make_parents(path, err) < 0)
        return -1;
    if (open_file(a, path) < 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", path, strerror(errno));
        free(a->tmp);
        free(a->path);
        *a = (struct pt_atomic){0};
        return -1;
    }
    return 0;
}

int pt_atomic_finish(struct pt_atomic *a, struct pt_err *err)
{
    FILE *f = a->file;
    a->file = NULL;
    bool ok = fflush(f) == 0 && !ferror(f) && (!a->tmp || fsync(fileno(f)) == 0);
    int saved = errno;
    if (fclose(f) != 0 && ok) {
        ok = false;
        saved = errno;
    }
    if (ok && a->tmp && rename(a->tmp, a->path) < 0) {
        ok = false;
        saved = errno;
    }
    if (!ok)
        pt_err_set_kind(err, PT_ERR_INFRA, "%s: %s", a->path, strerror(saved));
    else if (a->tmp)
        a->tmp[0] = '\0';
    pt_atomic_fini(a);
    return ok ? 0 : -1;
}

void pt_atomic_fini(struct pt_atomic *a)
{
    if (a->file)
        fclose(a->file);
    if (a->tmp && a->tmp[0])
        unlink(a->tmp);
    free(a->tmp);
    free(a->path);
    *a = (struct pt_atomic){0};
}
