/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The real worker under the real mpirun, with the real fork server, and a master made of what the test says.
 */
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "common/message_group.h"
#include "common/tls.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define RUN         "run-1"
#define PATIENCE_MS 60000

struct event {
    uint8_t type;
    uint64_t seq;
    uint32_t rank, bundle, attempt, test;
    uint64_t got;          /* HELLO, GOT */
    uint8_t outcome;       /* REPORT; for RECALLED whether it was given back */
    struct pt_death death; /* DEATH */
    char *text;            /* JSON, why BROKEN, OUTPUT as a string */
    uint32_t tests[64], n; /* STOLEN */
    struct pt_ranks ranks; /* RANKS, FALL */
    struct pt_fall fall;
};

struct lab {
    char dir[64], workspace[80];
    pid_t server, mpirun;
    int listener, fd;
    struct pt_tls_ca *ca;
    struct pt_tls *tls;
    struct pt_buf plain;
    struct event events[4096];
    size_t nevents;
    uint64_t last_seq;
    uint32_t slots, linger_ms;
    const char *session; /* what SESSION has besides: ,"key":value */
    bool uncaptured;     /* SESSION has -s */
    size_t nlinks;       /* that were welcomed */
    bool hold_acks, closed, cut;
};

static inline void write_file(struct lab *lab, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", lab->workspace, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0, "%s", path);
}

/* What a log of the lab says, for messages of failed assertions. */
static inline const char *read_log(struct lab *lab, const char *name)
{
    static char text[8192];
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", lab->dir, name);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    return text;
}

/* A child that does not outlive this process, with its output in DIR/NAME.log. */
static inline pid_t spawn(struct lab *lab, const char *name, const char *const argv[])
{
    char log[128];
    snprintf(log, sizeof(log), "%s/%s.log", lab->dir, name);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(fd, 1);
    dup2(fd, 2);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static inline int listen_at(const char *path)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    cr_assert_lt(strlen(path), sizeof(sun.sun_path));
    strcpy(sun.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0 && listen(fd, 8) == 0);
    return fd;
}

static inline const char *need_env(const char *name)
{
    const char *value = getenv(name);
    cr_assert(value, "%s is not set: run this by ctest", name);
    return value;
}

static inline void start_server(struct lab *lab)
{
    static const char code[] = "import sys; sys.path.insert(0, sys.argv[1]); "
                               "from ptremote.forkserver import main; main()";
    char folder[512], socket[96];
    snprintf(folder, sizeof(folder), "%s/remote/python", need_env("PTREMOTE_SOURCE"));
    snprintf(socket, sizeof(socket), "%s/fork.sock", lab->dir);
    unlink(socket);
    setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
    const char *const argv[] = {need_env("PTREMOTE_PYTHON"), "-c", code, folder, socket, NULL};
    lab->server = spawn(lab, "server", argv);
}

/* What a worker expects in its environment. */
static inline void set_environment(const struct lab *lab)
{
    setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    setenv("TMPDIR", lab->dir, 1);
    setenv("PTREMOTE_WORKSPACE", lab->workspace, 1);
    setenv("PTREMOTE_RUN", RUN, 1);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* MPI's own */
}

static inline void start_workers(struct lab *lab)
{
    char worker[512], slots[16];
    snprintf(worker, sizeof(worker), "%s/bin/ptremote-worker", need_env("PTREMOTE_BUILD"));
    snprintf(slots, sizeof(slots), "%u", lab->slots);
    set_environment(lab);
    const char *const argv[] = {"mpirun",
                                "-np",
                                slots,
                                "--oversubscribe",
                                "--bind-to",
                                "none",
                                "--mca",
                                "pml",
                                "ob1",
                                "--mca",
                                "btl_vader_backing_directory",
                                lab->dir,
                                worker,
                                "--run-dir",
                                lab->dir,
                                "--host",
                                "4",
                                "--launch",
                                "2",
                                NULL};
    lab->mpirun = spawn(lab, "mpirun", argv);
}

static inline void make_folders(struct lab *lab, const char *name)
{
    snprintf(lab->dir, sizeof(lab->dir), "%s", name);
    cr_assert(mkdtemp(lab->dir));
    snprintf(lab->workspace, sizeof(lab->workspace), "%s/ws", lab->dir);
    cr_assert_eq(mkdir(lab->workspace, 0700), 0);
}

