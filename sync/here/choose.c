/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/choose.h"
#include "sync/here/scan.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/glob.h"
#include "sync/here/walk.h"

#include <string.h>

static const char *const junk[] = {
    ".git",        ".hg",         ".svn", ".bzr", "_darcs",        ".jj",         "__pycache__",
    ".mypy_cache", ".ruff_cache", ".tox", ".nox", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"};

bool pt_choose_junk(const char *name, size_t n)
{
    if (*name != '.' && *name != '_')
        return false;
    for (size_t i = 0; i < PT_COUNT(junk); i++)
        if (strlen(junk[i]) == n && memcmp(junk[i], name, n) == 0)
            return true;
    return false;
}

bool pt_choose_below_junk(const char *path)
{
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        if (pt_choose_junk(p, n))
            return true;
        p += n + (p[n] == '/');
    }
    return false;
}

static int take_excludes(struct pt_choose *c)
{
    const struct pt_tree_spec *spec = c->spec;
    c->anywhere = calloc(spec->nexclude + 1, sizeof(*c->anywhere));
    c->path = calloc(spec->nexclude + 1, sizeof(*c->path));
    if (!c->anywhere || !c->path)
        return -1;
    for (size_t i = 0; i < spec->nexclude; i++) {
        const char *glob = spec->exclude[i];
        size_t n = strlen(glob);
        while (n > 0 && glob[n - 1] == '/')
            n--;
        char *copy = strndup(glob, n);
        if (!copy)
            return -1;
        if (memchr(glob, '/', n))
            c->path[c->npath++] = copy;
        else
            c->anywhere[c->nanywhere++] = copy;
    }
    return 0;
}

int pt_choose_init(struct pt_choose *c, const struct pt_tree_spec *spec, int root, struct pt_err *err)
{
    *c = (struct pt_choose){.spec = spec, .hit = calloc(spec->nextra + 1, sizeof(*c->hit))};
    if (!c->hit || take_excludes(c) < 0)
        return pt_err_set(err, "out of memory");
    return pt_ignore_read(root, &c->ignore, err);
}

void pt_choose_fini(struct pt_choose *c)
{
    for (size_t i = 0; i < c->nanywhere; i++)
        free(c->anywhere[i]);
    for (size_t i = 0; i < c->npath; i++)
        free(c->path[i]);
    free(c->anywhere);
    free(c->path);
    free(c->hit);
    pt_ignore_destroy(c->ignore);
}

bool pt_choose_wants(const struct pt_choose *c, const char *path, const char *name, bool is_folder)
{
    if (strcmp(name, ".ptremote") == 0 || (c->spec->own && strcmp(path, c->spec->own) == 0))
        return false;
    for (size_t i = 0; i < c->nanywhere; i++)
        if (pt_glob_match(c->anywhere[i], name))
            return false;
    for (size_t i = 0; i < c->npath; i++)
        if (pt_glob_match(c->path[i], path))
            return false;
    return !pt_ignore_has(c->ignore, path, name, is_folder);
}

bool pt_choose_wants_all(const struct pt_choose *c, const char *path)
{
    char above[PT_PATH_LIMIT];
    size_t name = 0;
    for (size_t i = 0; path[i] && i + 1 < sizeof(above); i++) {
        above[i] = path[i];
        if (path[i + 1] != '/' && path[i + 1])
            continue;
        above[i + 1] = '\0';
        if (!pt_choose_wants(c, above, above + name, true))
            return false;
        name = i + 2;
    }
    return true;
}

/* Caches are searched only by a glob that names them. */
static bool named(const struct pt_tree_spec *spec, const char *name)
{
    for (size_t i = 0; i < spec->nextra; i++)
        if (strstr(spec->extra[i], name))
            return true;
    return false;
}

unsigned pt_choose_extra(struct pt_choose *c, const char *path, const char *name, bool is_folder)
{
    const struct pt_tree_spec *spec = c->spec;
    unsigned choice = 0;
    if (!spec->nextra || (pt_choose_junk(name, strlen(name)) && !named(spec, name)))
        return 0;
    for (size_t i = 0; i < spec->nextra; i++) {
        if (pt_glob_covers(spec->extra[i], path)) {
            atomic_store_explicit(&c->hit[i], true, memory_order_relaxed);
            choice |= PT_ITEM_EXTRA | PT_ITEM_ENTER;
        } else if (is_folder && pt_glob_enters(spec->extra[i], path)) {
            choice |= PT_ITEM_ENTER;
        }
    }
    return choice;
}

int pt_choose_all_hit(const struct pt_choose *c, struct pt_err *err)
{
    for (size_t i = 0; i < c->spec->nextra; i++) {
        if (c->hit[i])
            continue;
        pt_err_set_kind(err, PT_ERR_USAGE, "--extra-files: nothing in %s matches '%s'", c->spec->root,
                        c->spec->extra[i]);
        return pt_err_hint(err, "globs start at that folder; ** stands for any folders");
    }
    return 0;
}
