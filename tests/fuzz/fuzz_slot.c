/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank's hub, its runner and the fork server say to it, in any order: a test is told once, nothing
 * comes after BYE, no process is signalled but the runner, and the slot's life goes by its edges. The input:
 * what the rank is; then what happens. A runner that is not read is heard later, as its socket would keep it.
 */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int any_kill(pid_t pid, int sig);
static FILE *any_status(void);
static DIR *any_tasks(void);
static int any_cores(pid_t tid, size_t n, const cpu_set_t *set);
#define kill(pid, sig) any_kill(pid, sig)
#define fopen(...)     any_status()
#include "remote/worker/runner.c"
#undef fopen
#define opendir(path)     any_tasks()
#define sched_setaffinity any_cores
#include "remote/worker/member.c"
#undef opendir
#undef sched_setaffinity
#include "fuzz_loop.h"
#include "remote/worker/memory.h"
#include "remote/worker/slot_inside.h"

#define CONNS   8
#define BUNDLES 32
#define TESTS   20 /* of a bundle */
#define STEPS   300
#define PID     4000000 /* of the runner: no process has that number */

enum who { HUB, CONTROL, FORK };

struct pt_conn {
    bool there, paused, over;
    enum who who;
    const struct pt_conn_callbacks *cb;
    void *arg;
    struct pt_buf in; /* what nobody has read yet */
    int fds;          /* that came along */
};

struct pt_stacks {
    pt_stacks_fn *done;
    void *arg;
};

struct bundle {
    uint32_t ntests, given; /* given: tests that it was given back or told, in order */
    bool told[TESTS], done;
};

static struct {
    struct pt_slot *slot;
    struct pt_conn conns[CONNS];
    struct pt_stacks *stacks;
    struct bundle bundles[BUNDLES];
    uint32_t nbundles;
    size_t queued;
    uint64_t bytes, oom_kills;
    unsigned char place[16];
    bool server, stranger, starved, ignores, refuses, deaf;
    bool over, bye, wild; /* wild: bundles of other numbers came */
} lab;

/* --- the world --- */

static int any_kill(pid_t pid, int sig)
{
    FUZZ_CHECK((pid == PID || pid == -PID) && (sig == SIGABRT || sig == SIGKILL));
    return lab.refuses ? -1 : 0;
}

static FILE *any_status(void)
{
    static char text[] = "Name:\tpython\nSigIgn: 0000000000000020\n";
    return lab.ignores ? fmemopen(text, strlen(text), "r") : NULL;
}

static DIR *any_tasks(void)
{
    char task[300];
    snprintf(task, sizeof(task), "%s/7", fuzz_path("task"));
    (void)!mkdir(fuzz_path("task"), 0700);
    (void)!mkdir(task, 0700);
    return opendir(fuzz_path("task"));
}

static int any_cores(pid_t tid, size_t n, const cpu_set_t *set)
{
    FUZZ_CHECK(tid == 7 && n && set);
    return lab.refuses ? -1 : 0;
}

int pt_local_path(char out[PT_LOCAL_PATH], const char *dir, const char *name, struct pt_err *err)
{
    int n = snprintf(out, PT_LOCAL_PATH, "%s/%s", dir, name);
    return n < PT_LOCAL_PATH ? 0 : pt_err_set(err, "too long");
}

int pt_local_connect(const char *path, int wait_ms, struct pt_err *err)
{
    (void)path, (void)wait_ms;
    return lab.server ? open("/dev/null", O_RDONLY | O_CLOEXEC) : pt_err_set(err, "nobody is there");
}

int pt_local_check_peer(int fd, struct pt_err *err)
{
    (void)fd;
    return lab.stranger ? pt_err_set(err, "another user's") : 0;
}

uint64_t pt_memory_of_tree(pid_t pid, uint64_t above)
{
    (void)pid, (void)above;
    return lab.bytes;
}

uint64_t pt_memory_oom_kills(void)
{
    return lab.oom_kills;
}

