/* SPDX-License-Identifier: Apache-2.0 */
#include "collect_ask.h"

#include "common/err.h"
#include "common/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void pt_ask_init(struct pt_ask *a, struct pt_loop *loop)
{
    *a = (struct pt_ask){.loop = loop, .fd = -1};
}

void pt_ask_close(struct pt_ask *a)
{
    if (a->fd < 0)
        return;
    if (a->waiting)
        pt_loop_unwatch(a->loop, a->fd);
    a->waiting = false;
    close(a->fd);
    a->fd = -1;
}

void pt_ask_fini(struct pt_ask *a)
{
    pt_ask_close(a);
    pt_buf_fini(&a->line);
}

static void on_room(void *arg, int fd, short revents);

static void flush(struct pt_ask *a)
{
    while (a->fd >= 0 && a->sent < a->line.len) {
        ssize_t n = send(a->fd, a->line.data + a->sent, a->line.len - a->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            a->sent += (size_t)n;
        } else if (n < 0 && errno == EAGAIN) {
            if (!a->waiting && !(a->waiting = pt_loop_watch(a->loop, a->fd, POLLOUT, on_room, a) == 0))
                pt_ask_close(a); /* it would wait for the rest for ever */
            return;
        } else if (n == 0 || errno != EINTR) {
            pt_ask_close(a); /* its end is told by its process */
        }
    }
    if (a->waiting)
        pt_loop_unwatch(a->loop, a->fd);
    a->waiting = false;
}

static void on_room(void *arg, int fd, short revents)
{
    (void)fd;
    (void)revents;
    flush(arg);
}

int pt_ask_open(struct pt_ask *a, struct pt_err *err)
{
    int pair[2];
    pt_ask_close(a);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return pt_err_set(err, "collecting: %s", strerror(errno));
    a->fd = pair[0];
    a->sent = 0;
    flush(a);
    return pair[1];
}

int pt_ask_put(struct pt_ask *a, const void *line, size_t n)
{
    pt_buf_append(&a->line, line, n);
    pt_buf_append(&a->line, "\n", 1);
    if (a->line.bad)
        return -1;
    flush(a);
    return 0;
}

void pt_ask_forget(struct pt_ask *a)
{
    pt_buf_consume(&a->line, a->sent);
    a->sent = 0;
}
