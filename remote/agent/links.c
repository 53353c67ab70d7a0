/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/links.h"

#include "common/auto.h"
#include "remote/agent/door.h"
#include "remote/agent/state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LINKS_MAX  768
#define QUEUED_MAX (256u << 10) /* bytes in the mux at which the socket waits */
#define CHUNK      (64u << 10)

struct carried {
    struct pt_links *links;
    uint32_t stream;
    int fd;            /* -1 once both ways are over here, and the master has not closed yet */
    struct pt_buf out; /* for the socket */
    bool ended;        /* the socket gave its last */
    bool closing;      /* the master gave its last: shut down once out is written */
    bool used;
    uint8_t kind;
};

struct pt_links {
    struct pt_agent *agent;
    int listener;
    uint32_t next_stream;
    const struct pt_launch *launch;
    pid_t mpirun;
    bool came; /* a worker of the launch, for its keys */
    bool cut;  /* nobody is there to carry to */
    struct carried list[LINKS_MAX];
};

static void on_ready(void *arg, int fd, short revents);

static void rewatch(struct carried *c)
{
    struct pt_agent *a = c->links->agent;
    if (c->fd < 0)
        return;
    bool read = !c->ended && pt_mux_queued(a->mux, c->stream) < QUEUED_MAX;
    pt_loop_watch(a->loop, c->fd, (short)((read ? POLLIN : 0) | (c->out.len ? POLLOUT : 0)), on_ready, c);
}

/* No more bytes can go to or come from the socket. */
static void drop_socket(struct carried *c)
{
    struct pt_agent *a = c->links->agent;
    if (c->fd < 0)
        return;
    pt_loop_unwatch(a->loop, c->fd);
    close(c->fd);
    c->fd = -1;
    if (!c->ended)
        pt_mux_close(a->mux, c->stream);
    c->ended = true;
    pt_mux_credit(a->mux, c->stream, c->out.len);
    pt_buf_fini(&c->out);
}

static void maybe_free(struct carried *c)
{
    if (c->closing && c->out.len == 0 && c->fd >= 0 && c->ended)
        drop_socket(c);
    if (c->fd < 0 && c->closing)
        *c = (struct carried){0};
}

static void write_socket(struct carried *c)
{
    size_t done = 0;
    while (done < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + done, c->out.len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            drop_socket(c);
            return;
        }
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    pt_buf_consume(&c->out, done);
    pt_mux_credit(c->links->agent->mux, c->stream, done);
    if (c->closing && c->out.len == 0)
        shutdown(c->fd, SHUT_WR);
}

static void read_socket(struct carried *c)
{
    static char buf[CHUNK];
    struct pt_mux *mux = c->links->agent->mux;
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0) {
        if (pt_mux_send(mux, c->stream, buf, (size_t)n) < 0)
            drop_socket(c);
    } else if (n == 0) {
        c->ended = true;
        pt_mux_close(mux, c->stream);
    } else if (errno != EAGAIN && errno != EINTR) {
        drop_socket(c);
    }
}

static void on_ready(void *arg, int fd, short revents)
{
    struct carried *c = arg;
    (void)fd;
    if (c->fd >= 0 && (revents & POLLOUT))
        write_socket(c);
    if (c->fd >= 0 && !c->ended && (revents & (POLLIN | POLLHUP | POLLERR)))
        read_socket(c);
    else if (c->fd >= 0 && c->ended && (revents & (POLLHUP | POLLERR)))
        drop_socket(c);
    rewatch(c);
    maybe_free(c);
}

static struct carried *find(struct pt_links *links, uint32_t stream)
{
    for (size_t i = 0; i < LINKS_MAX; i++)
        if (links->list[i].used && links->list[i].stream == stream)
            return &links->list[i];
    return NULL;
}

int pt_links_carry(struct pt_links *links, int fd, uint8_t kind, const struct pt_buf *first,
                   struct pt_err *err)
{
    struct carried *c = NULL;
    if (links->cut) {
        close(fd);
        return pt_err_set(err, "no master is there");
    }
    for (size_t i = 0; i < LINKS_MAX && !c; i++)
        if (!links->list[i].used)
            c = &links->list[i];
    uint32_t stream = links->next_stream++;
    if (!c || pt_mux_open(links->agent->mux, stream, kind) < 0) {
        close(fd);
        return pt_err_set(err, "too many links");
    }
    *c = (struct carried){.links = links, .stream = stream, .fd = fd, .used = true, .kind = kind};
    if (first)
        pt_mux_send(links->agent->mux, stream, first->data, first->len);
    rewatch(c);
    return 0;
}

void pt_links_data(struct pt_links *links, uint32_t stream, const void *data, size_t n)
{
    struct carried *c = find(links, stream);
    if (!c || c->fd < 0) {
        pt_mux_credit(links->agent->mux, stream, n);
        return;
    }
    pt_buf_append(&c->out, data, n);
    if (c->out.bad)
        drop_socket(c);
    else
        write_socket(c);
    rewatch(c);
}

