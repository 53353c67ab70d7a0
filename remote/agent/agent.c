/* SPDX-License-Identifier: Apache-2.0 */
/* SETUP makes the parts (init, tools, tree, links, groups, reach, relays, python, launcher, collector); after
 * that control messages and the ends of children move them on. It ends in one of two ways. STOP: workers get
 * their grace, everything below is killed, folders go, STOPPED is said. Otherwise (the channel or the keeper
 * is gone, the master is silent or talks nonsense): the same without a word. Whatever this process misses,
 * the keeper does. Where the run lingers and its workers run, the end of the channel is not the agent's: it
 * is away, without a channel, until another agent brings it a new one (linger.h) or the time is over. */
#include "remote/agent/agent.h"

#include "common/auto.h"
#include "remote/agent/attach.h"
#include "remote/agent/bulk.h"
#include "remote/agent/child.h"
#include "remote/agent/collect.h"
#include "remote/agent/groups.h"
#include "remote/agent/init.h"
#include "remote/agent/kit.h"
#include "remote/agent/launch.h"
#include "remote/agent/linger.h"
#include "remote/agent/links.h"
#include "remote/agent/pulse.h"
#include "remote/agent/python.h"
#include "remote/agent/reach.h"
#include "remote/agent/relay.h"
#include "remote/agent/room.h"
#include "remote/agent/setup.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"
#include "remote/agent/title.h"
#include "remote/agent/tools.h"
#include "remote/agent/tree.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define READ_CHUNK (256u << 10)
#define OUT_MAX    (256u << 10) /* bytes pulled from the mux and not yet written */
#define FLUSH_MS   2000         /* for the last words */
#define SWEEP_MS   8000
#define SILENT_MIN 1000
#define FIRST_MS   12500 /* for the first words */

struct machine {
    struct pt_agent a;
    const struct pt_agent_start *start;
    int channel; /* -1 while away, and once it was given to another agent */
    int signals;
    struct pt_buf out, control;
    size_t sent; /* of out */
    int64_t heard;
    uint64_t fed;  /* bytes of the channel in all */
    bool cut;      /* the channel ended */
    bool gone;     /* nobody listens, and nobody will */
    bool leaving;  /* say what is queued, then end */
    bool stopping; /* STOP was said */
    int64_t stop_by;
};

static void send_log(void *arg, enum pt_log_level level, const char *line)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_LOG);
    pt_put_u8(&b, (uint8_t)level);
    pt_put_bytes(&b, line, strlen(line));
    pt_frame_end(&b, mark);
    pt_agent_send(arg, &b);
}

static void on_attached(void *arg, int channel, size_t taken);
static void close_channel(struct machine *m);

static int on_setup(struct machine *m, struct pt_reader *body, struct pt_err *err)
{
    if (m->a.set_up)
        return pt_err_set(err, "SETUP came twice");
    if (pt_agent_set_up(&m->a, body, err) < 0)
        return -1;
    if (m->a.setup.linger_ms && !(m->a.linger = pt_linger_create(&m->a, on_attached, m, err)))
        return -1;
    return 0;
}

/* This channel is for another agent. The frame is all that was said on it, so that it is whole again there.
 */
static int on_attach(struct machine *m, struct pt_reader *body, size_t frame, struct pt_err *err)
{
    struct pt_attach want;
    if (m->a.set_up || m->fed != PT_MUX_HEAD + frame)
        return pt_err_set(err, "ATTACH is not all that was said");
    if (pt_attach_decode(body, &want, err) < 0)
        return -1;
    int rc = pt_attach_give(&want, m->channel, err);
    pt_attach_fini(&want);
    if (rc < 0)
        return -1;
    close_channel(m);
    m->gone = true;
    return 0;
}

/* --- the control stream --- */

static int on_ping(struct pt_agent *a, struct pt_reader *body, struct pt_err *err)
{
    struct pt_buf b = {0};
    uint64_t token = pt_get_u64(body);
    if (!pt_get_end(body))
        return pt_err_set(err, "PING: malformed message");
    size_t mark = pt_frame_begin(&b, PT_C_PONG);
    pt_put_u64(&b, token);
    pt_frame_end(&b, mark);
    pt_agent_send(a, &b);
    return 0;
}

static int on_stop(struct machine *m, struct pt_reader *body, struct pt_err *err)
{
    uint32_t grace = pt_get_u32(body);
    if (!pt_get_end(body))
        return pt_err_set(err, "STOP: malformed message");
    if (!m->stopping)
        m->stop_by = INT64_MAX;
    m->stopping = true;
    pt_linger_destroy(m->a.linger); /* it is wanted no more */
    m->a.linger = NULL;
    int64_t by = pt_now_ms() + grace;
    m->stop_by = by < m->stop_by ? by : m->stop_by;
    pt_launcher_end(m->a.launcher, grace);
    return 0;
}