struct pt_stacks *pt_stacks_create(struct pt_loop *loop, pid_t pid, int file, bool native, pt_stacks_fn *done,
                                   void *arg)
{
    (void)loop, (void)file, (void)native;
    FUZZ_CHECK(pid == PID && !lab.stacks);
    lab.stacks = calloc(1, sizeof(*lab.stacks));
    if (lab.stacks)
        *lab.stacks = (struct pt_stacks){done, arg};
    return lab.stacks;
}

void pt_stacks_destroy(struct pt_stacks *stacks)
{
    FUZZ_CHECK(stacks == lab.stacks || !stacks);
    if (stacks)
        lab.stacks = NULL;
    free(stacks);
}

bool pt_stacks_deaf(const struct pt_stacks *stacks)
{
    FUZZ_CHECK(stacks == lab.stacks);
    return lab.deaf;
}

off_t pt_stacks_from(const struct pt_stacks *stacks)
{
    FUZZ_CHECK(stacks == lab.stacks);
    return 3;
}

const char *pt_stacks_native(const struct pt_stacks *stacks)
{
    FUZZ_CHECK(stacks == lab.stacks);
    return lab.deaf ? "" : "#0 main";
}

/* An edge that the slot's life does not have. */
static void take_line(void *arg, enum pt_log_level level, const char *line)
{
    (void)arg, (void)level;
    FUZZ_CHECK(!strstr(line, " after ") || !strstr(line, ": a bug"));
}

/* --- what the rank tells its hub --- */

static void on_told(uint32_t bundle, uint32_t test)
{
    if (lab.wild || bundle == PT_NONE || test == PT_NONE)
        return;
    FUZZ_CHECK(bundle < lab.nbundles && test / TESTS == bundle);
    struct bundle *b = &lab.bundles[bundle];
    FUZZ_CHECK(test % TESTS < b->ntests && !b->told[test % TESTS] && !b->done);
    b->told[test % TESTS] = true;
}

static void on_done_told(struct pt_reader *r)
{
    uint32_t bundle = pt_get_u32(r);
    pt_get_u32(r);
    FUZZ_CHECK(pt_get_end(r));
    if (lab.wild)
        return;
    FUZZ_CHECK(bundle < lab.nbundles && !lab.bundles[bundle].done);
    lab.bundles[bundle].done = true;
}

static void on_death_told(struct pt_reader r)
{
    struct pt_death d;
    r.p -= 12; /* seq, rank */
    r.left += 12;
    pt_get_u64(&r);
    FUZZ_CHECK(pt_death_decode(&r, &d, NULL) == 0);
    on_told(d.bundle, d.test);
    for (uint32_t i = 0; !lab.wild && d.file != PT_NONE && i < lab.bundles[d.bundle].ntests; i++)
        if (d.file == i / (TESTS / 2)) /* two files */
            lab.bundles[d.bundle].told[i] = true;
    pt_death_fini(&d);
}

static void on_stolen_told(struct pt_reader *r)
{
    uint32_t bundle = pt_get_u32(r), attempt = pt_get_u32(r), n = pt_get_u32(r);
    (void)attempt;
    for (; n > 0 && !r->bad; n--)
        on_told(bundle, pt_get_u32(r));
    FUZZ_CHECK(pt_get_end(r));
}

static void on_heard(uint8_t type, struct pt_reader r)
{
    FUZZ_CHECK(!lab.bye);
    if (type == PT_L_JOIN || (type >= 64 && type <= PT_RANK_BIND))
        return;
    FUZZ_CHECK(type >= PT_L_STARTED && pt_get_u64(&r) == 0);
    pt_get_u32(&r);
    FUZZ_CHECK(!r.bad);
    uint32_t bundle = PT_NONE, test = PT_NONE;
    switch (type) {
    case PT_L_REPORT:
        bundle = pt_get_u32(&r);
        pt_get_u32(&r);
        test = pt_get_u32(&r);
        on_told(bundle, test);
        break;
    case PT_L_DEATH:
        on_death_told(r);
        break;
    case PT_L_DONE:
        on_done_told(&r);
        break;
    case PT_L_STOLEN:
        on_stolen_told(&r);
        break;
    case PT_L_BYE:
        lab.bye = true;
        break;
    default:
        break;
    }
}

/* --- connections --- */

