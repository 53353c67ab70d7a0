/* SPDX-License-Identifier: Apache-2.0 */
/* What goes is first moved, at once and while nothing comes into use, to CACHE/gone/RANDOM, which this
 * process holds a lock on, and then removed there. What a process that was killed left there the next one
 * removes. */
#include "sync/there/cache.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/beneath.h"
#include "sync/stamp.h"
#include "sync/there/cache_items.h"
#include "sync/there/receive.h"
#include "sync/there/uses.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#define SIZE_FILE "use/" PT_USES_SIZE
#define LOOKED_NS (600 * INT64_C(1000000000)) /* so long a size far below the limit is believed */
#define FOLDER    (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct room {
    const char *path, *machine_id; /* of the cache */
    int cache, gone;               /* folders; gone: -1 before anything was moved */
    char gone_path[4096];
    unsigned moved;
    bool all; /* clean */
    int64_t clock_ns;
    struct pt_users users;
    struct pt_cache_items items;
    struct pt_cache_done *done;
};

/* --- gone/ --- */

/* Its lock says whether its process lives; where there are no locks, its age does. */
static bool is_left(int fd, int64_t clock_ns)
{
    struct stat st;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    return errno != EWOULDBLOCK && fstat(fd, &st) == 0 &&
           clock_ns - pt_timespec_ns(st.st_mtim) > PT_USES_LIVE_NS;
}

static void purge_left(const struct room *r)
{
    int fd = openat(r->cache, "gone", FOLDER);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (const struct dirent *e; d && (e = readdir(d));) {
        pt_auto_fd int left = e->d_name[0] == '.' ? -1 : openat(dirfd(d), e->d_name, FOLDER);
        if (left < 0 || !is_left(left, r->clock_ns))
            continue;
        pt_purge(left);
        unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    }
    if (d)
        closedir(d);
}

static int make_gone(struct room *r)
{
    if (r->gone >= 0)
        return 0;
    int n = snprintf(r->gone_path, sizeof(r->gone_path), "%s/gone/XXXXXX", r->path);
    if (n < 0 || (size_t)n >= sizeof(r->gone_path) ||
        (mkdirat(r->cache, "gone", 0700) < 0 && errno != EEXIST) || !mkdtemp(r->gone_path))
        return -1;
    r->gone = open(r->gone_path, FOLDER);
    if (r->gone >= 0)
        flock(r->gone, LOCK_EX | LOCK_NB);
    return r->gone < 0 ? -1 : 0;
}

static void purge_gone(const struct room *r)
{
    if (r->gone >= 0) {
        pt_purge(r->gone);
        rmdir(r->gone_path);
        close(r->gone);
    }
    if (r->cache >= 0)
        unlinkat(r->cache, "gone", AT_REMOVEDIR);
}

/* --- one thing --- */

static void add_word(char *out, size_t size, const char *word, size_t n)
{
    size_t at = strlen(out);
    snprintf(out + at, size - at, "%s%.*s", at ? ", " : "", (int)n, word);
}

/* Digests are named by how they begin. */
static void name_it(struct pt_cache_done *done, const struct pt_cache_item *item)
{
    size_t n = strlen(item->path), digest = item->kind == PT_CACHE_FOLDER ? strcspn(item->path, "/") + 9 : n;
    bool cut = item->kind == PT_CACHE_FOLDER && strncmp(item->path, "pycache/", 8) != 0 && n > digest;
    add_word(done->names, sizeof(done->names), item->path, cut ? digest : n);
}

static void name_user(struct pt_cache_done *done, const char *run)
{
    if (run && run[0] && !strstr(done->runs, run))
        add_word(done->runs, sizeof(done->runs), run, strlen(run));
}

static int move_away(struct room *r, const char *path)
{
    struct pt_beneath b = PT_BENEATH(r->cache);
    char as[32];
    const char *name;
    int dir = make_gone(r) < 0 ? -1 : pt_beneath_parent(&b, path, &name);
    snprintf(as, sizeof(as), "%u", r->moved);
    int rc = dir < 0 ? -1 : renameat(dir, name, r->gone, as);
    if (rc < 0 && dir >= 0 && errno == EACCES && fchmodat(dir, name, 0700, 0) == 0)
        rc = renameat(dir, name, r->gone, as);
    r->moved += rc == 0;
    pt_beneath_fini(&b);
    return rc;
}

