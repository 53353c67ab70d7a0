/* SPDX-License-Identifier: Apache-2.0 */
/* What the plan decides goes to the workers: bundles, calls back, thefts; and what they received is
 * acknowledged. */
#include "run_nodes.h"
#include "run_parts.h"

#include "common/auto.h"
#include "gather.h"

#include <string.h>

#define LIVE_MS 100 /* how often output is sent when it is shown as it comes */

/* At most so many slots of this host are used. */
static uint32_t slots_of(const struct pt_run_host *h)
{
    return h->room < h->launch_slots ? h->room : h->launch_slots;
}

/* How many of its ranks may start a session: as many as there is work for, all while files are still found.
 * Tests of several ranks run in other processes. */
static uint32_t runners_of(const struct pt_run_host *h)
{
    const struct pt_run *run = h->run;
    uint32_t slots = slots_of(h);
    uint32_t work = pt_plan_held_plain(run->plan, h->number) + pt_plan_waiting_plain(run->plan);
    uint32_t n = run->collected && work < slots ? work : slots;
    return n > h->runners ? n : h->runners;
}

static uint8_t fresh_of(const struct pt_run *run)
{
    const char *isolate = pt_run_isolate(run);
    return strcmp(isolate, "test") == 0     ? PT_FRESH_TEST
           : strcmp(isolate, "bundle") == 0 ? PT_FRESH_BUNDLE
                                            : PT_FRESH_NOT;
}

void pt_run_host_limits(struct pt_run_host *h)
{
    const struct pt_options *opts = h->run->opts;
    h->runners = runners_of(h);
    struct pt_limits limits = {.runners = h->runners,
                               .memory = opts->memory_per_slot,
                               .output_ms = opts->live ? LIVE_MS : 0,
                               .grace_ms = opts->grace_ms,
                               .mpi_grace_ms = opts->mpi_grace_ms,
                               .fresh = fresh_of(h->run)};
    struct pt_buf b = {0};
    pt_limits_encode(&limits, &b);
    pt_run_host_say(h, &b);
    pt_buf_fini(&b);
}

/* The sizes of MPI tests that this host may still get, when there is one more, or one less; while tests are
 * collected, those of the run before too. */
static void tell_sizes(struct pt_run_host *h)
{
    struct pt_size list[PT_SIZES_MAX];
    struct pt_sizes m = {.sizes = list};
    uint64_t kind = 0;
    if (h->state != PT_HOST_WORKING || !h->link)
        return;
    m.n = pt_plan_sizes(h->run->plan, h->number, list, PT_SIZES_MAX);
    m.n = pt_run_ahead_sizes(h->run, slots_of(h), list, m.n);
    for (uint32_t i = 0; i < m.n; i++)
        kind = (kind ^ list[i].ranks) * 1099511628211u;
    if (kind == h->sizes)
        return;
    h->sizes = kind;
    struct pt_buf b = {0};
    pt_sizes_encode(&m, &b);
    pt_run_host_say(h, &b);
    pt_buf_fini(&b);
}

/* From here on it has all it needs to go on alone. */
static void say_linger(struct pt_run_host *h)
{
    struct pt_buf b = {0};
    const struct pt_run *run = h->run;
    struct pt_err err = PT_ERR_INIT;
    if (!run->opts->linger_ms || !h->dir)
        return;
    if (pt_gather_keep(run->ledger, h->number, h->host->name,
                       run->opts->remote_dir ? run->opts->remote_dir : "", h->dir, h->launches, &err) < 0)
        pt_run_fail(h->run, &err);
    pt_frame_end(&b, pt_frame_begin(&b, PT_C_LINGER));
    pt_lane_send(h->lane, &b);
}

void pt_run_host_begin(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf session = {0};
    if (h->state != PT_HOST_JOINED || !h->synced || !run->session_known || run->ending)
        return;
    int rc = pt_run_nodes_session(h, &session, &err);
    if (rc > 0) {
        pt_run_host_set(h, PT_HOST_WORKING);
        h->sizes = 0;
        say_linger(h);
        pt_run_host_limits(h);
        pt_run_host_say(h, &session);
        pt_plan_host(run->plan, h->number, slots_of(h));
        pt_run_host_show(h, "ready");
        pt_run_deal(run);
    } else if (rc < 0) {
        pt_run_fail(run, &err);
    }
    pt_buf_fini(&session);
}

