/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The lab's other roles: the agent at group.sock, and members of groups that say what the test wants. The hub
 * is the real one. */
#include "worker_lab.h"

#include "remote/worker/rank.h"
#include "remote/worker/tell.h"

#define RANKS_MAX 8

struct side { /* a frame socket, read in order */
    int fd;
    struct pt_buf in;
    struct pt_reader body; /* of the last frame */
    uint8_t type;
};

struct group {
    uint32_t id, ranks, index;
    bool spread; /* over several hosts */
    struct side members[RANKS_MAX];
};

static inline void side_close(struct side *side)
{
    if (side->fd >= 0)
        close(side->fd);
    pt_buf_fini(&side->in);
    *side = (struct side){.fd = -1};
}

static inline void side_send(struct side *side, struct pt_buf *msg)
{
    cr_assert_eq(send(side->fd, msg->data, msg->len, MSG_NOSIGNAL), (ssize_t)msg->len);
    pt_buf_fini(msg);
}

static inline void side_say(struct side *side, uint8_t type, int n, const uint32_t *numbers)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, type);
    for (int i = 0; i < n; i++)
        pt_put_u32(&msg, numbers[i]);
    pt_frame_end(&msg, mark);
    side_send(side, &msg);
}
#define SAY(side, type, ...)                                                                                 \
    side_say(side, type, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), (uint32_t[]){__VA_ARGS__})

/* The next frame; false at the end of the connection. The one before is gone. */
static inline bool side_read(struct side *side, struct lab *lab)
{
    size_t total = 0;
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    if (side->type) {
        pt_frame_next(side->in.data, side->in.len, PT_MAX_FRAME, &side->type, &side->body, &total);
        pt_buf_consume(&side->in, total);
        side->type = 0;
    }
    while (pt_frame_next(side->in.data, side->in.len, PT_MAX_FRAME, &side->type, &side->body, &total) != 1) {
        struct pollfd p = {.fd = side->fd, .events = POLLIN};
        cr_assert_lt(pt_now_ms(), deadline, "no frame came: %s", read_log(lab, "mpirun.log"));
        lab_pump(lab, 0);
        if (poll(&p, 1, 20) != 1)
            continue;
        ssize_t n = recv(side->fd, pt_buf_reserve(&side->in, 65536), 65536, 0);
        side->type = 0;
        if (n <= 0)
            return false;
        side->in.len += (size_t)n;
    }
    return true;
}

/* The next frame is of that type; its fields. */
static inline struct pt_reader *side_want(struct side *side, struct lab *lab, uint8_t type)
{
    cr_assert(side_read(side, lab), "the hub closed it; wanted %u: %s", type, read_log(lab, "mpirun.log"));
    cr_assert_eq(side->type, type, "frame %u, wanted %u: %s", side->type, type, read_log(lab, "mpirun.log"));
    return &side->body;
}

static inline bool side_is_silent(struct side *side, int ms)
{
    struct pollfd p = {.fd = side->fd, .events = POLLIN};
    size_t held = 0;
    uint8_t type;
    struct pt_reader body;
    if (side->type)
        pt_frame_next(side->in.data, side->in.len, PT_MAX_FRAME, &type, &body, &held);
    return side->in.len == held && poll(&p, 1, ms) == 0;
}

/* --- the agent --- */

struct agent {
    struct lab *lab;
    int listener;
    struct side side;
};

/* Before the hub needs it. */
static inline struct agent agent_open(struct lab *lab)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/group.sock", lab->dir);
    return (struct agent){.lab = lab, .listener = listen_at(path), .side = {.fd = -1}};
}

static inline void agent_close(struct agent *agent)
{
    side_close(&agent->side);
    if (agent->listener >= 0)
        close(agent->listener);
    agent->listener = -1;
}

static inline void agent_accept(struct agent *agent)
{
    struct pollfd p = {.fd = agent->listener, .events = POLLIN};
    if (agent->side.fd >= 0)
        return;
    cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "the hub did not come: %s", read_log(agent->lab, "mpirun.log"));
    agent->side.fd = accept4(agent->listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(agent->side.fd, 0);
}

/* START for so many ranks, of these shares; the group's number. */
static inline uint32_t agent_start_spread(struct agent *agent, uint32_t ranks, uint32_t nwanted,
                                          const struct pt_share *wanted)
{
    uint32_t nspread;
    agent_accept(agent);
    struct pt_reader *r = side_want(&agent->side, agent->lab, PT_G_START);
    uint32_t id = pt_get_u32(r), n = pt_get_u32(r);
    uint8_t yield = pt_get_u8(r);
    pt_auto_free struct pt_share *spread = pt_get_spread(r, ranks, &nspread);
    cr_assert(pt_get_end(r) && id && yield <= 1 && (yield == 1 || !nwanted));
    cr_assert_eq(n, ranks, "START of %u ranks, wanted %u", n, ranks);
    cr_assert(nspread == nwanted && (!nspread || memcmp(spread, wanted, nspread * sizeof(*spread)) == 0));
    return id;
}

