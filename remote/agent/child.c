/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/child.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static struct rlimit core_limit;

void pt_child_origin(void)
{
    getrlimit(RLIMIT_CORE, &core_limit);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = core_limit.rlim_max};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGPIPE, SIG_IGN);
}

void pt_child_detach(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int sig = 1; sig < NSIG; sig++)
        signal(sig, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setrlimit(RLIMIT_CORE, &core_limit);
}

void pt_child_close_from(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0)
        return;
    long n = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < (n > 0 && n < 65536 ? n : 65536); fd++)
        close(fd);
}

/* Put each of fds at 0, 1, 2 ..., first out of each other's way, and close all the rest but `keep`. */
static int arrange(int *fds, int n, int *keep)
{
    for (int i = 0; i < n; i++)
        if ((fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, n + 1)) < 0)
            return -1;
    if ((*keep = fcntl(*keep, F_DUPFD_CLOEXEC, n + 1)) < 0)
        return -1;
    for (int i = 0; i < n; i++)
        if (dup2(fds[i], i) < 0)
            return -1;
    if (dup3(*keep, n, O_CLOEXEC) < 0)
        return -1;
    *keep = n;
    pt_child_close_from(n + 1);
    return 0;
}

static void become(const struct pt_child_spec *spec, int *fds, int report, pid_t agent)
{
    int n = 3 + (int)spec->nfds;
    setsid();
    pt_child_detach();
    if (spec->death_signal)
        prctl(PR_SET_PDEATHSIG, spec->death_signal, 0, 0, 0);
    if (getppid() == agent && arrange(fds, n, &report) == 0 && chdir(spec->cwd) == 0 &&
        (!spec->between || spec->between(spec->between_arg) == 0))
        execve(spec->path, spec->argv, spec->env);
    int why = errno;
    while (write(report, &why, sizeof(why)) < 0 && errno == EINTR)
        ;
    _exit(127);
}

static void close_output(struct pt_child *child)
{
    if (child->output < 0)
        return;
    pt_loop_unwatch(child->loop, child->output);
    close(child->output);
    child->output = -1;
}

/* 1 when something was read, 0 when nothing is there now, -1 at the end. */
static int take_output(struct pt_child *child)
{
    char *room = pt_buf_reserve(&child->tail, PT_CHILD_TAIL);
    ssize_t n = room ? read(child->output, room, PT_CHILD_TAIL) : -1;
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    child->tail.len += (size_t)n;
    if (child->tail.len > PT_CHILD_TAIL)
        pt_buf_consume(&child->tail, child->tail.len - PT_CHILD_TAIL);
    return 1;
}

static void on_output(void *arg, int fd, short revents)
{
    struct pt_child *child = arg;
    (void)fd;
    (void)revents;
    if (take_output(child) < 0)
        close_output(child);
}

/* errno of the exec that failed, 0 when it did not. */
static int exec_errno(int fd)
{
    int why = 0;
    ssize_t n;
    while ((n = read(fd, &why, sizeof(why))) < 0 && errno == EINTR)
        ;
    return n == (ssize_t)sizeof(why) ? why : 0;
}

static int start(struct pt_child *child, const struct pt_child_spec *spec, int out, int report[2])
{
    pt_auto_fd int null = spec->in < 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;
    int fds[3 + PT_COUNT(spec->fds)] = {spec->in < 0 ? null : spec->in, spec->out < 0 ? out : spec->out, out};
    memcpy(fds + 3, spec->fds, sizeof(spec->fds));
    pid_t agent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(spec, fds, report[1], agent);
    close(report[1]);
    report[1] = -1;
    if (pid < 0)
        return errno;
    child->pid = pid;
    return exec_errno(report[0]);
}

int pt_child_start(struct pt_child *child, struct pt_loop *loop, const struct pt_child_spec *spec,
                   struct pt_err *err)
{
    int out[2] = {-1, -1}, report[2] = {-1, -1};
    *child = (struct pt_child){.loop = loop, .output = -1};
    int why = pipe2(out, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0 ? errno : 0;
    if (!why)
        why = start(child, spec, out[1], report);
    for (int i = 0; i < 2; i++)
        if (report[i] >= 0)
            close(report[i]);
    if (out[1] >= 0)
        close(out[1]);
    child->output = out[0];
    if (!why &&
        (fcntl(out[0], F_SETFL, O_NONBLOCK) < 0 || pt_loop_watch(loop, out[0], POLLIN, on_output, child) < 0))
        why = errno;
    if (!why)
        return 0;
    if (child->output >= 0)
        close(child->output);
    child->output = -1;
    if (child->pid > 0)
        kill(child->pid, SIGKILL);
    child->pid = 0;
    return pt_err_set_kind(err, PT_ERR_INFRA, "%s: %s", spec->path, strerror(why));
}

void pt_child_drain(struct pt_child *child)
{
    /* whoever else holds the pipe could go on for ever */
    for (int i = 0; i < 64 && child->output >= 0 && take_output(child) > 0; i++)
        ;
    close_output(child);
}

const char *pt_child_said(struct pt_child *child, size_t most)
{
    struct pt_buf *tail = &child->tail;
    pt_buf_append(tail, "", 1);
    if (tail->bad)
        return "";
    for (size_t i = 0; i + 1 < tail->len; i++)
        if (strchr("\r\n\t", tail->data[i])) /* or NUL */
            tail->data[i] = ' ';
    size_t n = --tail->len;
    while (n && tail->data[n - 1] == ' ')
        tail->data[--n] = '\0';
    return (const char *)tail->data + (n > most ? n - most : 0);
}

void pt_child_fini(struct pt_child *child)
{
    pt_child_drain(child);
    pt_buf_fini(&child->tail);
    *child = (struct pt_child){.output = -1};
}