static void record_attempt(struct pt_run *run, const struct pt_plan_deal *deal)
{
    struct pt_ledger_attempt a = {.bundle = deal->bundle->bundle,
                                  .attempt = deal->bundle->attempt,
                                  .host = deal->host,
                                  .started = pt_wall_clock()};
    struct pt_err err = PT_ERR_INIT;
    if (pt_ledger_add_attempt(run->ledger, &a, &err) < 0)
        pt_run_fail(run, &err);
}

/* RECALL and DROP: a bundle and nothing else. */
static void send_bundle(struct pt_run *run, uint8_t type, uint32_t host, uint32_t bundle)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    pt_put_u32(&b, bundle);
    pt_frame_end(&b, mark);
    pt_run_host_say(&run->at[host], &b);
    pt_buf_fini(&b);
}

static void send_steal(struct pt_run *run, const struct pt_plan_steal *steal)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_L_STEAL);
    pt_put_u32(&b, steal->bundle);
    pt_put_u32(&b, steal->n);
    for (uint32_t i = 0; i < steal->n; i++)
        pt_put_u32(&b, steal->tests[i]);
    pt_frame_end(&b, mark);
    pt_run_host_say(&run->at[steal->host], &b);
    pt_buf_fini(&b);
}

/* What was dealt is worth asking back, as others idle. */
static void rearrange(struct pt_run *run)
{
    uint32_t host, bundle;
    struct pt_plan_steal steal;
    while (pt_plan_recall(run->plan, &host, &bundle) == 1)
        send_bundle(run, PT_L_RECALL, host, bundle);
    while (pt_plan_drop(run->plan, &host, &bundle) == 1)
        send_bundle(run, PT_L_DROP, host, bundle);
    while (run->opts->split == PT_SPLIT_AUTO && pt_plan_steal(run->plan, &steal) == 1)
        send_steal(run, &steal);
}

static void tell_impossible(struct pt_run *run)
{
    uint32_t test;
    while ((test = pt_plan_impossible(run->plan)) != PT_NONE)
        pt_run_impossible_test(run, test);
}

static bool wants_more_hosts(const struct pt_run *run)
{
    for (size_t i = 0; run->opts->require_all_hosts && i < run->hosts.n; i++)
        if (run->at[i].joined == 0 && !run->at[i].late && !run->at[i].leaves)
            return true;
    return false;
}

void pt_run_deal(struct pt_run *run)
{
    struct pt_plan_deal deal;
    struct pt_err err = PT_ERR_INIT;
    int rc = 0;
    if (run->ending || run->stopping || (run->opts->strict_collection && !run->collected) ||
        wants_more_hosts(run))
        return;
    while ((rc = pt_plan_next(run->plan, &deal, &err)) == 1) {
        struct pt_run_host *h = &run->at[deal.host];
        struct pt_buf b = {0};
        pt_bundle_encode(deal.bundle, PT_L_BUNDLE, &b);
        record_attempt(run, &deal);
        if (pt_plan_held_plain(run->plan, h->number) > h->runners && h->runners < slots_of(h))
            pt_run_host_limits(h);
        pt_run_host_say(h, &b);
        pt_buf_fini(&b);
        pt_terminal_busy(run->terminal, h->number, pt_plan_held(run->plan, h->number));
    }
    if (rc < 0) {
        pt_run_fail(run, &err);
        return;
    }
    rearrange(run);
    for (size_t i = 0; i < run->hosts.n; i++)
        tell_sizes(&run->at[i]);
    if (run->collected)
        tell_impossible(run);
    pt_run_hosts_wake(run);
}

void pt_run_hosts_ack(struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        if (!h->link || h->seq == h->acked)
            continue;
        struct pt_buf b = {0};
        size_t mark = pt_frame_begin(&b, PT_L_ACK);
        pt_put_u64(&b, h->seq);
        pt_frame_end(&b, mark);
        pt_link_send(h->link, &b);
        pt_buf_fini(&b);
        h->acked = h->seq;
    }
}