/* Folder, link socket, workers; the suite is what the test writes before the session. */
static inline struct lab *lab_create(uint32_t slots)
{
    char path[128];
    struct pt_err err = PT_ERR_INIT;
    struct lab *lab = calloc(1, sizeof(*lab));
    cr_assert(lab);
    *lab = (struct lab){.slots = slots, .fd = -1};
    make_folders(lab, "/tmp/pt-worker-XXXXXX");
    snprintf(path, sizeof(path), "%s/link.sock", lab->dir);
    lab->listener = listen_at(path);
    lab->ca = pt_tls_ca_create(RUN, 3600, &err);
    cr_assert(lab->ca, "%s", err.msg);
    start_workers(lab);
    return lab;
}

static inline void lab_accept(struct lab *lab)
{
    struct pollfd p = {.fd = lab->listener, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, PATIENCE_MS), 1, "no worker came: %s", read_log(lab, "mpirun.log"));
    lab->fd = accept4(lab->listener, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(lab->fd, 0);
}

/* As the agent: hand the worker its identity, and say which host and launch it is. */
static inline void lab_send_key(struct lab *lab, const char *role, uint32_t host, const char *address)
{
    struct pt_buf msg = {0};
    struct pt_tls_identity id;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_ca_issue(lab->ca, role, &id, &err), 0, "%s", err.msg);
    size_t mark = pt_frame_begin(&msg, PT_K_LINK);
    pt_put_str(&msg, RUN);
    pt_put_u32(&msg, host);
    pt_put_u32(&msg, 2);
    pt_put_str(&msg, id.cert_pem);
    pt_put_str(&msg, id.key_pem);
    pt_put_str(&msg, id.ca_pem);
    pt_put_str(&msg, address);
    pt_put_u32(&msg, lab->linger_ms);
    pt_frame_end(&msg, mark);
    cr_assert_eq(send(lab->fd, msg.data, msg.len, MSG_NOSIGNAL), (ssize_t)msg.len);
    pt_buf_fini(&msg);
    pt_tls_identity_fini(&id);
}

static inline void lab_use_tls(struct lab *lab, struct pt_tls_ca *ca, const char *role)
{
    struct pt_tls_identity id;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_ca_issue(ca, role, &id, &err), 0, "%s", err.msg);
    lab->tls = pt_tls_create(&id, 1, RUN, "host/4/worker", &err);
    cr_assert(lab->tls, "%s", err.msg);
    pt_tls_identity_fini(&id);
}

static inline void lab_flush(struct lab *lab)
{
    struct pt_buf wire = {0};
    pt_tls_pull(lab->tls, &wire);
    for (size_t done = 0; done < wire.len;) {
        ssize_t n = send(lab->fd, wire.data + done, wire.len - done, MSG_NOSIGNAL);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    pt_buf_fini(&wire);
}

static inline void lab_send(struct lab *lab, struct pt_buf *msg)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_tls_send(lab->tls, msg->data, msg->len, &err), 0, "%s", err.msg);
    pt_buf_fini(msg);
    lab_flush(lab);
}

/* A message of numbers only. */
static inline void lab_say(struct lab *lab, uint8_t type, int nfields, uint32_t field)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, type);
    if (nfields)
        pt_put_u32(&msg, field);
    pt_frame_end(&msg, mark);
    lab_send(lab, &msg);
}

static inline void lab_ack(struct lab *lab, uint64_t seq)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_L_ACK);
    pt_put_u64(&msg, seq);
    pt_frame_end(&msg, mark);
    lab_send(lab, &msg);
}

static inline char *get_text(struct pt_reader *r)
{
    size_t n;
    const char *p = pt_get_bytes(r, &n);
    return p ? strndup(p, n) : strdup("");
}

/* Their words point into a copy that stays. */
static inline void decode_group(struct event *e, const struct pt_reader *r)
{
    struct pt_err err = PT_ERR_INIT;
    unsigned char *copy = malloc(r->left);
    cr_assert(copy);
    memcpy(copy, r->p, r->left);
    struct pt_reader own = {.p = copy, .left = r->left};
    int rc =
        e->type == PT_L_RANKS ? pt_ranks_decode(&own, &e->ranks, &err) : pt_fall_decode(&own, &e->fall, &err);
    cr_assert_eq(rc, 0, "%s", err.msg);
    e->text = (char *)copy;
    e->bundle = e->type == PT_L_RANKS ? e->ranks.bundle : e->fall.bundle;
    e->test = e->type == PT_L_RANKS ? e->ranks.test : e->fall.test;
}

