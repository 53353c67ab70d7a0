/* SPDX-License-Identifier: Apache-2.0 */
/* The ssh transport: one exec channel of one session, as a non-blocking stream.
 *
 * open (ssh_connect.c: dial, key exchange, host key, log in) -> exec -> read/write/wait -> status -> close.
 * libssh buffers without limit and asks for no deadline by itself, so: at most MAX_WRITE bytes are handed
 * over while nothing waits to be sent; what libssh already decrypted counts as readable before anybody
 * sleeps; every blocking step has a deadline and looks at the cancel flag. */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "remote/ssh_session.h"

#include <libssh/callbacks.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_WRITE (256u << 10)
#define PULL      (64 << 10) /* decrypted bytes to have at hand before the caller is woken */
#define MAX_PULLS 64
#define MAX_HELD  (8 << 20) /* more than the window allows many times over: a hostile server */
#define LAST_MS   1000 /* for the exit status to follow the end of the stream, and the last bytes to leave */
#define MAX_FDS   4096

struct stream {
    struct pt_transport base;
    struct pt_ssh *ssh;
    ssh_channel channel;
    struct ssh_channel_callbacks_struct callbacks;
    int status; /* -1 until known */
    bool lost, out_told, err_told;
    char why[512];
};

static struct stream *self(struct pt_transport *t)
{
    return (struct stream *)t;
}

/* The connection is gone; remember why, once. */
static void lose(struct stream *t, const char *why)
{
    if (t->lost)
        return;
    t->lost = true;
    if (t->ssh->jump)
        pt_jump_why(t->ssh->jump, t->why, sizeof(t->why));
    if (!t->why[0])
        snprintf(t->why, sizeof(t->why), "%s", why);
}

static bool pump(struct stream *t)
{
    if (!t->lost && pt_ssh_pump(t->ssh) < 0)
        lose(t, pt_ssh_reason(t->ssh));
    return !t->lost;
}

/* --- exec --- */

static void on_exit_status(ssh_session session, ssh_channel channel, int status, void *arg)
{
    (void)session;
    (void)channel;
    ((struct stream *)arg)->status = (status & 0xff) << 8;
}

static void on_exit_signal(ssh_session session, ssh_channel channel, const char *name, int core,
                           const char *text, const char *lang, void *arg)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"FPE", SIGFPE},   {"HUP", SIGHUP},
                   {"ILL", SIGILL},   {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE},
                   {"QUIT", SIGQUIT}, {"SEGV", SIGSEGV}, {"TERM", SIGTERM}, {"USR1", SIGUSR1},
                   {"USR2", SIGUSR2}};
    struct stream *t = arg;
    (void)session;
    (void)channel;
    (void)text;
    (void)lang;
    t->status = SIGKILL;
    for (size_t i = 0; i < PT_COUNT(signals); i++)
        if (!strcmp(signals[i].name, name))
            t->status = signals[i].number;
    if (core)
        t->status |= 0x80;
}

static int call_open(struct pt_ssh *s, void *arg)
{
    (void)s;
    return ssh_channel_open_session(((struct stream *)arg)->channel);
}

struct exec_call {
    struct stream *t;
    const char *command;
};

static int call_exec(struct pt_ssh *s, void *arg)
{
    struct exec_call *c = arg;
    (void)s;
    return ssh_channel_request_exec(c->t->channel, c->command);
}

static int refused(struct stream *t, const char *what, struct pt_err *err)
{
    if (!ssh_is_connected(t->ssh->session))
        lose(t, pt_ssh_reason(t->ssh));
    pt_err_set_kind(err, PT_ERR_INFRA, "%s: %s", what, t->lost ? t->why : ssh_get_error(t->ssh->session));
    return pt_err_hint(err, "see what sshd allows this user: %s true", t->ssh->command);
}

