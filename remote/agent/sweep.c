/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/sweep.h"

#include "common/auto.h"
#include "common/loop.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define DEPTH_MAX    256
#define FAREWELL     4 /* rounds for those who end by themselves, before anyone looks through all processes */
#define PAUSE_NS     100000
#define PAUSE_MAX_NS 5000000

struct proc {
    pid_t pid, parent, session;
    char state;
    enum { UNKNOWN, OURS, SPARED, OTHER } kind;
};

struct procs {
    struct proc *list;
    size_t n, cap;
};

static int by_pid(const void *a, const void *b)
{
    pid_t x = ((const struct proc *)a)->pid, y = ((const struct proc *)b)->pid;
    return x < y ? -1 : x > y;
}

/* pid, state, parent and session from /proc/PID/stat; the name in it may hold anything. */
static int read_proc(const char *name, struct proc *out)
{
    char path[64], text[512];
    snprintf(path, sizeof(path), "/proc/%.16s/stat", name);
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return -1;
    text[n] = '\0';
    const char *after = strrchr(text, ')');
    if (!after || sscanf(after + 1, " %c %d %*d %d", &out->state, &out->parent, &out->session) != 3)
        return -1;
    out->pid = atoi(name);
    out->kind = UNKNOWN;
    return 0;
}

static int add(struct procs *procs, const struct proc *p)
{
    if (procs->n == procs->cap) {
        size_t cap = procs->cap ? procs->cap * 2 : 256;
        struct proc *list = realloc(procs->list, cap * sizeof(*list));
        if (!list)
            return -1;
        procs->list = list;
        procs->cap = cap;
    }
    procs->list[procs->n++] = *p;
    return 0;
}

static int list_procs(struct procs *procs)
{
    DIR *dir = opendir("/proc");
    if (!dir)
        return -1;
    int rc = 0;
    for (struct dirent *d; rc == 0 && (d = readdir(dir));) {
        struct proc p;
        if (isdigit((unsigned char)d->d_name[0]) && read_proc(d->d_name, &p) == 0)
            rc = add(procs, &p);
    }
    closedir(dir);
    if (procs->n)
        qsort(procs->list, procs->n, sizeof(*procs->list), by_pid);
    return rc;
}

static struct proc *find(const struct procs *procs, pid_t pid)
{
    struct proc key = {.pid = pid};
    return procs->n ? bsearch(&key, procs->list, procs->n, sizeof(key), by_pid) : NULL;
}

static int kind_of(const struct procs *procs, struct proc *p, const struct pt_spared *spared, size_t n,
                   int depth)
{
    if (p->kind != UNKNOWN)
        return p->kind;
    p->kind = OTHER;
    if (p->parent == getpid()) {
        p->kind = OURS;
    } else {
        struct proc *parent = find(procs, p->parent);
        if (parent && parent->pid != getpid() && depth < DEPTH_MAX)
            p->kind = kind_of(procs, parent, spared, n, depth + 1);
    }
    for (size_t i = 0; i < n && p->kind == OURS; i++)
        if (spared[i].pid == p->pid && spared[i].below)
            p->kind = SPARED;
    return p->kind;
}

static bool is_spared(pid_t pid, const struct pt_spared *spared, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (spared[i].pid == pid)
            return true;
    return false;
}

/* session 0: of any. */
static int sweep(const struct pt_spared *spared, size_t nspared, pid_t session)
{
    struct procs procs = {0};
    if (list_procs(&procs) < 0) {
        pt_auto_free_fn(&procs.list);
        return -1;
    }
    int found = 0;
    for (size_t i = 0; i < procs.n; i++) {
        struct proc *p = &procs.list[i];
        if (p->state == 'Z' || (session && p->session != session) ||
            kind_of(&procs, p, spared, nspared, 0) != OURS || is_spared(p->pid, spared, nspared))
            continue;
        kill(p->pid, SIGKILL);
        found++;
    }
    free(procs.list);
    return found;
}

int pt_sweep_round(const struct pt_spared *spared, size_t nspared)
{
    return sweep(spared, nspared, 0);
}

int pt_sweep_session(pid_t session)
{
    return sweep(NULL, 0, session);
}

int pt_sweep_children(pid_t parent, int sig)
{
    struct procs procs = {0};
    int found = 0, rc = list_procs(&procs);
    for (size_t i = 0; rc == 0 && i < procs.n; i++)
        if (procs.list[i].parent == parent && procs.list[i].state != 'Z') {
            kill(procs.list[i].pid, sig);
            found++;
        }
    free(procs.list);
    return rc < 0 ? -1 : found;
}

/* Whatever is below us is a child of ours, or of one: without a child there is nothing. */
static bool is_childless(void)
{
    pid_t pid;
    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    return pid < 0 && errno == ECHILD;
}

int pt_sweep_all(int max_ms)
{
    int64_t end = pt_now_ms() + max_ms;
    long pause = PAUSE_NS;
    for (int round = 0; !is_childless(); round++) {
        if (pt_now_ms() >= end)
            return -1;
        if (round >= FAREWELL)
            pt_sweep_round(NULL, 0);
        nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
        pause = pause * 2 < PAUSE_MAX_NS ? pause * 2 : PAUSE_MAX_NS;
    }
    return 0;
}

bool pt_sweep_below(pid_t pid, pid_t ancestor)
{
    for (int depth = 0; pid > 1 && depth < DEPTH_MAX; depth++) {
        if (pid == ancestor)
            return true;
        char name[16];
        struct proc p;
        snprintf(name, sizeof(name), "%d", (int)pid);
        if (read_proc(name, &p) < 0)
            return false;
        pid = p.parent;
    }
    return false;
}

/* Empties the folder that fd is, but for `last` (may be NULL); closes it. Never leaves its file system. */
static void empty(int fd, dev_t device, int depth, const char *last)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return;
    }
    for (struct dirent *d; (d = readdir(dir));) {
        struct stat st;
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
            (last && strcmp(d->d_name, last) == 0) || unlinkat(dirfd(dir), d->d_name, 0) == 0)
            continue;
        if (depth >= DEPTH_MAX || fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISDIR(st.st_mode) || st.st_dev != device)
            continue;
        fchmodat(dirfd(dir), d->d_name, 0700, 0);
        int below = openat(dirfd(dir), d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            empty(below, device, depth + 1, NULL);
        unlinkat(dirfd(dir), d->d_name, AT_REMOVEDIR);
    }
    closedir(dir);
}

void pt_sweep_folder(const char *path, const char *last)
{
    struct stat st;
    pt_auto_fd int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = dir < 0 || fstat(dir, &st) < 0 ? -1 : fcntl(dir, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
        empty(fd, st.st_dev, 0, last);
    if (fd >= 0 && last)
        unlinkat(dir, last, 0);
    if (dir >= 0)
        rmdir(path);
}
