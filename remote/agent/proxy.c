/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/proxy.h"

#include "common/auto.h"
#include "remote/agent/child.h"
#include "remote/agent/keeper.h"
#include "remote/agent/least.h"
#include "remote/agent/title.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PUMP  (256u << 10)
#define AGENT 3         /* the descriptor of the way to it */
#define PIPE  (1 << 20) /* what sshd may be ahead of us: what it cannot write it copies again and again */

/* One direction. */
struct pump {
    int from, to;
    size_t have, sent;
    unsigned char data[PUMP];
};

static struct pump in, out;

/* -1 when this direction is over. */
static int pump_read(struct pump *p)
{
    ssize_t n = read(p->from, p->data, PUMP);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        return -1;
    p->have = n > 0 ? (size_t)n : 0;
    p->sent = 0;
    return 0;
}

static int pump_write(struct pump *p)
{
    while (p->sent < p->have) {
        ssize_t n = write(p->to, p->data + p->sent, p->have - p->sent);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        p->sent += (size_t)n;
    }
    p->have = p->sent = 0;
    return 0;
}

static int pump(struct pump *p, short from, short to)
{
    if (p->have == 0 && from && pump_read(p) < 0)
        return -1;
    if (p->have && to >= 0 && pump_write(p) < 0)
        return -1;
    return 0;
}

/* The channel's stdout is always watched: that its reader is gone shows there first. The others only while
 * there is something to do, since a hang-up would wake us again and again. */
static void run(void)
{
    for (;;) {
        short agent = (short)((out.have ? 0 : POLLIN) | (in.have ? POLLOUT : 0));
        struct pollfd fds[] = {
            {.fd = in.have ? -1 : in.from, .events = POLLIN},
            {.fd = agent ? out.from : -1, .events = agent},
            {.fd = out.to, .events = out.have ? POLLOUT : 0},
        };
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return;
        if (fds[2].revents & (POLLERR | POLLNVAL))
            return;
        if (pump(&out, fds[1].revents & (POLLIN | POLLHUP | POLLERR), 0) < 0)
            return;
        if (pump(&in, fds[0].revents & (POLLIN | POLLHUP | POLLERR), 0) < 0)
            return;
    }
}

static int set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* Others must not be able to put programs where ours are run from. */
static const char *bad_cache(const char *cache)
{
    struct stat st;
    if (stat(cache, &st) < 0)
        return strerror(errno);
    if (!S_ISDIR(st.st_mode))
        return "is not a folder";
    if (st.st_uid != geteuid())
        return "belongs to another user";
    if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
        return "can be written by everyone";
    return NULL;
}

static int fail(void)
{
    fprintf(stderr, "ptremote-agent: cannot begin: %s\n", strerror(errno));
    return 1;
}

int pt_proxy_run(const char *cache)
{
    static const char hello[] = "PTREMOTE-AGENT 1\n";
    const char *bad = bad_cache(cache);
    if (bad) {
        printf("PTREMOTE-BOOT fail %s: %s\n", cache, bad);
        return 1;
    }
    int pair[2];
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* keys pass through, here and in those that are forked */
    pt_title_set("proxy");
    if (write(STDOUT_FILENO, hello, sizeof(hello) - 1) != (ssize_t)sizeof(hello) - 1 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return fail();
    pid_t pid = fork();
    if (pid < 0)
        return fail();
    if (pid == 0) {
        close(pair[0]);
        _exit(pt_keeper_run(pair[1], cache));
    }
    signal(SIGCHLD, SIG_IGN); /* a keeper whose channel was given to another agent ends before us */
    if (pair[0] != AGENT && dup3(pair[0], AGENT, O_CLOEXEC) < 0)
        return fail();
    pt_child_close_from(AGENT + 1);
    in = (struct pump){.from = STDIN_FILENO, .to = AGENT};
    out = (struct pump){.from = AGENT, .to = STDOUT_FILENO};
    fcntl(STDIN_FILENO, F_SETPIPE_SZ, PIPE); /* refused where it is no pipe, or the user has many */
    if (set_nonblock(STDIN_FILENO) < 0 || set_nonblock(STDOUT_FILENO) < 0)
        return 1;
    pt_least_bytes(NULL);
    run();
    _exit(0);
}
