/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks, members of groups, the agent and the master say to a host's hub, in any order: it gives a rank
 * one bundle at a time, uses no slot that it was not let have, numbers what it tells, and tells a test of a
 * group once. The input: how the hub is; then what happens, mostly to a connection that is there. */
#include "fuzz.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static int any_fd(void);
#define accept4(fd, ...) ((void)(fd), any_fd())
#include "remote/worker/hub.c"
#define pt_cores_read fuzz_cores_read
#include "remote/worker/cores.c"
#include "remote/worker/hub_groups_inside.h"
#undef pt_cores_read
int pt_cores_read(struct pt_cores *cores, const char *sys, struct pt_err *err);

#define CONNS   48
#define TIMERS  64
#define BUNDLES 64
#define GROUPS  256
#define STEPS   400

struct pt_conn {
    bool there;
    const struct pt_conn_callbacks *cb;
    void *arg;
    uint32_t rank, group, size; /* as it joins */
    bool joined, started, member, agent;
    uint32_t bundle, told; /* that it got last; tests of it that it told */
};

struct pt_sharing {
    uint32_t held;
    const struct pt_sharing_callbacks *callbacks; /* NULL: slots are not shared */
    void *arg;
};

struct pt_uplink {
    const struct pt_uplink_callbacks *cb;
    void *arg;
    bool there, welcomed, closed;
};

struct bundle {
    uint32_t ranks, ntests;
    bool once[4]; /* told by RANKS or FALL */
};

static struct {
    struct pt_hub *hub;
    struct pt_conn conns[CONNS];
    struct pt_uplink link;
    struct pt_sharing sharing;
    struct {
        pt_call_fn *fn;
        void *arg;
        int64_t due;
    } timers[TIMERS];
    struct bundle bundles[BUNDLES];
    uint32_t nbundles, groups[GROUPS], sizes[GROUPS], ngroups;
    uint32_t slots, room, linger_ms; /* room: slots that sharing gives */
    uint64_t seq, acked;
    size_t queued;
    int64_t now;
    bool over, agent, final;
    pt_fd_fn *listen;
    void *listen_arg;
} lab;

/* --- time, sockets --- */

int64_t pt_now_ms(void)
{
    return lab.now;
}

uint64_t pt_loop_after(struct pt_loop *loop, int64_t ms, pt_call_fn *fn, void *arg)
{
    (void)loop;
    for (uint32_t i = 0; i < TIMERS; i++)
        if (!lab.timers[i].fn) {
            lab.timers[i].fn = fn;
            lab.timers[i].arg = arg;
            lab.timers[i].due = lab.now + ms;
            return i + 1;
        }
    return 0; /* no memory */
}

void pt_loop_cancel(struct pt_loop *loop, uint64_t timer)
{
    (void)loop;
    if (timer)
        lab.timers[timer - 1].fn = NULL;
}

int pt_loop_watch(struct pt_loop *loop, int fd, short events, pt_fd_fn *fn, void *arg)
{
    (void)loop, (void)fd, (void)events;
    lab.listen = fn;
    lab.listen_arg = arg;
    return 0;
}

void pt_loop_unwatch(struct pt_loop *loop, int fd)
{
    (void)loop, (void)fd;
    lab.listen = NULL;
}

static void pass_time(void)
{
    uint32_t first = TIMERS;
    for (uint32_t i = 0; i < TIMERS; i++)
        if (lab.timers[i].fn && (first == TIMERS || lab.timers[i].due < lab.timers[first].due))
            first = i;
    if (first == TIMERS)
        return;
    pt_call_fn *fn = lab.timers[first].fn;
    lab.timers[first].fn = NULL;
    lab.now = lab.timers[first].due > lab.now ? lab.timers[first].due : lab.now;
    fn(lab.timers[first].arg);
}