/* The file, and then its index: as the store itself does it. */
static int remove_pack(const struct room *r, const char *path)
{
    struct pt_beneath b = PT_BENEATH(r->cache);
    char index[64];
    const char *name;
    int dir = pt_beneath_parent(&b, path, &name);
    int rc = dir < 0 ? -1 : unlinkat(dir, name, 0);
    if (rc == 0) {
        snprintf(index, sizeof(index), "%.16s.idx", name);
        unlinkat(dir, index, 0);
    }
    pt_beneath_fini(&b);
    return rc;
}

/* Held while it is moved. -1: a run has it. */
static int hold(const struct room *r, const struct pt_cache_item *item)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", r->path, item->path) < 0)
        return -1;
    int fd = pt_workspace_hold(path);
    free(path);
    return fd;
}

static bool is_of_others(const struct room *r, const struct pt_cache_item *item)
{
    size_t n = strlen(r->machine_id);
    return item->kind != PT_CACHE_WORKSPACE || strncmp(item->path + 3, r->machine_id, n) != 0 ||
           item->path[3 + n] != '/';
}

/* Is something being put there right now? */
static bool is_being_made(const struct room *r, const struct pt_cache_item *item)
{
    bool made = strstr(item->path, "/new.") != NULL;
    int fd = made ? -1 : openat(r->cache, item->path, FOLDER);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct stat st;
    for (const struct dirent *e; d && !made && (e = readdir(d));)
        made = strncmp(e->d_name, "new.", 4) == 0 &&
               fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
               r->clock_ns - pt_timespec_ns(st.st_mtim) < PT_USES_LIVE_NS;
    if (d)
        closedir(d);
    return made;
}

/* Others may be about to use it, or be on a machine whose locks do not reach us. */
static bool is_too_young(const struct room *r, const struct pt_cache_item *item)
{
    if (r->clock_ns - item->used_ns >= PT_USES_LIVE_NS)
        return false;
    if (r->all)
        return item->kind == PT_CACHE_FOLDER && is_being_made(r, item);
    return is_of_others(r, item);
}

/* Who needs it: the name of a run, "" for one without a name, NULL for nobody. */
static const char *user_of(const struct room *r, const struct pt_cache_item *item)
{
    const struct pt_user *user = pt_users_of(&r->users, item->path);
    if (!user && item->kind == PT_CACHE_STORE && r->users.n)
        user = &r->users.v[0];
    return user ? user->run : NULL;
}

static int remove_item(struct room *r, const struct pt_cache_item *item)
{
    if (item->kind == PT_CACHE_PACK)
        return remove_pack(r, item->path);
    pt_auto_fd int lock = item->kind == PT_CACHE_WORKSPACE ? hold(r, item) : -1;
    if (item->kind == PT_CACHE_WORKSPACE && lock < 0)
        return -1;
    return move_away(r, item->path);
}

/* True when it is gone. */
static bool try_item(struct room *r, const struct pt_cache_item *item)
{
    const char *user = user_of(r, item);
    bool gone = !user && !is_too_young(r, item) && remove_item(r, item) == 0;
    r->done->removed += gone;
    r->done->kept += !gone;
    r->done->bytes += gone ? item->bytes : 0;
    if (gone != r->all)
        name_it(r->done, item);
    if (r->all && !gone)
        name_user(r->done, user);
    return gone;
}

/* --- all --- */

static int open_room(struct room *r, const char *cache, const char *machine_id, struct pt_err *err)
{
    *r->done = (struct pt_cache_done){0};
    r->path = cache;
    r->machine_id = machine_id;
    r->gone = -1;
    r->cache = open(cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->cache < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "cache %s: %s", cache, strerror(errno));
    r->clock_ns = pt_stamp_clock(cache);
    purge_left(r);
    return 0;
}

