/* SPDX-License-Identifier: Apache-2.0 */
#include "channels.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/mux.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

struct channel {
    uint32_t stream;
    int fd;            /* our end */
    struct pt_buf in;  /* from the host, for the descriptor */
    bool host_closed;  /* nothing more comes from the host */
    bool local_closed; /* nothing more comes from the descriptor */
};

struct pt_channels {
    struct pt_mux *mux;
    struct channel items[PT_CHANNELS_MAX];
    size_t n;
};

struct pt_channels *pt_channels_create(struct pt_mux *mux, struct pt_err *err)
{
    struct pt_channels *c = calloc(1, sizeof(*c));
    if (!c) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    c->mux = mux;
    return c;
}

static void fini(struct channel *ch)
{
    close(ch->fd);
    pt_buf_fini(&ch->in);
}

void pt_channels_destroy(struct pt_channels *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        fini(&c->items[i]);
    free(c);
}

static struct channel *find(struct pt_channels *c, uint32_t stream)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].stream == stream)
            return &c->items[i];
    return NULL;
}

int pt_channels_add(struct pt_channels *c, uint32_t stream)
{
    int sv[2];
    if (c->n == PT_CHANNELS_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) < 0)
        return -1;
    c->items[c->n++] = (struct channel){.stream = stream, .fd = sv[0]};
    return sv[1];
}

static void sweep(struct pt_channels *c)
{
    for (size_t i = 0; i < c->n;) {
        struct channel *ch = &c->items[i];
        if (ch->host_closed && ch->local_closed && !ch->in.len) {
            fini(ch);
            *ch = c->items[--c->n];
        } else {
            i++;
        }
    }
}

static void local_end(struct pt_channels *c, struct channel *ch)
{
    if (!ch->local_closed) {
        ch->local_closed = true;
        pt_mux_close(c->mux, ch->stream);
    }
}

/* Host to descriptor. A descriptor that is gone swallows what still comes. */
static void push_in(struct pt_channels *c, struct channel *ch)
{
    size_t used = 0;
    while (used < ch->in.len) {
        ssize_t n = send(ch->fd, ch->in.data + used, ch->in.len - used, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            used = ch->in.len;
            local_end(c, ch);
        }
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    pt_buf_consume(&ch->in, used);
    pt_mux_credit(c->mux, ch->stream, used);
    if (ch->host_closed && !ch->in.len)
        shutdown(ch->fd, SHUT_WR);
}

/* Descriptor to host, while the stream's queue is short. */
static void pull_out(struct pt_channels *c, struct channel *ch)
{
    char buf[32u << 10];
    while (!ch->local_closed && pt_mux_queued(c->mux, ch->stream) < PT_MUX_WINDOW) {
        ssize_t n = read(ch->fd, buf, sizeof(buf));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || pt_mux_send(c->mux, ch->stream, buf, (size_t)n) < 0)
            local_end(c, ch);
    }
}

void pt_channels_data(struct pt_channels *c, uint32_t stream, const void *data, size_t n)
{
    struct channel *ch = find(c, stream);
    if (!ch) {
        pt_mux_credit(c->mux, stream, n);
        return;
    }
    pt_buf_append(&ch->in, data, n);
    if (ch->in.bad) { /* out of memory: a hole would be worse than an end */
        shutdown(ch->fd, SHUT_RDWR);
        pt_mux_credit(c->mux, stream, ch->in.len + n);
        pt_buf_fini(&ch->in);
    }
    push_in(c, ch);
}

void pt_channels_closed(struct pt_channels *c, uint32_t stream)
{
    struct channel *ch = find(c, stream);
    if (!ch)
        return;
    ch->host_closed = true;
    push_in(c, ch);
}

size_t pt_channels_polls(const struct pt_channels *c, struct pollfd *fds)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct channel *ch = &c->items[i];
        short events = ch->in.len ? POLLOUT : 0;
        if (!ch->local_closed && pt_mux_queued(c->mux, ch->stream) < PT_MUX_WINDOW)
            events |= POLLIN;
        fds[i] = (struct pollfd){.fd = events ? ch->fd : -1, .events = events};
    }
    return c->n;
}

void pt_channels_move(struct pt_channels *c, const struct pollfd *fds, size_t n)
{
    for (size_t i = 0; i < n && i < c->n; i++) {
        if (!fds[i].revents)
            continue;
        if (c->items[i].in.len)
            push_in(c, &c->items[i]);
        pull_out(c, &c->items[i]);
    }
    sweep(c);
}