static int any_fd(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int pt_local_path(char out[PT_LOCAL_PATH], const char *dir, const char *name, struct pt_err *err)
{
    (void)dir, (void)err;
    snprintf(out, PT_LOCAL_PATH, "%s", name);
    return 0;
}

int pt_local_listen(const char *path, struct pt_err *err)
{
    (void)path, (void)err;
    return any_fd();
}

int pt_local_connect(const char *path, int wait_ms, struct pt_err *err)
{
    (void)path, (void)wait_ms;
    return lab.agent ? any_fd() : pt_err_set(err, "nobody is there");
}

int pt_local_check_peer(int fd, struct pt_err *err)
{
    (void)fd, (void)err;
    return 0;
}

int pt_cores_read(struct pt_cores *cores, const char *sys, struct pt_err *err)
{
    (void)sys;
    cores->cpus = calloc(4, sizeof(*cores->cpus));
    if (!cores->cpus)
        return pt_err_set(err, "out of memory");
    cores->n = 4;
    for (uint32_t i = 0; i < 4; i++)
        cores->cpus[i] = (struct pt_cpu){.cpu = i, .core = i, .domain = i / 2};
    return 0;
}

/* --- connections --- */

struct pt_conn *pt_conn_create(struct pt_loop *loop, int fd, size_t max, const struct pt_conn_callbacks *cb,
                               void *arg, struct pt_err *err)
{
    (void)loop, (void)max;
    close(fd);
    for (uint32_t i = 0; i < CONNS; i++)
        if (!lab.conns[i].there) {
            lab.conns[i] = (struct pt_conn){.there = true, .cb = cb, .arg = arg, .bundle = PT_NONE};
            lab.conns[i].agent = lab.hub && arg == lab.hub->groups;
            return &lab.conns[i];
        }
    pt_err_set(err, "too many connections");
    return NULL;
}

void pt_conn_destroy(struct pt_conn *conn)
{
    if (!conn)
        return;
    FUZZ_CHECK(conn->there);
    conn->there = false;
}

void pt_conn_pause(struct pt_conn *conn, bool pause)
{
    (void)pause;
    FUZZ_CHECK(conn->there);
}

static void on_given(struct pt_conn *conn, struct pt_reader *r)
{
    struct pt_bundle b;
    unsigned held = fuzz_hold();
    FUZZ_CHECK(pt_bundle_decode(r, &b, NULL) == 0 && conn->started && b.nfiles);
    FUZZ_CHECK(conn->bundle == PT_NONE);
    FUZZ_CHECK(conn->member ? b.ranks == conn->size
                            : b.ranks <= 1 && (b.rank == PT_NONE || b.rank == conn->rank));
    conn->bundle = b.bundle;
    conn->told = 0;
    pt_bundle_fini(&b);
    fuzz_release(held);
}

static void on_agent_asked(uint8_t type, struct pt_reader *r)
{
    if (type != PT_G_START)
        return;
    uint32_t id = pt_get_u32(r), ranks = pt_get_u32(r);
    FUZZ_CHECK(!r->bad && ranks);
    if (lab.ngroups == GROUPS)
        return;
    lab.groups[lab.ngroups] = id;
    lab.sizes[lab.ngroups++] = ranks;
}

void pt_conn_send(struct pt_conn *conn, const void *frames, size_t n)
{
    const unsigned char *p = frames;
    struct pt_reader r;
    uint8_t type;
    size_t total;
    FUZZ_CHECK(conn->there);
    for (; n > 0; p += total, n -= total) {
        FUZZ_CHECK(pt_frame_next(p, n, PT_MAX_FRAME, &type, &r, &total) == 1);
        if (conn->agent)
            on_agent_asked(type, &r);
        else if (type == PT_L_SESSION)
            conn->started = true;
        else if (type == PT_L_BUNDLE)
            on_given(conn, &r);
    }
}

/* --- the link --- */

struct pt_uplink *pt_uplink_create(struct pt_loop *loop, const struct pt_uplink_config *config,
                                   const struct pt_uplink_callbacks *cb, void *arg, struct pt_err *err)
{
    (void)loop, (void)err;
    FUZZ_CHECK(!lab.link.there && config->acked == lab.acked);
    lab.link = (struct pt_uplink){.cb = cb, .arg = arg, .there = true};
    return &lab.link;
}

void pt_uplink_destroy(struct pt_uplink *link)
{
    if (link)
        link->there = false;
}

static void on_told_once(uint8_t type, struct pt_reader *r)
{
    struct pt_ranks ranks = {.test = PT_NONE};
    struct pt_fall fall = {.test = PT_NONE};
    unsigned held = fuzz_hold();
    if (type == PT_L_RANKS)
        FUZZ_CHECK(pt_ranks_decode(r, &ranks, NULL) == 0);
    else
        FUZZ_CHECK(pt_fall_decode(r, &fall, NULL) == 0);
    uint32_t test = type == PT_L_RANKS ? ranks.test : fall.test;
    uint32_t bundle = type == PT_L_RANKS ? ranks.bundle : fall.bundle;
    if (test != PT_NONE && bundle < BUNDLES) {
        FUZZ_CHECK(test / 4 == bundle);
        FUZZ_CHECK(!lab.bundles[bundle].once[test % 4]);
        lab.bundles[bundle].once[test % 4] = true;
    }
    pt_ranks_fini(&ranks);
    pt_fall_fini(&fall);
    fuzz_release(held);
}

void pt_uplink_send(struct pt_uplink *link, const void *frames, size_t n)
{
    struct pt_reader r;
    uint8_t type;
    size_t total;
    FUZZ_CHECK(link->there && link->welcomed);
    FUZZ_CHECK(pt_frame_next(frames, n, PT_MAX_FRAME, &type, &r, &total) == 1 && total == n);
    if (type == PT_L_STARTED || type == PT_L_GOT || type == PT_L_WAITS)
        return;
    uint64_t seq = pt_get_u64(&r);
    bool again = seq <= lab.hub->outbox.said && seq <= lab.seq;
    FUZZ_CHECK(again || seq == lab.seq + 1);
    lab.seq = again ? lab.seq : seq;
    if (!again && (type == PT_L_RANKS || type == PT_L_FALL))
        on_told_once(type, &r);
}

size_t pt_uplink_queued(const struct pt_uplink *link)
{
    (void)link;
    return lab.queued;
}

uint32_t pt_uplink_linger(const struct pt_uplink *link)
{
    (void)link;
    return lab.linger_ms;
}

bool pt_uplink_final(const struct pt_uplink *link)
{
    (void)link;
    return lab.final;
}

void pt_uplink_close(struct pt_uplink *link)
{
    FUZZ_CHECK(link->there);
}

/* --- slots that are shared --- */

struct pt_sharing *pt_sharing_create(struct pt_loop *loop, const struct pt_sharing_config *config,
                                     const struct pt_sharing_callbacks *callbacks, void *arg,
                                     struct pt_err *err)
{
    (void)loop, (void)config, (void)err;
    lab.sharing = (struct pt_sharing){.callbacks = callbacks, .arg = arg};
    return &lab.sharing;
}

void pt_sharing_destroy(struct pt_sharing *s)
{
    (void)s;
}

bool pt_sharing_take(struct pt_sharing *s, uint32_t n, uint32_t spare, const struct pt_sharing_wish *wish)
{
    FUZZ_CHECK(n && wish->step && wish->want >= n);
    if (s->held + n + spare > lab.room)
        return false;
    s->held += n;
    return true;
}

void pt_sharing_keep(struct pt_sharing *s, uint32_t held)
{
    FUZZ_CHECK(held <= s->held);
    s->held = held;
}

void pt_sharing_rest(struct pt_sharing *s)
{
    (void)s;
}

/* --- what comes --- */

static void on_over(void *arg, const char *why)
{
    (void)arg;
    FUZZ_CHECK(!lab.over && (!why || why[0]));
    lab.over = true;
}

static void arrive(struct pt_buf *b, struct pt_conn *conn)
{
    struct pt_frame frame;
    size_t total;
    if (pt_frame_next(b->data, b->len, PT_MAX_FRAME, &frame.type, &frame.body, &total) == 1) {
        frame.data = b->data;
        frame.len = total;
        if (conn && conn->there)
            conn->cb->frame(conn->arg, &frame);
        else if (!conn && lab.link.there && lab.link.welcomed)
            lab.link.cb->frame(lab.link.arg, &frame);
    }
    pt_buf_fini(b);
}

static void arrive_numbers(struct pt_conn *conn, uint8_t type, uint32_t n, const uint32_t *numbers)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&b, type);
    for (uint32_t i = 0; i < n; i++)
        pt_put_u32(&b, numbers[i]);
    pt_frame_end(&b, mark);
    fuzz_release(held);
    arrive(&b, conn);
}
#define SAY(conn, type, ...)                                                                                 \
    arrive_numbers(conn, type, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                         \
                   (uint32_t[]){__VA_ARGS__})

