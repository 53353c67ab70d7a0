/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Members of a group under the real mpirun, with the real fork server, and a hub made of what the test says.
 */
#include "worker_lab.h"

#include "common/message_across.h"
#include "remote/worker/rank.h"

#define GROUP  7 /* as the agent knows it */
#define INDEX  1
#define SLOTS  4
#define NUMBER (SLOTS * (1 + INDEX)) /* of the first member's runner */
#define MATES  4
#define FAR    9 /* the host whose hub the far ones want */

struct mate {
    int fd;
    bool closed;
    struct pt_buf in;
    struct event events[256];
    size_t nevents;
};

struct group {
    struct lab lab;
    uint32_t size;
    bool unwelcome;  /* they get neither WELCOME nor SESSION */
    uint32_t spread; /* as WELCOME says */
    uint32_t far;    /* so many, the last ones, have their hub on another host */
    bool astray;     /* mpirun cannot enter the run's folder */
    bool slow;       /* what tells native frames never ends, and mpirun waits for it */
    struct mate mates[MATES];
};

static inline void spawn_group(struct group *group)
{
    char worker[512], numbers[3][16], slots[16];
    struct lab *lab = &group->lab;
    snprintf(worker, sizeof(worker), "%s/bin/ptremote-worker", need_env("PTREMOTE_BUILD"));
    snprintf(numbers[0], sizeof(numbers[0]), "%u", group->size - group->far);
    snprintf(numbers[2], sizeof(numbers[2]), "%u", group->far);
    snprintf(numbers[1], sizeof(numbers[1]), "%u", GROUP);
    snprintf(slots, sizeof(slots), "%u", SLOTS);
    set_environment(lab);
    setenv("PTREMOTE_SLOTS", slots, 1);
    const char *const wdir = group->astray ? "/" : lab->dir;
    const char *argv[64] = {"mpirun",
                            "-quiet",
                            "--mca",
                            "odls_base_sigkill_timeout",
                            group->slow ? "5" : "3",
                            "--oversubscribe",
                            "--bind-to",
                            "none",
                            "--mca",
                            "pml",
                            "ob1",
                            "--mca",
                            "btl_vader_backing_directory",
                            lab->dir,
                            "--mca",
                            "btl",
                            "self,vader",
                            "--mca",
                            "mpi_yield_when_idle",
                            "1"};
    const char *const one[] = {"-np",    numbers[0], "--wdir",   wdir, worker,    "--run-dir", lab->dir,
                               "--host", "4",        "--launch", "2",  "--group", numbers[1]};
    const char *const other[] = {":",         "-np",      numbers[2], "--wdir", wdir,       worker,
                                 "--run-dir", lab->dir,   "--host",   "4",      "--launch", "2",
                                 "--group",   numbers[1], "--far",    "9"};
    size_t n = 20;
    bool near = group->size > group->far;
    for (size_t i = 0; near && i < PT_COUNT(one); i++)
        argv[n++] = one[i];
    for (size_t i = !near; group->far && i < PT_COUNT(other); i++)
        argv[n++] = other[i];
    lab->mpirun = spawn(lab, "mpirun", argv);
}