static int on_end_workers(struct pt_agent *a, struct pt_reader *body, struct pt_err *err)
{
    uint32_t grace = pt_get_u32(body);
    if (!pt_get_end(body))
        return pt_err_set(err, "END_WORKERS: malformed message");
    pt_launcher_end(a->launcher, grace);
    return 0;
}

static int on_launch(struct pt_agent *a, struct pt_reader *body, struct pt_err *err)
{
    pt_linger_forget(a->linger);
    if (pt_launcher_want(a->launcher, body, err) < 0)
        return -1;
    pt_links_admit(a->links);
    pt_agent_advance(a);
    return 0;
}

static bool is_sync_only(const struct pt_agent *a)
{
    return a->setup.flags & PT_SETUP_SYNC_ONLY;
}

static enum pt_stage control_stage(uint8_t type)
{
    return type == PT_C_TOOLS                             ? PT_STAGE_TOOLS
           : type == PT_C_MANIFEST || type == PT_C_SURVEY ? PT_STAGE_TREE
           : type == PT_C_LAUNCH || type == PT_C_RELINK   ? PT_STAGE_LAUNCH
           : type == PT_C_COLLECT                         ? PT_STAGE_PYTHON
                                                          : PT_STAGE_SETUP;
}

/* frame is all of it, body its fields. */
static int on_control(struct machine *m, uint8_t type, struct pt_reader *body, const void *frame, size_t n,
                      struct pt_err *err)
{
    struct pt_agent *a = &m->a;
    switch (type) {
    case PT_C_SETUP:
        return on_setup(m, body, err);
    case PT_C_ATTACH:
        return on_attach(m, body, n, err);
    case PT_C_PING:
        return on_ping(a, body, err);
    case PT_C_STOP:
        return on_stop(m, body, err);
    case PT_C_CLEAN:
        return pt_room_clean(a, body, err);
    default:
        break;
    }
    if (a->failed)
        return 0;
    if (!a->set_up)
        return pt_err_set(err, "control message %u came before SETUP", type);
    if (!a->tree && control_stage(type) == PT_STAGE_TREE)
        return pt_err_set(err, "a tree was sent that is shared");
    if (is_sync_only(a) && (type == PT_C_LAUNCH || type == PT_C_COLLECT))
        return pt_err_set(err, "control message %u in a run that only brings the tree", type);
    switch (type) {
    case PT_C_TOOLS:
        return pt_tools_offer(a->tools, body, err);
    case PT_C_SURVEY:
    case PT_C_MANIFEST:
        return pt_tree_send(a->tree, frame, n, false, err);
    case PT_C_LAUNCH:
        return on_launch(a, body, err);
    case PT_C_LINGER:
        pt_linger_arm(a->linger);
        return 0;
    case PT_C_RELINK:
        return pt_launcher_relink(a->launcher, body, err);
    case PT_C_COLLECT:
        return pt_collector_want(a->collector, body, err);
    case PT_C_END_WORKERS:
        return on_end_workers(a, body, err);
    case PT_C_LISTEN:
        return pt_reach_listen(a->reach, body, err);
    case PT_C_PROBE:
        return pt_reach_probe(a->reach, body, err);
    case PT_C_PEERS:
        return pt_relays_know(a->relays, body, err);
    case PT_C_RELAY:
        return pt_relays_take(a->relays, body, err);
    case PT_C_BOUND:
        return pt_room_bound(a->room, body, err);
    default:
        return pt_err_set(err, "unknown control message %u", type);
    }
}

/* --- streams --- */

/* What is refused ends the host, with the reason; when it makes no sense at all, the conversation too. */
static void refuse(struct machine *m, enum pt_stage stage, const struct pt_err *err)
{
    pt_agent_fail(&m->a, stage, err);
    if (stage == PT_STAGE_SETUP)
        m->leaving = true;
}

/* The first whole frame of in: 1 and its size in *total, 0 when more is needed or nothing is heard any more.
 */
static int next_frame(struct machine *m, const struct pt_buf *in, size_t at, size_t max, uint8_t *type,
                      struct pt_reader *body, size_t *total)
{
    struct pt_err err = PT_ERR_INIT;
    if (m->leaving || m->gone)
        return 0;
    int rc = pt_frame_next(in->data + at, in->len - at, max, type, body, total);
    if (rc >= 0)
        return rc;
    pt_err_set(&err, "the master sent a frame of bad length");
    refuse(m, PT_STAGE_SETUP, &err);
    return 0;
}

