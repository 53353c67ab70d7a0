/* SPDX-License-Identifier: Apache-2.0 */
#include "detach.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/io.h"
#include "printed.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PIECE (16 << 10)
#define MOST  (32 << 10) /* bytes besides the text that a starter is told: less than a pipe holds */

/* The first byte that the starter gets; the rest is text. */
enum { UNDER_WAY = 'u', ENDED = 'e', FAILED = 'f' };

/* --- the starter --- */

static volatile sig_atomic_t run_pid;

static void pass_on(int number)
{
    int saved = errno;
    kill((pid_t)run_pid, number);
    errno = saved;
}

static void handle(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static ssize_t get(int fd, char *buf, size_t n)
{
    ssize_t got;
    while ((got = read(fd, buf, n)) < 0 && errno == EINTR)
        ;
    return got;
}

static int print_rest(int from, int to)
{
    char piece[PIECE];
    ssize_t n;
    int rc = 0;
    while ((n = get(from, piece, sizeof(piece))) > 0)
        rc = rc == 0 ? pt_write_all(to, piece, (size_t)n) : rc;
    return rc;
}

static int exit_of(pid_t pid, struct pt_err *err)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return pt_err_set(err, "waiting for the run to begin: %s", strerror(errno));
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return pt_err_set(err, "the run's process was ended by signal %d (%s) before it was under way",
                      WTERMSIG(status), strsignal(WTERMSIG(status)));
}

/* The exit code; -1 with err. */
static int be_starter(pid_t pid, int fd, struct pt_err *err)
{
    char how = ENDED;
    bool any = get(fd, &how, 1) == 1;
    if (any && how == UNDER_WAY)
        handle(SIG_DFL);
    if (any && print_rest(fd, how == FAILED ? 2 : 1) < 0 && how == UNDER_WAY)
        return pt_err_set_kind(err, PT_ERR_INFRA, "stdout: %s; the run goes on in the background",
                               strerror(errno));
    return how == UNDER_WAY ? 0 : exit_of(pid, err);
}

/* --- the run --- */

static int leave_terminal(const struct pt_detach *d)
{
    pt_auto_fd int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    return setsid() < 0 || null < 0 || dup2(null, 0) < 0 || dup2(d->printed, 1) < 0 || dup2(d->printed, 2) < 0
               ? -1
               : 0;
}

/* Numbers below 3 that were closed are not to become ours: they are about to be replaced. */
static void fill_streams(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
        ;
    if (fd > 2)
        close(fd);
}

int pt_detach_fork(struct pt_detach *d, int *code, struct pt_err *err)
{
    int ends[2];
    sigset_t ours, before;
    fill_streams();
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    pt_auto_fd int printed = memfd_create("printed", MFD_CLOEXEC);
    if (printed < 0 || fcntl(printed, F_SETFL, O_APPEND) < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return pt_err_set(err, "--detach: %s", strerror(errno));
    pt_auto_fd int in = ends[0], out = ends[1];
    fflush(NULL);
    sigprocmask(SIG_BLOCK, &ours, &before);
    pid_t pid = fork();
    if (pid > 0) {
        run_pid = pid;
        handle(pass_on);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        return pt_err_set(err, "--detach: fork: %s", strerror(errno));
    if (pid > 0) {
        close(pt_steal_fd(&out));
        *code = be_starter(pid, in, err);
        return *code < 0 ? -1 : 1;
    }
    *d = (struct pt_detach){.starter = pt_steal_fd(&out), .printed = pt_steal_fd(&printed)};
    return leave_terminal(d) < 0 ? pt_err_set(err, "--detach: %s", strerror(errno)) : 0;
}

/* What is in `from` from that place on, at most `most` bytes; where it ended, -1 with errno. */
static off_t copy(int from, off_t at, off_t most, int to)
{
    char piece[PIECE];
    off_t end = at + most;
    ssize_t n = 0;
    while (at < end && (n = pread(from, piece, sizeof(piece), at)) > 0) {
        n = n < end - at ? n : (ssize_t)(end - at);
        if (pt_write_all(to, piece, (size_t)n) < 0)
            return -1;
        at += n;
    }
    return n < 0 ? -1 : at;
}

#define ALL ((off_t)1 << 40)

int pt_detach_keep(struct pt_detach *d, const char *state_dir, const char *run, struct pt_err *err)
{
    pt_auto_fd int fd = pt_printed_create(state_dir, run, err);
    if (fd < 0)
        return -1;
    fflush(NULL);
    off_t at = copy(d->printed, 0, ALL, fd);
    if (at < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || copy(d->printed, at, ALL, fd) < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "output of run %s: %s", run, strerror(errno));
    close(d->printed);
    d->printed = pt_steal_fd(&fd);
    return 0;
}

bool pt_detach_waits(const struct pt_detach *d)
{
    return d->starter >= 0;
}

static void say(struct pt_detach *d, char how, off_t most, const char *text)
{
    if (d->starter < 0)
        return;
    fflush(NULL);
    signal(SIGPIPE, SIG_IGN); /* the starter may be gone, with its terminal */
    if (pt_write_all(d->starter, &how, 1) == 0 && copy(d->printed, 0, most, d->starter) >= 0)
        pt_write_all(d->starter, text, strlen(text));
    close(d->starter);
    d->starter = -1;
}

void pt_detach_tell(struct pt_detach *d, const char *text, bool all)
{
    say(d, UNDER_WAY, all ? MOST : 0, text);
}

void pt_detach_end(struct pt_detach *d, bool failed)
{
    say(d, failed ? FAILED : ENDED, ALL, "");
}