static inline void mate_send(struct mate *mate, struct pt_buf *msg)
{
    cr_assert_not(msg->bad);
    for (size_t done = 0; done < msg->len;) {
        ssize_t n = send(mate->fd, msg->data + done, msg->len - done, MSG_NOSIGNAL);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    pt_buf_fini(msg);
}

static inline void decode_mates_event(struct event *e, struct pt_reader *r)
{
    if (e->type == PT_RANK_READY || e->type == PT_RANK_FAILED) {
        e->rank = pt_get_u32(r);
        e->test = e->type == PT_RANK_FAILED ? pt_get_u32(r) : PT_NONE;
        e->outcome = e->type == PT_RANK_FAILED ? pt_get_u8(r) : 0;
        cr_assert(pt_get_end(r));
    } else {
        decode_event(e, r);
        cr_assert_eq(e->seq, 0);
    }
}

static inline void take_mates_frames(struct mate *mate)
{
    size_t used = 0, total;
    uint8_t type;
    struct pt_reader body;
    while (used < mate->in.len && pt_frame_next(mate->in.data + used, mate->in.len - used, PT_MAX_FRAME,
                                                &type, &body, &total) == 1) {
        cr_assert_lt(mate->nevents, PT_COUNT(mate->events));
        struct event *e = &mate->events[mate->nevents++];
        *e = (struct event){.type = type};
        decode_mates_event(e, &body);
        used += total;
    }
    pt_buf_consume(&mate->in, used);
}

/* Reads once of whoever has something, waiting at most ms. */
static inline void group_pump(struct group *group, int ms)
{
    static char chunk[65536];
    struct pollfd p[MATES];
    for (uint32_t i = 0; i < group->size; i++)
        p[i] = (struct pollfd){.fd = group->mates[i].closed ? -1 : group->mates[i].fd, .events = POLLIN};
    if (poll(p, group->size, ms) <= 0)
        return;
    for (uint32_t i = 0; i < group->size; i++) {
        struct mate *mate = &group->mates[i];
        if (!p[i].revents || p[i].fd < 0)
            continue;
        ssize_t n = recv(mate->fd, chunk, sizeof(chunk), 0);
        mate->closed = n <= 0;
        if (n > 0)
            pt_buf_append(&mate->in, chunk, (size_t)n);
        take_mates_frames(mate);
    }
}

static inline size_t mate_count(const struct group *group, uint32_t rank, uint8_t type)
{
    size_t n = 0;
    const struct mate *mate = &group->mates[rank];
    for (size_t i = 0; i < mate->nevents; i++)
        n += mate->events[i].type == type;
    return n;
}

/* The n-th (from 0) message of that type from that member, waited for. */
static inline struct event *mate_wait(struct group *group, uint32_t rank, uint8_t type, size_t n)
{
    struct mate *mate = &group->mates[rank];
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    while (mate_count(group, rank, type) <= n) {
        cr_assert_lt(pt_now_ms(), deadline, "rank %u: message %u did not come; %s%s", rank, type,
                     read_log(&group->lab, "mpirun.log"), read_log(&group->lab, "server.log"));
        cr_assert_not(mate->closed, "rank %u is gone before message %u: %s", rank, type,
                      read_log(&group->lab, "mpirun.log"));
        group_pump(group, 100);
    }
    for (size_t i = 0;; i++)
        if (mate->events[i].type == type && n-- == 0)
            return &mate->events[i];
}

/* To one member, or with PT_NONE to all: up to two u32, then a u8 (none if negative). */
static inline void group_say(struct group *group, uint32_t rank, uint8_t type, int nfields, uint32_t a,
                             uint32_t b, int last)
{
    for (uint32_t i = 0; i < group->size; i++) {
        struct pt_buf msg = {0};
        if (rank != PT_NONE && rank != i)
            continue;
        size_t mark = pt_frame_begin(&msg, type);
        if (nfields > 0)
            pt_put_u32(&msg, a);
        if (nfields > 1)
            pt_put_u32(&msg, b);
        if (last >= 0)
            pt_put_u8(&msg, (uint8_t)last);
        pt_frame_end(&msg, mark);
        mate_send(&group->mates[i], &msg);
    }
}

static inline void group_session(struct group *group)
{
    for (uint32_t i = 0; i < group->size; i++) {
        struct pt_buf msg = {0};
        struct lab *lab = &group->lab;
        char json[512];
        snprintf(json, sizeof(json), "{\"args\":[%s],\"root\":\"%s\",\"homes\":[\"%s\"]}",
                 lab->uncaptured ? "\"-s\"" : "", lab->workspace, lab->workspace);
        pt_limits_encode(&(struct pt_limits){.runners = PT_NONE}, &msg);
        size_t mark = pt_frame_begin(&msg, PT_L_SESSION);
        pt_put_str(&msg, json);
        pt_frame_end(&msg, mark);
        mate_send(&group->mates[i], &msg);
    }
}

static inline void group_welcome(struct group *group)
{
    for (uint32_t i = 0; i < group->size; i++) {
        struct pt_buf msg = {0};
        size_t mark = pt_frame_begin(&msg, PT_RANK_WELCOME);
        pt_put_u32(&msg, INDEX);
        pt_put_u32(&msg, NUMBER + i);
        pt_put_u32(&msg, group->spread);
        pt_frame_end(&msg, mark);
        mate_send(&group->mates[i], &msg);
    }
}

static inline int mate_accept(struct group *group, int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "no member came: %s", read_log(&group->lab, "mpirun.log"));
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(fd, 0);
    return fd;
}

/* What a far one says to the agent comes first. */
static inline void expect_want(int fd)
{
    unsigned char want[256];
    uint8_t type;
    size_t total;
    struct pt_reader r;
    struct pt_relay relay;
    struct pt_buf same = {0};
    pt_relay_encode(&(struct pt_relay){.host = FAR, .address = PT_NONE, .what = PT_RELAY_HUB}, PT_Y_WANT,
                    &same);
    cr_assert_lt(same.len, sizeof(want));
    cr_assert_eq(recv(fd, want, same.len, MSG_WAITALL), (ssize_t)same.len);
    cr_assert(pt_frame_next(want, same.len, 4096, &type, &r, &total) == 1 && type == PT_Y_WANT);
    cr_assert_eq(pt_relay_decode(&r, &relay, NULL), 0);
    cr_assert(relay.host == FAR && relay.what == PT_RELAY_HUB && relay.nwords == 0);
    pt_relay_fini(&relay);
    pt_buf_fini(&same);
}

