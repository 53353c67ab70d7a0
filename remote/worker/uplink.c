/* SPDX-License-Identifier: Apache-2.0 */
/* KEY (waiting for the agent's LINK) -> CONNECTING (only with an address) -> GREETING (TLS, HELLO) -> UP ->
 * OVER */
#include "remote/worker/uplink.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/message.h"
#include "common/tls.h"
#include "remote/worker/local.h"
#include "remote/worker/rank.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define GREETING_MS 60000       /* from the start to WELCOME */
#define DEAD_MS     30000       /* of a connection that answers nothing, where the run lingers */
#define MAX_KEY     (64u << 10) /* bytes of LINK */
#define READ_CHUNK  (64u << 10)
#define GATHER      (64u << 10) /* bytes that do not wait for the end of the loop's turn */

enum uplink_state { KEY, CONNECTING, GREETING, UP, OVER };

struct pt_uplink {
    struct pt_loop *loop;
    struct pt_uplink_config config;
    const struct pt_uplink_callbacks *cb;
    void *arg;
    enum uplink_state state;
    int fd;
    struct pt_tls *tls;
    struct pt_buf in, plain, out; /* from the socket until TLS is there; from TLS; to the socket */
    size_t gone;                  /* bytes at the front of out that were sent */
    struct pt_buf said;           /* for TLS, once this turn of the loop is over */
    uint64_t turn;                /* timer of that */
    char *address;
    uint32_t linger_ms;
    bool final;
    uint64_t deadline;
};

static void on_ready(void *arg, int fd, short revents);

static void over(struct pt_uplink *link, const char *why)
{
    if (link->state == OVER)
        return;
    link->final |= link->state == KEY;
    link->state = OVER;
    pt_loop_cancel(link->loop, link->deadline);
    link->deadline = 0;
    pt_loop_cancel(link->loop, link->turn);
    link->turn = 0;
    pt_loop_unwatch(link->loop, link->fd);
    link->cb->closed(link->arg, why);
}

static void over_time(void *arg)
{
    struct pt_uplink *link = arg;
    link->deadline = 0;
    over(link,
         link->state == KEY ? "the agent did not send the key in time" : "the master did not answer in time");
}

static void rewatch(struct pt_uplink *link)
{
    short events = link->state == CONNECTING || link->out.len > link->gone ? POLLOUT : 0;
    if (link->state != CONNECTING)
        events |= POLLIN;
    if (link->state != OVER)
        pt_loop_watch(link->loop, link->fd, events, on_ready, link);
}

struct pt_uplink *pt_uplink_create(struct pt_loop *loop, const struct pt_uplink_config *config,
                                   const struct pt_uplink_callbacks *cb, void *arg, struct pt_err *err)
{
    char path[PT_LOCAL_PATH];
    struct pt_uplink *link = calloc(1, sizeof(*link));
    if (!link) {
        pt_err_set(err, "link: %s", strerror(errno));
        return NULL;
    }
    *link = (struct pt_uplink){.loop = loop, .config = *config, .cb = cb, .arg = arg, .fd = -1};
    if (pt_local_path(path, config->run_dir, PT_LINK_SOCKET, err) < 0 ||
        (link->fd = pt_local_connect(path, 0, err)) < 0 || pt_local_check_peer(link->fd, err) < 0)
        goto error;
    /* No copy of the key may stay behind in a buffer that grew. */
    link->deadline = pt_loop_after(loop, (int64_t)config->wait_ms + GREETING_MS, over_time, link);
    if (!pt_buf_reserve(&link->in, MAX_KEY + READ_CHUNK) || !link->deadline) {
        pt_err_set(err, "out of memory");
        goto error;
    }
    rewatch(link);
    return link;
error:
    pt_err_wrap(err, "link");
    pt_uplink_destroy(link);
    return NULL;
}

static void forget_key(struct pt_uplink *link)
{
    if (link->in.data)
        explicit_bzero(link->in.data, link->in.cap);
    pt_buf_fini(&link->in);
}

void pt_uplink_destroy(struct pt_uplink *link)
{
    if (!link)
        return;
    pt_loop_cancel(link->loop, link->deadline);
    pt_loop_cancel(link->loop, link->turn);
    if (link->fd >= 0) {
        pt_loop_unwatch(link->loop, link->fd);
        close(link->fd);
    }
    pt_tls_destroy(link->tls);
    forget_key(link);
    pt_buf_fini(&link->plain);
    pt_buf_fini(&link->out);
    pt_buf_fini(&link->said);
    free(link->address);
    free(link);
}

/* --- out --- */

static size_t unsent(const struct pt_uplink *link)
{
    return link->out.len - link->gone;
}

size_t pt_uplink_queued(const struct pt_uplink *link)
{
    return link->said.len + unsent(link);
}

