/* SPDX-License-Identifier: Apache-2.0 */
/* START makes an mpirun under a guard (guard.h); END, or the end of the socket, is SIGTERM to the guard. When
 * the guard ended nothing of the group is left, folders included, and ENDED is said: unless the socket it was
 * asked for on is gone. A guard that was killed itself leaves processes of its session to us. */
#include "remote/agent/groups.h"

#include "common/auto.h"
#include "remote/agent/door.h"
#include "remote/agent/job.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define FRAME_MAX  1024u        /* of what the hub says */
#define QUEUED_MAX (256u << 10) /* bytes for the hub at which it is not heard */
#define SWEEP_MS   10           /* between two rounds */
#define REMAINS_MS 4000         /* then what cannot be killed is left to the end of the launch */

struct group {
    struct pt_groups *groups;
    uint32_t number;
    bool used;
    bool untold; /* who asked for it is gone */
    struct pt_job job;
    pid_t session; /* of the guard and all it started */
    int status;
    uint64_t timer; /* the next round of sweeping */
    int64_t give_up;
};

struct pt_groups {
    struct pt_agent *agent;
    int listener, hub; /* hub: its connection, or -1 */
    struct pt_buf in, out;
    const struct pt_launch *launch; /* NULL: no workers run */
    pid_t mpirun;
    uint32_t started;
    struct group list[PT_GROUPS_MAX];
};

static void on_hub(void *arg, int fd, short revents);

/* --- the socket --- */

static void rewatch(struct pt_groups *g)
{
    bool read = g->out.len < QUEUED_MAX, write = g->out.len || g->out.bad;
    if (g->hub >= 0)
        pt_loop_watch(g->agent->loop, g->hub, (short)((read ? POLLIN : 0) | (write ? POLLOUT : 0)), on_hub,
                      g);
}

static void end_group(const struct group *group)
{
    if (group->job.child.pid > 0)
        kill(group->job.child.pid, SIGTERM);
}

/* No hub, no groups. */
static void drop_hub(struct pt_groups *g)
{
    if (g->hub < 0)
        return;
    pt_loop_unwatch(g->agent->loop, g->hub);
    close(g->hub);
    g->hub = -1;
    pt_buf_fini(&g->in);
    pt_buf_fini(&g->out);
    for (size_t i = 0; i < PT_GROUPS_MAX; i++)
        if (g->list[i].used) {
            g->list[i].untold = true;
            end_group(&g->list[i]);
        }
}

static void say_ended(struct pt_groups *g, uint32_t number, int status, const void *words, size_t n)
{
    size_t skip = n > PT_GROUP_OUTPUT ? n - PT_GROUP_OUTPUT : 0;
    size_t mark = pt_frame_begin(&g->out, PT_G_ENDED);
    pt_put_u32(&g->out, number);
    pt_put_u32(&g->out, (uint32_t)status);
    pt_put_bytes(&g->out, n ? (const char *)words + skip : "", n - skip);
    pt_frame_end(&g->out, mark);
    rewatch(g);
}

/* --- groups --- */

static struct group *find(struct pt_groups *g, uint32_t number)
{
    for (size_t i = 0; i < PT_GROUPS_MAX; i++)
        if (g->list[i].used && !g->list[i].untold && g->list[i].number == number)
            return &g->list[i];
    return NULL;
}

static struct group *find_room(struct pt_groups *g)
{
    for (size_t i = 0; i < PT_GROUPS_MAX; i++)
        if (!g->list[i].used)
            return &g->list[i];
    return NULL;
}

static int start(struct pt_groups *g, const struct pt_job_spec *spec, struct pt_err *err)
{
    struct group *group = find_room(g);
    if (!group)
        return pt_err_set(err, "%u groups of ranks are there already", PT_GROUPS_MAX);
    *group = (struct group){.groups = g, .number = spec->group};
    if (pt_job_start(&group->job, g->agent, spec, err) < 0)
        return -1;
    group->used = true;
    group->session = group->job.child.pid;
    return 0;
}

static int on_start(struct pt_groups *g, struct pt_reader *body, struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    struct pt_job_spec spec = {.launch = g->launch};
    spec.group = pt_get_u32(body);
    spec.ranks = pt_get_u32(body);
    uint8_t yield = pt_get_u8(body);
    pt_auto_free struct pt_share *spread = pt_get_spread(body, spec.ranks, &spec.nspread);
    if (!pt_get_end(body) || spec.group == PT_NONE || spec.ranks == 0 || spec.ranks > PT_RANKS_MAX ||
        yield > 1)
        return pt_err_set(err, "groups: malformed START");
    if (find(g, spec.group))
        return pt_err_set(err, "groups: START of group %u, which is there", spec.group);
    spec.yield = yield;
    spec.spread = spread;
    spec.serial = ++g->started;
    if (start(g, &spec, &why) < 0)
        say_ended(g, spec.group, PT_GROUP_FAILED, why.msg, strlen(why.msg));
    return 0;
}

static int on_end(struct pt_groups *g, struct pt_reader *body, struct pt_err *err)
{
    uint32_t number = pt_get_u32(body);
    if (!pt_get_end(body))
        return pt_err_set(err, "groups: malformed END");
    const struct group *group = find(g, number);
    if (group)
        end_group(group);
    return 0;
}

