/* SPDX-License-Identifier: Apache-2.0 */
/* What agents answer when hosts are asked who reaches whom, and what they want of each other's hosts, in any
 * order, while hosts come and go: only hosts that may run tests together are joined, and what is counted of
 * them comes to nothing. The input: events, and bytes of streams. */
#include "fuzz.h"

#include "fuzz_loop.h"
#include "relay.h"

#include "src/run_across.c"
#include "src/run_relays.c"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>

#define HOSTS   3
#define STREAMS 24
#define STEPS   300

static struct {
    struct pt_run run;
    struct pt_options opts;
    struct pt_host hosts[HOSTS];
    struct pt_run_host at[HOSTS];
    int ends[STREAMS]; /* the agents' */
    uint32_t nends, last_id, parted;
    bool coming;
} lab;

#include "tests/unit/across_plays.h"

void pt_lane_send(struct pt_lane *lane, struct pt_buf *frame)
{
    const struct pt_run_host *h = (const struct pt_run_host *)(const void *)lane;
    struct pt_reader body;
    struct pt_relay m;
    uint8_t type;
    size_t total;
    if (!frame->bad) {
        FUZZ_CHECK(pt_frame_next(frame->data, frame->len, PT_MAX_FRAME, &type, &body, &total) == 1);
        FUZZ_CHECK(total == frame->len);
        if (type == PT_C_RELAY) {
            unsigned held = fuzz_hold();
            FUZZ_CHECK(h->state == PT_HOST_WORKING && lab.run.across->at[h->number].in);
            FUZZ_CHECK(pt_relay_decode(&body, &m, NULL) == 0 && m.host < HOSTS && m.host != h->number);
            FUZZ_CHECK(lab.run.across->at[m.host].in && m.address == 0);
            lab.last_id = m.id;
            pt_relay_fini(&m);
            fuzz_release(held);
        }
    } else {
        FUZZ_CHECK(fuzz_starved());
    }
    pt_buf_fini(frame);
}

void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    (void)h;
    va_start(ap, fmt);
    FUZZ_CHECK(vsnprintf(text, sizeof(text), fmt, ap) > 0);
    va_end(ap);
}

void pt_run_fail(struct pt_run *run, const struct pt_err *err)
{
    (void)run;
    FUZZ_CHECK(err->msg[0] && fuzz_starved());
}

/* What hosts are dealt is done at once, so that others wait again. */
void pt_run_deal(struct pt_run *run)
{
    struct pt_plan_deal deal;
    drop_all(run);
    while (pt_plan_next(run->plan, &deal, NULL) == 1)
        for (uint32_t i = 0; i < deal.bundle->nspread; i++)
            FUZZ_CHECK(run->across->at[deal.bundle->spread[i].host].in);
}

/* --- hosts --- */

static void up(uint32_t host)
{
    if (lab.at[host].state != PT_HOST_WORKING)
        play_up(host);
}

static void lose(uint32_t host, bool down)
{
    struct pt_run_host *h = &lab.at[host];
    if (h->state == PT_HOST_WORKING) {
        h->state = PT_HOST_LAUNCHING;
        pt_plan_lost(lab.run.plan, host, NULL, NULL);
        pt_run_across_lost(h);
    }
    if (down)
        pt_run_across_down(h);
    pt_run_deal(&lab.run);
}

static void add_tests(void)
{
    static char path[] = "a.py", id[] = "a.py::t";
    struct pt_bundle_test tests[4];
    struct pt_bundle_file file = {path, tests, 4};
    uint32_t atoms[4];
    struct pt_plan_unit unit = {.files = &file,
                                .nfiles = 1,
                                .atoms = atoms,
                                .seconds = 1,
                                .ranks = 6,
                                .host = PT_NONE,
                                .rank = PT_NONE};
    for (uint32_t i = 0; i < 4; i++) {
        tests[i] = (struct pt_bundle_test){.test = i, .occurrence = i, .nodeid = id};
        atoms[i] = i;
    }
    FUZZ_CHECK(pt_plan_add(lab.run.plan, &unit, NULL) == 0);
    pt_plan_collected(lab.run.plan);
}

static void begin(void)
{
    play_hosts();
    loop_begin();
    for (uint32_t i = 0; i < HOSTS; i++)
        lab.at[i].lane = (struct pt_lane *)(void *)&lab.at[i];
    add_tests();
}

/* Each stream that was joined is counted until it is closed, and no longer. */
static void check(void)
{
    uint32_t far = 0;
    for (uint32_t i = 0; lab.run.across && i < HOSTS; i++)
        far += lab.run.across->at[i].far;
    FUZZ_CHECK(2 * far <= lab.nends);
}

static void end(void)
{
    for (uint32_t i = 0; i < HOSTS; i++)
        lose(i, true);
    pt_run_across_fini(&lab.run);
    pt_plan_destroy(lab.run.plan);
    for (uint32_t i = 0; i < lab.nends; i++)
        close(lab.ends[i]);
    loop_end();
}

/* --- what agents say --- */

#define ADDRESS(host) (0x0a000001u + (host))

static void listening(uint32_t host, uint8_t how, struct pt_lane_event *e)
{
    static const char *const mpis[] = {"4.1.4", "4.1.4", "4.1.6", "5.0.1", "", "x", "4", "4.1.4rc1"};
    struct pt_listening *l = &e->listening;
    e->kind = PT_LANE_LISTENING;
    *l = (struct pt_listening){.mpi = strdup(mpis[how & 7]),
                               .run_dir = strdup("/run/x"),
                               .worker = strdup("/bin/w"),
                               .launch = lab.at[host].launches + (how >> 7),
                               .port = (uint16_t)(1000 + host),
                               .n = how >> 3 & 3};
    l->addresses = calloc(l->n + 1, sizeof(*l->addresses));
    for (uint32_t i = 0; i < l->n; i++)
        l->addresses[i] =
            (struct pt_address){ADDRESS(host) + 256 * (i >> (how >> 6 & 1)), how & 32 ? 24 : 16};
}