static void arrive_raw(struct pt_conn *conn, struct fuzz_parts *in)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&b, fuzz_byte(in));
    struct fuzz_parts part = fuzz_part(in);
    pt_buf_append(&b, part.p, part.left);
    pt_frame_end(&b, mark);
    fuzz_release(held);
    if (conn)
        conn->bundle = PT_NONE; /* for all we know */
    arrive(&b, conn);
}

static void say_bundle(uint8_t how, uint8_t more)
{
    static char path[] = "a.py", id[] = "a.py::t";
    struct pt_bundle_test tests[4];
    struct pt_share spread[2] = {{1, 1 + (more >> 1 & 1)}, {2 + (more >> 2 & 1), 1}};
    struct pt_bundle_file files[2] = {{path, tests, 1 + (how & 1)}, {path, tests + 2, 1 + (how >> 1 & 1)}};
    struct pt_bundle b = {.bundle = lab.nbundles, .attempt = 1, .rank = PT_NONE, .files = files};
    struct pt_buf out = {0};
    if (lab.nbundles == BUNDLES)
        return;
    b.nfiles = 1 + (how >> 2 & 1);
    b.ranks = 1 + (how >> 3 & 3);
    b.ranks = how >> 5 > 3 ? b.ranks : 1;
    if (how >> 5 == 2)
        b.rank = more % 5;
    if (how >> 5 == 7) {
        b.spread = spread;
        b.nspread = 2;
        b.ranks = spread[0].ranks + spread[1].ranks;
    }
    b.flags = how >> 5 == 6 ? PT_BUNDLE_NUMA : 0;
    for (uint32_t i = 0; i < 4; i++)
        tests[i] = (struct pt_bundle_test){.test = 4 * b.bundle + i, .nodeid = id};
    lab.bundles[lab.nbundles++].ranks = b.ranks;
    unsigned held = fuzz_hold();
    pt_bundle_encode(&b, PT_L_BUNDLE, &out);
    fuzz_release(held);
    arrive(&out, NULL);
}

