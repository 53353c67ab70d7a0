/* SPDX-License-Identifier: Apache-2.0 */
#include "relay.h"

#include "common/err.h"
#include "common/loop.h"
#include "common/message_across.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct pt_relayed {
    struct pt_relays *of;
    struct pt_relayed *next, **back;
    struct pt_relayed *peer; /* NULL: not joined */
    int fd;
    uint32_t from, tag;
    uint64_t timer;   /* until its first frame must be there */
    struct pt_buf in; /* read, not passed on */
    size_t first;     /* bytes of the first frame at the head of `in` */
    bool told;        /* its first frame */
    bool ended;       /* nothing more is read */
    bool shut;        /* nothing more is written */
};

struct pt_relays {
    struct pt_loop *loop;
    struct pt_relays_callbacks cb;
    void *arg;
    struct pt_relayed *streams;
};

static void release(struct pt_relayed *s)
{
    pt_loop_cancel(s->of->loop, s->timer);
    pt_loop_unwatch(s->of->loop, s->fd);
    close(s->fd);
    pt_buf_fini(&s->in);
    *s->back = s->next;
    if (s->next)
        s->next->back = s->back;
    free(s);
}

static void on_fd(void *arg, int fd, short revents);

/* Only what was watched before is watched again, so that no memory is needed. */
static void watch(struct pt_relayed *s)
{
    short events = 0;
    if (!s->told || (s->peer && !s->ended && s->in.len < PT_RELAY_BUFFER))
        events |= POLLIN;
    if (s->peer && s->peer->in.len)
        events |= POLLOUT;
    pt_loop_watch(s->of->loop, s->fd, events, on_fd, s);
}

/* --- joined --- */

static void take(struct pt_relayed *s)
{
    void *room = pt_buf_reserve(&s->in, 64u << 10);
    ssize_t n = room ? read(s->fd, room, 64u << 10) : 0;
    if (n > 0)
        s->in.len += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        s->ended = true;
}

/* What was read from s goes to its peer; one that takes nothing more ends s. */
static void pass(struct pt_relayed *s)
{
    struct pt_relayed *to = s->peer;
    size_t used = 0;
    while (used < s->in.len) {
        ssize_t n = send(to->fd, s->in.data + used, s->in.len - used, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            used = s->in.len;
            s->ended = true;
        }
        if (n <= 0)
            break;
        used += (size_t)n;
    }
    pt_buf_consume(&s->in, used);
    if (s->ended && !s->in.len && !to->shut) {
        to->shut = true;
        shutdown(to->fd, SHUT_WR);
    }
}

static void move(struct pt_relayed *s)
{
    struct pt_relayed *peer = s->peer;
    const struct pt_relays *relays = s->of;
    uint32_t tag = s->tag;
    pass(s);
    pass(peer);
    if (s->shut && peer->shut) {
        release(s);
        release(peer);
        relays->cb.closed(relays->arg, tag);
        return;
    }
    watch(s);
    watch(peer);
}

/* --- the first frame --- */

/* The stream may be gone afterwards. */
static void take_first(struct pt_relayed *s)
{
    struct pt_reader body;
    uint8_t type;
    take(s);
    int rc = pt_frame_next(s->in.data, s->in.len, PT_RELAY_FIRST_MAX, &type, &body, &s->first);
    if (rc == 0 && !s->ended && !s->in.bad)
        return;
    if (rc <= 0) {
        release(s);
        return;
    }
    pt_loop_cancel(s->of->loop, s->timer);
    s->timer = 0;
    s->told = true;
    watch(s);
    if (s->of->cb.first(s->of->arg, s, type, &body) < 0)
        release(s);
}

static void on_fd(void *arg, int fd, short revents)
{
    (void)fd;
    struct pt_relayed *s = arg;
    if (!s->told) {
        take_first(s);
        return;
    }
    if (!s->peer)
        return;
    if (revents & (POLLIN | POLLHUP | POLLERR) && !s->ended && s->in.len < PT_RELAY_BUFFER)
        take(s);
    move(s);
}

static void on_late(void *arg)
{
    struct pt_relayed *s = arg;
    s->timer = 0;
    release(s);
}

/* --- the caller's side --- */

struct pt_relays *pt_relays_create(struct pt_loop *loop, const struct pt_relays_callbacks *cb, void *arg,
                                   struct pt_err *err)
{
    struct pt_relays *relays = calloc(1, sizeof(*relays));
    if (!relays) {
        pt_err_set(err, "relays: out of memory");
        return NULL;
    }
    *relays = (struct pt_relays){.loop = loop, .cb = *cb, .arg = arg};
    return relays;
}

void pt_relays_destroy(struct pt_relays *relays)
{
    if (!relays)
        return;
    while (relays->streams)
        release(relays->streams);
    free(relays);
}

int pt_relays_add(struct pt_relays *relays, int fd, uint32_t from, struct pt_err *err)
{
    struct pt_relayed *s = calloc(1, sizeof(*s));
    if (!s || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || pt_loop_watch(relays->loop, fd, POLLIN, on_fd, s) < 0) {
        pt_err_set(err, "relay: %s", strerror(errno));
        free(s);
        close(fd);
        return -1;
    }
    *s = (struct pt_relayed){
        .of = relays, .next = relays->streams, .back = &relays->streams, .fd = fd, .from = from};
    if (s->next)
        s->next->back = &s->next;
    relays->streams = s;
    s->timer = pt_loop_after(relays->loop, PT_RELAY_FIRST_MS, on_late, s);
    return 0;
}

size_t pt_relays_count(const struct pt_relays *relays)
{
    size_t n = 0;
    for (const struct pt_relayed *s = relays->streams; s; s = s->next)
        n++;
    return n;
}

uint32_t pt_relayed_from(const struct pt_relayed *stream)
{
    return stream->from;
}

void pt_relayed_refuse(struct pt_relayed *stream, const char *why)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_Y_REFUSED);
    pt_put_str(&b, why);
    pt_frame_end(&b, mark);
    if (!b.bad && send(stream->fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        pt_buf_clear(&b); /* nobody is there to hear it */
    pt_buf_fini(&b);
    release(stream);
}

void pt_relayed_join(struct pt_relayed *a, struct pt_relayed *b, uint32_t tag)
{
    pt_buf_consume(&a->in, a->first);
    pt_buf_consume(&b->in, b->first);
    a->peer = b;
    b->peer = a;
    a->tag = b->tag = tag;
    move(a);
}