/* Move what TLS has for the peer to the socket. */
static void flush(struct pt_uplink *link)
{
    if (link->state == OVER || link->state == CONNECTING || !link->tls)
        return;
    pt_tls_pull(link->tls, &link->out);
    while (unsent(link)) {
        ssize_t n = send(link->fd, link->out.data + link->gone, unsent(link), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* EAGAIN waits; anything else shows when reading, after what the peer still said */
        link->gone += (size_t)n;
    }
    if (!unsent(link) || link->gone > (1u << 20)) {
        pt_buf_consume(&link->out, link->gone);
        link->gone = 0;
    }
    rewatch(link);
}

/* Give TLS what was said. */
static void speak(struct pt_uplink *link)
{
    struct pt_err err = PT_ERR_INIT;
    pt_loop_cancel(link->loop, link->turn);
    link->turn = 0;
    if (link->state == OVER || !link->tls || !link->said.len)
        return;
    if (pt_tls_send(link->tls, link->said.data, link->said.len, &err) < 0) {
        over(link, err.msg);
        return;
    }
    pt_buf_clear(&link->said);
    flush(link);
}

static void on_turn(void *arg)
{
    struct pt_uplink *link = arg;
    speak(link);
    if (link->state == UP)
        link->cb->sent(link->arg);
}

void pt_uplink_send(struct pt_uplink *link, const void *frames, size_t n)
{
    if (link->state == OVER || !link->tls)
        return;
    pt_buf_append(&link->said, frames, n);
    if (link->said.bad)
        over(link, "out of memory");
    else if (link->said.len >= GATHER)
        speak(link);
    else if (!link->turn && !(link->turn = pt_loop_after(link->loop, 0, on_turn, link)))
        speak(link);
}

uint32_t pt_uplink_linger(const struct pt_uplink *link)
{
    return link->linger_ms;
}

bool pt_uplink_final(const struct pt_uplink *link)
{
    return link->final;
}

void pt_uplink_close(struct pt_uplink *link)
{
    speak(link);
    if (link->tls)
        pt_tls_close(link->tls);
    flush(link);
}

/* --- key and connection --- */

static void say_hello(struct pt_uplink *link, const char *run)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_L_HELLO);
    pt_put_u32(&msg, PT_PROTOCOL);
    pt_put_str(&msg, run);
    pt_put_u32(&msg, link->config.host);
    pt_put_u32(&msg, link->config.launch);
    pt_put_u32(&msg, link->config.slots);
    pt_put_u64(&msg, link->config.got);
    pt_put_u64(&msg, link->config.acked);
    pt_frame_end(&msg, mark);
    pt_uplink_send(link, msg.data, msg.len);
    pt_buf_fini(&msg);
}

/* ADDR:PORT or [ADDR]:PORT; starts connecting in place of the agent's socket. */
static int dial(struct pt_uplink *link, struct pt_err *err)
{
    const char *colon = strrchr(link->address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (!colon)
        return pt_err_set(err, "'%s' is no ADDR:PORT", link->address);
    bool brackets = link->address[0] == '[' && colon > link->address + 1 && colon[-1] == ']';
    pt_auto_free char *name = brackets ? strndup(link->address + 1, (size_t)(colon - link->address) - 2)
                                       : strndup(link->address, (size_t)(colon - link->address));
    int rc = name ? getaddrinfo(name, colon + 1, &hints, &found) : EAI_MEMORY;
    if (rc)
        return pt_err_set(err, "%s: %s", link->address, gai_strerror(rc));
    pt_auto_fd int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rc = fd < 0 ? -1 : connect(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (rc < 0 && (fd < 0 || errno != EINPROGRESS))
        return pt_err_set(err, "%s: %s", link->address, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    if (link->linger_ms) { /* a master that comes again must not find us with the link of before */
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){10}, sizeof(int));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &(int){5}, sizeof(int));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &(int){4}, sizeof(int));
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){DEAD_MS}, sizeof(unsigned));
    }
    pt_loop_unwatch(link->loop, link->fd);
    close(link->fd);
    link->fd = pt_steal_fd(&fd);
    return 0;
}

/* The agent's one message: who we are, and how to prove it. */
static int use_link(struct pt_uplink *link, struct pt_reader *r, struct pt_err *err)
{
    pt_auto_free char *run = pt_get_str(r, PT_MAX_PATH);
    uint32_t host = pt_get_u32(r), launch = pt_get_u32(r);
    struct pt_tls_identity id = {.cert_pem = pt_get_str(r, MAX_KEY)};
    id.key_pem = pt_get_str(r, MAX_KEY);
    id.ca_pem = pt_get_str(r, MAX_KEY);
    link->address = pt_get_str(r, 255);
    link->linger_ms = pt_get_u32(r);
    if (!pt_get_end(r))
        pt_err_set(err, "the agent sent a malformed key");
    else if (host != link->config.host || launch != link->config.launch)
        pt_err_set(err, "the agent means host %u, launch %u; this is host %u, launch %u", host, launch,
                   link->config.host, link->config.launch);
    else
        link->tls = pt_tls_create(&id, 0, run, "master", err);
    pt_tls_identity_fini(&id);
    forget_key(link);
    if (!link->tls)
        return -1;
    link->state = link->address[0] ? CONNECTING : GREETING;
    if (link->state == CONNECTING && dial(link, err) < 0)
        return -1;
    pt_loop_cancel(link->loop, link->deadline);
    link->deadline = pt_loop_after(link->loop, GREETING_MS, over_time, link);
    say_hello(link, run);
    rewatch(link);
    return 0;
}