static void say_limits(uint8_t how)
{
    struct pt_limits limits = {.runners = how & 7, .mpi_grace_ms = 100, .fresh = (how >> 3) % 3};
    struct pt_buf out = {0};
    unsigned held = fuzz_hold();
    limits.runners = limits.runners == 7 ? PT_NONE : limits.runners;
    pt_limits_encode(&limits, &out);
    fuzz_release(held);
    arrive(&out, NULL);
}

static void say_steal(uint8_t bundle, uint8_t how)
{
    uint32_t tests[4];
    struct pt_steal steal = {.bundle = bundle, .tests = tests};
    struct pt_buf out = {0};
    for (uint32_t i = 0; i < 4; i++)
        if (how >> i & 1)
            tests[steal.n++] = 4 * bundle + i;
    unsigned held = fuzz_hold();
    pt_steal_encode(&steal, PT_L_STEAL, &out);
    fuzz_release(held);
    arrive(&out, NULL);
}

static void say_sizes(uint8_t how)
{
    struct pt_size list[3] = {{how & 7, 1}, {how >> 3 & 3, how >> 7}, {how >> 5, 1}};
    struct pt_buf out = {0};
    unsigned held = fuzz_hold();
    pt_sizes_encode(&(struct pt_sizes){.n = how % 4, .sizes = list}, &out);
    fuzz_release(held);
    arrive(&out, NULL);
}

