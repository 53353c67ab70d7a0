/* SPDX-License-Identifier: Apache-2.0 */
/* Jump hosts. The lane that first needs one connects to it and hands the session to a thread, which from then
 * on is its only user: it opens a channel for each lane that asks and carries bytes between the channel and
 * one end of a socket pair; the other end is the lane's "network" to the next host.
 *
 * Lane: get -> (connect, or wait for who does) -> dial -> ... -> put. The last put stops the thread.
 * A lost connection closes every pair, so lanes see their own sessions end; the next get starts anew. */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "remote/ssh_session.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define CHUNK (32 << 10)

/* A lane waiting for its channel; lives on its stack until done. */
struct request {
    struct request *next;
    const char *host;
    int port;
    struct pt_limit limit;
    bool done;
    int fd;
    struct pt_err *err;
};

struct tunnel {
    struct tunnel *next;
    ssh_channel channel;
    struct request *request; /* NULL once open */
    int fd;
    bool fd_ended, channel_ended;
    size_t at, held; /* what came from the channel and the socket did not take yet */
    unsigned char hold[CHUNK];
};

enum state { CONNECTING, READY, ENDED };

struct pt_jump {
    struct pt_jump *next;
    char *chain;
    const void *options; /* with another configuration the same words mean another host */
    unsigned refs;
    enum state state;
    struct pt_err err; /* ENDED: why */
    struct pt_ssh *ssh;
    pthread_t thread;
    bool started, stop;
    int wake;
    struct request *requests;
    struct tunnel *tunnels; /* the thread's own */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for the list and every jump's shared members */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct pt_jump *jumps;

static void wait_a_slice(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += PT_SLICE_MS * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &t);
}

static void unlink_jump(struct pt_jump *jump)
{
    for (struct pt_jump **j = &jumps; *j; j = &(*j)->next)
        if (*j == jump) {
            *j = jump->next;
            return;
        }
}

static void wake(struct pt_jump *jump)
{
    const uint64_t one = 1;
    if (write(jump->wake, &one, sizeof(one)) < 0)
        return; /* the counter is full: awake it is */
}

/* --- the thread --- */