/* Nothing follows LINK before we speak, so the bytes of one frame are all there is. */
static int read_key(struct pt_uplink *link, struct pt_err *err)
{
    uint8_t type;
    struct pt_reader body;
    size_t total;
    int rc = pt_frame_next(link->in.data, link->in.len, MAX_KEY, &type, &body, &total);
    if (rc == 0)
        return 0;
    if (rc < 0 || type != PT_K_LINK || total != link->in.len)
        return pt_err_set(err, "the agent did not send a key");
    return use_link(link, &body, err);
}

static int finish_dial(struct pt_uplink *link, struct pt_err *err)
{
    int error = 0;
    socklen_t n = sizeof(error);
    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 || error)
        return pt_err_set(err, "%s: %s", link->address, strerror(error ? error : errno));
    link->state = GREETING;
    flush(link);
    return 0;
}

/* --- in --- */

static int greet(struct pt_uplink *link, struct pt_frame *frame, struct pt_err *err)
{
    struct pt_reader *r = &frame->body;
    if (frame->type == PT_L_REFUSED) {
        pt_auto_free char *reason = pt_get_str(r, PT_MAX_PATH);
        return pt_err_set(err, "the master refused this worker: %s", reason ? reason : "no reason given");
    }
    uint32_t protocol = pt_get_u32(r);
    uint64_t acked = pt_get_u64(r);
    if (frame->type != PT_L_WELCOME)
        return pt_err_set(err, "the master did not say WELCOME");
    if (protocol != PT_PROTOCOL)
        return pt_err_set(err, "the master speaks protocol %u, this worker %u", protocol, PT_PROTOCOL);
    if (!pt_get_end(r))
        return pt_err_set(err, "the master sent a malformed WELCOME");
    link->state = UP;
    pt_loop_cancel(link->loop, link->deadline);
    link->deadline = 0;
    link->cb->welcome(link->arg, acked);
    return 0;
}

static int hand_out(struct pt_uplink *link, struct pt_err *err)
{
    size_t used = 0;
    int rc = 0;
    while (link->state != OVER) {
        struct pt_frame frame = {.data = link->plain.data + used};
        rc = pt_frame_next(frame.data, link->plain.len - used, PT_MAX_FRAME, &frame.type, &frame.body,
                           &frame.len);
        if (rc <= 0)
            break;
        used += frame.len;
        if (link->state == UP) {
            link->cb->frame(link->arg, &frame);
        } else if (greet(link, &frame, err) < 0) {
            link->final = true;
            return -1;
        }
    }
    pt_buf_consume(&link->plain, used);
    return rc < 0 ? pt_err_set(err, "the master sent what is no frame") : 0;
}

/* 1 when the peer closed properly. */
static int take(struct pt_uplink *link, const void *data, size_t n, struct pt_err *err)
{
    int rc = pt_tls_feed(link->tls, data, n, &link->plain, err);
    flush(link);
    if (rc < 0 || (link->plain.len && hand_out(link, err) < 0))
        return -1;
    return rc;
}

static int read_some(struct pt_uplink *link, struct pt_err *err)
{
    unsigned char chunk[READ_CHUNK];
    bool key = link->state == KEY;
    void *room = key ? link->in.data + link->in.len : chunk;
    ssize_t n = recv(link->fd, room, key ? link->in.cap - link->in.len : sizeof(chunk), 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : pt_err_set(err, "%s", strerror(errno));
    if (n == 0)
        return pt_err_set(err, key ? "the agent closed the link" : "the link was cut");
    if (!key)
        return take(link, chunk, (size_t)n, err);
    link->in.len += (size_t)n;
    return read_key(link, err);
}

static void on_ready(void *arg, int fd, short revents)
{
    struct pt_uplink *link = arg;
    struct pt_err err = PT_ERR_INIT;
    int rc = 0;
    (void)fd;
    if (link->state == CONNECTING)
        rc = finish_dial(link, &err);
    else if (revents & POLLOUT)
        flush(link);
    if (rc == 0 && link->state != CONNECTING && (revents & (POLLIN | POLLHUP | POLLERR)))
        rc = read_some(link, &err);
    if (rc != 0)
        over(link, rc < 0 ? err.msg : NULL);
    else if (link->state == UP)
        link->cb->sent(link->arg);
}
