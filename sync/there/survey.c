/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/survey.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "sync/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define TEXT_SIZE (128u << 10)

/* Where the paths are. */
struct pt_survey_text {
    struct pt_survey_text *next;
    size_t used, size;
    char data[];
};

/* What is still to be listed: a thing that was found, or (inside) all that lies in a folder. */
struct item {
    struct pt_node node;
    const char *name; /* the last part of the path */
    size_t len;       /* of name */
    bool inside;
};

struct walk {
    struct pt_survey *survey;
    struct pt_beneath beneath;
    struct item *todo; /* a stack: the last one comes next */
    size_t n, cap;
};

void pt_survey_fini(struct pt_survey *s)
{
    for (struct pt_survey_text *t = s->text, *next; t; t = next) {
        next = t->next;
        free(t);
    }
    free(s->nodes);
    *s = (struct pt_survey){0};
}

static int by_path(const void *key, const void *node)
{
    return strcmp(key, ((const struct pt_node *)node)->path);
}

const struct pt_node *pt_survey_find(const struct pt_survey *s, const char *path)
{
    return s->n ? bsearch(path, s->nodes, s->n, sizeof(*s->nodes), by_path) : NULL;
}

static int cannot(const char *path, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "cannot look into '%s' of the workspace: %s", path,
                           strerror(errno));
}

static char *room(struct pt_survey *s, size_t n)
{
    struct pt_survey_text *t = s->text;
    if (!t || t->size - t->used < n) {
        size_t size = n > TEXT_SIZE ? n : TEXT_SIZE;
        if (!(t = malloc(sizeof(*t) + size)))
            return NULL;
        *t = (struct pt_survey_text){.next = s->text, .size = size};
        s->text = t;
    }
    t->used += n;
    return t->data + t->used - n;
}

/* One more item on the stack, with nothing in it yet. */
static struct item *push(struct walk *w)
{
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 256;
        struct item *todo = reallocarray(w->todo, cap, sizeof(*todo));
        if (!todo)
            return NULL;
        w->todo = todo;
        w->cap = cap;
    }
    w->todo[w->n] = (struct item){0};
    return &w->todo[w->n++];
}

static int list(struct pt_survey *s, const struct pt_node *node)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 1024;
        struct pt_node *nodes = reallocarray(s->nodes, cap, sizeof(*nodes));
        if (!nodes)
            return -1;
        s->nodes = nodes;
        s->cap = cap;
    }
    s->nodes[s->n++] = *node;
    return 0;
}

static int push_found(struct walk *w, const char *folder, const char *name, const struct stat *st)
{
    size_t nf = strlen(folder), nn = strlen(name);
    char *path = room(w->survey, nf + nn + 2);
    struct item *item = path ? push(w) : NULL;
    if (!item)
        return -1;
    memcpy(path, folder, nf);
    if (nf)
        path[nf++] = '/';
    memcpy(path + nf, name, nn + 1);
    item->node = (struct pt_node){.path = path,
                                  .mode = st->st_mode,
                                  .shared = S_ISREG(st->st_mode) && st->st_nlink > 1,
                                  .stamp = pt_stamp_of(st)};
    item->name = path + nf;
    item->len = nn;
    /* What lies deeper than any manifest reaches goes away with the folder that holds it. */
    if (!S_ISDIR(st->st_mode) || nf + nn >= PT_PATH_LIMIT)
        return 0;
    struct item *inside = push(w);
    if (!inside)
        return -1;
    *inside = w->todo[w->n - 2];
    inside->inside = true;
    return 0;
}

/* Backwards, as the stack gives the last one first. What lies in a folder has a slash after its name. */
static int backwards(const void *x, const void *y)
{
    const struct item *a = y, *b = x;
    size_t common = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->name, b->name, common);
    if (order)
        return order;
    unsigned char ca = (unsigned char)(a->len > common ? a->name[common] : a->inside ? '/' : 0);
    unsigned char cb = (unsigned char)(b->len > common ? b->name[common] : b->inside ? '/' : 0);
    return ca - cb;
}

static int visit(struct walk *w, int dir, const char *folder, const char *name, struct pt_err *err)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : cannot(folder, err);
    if (S_ISDIR(st.st_mode) && (st.st_mode & 0500) != 0500) {
        w->survey->loosened = true;
        if (fchmodat(dir, name, (st.st_mode & 0777) | 0700, 0) < 0)
            return cannot(folder, err);
    }
    return push_found(w, folder, name, &st) < 0 ? pt_err_set(err, "out of memory") : 0;
}

static int read_folder(struct walk *w, const char *folder, struct pt_err *err)
{
    const char *name = ".";
    int dir = *folder ? pt_beneath_parent(&w->beneath, folder, &name) : w->beneath.root;
    int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : cannot(folder, err);
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return pt_err_set(err, "out of memory");
    }
    int rc = 0;
    size_t first = w->n;
    const struct dirent *e;
    while (rc == 0 && (errno = 0, e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = visit(w, fd, folder, e->d_name, err);
    if (rc == 0 && errno)
        rc = cannot(folder, err);
    closedir(d);
    if (rc == 0 && w->n > first)
        qsort(w->todo + first, w->n - first, sizeof(*w->todo), backwards);
    return rc;
}

int pt_survey_take(struct pt_survey *s, int tree, const char *folder, struct pt_err *err)
{
    int64_t began = pt_now_ms();
    struct walk w = {.survey = s, .beneath = PT_BENEATH(tree)};
    *s = (struct pt_survey){.clock_ns = pt_stamp_clock(folder)};
    int rc = read_folder(&w, "", err);
    while (rc == 0 && w.n > 0) {
        struct item item = w.todo[--w.n];
        if (item.inside)
            rc = read_folder(&w, item.node.path, err);
        else if (list(s, &item.node) < 0)
            rc = pt_err_set(err, "out of memory");
    }
    s->ms = (uint32_t)(pt_now_ms() - began);
    free(w.todo);
    pt_beneath_fini(&w.beneath);
    if (rc < 0)
        pt_survey_fini(s);
    return rc;
}
