/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/there/receive.h"

#include "common/auto.h"
#include "common/err.h"
#include "sync/digest.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MAX_WORKSPACES 64 /* of one project on one machine at once */
#define MAX_KEY        128
#define TRIES          100 /* when others make room at the same time */

static bool key_valid(const char *key)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t n = strlen(key);
    return n > 0 && n <= MAX_KEY && key[0] != '.' && strspn(key, good) == n;
}

static int cannot(const char *path, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_INFRA, "workspace %s: %s", path, strerror(errno));
    return pt_err_hint(err, "name another place on the host with --remote-dir");
}

/* A folder that is there; 0700 when it was made now. Who makes room may take it between two looks. */
static int make_folder(const char *path, struct pt_err *err)
{
    struct stat st;
    int found = -1;
    for (int i = 0; i < TRIES && found < 0; i++) {
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return cannot(path, err);
        found = stat(path, &st);
        if (found < 0 && errno != ENOENT)
            return cannot(path, err);
    }
    if (found < 0)
        return cannot(path, err);
    errno = ENOTDIR;
    return S_ISDIR(st.st_mode) ? 0 : cannot(path, err);
}

static char *join(const char *a, const char *b)
{
    char *out = NULL;
    return asprintf(&out, "%s/%s", a, b) < 0 ? NULL : out;
}

/* Where the file system has no locks: a socket's name, which the kernel gives to one process at a time. */
static int lock_by_name(const char *path)
{
    unsigned char digest[PT_DIGEST];
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (pt_digest_buffer(PT_DIGEST_SHA256, path, strlen(path), digest, NULL) < 0)
        return -1;
    memcpy(addr.sun_path + 1, "ptremote-ws", 11);
    pt_digest_hex(digest, addr.sun_path + 12);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int saved = errno == EADDRINUSE ? EWOULDBLOCK : errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int pt_workspace_hold(const char *folder)
{
    pt_auto_free char *path = join(folder, "lock");
    pt_auto_fd int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return pt_steal_fd(&fd);
    if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL)
        return lock_by_name(folder);
    return -1;
}

/* Who makes room may have taken the folder away between our opening its lock and having it. */
static bool is_still_there(const char *folder, int lock)
{
    struct stat held, st;
    pt_auto_free char *path = join(folder, "lock");
    if (!path || fstat(lock, &held) < 0 || !S_ISREG(held.st_mode))
        return path != NULL; /* held by name */
    return lstat(path, &st) == 0 && st.st_ino == held.st_ino && st.st_dev == held.st_dev;
}

/* As pt_workspace_hold, of a folder that is made when it is not there; it is used last now. */
static int lock_workspace(const char *folder, struct pt_err *err)
{
    for (int i = 0; i < TRIES; i++) {
        if (make_folder(folder, err) < 0)
            return -1;
        pt_auto_fd int fd = pt_workspace_hold(folder);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return errno == EWOULDBLOCK ? -1 : cannot(folder, err);
        if (!is_still_there(folder, fd))
            continue;
        pt_auto_free char *path = join(folder, "lock");
        if (path)
            utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW);
        return pt_steal_fd(&fd);
    }
    errno = ENOENT;
    return cannot(folder, err);
}

/* 1 with the tree's path, 0 when another run has this workspace, -1. */
static int take(const char *folder, char **tree, int *lock_fd, struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    pt_auto_fd int lock = lock_workspace(folder, &why);
    if (lock < 0 && !why.msg[0])
        return 0;
    if (lock < 0) {
        if (err)
            *err = why;
        return -1;
    }
    pt_auto_free char *path = join(folder, "tree");
    pt_auto_free char *temp = join(folder, "tmp");
    if (!path || !temp)
        return cannot(folder, err);
    if (make_folder(path, err) < 0 || make_folder(temp, err) < 0)
        return -1;
    *tree = realpath(path, NULL);
    if (!*tree)
        return cannot(path, err);
    *lock_fd = pt_steal_fd(&lock);
    return 1;
}

/* CACHE/ws/MACHINE_ID/PROJECT; makes the folders above it. */
static char *first_folder(const struct pt_receive_options *o, struct pt_err *err)
{
    if (!key_valid(o->machine_id) || !key_valid(o->project)) {
        pt_err_set(err, "workspace: '%s', '%s' are no names for folders", o->machine_id, o->project);
        return NULL;
    }
    pt_auto_free char *all = join(o->cache, "ws");
    pt_auto_free char *machine = all ? join(all, o->machine_id) : NULL;
    if (!machine) {
        cannot(o->cache, err);
        return NULL;
    }
    if (make_folder(o->cache, err) < 0 || make_folder(all, err) < 0 || make_folder(machine, err) < 0)
        return NULL;
    char *out = join(machine, o->project);
    if (!out)
        cannot(machine, err);
    return out;
}

char *pt_workspace_take(const struct pt_receive_options *options, int *lock_fd, struct pt_err *err)
{
    char *tree = NULL;
    pt_auto_free char *first = first_folder(options, err);
    if (!first)
        return NULL;
    for (int i = 1; i <= MAX_WORKSPACES; i++) {
        pt_auto_free char *folder = NULL;
        int n = i == 1 ? asprintf(&folder, "%s", first) : asprintf(&folder, "%s.%d", first, i);
        if (n < 0) {
            folder = NULL;
            cannot(first, err);
            return NULL;
        }
        int rc = take(folder, &tree, lock_fd, err);
        if (rc != 0)
            return rc > 0 ? tree : NULL;
    }
    pt_err_set_kind(err, PT_ERR_INFRA, "%d runs of this project are on this host already", MAX_WORKSPACES);
    return NULL;
}