static inline void decode_event(struct event *e, struct pt_reader *r)
{
    struct pt_err err = PT_ERR_INIT;
    if (e->type == PT_L_HELLO) {
        cr_assert_eq(pt_get_u32(r), PT_PROTOCOL);
        free(pt_get_str(r, 255));
        for (int i = 0; i < 3; i++)
            pt_get_u32(r);
    }
    if (e->type == PT_L_HELLO || e->type == PT_L_GOT) {
        e->got = pt_get_u64(r);
        if (e->type == PT_L_HELLO)
            pt_get_u64(r);
        cr_assert(pt_get_end(r));
        return;
    }
    if (e->type == PT_L_WAITS) {
        struct pt_waits waits;
        cr_assert_eq(pt_waits_decode(r, &waits, &err), 0, "%s", err.msg);
        cr_assert_gt(asprintf(&e->text, "%s of %s: %u of %u", waits.run, waits.who, waits.held, waits.slots),
                     0);
        pt_waits_fini(&waits);
        return;
    }
    e->seq = pt_get_u64(r);
    if (e->type == PT_L_RANKS || e->type == PT_L_FALL) {
        decode_group(e, r);
        return;
    }
    if (e->type == PT_L_DEATH) {
        cr_assert_eq(pt_death_decode(r, &e->death, &err), 0, "%s", err.msg);
        e->rank = e->death.rank;
        e->bundle = e->death.bundle;
        e->test = e->death.test;
        return;
    }
    if (e->type == PT_L_RECALLED) {
        e->bundle = pt_get_u32(r);
        e->outcome = pt_get_u8(r);
    } else {
        e->rank = pt_get_u32(r);
    }
    if (e->type == PT_L_STARTED || e->type == PT_L_REPORT || e->type == PT_L_NOTE || e->type == PT_L_DONE ||
        e->type == PT_L_STOLEN || e->type == PT_L_OUTPUT)
        e->bundle = pt_get_u32(r);
    if (e->type == PT_L_STARTED || e->type == PT_L_REPORT || e->type == PT_L_DONE || e->type == PT_L_STOLEN)
        e->attempt = pt_get_u32(r);
    if (e->type == PT_L_STARTED || e->type == PT_L_REPORT || e->type == PT_L_OUTPUT)
        e->test = pt_get_u32(r);
    if (e->type == PT_L_STOLEN) {
        e->n = pt_get_u32(r);
        cr_assert_leq(e->n, PT_COUNT(e->tests));
        for (uint32_t i = 0; i < e->n; i++)
            e->tests[i] = pt_get_u32(r);
    }
    if (e->type == PT_L_REPORT)
        e->outcome = pt_get_u8(r);
    if (e->type == PT_L_REPORT || e->type == PT_L_NOTE || e->type == PT_L_BROKEN || e->type == PT_L_OUTPUT)
        e->text = get_text(r);
    cr_assert(pt_get_end(r), "message %u is malformed", e->type);
}

/* Keeps what came; numbers must come in order, each once. */
static inline void take_frames(struct lab *lab)
{
    size_t used = 0, total;
    uint8_t type;
    struct pt_reader body;
    while (used < lab->plain.len && pt_frame_next(lab->plain.data + used, lab->plain.len - used, PT_MAX_FRAME,
                                                  &type, &body, &total) == 1) {
        cr_assert_lt(lab->nevents, PT_COUNT(lab->events));
        struct event *e = &lab->events[lab->nevents++];
        *e = (struct event){.type = type};
        decode_event(e, &body);
        used += total;
        if (e->seq == 0)
            continue;
        cr_assert_eq(e->seq, lab->last_seq + 1);
        lab->last_seq = e->seq;
        if (!lab->hold_acks)
            lab_ack(lab, e->seq);
    }
    pt_buf_consume(&lab->plain, used);
}

/* Reads once, waiting at most ms. */
static inline void lab_pump(struct lab *lab, int ms)
{
    static char chunk[65536];
    struct pollfd p = {.fd = lab->fd, .events = POLLIN};
    struct pt_err err = PT_ERR_INIT;
    if (lab->closed || lab->cut || poll(&p, 1, ms) <= 0)
        return;
    ssize_t n = recv(lab->fd, chunk, sizeof(chunk), 0);
    if (n <= 0) {
        lab->cut = true;
        return;
    }
    int rc = pt_tls_feed(lab->tls, chunk, (size_t)n, &lab->plain, &err);
    lab_flush(lab);
    cr_assert_geq(rc, 0, "%s; %s", err.msg, read_log(lab, "mpirun.log"));
    lab->closed = rc == 1;
    take_frames(lab);
}

