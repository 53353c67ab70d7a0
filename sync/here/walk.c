/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/walk.h"

#include "common/auto.h"
#include "common/err.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define NAMES_SIZE (32u << 10)
#define HELP_FROM  4 /* folders that wait before a second thread is worth its start */

void pt_walk_init(struct pt_walk *walk, int root)
{
    *walk = (struct pt_walk){.root = root, .top = {.path = "", .context = ""}};
    pthread_mutex_init(&walk->lock, NULL);
    pthread_cond_init(&walk->more, NULL);
    for (size_t i = 0; i < PT_CREW_MAX; i++)
        walk->worker[i].walk = walk;
}

void pt_walk_forget(struct pt_folder *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->items[i].folder)
            pt_walk_forget(f->items[i].folder);
    free(f->items);
    f->items = NULL;
    f->n = 0;
}

void pt_walk_reset(struct pt_walk *walk)
{
    pt_walk_forget(&walk->top);
    walk->top.cap = walk->top.sorted = 0;
    walk->top.read = walk->top.leads_known = walk->top.leads = false;
}

void pt_walk_fini(struct pt_walk *walk)
{
    pt_walk_forget(&walk->top);
    for (size_t i = 0; i < PT_CREW_MAX; i++) {
        pt_arena_fini(&walk->worker[i].arena);
        free(walk->worker[i].names);
    }
    pthread_cond_destroy(&walk->more);
    pthread_mutex_destroy(&walk->lock);
}

/* --- items --- */

struct pt_item *pt_walk_add_path(struct pt_folder *f, const char *path, size_t name)
{
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 16;
        struct pt_item *items = reallocarray(f->items, cap, sizeof(*items));
        if (!items)
            return NULL;
        f->items = items;
        f->cap = cap;
    }
    f->items[f->n] = (struct pt_item){.path = path, .name = (uint32_t)name};
    return &f->items[f->n++];
}

static size_t path_size(const struct pt_folder *f, size_t n)
{
    return f->len + (f->len > 0) + n + 1;
}

struct pt_item *pt_walk_add(struct pt_worker *w, struct pt_folder *f, const char *name, size_t n)
{
    size_t size = path_size(f, n), at = size - n - 1;
    char *path = pt_arena_take(&w->arena, size, 1);
    if (!path)
        return NULL;
    memcpy(path, f->path, f->len);
    if (at)
        path[at - 1] = '/';
    memcpy(path + at, name, n);
    path[size - 1] = '\0';
    return pt_walk_add_path(f, path, at);
}

void pt_walk_drop(struct pt_worker *w, struct pt_folder *f)
{
    const struct pt_item *last = &f->items[--f->n];
    pt_arena_untake(&w->arena, path_size(f, strlen(last->path + last->name)));
}

static int by_name(const void *a, const void *b)
{
    const struct pt_item *x = a, *y = b;
    return strcmp(x->path + x->name, y->path + y->name);
}

struct pt_item *pt_walk_find(const struct pt_folder *f, const char *name)
{
    struct pt_item key = {.path = name};
    return f->sorted ? bsearch(&key, f->items, f->sorted, sizeof(*f->items), by_name) : NULL;
}

void pt_walk_tidy(struct pt_folder *f)
{
    size_t i = f->sorted ? f->sorted : 1;
    while (i < f->n && by_name(&f->items[i - 1], &f->items[i]) < 0)
        i++;
    if (i < f->n) {
        qsort(f->items, f->n, sizeof(*f->items), by_name);
        size_t kept = 0;
        for (i = 1; i < f->n; i++) {
            struct pt_item *a = &f->items[kept], *b = &f->items[i];
            if (by_name(a, b) != 0) {
                f->items[++kept] = *b;
                continue;
            }
            struct pt_item both = a->flags & PT_ITEM_DONE ? *a : *b;
            both.flags = a->flags | b->flags;
            both.folder = a->folder ? a->folder : b->folder;
            *a = both;
        }
        f->n = kept + 1;
    }
    f->sorted = f->n;
}

char *pt_walk_copy(struct pt_worker *w, const char *s, size_t n)
{
    char *out = pt_arena_take(&w->arena, n + 1, 1);
    if (!out)
        return NULL;
    memcpy(out, s, n);
    out[n] = '\0';
    return out;
}

struct pt_folder *pt_walk_folder(struct pt_worker *w, struct pt_folder *up, const char *path, size_t len)
{
    struct pt_folder *f = pt_arena_take(&w->arena, sizeof(*f), 8);
    if (f)
        *f = (struct pt_folder){.path = path, .len = len, .up = up, .context = up->context};
    return f;
}

/* --- visits --- */

static void work(void *arg, unsigned number)
{
    struct pt_walk *walk = arg;
    pthread_mutex_lock(&walk->lock);
    for (;;) {
        while (!walk->todo && walk->busy && !walk->failed)
            pthread_cond_wait(&walk->more, &walk->lock);
        struct pt_folder *f = walk->todo;
        if (!f || walk->failed)
            break;
        walk->todo = f->next;
        walk->queued--;
        walk->busy++;
        pthread_mutex_unlock(&walk->lock);
        struct pt_err err = PT_ERR_INIT;
        int rc = walk->visit(&walk->worker[number], f, &err);
        pthread_mutex_lock(&walk->lock);
        walk->busy--;
        if (rc < 0 && !walk->failed && walk->err)
            *walk->err = err;
        walk->failed |= rc < 0;
        if (walk->failed || (!walk->busy && !walk->todo))
            pthread_cond_broadcast(&walk->more);
    }
    pthread_mutex_unlock(&walk->lock);
}