static void close_room(struct room *r)
{
    pt_users_fini(&r->users);
    pt_cache_items_fini(&r->items);
    if (r->cache >= 0)
        close(r->cache);
}

/* Until the cache takes at most `limit` bytes; those that go must not come into use meanwhile. */
static void remove_until(struct room *r, uint64_t limit)
{
    pt_auto_fd int stop = pt_uses_stop(r->path);
    if ((stop < 0 && errno == EWOULDBLOCK) || pt_users_read(&r->users, r->path, r->machine_id) < 0) {
        r->done->kept = (uint32_t)r->items.n;
        if (r->all)
            add_word(r->done->names, sizeof(r->done->names), "all of it, as others change it right now", 99);
        return;
    }
    uint64_t bytes = r->items.bytes;
    for (size_t i = 0; i < r->items.n && bytes > limit; i++)
        if (try_item(r, &r->items.v[i]))
            bytes -= r->items.v[i].bytes;
}

/* --- what it took when it was looked at last --- */

static bool is_surely_below(const struct room *r, uint64_t limit)
{
    char text[32];
    struct stat st;
    pt_auto_fd int fd = openat(r->cache, SIZE_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 || fstat(fd, &st) < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    if (n <= 0 || strspn(text, "0123456789") != (size_t)n ||
        r->clock_ns - pt_timespec_ns(st.st_mtim) >= LOOKED_NS)
        return false;
    return strtoull(text, NULL, 10) < limit / 10 * 9;
}

static void note_size(const struct room *r, uint64_t bytes)
{
    char text[32];
    pt_auto_fd int fd =
        openat(r->cache, SIZE_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
    if (fd >= 0 && write(fd, text, (size_t)n) != n)
        unlinkat(r->cache, SIZE_FILE, 0);
}

int pt_cache_bound(const char *cache, const char *machine_id, uint64_t limit, struct pt_cache_done *done,
                   struct pt_err *err)
{
    struct room r = {.done = done};
    int rc = open_room(&r, cache, machine_id, err);
    if (rc == 0 && is_surely_below(&r, limit)) {
        close_room(&r);
        return 0;
    }
    if (rc == 0 && pt_cache_list(&r.items, r.cache, true) < 0)
        rc = pt_err_set(err, "out of memory");
    if (rc == 0)
        note_size(&r, r.items.bytes);
    if (rc == 0 && r.items.bytes > limit) {
        pt_cache_items_sort(&r.items);
        remove_until(&r, limit);
    }
    purge_gone(&r);
    close_room(&r);
    return rc;
}

/* --- clean --- */

/* Folders that hold others only, once these are gone. */
static void remove_empty(const struct room *r)
{
    static const char *const folders[] = {"bin", "python", "pycache", "store", "ws"};
    int fd = openat(r->cache, "ws", FOLDER);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    for (const struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
    if (d)
        closedir(d);
    for (size_t i = 0; i < PT_COUNT(folders); i++)
        unlinkat(r->cache, folders[i], AT_REMOVEDIR);
}

/* The cache itself, where it is ours by its name. */
static void remove_cache(const struct room *r)
{
    const char *name = strrchr(r->path, '/');
    if (r->users.n == 0) {
        unlinkat(r->cache, "use/lock", 0);
        unlinkat(r->cache, SIZE_FILE, 0);
        unlinkat(r->cache, "use", AT_REMOVEDIR);
    }
    if (name && strncmp(name + 1, "ptremote", 8) == 0)
        rmdir(r->path);
}

int pt_cache_clean(const char *cache, const char *machine_id, struct pt_cache_done *done, struct pt_err *err)
{
    struct room r = {.all = true, .done = done};
    int rc = open_room(&r, cache, machine_id, err);
    if (rc == 0 && pt_cache_list(&r.items, r.cache, false) < 0)
        rc = pt_err_set(err, "out of memory");
    if (rc == 0) {
        remove_until(&r, 0);
        remove_empty(&r);
    }
    purge_gone(&r);
    if (rc == 0)
        remove_cache(&r);
    close_room(&r);
    return rc;
}