static int stream_exec(struct pt_transport *base, const char *command, struct pt_err *err)
{
    struct stream *t = self(base);
    struct exec_call call = {.t = t, .command = command};
    int rc, ms = t->ssh->options->step_ms;
    if (t->channel)
        return pt_err_set(err, "one transport runs one command");
    if (!(t->channel = ssh_channel_new(t->ssh->session)))
        return pt_err_set(err, "no memory for a channel");
    t->callbacks.userdata = t;
    t->callbacks.channel_exit_status_function = on_exit_status;
    t->callbacks.channel_exit_signal_function = on_exit_signal;
    ssh_callbacks_init(&t->callbacks);
    if (ssh_set_channel_callbacks(t->channel, &t->callbacks) != SSH_OK)
        return pt_err_set(err, "no memory for a channel");
    if (pt_ssh_step(t->ssh, call_open, t, SSH_AGAIN, ms, "open a channel", &rc, err) < 0)
        return -1;
    if (rc != SSH_OK)
        return refused(t, "open a channel", err);
    if (pt_ssh_step(t->ssh, call_exec, &call, SSH_AGAIN, ms, "start the command", &rc, err) < 0)
        return -1;
    return rc == SSH_OK ? 0 : refused(t, "start the command", err);
}

/* --- the stream --- */

/* Bytes at hand, 0 none, SSH_EOF the end, SSH_ERROR. */
static int at_hand(struct stream *t, int is_err)
{
    int n = ssh_channel_poll(t->channel, is_err);
    if (n > MAX_HELD) {
        lose(t, "the server sends more than it may");
        n = SSH_ERROR;
    }
    return n;
}

static ssize_t take(struct stream *t, void *buf, size_t n, int is_err, bool *told)
{
    if (!t->channel) {
        errno = ENOTCONN;
        return -1;
    }
    int have = *told ? SSH_EOF : at_hand(t, is_err), got = 0;
    if (have > 0)
        got = ssh_channel_read_nonblocking(t->channel, buf, n > MAX_WRITE ? MAX_WRITE : (uint32_t)n, is_err);
    if (got > 0)
        return got;
    if (have == SSH_EOF) {
        *told = true;
        return 0;
    }
    if (have < 0 || got < 0 || t->lost) {
        lose(t, pt_ssh_reason(t->ssh));
        errno = ECONNRESET;
    } else {
        errno = EAGAIN;
    }
    return -1;
}

static ssize_t stream_read(struct pt_transport *base, void *buf, size_t n)
{
    return take(self(base), buf, n, 0, &self(base)->out_told);
}

static ssize_t stream_read_err(struct pt_transport *base, void *buf, size_t n)
{
    return take(self(base), buf, n, 1, &self(base)->err_told);
}

static bool writable(const struct stream *t)
{
    return !t->lost && ssh_channel_window_size(t->channel) > 0 &&
           !(ssh_get_status(t->ssh->session) & SSH_WRITE_PENDING);
}

static ssize_t stream_write(struct pt_transport *base, const void *buf, size_t n)
{
    struct stream *t = self(base);
    if (!t->channel || (!t->lost && !ssh_channel_is_open(t->channel) && ssh_is_connected(t->ssh->session))) {
        errno = EPIPE;
        return -1;
    }
    if (!t->lost && !writable(t))
        pump(t);
    if (t->lost) {
        errno = ECONNRESET;
        return -1;
    }
    if (!writable(t)) {
        errno = EAGAIN;
        return -1;
    }
    uint32_t window = ssh_channel_window_size(t->channel), len = n > MAX_WRITE ? MAX_WRITE : (uint32_t)n;
    int put = ssh_channel_write(t->channel, buf, len < window ? len : window);
    if (put > 0 || n == 0)
        return put;
    if (put < 0 && !ssh_is_connected(t->ssh->session))
        lose(t, pt_ssh_reason(t->ssh));
    errno = put == 0 ? EAGAIN : t->lost ? ECONNRESET : EPIPE;
    return -1;
}

/* --- waiting --- */

/* Something to read that the caller was not told of. Fetches what has arrived, up to PULL bytes: the library
 * takes 4 KB at a time, too little to wake anybody for. */
