/* SPDX-License-Identifier: Apache-2.0 */
/* Which groups there are. For a bundle that waits a group of its size is started, unless one is idle; for a
 * size that will come one is started ahead. Of one size there are never more than fit the slots side by side,
 * and one to spare where groups live for one bundle or test. Idle ones make room, the one that was not used
 * for longest first. Groups over several hosts are apart: hub_spread.c. */
#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "remote/worker/conn.h"
#include "remote/worker/hub_groups_inside.h"
#include "remote/worker/tell.h"

#include <stdlib.h>
#include <string.h>

#define BIT(state) (1u << (state))
#define USABLE     (BIT(PT_GROUP_STARTING) | BIT(PT_GROUP_IDLE) | BIT(PT_GROUP_BUSY))
#define ALL        (~0u)

uint32_t pt_groups_count(const struct pt_hub_groups *groups, unsigned states, uint32_t ranks)
{
    uint32_t n = 0;
    for (const struct pt_live *live = groups->live; live; live = live->next)
        n += (states & BIT(live->group.state)) && (!ranks || (live->group.ranks == ranks && !live->nspread));
    return n;
}

/* Those on this host. */
static uint32_t sum_ranks(const struct pt_hub_groups *groups, unsigned states)
{
    uint32_t n = 0;
    for (const struct pt_live *live = groups->live; live; live = live->next)
        if (states & BIT(live->group.state))
            n += live->nspread ? live->spread[0].ranks : live->group.ranks;
    return n;
}

/* --- tests that no group will run --- */

void pt_groups_tell_done(struct pt_hub *hub, const struct pt_bundle *bundle)
{
    struct pt_buf msg = {0};
    pt_tell_done(&msg, PT_NONE, bundle->bundle, bundle->attempt);
    pt_hub_tell(hub, &msg);
}

static void tell_no_group(struct pt_hub *hub, const struct pt_bundle *bundle, uint32_t test, const char *why)
{
    static char none[] = "";
    struct pt_buf msg = {0};
    struct pt_rank_word *words = calloc(bundle->ranks, sizeof(*words));
    struct pt_fall fall = {.bundle = bundle->bundle,
                           .attempt = bundle->attempt,
                           .group = PT_NONE,
                           .of = bundle->ranks,
                           .test = test,
                           .path = none,
                           .phase = PT_PHASE_SETUP,
                           .cause = PT_CAUSE_NO_GROUP,
                           .culprit = PT_NONE,
                           .text = (char *)(uintptr_t)why,
                           .words = words};
    if (words)
        pt_fall_encode(&fall, 0, &msg);
    else
        msg.bad = true;
    free(words);
    pt_hub_tell(hub, &msg);
}

void pt_groups_tell_none(struct pt_hub_groups *groups, struct pt_queue_item *item, const char *why)
{
    struct pt_bundle bundle;
    int rc = pt_queue_open(item, &bundle);
    free(item);
    if (rc < 0)
        return;
    for (uint32_t i = 0; i < bundle.nfiles; i++)
        for (uint32_t k = 0; k < bundle.files[i].ntests; k++)
            tell_no_group(groups->hub, &bundle, bundle.files[i].tests[k].test, why);
    pt_groups_tell_done(groups->hub, &bundle);
    pt_bundle_fini(&bundle);
}

void pt_groups_give_up(struct pt_hub_groups *groups, uint32_t ranks, const char *why)
{
    struct pt_queue_item *item;
    pt_warn("no group of %u ranks: %s", ranks, why);
    while ((item = pt_queue_take_ranks(&groups->hub->queue, ranks)))
        pt_groups_tell_none(groups, item, why);
}

/* --- which are needed --- */

static bool will_come(const struct pt_hub_groups *groups, uint32_t ranks)
{
    for (uint32_t i = 0; i < groups->sizes.n; i++)
        if (groups->sizes.sizes[i].ranks == ranks && groups->sizes.sizes[i].tests)
            return true;
    return false;
}

/* Where groups got nowhere one at a time is tried, and only for what waits. */
static uint32_t count_needed(const struct pt_hub_groups *groups, uint32_t ranks)
{
    uint32_t waits = pt_queue_count(&groups->hub->queue, ranks);
    uint32_t busy = pt_groups_count(groups, BIT(PT_GROUP_BUSY), ranks);
    uint32_t most = groups->hub->config.slots / ranks;
    if (groups->tries[ranks])
        return waits ? busy + 1 : 0;
    if (!waits && !will_come(groups, ranks))
        return 0;
    uint32_t needed = busy + waits;
    if (groups->fresh != PT_FRESH_NOT) {
        needed++;
        most++;
    }
    if (!needed)
        needed = 1;
    return needed < most ? needed : most;
}

static struct pt_live *find_idle(const struct pt_hub_groups *groups, uint32_t ranks, bool oldest)
{
    struct pt_live *best = NULL;
    for (struct pt_live *live = groups->live; live; live = live->next)
        if (live->group.state == PT_GROUP_IDLE && !live->nspread && (!ranks || live->group.ranks == ranks) &&
            (!best || (oldest ? live->used < best->used : live->used > best->used)))
            best = live;
    return best;
}