static void say_ack(uint8_t how)
{
    struct pt_buf out = {0};
    uint64_t seq = how == 255 ? 1000 : lab.acked + how % (lab.seq - lab.acked + 1);
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&out, PT_L_ACK);
    pt_put_u64(&out, seq);
    pt_frame_end(&out, mark);
    fuzz_release(held);
    lab.acked = seq <= lab.seq && lab.link.welcomed && !lab.over ? seq : lab.acked;
    arrive(&out, NULL);
}

static void link_happens(uint8_t how)
{
    struct pt_uplink *link = &lab.link;
    if (!link->there || link->closed)
        return;
    if (!link->welcomed) {
        link->welcomed = true;
        link->cb->welcome(link->arg, how == 255 ? 1000 : lab.acked);
    } else if (how & 1) {
        link->welcomed = false;
        link->closed = true;
        lab.final = how & 64;
        link->cb->closed(link->arg, how & 128 ? NULL : "cut");
    } else {
        lab.queued = how & 2 ? 2u << 20 : how & 4 ? 512u << 10 : 0;
        link->cb->sent(link->arg);
    }
}

static void master_says(struct fuzz_parts *in)
{
    uint8_t what = fuzz_byte(in), how = fuzz_byte(in);
    if (what % 16 < 5) {
        say_bundle(how, fuzz_byte(in));
        return;
    }
    switch (what % 16) {
    case 5:
        SAY(NULL, PT_L_SESSION, 0);
        break;
    case 6:
        say_limits(how);
        break;
    case 7:
        if (how < 16)
            SAY(NULL, PT_L_QUIT, how);
        else if (how < 24)
            arrive_numbers(NULL, PT_L_CANCEL, 0, NULL);
        break;
    case 8:
        SAY(NULL, PT_L_RECALL, how);
        break;
    case 9:
        say_steal(how, fuzz_byte(in));
        break;
    case 10:
        SAY(NULL, PT_L_DROP, how);
        break;
    case 11:
        say_sizes(how);
        break;
    case 12:
    case 13:
        say_ack(how);
        break;
    case 14:
        link_happens(how);
        break;
    default:
        arrive_raw(NULL, in);
    }
}

/* --- ranks and members --- */

/* A connection that has not said who it is: at the last place that is free. */
static struct pt_conn *connect_one(void)
{
    bool before[CONNS];
    for (uint32_t i = 0; i < CONNS; i++)
        before[i] = lab.conns[i].there;
    if (lab.listen)
        lab.listen(lab.listen_arg, 0, POLLIN);
    for (uint32_t i = 0; i < CONNS; i++)
        if (lab.conns[i].there && !before[i])
            return &lab.conns[i];
    return NULL;
}

static void join_rank(uint8_t rank)
{
    struct pt_conn *conn =
        rank == 0 && lab.conns[0].there && !lab.conns[0].joined ? &lab.conns[0] : connect_one();
    if (!conn)
        return;
    conn->rank = rank;
    conn->joined = true;
    SAY(conn, PT_L_JOIN, rank);
}

static void join_member(uint32_t group, uint32_t rank, uint32_t size)
{
    struct pt_conn *conn = connect_one();
    if (!conn)
        return;
    conn->member = conn->joined = true;
    conn->rank = rank;
    conn->group = group;
    conn->size = size;
    SAY(conn, PT_RANK_MEMBER, group, rank, size);
}

/* All of it: they join, and are ready. */
static void join_group(uint32_t at, bool ready)
{
    for (uint32_t i = 0; i < lab.sizes[at]; i++)
        join_member(lab.groups[at], i, lab.sizes[at]);
    for (uint32_t i = 0; ready && i < CONNS; i++)
        if (lab.conns[i].there && lab.conns[i].member && lab.conns[i].group == lab.groups[at])
            SAY(&lab.conns[i], PT_RANK_READY, lab.conns[i].rank);
}

