/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A run of two hosts of one slot whose lanes, workers and time are played here; what decides of hosts, and of
 * the end of the run, is the run's own. */
#include "common/auto.h"
#include "common/log.h"
#include "gather.h"
#include "master.h"
#include "plan_lab.h"
#include "report.h"
#include "run_across.h"
#include "run_nodes.h"
#include "run_parts.h"
#include "status.h"

#include <stdarg.h>
#include <unistd.h>

#define HOSTS  2
#define TESTS  6
#define DEALS  64
#define TIMERS 8
#define LANES  128
#define LINKS  64

struct pt_lane {
    bool there, stopping, connected, prepared, treed;
    const struct pt_attach *attach; /* not NULL: it comes back to a host that is away */
    uint32_t host;
    void (*on_event)(void *arg, struct pt_lane_event *event);
    void *arg;
};

struct pt_link {
    bool open;
    const struct pt_link_callbacks *cb;
    void *arg;
};

/* What is on the host. */
struct machine {
    uint32_t launch;          /* of its workers */
    bool runs, ends, invited; /* workers; they are to end; they may join */
    bool exit_untold;         /* nobody heard that they ended */
    bool quits;               /* they were told QUIT */
    bool armed;               /* they go on without a connection */
    struct pt_link *link;     /* theirs */
    uint64_t got;
};

struct timer {
    int64_t due;
    pt_call_fn *fn;
    void *arg;
};

static struct {
    struct pt_run run;
    struct pt_options opts;
    struct pt_host hosts[HOSTS];
    struct pt_run_host at[HOSTS];
    struct machine machines[HOSTS];
    struct pt_lane lanes[LANES];
    struct pt_link links[LINKS];
    uint32_t nlanes, nlinks;
    struct timer timers[TIMERS];
    int64_t now;
    struct pt_ledger_attempt deals[DEALS];
    uint32_t ndeals;
    bool told[TESTS], over;
} lab;

/* --- time --- */

static inline int64_t lab_now(void)
{
    return lab.now;
}

static inline uint64_t lab_after(struct pt_loop *loop, int64_t ms, pt_call_fn *fn, void *arg)
{
    (void)loop;
    for (uint32_t i = 0; i < TIMERS; i++)
        if (!lab.timers[i].fn) {
            lab.timers[i] = (struct timer){lab.now + ms, fn, arg};
            return i + 1;
        }
    cr_assert_fail("too many timers");
    return 0;
}

static inline void lab_cancel(struct pt_loop *loop, uint64_t timer)
{
    (void)loop;
    if (timer)
        lab.timers[timer - 1].fn = NULL;
}

static inline void lab_end(struct pt_loop *loop)
{
    (void)loop;
    lab.over = true;
}

/* The timer that is due first; NULL: none is set. */
static inline struct timer *lab_timer(void)
{
    struct timer *first = NULL;
    for (uint32_t i = 0; i < TIMERS; i++)
        if (lab.timers[i].fn && (!first || lab.timers[i].due < first->due))
            first = &lab.timers[i];
    return first;
}

/* --- lanes and links, as the run calls them --- */

struct pt_lane *pt_lane_create(const struct pt_lane_options *o, struct pt_err *err)
{
    static const struct pt_attach attach;
    (void)err;
    cr_assert_lt(lab.nlanes, LANES);
    struct pt_lane *lane = &lab.lanes[lab.nlanes++];
    *lane = (struct pt_lane){.there = true, .host = o->host, .on_event = o->on_event, .arg = o->arg};
    lane->attach = o->attach ? &attach : NULL;
    return lane;
}

void pt_lane_destroy(struct pt_lane *lane)
{
    cr_assert(!lane || !lane->there, "a lane is destroyed that has not come to its end");
}

void pt_lane_survey(struct pt_lane *lane)
{
    (void)lane;
}

void pt_lane_tree(struct pt_lane *lane, struct pt_fanout *tree)
{
    (void)lane, (void)tree;
}