void pt_walk_queue(struct pt_walk *walk, struct pt_folder *f)
{
    pthread_mutex_lock(&walk->lock);
    f->next = walk->todo;
    walk->todo = f;
    walk->queued++;
    bool help = walk->busy && !walk->helped && walk->queued >= HELP_FROM;
    walk->helped |= help;
    if (walk->busy && walk->helped)
        pthread_cond_signal(&walk->more);
    pthread_mutex_unlock(&walk->lock);
    if (help)
        pt_crew_start(&walk->crew, pt_crew_size(), work, walk);
}

int pt_walk_run(struct pt_walk *walk, struct pt_err *err)
{
    walk->err = err;
    walk->helped = false;
    work(walk, 0);
    pt_crew_join(&walk->crew);
    walk->err = NULL;
    return walk->failed ? -1 : 0;
}

/* DT_DIR, DT_REG, DT_LNK, or anything else that does not count. */
static int kind_of(int dir, const struct dirent64 *d)
{
    struct stat st;
    if (d->d_type != DT_UNKNOWN)
        return d->d_type;
    if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return DT_UNKNOWN;
    return (int)IFTODT(st.st_mode);
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

int pt_walk_names(struct pt_worker *w, int fd, int (*note)(void *arg, const char *name, size_t n, int kind),
                  void *arg)
{
    if (!w->names && !(w->names = malloc(NAMES_SIZE))) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t n;
    while ((n = getdents64(fd, w->names, NAMES_SIZE)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(w->names + at);
            at += d->d_reclen;
            if (!is_dots(d->d_name) && note(arg, d->d_name, strlen(d->d_name), kind_of(fd, d)) < 0)
                return -1;
        }
    }
    return n < 0 ? -1 : 0;
}

/* --- the whole tree --- */

static bool is_sent(const struct pt_item *x);

/* What lies in it, of a folder that is one. */
static struct pt_folder *folder_of(const struct pt_item *x)
{
    return x->type == PT_ENTRY_DIR ? x->folder : NULL;
}

bool pt_walk_leads(struct pt_folder *f)
{
    if (f->leads_known)
        return f->leads;
    f->leads_known = true;
    for (size_t i = 0; i < f->n && !f->leads; i++) {
        const struct pt_item *x = &f->items[i];
        bool listed = (x->flags & PT_ITEM_LISTED) && !(x->flags & PT_ITEM_OUT);
        f->leads = (listed && x->flags & PT_ITEM_DONE) || is_sent(x);
    }
    return f->leads;
}

static bool is_sent(const struct pt_item *x)
{
    unsigned flags = x->flags;
    struct pt_folder *f = folder_of(x);
    if (!x->type || !(flags & PT_ITEM_DONE) || flags & PT_ITEM_OUT || (f && f->gone))
        return false;
    if (f && f->venv)
        flags &= ~(unsigned)PT_ITEM_PLAIN;
    return flags & PT_ITEM_SENT || (f && pt_walk_leads(f));
}

/* True when what lies in the folder `x` comes before `name`: "a.b" before "a/b" before "ab". */
static bool contents_before(const struct pt_item *x, const char *name)
{
    const char *folder = x->path + x->name;
    size_t n = strlen(folder);
    int order = strncmp(folder, name, n);
    return order < 0 || (order == 0 && '/' < (unsigned char)name[n]);
}

struct flat {
    struct pt_item **v;
    size_t n, cap;
    bool bad;
};

static void push(struct flat *out, struct pt_item *x)
{
    if (out->n == out->cap) {
        size_t cap = out->cap ? 2 * out->cap : 1024;
        struct pt_item **v = reallocarray(out->v, cap, sizeof(*v));
        if (!v) {
            out->bad = true;
            return;
        }
        out->v = v;
        out->cap = cap;
    }
    out->v[out->n++] = x;
}

static void flatten(struct pt_folder *f, struct flat *out)
{
    struct pt_item *open = NULL; /* folders whose name was told and whose contents were not, the last first */
    for (size_t i = 0; i < f->n && !out->bad; i++) {
        struct pt_item *x = &f->items[i];
        if (!is_sent(x))
            continue;
        for (; open && contents_before(open, x->path + x->name); open = open->below)
            flatten(open->folder, out);
        push(out, x);
        if (!folder_of(x))
            continue;
        x->below = open;
        open = x;
    }
    for (; open; open = open->below)
        flatten(open->folder, out);
}

struct pt_item **pt_walk_flatten(struct pt_walk *walk, size_t *n)
{
    struct flat out = {.cap = 1024, .v = calloc(1024, sizeof(*out.v))};
    if (out.v)
        flatten(&walk->top, &out);
    if (out.bad)
        free(out.v);
    *n = out.n;
    return out.bad ? NULL : out.v;
}