static bool readable(struct stream *t)
{
    for (int i = 0;; i++) {
        int out = at_hand(t, 0), err = at_hand(t, 1);
        bool full = out >= PULL || out == SSH_EOF || err > 0 || i == MAX_PULLS || t->lost;
        int rc = full ? SSH_AGAIN : ssh_event_dopoll(t->ssh->event, 0);
        if (rc == SSH_ERROR)
            lose(t, pt_ssh_reason(t->ssh));
        if (rc < 0)
            return (!t->out_told && (out > 0 || out == SSH_EOF)) ||
                   (!t->err_told && (err > 0 || err == SSH_EOF));
    }
}

static int stream_wait(struct pt_transport *base, struct pollfd *fds, size_t nfds, bool want_write,
                       int timeout_ms, struct pt_err *err)
{
    struct stream *t = self(base);
    struct pollfd all[(nfds < MAX_FDS ? nfds : MAX_FDS) + 1];
    int64_t end = pt_now_ms() + timeout_ms;
    if (nfds > MAX_FDS || !t->channel)
        return pt_err_set(err, "%s",
                          t->channel ? "too many descriptors to wait for" : "no command was started");
    if (nfds)
        memcpy(all, fds, nfds * sizeof(*fds));
    for (;;) {
        bool go = readable(t) || (want_write && writable(t));
        if (t->lost || !ssh_is_connected(t->ssh->session)) {
            lose(t, pt_ssh_reason(t->ssh));
            return pt_err_set_kind(err, PT_ERR_INFRA, "%s", t->why);
        }
        int64_t left = end - pt_now_ms();
        int ms = go ? 0 : timeout_ms < 0 ? -1 : left > 0 ? (int)left : 0;
        all[nfds] = pt_ssh_pollfd(t->ssh);
        int ready = poll(all, nfds + 1, ms);
        if (ready < 0 && errno != EINTR)
            return pt_err_set(err, "poll: %s", strerror(errno));
        bool session = ready > 0 && all[nfds].revents;
        if (session && !go)
            pump(t);
        if (go || ready == 0 || ready > (int)session) {
            for (size_t i = 0; i < nfds; i++)
                fds[i].revents = ready > 0 ? all[i].revents : 0;
            return 0;
        }
    }
}

/* --- the end --- */

/* Pump until done(t), at most LAST_MS. */
static void linger(struct stream *t, bool (*done)(struct stream *t))
{
    struct pt_limit limit = pt_limit_after(LAST_MS, t->ssh->options->cancel);
    while (!done(t) && pump(t)) {
        int left = pt_limit_left(&limit);
        if (left == 0 || done(t))
            return;
        struct pollfd p = pt_ssh_pollfd(t->ssh);
        poll(&p, 1, left);
    }
}

static bool ended(struct stream *t)
{
    return t->status >= 0 || !ssh_channel_is_open(t->channel);
}

static bool sent(struct stream *t)
{
    return !(ssh_get_status(t->ssh->session) & SSH_WRITE_PENDING);
}

static int stream_status(struct pt_transport *base)
{
    struct stream *t = self(base);
    if (t->channel && t->status < 0 && t->out_told && !t->lost)
        linger(t, ended);
    return t->status;
}

static const char *stream_why(struct pt_transport *base)
{
    return self(base)->why;
}

static void stream_close(struct pt_transport *base)
{
    struct stream *t = self(base);
    if (t->channel && !t->lost)
        linger(t, sent);
    pt_ssh_destroy(t->ssh); /* frees the channel too */
    free(t);
}

static const struct pt_transport_ops ssh_ops = {.exec = stream_exec,
                                                .read = stream_read,
                                                .read_err = stream_read_err,
                                                .write = stream_write,
                                                .wait = stream_wait,
                                                .status = stream_status,
                                                .why = stream_why,
                                                .close = stream_close};

struct pt_transport *pt_ssh_open(const struct pt_target *target, const struct pt_transport_options *options,
                                 struct pt_err *err)
{
    struct pt_ssh_where where = {
        .name = target->name, .user = target->user, .host = target->host, .port = target->port};
    struct stream *t = calloc(1, sizeof(*t));
    if (!t) {
        pt_err_set(err, "no memory for a connection");
        return NULL;
    }
    t->base.ops = &ssh_ops;
    t->status = -1;
    if (!(t->ssh = pt_ssh_connect(&where, options, err))) {
        free(t);
        return NULL;
    }
    return &t->base;
}