static void take_control(struct machine *m)
{
    size_t used = 0, total;
    struct pt_reader body;
    uint8_t type;
    for (; next_frame(m, &m->control, used, PT_MAX_FRAME, &type, &body, &total); used += total) {
        struct pt_err err = PT_ERR_INIT;
        if (on_control(m, type, &body, m->control.data + used, total, &err) < 0)
            refuse(m, control_stage(type), &err);
    }
    pt_buf_consume(&m->control, used);
}

static void take_bulk(struct machine *m, const void *data, size_t n)
{
    struct pt_err err = PT_ERR_INIT;
    enum pt_stage stage;
    if (!m->leaving && pt_bulk_feed(&m->a, data, n, &stage, &err) < 0)
        refuse(m, stage, &err);
}

static void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    struct machine *m = arg;
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "the master opened stream %u of kind %u", stream, kind);
    refuse(m, PT_STAGE_SETUP, &err);
}

static void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    struct machine *m = arg;
    if (stream == PT_MUX_CONTROL) {
        pt_mux_credit(m->a.mux, stream, n);
        pt_buf_append(&m->control, data, n);
        take_control(m);
    } else if (stream == PT_MUX_BULK) {
        take_bulk(m, data, n);
    } else if (m->a.links) {
        pt_links_data(m->a.links, stream, data, n);
    }
}

static void on_closed(void *arg, uint32_t stream)
{
    struct machine *m = arg;
    if (stream >= PT_MUX_FIRST && m->a.links)
        pt_links_closed(m->a.links, stream);
}

/* --- the channel --- */

static void read_channel(struct machine *m)
{
    static char buf[READ_CHUNK];
    struct pt_err err = PT_ERR_INIT;
    ssize_t n = recv(m->channel, buf, sizeof(buf), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        m->cut = true;
        return;
    }
    if (n < 0)
        return;
    m->heard = pt_now_ms();
    m->fed += (uint64_t)n;
    if (pt_mux_feed(m->a.mux, buf, (size_t)n, &err) < 0)
        refuse(m, PT_STAGE_SETUP, &err);
    if (m->control.bad)
        m->gone = true;
}