struct pt_conn *pt_conn_create(struct pt_loop *loop, int fd, size_t max, const struct pt_conn_callbacks *cb,
                               void *arg, struct pt_err *err)
{
    (void)loop, (void)max;
    close(fd);
    for (uint32_t i = 0; i < CONNS; i++)
        if (!lab.conns[i].there) {
            enum who who = cb == &control_callbacks ? CONTROL : cb == &fork_callbacks ? FORK : HUB;
            lab.conns[i] = (struct pt_conn){.there = true, .who = who, .cb = cb, .arg = arg};
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
    pt_buf_fini(&conn->in);
    conn->there = false;
}

void pt_conn_send(struct pt_conn *conn, const void *frames, size_t n)
{
    const unsigned char *p = frames;
    FUZZ_CHECK(conn->there);
    unsigned held = fuzz_hold();
    for (size_t total; n > 0; p += total, n -= total) {
        struct pt_reader r;
        uint8_t type;
        FUZZ_CHECK(pt_frame_next(p, n, PT_MAX_FRAME, &type, &r, &total) == 1);
        if (conn->who == HUB)
            on_heard(type, r);
    }
    fuzz_release(held);
}

int pt_conn_send_fds(struct pt_conn *conn, const void *frames, size_t n, const int *fds, int nfds)
{
    for (int i = 0; i < nfds; i++)
        FUZZ_CHECK(fcntl(fds[i], F_GETFD) >= 0);
    if (lab.refuses)
        return -1;
    pt_conn_send(conn, frames, n);
    return 0;
}

void pt_conn_cork(struct pt_conn *conn, bool cork)
{
    (void)cork;
    FUZZ_CHECK(conn->there);
}

size_t pt_conn_queued(const struct pt_conn *conn)
{
    FUZZ_CHECK(conn->there);
    return lab.queued;
}

void pt_conn_pause(struct pt_conn *conn, bool pause)
{
    FUZZ_CHECK(conn->there);
    conn->paused = pause;
}

int pt_conn_take_fds(struct pt_conn *conn, int *fds, int n)
{
    if (conn->fds < n)
        return -1;
    for (int i = 0; i < n; i++)
        fds[i] = fuzz_fd(lab.place, sizeof(lab.place));
    conn->fds = 0;
    return 0;
}

/* One frame after the other, for as long as somebody is there. */
static void deliver(struct pt_conn *conn)
{
    struct pt_buf in = conn->in;
    size_t used = 0;
    conn->in = (struct pt_buf){0};
    while (conn->there && used < in.len) {
        struct pt_frame frame = {.data = in.data + used};
        FUZZ_CHECK(pt_frame_next(frame.data, in.len - used, PT_MAX_FRAME, &frame.type, &frame.body,
                                 &frame.len) == 1);
        used += frame.len;
        conn->cb->frame(conn->arg, &frame);
    }
    pt_buf_fini(&in);
}

void pt_conn_drain(struct pt_conn *conn, size_t max)
{
    (void)max;
    FUZZ_CHECK(conn->there);
    if (!conn->over)
        deliver(conn);
}

static struct pt_conn *find(enum who who)
{
    for (uint32_t i = 0; i < CONNS; i++)
        if (lab.conns[i].there && lab.conns[i].who == who && !lab.conns[i].over)
            return &lab.conns[i];
    return NULL;
}

/* Takes the frame; it is heard now, unless nobody reads there. */
static void arrive(enum who who, struct pt_buf *b)
{
    struct pt_conn *conn = find(who);
    unsigned held = fuzz_hold();
    if (conn && b->len)
        pt_buf_append(&conn->in, b->data, b->len);
    pt_buf_fini(b);
    fuzz_release(held);
    if (conn && !conn->paused)
        deliver(conn);
}

static void hang_up(enum who who)
{
    struct pt_conn *conn = find(who);
    if (!conn)
        return;
    conn->over = true;
    conn->cb->closed(conn->arg, "closed by the other end");
}

static void arrive_numbers(enum who who, uint8_t type, uint32_t n, const uint32_t *numbers, int last)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&b, type);
    for (uint32_t i = 0; i < n; i++)
        pt_put_u32(&b, numbers[i]);
    if (last >= 0)
        pt_put_u8(&b, (uint8_t)last);
    pt_frame_end(&b, mark);
    fuzz_release(held);
    arrive(who, &b);
}
#define SAY(who, type, ...)                                                                                  \
    arrive_numbers(who, type, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),                          \
                   (uint32_t[]){__VA_ARGS__}, -1)