static inline void lab_pump_until_silent(struct lab *lab)
{
    size_t before;
    do {
        before = lab->nevents;
        for (int i = 0; i < 10; i++)
            lab_pump(lab, 100);
    } while (lab->nevents > before);
}

static inline size_t lab_count(const struct lab *lab, uint8_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < lab->nevents; i++)
        n += lab->events[i].type == type;
    return n;
}

/* The n-th (from 0) message of that type, waited for. */
static inline struct event *lab_wait(struct lab *lab, uint8_t type, size_t n)
{
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    while (lab_count(lab, type) <= n) {
        cr_assert_lt(pt_now_ms(), deadline, "message %u did not come; %s%s", type,
                     read_log(lab, "mpirun.log"), read_log(lab, "server.log"));
        cr_assert_not(lab->cut || lab->closed, "the link ended before message %u: %s", type,
                      read_log(lab, "mpirun.log"));
        lab_pump(lab, 100);
    }
    for (size_t i = 0;; i++)
        if (lab->events[i].type == type && n-- == 0)
            return &lab->events[i];
}

/* What that link's HELLO says was got. */
static inline uint64_t lab_welcome_at(struct lab *lab, uint64_t acked)
{
    struct pt_buf msg = {0};
    uint64_t got = lab_wait(lab, PT_L_HELLO, lab->nlinks++)->got;
    cr_assert_eq(pt_tls_peer_host(lab->tls), 4);
    size_t mark = pt_frame_begin(&msg, PT_L_WELCOME);
    pt_put_u32(&msg, PT_PROTOCOL);
    pt_put_u64(&msg, acked);
    pt_frame_end(&msg, mark);
    lab->last_seq = acked;
    lab_send(lab, &msg);
    return got;
}

static inline void lab_welcome(struct lab *lab)
{
    cr_assert_eq(lab_welcome_at(lab, 0), 0);
}

static inline void lab_session(struct lab *lab)
{
    struct pt_buf msg = {0};
    char json[512];
    snprintf(json, sizeof(json), "{\"args\":[%s],\"root\":\"%s\",\"homes\":[\"%s\"]%s}",
             lab->uncaptured ? "\"-s\"" : "", lab->workspace, lab->workspace,
             lab->session ? lab->session : "");
    size_t mark = pt_frame_begin(&msg, PT_L_SESSION);
    pt_put_str(&msg, json);
    pt_frame_end(&msg, mark);
    lab_send(lab, &msg);
}

/* Everything up to SESSION as it should be; without a fork server yet. */
static inline struct lab *lab_open_alone(uint32_t slots)
{
    struct lab *lab = lab_create(slots);
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, lab->ca, "master");
    lab_welcome(lab);
    return lab;
}

static inline struct lab *lab_open(uint32_t slots)
{
    struct lab *lab = lab_open_alone(slots);
    start_server(lab);
    return lab;
}

/* Adds these tests of the file (a space between two), numbered from `first` on. */
static inline void name_tests(struct pt_bundle_file *file, const char *tests, uint32_t first)
{
    pt_auto_free char *copy = strdup(tests);
    for (char *rest = copy, *name; (name = strsep(&rest, " "));) {
        char *nodeid = NULL;
        cr_assert_geq(asprintf(&nodeid, "%s::%s", file->path, name), 0);
        file->tests[file->ntests] = (struct pt_bundle_test){.test = first + file->ntests, .nodeid = nodeid};
        file->ntests++;
    }
}

static inline void forget_tests(struct pt_bundle_file *file)
{
    for (uint32_t i = 0; i < file->ntests; i++)
        free(file->tests[i].nodeid);
}

/* A bundle for one rank (or PT_NONE) of one file with these tests (a space between two), numbered from
 * `first` on. */
