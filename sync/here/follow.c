/* SPDX-License-Identifier: Apache-2.0 */
/* --copy-links: what links out of the tree lead to, in their place. */
#include "sync/here/files_inside.h"

#include "common/err.h"
#include "sync/links.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define MAX_FOLLOWED 4096 /* folders behind links */
#define MAX_UP       128  /* folders above the project */

static int refuse(const struct pt_item *x, const char *why, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_USAGE, "%s is a link to %s, %s", x->path, x->link, why);
    return pt_files_hint(err, x->path);
}

static bool is_at(const struct stat *st, uint64_t dev, uint64_t ino)
{
    return (uint64_t)st->st_dev == dev && (uint64_t)st->st_ino == ino;
}

/* True when st is of a folder that `in` lies in: by the way that was walked, or above the project. */
static bool is_above(const struct pt_folder *in, int root, const struct stat *st)
{
    for (const struct pt_folder *f = in; f; f = f->up)
        if (is_at(st, f->dev, f->ino))
            return true;
    char way[3 * MAX_UP + 1] = "";
    struct stat at;
    for (int i = 0; i < MAX_UP; i++) {
        strcat(way, "../");
        if (fstatat(root, way, &at, 0) == 0 && is_at(st, (uint64_t)at.st_dev, (uint64_t)at.st_ino))
            return true;
    }
    return false;
}

static int take_folder(struct pt_worker *w, struct pt_folder *in, struct pt_item *x, const struct stat *st,
                       struct pt_err *err)
{
    struct pt_files *f = w->walk->arg;
    if (is_above(in, f->root, st))
        return refuse(x, "a folder that it lies in itself", err);
    if (atomic_fetch_add(&f->followed, 1) >= MAX_FOLLOWED)
        return refuse(x, "one of too many folders that links lead to", err);
    if (!x->folder && !(x->folder = pt_walk_folder(w, in, x->path, strlen(x->path))))
        return pt_err_set(err, "out of memory");
    x->folder->context = x->folder->path;
    return pt_files_enter(w, in, x, st, PT_VISIT_PLAIN, err);
}

int pt_follow(struct pt_worker *w, struct pt_folder *in, int dir, struct pt_item *x, struct pt_err *err)
{
    struct pt_files *f = w->walk->arg;
    struct stat st;
    if (!pt_link_leaves_folder(f->root, in->context, x->path, x->link))
        return 0;
    if (fstatat(dir, x->path + x->name, &st, 0) < 0)
        return refuse(x, errno == ENOENT ? "which is not there" : strerror(errno), err);
    if (S_ISDIR(st.st_mode) && take_folder(w, in, x, &st, err) < 0)
        return -1;
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return refuse(x, "which is neither a file nor a folder", err);
    x->flags |= PT_ITEM_FOLLOW;
    x->link = NULL;
    x->mode = st.st_mode & 0777;
    x->stamp = pt_stamp_of(&st);
    return S_ISREG(st.st_mode) ? pt_files_take(f, x) : 0;
}