#define SAY_NOTHING(who, type) arrive_numbers(who, type, 0, NULL, -1)

static void arrive_raw(enum who who, struct fuzz_parts *in)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    uint8_t type = fuzz_byte(in);
    size_t mark = pt_frame_begin(&b, type);
    struct fuzz_parts part = fuzz_part(in);
    pt_buf_append(&b, part.p, part.left);
    pt_frame_end(&b, mark);
    fuzz_release(held);
    lab.wild = lab.wild || (who == HUB && type == PT_L_BUNDLE);
    arrive(who, &b);
}

/* --- what the hub says --- */

static void say_bundle(uint8_t how)
{
    static char paths[2][5] = {"a.py", "b.py"}, id[] = "a.py::t";
    struct pt_bundle_test tests[TESTS];
    struct pt_bundle_file files[2] = {{paths[0], tests, TESTS / 2}, {paths[1], tests + TESTS / 2, TESTS / 2}};
    struct pt_bundle b = {.bundle = lab.nbundles, .attempt = 1, .rank = PT_NONE, .ranks = 1, .files = files};
    struct pt_buf out = {0};
    if (lab.nbundles == BUNDLES)
        return;
    files[how & 1].ntests = 1 + (how >> 1) % (TESTS / 2);
    if (!(how & 1)) /* so that a test's number tells its place */
        files[0].ntests = TESTS / 2;
    b.nfiles = 1 + (how & 1);
    b.timeout_ms = how & 16 ? 500 : 0;
    for (uint32_t i = 0; i < TESTS; i++)
        tests[i] = (struct pt_bundle_test){.test = TESTS * b.bundle + i, .nodeid = id};
    lab.bundles[lab.nbundles++].ntests = b.nfiles == 2 ? TESTS / 2 + files[1].ntests : files[0].ntests;
    unsigned held = fuzz_hold();
    pt_bundle_encode(&b, PT_L_BUNDLE, &out);
    fuzz_release(held);
    arrive(HUB, &out);
}

static void say_limits(uint8_t how)
{
    struct pt_limits limits = {.runners = PT_NONE,
                               .memory = how & 1 ? 1000 : 0,
                               .output_ms = how & 2 ? 50 : 0,
                               .grace_ms = how & 4 ? 300 : 0};
    struct pt_buf out = {0};
    lab.bytes = how & 8 ? 2000 : 10;
    unsigned held = fuzz_hold();
    pt_limits_encode(&limits, &out);
    fuzz_release(held);
    arrive(HUB, &out);
}

static void say_steal(enum who who, uint32_t bundle, uint8_t how)
{
    uint32_t tests[8];
    struct pt_steal steal = {.bundle = bundle, .tests = tests};
    struct pt_buf out = {0};
    for (uint32_t i = 0; i < 8; i++)
        if (how >> i & 1)
            tests[steal.n++] = TESTS * bundle + 2 + i;
    unsigned held = fuzz_hold();
    pt_steal_encode(&steal, who == HUB ? PT_L_STEAL : PT_R_STOLEN, &out);
    fuzz_release(held);
    arrive(who, &out);
}

static void hub_says(struct fuzz_parts *in)
{
    uint8_t what = fuzz_byte(in), how = fuzz_byte(in);
    uint32_t test = lab.nbundles ? TESTS * (lab.nbundles - 1) + how % TESTS : how;
    switch (what % 16) {
    case 0:
    case 1:
        SAY(HUB, PT_L_SESSION, 0);
        break;
    case 2:
    case 3:
    case 4:
        say_bundle(how);
        break;
    case 5:
        say_limits(how);
        break;
    case 6:
        say_steal(HUB, how & 1 ? how : lab.nbundles - 1, fuzz_byte(in));
        break;
    case 7:
        SAY(HUB, PT_L_DROP, how & 1 ? how : lab.nbundles - 1);
        break;
    case 8:
        SAY_NOTHING(HUB, PT_L_CANCEL);
        break;
    case 9:
        SAY(HUB, PT_L_QUIT, how);
        break;
    case 10:
        SAY(HUB, PT_RANK_WELCOME, 1, how, how & 1);
        break;
    case 11:
        SAY(HUB, PT_RANK_BIND, 1, how & 128 ? 1u << 20 : how);
        break;
    case 12:
        arrive_numbers(HUB, PT_RANK_HUNG, 1, &test, how >> 6);
        break;
    case 13:
        SAY_NOTHING(HUB, PT_RANK_FALL);
        break;
    case 14:
        lab.queued = how & 1 ? 5u << 20 : how & 2 ? 1u << 20 : 0;
        if (find(HUB))
            find(HUB)->cb->sent(find(HUB)->arg);
        break;
    default:
        arrive_raw(HUB, in);
    }
}

