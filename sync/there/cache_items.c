/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/cache_items.h"

#include "common/auto.h"
#include "sync/digest.h"
#include "sync/stamp.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 256
#define LOOK_MAX  4000000 /* names looked at: what is beyond counts as nothing */
#define FOLDER    (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define HEX       "0123456789abcdef"

struct lister {
    struct pt_cache_items *items;
    size_t looked;
    bool packs, bad; /* bad: memory ended */
};

static DIR *open_folder(int dir, const char *name)
{
    int fd = openat(dir, name, FOLDER);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0)
        close(fd);
    return d;
}

/* The next name that is not hidden; nothing of ours is. */
static const char *next_name(DIR *d)
{
    const struct dirent *e;
    while ((e = readdir(d)) && e->d_name[0] == '.')
        ;
    return e ? e->d_name : NULL;
}

/* --- sizes --- */

static uint64_t size_below(struct lister *l, DIR *d, dev_t device, int depth);

static uint64_t size_of(struct lister *l, int dir, const char *name, dev_t device, int depth)
{
    struct stat st;
    if (l->looked++ >= LOOK_MAX || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != device)
        return 0;
    uint64_t bytes = (uint64_t)st.st_blocks * 512;
    DIR *d = S_ISDIR(st.st_mode) && depth < DEPTH_MAX ? open_folder(dir, name) : NULL;
    if (!d)
        return bytes;
    bytes += size_below(l, d, device, depth + 1);
    closedir(d);
    return bytes;
}

