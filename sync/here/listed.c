/* SPDX-License-Identifier: Apache-2.0 */
/* What git lists, given its place in the tree, and the empty folders that it does not know. */
#include "sync/here/files_inside.h"

#include "common/auto.h"
#include "common/err.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

static int no_memory(struct pt_err *err)
{
    return pt_err_set(err, "out of memory");
}

/* --- folders by path --- */

static size_t hash(const char *path, size_t len)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)path[i]) * 0x100000001b3ULL;
    return (size_t)(h ^ h >> 29);
}

static struct pt_folder **slot_of(struct pt_folder **table, size_t cap, const char *path, size_t len)
{
    size_t at = hash(path, len) & (cap - 1);
    for (; table[at]; at = (at + 1) & (cap - 1))
        if (table[at]->len == len && memcmp(table[at]->path, path, len) == 0)
            break;
    return &table[at];
}

static int grow(struct pt_files *f)
{
    size_t cap = f->known_cap ? 2 * f->known_cap : 256;
    struct pt_folder **table = calloc(cap, sizeof(struct pt_folder *));
    if (!table)
        return -1;
    for (size_t i = 0; i < f->known_cap; i++)
        if (f->known[i])
            *slot_of(table, cap, f->known[i]->path, f->known[i]->len) = f->known[i];
    free(f->known);
    f->known = table;
    f->known_cap = cap;
    return 0;
}

static struct pt_folder *folder_at(struct pt_files *f, const char *path, size_t len);

/* The item of a folder among those of the folder above it; new when it has none. */
static struct pt_item *item_at(struct pt_files *f, struct pt_folder *up, const char *path, size_t len)
{
    size_t name = up->len ? up->len + 1 : 0;
    char *copy = pt_walk_copy(&f->walk.worker[0], path, len);
    if (!copy)
        return NULL;
    struct pt_item *x = pt_walk_find(up, copy + name);
    return x ? x : pt_walk_add_path(up, copy, name);
}

static struct pt_folder *new_folder(struct pt_files *f, const char *path, size_t len)
{
    const char *slash = memrchr(path, '/', len);
    struct pt_folder *up = folder_at(f, path, slash ? (size_t)(slash - path) : 0);
    struct pt_item *x = up ? item_at(f, up, path, len) : NULL;
    if (!x)
        return NULL;
    if (!x->folder && (x->folder = pt_walk_folder(&f->walk.worker[0], up, x->path, len)))
        x->flags &= ~(unsigned)PT_ITEM_DONE;
    up->news = true;
    if (x->folder)
        x->folder->state |= PT_VISIT_LISTED | (f->spec->nextra ? PT_VISIT_EXTRA : 0);
    return x->folder;
}

/* The folder at a path, made when it is not known. */
static struct pt_folder *folder_at(struct pt_files *f, const char *path, size_t len)
{
    if (!len)
        return &f->walk.top;
    if (f->last && f->last->len == len && memcmp(f->last->path, path, len) == 0)
        return f->last;
    if (4 * f->nknown >= 3 * f->known_cap && grow(f) < 0)
        return NULL;
    struct pt_folder *found = *slot_of(f->known, f->known_cap, path, len);
    if (!found) {
        if (!(found = new_folder(f, path, len)))
            return NULL;
        if (4 * f->nknown >= 3 * f->known_cap && grow(f) < 0)
            return NULL;
        *slot_of(f->known, f->known_cap, path, len) = found;
        f->nknown++;
    }
    return f->last = found;
}

/* path lives long enough. */
static int insert(struct pt_files *f, const char *path)
{
    const char *slash = strrchr(path, '/');
    struct pt_folder *in = folder_at(f, path, slash ? (size_t)(slash - path) : 0);
    struct pt_item *x = in ? pt_walk_add_path(in, path, slash ? (size_t)(slash - path) + 1 : 0) : NULL;
    if (!x)
        return -1;
    x->flags = PT_ITEM_LISTED;
    in->news = true;
    return 0;
}

static char *join(struct pt_files *f, const char *prefix, const char *path)
{
    size_t np = strlen(prefix), n = strlen(path);
    char *out = pt_arena_take(&f->walk.worker[0].arena, np + n + 2, 1);
    if (!out)
        return NULL;
    memcpy(out, prefix, np);
    out[np] = '/';
    memcpy(out + np + 1, path, n + 1);
    return out;
}

static int take(void *arg, const char *prefix, const char *path, bool tracked)
{
    struct pt_files *f = arg;
    f->listed++;
    if (!tracked)
        return pt_paths_add(&f->untracked, prefix, path);
    if (*prefix && !(path = join(f, prefix, path)))
        return -1;
    return insert(f, path);
}

/* --- what is not tracked --- */

static int find_venvs(const struct pt_paths *untracked, struct pt_paths *venvs)
{
    for (size_t i = 0; i < untracked->n; i++) {
        const char *path = untracked->v[i], *slash = strrchr(path, '/');
        if (!slash || strcmp(slash + 1, "pyvenv.cfg") != 0)
            continue;
        if (pt_paths_add(venvs, "", path) < 0)
            return -1;
        venvs->v[venvs->n - 1][slash - path] = '\0';
    }
    pt_paths_sort(venvs);
    return 0;
}

static bool below_venv(const struct pt_paths *venvs, const char *path)
{
    pt_auto_free char *folder = venvs->n ? strdup(path) : NULL;
    for (char *slash; folder && (slash = strrchr(folder, '/'));) {
        *slash = '\0';
        if (pt_paths_has(venvs, folder))
            return true;
    }
    return false;
}

