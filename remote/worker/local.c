/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/local.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

int pt_local_path(char out[PT_LOCAL_PATH], const char *dir, const char *name, struct pt_err *err)
{
    int n = snprintf(out, PT_LOCAL_PATH, "%s/%s", dir, name);
    if (n < 0 || n >= PT_LOCAL_PATH)
        return pt_err_set(err, "%s/%s: too long for a socket's path", dir, name);
    return 0;
}

static struct sockaddr_un make_address(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    return sun;
}

int pt_local_listen(const char *path, struct pt_err *err)
{
    struct sockaddr_un sun = make_address(path);
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return pt_err_set(err, "socket: %s", strerror(errno));
    unlink(path);
    mode_t old = umask(0177);
    int rc = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
    umask(old);
    if (rc < 0 || listen(fd, 256) < 0)
        return pt_err_set(err, "%s: %s", path, strerror(errno));
    return pt_steal_fd(&fd);
}

static int try_connect(const char *path)
{
    struct sockaddr_un sun = make_address(path);
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
        return -1;
    return pt_steal_fd(&fd);
}

int pt_local_connect(const char *path, int wait_ms, struct pt_err *err)
{
    int64_t deadline = pt_now_ms() + wait_ms;
    for (;;) {
        int fd = try_connect(path);
        if (fd >= 0)
            return fd;
        bool later = errno == ENOENT || errno == ECONNREFUSED || errno == EAGAIN;
        if (!later || pt_now_ms() >= deadline)
            return pt_err_set(err, "%s: %s", path, strerror(errno));
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

int pt_local_check_peer(int fd, struct pt_err *err)
{
    struct ucred who;
    socklen_t n = sizeof(who);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) < 0)
        return pt_err_set(err, "peer of a local socket: %s", strerror(errno));
    if (who.uid != geteuid())
        return pt_err_set(err, "peer of a local socket: belongs to user %u, not %u", who.uid, geteuid());
    return 0;
}
