/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/survey.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/beneath.h"
#include "sync/manifest.h"
#include "sync/paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

void pt_survey_fini(struct pt_survey *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->nodes[i].path);
    free(s->nodes);
    *s = (struct pt_survey){0};
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct pt_node *)a)->path, ((const struct pt_node *)b)->path);
}

const struct pt_node *pt_survey_find(const struct pt_survey *s, const char *path)
{
    struct pt_node key = {.path = (char *)(uintptr_t)path};
    return s->n ? bsearch(&key, s->nodes, s->n, sizeof(*s->nodes), by_path) : NULL;
}

static int cannot(const char *path, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "cannot look into '%s' of the workspace: %s", path,
                           strerror(errno));
}

static struct pt_node *add(struct pt_survey *s, const char *folder, const char *name)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 256;
        struct pt_node *nodes = reallocarray(s->nodes, cap, sizeof(*nodes));
        if (!nodes)
            return NULL;
        s->nodes = nodes;
        s->cap = cap;
    }
    size_t nf = strlen(folder), nn = strlen(name);
    char *path = malloc(nf + nn + 2);
    if (!path)
        return NULL;
    memcpy(path, folder, nf);
    if (nf)
        path[nf++] = '/';
    memcpy(path + nf, name, nn + 1);
    s->nodes[s->n] = (struct pt_node){.path = path};
    return &s->nodes[s->n++];
}

static int visit(struct pt_survey *s, int dir, const char *folder, const char *name, struct pt_paths *todo,
                 struct pt_err *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : cannot(folder, err);
    struct pt_node *node = add(s, folder, name);
    if (!node)
        return pt_err_set(err, "out of memory");
    node->mode = st.st_mode;
    node->stamp = pt_stamp_of(&st);
    /* What lies deeper than any manifest reaches goes away with the folder that holds it. */
    if (!S_ISDIR(st.st_mode) || strlen(node->path) >= PT_PATH_LIMIT)
        return 0;
    if ((st.st_mode & 0700) != 0700) {
        s->loosened = true;
        if (fchmodat(dir, name, (st.st_mode & 0777) | 0700, 0) < 0)
            return cannot(node->path, err);
    }
    return pt_paths_add(todo, "", node->path) < 0 ? pt_err_set(err, "out of memory") : 0;
}

static int read_folder(struct pt_survey *s, struct pt_beneath *b, const char *folder, struct pt_paths *todo,
                       struct pt_err *err)
{
    const char *name = ".";
    int dir = *folder ? pt_beneath_parent(b, folder, &name) : b->root;
    int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : cannot(folder, err);
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return pt_err_set(err, "out of memory");
    }
    int rc = 0;
    const struct dirent *e;
    while (rc == 0 && (errno = 0, e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = visit(s, fd, folder, e->d_name, todo, err);
    if (rc == 0 && errno)
        rc = cannot(folder, err);
    closedir(d);
    return rc;
}

int pt_survey_take(struct pt_survey *s, int tree, struct pt_err *err)
{
    struct pt_beneath b = PT_BENEATH(tree);
    struct pt_paths todo = {0};
    *s = (struct pt_survey){0};
    int rc = pt_paths_add(&todo, "", "") < 0 ? pt_err_set(err, "out of memory") : 0;
    while (rc == 0 && todo.n) {
        pt_auto_free char *folder = pt_paths_pop(&todo);
        rc = read_folder(s, &b, folder, &todo, err);
    }
    pt_paths_fini(&todo);
    pt_beneath_fini(&b);
    if (s->n)
        qsort(s->nodes, s->n, sizeof(*s->nodes), by_path);
    if (rc < 0)
        pt_survey_fini(s);
    return rc;
}
