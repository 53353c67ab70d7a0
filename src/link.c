/* SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define HELLO_MS  30000 /* handshake and HELLO must be through by then */
#define READ_SIZE (64u << 10)
#define UNREAD    (64u << 20) /* bytes that the peer did not take, at which it is not listened to */

struct pt_link {
    struct pt_loop *loop;
    int fd;
    struct pt_tls *tls;
    char *run;
    long host;
    struct pt_link_callbacks cb;
    void *arg;
    struct pt_buf plain, out;
    uint64_t timer;
    bool greeted;   /* HELLO came */
    bool refused;   /* nothing of it is wanted any more */
    bool finishing; /* close when out is empty */
    bool ended;     /* closed was called or must not be called any more */
    int busy;       /* inside a callback of ours: destroy waits */
    bool doomed;
};

static void on_fd(void *arg, int fd, short revents);

static void release(struct pt_link *link)
{
    pt_loop_cancel(link->loop, link->timer);
    if (link->fd >= 0) {
        pt_loop_unwatch(link->loop, link->fd);
        close(link->fd);
    }
    pt_tls_destroy(link->tls);
    pt_buf_fini(&link->plain);
    pt_buf_fini(&link->out);
    free(link->run);
    free(link);
}

void pt_link_destroy(struct pt_link *link)
{
    if (!link)
        return;
    link->ended = true;
    if (link->busy)
        link->doomed = true;
    else
        release(link);
}

/* Tell that the link is gone; the caller returns at once, the link may be freed. */
static void end(struct pt_link *link, const char *why)
{
    if (link->ended)
        return;
    link->ended = true;
    link->busy++;
    if (link->cb.closed)
        link->cb.closed(link->arg, link, why);
    link->busy--;
    if (!link->busy)
        release(link);
    else
        link->doomed = true;
}

static void enter(struct pt_link *link)
{
    link->busy++;
}

static void leave(struct pt_link *link)
{
    if (--link->busy == 0 && link->doomed)
        release(link);
}

