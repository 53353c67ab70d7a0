/* SPDX-License-Identifier: Apache-2.0 */
/* An orted runs under a guard (guard.h); one end of a socket pair is carried, the other is ours: its end is
 * SIGTERM to the guard, and when the guard ended what orted said last and its status go there. */
#include "remote/agent/relay.h"

#include "common/auto.h"
#include "common/self.h"
#include "remote/agent/door.h"
#include "remote/agent/groups.h"
#include "remote/agent/job.h"
#include "remote/agent/launch.h"
#include "remote/agent/links.h"
#include "remote/agent/peers.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define ORTEDS_MAX 64
#define SWEEP_MS   10   /* between two rounds */
#define REMAINS_MS 4000 /* then what cannot be killed is left to the end of the launch */

#define SOCKET "relay.sock"
#define RSH    "ptremote-rsh" /* a link to this program, as its own path may have blanks and colons */

struct orted {
    struct pt_relays *relays;
    bool used;
    struct pt_job job;
    pid_t session; /* of the guard and all it started */
    int status;
    int fd;            /* who asked, or -1 once that is over */
    struct pt_buf out; /* for fd; the last once it is not empty */
    uint64_t timer;    /* the next round of sweeping */
    int64_t give_up;
};

struct pt_relays {
    struct pt_agent *agent;
    int listener;
    uint32_t started;
    struct orted list[ORTEDS_MAX];
};

static void put_text(struct pt_buf *out, uint8_t type, const char *text, size_t n)
{
    size_t mark = pt_frame_begin(out, type);
    pt_put_bytes(out, text, n);
    pt_frame_end(out, mark);
}

static void put_u32(struct pt_buf *out, uint8_t type, uint32_t value)
{
    size_t mark = pt_frame_begin(out, type);
    pt_put_u32(out, value);
    pt_frame_end(out, mark);
}

/* --- RUNDIR/relay.sock --- */

static bool is_ours(const struct pt_relays *r, pid_t pid)
{
    for (size_t i = 0; i < ORTEDS_MAX; i++)
        if (r->list[i].used && r->list[i].job.child.pid > 0 && pt_sweep_below(pid, r->list[i].job.child.pid))
            return true;
    return pt_groups_own(r->agent->groups, pid);
}

static void on_accept(void *arg, int fd, short revents)
{
    struct pt_relays *r = arg;
    struct pt_err err = PT_ERR_INIT;
    (void)revents;
    pt_auto_fd int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0)
        return;
    pid_t pid = pt_door_peer(peer, "relay", &err);
    int rc = pid < 0 ? -1 : 0;
    if (rc == 0 && !is_ours(r, pid))
        rc = pt_err_set(&err, "relay: refused process %d, which is of no group", (int)pid);
    if (rc == 0)
        rc = pt_links_carry(r->agent->links, pt_steal_fd(&peer), PT_MUX_KIND_RELAY, NULL, &err);
    if (rc < 0)
        pt_warn("%s", err.msg);
}

/* --- orted --- */

static void on_asker(void *arg, int fd, short revents);

static void hang_up(struct orted *o)
{
    if (o->fd < 0)
        return;
    pt_loop_unwatch(o->relays->agent->loop, o->fd);
    close(o->fd);
    o->fd = -1;
    pt_buf_fini(&o->out);
}

static void end_orted(const struct orted *o)
{
    if (o->job.child.pid > 0)
        kill(o->job.child.pid, SIGTERM);
}

static void release(struct orted *o)
{
    hang_up(o);
    pt_loop_cancel(o->relays->agent->loop, o->timer);
    pt_job_fini(&o->job);
    o->used = false;
}

