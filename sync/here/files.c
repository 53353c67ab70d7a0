/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/files_inside.h"
#include "sync/here/scan.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

int pt_files_hint(struct pt_err *err, const char *path)
{
    pt_auto_free char *word = pt_quoted(path, false);
    return pt_err_hint(err, "leave it out with --exclude %s", word ? word : "GLOB");
}

int pt_files_unreadable(const char *path, struct pt_err *err)
{
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
        return 0;
    pt_err_set_kind(err, PT_ERR_USAGE, "cannot read %s: %s", path, strerror(errno));
    return pt_files_hint(err, path);
}

static int no_memory(struct pt_err *err)
{
    return pt_err_set(err, "out of memory");
}

/* --- one path --- */

int pt_files_take(struct pt_files *f, struct pt_item *x)
{
    x->type = PT_ENTRY_FILE;
    if (!pt_hashcache_get(f->cache, &x->stamp, &x->hashed))
        x->hashed.digest = NULL;
    return 0;
}

static int take_link(struct pt_worker *w, struct pt_folder *in, int dir, struct pt_item *x,
                     struct pt_err *err)
{
    char target[PT_PATH_LIMIT];
    ssize_t n = readlinkat(dir, x->path + x->name, target, sizeof(target));
    if (n < 0)
        return errno == EINVAL ? 0 : pt_files_unreadable(x->path, err);
    if (n == 0 || (size_t)n == sizeof(target))
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: its link target is too long", x->path);
    if (!(x->link = pt_walk_copy(w, target, (size_t)n)))
        return no_memory(err);
    x->type = PT_ENTRY_LINK;
    x->mode = 0;
    struct pt_files *f = w->walk->arg;
    return f->spec->copy_links ? pt_follow(w, in, dir, x, err) : 0;
}

int pt_files_enter(struct pt_worker *w, struct pt_folder *in, struct pt_item *x, const struct stat *st,
                   unsigned state, struct pt_err *err)
{
    x->type = PT_ENTRY_DIR;
    if (!x->folder && !state)
        return 0;
    if (!x->folder && !(x->folder = pt_walk_folder(w, in, x->path, strlen(x->path))))
        return no_memory(err);
    x->folder->dev = (uint64_t)st->st_dev;
    x->folder->ino = (uint64_t)st->st_ino;
    x->folder->state |= state;
    pt_walk_queue(w->walk, x->folder);
    return 0;
}

static unsigned state_of(const struct pt_item *x)
{
    return (x->flags & PT_ITEM_PLAIN ? PT_VISIT_PLAIN : 0) | (x->flags & PT_ITEM_ENTER ? PT_VISIT_EXTRA : 0);
}

int pt_files_look(struct pt_worker *w, struct pt_folder *in, int dir, struct pt_item *x, struct pt_err *err)
{
    struct pt_files *f = w->walk->arg;
    const char *name = x->path + x->name;
    struct stat st;
    x->flags |= PT_ITEM_DONE;
    if (strlen(x->path) >= PT_PATH_LIMIT)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%.60s...: the path is too long", x->path);
    bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && pt_files_unreadable(x->path, err) < 0)
        return -1;
    if (!(in->state & PT_VISIT_PLAIN) &&
        !pt_choose_wants(&f->choose, x->path, name, there && S_ISDIR(st.st_mode))) {
        x->flags |= PT_ITEM_OUT;
        return 0;
    }
    if (!there)
        return 0;
    x->mode = st.st_mode & 0777;
    x->stamp = pt_stamp_of(&st);
    if (S_ISREG(st.st_mode))
        return pt_files_take(f, x);
    if (S_ISLNK(st.st_mode))
        return take_link(w, in, dir, x, err);
    return S_ISDIR(st.st_mode) ? pt_files_enter(w, in, x, &st, state_of(x), err) : 0;
}

/* --- one folder --- */

struct note {
    struct pt_worker *w;
    struct pt_folder *folder;
    bool venv;
};

/* Why a name is in the tree, if it is. */
static unsigned choose(struct pt_files *f, const struct pt_folder *in, const struct pt_item *x, int kind)
{
    const char *name = x->path + x->name;
    bool folder = kind == DT_DIR;
    if (!pt_choose_wants(&f->choose, x->path, name, folder))
        return 0;
    unsigned flags = in->state & PT_VISIT_EXTRA ? pt_choose_extra(&f->choose, x->path, name, folder) : 0;
    if (in->state & PT_VISIT_PLAIN)
        return flags | (pt_choose_junk(name, strlen(name)) ? 0 : PT_ITEM_PLAIN);
    return flags | (folder && f->git && !pt_choose_junk(name, strlen(name)) ? PT_ITEM_MAYBE : 0);
}