/* --- what the runner says --- */

static void say_report(uint32_t test, uint8_t outcome)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&b, PT_R_REPORT);
    pt_put_u32(&b, test);
    pt_put_u8(&b, outcome);
    pt_put_bytes(&b, "{}", 2);
    pt_frame_end(&b, mark);
    fuzz_release(held);
    arrive(CONTROL, &b);
}

static void say_bytes(enum who who, uint8_t type, const char *text)
{
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    size_t mark = pt_frame_begin(&b, type);
    pt_put_bytes(&b, text, strlen(text));
    pt_frame_end(&b, mark);
    fuzz_release(held);
    arrive(who, &b);
}

static void start_test(uint32_t test, int phase)
{
    arrive_numbers(CONTROL, PT_R_START, 1, &test, phase);
}

/* As it should: what is left of the bundle, one after the other. */
static void go_on(uint8_t n)
{
    const struct pt_work *work = &lab.slot->work;
    SAY(CONTROL, PT_R_IMPORT, 0);
    for (uint32_t i = 0; work->active && i < work->ntests && n > 0; i++) {
        uint32_t test = TESTS * work->bundle.bundle + i;
        if (work->told[i])
            continue;
        start_test(test, PT_PHASE_SETUP);
        say_report(test, PT_OUTCOME_PASSED);
        n--;
    }
    if (n > 0 && work->active)
        SAY(CONTROL, PT_R_DONE, work->bundle.bundle);
}

static void send_fds(uint8_t type, uint8_t how, uint32_t test)
{
    struct pt_conn *conn = find(CONTROL);
    struct pt_buf b = {0};
    unsigned held = fuzz_hold();
    pt_put_u32(&b, test);
    pt_put_u32(&b, how & 3);
    pt_put_u64(&b, how & 128 ? UINT64_MAX : (uint64_t)fuzz_loop.now);
    memcpy(lab.place, b.data, sizeof(lab.place));
    pt_buf_fini(&b);
    fuzz_release(held);
    if (conn)
        conn->fds = how >> 2 & 3;
    SAY_NOTHING(CONTROL, type);
}

static void runner_says(struct fuzz_parts *in)
{
    uint8_t what = fuzz_byte(in), how = fuzz_byte(in);
    const struct pt_work *work = &lab.slot->work;
    uint32_t test = work->active ? TESTS * work->bundle.bundle + how % TESTS : how;
    int phase = how / TESTS % 5;
    switch (what % 16) {
    case 0:
        SAY_NOTHING(CONTROL, PT_R_UP);
        break;
    case 1:
        SAY(CONTROL, PT_R_IMPORT, how);
        break;
    case 2:
        start_test(test, phase);
        break;
    case 3:
        say_report(test, (uint8_t)(how / TESTS));
        break;
    case 4:
        say_bytes(CONTROL, PT_R_NOTE, "{}");
        break;
    case 5:
        SAY(CONTROL, PT_R_DONE, how & 1 ? how : work->bundle.bundle);
        break;
    case 6:
        say_bytes(CONTROL, PT_R_BROKEN, how & 1 ? "no pytest" : "");
        break;
    case 7:
        SAY_NOTHING(CONTROL, PT_R_ENDED);
        break;
    case 8:
        say_steal(CONTROL, how & 1 ? how : work->bundle.bundle, fuzz_byte(in));
        break;
    case 9:
        SAY(CONTROL, PT_R_DIED, how);
        break;
    case 10:
        arrive_numbers(CONTROL, PT_R_FAILED, 1, &test, phase);
        break;
    case 11:
        send_fds(PT_R_CAPTURE, how, test);
        break;
    case 12:
        send_fds(PT_R_PLACE, how, test);
        break;
    case 13:
    case 14:
        go_on(how);
        break;
    default:
        arrive_raw(CONTROL, in);
    }
}