static void write_last(struct orted *o)
{
    ssize_t n = o->out.bad ? 0 : send(o->fd, o->out.data, o->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        pt_buf_consume(&o->out, (size_t)n);
    bool over = o->out.len == 0 || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (over)
        release(o);
    else
        pt_loop_watch(o->relays->agent->loop, o->fd, POLLOUT, on_asker, o);
}

/* Nothing is said after WANT; the end is what counts. */
static void on_asker(void *arg, int fd, short revents)
{
    struct orted *o = arg;
    char buf[4096];
    (void)revents;
    if (o->out.len > 0) {
        write_last(o);
        return;
    }
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    hang_up(o);
    end_orted(o);
}

static void finish(struct orted *o)
{
    struct pt_child *child = &o->job.child;
    pt_child_drain(child);
    if (o->fd < 0) {
        release(o);
        return;
    }
    if (child->tail.len > 0)
        put_text(&o->out, PT_Y_OUTPUT, (char *)child->tail.data, child->tail.len);
    put_u32(&o->out, PT_Y_EXIT, (uint32_t)o->status);
    pt_job_fini(&o->job);
    write_last(o);
}

static void on_sweep(void *arg)
{
    struct orted *o = arg;
    o->timer = 0;
    if (WIFSIGNALED(o->status) && pt_sweep_session(o->session) != 0 && pt_now_ms() < o->give_up)
        o->timer = pt_loop_after(o->relays->agent->loop, SWEEP_MS, on_sweep, o);
    else
        finish(o);
}

bool pt_relays_reaped(struct pt_relays *r, pid_t pid, int status)
{
    for (size_t i = 0; r && i < ORTEDS_MAX; i++) {
        struct orted *o = &r->list[i];
        if (!o->used || o->job.child.pid != pid)
            continue;
        o->job.child.pid = 0;
        o->status = status;
        o->give_up = pt_now_ms() + REMAINS_MS;
        on_sweep(o);
        return true;
    }
    return false;
}

static struct orted *find_room(struct pt_relays *r)
{
    for (size_t i = 0; i < ORTEDS_MAX; i++)
        if (!r->list[i].used)
            return &r->list[i];
    return NULL;
}

/* The socket to carry; -1 with err. */
static int start_orted(struct pt_relays *r, const struct pt_relay *want, struct pt_err *err)
{
    struct orted *o = find_room(r);
    int pair[2];
    struct pt_job_spec spec = {.launch = pt_launcher_running(r->agent->launcher)};
    if (!o)
        return pt_err_set(err, "%u groups of other hosts are there already", ORTEDS_MAX);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return pt_err_set(err, "%s", strerror(errno));
    *o = (struct orted){.relays = r, .fd = pair[1]};
    spec.ranks = spec.launch->slots;
    spec.serial = ++r->started;
    if (pt_loop_watch(r->agent->loop, o->fd, POLLIN, on_asker, o) < 0 ||
        pt_job_start_orted(&o->job, r->agent, &spec, want->words, want->nwords, err) < 0) {
        hang_up(o);
        close(pair[0]);
        return err->msg[0] ? -1 : pt_err_set(err, "out of memory");
    }
    o->used = true;
    o->session = o->job.child.pid;
    return pair[0];
}

/* --- PEERS and RELAY --- */

int pt_relays_know(struct pt_relays *r, struct pt_reader *body, struct pt_err *err)
{
    struct pt_buf b = {0};
    if (pt_peers_take(&r->agent->peers, body, err) < 0)
        return -1;
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_PEERED));
    pt_agent_send(r->agent, &b);
    return 0;
}

static int reach_hub(const struct pt_agent *a, struct pt_err *err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/rank.sock", a->dir->path);
    pt_auto_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        return pt_err_set(err, "its hub cannot be reached: %s", strerror(errno));
    return pt_steal_fd(&fd);
}

/* What is wanted, as a socket; -1 with err. */
static int open_wanted(struct pt_relays *r, const struct pt_relay *want, struct pt_err *err)
{
    const struct pt_agent *a = r->agent;
    if (!pt_launcher_running(a->launcher))
        return pt_err_set(err, "no workers run there");
    if (!pt_peers_find(&a->peers, want->host))
        return pt_err_set(err, "host %u is none of those that it runs tests with", want->host);
    return want->what == PT_RELAY_HUB ? reach_hub(a, err) : start_orted(r, want, err);
}

/* A socket that is at its end, to carry a refusal. */
static int dead_socket(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    close(pair[1]);
    return pair[0];
}

int pt_relays_take(struct pt_relays *r, struct pt_reader *body, struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    struct pt_relay want;
    struct pt_buf first = {0};
    if (pt_relay_decode(body, &want, err) < 0)
        return -1;
    int fd = open_wanted(r, &want, &why);
    put_u32(&first, PT_Y_HERE, want.id);
    if (fd < 0) {
        put_text(&first, PT_Y_REFUSED, why.msg, strlen(why.msg));
        fd = dead_socket();
    }
    if (fd >= 0 && pt_links_carry(r->agent->links, fd, PT_MUX_KIND_RELAY, &first, &why) < 0)
        pt_warn("relay: %s", why.msg);
    pt_buf_fini(&first);
    pt_relay_fini(&want);
    return 0;
}

/* --- life --- */

char *pt_relays_rsh(const struct pt_agent *a, struct pt_err *err)
{
    char *rsh = NULL;
    if (strpbrk(a->dir->path, " \t:"))
        pt_err_set(err, "mpirun cannot start programs in %s", a->dir->path);
    else if (asprintf(&rsh, "%s/" RSH " rsh", a->dir->path) < 0)
        pt_err_set(err, "out of memory");
    return rsh;
}

static int link_self(const struct pt_agent *a, struct pt_err *err)
{
    char self[PT_SELF_MAX], path[256];
    snprintf(path, sizeof(path), "%s/" RSH, a->dir->path);
    return pt_self_path(self) == 0 && symlink(self, path) == 0
               ? 0
               : pt_err_set(err, "%s: %s", path, strerror(errno));
}

struct pt_relays *pt_relays_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_relays *r = calloc(1, sizeof(*r));
    if (!r) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    r->agent = a;
    r->listener = pt_door_open(a, SOCKET, on_accept, r, err);
    if (r->listener >= 0 && link_self(a, err) == 0)
        return r;
    pt_relays_destroy(r);
    return NULL;
}

void pt_relays_end(struct pt_relays *r)
{
    for (size_t i = 0; r && i < ORTEDS_MAX; i++)
        if (r->list[i].used)
            end_orted(&r->list[i]);
}

bool pt_relays_busy(const struct pt_relays *r)
{
    for (size_t i = 0; r && i < ORTEDS_MAX; i++)
        if (r->list[i].used && (r->list[i].job.child.pid > 0 || r->list[i].timer))
            return true;
    return false;
}

void pt_relays_destroy(struct pt_relays *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < ORTEDS_MAX; i++)
        if (r->list[i].used)
            release(&r->list[i]);
    if (r->listener >= 0) {
        pt_loop_unwatch(r->agent->loop, r->listener);
        close(r->listener);
    }
    free(r);
}
