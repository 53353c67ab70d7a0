/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/door.h"

#include "common/auto.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int pt_door_open(const struct pt_agent *a, const char *name, pt_fd_fn *accept, void *arg, struct pt_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", a->dir->path, name);
    if (n >= (int)sizeof(addr.sun_path))
        return pt_err_set(err, "%s is too long", a->dir->path);
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(addr.sun_path, 0600) < 0 ||
        listen(fd, 16) < 0 || pt_loop_watch(a->loop, fd, POLLIN, accept, arg) < 0)
        return pt_err_set(err, "%s: %s", addr.sun_path, strerror(errno));
    return pt_steal_fd(&fd);
}

pid_t pt_door_peer(int fd, const char *what, struct pt_err *err)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
        return pt_err_set(err, "%s: %s", what, strerror(errno));
    if (peer.uid != geteuid())
        return pt_err_set(err, "%s: refused a process of user %u", what, (unsigned)peer.uid);
    return peer.pid;
}

int pt_door_check(int fd, pid_t mpirun, const char *what, struct pt_err *err)
{
    pid_t peer = pt_door_peer(fd, what, err);
    if (peer >= 0 && (mpirun <= 0 || !pt_sweep_below(peer, mpirun)))
        return pt_err_set(err, "%s: refused process %d, which is no worker", what, (int)peer);
    return peer < 0 ? -1 : 0;
}