/* --- the fork server, time, output --- */

static void server_says(struct fuzz_parts *in)
{
    uint8_t how = fuzz_byte(in);
    switch (how % 8) {
    case 0:
    case 1:
        SAY(FORK, PT_F_PID, PID);
        break;
    case 2:
    case 3:
        SAY(FORK, PT_F_EXIT, how & 8 ? SIGKILL : how & 16 ? SIGSEGV : how & 32 ? 256 : 0);
        break;
    case 4:
        say_bytes(FORK, PT_F_FAIL, "no more processes");
        break;
    case 5:
        hang_up(how & 8 ? FORK : CONTROL);
        break;
    case 6:
        SAY(FORK, PT_F_PID, how & 8 ? 0 : how & 16 ? 1 : UINT32_MAX);
        break;
    default:
        arrive_raw(FORK, in);
    }
}

static void write_output(uint8_t how)
{
    static const char text[] =
        "said\nFatal Python error: Segmentation fault\n\nCurrent thread 0x1:\n  File\n";
    int fd = lab.slot->spec.output;
    if (how == 255)
        (void)!ftruncate(fd, 0);
    else if (how == 254)
        (void)!ftruncate(fd, 9 << 20); /* a hole: more than waits for the end of a bundle */
    else
        (void)!pwrite(fd, text + how % 32, sizeof(text) - 33, lseek(fd, 0, SEEK_END));
}

static void step(struct fuzz_parts *in)
{
    uint8_t what = fuzz_byte(in);
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
    case 3:
        hub_says(in);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        runner_says(in);
        break;
    case 9:
        server_says(in);
        break;
    case 10:
        write_output(fuzz_byte(in));
        break;
    case 11:
        if (lab.stacks)
            lab.stacks->done(lab.stacks->arg);
        break;
    case 12:
        if (find(CONTROL) && !find(CONTROL)->paused)
            deliver(find(CONTROL));
        break;
    case 13:
        lab.server = what & 16;
        lab.stranger = what & 32;
        lab.refuses = what & 64;
        lab.oom_kills += what >> 7;
        break;
    case 14:
        if (what >= 0xfe)
            hang_up(HUB);
        else
            fuzz_loop.now += 8 * what;
        break;
    default:
        loop_pass();
    }
}

static void on_over(void *arg, bool ended)
{
    (void)arg, (void)ended;
    lab.over = true;
}

void fuzz_one(const uint8_t *data, size_t size)
{
    static char cwd[] = "/w", run[] = "r1";
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    uint8_t how = fuzz_byte(&in);
    memset(&lab, 0, sizeof(lab));
    loop_begin();
    pt_log_redirect(take_line, NULL);
    lab.server = !(how & 8);
    lab.ignores = how & 16;
    lab.deaf = how & 32;
    const struct pt_member_config member = {.group = 1, .rank = 0, .size = 2, .far = how & 2 ? 4 : PT_NONE};
    const struct pt_slot_config config = {.run_dir = fuzz_folder(),
                                          .cwd = cwd,
                                          .workspace = cwd,
                                          .run = run,
                                          .host = 1,
                                          .slots = 2,
                                          .member = how & 1 ? &member : NULL};
    lab.slot = pt_slot_create(NULL, &config, open("/dev/null", O_RDONLY | O_CLOEXEC), on_over, NULL, &err);
    FUZZ_CHECK(lab.slot || err.msg[0]);
    for (int i = 0; lab.slot && i < STEPS && in.left > 0 && !lab.over; i++)
        step(&in);
    pt_slot_destroy(lab.slot);
    for (uint32_t i = 0; i < CONNS; i++)
        FUZZ_CHECK(!lab.conns[i].there);
    FUZZ_CHECK(!lab.stacks);
    pt_log_redirect(NULL, NULL);
    loop_end();
}