static void reached(struct fuzz_parts *in, uint32_t host, uint8_t how, struct pt_lane_event *e)
{
    e->kind = PT_LANE_REACHED;
    e->reached.hosts = calloc(16, sizeof(*e->reached.hosts));
    for (uint32_t i = 0; i < HOSTS; i++)
        if (i != host && !(how >> i & 1))
            e->reached.hosts[e->reached.n++] = (struct pt_reached_host){i, ADDRESS(i)};
    for (uint32_t i = 0; i < (how >> 5); i++) {
        uint8_t who = fuzz_byte(in);
        e->reached.hosts[e->reached.n++] = (struct pt_reached_host){who & 7, ADDRESS(who >> 3)};
    }
}

static void answer(struct fuzz_parts *in, uint32_t host, uint8_t kind)
{
    struct pt_lane_event e = {.kind = PT_LANE_PEERED, .host = host};
    uint8_t how = fuzz_byte(in);
    unsigned held = fuzz_hold();
    if (kind % 3 == 0)
        listening(host, how, &e);
    else if (kind % 3 == 1)
        reached(in, host, how, &e);
    fuzz_release(held);
    pt_run_across_event(&lab.at[host], &e);
    pt_listening_fini(&e.listening);
    pt_reached_fini(&e.reached);
}

/* All say the next thing, as they should, or nearly; or all of it. */
static void answer_all(struct fuzz_parts *in, uint8_t what)
{
    static const uint8_t none[1];
    struct fuzz_parts nothing = {none, 0};
    for (uint8_t kind = 0; kind < 3; kind++) {
        for (uint32_t i = 0; i < HOSTS && (what % 4 == 3 || what % 4 == kind); i++) {
            struct pt_lane_event e = {.kind = PT_LANE_PEERED, .host = i};
            uint8_t how = what % 4 == 3 ? 0 : fuzz_byte(in);
            unsigned held = fuzz_hold();
            if (kind == 0)
                listening(i, how ^ 8, &e);
            else if (kind == 1)
                reached(what % 4 == 3 ? &nothing : in, i, how, &e);
            fuzz_release(held);
            pt_run_across_event(&lab.at[i], &e);
            pt_listening_fini(&e.listening);
            pt_reached_fini(&e.reached);
        }
        pt_run_check(&lab.run);
    }
}

static void put(int fd, struct pt_buf *b)
{
    if (!b->bad)
        (void)!send(fd, b->data, b->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    pt_buf_fini(b);
}

static void say_want(int fd, uint8_t how)
{
    static char *words[] = {(char *)(uintptr_t) "orted", (char *)(uintptr_t) "-x"};
    struct pt_buf b = {0};
    struct pt_relay m = {.host = how & 8 ? PT_NONE : how & 3,
                         .address = how & 8 ? ADDRESS(how & 3) : 0,
                         .what = how & 16 ? PT_RELAY_HUB : PT_RELAY_ORTED,
                         .words = words,
                         .nwords = how & 16 ? 0 : 2};
    pt_relay_encode(&m, PT_Y_WANT, &b);
    put(fd, &b);
}

static void say_here(int fd, uint8_t how)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_Y_HERE);
    pt_put_u32(&b, lab.last_id - (how & 3));
    pt_frame_end(&b, mark);
    put(fd, &b);
}

/* A stream of that host; it says something. */
static void open_stream(struct fuzz_parts *in, uint32_t host, uint8_t what)
{
    int sv[2];
    uint8_t how = fuzz_byte(in);
    if (lab.nends == STREAMS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return;
    lab.ends[lab.nends++] = sv[0];
    unsigned held = fuzz_hold();
    if (what % 4 == 0)
        say_want(sv[0], how);
    else if (what % 4 == 1)
        say_here(sv[0], how);
    fuzz_release(held);
    pt_run_relay(&lab.at[host], sv[1]);
    loop_poll();
}

static void stream_happens(struct fuzz_parts *in, uint8_t what)
{
    unsigned char room[4096];
    uint8_t which = fuzz_byte(in);
    if (!lab.nends)
        return;
    int fd = lab.ends[which % lab.nends];
    if (what % 4 == 0) {
        struct fuzz_parts part = fuzz_part(in);
        (void)!send(fd, part.p, part.left, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else if (what % 4 == 1) {
        (void)!recv(fd, room, sizeof(room), MSG_DONTWAIT);
    } else {
        shutdown(fd, what % 4 == 2 ? SHUT_WR : SHUT_RDWR);
    }
    loop_poll();
}

static void step(struct fuzz_parts *in)
{
    uint8_t what = fuzz_byte(in);
    uint32_t host = (what >> 4) % HOSTS;
    switch (what % 16) {
    case 0:
    case 1:
    case 2:
        answer(in, host, what % 16);
        break;
    case 3:
        answer_all(in, what >> 4);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
        open_stream(in, host, what);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
        stream_happens(in, what);
        break;
    case 12:
        loop_pass();
        break;
    case 13:
        lose(host, what >> 7);
        break;
    case 14:
        up(host);
        break;
    default:
        lab.coming = what >> 7;
        loop_poll();
    }
    pt_run_check(&lab.run);
    check();
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    unsigned held = fuzz_hold();
    begin();
    for (uint32_t i = 0; i < HOSTS; i++)
        up(i);
    fuzz_release(held);
    pt_run_check(&lab.run);
    for (int i = 0; i < STEPS && in.left > 0 && !lab.run.failed; i++)
        step(&in);
    end();
}