void pt_lane_send(struct pt_lane *lane, struct pt_buf *frame)
{
    struct machine *m = &lab.machines[lane->host];
    cr_assert_not(frame->bad);
    if (lane->there && frame->data[4] == PT_C_LAUNCH) {
        cr_assert_not(m->runs, "workers are started beside others");
        *m = (struct machine){.launch = lab.at[lane->host].launches, .runs = true, .invited = true};
    } else if (lane->there && frame->data[4] == PT_C_RELINK) {
        m->invited = true;
    } else if (lane->there && frame->data[4] == PT_C_LINGER) {
        m->armed = true;
    }
    pt_buf_fini(frame);
}

void pt_lane_end_workers(struct pt_lane *lane, uint32_t grace_ms)
{
    (void)grace_ms;
    lab.machines[lane->host].ends |= lane->there && lab.machines[lane->host].runs;
}

void pt_lane_stop(struct pt_lane *lane, uint32_t grace_ms)
{
    (void)grace_ms;
    lane->stopping |= lane->there;
}

struct pt_link *pt_link_create(struct pt_loop *loop, int fd, const struct pt_tls_identity *id,
                               const char *run, long host, const struct pt_link_callbacks *cb, void *arg,
                               struct pt_err *err)
{
    (void)loop, (void)fd, (void)id, (void)run, (void)host, (void)err;
    cr_assert_lt(lab.nlinks, LINKS);
    struct pt_link *link = &lab.links[lab.nlinks++];
    *link = (struct pt_link){.open = true, .cb = cb, .arg = arg};
    return link;
}

void pt_link_destroy(struct pt_link *link)
{
    if (link)
        link->open = false;
}

void pt_link_welcome(struct pt_link *link, uint64_t acked)
{
    (void)acked;
    cr_assert(link->open);
}

void pt_link_refuse(struct pt_link *link, const char *reason)
{
    (void)reason;
    link->open = false;
    link->cb->closed(link->arg, link, "refused");
}

void pt_link_send(struct pt_link *link, const struct pt_buf *frames)
{
    struct pt_reader body;
    uint8_t type;
    size_t total;
    for (size_t used = 0; used < frames->len; used += total) {
        cr_assert_eq(
            pt_frame_next(frames->data + used, frames->len - used, PT_MAX_FRAME, &type, &body, &total), 1);
        for (uint32_t h = 0; h < HOSTS; h++)
            if (lab.machines[h].link == link || lab.at[h].link == link) {
                lab.machines[h].got += type != PT_L_ACK;
                lab.machines[h].quits |= type == PT_L_QUIT;
            }
    }
}

/* --- the run's other files --- */

int pt_ledger_commit(struct pt_ledger *l, struct pt_err *err)
{
    (void)l, (void)err;
    return 0;
}

int pt_ledger_add_attempt(struct pt_ledger *l, const struct pt_ledger_attempt *attempt, struct pt_err *err)
{
    (void)l, (void)err;
    cr_assert_lt(lab.ndeals, DEALS);
    const struct pt_run_host *h = &lab.at[attempt->host];
    cr_assert(h->state == PT_HOST_WORKING && !h->leaves, "h%u is dealt to", attempt->host);
    lab.deals[lab.ndeals++] = *attempt;
    return 0;
}

int pt_gather_keep(struct pt_ledger *ledger, uint32_t number, const char *name, const char *remote_dir,
                   const char *dir, uint32_t launch, struct pt_err *err)
{
    (void)ledger, (void)number, (void)name, (void)remote_dir, (void)dir, (void)launch, (void)err;
    return 0;
}

int pt_run_nodes_session(struct pt_run_host *h, struct pt_buf *out, struct pt_err *err)
{
    (void)h, (void)err;
    pt_frame_end(out, pt_frame_begin(out, PT_L_SESSION));
    return 1;
}

static inline void lab_told(uint32_t test)
{
    cr_assert_not(lab.told[test], "test %u has two outcomes", test);
    lab.told[test] = true;
}

void pt_run_lost_test(void *run, uint32_t test)
{
    (void)run;
    lab_told(test);
}

void pt_run_impossible_test(struct pt_run *run, uint32_t test)
{
    (void)run;
    lab_told(test);
}

