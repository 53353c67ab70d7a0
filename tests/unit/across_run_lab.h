/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A run of three hosts of 4 slots and two tests of 6 ranks, whose agents and time are played here. Include
 * this, then run_across.c and run_relays.c. */
#include "common/auto.h"
#include "common/loop.h"
#include "relay.h"
#include "run_across.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>

#define UNUSED __attribute__((unused))
#define HOSTS  3
#define FRAMES 64
#define TIMERS 16

/* --- what the run has for its hosts --- */

struct frame {
    uint32_t host;
    uint8_t type;
    struct pt_buf body;
};

static struct {
    struct pt_run run;
    struct pt_options opts;
    struct pt_host hosts[HOSTS];
    struct pt_run_host at[HOSTS];
    struct frame frames[FRAMES];
    size_t nframes, taken;
    struct {
        pt_call_fn *fn;
        void *arg;
    } timers[TIMERS];
    char notes[2048];
    const struct pt_bundle *dealt;
    uint32_t dealt_to, parted;
    bool coming;
} lab;

#include "across_plays.h"

void pt_lane_send(struct pt_lane *lane, struct pt_buf *frame)
{
    struct pt_reader body;
    size_t total;
    cr_assert_lt(lab.nframes, FRAMES);
    cr_assert_not(frame->bad);
    struct frame *f = &lab.frames[lab.nframes++];
    f->host = (uint32_t)(uintptr_t)lane - 1;
    cr_assert_eq(pt_frame_next(frame->data, frame->len, PT_MAX_FRAME, &f->type, &body, &total), 1);
    cr_assert_eq(total, frame->len);
    pt_buf_append(&f->body, body.p, body.left);
    pt_buf_fini(frame);
}

void pt_run_host_note(struct pt_run_host *h, const char *fmt, ...)
{
    char text[512];
    size_t n = strlen(lab.notes);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(lab.notes + n, sizeof(lab.notes) - n, "%s: %s\n", h->host->name, text);
}

void pt_run_fail(struct pt_run *run, const struct pt_err *err)
{
    (void)run;
    cr_assert_fail("%s", err->msg);
}

/* A bundle whose host is to drop it is done at once. */
void pt_run_deal(struct pt_run *run)
{
    struct pt_plan_deal deal;
    drop_all(run);
    while (pt_plan_next(run->plan, &deal, NULL) == 1) {
        lab.dealt = deal.bundle;
        lab.dealt_to = deal.host;
    }
}

/* --- time --- */

static uint64_t lab_after(struct pt_loop *loop, int64_t ms, pt_call_fn *fn, void *arg)
{
    (void)loop, (void)ms;
    for (size_t i = 0; i < TIMERS; i++)
        if (!lab.timers[i].fn) {
            lab.timers[i].fn = fn;
            lab.timers[i].arg = arg;
            return i + 1;
        }
    cr_assert_fail("too many timers");
    return 0;
}

static void lab_cancel(struct pt_loop *loop, uint64_t timer)
{
    (void)loop;
    if (timer)
        lab.timers[timer - 1].fn = NULL;
}

/* All that is waited for takes too long. */
UNUSED static void lab_late(void)
{
    for (size_t i = 0; i < TIMERS; i++) {
        pt_call_fn *fn = lab.timers[i].fn;
        lab.timers[i].fn = NULL;
        if (fn)
            fn(lab.timers[i].arg);
    }
}

#define pt_loop_after  lab_after
#define pt_loop_cancel lab_cancel

/* --- the lab --- */

UNUSED static void lab_up(uint32_t host)
{
    play_up(host);
    pt_run_check(&lab.run);
}

UNUSED static void lab_lose(uint32_t host)
{
    lab.at[host].state = PT_HOST_LAUNCHING;
    pt_plan_lost(lab.run.plan, host, NULL, NULL);
    pt_run_across_lost(&lab.at[host]);
    pt_run_deal(&lab.run);
    pt_run_check(&lab.run);
}

