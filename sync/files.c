/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/files.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/git.h"
#include "sync/glob.h"
#include "sync/walk.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Made by tools, found in any tree, of use to nobody elsewhere. */
static const char *const junk[] = {
    ".git",        ".hg",         ".svn", ".bzr", "_darcs",        ".jj",         "__pycache__",
    ".mypy_cache", ".ruff_cache", ".tox", ".nox", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"};

struct list {
    const struct pt_tree_spec *spec;
    int root;
    struct pt_paths exclude; /* the globs, those without a slash with "**" before */
    bool *hit;               /* which of spec->extra found something */
    struct pt_paths venvs;   /* folders that are virtual environments, sorted */
};

int pt_files_hint(struct pt_err *err, const char *path)
{
    return pt_err_hint(err, "leave it out with --exclude '%s'", path);
}

static bool is_junk(const char *name, size_t n)
{
    for (size_t i = 0; i < PT_COUNT(junk); i++)
        if (strlen(junk[i]) == n && memcmp(junk[i], name, n) == 0)
            return true;
    return false;
}

static bool has_part(const char *path, bool (*is)(const char *name, size_t n))
{
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (is(p, n))
            return true;
        p += n + (p[n] == '/');
    }
    return false;
}

static bool is_own(const char *name, size_t n)
{
    return n == 9 && memcmp(name, ".ptremote", 9) == 0;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* True when path stays although there are --exclude globs. */
static bool wanted(const void *arg, const char *path)
{
    const struct list *l = arg;
    if (has_part(path, is_own))
        return false;
    for (size_t i = 0; i < l->exclude.n; i++)
        if (pt_glob_covers(l->exclude.v[i], path))
            return false;
    return true;
}

static int prepare_excludes(struct list *l)
{
    for (size_t i = 0; i < l->spec->nexclude; i++) {
        const char *glob = l->spec->exclude[i];
        size_t n = strlen(glob);
        while (n > 0 && glob[n - 1] == '/')
            n--;
        bool anywhere = n > 0 && !memchr(glob, '/', n);
        if (pt_paths_add(&l->exclude, anywhere ? "**" : "", glob) < 0)
            return -1;
    }
    return 0;
}

static bool is_venv(const struct list *l, const char *folder)
{
    struct stat st;
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/pyvenv.cfg", folder) < 0) {
        path = NULL;
        return false;
    }
    return fstatat(l->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* --- without git --- */

static int choose_plain(void *arg, const char *path, bool is_folder)
{
    const char *name = last_part(path);
    if (!wanted(arg, path) || is_junk(name, strlen(name)) || (is_folder && is_venv(arg, path)))
        return PT_WALK_SKIP;
    return PT_WALK_TAKE | PT_WALK_ENTER;
}

/* --- with git --- */

static bool below_venv(const struct list *l, const char *path)
{
    pt_auto_free char *folder = strdup(path);
    for (char *slash; folder && (slash = strrchr(folder, '/'));) {
        *slash = '\0';
        if (pt_paths_has(&l->venvs, folder))
            return true;
    }
    return false;
}

static bool no_junk(const void *arg, const char *path)
{
    return !has_part(path, is_junk) && !below_venv(arg, path);
}

static int find_venvs(struct list *l, const struct pt_paths *untracked)
{
    for (size_t i = 0; i < untracked->n; i++) {
        const char *path = untracked->v[i], *name = last_part(path);
        if (name == path || strcmp(name, "pyvenv.cfg") != 0)
            continue;
        if (pt_paths_add(&l->venvs, "", path) < 0)
            return -1;
        l->venvs.v[l->venvs.n - 1][name - path - 1] = '\0';
    }
    pt_paths_sort(&l->venvs);
    return 0;
}

/* Looks for a file in folders that git does not list; true when there was none. */
struct emptiness {
    const struct list *l;
    bool empty;
};

static int choose_empty(void *arg, const char *path, bool is_folder)
{
    struct emptiness *e = arg;
    if (!is_folder || !choose_plain((void *)(uintptr_t)e->l, path, true))
        e->empty = false;
    return e->empty ? PT_WALK_TAKE | PT_WALK_ENTER : PT_WALK_SKIP;
}

struct candidates {
    const struct list *l;
    const struct pt_paths *known;
    const char *folder;
};

static int choose_unknown(void *arg, const char *path, bool is_folder)
{
    const struct candidates *c = arg;
    if (!is_folder || pt_paths_has(c->known, path) || !choose_plain((void *)(uintptr_t)c->l, path, true))
        return PT_WALK_SKIP;
    return PT_WALK_TAKE;
}

/* git knows no empty folders: add those that hold nothing at all. */
static int add_empty(const struct list *l, struct pt_paths *out, struct pt_err *err)
{
    struct pt_paths known = {0}, found = {0};
    bool failed = pt_paths_parents(out, &known) < 0 || pt_paths_add(&known, "", "") < 0;
    int rc = failed ? pt_err_set(err, "out of memory") : 0;
    pt_paths_sort(&known);
    struct candidates c = {.l = l, .known = &known};
    struct pt_walk outer = {.root = l->root, .choose = choose_unknown, .arg = &c, .cancel = l->spec->cancel};
    for (size_t i = 0; rc == 0 && i < known.n; i++)
        rc = pt_walk(&outer, known.v[i], &found, err);
    for (size_t i = 0; rc == 0 && i < found.n; i++) {
        struct emptiness e = {.l = l, .empty = true};
        struct pt_walk inner = {
            .root = l->root, .choose = choose_empty, .arg = &e, .cancel = l->spec->cancel};
        size_t before = out->n;
        if (pt_paths_add(out, "", found.v[i]) < 0)
            rc = pt_err_set(err, "out of memory");
        else if (pt_walk(&inner, found.v[i], out, NULL) < 0)
            e.empty = false;
        while (!e.empty && out->n > before)
            free(pt_paths_pop(out));
    }
    pt_paths_fini(&known);
    pt_paths_fini(&found);
    return rc;
}

static int check_unread(const struct list *l, const struct pt_paths *unread, struct pt_err *err)
{
    for (size_t i = 0; i < unread->n; i++) {
        const char *path = unread->v[i];
        if (!wanted(l, path) || has_part(path, is_junk))
            continue;
        pt_err_set_kind(err, PT_ERR_USAGE, "cannot read the folder %s", path);
        return pt_files_hint(err, path);
    }
    return 0;
}

/* 1 when git gave the list, 0 when it has none to give. */
static int list_git(struct list *l, struct pt_paths *out, struct pt_err *err)
{
    struct pt_paths untracked = {0}, unread = {0};
    int rc = pt_git_list(l->spec->root, l->spec->cancel, out, &untracked, &unread, err);
    if (rc > 0 && check_unread(l, &unread, err) < 0)
        rc = -1;
    if (rc > 0 && find_venvs(l, &untracked) < 0)
        rc = pt_err_set(err, "out of memory");
    if (rc > 0)
        pt_paths_filter(&untracked, no_junk, l);
    for (size_t i = 0; rc > 0 && i < untracked.n; i++)
        if (pt_paths_add(out, "", untracked.v[i]) < 0)
            rc = pt_err_set(err, "out of memory");
    pt_paths_fini(&untracked);
    pt_paths_fini(&unread);
    struct stat st;
    if (rc > 0 && out->n == 0 && fstatat(l->root, ".git", &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* a folder that the repository around it ignores */
    if (rc > 0) {
        pt_paths_filter(out, wanted, l);
        pt_paths_sort(out);
        if (add_empty(l, out, err) < 0)
            rc = -1;
    }
    return rc;
}

/* --- extra files --- */

/* Caches are searched only by a glob that names them. */
static bool named(const struct list *l, const char *name)
{
    for (size_t i = 0; i < l->spec->nextra; i++)
        if (strstr(l->spec->extra[i], name))
            return true;
    return false;
}

static int choose_extra(void *arg, const char *path, bool is_folder)
{
    struct list *l = arg;
    const char *name = last_part(path);
    int choice = PT_WALK_SKIP;
    if (!wanted(l, path) || (is_junk(name, strlen(name)) && !named(l, name)))
        return PT_WALK_SKIP;
    for (size_t i = 0; i < l->spec->nextra; i++) {
        if (pt_glob_covers(l->spec->extra[i], path)) {
            l->hit[i] = true;
            choice |= PT_WALK_TAKE | PT_WALK_ENTER;
        } else if (is_folder && pt_glob_enters(l->spec->extra[i], path)) {
            choice |= PT_WALK_ENTER;
        }
    }
    return choice;
}

static int list_extra(struct list *l, struct pt_paths *out, struct pt_err *err)
{
    if (!l->spec->nextra)
        return 0;
    if (!(l->hit = calloc(l->spec->nextra, sizeof(*l->hit))))
        return pt_err_set(err, "out of memory");
    struct pt_walk w = {.root = l->root, .choose = choose_extra, .arg = l, .cancel = l->spec->cancel};
    if (pt_walk(&w, "", out, err) < 0)
        return -1;
    for (size_t i = 0; i < l->spec->nextra; i++) {
        if (l->hit[i])
            continue;
        pt_err_set_kind(err, PT_ERR_USAGE, "--extra-files: nothing in %s matches '%s'", l->spec->root,
                        l->spec->extra[i]);
        return pt_err_hint(err, "globs start at that folder; ** stands for any folders");
    }
    return 0;
}

int pt_files_list(const struct pt_tree_spec *spec, struct pt_paths *out, struct pt_err *err)
{
    struct list l = {.spec = spec};
    pt_auto_fd int root = open(spec->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: %s", spec->root, strerror(errno));
    l.root = root;
    int rc = prepare_excludes(&l) < 0 ? pt_err_set(err, "out of memory") : list_git(&l, out, err);
    if (rc == 0) {
        struct pt_walk w = {.root = root, .choose = choose_plain, .arg = &l, .cancel = spec->cancel};
        rc = pt_walk(&w, "", out, err);
    }
    if (rc >= 0)
        rc = list_extra(&l, out, err);
    pt_paths_sort(out);
    pt_paths_fini(&l.exclude);
    pt_paths_fini(&l.venvs);
    free(l.hit);
    return rc;
}