static int note_name(void *arg, const char *name, size_t n, int kind)
{
    struct note *note = arg;
    struct pt_folder *in = note->folder;
    struct pt_files *f = note->w->walk->arg;
    bool plain = in->state & PT_VISIT_PLAIN;
    if (kind != DT_DIR && kind != DT_REG && kind != DT_LNK)
        return 0;
    if (plain && n == 10 && memcmp(name, "pyvenv.cfg", 10) == 0)
        note->venv = true;
    if (!plain && kind != DT_DIR && !(in->state & PT_VISIT_EXTRA))
        return 0;
    struct pt_item *known = pt_walk_find(in, name);
    if (known) {
        known->flags |= choose(f, in, known, kind);
        return 0;
    }
    struct pt_item *x = pt_walk_add(note->w, in, name, n);
    if (!x) {
        errno = ENOMEM;
        return -1;
    }
    if (!(x->flags = choose(f, in, x, kind)))
        pt_walk_drop(note->w, in);
    return 0;
}

static int unreadable_folder(const char *path, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_USAGE, "cannot read the folder %s: %s", *path ? path : ".", strerror(errno));
    return pt_files_hint(err, path);
}

/* Its names, once. */
static int read_names(struct pt_worker *w, struct pt_folder *in, int fd, struct pt_err *err)
{
    struct note note = {.w = w, .folder = in};
    pt_walk_tidy(in);
    if (in->read)
        return 0;
    in->read = true;
    if (pt_walk_names(w, fd, note_name, &note) < 0) {
        in->gone = errno == ENOENT;
        return in->gone ? 0 : unreadable_folder(in->path, err);
    }
    pt_walk_tidy(in);
    if (!note.venv || !in->len)
        return 0;
    in->venv = true;
    for (size_t i = 0; i < in->n; i++)
        in->items[i].flags &= ~(unsigned)PT_ITEM_PLAIN;
    return 0;
}

static int visit(struct pt_worker *w, struct pt_folder *in, struct pt_err *err)
{
    struct pt_files *f = w->walk->arg;
    if (f->spec->cancel && *f->spec->cancel)
        return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted while reading %s",
                               in->len ? in->path : f->spec->root);
    bool follow = in->path == in->context && in->len;
    pt_auto_fd int fd = openat(w->walk->root, in->len ? in->path : ".",
                               O_RDONLY | O_DIRECTORY | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0) {
        in->gone = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
        return in->gone ? 0 : unreadable_folder(in->path, err);
    }
    in->news = false;
    if (read_names(w, in, fd, err) < 0)
        return -1;
    for (size_t i = 0; i < in->n && !in->gone; i++) {
        struct pt_item *x = &in->items[i];
        bool wanted = !(x->flags & PT_ITEM_DONE) &&
                      (x->flags & (PT_ITEM_SENT | PT_ITEM_ENTER) || (x->folder && !(x->flags & PT_ITEM_OUT)));
        if (wanted && pt_files_look(w, in, fd, x, err) < 0)
            return -1;
    }
    return 0;
}

/* --- the tree --- */

struct pt_files *pt_files_start(const struct pt_tree_spec *spec, struct pt_err *err)
{
    struct pt_files *f = calloc(1, sizeof(*f));
    struct stat st;
    if (!f) {
        no_memory(err);
        return NULL;
    }
    f->spec = spec;
    f->root = open(spec->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    pt_walk_init(&f->walk, f->root);
    f->walk.visit = visit;
    f->walk.arg = f;
    if (f->root < 0 || fstat(f->root, &st) < 0) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", spec->root, strerror(errno));
    } else if (pt_git_start(spec->root, spec->cancel, &f->git, err) >= 0 &&
               pt_choose_init(&f->choose, spec, f->root, err) == 0) {
        f->walk.top.dev = (uint64_t)st.st_dev;
        f->walk.top.ino = (uint64_t)st.st_ino;
        return f;
    }
    pt_files_destroy(f);
    return NULL;
}

void pt_files_destroy(struct pt_files *f)
{
    if (!f)
        return;
    int saved = errno;
    pt_walk_fini(&f->walk);
    pt_git_destroy(f->git);
    pt_choose_fini(&f->choose);
    pt_paths_fini(&f->untracked);
    free(f->known);
    free(f->items);
    if (f->root >= 0)
        close(f->root);
    free(f);
    errno = saved;
}

static int visit_plain(struct pt_files *f, struct pt_err *err)
{
    struct pt_folder *top = &f->walk.top;
    pt_git_destroy(pt_steal_ptr(&f->git));
    pt_walk_reset(&f->walk);
    top->state = PT_VISIT_PLAIN | (f->spec->nextra ? PT_VISIT_EXTRA : 0);
    pt_walk_queue(&f->walk, top);
    return pt_walk_run(&f->walk, err);
}

int pt_files_list(struct pt_files *f, struct pt_hashcache *cache, struct pt_err *err)
{
    f->cache = cache;
    int rc = f->git ? pt_listed_visit(f, err) : 0;
    if (rc == 0)
        rc = visit_plain(f, err);
    return rc < 0 ? -1 : pt_choose_all_hit(&f->choose, err);
}

struct pt_item *const *pt_files_items(struct pt_files *f, size_t *n, int *root)
{
    *root = f->root;
    return f->items = pt_walk_flatten(&f->walk, n);
}