static int insert_untracked(struct pt_files *f)
{
    struct pt_paths venvs = {0};
    int rc = find_venvs(&f->untracked, &venvs);
    f->last = NULL;
    for (size_t i = 0; rc == 0 && i < f->untracked.n; i++) {
        const char *path = f->untracked.v[i];
        if (!pt_choose_below_junk(path) && !below_venv(&venvs, path))
            rc = insert(f, path);
    }
    pt_paths_fini(&venvs);
    return rc;
}

static int check_unread(const struct pt_files *f, struct pt_err *err)
{
    const struct pt_paths *unread = pt_git_unread(f->git);
    for (size_t i = 0; i < unread->n; i++) {
        const char *path = unread->v[i];
        if (!pt_choose_wants_all(&f->choose, path) || pt_choose_below_junk(path))
            continue;
        pt_err_set_kind(err, PT_ERR_USAGE, "cannot read the folder %s", path);
        return pt_files_hint(err, path);
    }
    return 0;
}

/* Folders that were visited and have got more to look at since. */
static void queue_news(struct pt_files *f, struct pt_folder *in)
{
    if (in->news)
        pt_walk_queue(&f->walk, in);
    for (size_t i = 0; i < in->sorted; i++) {
        const struct pt_item *x = &in->items[i];
        if (x->type == PT_ENTRY_DIR && x->folder && x->folder->read)
            queue_news(f, x->folder);
    }
}

/* --- empty folders --- */

struct probe {
    struct pt_files *f;
    struct pt_folder *folder;
    bool empty;
};

static int probe_name(void *arg, const char *name, size_t n, int kind)
{
    struct probe *p = arg;
    if (kind != DT_DIR && kind != DT_REG && kind != DT_LNK)
        return 0;
    struct pt_item *x = kind == DT_DIR ? pt_walk_add(&p->f->walk.worker[0], p->folder, name, n) : NULL;
    p->empty =
        x && !pt_choose_junk(name, n) && pt_choose_wants(&p->f->choose, x->path, x->path + x->name, true);
    return p->empty ? 0 : -1;
}

static bool probe(struct pt_files *f, struct pt_folder *in, int dir, struct pt_item *x);

/* True when nothing but empty folders lies in `folder`; they are in it then. */
static bool probe_names(struct pt_files *f, struct pt_folder *folder, int fd)
{
    struct probe p = {f, folder, true};
    if (pt_walk_names(&f->walk.worker[0], fd, probe_name, &p) < 0)
        return false;
    pt_walk_tidy(folder);
    for (size_t i = 0; i < folder->n; i++)
        if (!probe(f, folder, fd, &folder->items[i]))
            return false;
    return true;
}

/* Take the folder x, and those in it, if there is no file below. dir is where it lies. */
static bool probe(struct pt_files *f, struct pt_folder *in, int dir, struct pt_item *x)
{
    struct stat st;
    pt_auto_fd int fd = openat(dir, x->path + x->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct pt_folder *folder = pt_walk_folder(&f->walk.worker[0], in, x->path, strlen(x->path));
    if (fd < 0 || !folder || fstat(fd, &st) < 0)
        return false;
    if (!probe_names(f, folder, fd)) {
        pt_walk_forget(folder);
        return false;
    }
    if (x->folder)
        pt_walk_forget(x->folder);
    x->folder = folder;
    x->flags |= PT_ITEM_EMPTY | PT_ITEM_DONE;
    x->type = PT_ENTRY_DIR;
    x->mode = st.st_mode & 0777;
    x->stamp = pt_stamp_of(&st);
    return true;
}

static void probe_all(struct pt_files *f, struct pt_folder *in)
{
    pt_auto_fd int fd = -1;
    for (size_t i = 0; i < in->n; i++) {
        struct pt_item *x = &in->items[i];
        bool listed = x->type == PT_ENTRY_DIR && x->folder && x->folder->state & PT_VISIT_LISTED &&
                      pt_walk_leads(x->folder);
        if (listed)
            probe_all(f, x->folder);
        if (listed || !(x->flags & PT_ITEM_MAYBE) || x->flags & (PT_ITEM_SENT | PT_ITEM_OUT))
            continue;
        if (fd < 0)
            fd = openat(f->root, in->len ? in->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0)
            probe(f, in, fd, x);
    }
}

int pt_listed_visit(struct pt_files *f, struct pt_err *err)
{
    struct pt_folder *top = &f->walk.top;
    struct stat st;
    int rc = pt_git_tracked(f->git, take, f, err);
    if (rc <= 0)
        return rc;
    top->state = PT_VISIT_LISTED | (f->spec->nextra ? PT_VISIT_EXTRA : 0);
    pt_walk_queue(&f->walk, top);
    if (pt_walk_run(&f->walk, err) < 0)
        return -1;
    rc = pt_git_rest(f->git, take, f, err);
    if (rc <= 0)
        return rc;
    if (f->listed == 0 && fstatat(f->root, ".git", &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* a folder that the repository around it ignores */
    if (insert_untracked(f) < 0)
        return no_memory(err);
    if (check_unread(f, err) < 0)
        return -1;
    queue_news(f, top);
    if (pt_walk_run(&f->walk, err) < 0)
        return -1;
    probe_all(f, top);
    return 1;
}
