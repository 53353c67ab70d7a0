/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/tree.h"

#include "common/auto.h"
#include "common/io.h"
#include "remote/agent/child.h"
#include "remote/agent/least.h"
#include "remote/agent/state.h"
#include "remote/agent/title.h"
#include "sync/there/receive.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define END_MS 2000 /* for the receiver to end by itself */

struct pt_tree {
    struct pt_agent *agent;
    pid_t pid;
    int fd;
    struct pt_buf out, in;
    size_t sent; /* of out */
    size_t owed; /* bulk bytes in out that were not sent, to be credited */
    bool gone;   /* ended when there was nothing for it to do */
};

static void on_ready(void *arg, int fd, short revents);

static void rewatch(struct pt_tree *tree)
{
    if (tree->fd >= 0)
        pt_loop_watch(tree->agent->loop, tree->fd,
                      (short)(POLLIN | (tree->out.len > tree->sent ? POLLOUT : 0)), on_ready, tree);
}

/* As much as the receiver takes now; how much that was. */
static size_t write_some(struct pt_tree *tree, const unsigned char *data, size_t n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t k = send(tree->fd, data + done, n - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k <= 0)
            break; /* the end shows when reading */
        done += (size_t)k;
    }
    size_t credit = done < tree->owed ? done : tree->owed;
    tree->owed -= credit;
    if (credit)
        pt_mux_credit(tree->agent->mux, PT_MUX_BULK, credit);
    return done;
}

static void write_out(struct pt_tree *tree)
{
    tree->sent += write_some(tree, tree->out.data + tree->sent, tree->out.len - tree->sent);
    /* What moves to the front is little beside what went. */
    if (tree->out.len - tree->sent > tree->sent / 2)
        return;
    pt_buf_consume(&tree->out, tree->sent);
    tree->sent = 0;
}

static void close_fd(struct pt_tree *tree)
{
    if (tree->fd < 0)
        return;
    pt_loop_unwatch(tree->agent->loop, tree->fd);
    close(tree->fd);
    tree->fd = -1;
    pt_mux_credit(tree->agent->mux, PT_MUX_BULK, tree->owed);
    tree->owed = tree->sent = 0;
    pt_buf_fini(&tree->out);
}

static void fail(struct pt_tree *tree, const char *why)
{
    struct pt_err err = PT_ERR_INIT;
    close_fd(tree);
    pt_err_set_kind(&err, PT_ERR_INFRA, "the receiver of the tree %s", why);
    pt_agent_fail(tree->agent, PT_STAGE_TREE, &err);
}

/* The receiver's answers go to the master as they are. 1 when one was taken, 0 when more bytes are needed. */
static int take_answer(struct pt_tree *tree)
{
    struct pt_agent *a = tree->agent;
    struct pt_reader body;
    uint8_t type;
    size_t total;
    int rc = pt_frame_next(tree->in.data, tree->in.len, PT_MAX_FRAME, &type, &body, &total);
    if (rc <= 0)
        return rc;
    if (type != PT_C_TREE && type != PT_C_NEED && type != PT_C_SYNCED && type != PT_C_RESEND &&
        type != PT_C_FAIL && type != PT_C_LOG)
        return -1;
    struct pt_buf frame = {0};
    pt_buf_append(&frame, tree->in.data, total);
    if (!(type == PT_C_FAIL && a->failed))
        pt_agent_send(a, &frame);
    pt_buf_fini(&frame);
    pt_buf_consume(&tree->in, total);
    a->synced |= type == PT_C_SYNCED;
    a->failed |= type == PT_C_FAIL;
    if (type == PT_C_SYNCED)
        pt_agent_advance(a);
    return 1;
}

static void read_in(struct pt_tree *tree)
{
    char *room = pt_buf_reserve(&tree->in, 65536);
    ssize_t n = room ? recv(tree->fd, room, 65536, MSG_DONTWAIT) : -1;
    if (n > 0) {
        tree->in.len += (size_t)n;
        int rc;
        while ((rc = take_answer(tree)) > 0)
            ;
        if (rc < 0)
            fail(tree, "sent what is no answer");
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        close_fd(tree);
    }
}

static void on_ready(void *arg, int fd, short revents)
{
    struct pt_tree *tree = arg;
    (void)fd;
    if (revents & POLLOUT)
        write_out(tree);
    if (revents & (POLLIN | POLLHUP | POLLERR))
        read_in(tree);
    rewatch(tree);
}

/* Of the cache it needs the folder that the tree lies in, and the store: not our programs, nor other trees.
 */
