/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/conn.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define READ_CHUNK 65536
#define MAX_FDS    2 /* kept; what a peer sends beyond is closed */

struct pt_conn {
    struct pt_loop *loop;
    const struct pt_conn_callbacks *cb;
    void *arg;
    int fd;
    size_t max;
    struct pt_buf in, out;
    size_t gone; /* bytes at the front of out that were sent */
    int fds[MAX_FDS], nfds;
    bool paused, corked, over, broken;
    unsigned busy; /* callbacks may run: a destroyed connection is freed when they have returned */
    bool dead;
};

static void on_ready(void *arg, int fd, short revents);

static void rewatch(struct pt_conn *conn)
{
    short events = 0;
    if (!conn->paused && !conn->over)
        events |= POLLIN;
    if (pt_conn_queued(conn) && !conn->broken && !conn->corked)
        events |= POLLOUT;
    pt_loop_watch(conn->loop, conn->fd, events, on_ready, conn);
}

struct pt_conn *pt_conn_create(struct pt_loop *loop, int fd, size_t max, const struct pt_conn_callbacks *cb,
                               void *arg, struct pt_err *err)
{
    struct pt_conn *conn = calloc(1, sizeof(*conn));
    if (!conn || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ||
        pt_loop_watch(loop, fd, POLLIN, on_ready, conn) < 0) {
        pt_err_set(err, "connection: %s", strerror(errno));
        free(conn);
        close(fd);
        return NULL;
    }
    *conn = (struct pt_conn){.loop = loop, .cb = cb, .arg = arg, .fd = fd, .max = max};
    return conn;
}

static void close_fds(struct pt_conn *conn)
{
    for (int i = 0; i < conn->nfds; i++)
        close(conn->fds[i]);
    conn->nfds = 0;
}

static void free_conn(struct pt_conn *conn)
{
    pt_buf_fini(&conn->in);
    pt_buf_fini(&conn->out);
    free(conn);
}

void pt_conn_destroy(struct pt_conn *conn)
{
    if (!conn || conn->dead)
        return;
    pt_loop_unwatch(conn->loop, conn->fd);
    close(conn->fd);
    close_fds(conn);
    conn->dead = true;
    if (!conn->busy)
        free_conn(conn);
}

static void leave(struct pt_conn *conn)
{
    if (--conn->busy == 0 && conn->dead)
        free_conn(conn);
}

size_t pt_conn_queued(const struct pt_conn *conn)
{
    return conn->out.len - conn->gone;
}

/* A write that fails drops what is queued; reading still gives what came, and then the end. */
static void flush(struct pt_conn *conn)
{
    while (pt_conn_queued(conn) && !conn->broken) {
        ssize_t n = send(conn->fd, conn->out.data + conn->gone, pt_conn_queued(conn), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0)
            conn->broken = true;
        else
            conn->gone += (size_t)n;
    }
    if (conn->broken || !pt_conn_queued(conn) || conn->gone > (1u << 20)) {
        pt_buf_consume(&conn->out, conn->broken ? conn->out.len : conn->gone);
        conn->gone = 0;
    }
}

void pt_conn_send(struct pt_conn *conn, const void *frames, size_t n)
{
    bool idle = pt_conn_queued(conn) == 0;
    pt_buf_append(&conn->out, frames, n);
    conn->broken = conn->broken || conn->out.bad;
    if (conn->corked)
        return;
    if (idle)
        flush(conn);
    rewatch(conn);
}

void pt_conn_cork(struct pt_conn *conn, bool cork)
{
    if (conn->corked && !cork && pt_conn_queued(conn))
        flush(conn);
    conn->corked = cork;
    rewatch(conn);
}

int pt_conn_send_fds(struct pt_conn *conn, const void *frames, size_t n, const int *fds, int nfds)
{
    union {
        char raw[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {.raw = {0}};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)frames, .iov_len = n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.raw};
    msg.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
    struct cmsghdr *head = CMSG_FIRSTHDR(&msg);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
    memcpy(CMSG_DATA(head), fds, (size_t)nfds * sizeof(int));
    ssize_t sent = sendmsg(conn->fd, &msg, MSG_NOSIGNAL);
    if (sent < 0)
        return -1;
    if ((size_t)sent < n)
        pt_conn_send(conn, (const char *)frames + sent, n - (size_t)sent);
    return 0;
}

void pt_conn_pause(struct pt_conn *conn, bool pause)
{
    conn->paused = pause;
    rewatch(conn);
}

int pt_conn_take_fds(struct pt_conn *conn, int *fds, int n)
{
    if (conn->nfds < n)
        return -1;
    memcpy(fds, conn->fds + conn->nfds - n, (size_t)n * sizeof(int));
    conn->nfds -= n;
    close_fds(conn);
    return 0;
}

static void keep_fds(struct pt_conn *conn, struct msghdr *msg)
{
    for (struct cmsghdr *head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
            if (conn->nfds < MAX_FDS)
                conn->fds[conn->nfds++] = fd;
            else
                close(fd);
        }
    }
}

/* As recv(2), with descriptors taken off. */
static ssize_t receive(struct pt_conn *conn)
{
    union {
        char raw[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = pt_buf_reserve(&conn->in, READ_CHUNK), .iov_len = READ_CHUNK};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.raw};
    msg.msg_controllen = sizeof(control.raw);
    if (!iov.iov_base) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t n = recvmsg(conn->fd, &msg, MSG_CMSG_CLOEXEC);
    if (n >= 0)
        keep_fds(conn, &msg);
    if (n > 0)
        conn->in.len += (size_t)n;
    return n;
}

/* Hand out the whole frames that are in. -1 when the bytes are no frames. */
static int dispatch(struct pt_conn *conn)
{
    size_t used = 0;
    int rc = 0;
    while (!conn->dead) {
        struct pt_frame frame = {.data = conn->in.data + used};
        rc = pt_frame_next(frame.data, conn->in.len - used, conn->max, &frame.type, &frame.body, &frame.len);
        if (rc <= 0)
            break;
        used += frame.len;
        conn->cb->frame(conn->arg, &frame);
    }
    pt_buf_consume(&conn->in, used);
    return rc;
}

/* Read once. True when there may be more. */
static bool read_once(struct pt_conn *conn)
{
    const char *why = "closed by the other end";
    ssize_t n = receive(conn);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n < 0)
        why = strerror(errno);
    if (n > 0 && dispatch(conn) >= 0)
        return !conn->dead;
    if (n > 0)
        why = "not a frame of ours";
    conn->over = true;
    rewatch(conn);
    conn->cb->closed(conn->arg, why);
    return false;
}

void pt_conn_drain(struct pt_conn *conn, size_t max)
{
    conn->busy++;
    for (size_t done = 0; done < max && !conn->dead && !conn->over; done += READ_CHUNK)
        if (!read_once(conn))
            break;
    leave(conn);
}

static void on_ready(void *arg, int fd, short revents)
{
    struct pt_conn *conn = arg;
    (void)fd;
    conn->busy++;
    if (pt_conn_queued(conn) && !conn->corked && (revents & (POLLOUT | POLLERR | POLLHUP))) {
        flush(conn);
        rewatch(conn);
        if (conn->cb->sent)
            conn->cb->sent(conn->arg);
    }
    if (!conn->dead && !conn->paused && !conn->over && (revents & (POLLIN | POLLERR | POLLHUP)))
        read_once(conn);
    leave(conn);
}