/* Move what TLS wants to say to the socket, as far as it takes it. */
static int flush(struct pt_link *link)
{
    pt_tls_pull(link->tls, &link->out);
    if (link->out.bad) { /* TLS cannot go on after a hole */
        errno = ENOMEM;
        return -1;
    }
    size_t sent = 0;
    while (sent < link->out.len) {
        ssize_t n = send(link->fd, link->out.data + sent, link->out.len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    pt_buf_consume(&link->out, sent);
    return pt_loop_watch(link->loop, link->fd,
                         (short)((link->out.len < UNREAD ? POLLIN : 0) | (link->out.len ? POLLOUT : 0)),
                         on_fd, link);
}

static int on_hello(struct pt_link *link, struct pt_reader *body, struct pt_err *err)
{
    uint32_t version = pt_get_u32(body);
    if (!body->bad && version != PT_PROTOCOL) { /* other versions may have other fields */
        pt_link_refuse(link, "this master speaks another protocol version");
        return pt_err_set(err, "the worker speaks protocol %u, this master %u", version, PT_PROTOCOL);
    }
    pt_auto_free char *run = pt_get_str(body, 255);
    struct pt_hello hello = {.host = pt_get_u32(body)};
    hello.launch = pt_get_u32(body);
    hello.slots = pt_get_u32(body);
    hello.got = pt_get_u64(body);
    hello.acked = pt_get_u64(body);
    if (!pt_get_end(body))
        return pt_err_set(err, "malformed HELLO");
    long proven = pt_tls_peer_host(link->tls);
    if (strcmp(run, link->run) != 0 || proven != (long)hello.host ||
        (link->host >= 0 && link->host != proven))
        return pt_err_set(err, "a worker said it was host %u of run %s and proved to be host %ld", hello.host,
                          run, proven);
    link->greeted = true;
    pt_loop_cancel(link->loop, link->timer);
    link->timer = 0;
    link->cb.hello(link->arg, link, &hello);
    return 0;
}

static int on_message(struct pt_link *link, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    if (!link->greeted) {
        if (type != PT_L_HELLO)
            return pt_err_set(err, "message %u before HELLO", type);
        return on_hello(link, body, err);
    }
    return link->cb.message(link->arg, link, type, body, err);
}

static int deliver(struct pt_link *link, struct pt_err *err)
{
    size_t used = 0, total;
    uint8_t type;
    struct pt_reader body;
    int rc;
    while (link->plain.len > used && !link->ended && !link->refused &&
           (rc = pt_frame_next(link->plain.data + used, link->plain.len - used, PT_MAX_FRAME, &type, &body,
                               &total)) != 0) {
        if (rc < 0)
            return pt_err_set(err, "a frame of impossible length");
        used += total;
        if (on_message(link, type, &body, err) < 0)
            return -1;
    }
    pt_buf_consume(&link->plain, used);
    return 0;
}

/* 0 go on, 1 the peer has ended, -1 broken. */
static int take_bytes(struct pt_link *link, struct pt_err *err)
{
    unsigned char buf[READ_SIZE];
    ssize_t n = read(link->fd, buf, sizeof(buf));
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : pt_err_set(err, "%s", strerror(errno));
    if (n == 0)
        return link->finishing ? 1 : pt_err_set(err, "the connection was cut");
    int rc = pt_tls_feed(link->tls, buf, (size_t)n, &link->plain, err);
    if (deliver(link, err) < 0)
        return -1;
    if (rc == 1 && link->plain.len && !link->finishing)
        return pt_err_set(err, "the peer ended in the middle of a message");
    return rc;
}

static void on_fd(void *arg, int fd, short revents)
{
    (void)fd;
    struct pt_link *link = arg;
    struct pt_err err = PT_ERR_INIT;
    enter(link);
    int rc = revents & (POLLIN | POLLHUP | POLLERR) ? take_bytes(link, &err) : 0;
    if (!link->ended && flush(link) < 0 && rc == 0)
        rc = pt_err_set(&err, "%s", strerror(errno));
    if (!link->ended && (rc != 0 || (link->finishing && !link->out.len)))
        end(link, rc < 0 ? err.msg : "");
    leave(link);
}

static void on_late(void *arg)
{
    struct pt_link *link = arg;
    link->timer = 0;
    end(link, "said nothing in time");
}

struct pt_link *pt_link_create(struct pt_loop *loop, int fd, const struct pt_tls_identity *id,
                               const char *run, long host, const struct pt_link_callbacks *cb, void *arg,
                               struct pt_err *err)
{
    struct pt_link *link = calloc(1, sizeof(*link));
    if (!link) {
        close(fd);
        pt_err_set(err, "link: out of memory");
        return NULL;
    }
    *link = (struct pt_link){.loop = loop, .fd = fd, .host = host, .cb = *cb, .arg = arg, .run = strdup(run)};
    char role[64];
    snprintf(role, sizeof(role), "host/%ld/worker", host);
    link->tls = pt_tls_create(id, 1, run, host >= 0 ? role : NULL, err);
    if (!link->tls || !link->run || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || flush(link) < 0) {
        if (link->tls)
            pt_err_set(err, "link: %s", strerror(errno));
        release(link);
        return NULL;
    }
    link->timer = pt_loop_after(loop, HELLO_MS, on_late, link);
    return link;
}

void pt_link_send(struct pt_link *link, const struct pt_buf *frames)
{
    struct pt_err err = PT_ERR_INIT;
    if (link->ended || link->finishing)
        return;
    if (frames->bad || pt_tls_send(link->tls, frames->data, frames->len, &err) < 0) {
        pt_warn("link to host %ld: %s", pt_tls_peer_host(link->tls), frames->bad ? "out of memory" : err.msg);
        shutdown(link->fd, SHUT_RDWR); /* what is missing now would be waited for */
    }
    if (flush(link) < 0)
        shutdown(link->fd, SHUT_RDWR); /* told by its next read */
}

void pt_link_welcome(struct pt_link *link, uint64_t acked)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_L_WELCOME);
    pt_put_u32(&b, PT_PROTOCOL);
    pt_put_u64(&b, acked);
    pt_frame_end(&b, mark);
    pt_link_send(link, &b);
    pt_buf_fini(&b);
}

void pt_link_refuse(struct pt_link *link, const char *reason)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_L_REFUSED);
    pt_put_str(&b, reason);
    pt_frame_end(&b, mark);
    pt_link_send(link, &b);
    pt_buf_fini(&b);
    link->refused = true;
    pt_link_finish(link);
}

void pt_link_finish(struct pt_link *link)
{
    if (link->ended || link->finishing)
        return;
    pt_tls_close(link->tls);
    flush(link);
    link->finishing = true;
    pt_loop_watch(link->loop, link->fd, POLLIN | POLLOUT, on_fd, link);
}