static int limit(const struct pt_agent *a, struct pt_err *err)
{
    pt_auto_free char *folder = strdup(a->workspace);
    pt_auto_free char *store = folder ? malloc(strlen(a->cache) + sizeof("/store")) : NULL;
    if (!store)
        return pt_err_set(err, "out of memory");
    *strrchr(folder, '/') = '\0';
    sprintf(store, "%s/store", a->cache);
    mkdir(store, 0700); /* where that fails whoever needs it will say so */
    return pt_least_files((const char *const[]){folder, store, NULL}, err);
}

/* It works as well, so this is for those who ask for details. */
static void say_unlimited(int fd, struct pt_err *why)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_LOG);
    pt_err_wrap(why, "the receiver of the tree may do more than it needs");
    pt_put_u8(&b, PT_LOG_INFO);
    pt_put_str(&b, why->msg);
    pt_frame_end(&b, mark);
    if (!b.bad)
        pt_write_all(fd, b.data, b.len);
    pt_buf_fini(&b);
    *why = PT_ERR_INIT;
}

/* In the child: nothing of the agent but the socket. */
static int receiver(const struct pt_agent *a, int fd, pid_t agent)
{
    struct pt_err err = PT_ERR_INIT;
    pt_title_set("tree");
    pt_child_detach();
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != agent || (fd != 3 && dup3(fd, 3, O_CLOEXEC) < 0))
        return 1;
    pt_child_close_from(4);
    if (limit(a, &err) < 0)
        say_unlimited(3, &err);
    return pt_receive(3, a->workspace, a->cache, &err) < 0;
}

static int start(struct pt_tree *tree, struct pt_err *err)
{
    struct pt_agent *a = tree->agent;
    struct pt_receive_options options = {
        .cache = a->cache, .machine_id = a->machine_id, .project = a->setup.project};
    a->workspace = pt_workspace_take(&options, &a->workspace_lock, err);
    if (!a->workspace)
        return -1;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return pt_err_set(err, "receiver: %m");
    pid_t agent = getpid();
    tree->pid = fork();
    if (tree->pid == 0)
        _exit(receiver(a, pair[1], agent));
    close(pair[1]);
    tree->fd = pair[0];
    if (tree->pid < 0)
        return pt_err_set(err, "receiver: %m");
    rewatch(tree);
    return 0;
}

struct pt_tree *pt_tree_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_tree *tree = calloc(1, sizeof(*tree));
    if (!tree) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    tree->agent = a;
    tree->fd = -1;
    if (start(tree, err) == 0)
        return tree;
    pt_tree_destroy(tree);
    return NULL;
}

/* Once nobody talks to it, the receiver puts away what arrived, and ends. */
static void wait_for_end(const struct pt_tree *tree)
{
    pt_auto_fd int fd = tree->pid > 0 ? (int)syscall(SYS_pidfd_open, tree->pid, 0) : -1;
    if (fd >= 0)
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, END_MS);
}

void pt_tree_destroy(struct pt_tree *tree)
{
    if (!tree)
        return;
    close_fd(tree);
    wait_for_end(tree);
    pt_buf_fini(&tree->in);
    free(tree);
}

int pt_tree_send(struct pt_tree *tree, const void *bytes, size_t n, bool bulk, struct pt_err *err)
{
    if (tree->fd < 0) {
        if (bulk)
            pt_mux_credit(tree->agent->mux, PT_MUX_BULK, n);
        if (tree->gone)
            fail(tree, "is gone");
        return 0; /* FAIL was or will be said */
    }
    if (!bulk && tree->agent->bulk.pass)
        return pt_err_set(err, "a tree was announced within another");
    if (!bulk)
        tree->agent->synced = false;
    tree->owed += bulk ? n : 0;
    size_t done = tree->out.len ? 0 : write_some(tree, bytes, n);
    pt_buf_append(&tree->out, (const unsigned char *)bytes + done, n - done);
    if (tree->out.bad)
        return pt_err_set(err, "tree: out of memory");
    rewatch(tree);
    return 0;
}

void pt_tree_cut(struct pt_tree *tree)
{
    if (tree)
        tree->owed = 0;
}

pid_t pt_tree_pid(const struct pt_tree *tree)
{
    return tree ? tree->pid : 0;
}

bool pt_tree_reaped(struct pt_tree *tree, pid_t pid, int status)
{
    char text[48], why[96];
    if (!tree || pid != tree->pid)
        return false;
    tree->pid = 0;
    while (tree->fd >= 0 && tree->in.len < PT_MAX_FRAME) {
        size_t before = tree->in.len;
        read_in(tree);
        if (tree->in.len == before)
            break;
    }
    tree->gone = tree->agent->synced; /* nothing was under way: it may never be needed again */
    snprintf(why, sizeof(why), "ended unexpectedly (%s)", pt_agent_status(status, text));
    if (tree->gone)
        close_fd(tree);
    else
        fail(tree, why);
    return true;
}
