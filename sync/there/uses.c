/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/uses.h"

#include "common/auto.h"
#include "sync/paths.h"
#include "sync/stamp.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#define FRESH     "new."
#define GATE      "lock"
#define USERS_MAX 1024
#define TEXT_MAX  (64u << 10)
#define GATE_MS   1000 /* for others to be done; they need milliseconds */

struct pt_uses {
    char *cache, *path;
    int fd;
    struct pt_paths said;
};

/* --- the gate --- */

/* -1 with EWOULDBLOCK when others hold it; a file system without locks has none to wait for. */
static int pass(const char *cache, int how)
{
    char *path = NULL;
    if (asprintf(&path, "%s/use/" GATE, cache) < 0)
        return -1;
    pt_auto_fd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    free(path);
    if (fd < 0)
        return -1;
    for (int ms = 0; flock(fd, how | LOCK_NB) < 0 && errno == EWOULDBLOCK; ms++) {
        if (ms == GATE_MS)
            return -1;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return pt_steal_fd(&fd);
}

int pt_uses_stop(const char *cache)
{
    return pass(cache, LOCK_EX);
}

/* --- saying it --- */

/* A new file that has no name yet that counts; its path (heap). The folder may be removed meanwhile, once. */
static char *make_fresh(struct pt_uses *u)
{
    char *path = NULL;
    if (asprintf(&path, "%s/use/" FRESH "XXXXXX", u->cache) < 0)
        return NULL;
    char *name = strrchr(path, '/');
    for (int i = 0; i < 2 && u->fd < 0; i++) {
        *name = '\0';
        mkdir(path, 0700);
        *name = '/';
        u->fd = mkostemp(path, O_CLOEXEC | O_APPEND);
    }
    if (u->fd >= 0)
        return path;
    free(path);
    return NULL;
}

/* The lock is taken before the file has its name, so nobody ever sees that of a live run without it. */
static int make_file(struct pt_uses *u, const char *machine_id)
{
    pt_auto_free char *fresh = make_fresh(u);
    if (!fresh)
        return -1;
    flock(u->fd, LOCK_EX | LOCK_NB);
    if (asprintf(&u->path, "%s/use/%s.%s", u->cache, machine_id, strrchr(fresh, '.') + 1) < 0)
        u->path = NULL;
    if (u->path && rename(fresh, u->path) == 0)
        return 0;
    unlink(fresh);
    return -1;
}

static int put_line(const struct pt_uses *u, const char *text)
{
    char *line = NULL;
    int n = strchr(text, '\n') ? -1 : asprintf(&line, "%s\n", text);
    if (n < 0)
        return -1;
    ssize_t put = write(u->fd, line, (size_t)n);
    free(line);
    return put == n ? 0 : -1;
}

struct pt_uses *pt_uses_create(const char *cache, const char *machine_id, const char *run)
{
    struct pt_uses *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    u->fd = -1;
    u->cache = strdup(cache);
    if (u->cache && make_file(u, machine_id) == 0 && put_line(u, run) == 0)
        return u;
    pt_uses_destroy(u);
    return NULL;
}

void pt_uses_add(struct pt_uses *u, const char *path)
{
    char *whole = NULL;
    for (size_t i = 0; u && i < u->said.n; i++)
        if (strcmp(u->said.v[i], path) == 0)
            return;
    if (!u || pt_paths_add(&u->said, "", path) < 0)
        return;
    pt_auto_fd int gate = pass(u->cache, LOCK_SH);
    (void)gate; /* held to the end */
    put_line(u, path);
    if (asprintf(&whole, "%s/%s", u->cache, path) < 0)
        return;
    utimensat(AT_FDCWD, whole, NULL, AT_SYMLINK_NOFOLLOW);
    free(whole);
}

void pt_uses_beat(struct pt_uses *u)
{
    if (u)
        futimens(u->fd, NULL);
}

void pt_uses_destroy(struct pt_uses *u)
{
    if (!u)
        return;
    int saved = errno;
    if (u->path)
        unlink(u->path);
    if (u->fd >= 0)
        close(u->fd);
    pt_paths_fini(&u->said);
    free(u->path);
    free(u->cache);
    free(u);
    errno = saved;
}

/* --- reading it --- */

static bool is_of(const char *file, const char *machine_id)
{
    const char *dot = strrchr(file, '.');
    size_t n = strlen(machine_id);
    return dot && (size_t)(dot - file) == n && memcmp(file, machine_id, n) == 0;
}

/* A lock that is held tells of a live run; one that is not tells of a dead one only on its own machine. */
static bool is_live(int fd, bool here, bool recent)
{
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK)
        return true;
    return recent && !(locked && here);
}

static int take(struct pt_users *users, int fd)
{
    char *text = malloc(TEXT_MAX + 1u);
    struct pt_user *v = realloc(users->v, (users->n + 1) * sizeof(*v));
    users->v = v ? v : users->v;
    ssize_t n = text && v ? pread(fd, text, TEXT_MAX, 0) : -1;
    if (n < 0 || n == TEXT_MAX || !v) {
        free(text);
        return -1;
    }
    text[n] = '\0';
    char *end = strchr(text, '\n');
    struct pt_user user = {.run = strndup(text, strcspn(text, "\n")), .text = strdup(end ? end : "")};
    free(text);
    if (!user.run || !user.text) {
        free(user.run);
        free(user.text);
        return -1;
    }
    users->v[users->n++] = user;
    return 0;
}

static int look(struct pt_users *users, int dir, const char *file, bool here, int64_t clock_ns)
{
    struct stat st;
    pt_auto_fd int fd = openat(dir, file, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode))
        return 0;
    bool recent = clock_ns - pt_timespec_ns(st.st_mtim) < PT_USES_LIVE_NS;
    if (recent && strncmp(file, FRESH, strlen(FRESH)) == 0)
        return 0; /* being made: its lock is not ours to try */
    if (is_live(fd, here, recent))
        return users->n < USERS_MAX ? take(users, fd) : -1;
    unlinkat(dir, file, 0);
    return 0;
}

int pt_users_read(struct pt_users *users, const char *cache, const char *machine_id)
{
    char *path = NULL;
    *users = (struct pt_users){0};
    if (asprintf(&path, "%s/use", cache) < 0)
        return -1;
    int64_t clock_ns = pt_stamp_clock(path);
    pt_auto_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    free(path);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return fd < 0 && errno == ENOENT ? 0 : -1;
    fd = -1;
    int rc = 0;
    for (const struct dirent *e; rc == 0 && (e = readdir(dir));) {
        const char *name = e->d_name;
        if (name[0] == '.' || strcmp(name, GATE) == 0 || strcmp(name, PT_USES_SIZE) == 0)
            continue;
        rc = look(users, dirfd(dir), name, is_of(name, machine_id), clock_ns);
    }
    closedir(dir);
    return rc;
}

void pt_users_fini(struct pt_users *users)
{
    for (size_t i = 0; i < users->n; i++) {
        free(users->v[i].run);
        free(users->v[i].text);
    }
    free(users->v);
    *users = (struct pt_users){0};
}

const struct pt_user *pt_users_of(const struct pt_users *users, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < users->n; i++)
        for (const char *line = users->v[i].text; line; line = strchr(line, '\n')) {
            line += *line == '\n';
            if (strncmp(line, path, n) == 0 && (line[n] == '\n' || line[n] == '\0'))
                return &users->v[i];
        }
    return NULL;
}
