/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Hosts whose receivers are processes of their own, and one tree pushed to several of them at once. */
#include "common/auto.h"
#include "common/err.h"
#include "common/message.h"
#include "sent.h"
#include "sync/here/push.h"
#include "sync/manifest.h"
#include "sync/there/receive.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define DRIVE_SILENCE 30000 /* ms without anything happening: something hangs */

/* How a connection is broken. */
enum drive_break { DRIVE_NOT, DRIVE_HANG_UP, DRIVE_KILL };

struct drive_host {
    char cache[128], project[32], machine[32];
    char *tree; /* set while connected */
    int fd, lock;
    pid_t pid;
    char state[128];      /* folder of the master's memory of it */
    struct pt_sent *sent; /* that memory, while a push is under way */
    enum drive_break how; /* to be done to the next push ... */
    uint64_t at;          /* ... after so many bytes */
};

/* One push to one host. */
struct drive_lane {
    struct drive_host *host;
    struct pt_push *push;
    struct pt_buf out, in;
    int level;
    bool alive, warned;
    uint64_t sent, heard; /* bytes on the wire */
    struct pt_err err;
};

static void drive_connect(struct drive_host *h)
{
    int pair[2];
    struct pt_err err = PT_ERR_INIT;
    struct pt_receive_options o = {.cache = h->cache, .machine_id = h->machine, .project = h->project};
    h->lock = -1;
    h->tree = pt_workspace_take(&o, &h->lock, &err);
    cr_assert_not_null(h->tree, "%s", err.msg);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    h->pid = fork();
    cr_assert_geq(h->pid, 0);
    if (h->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves it no end to read */
        if (dup2(pair[1], 3) != 3 || close_range(4, ~0u, 0) < 0)
            _exit(3);
        _exit(pt_receive(3, h->tree, h->cache, NULL) < 0);
    }
    close(pair[1]);
    h->fd = pair[0];
}

/* Its exit status. */
static int drive_disconnect(struct drive_host *h)
{
    int status = 0;
    if (!h->tree)
        return 0;
    if (h->fd >= 0)
        close(h->fd);
    cr_assert_eq(waitpid(h->pid, &status, 0), h->pid);
    close(h->lock);
    free(h->tree);
    h->tree = NULL;
    h->fd = h->lock = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static bool drive_write(struct drive_lane *l)
{
    size_t n = l->out.len;
    bool breaks = l->host->how != DRIVE_NOT && l->sent + n >= l->host->at;
    if (breaks)
        n = l->host->at > l->sent ? l->host->at - l->sent : 0;
    for (size_t done = 0; done < n;) {
        ssize_t w = send(l->host->fd, l->out.data + done, n - done, MSG_NOSIGNAL);
        if (w <= 0)
            return false;
        done += (size_t)w;
    }
    l->sent += n;
    pt_buf_consume(&l->out, n);
    if (breaks && l->host->how == DRIVE_KILL)
        kill(l->host->pid, SIGKILL);
    return !breaks;
}

/* A FAIL becomes the lane's error. */
static void drive_fail(struct drive_lane *l, struct pt_reader *body)
{
    pt_get_u8(body);
    pt_auto_free char *msg = pt_get_str(body, PT_MAX_TEXT);
    pt_err_set(&l->err, "the host says: %s", msg ? msg : "?");
    l->alive = false;
}

static void drive_frames(struct drive_lane *l)
{
    uint8_t type;
    struct pt_reader body;
    size_t total;
    while (l->alive && pt_frame_next(l->in.data, l->in.len, PT_MAX_FRAME, &type, &body, &total) > 0) {
        if (type == PT_C_FAIL)
            drive_fail(l, &body);
        else if (type == PT_C_LOG)
            l->warned = true;
        else if (pt_push_control(l->push, type, &body, &l->err) < 0)
            l->alive = false;
        pt_buf_consume(&l->in, total);
    }
}

static void drive_hear(struct drive_lane *l)
{
    void *room = pt_buf_reserve(&l->in, 65536);
    ssize_t n = recv(l->host->fd, room, 65536, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        l->alive = false;
        return;
    }
    l->in.len += (size_t)n;
    l->heard += (size_t)n;
    drive_frames(l);
}

static bool drive_done(const struct drive_lane *l)
{
    enum pt_push_state state = pt_push_state(l->push);
    return !l->alive || state == PT_PUSH_DONE || state == PT_PUSH_STALE;
}

static bool drive_pull(struct drive_lane *l)
{
    int rc = pt_push_pull(l->push, &l->out, 60000, l->level, &l->err);
    if (rc < 0)
        l->alive = false;
    if (rc > 0)
        l->alive = drive_write(l);
    return rc > 0;
}

static void drive_wait(struct drive_lane *lanes, size_t n)
{
    struct pollfd fds[16];
    for (size_t i = 0; i < n; i++) {
        bool done = drive_done(&lanes[i]);
        fds[2 * i] = (struct pollfd){.fd = done ? -1 : lanes[i].host->fd, .events = POLLIN};
        fds[2 * i + 1] = (struct pollfd){.fd = done ? -1 : pt_push_fd(lanes[i].push), .events = POLLIN};
    }
    cr_assert_gt(poll(fds, 2 * n, DRIVE_SILENCE), 0, "nothing happens, the first push is in state %d",
                 (int)pt_push_state(lanes[0].push));
    for (size_t i = 0; i < n; i++)
        if (fds[2 * i].revents)
            drive_hear(&lanes[i]);
}

/* Moves bytes until every push is done, stale, or broken. `hook` is called before every piece that goes out.
 */
static void drive_lanes(struct drive_lane *lanes, size_t n, void (*hook)(void *arg), void *arg)
{
    for (;;) {
        bool moved = false, all = true;
        for (size_t i = 0; i < n; i++) {
            if (drive_done(&lanes[i]))
                continue;
            all = false;
            if (hook)
                hook(arg);
            moved |= drive_pull(&lanes[i]);
        }
        if (all)
            return;
        if (!moved)
            drive_wait(lanes, n);
    }
}