static void finish(struct request *r, int fd)
{
    pthread_mutex_lock(&lock);
    r->fd = fd;
    r->done = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void tunnel_free(struct tunnel *t)
{
    if (t->request) {
        if (!t->request->err->msg[0])
            pt_err_set_kind(t->request->err, PT_ERR_INFRA, "the connection to the jump host ended");
        finish(t->request, -1);
    }
    if (t->channel)
        ssh_channel_free(t->channel);
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}

/* Also the end of a tunnel that did not open. */
static void refuse(struct tunnel *t, const char *why)
{
    pt_err_set_kind(t->request->err, PT_ERR_INFRA, "cannot get from there to %s port %d: %s",
                    t->request->host, t->request->port, why);
    pt_err_hint(t->request->err, "see that the jump host reaches it, and allows AllowTcpForwarding");
    t->fd_ended = t->channel_ended = true;
}

static void start_requests(struct pt_jump *jump)
{
    pthread_mutex_lock(&lock);
    struct request *r = jump->requests, *next;
    jump->requests = NULL;
    pthread_mutex_unlock(&lock);
    for (; r; r = next) {
        next = r->next;
        struct tunnel *t = calloc(1, sizeof(*t));
        if (!t) {
            pt_err_set(r->err, "no memory for a connection");
            finish(r, -1);
            continue;
        }
        t->fd = -1;
        t->request = r;
        t->channel = ssh_channel_new(jump->ssh->session);
        t->next = jump->tunnels;
        jump->tunnels = t;
    }
}

static void advance_opening(struct tunnel *t)
{
    struct request *r = t->request;
    int rc = t->channel ? ssh_channel_open_forward(t->channel, r->host, r->port, "127.0.0.1", 0) : SSH_ERROR;
    int ends[2];
    if (rc == SSH_AGAIN) {
        if (pt_limit_cancelled(&r->limit, r->err))
            t->fd_ended = t->channel_ended = true;
        else if (pt_limit_left(&r->limit) == 0)
            refuse(t, "timed out");
        return;
    }
    if (rc != SSH_OK) {
        const char *text = t->channel ? ssh_get_error(ssh_channel_get_session(t->channel)) : "no memory";
        const char *close = strrchr(text, ')'); /* after "... error (2)": what the server says */
        refuse(t, close && close[1] ? close + 2 : text);
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0) {
        refuse(t, strerror(errno));
        return;
    }
    t->fd = ends[0];
    t->request = NULL;
    finish(r, ends[1]);
}

static void channel_to_fd(struct tunnel *t)
{
    if (t->held == 0 && !t->channel_ended) {
        int n = ssh_channel_read_nonblocking(t->channel, t->hold, sizeof(t->hold), 0);
        t->at = 0;
        t->held = n > 0 ? (size_t)n : 0;
        if (n < 0 && n != SSH_AGAIN) { /* SSH_EOF among them */
            t->channel_ended = true;
            shutdown(t->fd, SHUT_WR);
        }
    }
    if (t->held == 0)
        return;
    ssize_t put = send(t->fd, t->hold + t->at, t->held, MSG_NOSIGNAL);
    if (put > 0) {
        t->at += (size_t)put;
        t->held -= (size_t)put;
    } else if (put < 0 && errno != EAGAIN) {
        t->fd_ended = t->channel_ended = true;
    }
}

static bool channel_takes(const struct pt_jump *jump, const struct tunnel *t)
{
    return !t->request && !t->fd_ended && ssh_channel_is_open(t->channel) &&
           ssh_channel_window_size(t->channel) > 0 &&
           !(ssh_get_status(jump->ssh->session) & SSH_WRITE_PENDING);
}

static void fd_to_channel(struct pt_jump *jump, struct tunnel *t)
{
    unsigned char buf[CHUNK];
    if (!channel_takes(jump, t))
        return;
    uint32_t window = ssh_channel_window_size(t->channel);
    ssize_t n = recv(t->fd, buf, window < sizeof(buf) ? window : sizeof(buf), 0);
    if (n > 0) {
        if (ssh_channel_write(t->channel, buf, (uint32_t)n) != n)
            t->fd_ended = t->channel_ended = true;
    } else if (n == 0 || errno != EAGAIN) {
        t->fd_ended = true;
        ssh_channel_send_eof(t->channel);
    }
}

/* Move what can move, drop what is over. Gives the number of tunnels; *more: do not sleep. */
static size_t serve(struct pt_jump *jump, bool *more)
{
    size_t n = 0;
    *more = false;
    for (struct tunnel **at = &jump->tunnels; *at;) {
        struct tunnel *t = *at;
        if (t->request && !t->fd_ended)
            advance_opening(t);
        if (!t->request && !t->fd_ended)
            fd_to_channel(jump, t);
        if (!t->request && t->fd >= 0)
            channel_to_fd(t);
        if (t->fd_ended && (t->channel_ended || !ssh_channel_is_open(t->channel)) && t->held == 0) {
            *at = t->next;
            tunnel_free(t);
            continue;
        }
        *more |= !t->request && t->held == 0 && !t->channel_ended && ssh_channel_poll(t->channel, 0) > 0;
        n++;
        at = &t->next;
    }
    return n;
}

static void sleep_until_work(struct pt_jump *jump, size_t n, bool more)
{
    struct pollfd fds[2 + n];
    int ms = more ? 0 : -1;
    size_t used = 2;
    fds[0] = pt_ssh_pollfd(jump->ssh);
    fds[1] = (struct pollfd){.fd = jump->wake, .events = POLLIN};
    for (struct tunnel *t = jump->tunnels; t; t = t->next) {
        short events = (short)((channel_takes(jump, t) ? POLLIN : 0) | (t->held ? POLLOUT : 0));
        fds[used++] = (struct pollfd){.fd = events ? t->fd : -1, .events = events};
        if (t->request && ms)
            ms = PT_SLICE_MS;
    }
    poll(fds, used, ms);
    if (fds[1].revents) {
        uint64_t count;
        if (read(jump->wake, &count, sizeof(count)) < 0)
            return;
    }
}

static void *jump_thread(void *arg)
{
    struct pt_jump *jump = arg;
    bool more = false, stop = false;
    for (;;) {
        start_requests(jump);
        size_t n = serve(jump, &more);
        pthread_mutex_lock(&lock);
        stop = jump->stop;
        pthread_mutex_unlock(&lock);
        if (stop)
            break;
        sleep_until_work(jump, n, more);
        if (pt_ssh_pump(jump->ssh) < 0)
            break;
    }
    pthread_mutex_lock(&lock);
    unlink_jump(jump);
    jump->state = ENDED;
    if (!stop)
        pt_err_set_kind(&jump->err, PT_ERR_INFRA, "%s", pt_ssh_reason(jump->ssh));
    pthread_mutex_unlock(&lock);
    start_requests(jump);
    while (jump->tunnels) {
        struct tunnel *t = jump->tunnels;
        jump->tunnels = t->next;
        tunnel_free(t);
    }
    return NULL;
}

/* --- the lanes' side --- */

static void jump_free(struct pt_jump *jump)
{
    if (jump->started)
        pthread_join(jump->thread, NULL);
    pt_ssh_destroy(jump->ssh);
    if (jump->wake >= 0)
        close(jump->wake);
    free(jump->chain);
    free(jump);
}

void pt_jump_put(struct pt_jump *jump)
{
    if (!jump)
        return;
    pthread_mutex_lock(&lock);
    bool last = --jump->refs == 0;
    if (last) {
        unlink_jump(jump);
        jump->stop = true;
        if (jump->started)
            wake(jump);
    }
    pthread_mutex_unlock(&lock);
    if (last)
        jump_free(jump);
}

static struct pt_jump *jump_new(const char *chain)
{
    struct pt_jump *jump = calloc(1, sizeof(*jump));
    if (!jump)
        return NULL;
    jump->refs = 1;
    jump->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    jump->chain = strdup(chain);
    if (jump->wake < 0 || !jump->chain) {
        jump_free(jump);
        return NULL;
    }
    return jump;
}

/* Connect to the last hop, through those before it. */
static struct pt_ssh *connect_hop(const char *chain, const struct pt_transport_options *options,
                                  struct pt_err *err)
{
    const char *comma = strrchr(chain, ','), *last = comma ? comma + 1 : chain;
    pt_auto_free char *via = comma ? strndup(chain, (size_t)(comma - chain)) : NULL;
    struct pt_sshhop hop;
    last += strspn(last, " \t");
    if (pt_sshhop_parse(last, strlen(last), &hop) < 0) {
        pt_err_set_kind(err, PT_ERR_INFRA, "ProxyJump '%s' does not parse", chain);
        pt_err_hint(err, "want [user@]host[:port], several separated by commas");
        return NULL;
    }
    struct pt_ssh_where where = {
        .name = hop.host, .user = hop.user, .host = hop.host, .port = hop.port, .via = via, .is_jump = true};
    struct pt_ssh *ssh = pt_ssh_connect(&where, options, err);
    if (!ssh && err->kind != PT_ERR_INTERRUPTED)
        pt_err_wrap(err, "jump host %s", hop.host);
    return ssh;
}

static void bring_up(struct pt_jump *jump, const struct pt_transport_options *options)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ssh *ssh = connect_hop(jump->chain, options, &err);
    pthread_mutex_lock(&lock);
    jump->ssh = ssh;
    jump->err = err;
    if (ssh && pthread_create(&jump->thread, NULL, jump_thread, jump) != 0)
        pt_err_set_kind(&jump->err, PT_ERR_INFRA, "cannot start a thread for jump host %s", jump->chain);
    else
        jump->started = ssh != NULL;
    jump->state = jump->started ? READY : ENDED;
    if (!jump->started)
        unlink_jump(jump);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

struct pt_jump *pt_jump_get(const char *chain, const struct pt_transport_options *options, struct pt_err *err)
{
    struct pt_limit limit = pt_limit_after(0, options->cancel);
    bool first = false, cancelled = false;
    pthread_mutex_lock(&lock);
    struct pt_jump *jump = jumps;
    while (jump && (jump->options != options || strcmp(jump->chain, chain) != 0))
        jump = jump->next;
    if (jump) {
        jump->refs++;
    } else if ((jump = jump_new(chain))) {
        first = true;
        jump->options = options;
        jump->next = jumps;
        jumps = jump;
    } else {
        pthread_mutex_unlock(&lock);
        pt_err_set(err, "no memory for a connection");
        return NULL;
    }
    if (first) {
        pthread_mutex_unlock(&lock);
        bring_up(jump, options);
        pthread_mutex_lock(&lock);
    }
    while (jump->state == CONNECTING && !(cancelled = pt_limit_cancelled(&limit, err)))
        wait_a_slice();
    bool ready = jump->state == READY;
    if (!ready && !cancelled && err)
        *err = jump->err;
    pthread_mutex_unlock(&lock);
    if (ready)
        return jump;
    pt_jump_put(jump);
    return NULL;
}

int pt_jump_dial(struct pt_jump *jump, const char *host, int port, const struct pt_limit *limit,
                 struct pt_err *err)
{
    struct pt_err local = PT_ERR_INIT;
    struct request r = {.host = host, .port = port, .limit = *limit, .fd = -1, .err = &local};
    pthread_mutex_lock(&lock);
    if (jump->state == READY) {
        r.next = jump->requests;
        /* cppcheck-suppress autoVariables ; it is off the list when done */
        jump->requests = &r;
        wake(jump);
        while (!r.done)
            pthread_cond_wait(&changed, &lock);
    } else {
        local = jump->err;
    }
    pthread_mutex_unlock(&lock);
    if (r.fd < 0 && err) {
        *err = local;
        if (err->kind != PT_ERR_INTERRUPTED)
            pt_err_wrap(err, "jump host %s", jump->chain);
    }
    return r.fd;
}

void pt_jump_why(struct pt_jump *jump, char *out, size_t size)
{
    pthread_mutex_lock(&lock);
    if (jump->state == ENDED)
        snprintf(out, size, "jump host %s: %s", jump->chain, jump->err.msg);
    else
        *out = '\0';
    pthread_mutex_unlock(&lock);
}