bool pt_groups_have_room(struct pt_hub_groups *groups, bool waits)
{
    uint32_t most = 4 * groups->hub->config.slots;
    struct pt_live *oldest = waits ? find_idle(groups, 0, true) : NULL;
    bool full = pt_groups_count(groups, ALL, 0) >= PT_GROUPS_MAX;
    if (!full && sum_ranks(groups, ALL) <= most)
        return true;
    if (oldest && (full || sum_ranks(groups, USABLE) > most))
        pt_live_leave(oldest, PT_GROUP_LEAVE_MS);
    return false;
}

static void start_needed(struct pt_hub_groups *groups, uint32_t ranks)
{
    bool waits = pt_queue_count(&groups->hub->queue, ranks) > 0;
    while (pt_groups_count(groups, USABLE, ranks) < count_needed(groups, ranks) &&
           pt_groups_count(groups, BIT(PT_GROUP_STARTING), 0) < PT_GROUP_STARTS &&
           pt_groups_have_room(groups, waits))
        if (pt_live_start(groups, ranks, NULL) < 0)
            return;
}

void pt_hub_groups_deal(struct pt_hub_groups *groups)
{
    struct pt_hub *hub = groups->hub;
    struct pt_live *idle;
    uint32_t ranks = PT_NONE;
    pt_hub_let_go(hub);
    if (hub->order.len || hub->ended)
        return;
    hub->group_waits = 0;
    pt_spread_deal(groups);
    if (!hub->queue.head && !groups->sizes.n)
        return;
    while ((ranks = pt_queue_largest(&hub->queue, ranks)))
        while (pt_queue_count(&hub->queue, ranks) && (idle = find_idle(groups, ranks, false)) &&
               !hub->group_waits && pt_hub_may_run(hub, ranks))
            pt_live_give(idle);
    bool agent = pt_queue_largest(&hub->queue, PT_NONE) || groups->sizes.n ? pt_live_agent(groups) : true;
    for (ranks = PT_NONE; (ranks = pt_queue_largest(&hub->queue, ranks));)
        if (agent)
            start_needed(groups, ranks);
        else
            pt_groups_give_up(groups, ranks, groups->no_agent);
    for (uint32_t i = 0; agent && i < groups->sizes.n; i++)
        if (groups->sizes.sizes[i].ranks <= hub->config.slots)
            start_needed(groups, groups->sizes.sizes[i].ranks);
}

/* --- what the master says --- */

int pt_hub_groups_sizes(struct pt_hub_groups *groups, struct pt_reader *r, struct pt_err *err)
{
    struct pt_sizes sizes;
    if (pt_sizes_decode(r, &sizes, err) < 0)
        return -1;
    pt_sizes_fini(&groups->sizes);
    groups->sizes = sizes;
    pt_hub_groups_deal(groups);
    return 0;
}

static void send_all(struct pt_hub_groups *groups, const void *frames, size_t n)
{
    for (struct pt_live *live = groups->live; live; live = live->next)
        pt_live_send(live, frames, n);
}

void pt_hub_groups_limits(struct pt_hub_groups *groups, const struct pt_limits *limits,
                          const struct pt_frame *frame)
{
    groups->mpi_grace = limits->mpi_grace_ms;
    groups->fresh = limits->fresh;
    send_all(groups, frame->data, frame->len);
}

void pt_hub_groups_session(struct pt_hub_groups *groups)
{
    send_all(groups, groups->hub->session.data, groups->hub->session.len);
}

void pt_hub_groups_order(struct pt_hub_groups *groups, const struct pt_frame *frame)
{
    bool quit = frame->type == PT_L_QUIT;
    groups->cancelled = groups->cancelled || !quit;
    for (struct pt_live *live = groups->live; live; live = live->next) {
        enum pt_group_state state = live->group.state;
        if (state == PT_GROUP_STARTING || (state == PT_GROUP_FALLING && groups->cancelled))
            pt_live_end(live);
        else if (quit && state != PT_GROUP_FALLING && state != PT_GROUP_ENDING)
            pt_live_leave(live, groups->hub->grace); /* those that leave already: by that time */
        else if (!quit)
            pt_live_send(live, frame->data, frame->len);
    }
}

/* --- bundles that a group runs --- */

static struct pt_live *find_holder(const struct pt_hub_groups *groups, uint32_t bundle)
{
    struct pt_live *live = bundle == PT_NONE || groups->hub->order.len ? NULL : groups->live;
    while (live && !(live->group.work.active && live->group.work.bundle.bundle == bundle))
        live = live->next;
    return live;
}

bool pt_hub_groups_holds(const struct pt_hub_groups *groups, uint32_t bundle, uint32_t *attempt)
{
    const struct pt_live *live = find_holder(groups, bundle);
    if (live)
        *attempt = live->group.work.bundle.attempt;
    return live != NULL;
}

bool pt_hub_groups_drop(struct pt_hub_groups *groups, uint32_t bundle)
{
    struct pt_live *live = find_holder(groups, bundle);
    if (!live)
        return false;
    pt_groups_tell_done(groups->hub, &live->group.work.bundle);
    pt_live_end(live);
    pt_hub_groups_deal(groups);
    return true;
}

void pt_hub_groups_pause(struct pt_hub_groups *groups, bool pause)
{
    for (struct pt_live *live = groups->live; live; live = live->next)
        for (uint32_t i = 0; i < live->group.ranks; i++)
            if (live->peers[i])
                pt_conn_pause(live->peers[i]->conn, pause);
}

bool pt_hub_groups_over(const struct pt_hub_groups *groups)
{
    return pt_groups_count(groups, ~BIT(PT_GROUP_ENDING), 0) == 0;
}
