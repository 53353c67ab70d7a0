/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/rundir.h"

#include "common/auto.h"
#include "common/err.h"
#include "remote/agent/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#define NAME      "ptremote-"
#define TEMP_NAME "ptremote-tests-" /* as in remote/python/ptremote/xdist.py */
#define BASE_MAX  80                /* RUNDIR/group.sock has to fit sun_path */
#define ROOM      (8u << 20)        /* bytes that must be free */
#define STALE_MAX 64
#define LOCK      "lock"
#define MAKING_S  60 /* a folder without its lock that is older is not being made any more */

/* The lock is taken before it has its name, so nobody ever sees a live folder without one that is held. */
static int lock_folder(const char *path)
{
    char fresh[BASE_MAX + 64], name[BASE_MAX + 64];
    snprintf(fresh, sizeof(fresh), "%s/" LOCK ".new", path);
    snprintf(name, sizeof(name), "%s/" LOCK, path);
    int fd = open(fresh, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) < 0 || rename(fresh, name) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The folder of the tests' temporary files is where those want it: a link says where, once there is one. */
static void remove_folder(const char *path)
{
    char link[BASE_MAX + 64], target[PATH_MAX];
    struct stat st;
    snprintf(link, sizeof(link), "%s/temp", path);
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = '\0';
    const char *name = strrchr(target, '/');
    if (name && target[0] == '/' && strncmp(name + 1, TEMP_NAME, strlen(TEMP_NAME)) == 0 &&
        lstat(target, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid())
        pt_sweep_folder(target, NULL);
    pt_sweep_folder(path, LOCK);
}

/* Whoever made it, or removed it, was killed: nobody holds its lock (*lock does now), or it never had one. */
static bool is_left(int folder, const struct stat *st, int *lock)
{
    *lock = openat(folder, LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (*lock < 0)
        return errno == ENOENT && time(NULL) - st->st_mtime > MAKING_S;
    return flock(*lock, LOCK_EX | LOCK_NB) == 0;
}

/* What a killed run of ours left: a folder of our name and user. */
static void sweep_stale(const char *base)
{
    DIR *dir = opendir(base);
    if (!dir)
        return;
    int removed = 0;
    for (struct dirent *d; removed < STALE_MAX && (d = readdir(dir));) {
        char path[BASE_MAX + 32];
        struct stat st;
        if (strncmp(d->d_name, NAME, strlen(NAME)) != 0 || strlen(d->d_name) != strlen(NAME) + 6)
            continue;
        snprintf(path, sizeof(path), "%s/%.20s", base, d->d_name);
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
            continue;
        pt_auto_fd int have = openat(dirfd(dir), d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        pt_auto_fd int lock = -1;
        if (have < 0 || !is_left(have, &st, &lock))
            continue;
        remove_folder(path);
        removed++;
    }
    closedir(dir);
}

static int check_room(const char *base, struct pt_err *err)
{
    struct statvfs vfs;
    if (statvfs(base, &vfs) < 0)
        return pt_err_set(err, "%s", strerror(errno));
    if ((unsigned long long)vfs.f_bavail * vfs.f_frsize < ROOM || (vfs.f_files && vfs.f_favail < 64))
        return pt_err_set(err, "%s", strerror(ENOSPC));
    return 0;
}

/* A fresh folder below base; its path (heap), locked. */
static char *make_folder(const char *base, int *lock, struct pt_err *err)
{
    if (strlen(base) > BASE_MAX) {
        pt_err_set(err, "the path is too long for sockets");
        return NULL;
    }
    if (check_room(base, NULL) < 0)
        sweep_stale(base);
    if (check_room(base, err) < 0)
        return NULL;
    char *path = NULL;
    if (asprintf(&path, "%s/" NAME "XXXXXX", base) < 0)
        return NULL;
    if (!mkdtemp(path)) {
        pt_err_set(err, "%s", strerror(errno));
    } else if ((*lock = lock_folder(path)) < 0) {
        pt_err_set(err, "lock: %s", strerror(errno));
        pt_sweep_folder(path, NULL);
    } else {
        return path;
    }
    free(path);
    return NULL;
}

static const char *runtime_dir(void)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (!dir || dir[0] != '/' || stat(dir, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077))
        return NULL;
    return dir;
}

void pt_rundir_share(char path[PT_RUNDIR_SHARE])
{
    char user[48];
    const char *base = runtime_dir();
    struct stat st;
    snprintf(user, sizeof(user), "/run/user/%u", (unsigned)geteuid());
    if (!base && stat(user, &st) == 0 && st.st_uid == geteuid() && !(st.st_mode & 077))
        base = user; /* where a login that was told of it would be */
    if (base && strlen(base) <= BASE_MAX)
        snprintf(path, PT_RUNDIR_SHARE, "%.80s/" NAME "share", base);
    else
        snprintf(path, PT_RUNDIR_SHARE, "/tmp/" NAME "share-%u", (unsigned)geteuid());
}

/* Files that no run has locked go, then the folder, if none is left. Whoever has one open sees that it has no
 * name any more once it gets the lock. */
static void tidy_share(void)
{
    char path[PT_RUNDIR_SHARE];
    struct stat st;
    pt_rundir_share(path);
    pt_auto_fd int at = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    pt_auto_fd int copy = at < 0 ? -1 : fcntl(at, F_DUPFD_CLOEXEC, 0);
    DIR *dir = copy < 0 || fstat(at, &st) < 0 || st.st_uid != geteuid() ? NULL : fdopendir(copy);
    if (!dir)
        return;
    copy = -1;
    for (const struct dirent *d; (d = readdir(dir));) {
        pt_auto_fd int fd =
            d->d_name[0] == '.' ? -1 : openat(at, d->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(at, d->d_name, 0);
    }
    closedir(dir);
    rmdir(path);
}

int pt_rundir_create(struct pt_rundir *dir, struct pt_err *err)
{
    const char *const bases[] = {runtime_dir(), "/tmp", "/var/tmp"};
    char why[PT_ERR_MAX] = "";
    *dir = (struct pt_rundir){.lock = -1, .shm_lock = -1};
    for (size_t i = 0; i < PT_COUNT(bases) && !dir->path; i++) {
        struct pt_err e = PT_ERR_INIT;
        if (!bases[i])
            continue;
        dir->path = make_folder(bases[i], &dir->lock, &e);
        size_t at = strlen(why);
        if (!dir->path)
            snprintf(why + at, sizeof(why) - at, "%s%s: %.300s", at ? "; " : "", bases[i], e.msg);
    }
    if (!dir->path) {
        pt_err_set_kind(err, PT_ERR_INFRA, "no place for this run's sockets: %s", why);
        return pt_err_hint(err, "make room in /tmp on that host");
    }
    dir->shm = make_folder("/dev/shm", &dir->shm_lock, NULL);
    return 0;
}

bool pt_rundir_is_ours(const char *path)
{
    const char *name = strrchr(path, '/');
    struct stat st;
    return path[0] == '/' && strlen(path) < BASE_MAX + 32 && strncmp(name + 1, NAME, strlen(NAME)) == 0 &&
           strlen(name + 1) == strlen(NAME) + 6 && lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid() && !(st.st_mode & 077);
}

static void sweep_beside(const char *path)
{
    pt_auto_free char *base = path ? strdup(path) : NULL;
    if (!base)
        return;
    *strrchr(base, '/') = '\0';
    sweep_stale(base);
}

void pt_rundir_tidy(const struct pt_rundir *dir)
{
    sweep_beside(dir->path);
    sweep_beside(dir->shm);
}

void pt_rundir_clean(void)
{
    const char *const bases[] = {runtime_dir(), "/tmp", "/var/tmp", "/dev/shm"};
    for (size_t i = 0; i < PT_COUNT(bases); i++)
        if (bases[i] && strlen(bases[i]) <= BASE_MAX)
            sweep_stale(bases[i]);
}

void pt_rundir_remove(const struct pt_rundir *dir)
{
    if (dir->path)
        remove_folder(dir->path);
    if (dir->shm)
        pt_sweep_folder(dir->shm, LOCK);
    tidy_share();
}