/* What a bundle's only test gave, and its end; or BYE. */
int pt_run_message(struct pt_run_host *h, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    (void)body, (void)err;
    if (type == PT_L_BYE) {
        pt_run_host_bye(h);
        return 0;
    }
    for (uint32_t i = 0; i < lab.ndeals; i++) {
        const struct pt_ledger_attempt *d = &lab.deals[i];
        const struct pt_bundle *b = pt_plan_bundle(h->run->plan, d->bundle);
        if (d->host != h->number || b->attempt != d->attempt ||
            !pt_plan_holds(h->run->plan, h->number, d->bundle, d->attempt, PT_NONE))
            continue;
        if (pt_plan_told(h->run->plan, test_at(b, 0)->test))
            lab_told(test_at(b, 0)->test);
        if (pt_plan_done(h->run->plan, h->number, d->bundle, d->attempt, pt_run_lost_test, h->run))
            break;
    }
    return 0;
}

uint32_t pt_run_ahead_sizes(const struct pt_run *run, uint32_t slots, struct pt_size *list, uint32_t n)
{
    (void)run, (void)slots, (void)list;
    return n;
}

const char *pt_run_isolate(const struct pt_run *run)
{
    (void)run;
    return "session";
}

const char *pt_run_hosts_fixed(const struct pt_run *run)
{
    (void)run;
    return NULL;
}

bool pt_run_nodes_end(struct pt_run *run)
{
    (void)run;
    return true;
}

bool pt_run_relays_led(const struct pt_run_host *h)
{
    (void)h;
    return false;
}

#define LAB_NOTHING(name, ...)                                                                               \
    void name(__VA_ARGS__)                                                                                   \
    {                                                                                                        \
    }
#define UNUSED __attribute__((unused))
LAB_NOTHING(pt_terminal_host, UNUSED struct pt_terminal *t, UNUSED uint32_t host, UNUSED const char *state,
            UNUSED uint32_t slots, UNUSED bool busy)
LAB_NOTHING(pt_terminal_note, UNUSED struct pt_terminal *t, UNUSED const char *text)
LAB_NOTHING(pt_terminal_busy, UNUSED struct pt_terminal *t, UNUSED uint32_t host, UNUSED uint32_t bundles)
LAB_NOTHING(pt_terminal_add_host, UNUSED struct pt_terminal *t, UNUSED uint32_t number,
            UNUSED const char *name, UNUSED uint32_t slots)
LAB_NOTHING(pt_run_across_lost, UNUSED struct pt_run_host *h)
LAB_NOTHING(pt_run_across_down, UNUSED struct pt_run_host *h)
LAB_NOTHING(pt_run_across_look, UNUSED struct pt_run *run)
LAB_NOTHING(pt_run_across_fini, UNUSED struct pt_run *run)
LAB_NOTHING(pt_run_across_event, UNUSED struct pt_run_host *h, UNUSED struct pt_lane_event *e)
LAB_NOTHING(pt_run_relay, UNUSED struct pt_run_host *h, UNUSED int fd)
LAB_NOTHING(pt_run_collect_offer, UNUSED struct pt_run_host *h)
LAB_NOTHING(pt_run_collect_lost, UNUSED struct pt_run_host *h)
LAB_NOTHING(pt_run_collect_exited, UNUSED struct pt_run_host *h, UNUSED uint32_t status,
            UNUSED const char *output)
LAB_NOTHING(pt_run_collect_remote, UNUSED struct pt_run_host *h, UNUSED int fd)
LAB_NOTHING(pt_run_sync_look, UNUSED struct pt_run_host *h)
LAB_NOTHING(pt_run_units_slots, UNUSED struct pt_run *run)
LAB_NOTHING(pt_run_commit_soon, UNUSED struct pt_run *run)
LAB_NOTHING(pt_run_detach_look, UNUSED struct pt_run *run)
int pt_run_scan(struct pt_run *run)
{
    (void)run;
    return 0;
}

#define pt_now_ms      lab_now
#define pt_loop_after  lab_after
#define pt_loop_cancel lab_cancel
#define pt_loop_stop   lab_end
