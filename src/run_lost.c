/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that lose their workers or their connection: what they held goes to others, and they begin again, so
 * often. */
#include "run_parts.h"

#include "common/log.h"
#include "status.h"

#include <stdio.h>

#define AGAIN_MS 500   /* before a host is connected to again */
#define MORE_MS  3000  /* and again */
#define ALONE_MS 30000 /* where no other host works, so long */

void pt_run_host_unlink(struct pt_run_host *h)
{
    pt_link_destroy(h->link);
    h->link = NULL;
}

/* What it held goes to others. */
static void lose_work(struct pt_run_host *h, const char *why)
{
    snprintf(h->died, sizeof(h->died), "%s", why);
    pt_run_away_end(h);
    pt_run_host_unlink(h);
    pt_status_lost(h->run->status, h->number);
    pt_plan_lost(h->run->plan, h->number, pt_run_lost_test, h->run);
    pt_run_across_lost(h);
    pt_run_deal(h->run);
}

void pt_run_host_give_up(struct pt_run_host *h, const char *why)
{
    lose_work(h, why);
    snprintf(h->why, sizeof(h->why), "%s", why);
    h->lost = !h->leaves;
    if (h->state < PT_HOST_STOPPING) {
        pt_run_host_set(h, PT_HOST_STOPPING);
        pt_lane_stop(h->lane, 0);
    }
}

void pt_run_host_workers_lost(struct pt_run_host *h, const char *why)
{
    char starts[96];
    lose_work(h, why);
    if (h->state == PT_HOST_ENDING) {
        pt_run_host_note(h, "the workers ended before their sessions did: %s", why);
        pt_run_host_set(h, PT_HOST_STOPPING);
        pt_lane_stop(h->lane, 0);
        return;
    }
    if (h->leaves) {
        pt_run_host_note(h, "%s; it was to leave: others do what it had", why);
        pt_run_host_set(h, PT_HOST_STOPPING);
        pt_lane_stop(h->lane, 0);
        return;
    }
    if (pt_run_host_spent(h)) {
        pt_run_host_note(h, "%s; given up after %u starts", why, h->launches);
        pt_run_host_give_up(h, why);
        return;
    }
    pt_run_host_starts(h, starts, sizeof(starts));
    pt_run_host_note(h, "%s; starting its workers again (%s)", why, starts);
    pt_run_host_launch(h);
}

static bool others_work(const struct pt_run_host *h)
{
    const struct pt_run *run = h->run;
    for (size_t i = 0; i < run->hosts.n; i++)
        if (&run->at[i] != h && pt_plan_held(run->plan, run->at[i].number) > 0)
            return true;
    return false;
}

/* A host that was there may come back: while others work there is no hurry. */
static bool may_come_back(const struct pt_run_host *h, const struct pt_lane_event *e, bool was_away)
{
    const struct pt_run *run = h->run;
    if (!e->err.msg[0] || (e->level && !was_away) || run->ending || run->stopping || h->leaves ||
        pt_run_host_spent(h))
        return false;
    if (h->state == PT_HOST_CONNECTING || h->state == PT_HOST_PREPARING)
        return h->lost_at && (others_work(h) || pt_now_ms() - h->lost_at < ALONE_MS);
    return h->state >= PT_HOST_LAUNCHING && h->state <= PT_HOST_WORKING;
}

static void connect_again(struct pt_run_host *h, const char *why)
{
    bool first = h->state >= PT_HOST_LAUNCHING;
    char starts[96];
    if (first) {
        h->lost_at = pt_now_ms();
        pt_run_host_starts(h, starts, sizeof(starts));
        pt_run_host_note(h, "%s; connecting again (%s)", why, starts);
    } else {
        pt_debug("%s: %s; connecting again", h->host->name, why);
    }
    if (h->state != PT_HOST_CONNECTING)
        pt_run_host_set(h, PT_HOST_CONNECTING);
    pt_loop_cancel(h->run->loop, h->timer);
    h->timer = pt_loop_after(h->run->loop, first ? AGAIN_MS : MORE_MS, pt_run_host_connect, h);
}

void pt_run_host_down(struct pt_run_host *h, const struct pt_lane_event *e)
{
    struct pt_run *run = h->run;
    enum pt_host_state was = h->state;
    bool away = h->away.since != 0;
    pt_run_collect_lost(h);
    if (pt_run_away_down(h, e))
        return;
    lose_work(h, e->err.msg);
    pt_run_across_down(h);
    if (may_come_back(h, e, away)) {
        connect_again(h, e->err.msg);
        return;
    }
    pt_run_host_set(h, PT_HOST_DOWN);
    pt_loop_cancel(run->loop, h->timer);
    h->timer = 0;
    pt_plan_expect(run->plan, h->number, 0);
    pt_plan_never(run->plan, h->number);
    pt_run_host_offer_tree(h, false);
    if (e->err.msg[0] && was != PT_HOST_STOPPING && !run->interrupted) {
        h->lost = !h->leaves;
        snprintf(h->why, sizeof(h->why), "%s", e->err.msg);
        pt_run_host_note(h, "%s%s%s", e->err.msg, e->err.hint[0] ? "; next: " : "", e->err.hint);
    }
    pt_run_host_show(h, h->lost ? "lost" : "done");
    if (h->leaves && !run->ending && !run->stopping)
        pt_run_host_note(h, "has left the run");
    if (run->collected)
        pt_run_hosts_collected(run);
    pt_run_deal(run);
}