static void say_death(struct pt_conn *conn, uint32_t test, uint8_t how)
{
    static char none[] = "", out[] = "out";
    struct pt_death d = {.rank = conn->rank,
                         .bundle = conn->bundle,
                         .attempt = 1,
                         .test = how & 128 ? PT_NONE : test,
                         .file = how & 64 ? 0 : PT_NONE,
                         .path = none,
                         .phase = how >> 3 & 7,
                         .cause = 1 + (how & 7) % 6,
                         .status = 9,
                         .stack = none,
                         .output = out};
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    pt_death_encode(&d, 0, &b);
    fuzz_release(held);
    arrive(&b, conn);
}

static void say_stolen(struct pt_conn *conn, uint8_t how)
{
    uint32_t tests[2] = {4 * conn->bundle + 2, 4 * conn->bundle + 3};
    struct pt_steal given = {.bundle = conn->bundle, .tests = tests, .n = how % 3};
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    pt_tell_stolen(&b, conn->rank, 1, &given);
    fuzz_release(held);
    arrive(&b, conn);
}

static void say_done(struct pt_conn *conn)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    pt_tell_done(&b, conn->rank, conn->bundle, 1);
    fuzz_release(held);
    conn->bundle = PT_NONE;
    arrive(&b, conn);
}

static void say_report(struct pt_conn *conn, uint32_t test)
{
    struct pt_bundle bundle = {.bundle = conn->bundle, .attempt = 1};
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    pt_tell_report(&b, conn->rank, &bundle, test, 1, "{}", 2);
    fuzz_release(held);
    arrive(&b, conn);
}

/* As it should: reports what it has, is done, is ready. */
static void go_on(struct pt_conn *conn)
{
    if (conn->bundle == PT_NONE)
        SAY(conn, PT_RANK_READY, conn->rank);
    else if (conn->told < 4)
        say_report(conn, 4 * conn->bundle + conn->told++);
    else
        say_done(conn);
}

static void say_text(struct pt_conn *conn, uint8_t type, uint32_t test)
{
    struct pt_bundle bundle = {.bundle = conn->bundle, .attempt = 1};
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    if (type == PT_L_OUTPUT)
        pt_tell_output(&b, conn->rank, conn->bundle, test, "x", 1);
    else if (type == PT_L_NOTE)
        pt_tell_note(&b, conn->rank, &bundle, "{}", 2);
    else if (type == PT_L_BROKEN)
        pt_tell_broken(&b, conn->rank, "no pytest", 9);
    else if (type == PT_L_BYE)
        pt_tell_bye(&b, conn->rank);
    else
        pt_tell_started(&b, conn->rank, &bundle, test);
    fuzz_release(held);
    if (type == PT_L_BYE || type == PT_L_BROKEN)
        conn->bundle = PT_NONE;
    arrive(&b, conn);
}

static void say_failed(struct pt_conn *conn, uint32_t test, uint8_t how)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&b, PT_RANK_FAILED);
    pt_put_u32(&b, conn->rank);
    pt_put_u32(&b, test);
    pt_put_u8(&b, how >> 4);
    pt_frame_end(&b, mark);
    fuzz_release(held);
    arrive(&b, conn);
}

/* how: which test; other numbers than it should. */
static void conn_says(struct pt_conn *conn, struct fuzz_parts *in)
{
    static const uint8_t texts[] = {PT_L_STARTED, PT_L_OUTPUT, PT_L_NOTE, PT_L_BROKEN, PT_L_BYE};
    uint8_t what = fuzz_byte(in), how = fuzz_byte(in);
    uint32_t test = 4 * conn->bundle + (how & 3);
    if (!conn->joined)
        what = 15;
    switch (what % 16) {
    case 0:
    case 1:
        say_death(conn, test, how);
        break;
    case 2:
        say_stolen(conn, how);
        break;
    case 3:
        SAY(conn, PT_RANK_READY, conn->rank);
        break;
    case 4:
        say_report(conn, test);
        break;
    case 5:
    case 6:
    case 7:
    case 8:
    case 9:
        say_text(conn, texts[what % 16 - 5], test);
        break;
    case 10:
        say_failed(conn, test, how);
        break;
    case 11:
        say_done(conn);
        break;
    case 12:
        conn->cb->closed(conn->arg, "gone");
        break;
    default:
        arrive_raw(conn, in);
    }
}