/* The next frame of a connection says whose it is. */
static inline void group_accept(struct group *group, int listener, bool far)
{
    unsigned char head[PT_FRAME_HEAD + 12];
    uint8_t type;
    size_t total;
    struct pt_reader r;
    int fd = mate_accept(group, listener);
    if (far)
        expect_want(fd);
    cr_assert_eq(recv(fd, head, sizeof(head), MSG_WAITALL), (ssize_t)sizeof(head));
    cr_assert_eq(pt_frame_next(head, sizeof(head), 64, &type, &r, &total), 1);
    cr_assert_eq(type, PT_RANK_MEMBER);
    cr_assert_eq(pt_get_u32(&r), GROUP);
    uint32_t rank = pt_get_u32(&r);
    cr_assert_lt(rank, group->size);
    cr_assert_eq(pt_get_u32(&r), group->size);
    cr_assert_eq(group->mates[rank].fd, -1);
    cr_assert_eq(far, rank >= group->size - group->far);
    group->mates[rank].fd = fd;
}

/* What stands for eu-stack: it is quick on any machine. */
static inline void make_tool(struct lab *lab, bool slow)
{
    char folder[96], path[4096];
    snprintf(folder, sizeof(folder), "%s/bin", lab->dir);
    cr_assert_eq(mkdir(folder, 0700), 0);
    write_file(lab, "../bin/eu-stack",
               slow ? "#!/bin/sh\nexec sleep 1000\n" : "#!/bin/sh\necho '#0 0x1 of a tool'\n");
    snprintf(path, sizeof(path), "%s/eu-stack", folder);
    cr_assert_eq(chmod(path, 0700), 0);
    snprintf(path, sizeof(path), "%s:%s", folder, need_env("PATH"));
    setenv("PATH", path, 1);
}

/* Folder and fork server; then group_start. The suite is what the test writes in between. */
static inline struct group *group_create(uint32_t size)
{
    struct group *group = calloc(1, sizeof(*group));
    cr_assert(group);
    struct lab *lab = &group->lab;
    group->size = size;
    for (uint32_t i = 0; i < size; i++)
        group->mates[i].fd = -1;
    make_folders(lab, "/tmp/pt-member-XXXXXX");
    setenv("PTREMOTE_RUN_DIR", lab->dir, 1);
    start_server(lab);
    return group;
}

static inline void group_start(struct group *group)
{
    char path[128];
    int listeners[2];
    make_tool(&group->lab, group->slow);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", group->lab.dir, i ? PT_RELAY_SOCKET : PT_RANK_SOCKET);
        listeners[i] = listen_at(path);
    }
    spawn_group(group);
    for (uint32_t i = 0; i < group->size; i++)
        group_accept(group, listeners[i >= group->size - group->far], i >= group->size - group->far);
    close(listeners[0]);
    close(listeners[1]);
    if (group->unwelcome)
        return;
    group_welcome(group);
    group_session(group);
}

static inline struct group *group_open(uint32_t size, const char *tests)
{
    struct group *group = group_create(size);
    write_file(&group->lab, "test_g.py", tests);
    group_start(group);
    return group;
}

/* The same bundle for all members: tests of test_g.py, numbered from `first` on. */
static inline void group_bundle(struct group *group, uint32_t number, uint32_t timeout_ms, const char *tests,
                                uint32_t first)
{
    static char file[] = "test_g.py";
    struct pt_bundle_test list[16];
    struct pt_bundle_file one = {.path = file, .tests = list};
    struct pt_bundle bundle = {.bundle = number,
                               .attempt = 1,
                               .timeout_ms = timeout_ms,
                               .rank = PT_NONE,
                               .ranks = group->size,
                               .files = &one,
                               .nfiles = 1};
    name_tests(&one, tests, first);
    for (uint32_t i = 0; i < group->size; i++) {
        struct pt_buf msg = {0};
        pt_bundle_encode(&bundle, PT_L_BUNDLE, &msg);
        mate_send(&group->mates[i], &msg);
    }
    forget_tests(&one);
}

/* The hub goes: the members end, as what their launcher should take for a good end. */
static inline void group_close(struct group *group)
{
    for (uint32_t i = 0; i < group->size; i++) {
        if (group->mates[i].fd >= 0)
            close(group->mates[i].fd);
        for (size_t k = 0; k < group->mates[i].nevents; k++) {
            free(group->mates[i].events[k].text);
            pt_death_fini(&group->mates[i].events[k].death);
        }
        pt_buf_fini(&group->mates[i].in);
    }
    struct lab *lab = &group->lab;
    char command[128];
    if (lab->mpirun)
        lab_join(lab);
    end_server(lab, SIGTERM);
    snprintf(command, sizeof(command), "rm -rf '%s'", lab->dir);
    cr_expect_eq(system(command), 0);
    free(group);
}