static inline void lab_bundle_for(struct lab *lab, uint32_t rank, uint32_t number, uint32_t timeout_ms,
                                  const char *file, const char *tests, uint32_t first)
{
    struct pt_bundle_test list[256];
    struct pt_bundle_file one = {.path = (char *)(uintptr_t)file, .tests = list};
    struct pt_bundle bundle = {
        .bundle = number, .attempt = 1, .timeout_ms = timeout_ms, .rank = rank, .files = &one, .nfiles = 1};
    struct pt_buf msg = {0};
    name_tests(&one, tests, first);
    pt_bundle_encode(&bundle, PT_L_BUNDLE, &msg);
    lab_send(lab, &msg);
    forget_tests(&one);
}

static inline void lab_bundle(struct lab *lab, uint32_t number, uint32_t timeout_ms, const char *file,
                              const char *tests, uint32_t first)
{
    lab_bundle_for(lab, PT_NONE, number, timeout_ms, file, tests, first);
}

static inline void lab_limits(struct lab *lab, struct pt_limits limits)
{
    struct pt_buf msg = {0};
    pt_limits_encode(&limits, &msg);
    lab_send(lab, &msg);
}

/* Ask for the tests [from, to) of a bundle. */
static inline void lab_steal(struct lab *lab, uint32_t bundle, uint32_t from, uint32_t to)
{
    uint32_t tests[64];
    struct pt_steal steal = {.bundle = bundle, .tests = tests};
    struct pt_buf msg = {0};
    while (from < to)
        tests[steal.n++] = from++;
    pt_steal_encode(&steal, PT_L_STEAL, &msg);
    lab_send(lab, &msg);
}

/* How often a test was told, by REPORT or DEATH. */
static inline size_t lab_told(const struct lab *lab, uint32_t test)
{
    size_t n = 0;
    for (size_t i = 0; i < lab->nevents; i++)
        n += (lab->events[i].type == PT_L_REPORT || lab->events[i].type == PT_L_DEATH) &&
             lab->events[i].test == test;
    return n;
}

/* Each of the first n tests was told once. */
static inline void lab_expect_told(const struct lab *lab, uint32_t n)
{
    for (uint32_t test = 0; test < n; test++)
        cr_assert_eq(lab_told(lab, test), 1, "test %u: %zu times", test, lab_told(lab, test));
}

static inline int wait_child(pid_t pid, int64_t ms)
{
    int status = -1;
    for (int64_t deadline = pt_now_ms() + ms; pt_now_ms() < deadline; poll(NULL, 0, 20))
        if (waitpid(pid, &status, WNOHANG) == pid)
            return status;
    return -1;
}

/* mpirun's wait status, once it has ended. */
static inline int lab_join(struct lab *lab)
{
    int status = wait_child(lab->mpirun, PATIENCE_MS);
    cr_assert_neq(status, -1, "mpirun did not end: %s", read_log(lab, "mpirun.log"));
    lab->mpirun = 0;
    return status;
}

static inline void end_server(struct lab *lab, int sig)
{
    if (lab->server) {
        kill(lab->server, sig);
        cr_expect_neq(wait_child(lab->server, PATIENCE_MS), -1);
    }
    lab->server = 0;
}

/* Frees all; ends what is left. */
static inline void lab_destroy(struct lab *lab)
{
    char command[128];
    if (lab->mpirun) {
        kill(lab->mpirun, SIGTERM);
        wait_child(lab->mpirun, PATIENCE_MS);
    }
    end_server(lab, SIGTERM);
    for (size_t i = 0; i < lab->nevents; i++) {
        free(lab->events[i].text);
        pt_death_fini(&lab->events[i].death);
        pt_ranks_fini(&lab->events[i].ranks);
        pt_fall_fini(&lab->events[i].fall);
    }
    if (lab->fd >= 0)
        close(lab->fd);
    close(lab->listener);
    pt_tls_destroy(lab->tls);
    pt_tls_ca_destroy(lab->ca);
    pt_buf_fini(&lab->plain);
    snprintf(command, sizeof(command), "rm -rf '%s'", lab->dir);
    cr_expect_eq(system(command), 0);
    free(lab);
}

/* The good end: QUIT, a BYE of every rank and one of all, the link closed, exit 0. */
static inline void lab_quit(struct lab *lab)
{
    lab_say(lab, PT_L_QUIT, 1, 10000);
    struct event *last = lab_wait(lab, PT_L_BYE, lab->slots);
    cr_assert_eq(last->rank, PT_NONE);
    while (!lab->closed && !lab->cut)
        lab_pump(lab, 100);
    cr_assert(lab->closed, "the link was closed, not cut");
    cr_assert_eq(lab_join(lab), 0, "%s", read_log(lab, "mpirun.log"));
}