static void say_ended(struct pt_conn *agent, uint8_t which, uint8_t how)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&b, PT_G_ENDED);
    pt_put_u32(&b, which < lab.ngroups ? lab.groups[lab.ngroups - 1 - which] : which);
    pt_put_u32(&b, how & 1 ? 127 << 8 : how);
    pt_put_str(&b, "bye");
    pt_frame_end(&b, mark);
    fuzz_release(held);
    arrive(&b, agent);
}

static void agent_happens(uint8_t which, struct fuzz_parts *in)
{
    struct pt_conn *agent = NULL;
    for (uint32_t i = 0; i < CONNS; i++)
        if (lab.conns[i].there && lab.conns[i].agent)
            agent = &lab.conns[i];
    if (!agent)
        return;
    uint8_t how = fuzz_byte(in);
    if (how < 250)
        say_ended(agent, which, how);
    else if (how == 250)
        agent->cb->closed(agent->arg, "gone");
    else
        arrive_raw(agent, in);
}

/* --- all of it --- */

static struct pt_conn *conn_at(uint8_t which)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < CONNS; i++)
        n += lab.conns[i].there && !lab.conns[i].agent;
    if (!n)
        return NULL;
    n = which % n;
    for (uint32_t i = 0;; i++)
        if (lab.conns[i].there && !lab.conns[i].agent && n-- == 0)
            return &lab.conns[i];
}

static void step(struct fuzz_parts *in)
{
    uint8_t what = fuzz_byte(in), which = what >> 4;
    struct pt_conn *conn = conn_at(which);
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        master_says(in);
        break;
    case 4:
        join_rank(which);
        break;
    case 5:
        if (lab.ngroups)
            join_group(lab.ngroups - 1 - which / 2 % lab.ngroups, which & 1);
        break;
    case 6:
        if (lab.ngroups)
            join_member(lab.groups[lab.ngroups - 1], which, lab.sizes[lab.ngroups - 1]);
        break;
    case 7:
    case 8:
    case 9:
        if (conn && conn->joined)
            go_on(conn);
        break;
    case 10:
    case 11:
    case 12:
        if (conn)
            conn_says(conn, in);
        break;
    case 13:
        agent_happens(which, in);
        break;
    case 14:
        pass_time();
        break;
    default: /* a whole round */
        for (uint32_t i = 0; i < CONNS; i++)
            if (lab.conns[i].there && lab.conns[i].joined && !lab.conns[i].agent)
                go_on(&lab.conns[i]);
        if (which & 1)
            lab.room = which >> 1;
        if (lab.sharing.callbacks && which & 2)
            lab.sharing.callbacks->may_have(lab.sharing.arg);
        else if (lab.sharing.callbacks && which & 4)
            lab.sharing.callbacks->waits(lab.sharing.arg, "r2", "you", 1, 2);
    }
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    uint8_t how = fuzz_byte(&in);
    memset(&lab, 0, sizeof(lab));
    lab.now = 1000;
    lab.slots = 1 + (how & 3);
    lab.room = lab.slots;
    lab.linger_ms = how & 4 ? 1000 : 0;
    lab.agent = !(how & 8);
    struct pt_hub_config config = {
        .run_dir = fuzz_folder(), .host = 1, .launch = 1, .slots = lab.slots, .run = "r1", .who = "me"};
    config.share = how & 16 ? "share" : NULL;
    lab.hub = pt_hub_create(NULL, &config, any_fd(), on_over, NULL, &err);
    FUZZ_CHECK(lab.hub || err.msg[0]);
    if (lab.hub && how & 32)
        link_happens(0);
    if (lab.hub && how & 64)
        SAY(NULL, PT_L_SESSION, 0);
    for (int i = 0; lab.hub && i < STEPS && in.left > 0 && !lab.over; i++)
        step(&in);
    pt_hub_destroy(lab.hub);
    for (uint32_t i = 0; i < CONNS; i++)
        FUZZ_CHECK(!lab.conns[i].there);
    for (uint32_t i = 0; i < TIMERS; i++)
        FUZZ_CHECK(!lab.timers[i].fn);
}
