/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever says nothing on the channel any more must be certain: a yes that came in time counts, one that
 * cannot arrive any more is noticed by who says it. */
#include "remote/agent/attach.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "remote/agent/rundir.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define ANSWER_MS  10000
#define ATTACH_MAX (16u << 10) /* bytes of ATTACH */

enum { NO, YES };

int pt_attach_none(const char *run, struct pt_err *err)
{
    pt_err_set_kind(err, PT_ERR_INFRA, "run %.64s does not linger here any more", run);
    return pt_err_hint(err, "its time was over, its workers never started, or the host was started anew; "
                            "a new start of the host runs what is missing");
}

/* --- giving --- */

static int reach(const struct pt_attach *want, struct pt_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t size = sizeof(peer);
    int n = snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/" PT_ATTACH_SOCKET, want->dir);
    if (n >= (int)sizeof(addr.sun_path) || !pt_rundir_is_ours(want->dir))
        return pt_attach_none(want->run, err);
    /* Does not wait: a door at which too many wait is as good as none. */
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return pt_attach_none(want->run, err);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != geteuid())
        return pt_attach_none(want->run, err);
    return pt_steal_fd(&fd);
}

static int send_channel(int fd, const struct pt_attach *want, int channel, struct pt_err *err)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct pt_buf b = {0};
    pt_attach_encode(want, &b);
    struct iovec io = {.iov_base = b.data, .iov_len = b.len};
    struct msghdr msg = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &channel, sizeof(int));
    ssize_t n = b.bad ? -1 : sendmsg(fd, &msg, MSG_NOSIGNAL);
    bool sent = n > 0 && (size_t)n == b.len;
    pt_buf_fini(&b);
    return sent ? 0 : pt_attach_none(want->run, err);
}

int pt_attach_give(const struct pt_attach *want, int channel, struct pt_err *err)
{
    pt_auto_fd int fd = reach(want, err);
    if (fd < 0 || send_channel(fd, want, channel, err) < 0)
        return -1;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int rc;
    int64_t end = pt_now_ms() + ANSWER_MS;
    while ((rc = poll(&p, 1, (int)(end - pt_now_ms()))) < 0 && errno == EINTR && pt_now_ms() < end)
        ;
    if (rc <= 0)
        shutdown(fd, SHUT_RD); /* from now on a yes fails there; one that is here already counts */
    unsigned char yes = NO;
    return recv(fd, &yes, 1, MSG_DONTWAIT) == 1 && yes == YES ? 0 : pt_attach_none(want->run, err);
}

/* --- taking --- */

bool pt_attach_answer(int fd, bool yes)
{
    unsigned char word = yes ? YES : NO;
    return send(fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

static bool is_channel(int fd)
{
    int domain = 0, type = 0;
    socklen_t n = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM;
}

/* Bytes, and the first descriptor that came with them. */
static ssize_t receive(int fd, void *buf, size_t size, int *channel)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec io = {.iov_base = buf, .iov_len = size};
    struct msghdr msg = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return n;
    for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int came;
        memcpy(&came, CMSG_DATA(c) + at, sizeof(int));
        if (at == 0)
            *channel = came;
        else
            close(came);
    }
    return n;
}

int pt_attach_take(int fd, struct pt_attach *want, size_t *taken, struct pt_err *err)
{
    unsigned char buf[ATTACH_MAX];
    struct pt_reader body;
    uint8_t type;
    pt_auto_fd int channel = -1;
    ssize_t n = receive(fd, buf, sizeof(buf), &channel);
    *want = (struct pt_attach){0};
    if (channel < 0 || !is_channel(channel))
        return pt_err_set(err, "no channel came");
    if (n <= 0 || pt_frame_next(buf, (size_t)n, sizeof(buf), &type, &body, taken) != 1 ||
        type != PT_C_ATTACH || *taken != (size_t)n)
        return pt_err_set(err, "what came is no ATTACH");
    if (pt_attach_decode(&body, want, err) < 0)
        return -1;
    return pt_steal_fd(&channel);
}