static void write_channel(struct machine *m)
{
    while (m->channel >= 0 && !m->cut) {
        if (m->sent == m->out.len) {
            pt_buf_clear(&m->out);
            m->sent = 0;
            pt_mux_pull(m->a.mux, &m->out, OUT_MAX);
        }
        if (m->out.bad) { /* what is missing there would be missed */
            m->cut = true;
            return;
        }
        if (m->out.len == m->sent)
            return;
        ssize_t n =
            send(m->channel, m->out.data + m->sent, m->out.len - m->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            m->cut = true;
        if (n <= 0)
            return;
        m->sent += (size_t)n;
    }
}

static void close_channel(struct machine *m)
{
    if (m->channel < 0)
        return;
    pt_loop_unwatch(m->a.loop, m->channel);
    close(m->channel);
    m->channel = -1;
}

static void on_channel(void *arg, int fd, short revents)
{
    (void)fd;
    if (revents & (POLLIN | POLLHUP | POLLERR))
        read_channel(arg);
}

static void on_lifeline(void *arg, int fd, short revents)
{
    struct machine *m = arg;
    (void)fd;
    (void)revents;
    m->gone = true;
}

static void on_signal(void *arg, int fd, short revents)
{
    struct machine *m = arg;
    struct pt_agent *a = &m->a;
    struct signalfd_siginfo info;
    (void)revents;
    while (read(fd, &info, sizeof(info)) > 0)
        ;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        if (!pt_init_reaped(a->init, pid, status) && !pt_tree_reaped(a->tree, pid, status) &&
            !pt_python_reaped(a->python, pid, status) && !pt_launcher_reaped(a->launcher, pid, status) &&
            !pt_groups_reaped(a->groups, pid, status) && !pt_relays_reaped(a->relays, pid, status) &&
            !pt_reach_reaped(a->reach, pid, status) && !pt_kit_reaped(a->kit, pid, status) &&
            !pt_pulse_reaped(a->pulse, pid) && !pt_room_reaped(a->room, pid, status))
            pt_collector_reaped(a->collector, pid, status);
    pt_agent_advance(a);
}

/* --- away, and back --- */

static int begin_streams(struct machine *m)
{
    static const struct pt_mux_callbacks callbacks = {
        .opened = on_opened, .data = on_data, .closed = on_closed};
    struct pt_mux *mux = pt_mux_create(&callbacks, m, NULL);
    if (!mux)
        return -1;
    pt_mux_destroy(m->a.mux);
    m->a.mux = mux;
    pt_buf_clear(&m->out);
    pt_buf_clear(&m->control);
    m->sent = 0;
    m->cut = false;
    m->heard = pt_now_ms();
    return 0;
}

/* What the channel carried ends; what runs on this host does not. */
static void leave(struct machine *m)
{
    struct pt_agent *a = &m->a;
    pt_linger_leave(a->linger);
    close_channel(m);
    pt_links_cut(a->links);
    pt_collector_end(a->collector);
    pt_tree_cut(a->tree);
    if (begin_streams(m) < 0)
        m->gone = true;
}

/* The new channel wins, whether or not it is known yet that the old one is dead. */
static void on_attached(void *arg, int channel, size_t taken)
{
    struct machine *m = arg;
    struct pt_agent *a = &m->a;
    if (!pt_linger_away(a->linger))
        leave(m);
    m->channel = channel;
    if (begin_streams(m) < 0) {
        m->gone = true;
        return;
    }
    pt_links_begin(a->links);
    pt_mux_credit(a->mux, PT_MUX_CONTROL, taken);
    pt_linger_return(a->linger);
}

/* --- life --- */

static int begin(struct machine *m)
{
    struct pt_agent *a = &m->a;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pt_title_set("agent");
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    m->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    a->loop = pt_loop_create(NULL);
    if (m->signals < 0 || !a->loop || begin_streams(m) < 0 ||
        pt_loop_watch(a->loop, m->signals, POLLIN, on_signal, m) < 0 ||
        pt_loop_watch(a->loop, m->start->lifeline, POLLIN, on_lifeline, m) < 0)
        return -1;
    pt_log_setup(PT_LOG_INFO, "ptremote-agent");
    pt_log_redirect(send_log, a);
    m->heard = pt_now_ms();
    return 0;
}

static bool is_silent(const struct machine *m)
{
    int64_t limit = m->a.set_up ? m->a.setup.silence_ms : FIRST_MS;
    return limit && m->channel >= 0 && pt_now_ms() - m->heard > (limit < SILENT_MIN ? SILENT_MIN : limit);
}

/* The writing is the loop's last act in each round, so that all that was queued goes in one go. */
static int step(struct machine *m)
{
    struct pt_agent *a = &m->a;
    write_channel(m);
    pt_links_resume(a->links);
    short events = (short)(POLLIN | (m->out.len > m->sent || pt_mux_ready(a->mux) ? POLLOUT : 0));
    if (m->channel >= 0 && pt_loop_watch(a->loop, m->channel, events, on_channel, m) < 0)
        return -1;
    return pt_loop_step(a->loop, 500);
}

static void run(struct machine *m)
{
    while (!m->gone && !m->leaving && !pt_linger_over(m->a.linger)) {
        if (m->cut || is_silent(m)) {
            if (!pt_linger_may(m->a.linger))
                return;
            leave(m);
        }
        if (m->stopping && (pt_launcher_idle(m->a.launcher) || pt_now_ms() >= m->stop_by))
            return;
        if (step(m) < 0)
            return;
    }
}

static void flush(struct machine *m)
{
    int64_t end = pt_now_ms() + FLUSH_MS;
    m->a.failed = true; /* nothing is started any more */
    do
        write_channel(m);
    while (!m->cut && m->channel >= 0 && (m->out.len > m->sent || pt_mux_ready(m->a.mux)) &&
           pt_now_ms() < end && poll(&(struct pollfd){.fd = m->channel, .events = POLLOUT}, 1, 100) >= 0);
}

static void clean(struct machine *m)
{
    struct pt_agent *a = &m->a;
    pt_agent_take_down(a);
    pt_sweep_all(SWEEP_MS);
    pt_rundir_remove(a->dir);
    if (a->workspace_lock >= 0)
        close(a->workspace_lock);
}

static void release(struct machine *m)
{
    struct pt_agent *a = &m->a;
    pt_log_redirect(NULL, NULL);
    pt_setup_fini(&a->setup);
    pt_environ_fini(&a->env);
    pt_mux_destroy(a->mux);
    pt_loop_destroy(a->loop);
    free(a->workspace);
    free(a->machine_id);
    pt_buf_fini(&m->out);
    pt_buf_fini(&m->control);
    pt_buf_fini(&a->bulk.in);
}

int pt_agent_run(const struct pt_agent_start *start)
{
    struct machine m = {
        .start = start,
        .channel = start->channel,
        .a = {.cache = start->cache, .dir = start->dir, .no_dir = start->why, .workspace_lock = -1}};
    int rc = begin(&m);
    if (rc < 0)
        dprintf(start->said, "ptremote-agent: cannot begin: %s\n", strerror(errno));
    close(start->said);
    if (rc == 0)
        run(&m);
    if (rc == 0 && m.leaving)
        flush(&m);
    clean(&m);
    if (rc == 0 && m.stopping) {
        struct pt_buf b = {0};
        pt_frame_end(&b, pt_frame_begin(&b, PT_C_STOPPED));
        pt_agent_send(&m.a, &b);
        flush(&m);
    }
    release(&m);
    return rc < 0;
}