UNUSED static void lab_start(void)
{
    char path[] = "a.py";
    char id[] = "a.py::t";
    struct pt_bundle_test tests[] = {{.test = 0, .nodeid = id}, {.test = 1, .occurrence = 1, .nodeid = id}};
    struct pt_bundle_file file = {path, tests, 2};
    struct pt_plan_unit unit = {
        .files = &file, .nfiles = 1, .seconds = 1, .weight = 6, .ranks = 6, .host = PT_NONE, .rank = PT_NONE};
    play_hosts();
    lab.run.loop = pt_loop_create(NULL);
    for (uint32_t i = 0; i < HOSTS; i++)
        lab.at[i].lane = (struct pt_lane *)(uintptr_t)(i + 1);
    cr_assert_eq(pt_plan_add(lab.run.plan, &unit, NULL), 0);
    pt_plan_collected(lab.run.plan);
}

UNUSED static void lab_stop(void)
{
    pt_run_across_fini(&lab.run);
    pt_plan_destroy(lab.run.plan);
    pt_loop_destroy(lab.run.loop);
    for (size_t i = 0; i < lab.nframes; i++)
        pt_buf_fini(&lab.frames[i].body);
}

/* The next frame that any host got: it is of this type, and to this host. */
UNUSED static struct pt_reader lab_expect(uint32_t host, uint8_t type)
{
    cr_assert_lt(lab.taken, lab.nframes, "no frame %u for host %u", type, host);
    const struct frame *f = &lab.frames[lab.taken++];
    cr_assert(f->host == host && f->type == type, "host %u got %u, not host %u %u", f->host, f->type, host,
              type);
    return (struct pt_reader){.p = f->body.data, .left = f->body.len};
}

UNUSED static void lab_expect_all(uint8_t type)
{
    for (uint32_t i = 0; i < HOSTS; i++)
        lab_expect(i, type);
}

UNUSED static void lab_expect_none(void)
{
    cr_expect_eq(lab.taken, lab.nframes, "%zu frames more", lab.nframes - lab.taken);
}

/* --- what agents answer --- */

static void answer(uint32_t host, struct pt_lane_event *e)
{
    e->host = host;
    pt_run_across_event(&lab.at[host], e);
    pt_listening_fini(&e->listening);
    pt_reached_fini(&e->reached);
    pt_run_check(&lab.run);
}

#define ADDRESS(host) (0x0a000001u + (host))

UNUSED static void say_listening_of(uint32_t host, const char *mpi, uint32_t launch)
{
    struct pt_lane_event e = {.kind = PT_LANE_LISTENING,
                              .listening = {.mpi = strdup(mpi),
                                            .run_dir = strdup("/run/x"),
                                            .worker = strdup("/bin/w"),
                                            .launch = launch,
                                            .port = 1000 + host,
                                            .n = 1}};
    memset(e.listening.token, (int)host, PT_TOKEN);
    e.listening.addresses = malloc(sizeof(struct pt_address));
    e.listening.addresses[0] = (struct pt_address){ADDRESS(host), 24};
    answer(host, &e);
}

UNUSED static void say_listening(uint32_t host)
{
    say_listening_of(host, "4.1.4", lab.at[host].launches);
}

/* All others but `missing`. */
UNUSED static void say_reached_but(uint32_t host, uint32_t missing)
{
    struct pt_lane_event e = {.kind = PT_LANE_REACHED};
    e.reached.hosts = calloc(HOSTS, sizeof(*e.reached.hosts));
    for (uint32_t i = 0; i < HOSTS; i++)
        if (i != host && i != missing)
            e.reached.hosts[e.reached.n++] = (struct pt_reached_host){i, ADDRESS(i)};
    answer(host, &e);
}

UNUSED static void say_peered(uint32_t host)
{
    struct pt_lane_event e = {.kind = PT_LANE_PEERED};
    answer(host, &e);
}

/* The rest of a round in which all are well. */
UNUSED static void lab_round_from_probe(void)
{
    lab_expect_all(PT_C_PROBE);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_reached_but(i, PT_NONE);
    lab_expect_all(PT_C_PEERS);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_peered(i);
}

/* A round in which all are well, from LISTEN on. */
UNUSED static void lab_round(void)
{
    lab_expect_all(PT_C_LISTEN);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_listening(i);
    lab_round_from_probe();
}

UNUSED static void lab_all_up(void)
{
    lab.coming = true;
    for (uint32_t i = 0; i < HOSTS; i++) {
        lab.coming = i + 1 < HOSTS;
        lab_up(i);
    }
}
