/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/scope.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "remote/agent/dbus.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define LOOK_MS   5
#define GROUP_MAX 8192u /* bytes of /proc/PID/cgroup */

static int left_ms(int64_t end)
{
    int64_t left = end - pt_now_ms();
    return left > 0 ? (int)left : 0;
}

static int late(struct pt_err *err)
{
    return pt_err_set(err, "did not answer within %.1f s", PT_SCOPE_MS / 1000.0);
}

/* A queue that is full is as good as nobody: connecting does not wait. */
static int reach(const char *path, struct pt_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path) >= (int)sizeof(addr.sun_path))
        return pt_err_set(err, "its path is too long");
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return errno == EAGAIN ? late(err) : pt_err_set(err, "%s", strerror(errno));
    return pt_steal_fd(&fd);
}

/* A message of a few hundred bytes fits any socket's buffer. */
static int call(int fd, const char *name, const uint32_t *pids, uint32_t n, struct pt_err *err)
{
    struct pt_buf out = {0};
    pt_dbus_hello(&out, (uint32_t)geteuid());
    pt_dbus_start_scope(&out, name, pids, n);
    ssize_t sent = out.bad ? -1 : send(fd, out.data, out.len, MSG_NOSIGNAL);
    bool whole = sent >= 0 && (size_t)sent == out.len;
    pt_buf_fini(&out);
    return whole ? 0 : pt_err_set(err, "did not take the call");
}

static int answer(int fd, struct pt_buf *in, int64_t end, struct pt_err *err)
{
    int rc;
    while ((rc = pt_dbus_answer(in, err)) == 0) {
        char *room = pt_buf_reserve(in, 4096);
        int ms = left_ms(end);
        if (!room || ms == 0)
            return late(err);
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, ms);
        ssize_t got = recv(fd, room, 4096, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return pt_err_set(err, "broke off");
        in->len += got > 0 ? (size_t)got : 0;
    }
    return rc < 0 ? -1 : 0;
}

static bool is_in(const char *name, uint32_t pid)
{
    char path[48], text[GROUP_MAX], wanted[300];
    snprintf(path, sizeof(path), "/proc/%u/cgroup", (unsigned)pid);
    snprintf(wanted, sizeof(wanted), "/%s\n", name);
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, wanted) != NULL;
}

/* What was taken is a job of the manager, which does it a moment later, or fails to. */
static int wait_until_in(const char *name, const uint32_t *pids, uint32_t n, int64_t end, struct pt_err *err)
{
    for (uint32_t i = 0; i < n;) {
        if (is_in(name, pids[i])) {
            i++;
        } else if (left_ms(end) == 0) {
            return pt_err_set(err, "took the processes, but did not move them within %.1f s",
                              PT_SCOPE_MS / 1000.0);
        } else {
            poll(NULL, 0, LOOK_MS);
        }
    }
    return 0;
}

int pt_scope_enter(const char *socket, const char *name, const uint32_t *pids, uint32_t n, struct pt_err *err)
{
    int64_t end = pt_now_ms() + PT_SCOPE_MS;
    struct pt_buf in = {0};
    pt_auto_fd int fd = reach(socket, err);
    int rc = fd < 0 || call(fd, name, pids, n, err) < 0 ? -1 : answer(fd, &in, end, err);
    pt_buf_fini(&in);
    return rc < 0 ? -1 : wait_until_in(name, pids, n, end, err);
}
