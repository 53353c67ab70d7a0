/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/walk.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* DT_DIR, DT_REG, DT_LNK, or anything else that does not count. */
static int kind_of(int dir, const struct dirent *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN)
        return d->d_type;
    if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return DT_UNKNOWN;
    return (int)IFTODT(st.st_mode);
}

static int unreadable(const char *folder, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_USAGE, "cannot read the folder %s: %s", *folder ? folder : ".",
                    strerror(errno));
    return pt_files_hint(err, folder);
}

static int visit(const struct pt_walk *w, int dir, const char *folder, const struct dirent *d,
                 struct pt_paths *out, struct pt_paths *todo)
{
    int kind = kind_of(dir, d);
    if (kind != DT_DIR && kind != DT_REG && kind != DT_LNK)
        return 0;
    if (pt_paths_add(out, folder, d->d_name) < 0)
        return -1;
    const char *path = out->v[out->n - 1];
    int choice = w->choose(w->arg, path, kind == DT_DIR);
    int rc = kind == DT_DIR && (choice & PT_WALK_ENTER) ? pt_paths_add(todo, "", path) : 0;
    if (!(choice & PT_WALK_TAKE))
        free(pt_paths_pop(out));
    return rc;
}

static int read_folder(const struct pt_walk *w, const char *folder, struct pt_paths *out,
                       struct pt_paths *todo, struct pt_err *err)
{
    int fd = openat(w->root, *folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : unreadable(folder, err);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return pt_err_set(err, "out of memory");
    }
    int rc = 0;
    const struct dirent *d;
    while (rc == 0 && (errno = 0, d = readdir(dir))) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
            continue;
        if (visit(w, fd, folder, d, out, todo) < 0)
            rc = pt_err_set(err, "out of memory");
    }
    if (rc == 0 && errno)
        rc = unreadable(folder, err);
    closedir(dir);
    return rc;
}

int pt_walk(const struct pt_walk *w, const char *folder, struct pt_paths *out, struct pt_err *err)
{
    struct pt_paths todo = {0};
    int rc = pt_paths_add(&todo, "", folder);
    if (rc < 0)
        pt_err_set(err, "out of memory");
    while (rc == 0 && todo.n) {
        pt_auto_free char *next = pt_paths_pop(&todo);
        if (w->cancel && *w->cancel)
            rc = pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted while reading %s", next);
        else
            rc = read_folder(w, next, out, &todo, err);
    }
    pt_paths_fini(&todo);
    return rc;
}
