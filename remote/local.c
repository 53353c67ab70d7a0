/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "common/harden.h"
#include "common/loop.h"
#include "remote/transport.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define PATIENCE_MS 1000 /* for the command to end by itself, then after SIGTERM */
#define MAX_FDS     4096

struct local {
    struct pt_transport base;
    pid_t pid; /* 0: not started */
    int in, out, err;
    int status; /* -1 until known */
    bool out_ended, err_ended;
    char why[160];
};

static struct local *self(struct pt_transport *t)
{
    return (struct local *)t;
}

static void reap(struct local *l, int64_t wait_ms)
{
    int64_t end = pt_now_ms() + wait_ms;
    while (l->pid > 0 && l->status < 0) {
        int status;
        pid_t got = waitpid(l->pid, &status, WNOHANG);
        if (got == l->pid)
            l->status = status;
        else if (got < 0 && errno != EINTR)
            l->status = 0xff00; /* somebody else reaped it */
        else if (pt_now_ms() >= end)
            return;
        else
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* --- starting --- */

/* In the child: only async-signal-safe calls. */
static _Noreturn void become(const int ends[3], const char *command)
{
    char sh[] = "sh", dash_c[] = "-c";
    char *argv[] = {sh, dash_c, NULL, NULL};
    sigset_t none;
    memcpy(&argv[2], &command, sizeof(command));
    setsid();
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int i = 0; i < 3; i++)
        if (dup2(ends[i], i) < 0)
            _exit(127);
    close_range(3, ~0u, 0);
    pt_harden_not();
    execv("/bin/sh", argv);
    _exit(127);
}

/* Both ends close-on-exec and above the standard descriptors. */
static int make_pipe(int *keep, int *give, bool keep_writes)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        int high = fcntl(ends[i], F_DUPFD_CLOEXEC, 3);
        if (ends[i] < 3)
            close(ends[i]);
        else if (high >= 0)
            close(high), high = ends[i];
        ends[i] = high;
    }
    *keep = ends[keep_writes];
    *give = ends[!keep_writes];
    return *keep >= 0 && *give >= 0 && fcntl(*keep, F_SETFL, O_NONBLOCK) == 0 ? 0 : -1;
}

static int local_exec(struct pt_transport *t, const char *command, struct pt_err *err)
{
    struct local *l = self(t);
    int ends[3] = {-1, -1, -1};
    if (l->pid)
        return pt_err_set(err, "one transport runs one command");
    if (make_pipe(&l->in, &ends[0], true) == 0 && make_pipe(&l->out, &ends[1], false) == 0 &&
        make_pipe(&l->err, &ends[2], false) == 0)
        l->pid = fork();
    else
        l->pid = -1;
    if (l->pid == 0)
        become(ends, command);
    int saved = errno;
    for (int i = 0; i < 3; i++)
        shut(&ends[i]);
    if (l->pid > 0)
        return 0;
    l->pid = 0;
    return pt_err_set_kind(err, PT_ERR_INFRA, "cannot start /bin/sh here: %s", strerror(saved));
}

/* --- the stream --- */

static ssize_t take(int fd, bool *ended, void *buf, size_t n)
{
    if (*ended)
        return 0;
    if (fd < 0) {
        errno = ENOTCONN;
        return -1;
    }
    ssize_t got;
    do {
        got = read(fd, buf, n);
    } while (got < 0 && errno == EINTR);
    if (got == 0 && n)
        *ended = true;
    return got;
}

static ssize_t local_read(struct pt_transport *t, void *buf, size_t n)
{
    return take(self(t)->out, &self(t)->out_ended, buf, n);
}

static ssize_t local_read_err(struct pt_transport *t, void *buf, size_t n)
{
    return take(self(t)->err, &self(t)->err_ended, buf, n);
}

static ssize_t local_write(struct pt_transport *t, const void *buf, size_t n)
{
    struct local *l = self(t);
    if (l->in < 0) {
        errno = EPIPE;
        return -1;
    }
    ssize_t put;
    do {
        put = write(l->in, buf, n);
    } while (put < 0 && errno == EINTR);
    if (put < 0 && errno != EAGAIN)
        snprintf(l->why, sizeof(l->why), "the command no longer reads: %s", strerror(errno));
    return put;
}

static int local_wait(struct pt_transport *t, struct pollfd *fds, size_t nfds, bool want_write,
                      int timeout_ms, struct pt_err *err)
{
    struct local *l = self(t);
    struct pollfd all[(nfds < MAX_FDS ? nfds : MAX_FDS) + 3];
    if (nfds > MAX_FDS)
        return pt_err_set(err, "too many descriptors to wait for");
    if (nfds)
        memcpy(all, fds, nfds * sizeof(*fds));
    all[nfds] = (struct pollfd){.fd = l->out_ended ? -1 : l->out, .events = POLLIN};
    all[nfds + 1] = (struct pollfd){.fd = l->err_ended ? -1 : l->err, .events = POLLIN};
    all[nfds + 2] = (struct pollfd){.fd = want_write ? l->in : -1, .events = POLLOUT};
    int64_t end = pt_now_ms() + timeout_ms;
    int rc;
    do {
        int64_t left = end - pt_now_ms();
        rc = poll(all, nfds + 3, timeout_ms < 0 ? -1 : left > 0 ? (int)left : 0);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return pt_err_set(err, "poll: %s", strerror(errno));
    for (size_t i = 0; i < nfds; i++)
        fds[i].revents = all[i].revents;
    return 0;
}

static int local_status(struct pt_transport *t)
{
    struct local *l = self(t);
    reap(l, l->out_ended ? PATIENCE_MS : 0);
    return l->status;
}

static const char *local_why(struct pt_transport *t)
{
    struct local *l = self(t);
    if (!l->why[0] && l->status >= 0 && WIFSIGNALED(l->status))
        snprintf(l->why, sizeof(l->why), "the command was ended by signal %d", WTERMSIG(l->status));
    return l->why;
}

static void local_close(struct pt_transport *t)
{
    struct local *l = self(t);
    shut(&l->in);
    shut(&l->out);
    shut(&l->err);
    reap(l, PATIENCE_MS);
    if (l->pid > 0 && l->status < 0) {
        kill(-l->pid, SIGTERM);
        reap(l, PATIENCE_MS);
    }
    if (l->pid > 0 && l->status < 0) {
        kill(-l->pid, SIGKILL);
        reap(l, 60000);
    }
    free(l);
}

static const struct pt_transport_ops local_ops = {.exec = local_exec,
                                                  .read = local_read,
                                                  .read_err = local_read_err,
                                                  .write = local_write,
                                                  .wait = local_wait,
                                                  .status = local_status,
                                                  .why = local_why,
                                                  .close = local_close};

/* A command that ended must give EPIPE, not kill us: the program's own handler stays if it has one. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

struct pt_transport *pt_local_open(const struct pt_target *target, const struct pt_transport_options *options,
                                   struct pt_err *err)
{
    (void)target;
    (void)options;
    struct local *l = calloc(1, sizeof(*l));
    if (!l) {
        pt_err_set(err, "no memory for a connection");
        return NULL;
    }
    ignore_sigpipe();
    l->base.ops = &local_ops;
    l->in = l->out = l->err = l->status = -1;
    return &l->base;
}