static int take_frame(struct pt_groups *g, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    switch (type) {
    case PT_G_START:
        return on_start(g, body, err);
    case PT_G_END:
        return on_end(g, body, err);
    default:
        return pt_err_set(err, "groups: unknown message %u", type);
    }
}

static void take_frames(struct pt_groups *g)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_reader body;
    uint8_t type;
    size_t used = 0, total;
    int rc;
    while ((rc = pt_frame_next(g->in.data + used, g->in.len - used, FRAME_MAX, &type, &body, &total)) > 0) {
        if ((rc = take_frame(g, type, &body, &err)) < 0)
            break;
        used += total;
    }
    pt_buf_consume(&g->in, used);
    if (rc == 0)
        return;
    pt_warn("%s", err.msg[0] ? err.msg : "groups: a frame of bad length");
    drop_hub(g);
}

static void read_hub(struct pt_groups *g)
{
    char *room = pt_buf_reserve(&g->in, 4096);
    ssize_t n = room ? recv(g->hub, room, 4096, MSG_DONTWAIT) : 0;
    if (n > 0) {
        g->in.len += (size_t)n;
        take_frames(g);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        drop_hub(g);
    }
}

static void write_hub(struct pt_groups *g)
{
    ssize_t n = g->out.bad ? 0 : send(g->hub, g->out.data, g->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        pt_buf_consume(&g->out, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        drop_hub(g);
}

static void on_hub(void *arg, int fd, short revents)
{
    struct pt_groups *g = arg;
    (void)fd;
    if (revents & POLLOUT)
        write_hub(g);
    if (g->hub >= 0 && (revents & (POLLIN | POLLHUP | POLLERR)))
        read_hub(g);
    rewatch(g);
}

/* The other end is closed, though what came before that may not have been read. */
static bool is_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

static void on_accept(void *arg, int fd, short revents)
{
    struct pt_groups *g = arg;
    struct pt_err err = PT_ERR_INIT;
    (void)revents;
    pt_auto_fd int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0)
        return;
    int rc = pt_door_check(peer, g->launch ? g->mpirun : 0, "groups", &err);
    if (rc == 0 && g->hub >= 0 && is_gone(g->hub))
        drop_hub(g);
    if (rc == 0 && g->hub >= 0)
        rc = pt_err_set(&err, "groups: refused a second hub");
    if (rc < 0) {
        pt_warn("%s", err.msg);
        return;
    }
    g->hub = pt_steal_fd(&peer);
    rewatch(g);
}

/* --- the end --- */

static void finish(struct group *group)
{
    struct pt_child *child = &group->job.child;
    pt_child_drain(child);
    if (!group->untold)
        say_ended(group->groups, group->number, group->status, child->tail.data, child->tail.len);
    pt_job_fini(&group->job);
    group->used = false;
}

static void on_sweep(void *arg)
{
    struct group *group = arg;
    group->timer = 0;
    if (WIFSIGNALED(group->status) && pt_sweep_session(group->session) != 0 && pt_now_ms() < group->give_up)
        group->timer = pt_loop_after(group->groups->agent->loop, SWEEP_MS, on_sweep, group);
    else
        finish(group);
}

bool pt_groups_reaped(struct pt_groups *g, pid_t pid, int status)
{
    for (size_t i = 0; g && i < PT_GROUPS_MAX; i++) {
        struct group *group = &g->list[i];
        if (!group->used || group->job.child.pid != pid)
            continue;
        group->job.child.pid = 0;
        group->status = status;
        group->give_up = pt_now_ms() + REMAINS_MS;
        on_sweep(group);
        return true;
    }
    return false;
}

bool pt_groups_own(const struct pt_groups *g, pid_t pid)
{
    for (size_t i = 0; g && i < PT_GROUPS_MAX; i++)
        if (g->list[i].used && g->list[i].job.child.pid > 0 && pt_sweep_below(pid, g->list[i].job.child.pid))
            return true;
    return false;
}

bool pt_groups_busy(const struct pt_groups *g)
{
    for (size_t i = 0; g && i < PT_GROUPS_MAX; i++)
        if (g->list[i].used)
            return true;
    return false;
}

void pt_groups_allow(struct pt_groups *g, const struct pt_launch *launch, pid_t mpirun)
{
    g->launch = launch;
    g->mpirun = mpirun;
}

void pt_groups_end(struct pt_groups *g)
{
    if (!g)
        return;
    drop_hub(g);
    g->launch = NULL;
}

struct pt_groups *pt_groups_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_groups *g = calloc(1, sizeof(*g));
    if (!g) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    g->agent = a;
    g->hub = -1;
    g->listener = pt_door_open(a, "group.sock", on_accept, g, err);
    if (g->listener >= 0)
        return g;
    pt_groups_destroy(g);
    return NULL;
}

void pt_groups_destroy(struct pt_groups *g)
{
    if (!g)
        return;
    pt_groups_end(g);
    for (size_t i = 0; i < PT_GROUPS_MAX; i++)
        if (g->list[i].used) {
            pt_loop_cancel(g->agent->loop, g->list[i].timer);
            pt_job_fini(&g->list[i].job);
        }
    if (g->listener >= 0) {
        pt_loop_unwatch(g->agent->loop, g->listener);
        close(g->listener);
    }
    free(g);
}