static uint64_t size_below(struct lister *l, DIR *d, dev_t device, int depth)
{
    uint64_t bytes = 0;
    for (const struct dirent *e; (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            bytes += size_of(l, dirfd(d), e->d_name, device, depth);
    return bytes;
}

/* --- names --- */

static bool is_hex(const char *s, size_t n)
{
    return strspn(s, HEX) >= n;
}

static bool is_program(const char *name)
{
    size_t n = strlen(name), built = PT_DIGEST * 2 + 17; /* a worker that was built there: DIGEST-HASH */
    return is_hex(name, PT_DIGEST * 2) &&
           (n == PT_DIGEST * 2 || (n == built && name[PT_DIGEST * 2] == '-' && is_hex(name + n - 16, 16)));
}

static bool is_package(const char *name)
{
    return (strlen(name) == PT_DIGEST * 2 && is_hex(name, PT_DIGEST * 2)) || strncmp(name, "new.", 4) == 0;
}

static bool is_bytecode(const char *name)
{
    size_t n = strlen(name);
    return n > 17 && name[n - 17] == '-' && is_hex(name + n - 16, 16);
}

static bool is_store(const char *name)
{
    return strcmp(name, "blake2b") == 0 || strcmp(name, "sha256") == 0;
}

static bool is_pack(const char *name)
{
    return strlen(name) == 21 && is_hex(name, 16) && strcmp(name + 16, ".pack") == 0;
}

/* --- things --- */

static void add(struct lister *l, const char *folder, const char *name, const struct pt_cache_item *what)
{
    struct pt_cache_items *all = l->items;
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 64;
        struct pt_cache_item *v = realloc(all->v, cap * sizeof(*v));
        l->bad |= !v;
        if (!v)
            return;
        all->v = v;
        all->cap = cap;
    }
    struct pt_cache_item item = *what;
    if (asprintf(&item.path, "%s/%s", folder, name) < 0) {
        l->bad = true;
        return;
    }
    all->bytes += item.bytes;
    all->v[all->n++] = item;
}

/* A folder of ours in `dir`; `mark`: a file in it whose time tells when it was used last, or NULL for its
 * own. */
static void add_folder(struct lister *l, int dir, const char *folder, const char *name,
                       enum pt_cache_kind kind, const char *mark)
{
    struct stat st, marked;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return;
    pt_auto_fd int fd = mark ? openat(dir, name, FOLDER) : -1;
    if (mark && (fd < 0 || fstatat(fd, mark, &marked, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(marked.st_mode)))
        return;
    struct pt_cache_item item = {.kind = kind, .used_ns = pt_timespec_ns(mark ? marked.st_mtim : st.st_mtim)};
    item.bytes = size_of(l, dir, name, st.st_dev, 0);
    add(l, folder, name, &item);
}

static void add_pack(struct lister *l, int dir, const char *folder, const char *name)
{
    struct stat st, index;
    char other[32];
    snprintf(other, sizeof(other), "%.16s.idx", name);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return;
    if (fstatat(dir, other, &index, AT_SYMLINK_NOFOLLOW) < 0)
        index = (struct stat){.st_mtim = st.st_mtim};
    struct pt_cache_item item = {.kind = PT_CACHE_PACK, .used_ns = pt_timespec_ns(index.st_mtim)};
    item.bytes = (uint64_t)(st.st_blocks + index.st_blocks) * 512;
    add(l, folder, name, &item);
}

static void list_folders(struct lister *l, int cache, const char *folder, bool (*is_ours)(const char *name))
{
    DIR *d = open_folder(cache, folder);
    for (const char *name; d && (name = next_name(d));)
        if (is_ours(name))
            add_folder(l, dirfd(d), folder, name, PT_CACHE_FOLDER, NULL);
    if (d)
        closedir(d);
}

static void list_packs(struct lister *l, int stores, const char *algorithm)
{
    char folder[64];
    DIR *d = open_folder(stores, algorithm);
    snprintf(folder, sizeof(folder), "store/%s", algorithm);
    for (const char *name; d && (name = next_name(d));)
        if (is_pack(name))
            add_pack(l, dirfd(d), folder, name);
    if (d)
        closedir(d);
}

static void list_stores(struct lister *l, int cache)
{
    DIR *d = open_folder(cache, "store");
    for (const char *name; d && (name = next_name(d));) {
        if (!is_store(name))
            continue;
        if (l->packs)
            list_packs(l, dirfd(d), name);
        else
            add_folder(l, dirfd(d), "store", name, PT_CACHE_STORE, NULL);
    }
    if (d)
        closedir(d);
}

static void list_machine(struct lister *l, int all, const char *machine)
{
    char folder[300];
    DIR *d = open_folder(all, machine);
    snprintf(folder, sizeof(folder), "ws/%s", machine);
    for (const char *name; d && (name = next_name(d));)
        add_folder(l, dirfd(d), folder, name, PT_CACHE_WORKSPACE, "lock");
    if (d)
        closedir(d);
}

static void list_workspaces(struct lister *l, int cache)
{
    DIR *d = open_folder(cache, "ws");
    for (const char *name; d && (name = next_name(d));)
        list_machine(l, dirfd(d), name);
    if (d)
        closedir(d);
}

int pt_cache_list(struct pt_cache_items *items, int cache, bool packs)
{
    struct lister l = {.items = items, .packs = packs};
    *items = (struct pt_cache_items){0};
    list_folders(&l, cache, "bin", is_program);
    list_folders(&l, cache, "python", is_package);
    list_folders(&l, cache, "pycache", is_bytecode);
    list_stores(&l, cache);
    list_workspaces(&l, cache);
    return l.bad ? -1 : 0;
}

void pt_cache_items_fini(struct pt_cache_items *items)
{
    for (size_t i = 0; i < items->n; i++)
        free(items->v[i].path);
    free(items->v);
    *items = (struct pt_cache_items){0};
}

static int by_use(const void *va, const void *vb)
{
    const struct pt_cache_item *a = va, *b = vb;
    return a->used_ns != b->used_ns ? (a->used_ns > b->used_ns) - (a->used_ns < b->used_ns)
                                    : strcmp(a->path, b->path);
}

void pt_cache_items_sort(struct pt_cache_items *items)
{
    if (items->n)
        qsort(items->v, items->n, sizeof(*items->v), by_use);
}