static inline uint32_t agent_start(struct agent *agent, uint32_t ranks)
{
    return agent_start_spread(agent, ranks, 0, NULL);
}

static inline void agent_end(struct agent *agent, uint32_t id)
{
    struct pt_reader *r = side_want(&agent->side, agent->lab, PT_G_END);
    cr_assert_eq(pt_get_u32(r), id);
    cr_assert(pt_get_end(r));
}

static inline void agent_ended(struct agent *agent, uint32_t id, uint32_t status, const char *output)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_G_ENDED);
    pt_put_u32(&msg, id);
    pt_put_u32(&msg, status);
    pt_put_str(&msg, output);
    pt_frame_end(&msg, mark);
    side_send(&agent->side, &msg);
}

/* END comes, and is obeyed. */
static inline void agent_obey_end(struct agent *agent, uint32_t id)
{
    agent_end(agent, id);
    agent_ended(agent, id, 0, "");
}

/* --- members --- */

static inline struct side side_connect(struct lab *lab)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%.80s/" PT_RANK_SOCKET, lab->dir);
    struct side side = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    cr_assert_geq(side.fd, 0);
    cr_assert_eq(connect(side.fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return side;
}

/* Joins, and hears all that a member hears first. */
static inline void member_join(struct lab *lab, struct group *group, uint32_t rank)
{
    struct side *side = &group->members[rank];
    *side = side_connect(lab);
    SAY(side, PT_RANK_MEMBER, group->id, rank, group->ranks);
    struct pt_reader *r = side_want(side, lab, PT_RANK_WELCOME);
    group->index = pt_get_u32(r);
    uint32_t first = group->spread ? PT_RANK_SPREAD + (4 * PT_GROUPS_MAX + group->index) * PT_RANKS_MAX
                                   : lab->slots * (1 + group->index);
    cr_assert_eq(pt_get_u32(r), first + rank);
    cr_assert_eq(pt_get_u32(r), group->spread);
    cr_assert(pt_get_end(r));
    side_want(side, lab, PT_L_LIMITS);
    side_want(side, lab, PT_L_SESSION);
}

static inline struct group group_join(struct lab *lab, uint32_t id, uint32_t ranks)
{
    struct group group = {.id = id, .ranks = ranks};
    for (uint32_t i = ranks; i-- > 0;)
        member_join(lab, &group, i);
    return group;
}

static inline void group_ready(struct group *group)
{
    for (uint32_t i = 0; i < group->ranks; i++)
        SAY(&group->members[i], PT_RANK_READY, i);
}

/* START, joined, ready. */
static inline struct group group_up(struct agent *agent, uint32_t ranks)
{
    struct group group = group_join(agent->lab, agent_start(agent, ranks), ranks);
    group_ready(&group);
    return group;
}

/* The hub has heard all that its members said. */
static inline void group_heard(struct lab *lab, struct group *group)
{
    for (uint32_t i = 0; i < group->ranks; i++) {
        struct pt_buf msg = {0};
        size_t before = lab_count(lab, PT_L_OUTPUT);
        pt_tell_output(&msg, i, PT_NONE, PT_NONE, "x", 1);
        side_send(&group->members[i], &msg);
        lab_wait(lab, PT_L_OUTPUT, before);
    }
}

static inline void group_close(struct group *group)
{
    for (uint32_t i = 0; i < group->ranks; i++)
        side_close(&group->members[i]);
}

/* A BUNDLE, the same for all: its number; the numbers of its tests, in order. BIND comes before it or not. */
static inline uint32_t group_bundle(struct lab *lab, struct group *group, uint32_t *tests, uint32_t *n)
{
    uint32_t number = PT_NONE;
    for (uint32_t i = 0; i < group->ranks; i++) {
        struct side *side = &group->members[i];
        struct pt_bundle bundle;
        cr_assert(side_read(side, lab), "the hub closed it: %s", read_log(lab, "mpirun.log"));
        if (side->type == PT_RANK_BIND)
            side_read(side, lab);
        cr_assert_eq(side->type, PT_L_BUNDLE, "frame %u", side->type);
        cr_assert_eq(pt_bundle_decode(&side->body, &bundle, NULL), 0);
        cr_assert(bundle.ranks == group->ranks && (i == 0 || bundle.bundle == number));
        number = bundle.bundle;
        *n = 0;
        for (uint32_t f = 0; f < bundle.nfiles; f++)
            for (uint32_t k = 0; k < bundle.files[f].ntests; k++)
                tests[(*n)++] = bundle.files[f].tests[k].test;
        pt_bundle_fini(&bundle);
    }
    return number;
}

static inline void member_report(struct group *group, uint32_t rank, uint32_t bundle, uint32_t test)
{
    struct pt_buf msg = {0};
    char json[32];
    int n = snprintf(json, sizeof(json), "{\"rank\":%u}", rank);
    pt_tell_report(&msg, rank, &(struct pt_bundle){.bundle = bundle, .attempt = 1}, test, PT_OUTCOME_PASSED,
                   json, (size_t)n);
    side_send(&group->members[rank], &msg);
}

static inline void member_started(struct group *group, uint32_t rank, uint32_t bundle, uint32_t test)
{
    struct pt_buf msg = {0};
    pt_tell_started(&msg, rank, &(struct pt_bundle){.bundle = bundle, .attempt = 1}, test);
    side_send(&group->members[rank], &msg);
}

static inline void member_dies(struct group *group, uint32_t rank, uint32_t bundle, uint32_t test,
                               uint8_t cause)
{
    static char none[] = "", stack[] = "its stack";
    struct pt_buf msg = {0};
    struct pt_death death = {.rank = rank,
                             .bundle = bundle,
                             .attempt = 1,
                             .test = test,
                             .file = PT_NONE,
                             .path = none,
                             .phase = test == PT_NONE ? PT_PHASE_SESSION : PT_PHASE_CALL,
                             .cause = cause,
                             .status = SIGKILL,
                             .stack = stack,
                             .output = none};
    pt_death_encode(&death, 0, &msg);
    side_send(&group->members[rank], &msg);
}

static inline void group_report(struct group *group, uint32_t bundle, uint32_t test)
{
    for (uint32_t i = 0; i < group->ranks; i++)
        member_report(group, i, bundle, test);
}

static inline void group_done(struct group *group, uint32_t bundle)
{
    for (uint32_t i = 0; i < group->ranks; i++) {
        struct pt_buf msg = {0};
        pt_tell_done(&msg, i, bundle, 1);
        side_send(&group->members[i], &msg);
    }
    group_ready(group);
}

/* Gets its bundle and runs all of it. */
static inline void group_run(struct lab *lab, struct group *group, uint32_t bundle)
{
    uint32_t tests[64], n;
    cr_assert_eq(group_bundle(lab, group, tests, &n), bundle);
    for (uint32_t i = 0; i < n; i++)
        group_report(group, bundle, tests[i]);
    group_done(group, bundle);
}

/* QUIT comes to all, and all say BYE. */
static inline void group_leave(struct lab *lab, struct group *group)
{
    for (uint32_t i = 0; i < group->ranks; i++) {
        struct pt_buf msg = {0};
        side_want(&group->members[i], lab, PT_L_QUIT);
        pt_tell_bye(&msg, i);
        side_send(&group->members[i], &msg);
    }
    for (uint32_t i = 0; i < group->ranks; i++)
        cr_assert_not(side_read(&group->members[i], lab), "nothing comes after BYE");
    group_close(group);
}

/* FALL comes to one. */
static inline void member_falls(struct lab *lab, struct group *group, uint32_t rank)
{
    struct pt_reader *r = side_want(&group->members[rank], lab, PT_RANK_FALL);
    cr_assert(pt_get_end(r));
}

/* --- the master --- */

/* Everything up to SESSION; the host's own ranks have nothing to do. */
static inline struct lab *hub_open(uint32_t slots, struct pt_limits limits)
{
    struct lab *lab = lab_open_alone(slots);
    limits.runners = 0;
    lab_limits(lab, limits);
    lab_session(lab);
    return lab;
}

static inline void hub_bundle(struct lab *lab, uint32_t number, uint32_t ranks, uint32_t flags,
                              uint32_t first, uint32_t n)
{
    static char path[] = "test_m.py", nodeid[] = "test_m.py::test_x";
    struct pt_bundle_test tests[64];
    struct pt_bundle_file file = {.path = path, .tests = tests, .ntests = n};
    struct pt_bundle bundle = {.bundle = number,
                               .attempt = 1,
                               .rank = PT_NONE,
                               .ranks = ranks,
                               .flags = flags,
                               .files = &file,
                               .nfiles = 1};
    struct pt_buf msg = {0};
    for (uint32_t i = 0; i < n; i++)
        tests[i] = (struct pt_bundle_test){.test = first + i, .occurrence = i, .nodeid = nodeid};
    pt_bundle_encode(&bundle, PT_L_BUNDLE, &msg);
    lab_send(lab, &msg);
}

static inline void hub_sizes(struct lab *lab, uint32_t n, const uint32_t *ranks)
{
    struct pt_size list[16];
    struct pt_buf msg = {0};
    for (uint32_t i = 0; i < n; i++)
        list[i] = (struct pt_size){.ranks = ranks[i], .tests = 10};
    pt_sizes_encode(&(struct pt_sizes){.n = n, .sizes = list}, &msg);
    lab_send(lab, &msg);
}

static inline struct event *hub_fall(struct lab *lab, size_t n, uint32_t test, uint8_t cause,
                                     uint32_t culprit)
{
    struct event *e = lab_wait(lab, PT_L_FALL, n);
    cr_assert(e->test == test && e->fall.cause == cause && e->fall.culprit == culprit,
              "test %u, cause %u, culprit %u", e->test, e->fall.cause, e->fall.culprit);
    return e;
}

/* Said last to the hub, where no group has a session: all end well. */
static inline void hub_quit(struct lab *lab, struct agent *agent)
{
    lab_quit(lab);
    agent_close(agent);
    lab_destroy(lab);
}