void pt_links_closed(struct pt_links *links, uint32_t stream)
{
    struct carried *c = find(links, stream);
    if (!c)
        return;
    c->closing = true;
    if (c->fd >= 0 && c->out.len == 0)
        shutdown(c->fd, SHUT_WR);
    maybe_free(c);
}

void pt_links_resume(struct pt_links *links)
{
    for (size_t i = 0; links && i < LINKS_MAX; i++)
        if (links->list[i].used)
            rewatch(&links->list[i]);
}

bool pt_links_busy(const struct pt_links *links)
{
    for (size_t i = 0; links && i < LINKS_MAX; i++) {
        const struct carried *c = &links->list[i];
        if (c->used && c->kind == PT_MUX_KIND_LINK &&
            (!c->ended || pt_mux_queued(links->agent->mux, c->stream)))
            return true;
    }
    return false;
}

/* --- RUNDIR/link.sock --- */

/* The keys are a few KB and the socket is new: it takes them at once, or something is wrong. */
static int give_keys(const struct pt_links *links, int fd, struct pt_err *err)
{
    const struct pt_launch *launch = links->launch;
    struct pt_buf b = {0};
    pt_buf_reserve(&b, 4 * PT_MAX_PATH); /* grows no more, so the key is copied nowhere */
    size_t mark = pt_frame_begin(&b, PT_K_LINK);
    pt_put_str(&b, links->agent->setup.run);
    pt_put_u32(&b, links->agent->setup.host);
    pt_put_u32(&b, launch->launch);
    pt_put_str(&b, launch->cert);
    pt_put_str(&b, launch->key);
    pt_put_str(&b, launch->ca);
    pt_put_str(&b, launch->address);
    pt_put_u32(&b, links->agent->setup.linger_ms);
    pt_frame_end(&b, mark);
    bool sent = !b.bad && send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)b.len;
    if (b.data)
        explicit_bzero(b.data, b.cap);
    pt_buf_fini(&b);
    return sent ? 0 : pt_err_set(err, "link: the keys could not be given");
}

static void on_accept(void *arg, int fd, short revents)
{
    struct pt_links *links = arg;
    struct pt_err err = PT_ERR_INIT;
    (void)revents;
    pt_auto_fd int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0 && (errno == EMFILE || errno == ENFILE)) { /* else it would knock for ever */
        pt_err_set_kind(&err, PT_ERR_INFRA, "no connection can be taken: %s", strerror(errno));
        pt_agent_fail(links->agent, PT_STAGE_LAUNCH, &err);
        pt_loop_watch(links->agent->loop, fd, 0, on_accept, links);
    }
    if (peer < 0)
        return;
    int rc = pt_door_check(peer, links->launch ? links->mpirun : 0, "link", &err);
    if (rc == 0)
        rc = give_keys(links, peer, &err);
    links->came = links->came || rc == 0;
    if (rc == 0 && !links->launch->address[0])
        rc = pt_links_carry(links, pt_steal_fd(&peer), PT_MUX_KIND_LINK, NULL, &err);
    if (rc < 0)
        pt_warn("%s", err.msg);
}

struct pt_links *pt_links_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_links *links = calloc(1, sizeof(*links));
    if (!links) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    links->agent = a;
    links->next_stream = PT_MUX_FIRST;
    links->listener = pt_door_open(a, "link.sock", on_accept, links, err);
    if (links->listener >= 0)
        return links;
    pt_links_destroy(links);
    return NULL;
}

void pt_links_destroy(struct pt_links *links)
{
    if (!links)
        return;
    for (size_t i = 0; i < LINKS_MAX; i++)
        if (links->list[i].used)
            drop_socket(&links->list[i]);
    if (links->listener >= 0) {
        pt_loop_unwatch(links->agent->loop, links->listener);
        close(links->listener);
    }
    free(links);
}

void pt_links_cut(struct pt_links *links)
{
    for (size_t i = 0; i < LINKS_MAX; i++)
        if (links->list[i].used) {
            drop_socket(&links->list[i]);
            links->list[i] = (struct carried){0};
        }
    links->cut = true;
    pt_loop_watch(links->agent->loop, links->listener, 0, on_accept, links);
}

void pt_links_begin(struct pt_links *links)
{
    links->cut = false;
    links->next_stream = PT_MUX_FIRST;
}

void pt_links_admit(struct pt_links *links)
{
    pt_loop_watch(links->agent->loop, links->listener, POLLIN, on_accept, links);
}

void pt_links_allow(struct pt_links *links, const struct pt_launch *launch, pid_t mpirun)
{
    links->launch = launch;
    links->mpirun = mpirun;
    links->came = links->came && !launch;
}

bool pt_links_came(const struct pt_links *links)
{
    return links && links->came;
}
