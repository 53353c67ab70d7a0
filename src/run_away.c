/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts whose connection broke while they worked, and that go on by themselves (--linger): what they hold
 * stays theirs, and they are connected to again until their time is over. The state of such a host does not
 * change; what it is told meanwhile waits in its backlog.
 *
 *   DOWN of its lane ─► away ─(a new lane)─► ATTACHED ─► RELINK ─► HELLO ─► back
 *                        ▲          │ DOWN again          │ no link in time: its workers are ended
 *                        └──────────┘
 */
#include "run_parts.h"

#include "common/log.h"

#include <stdio.h>

#define FIRST_MS  200   /* until the first try: most breaks are short */
#define AGAIN_MS  1000  /* between two tries */
#define LINK_MS   30000 /* from RELINK to the workers' link */
#define ENDING_MS 60000 /* for a host that has only its sessions to end */

static bool may_go_on(const struct pt_run_host *h, const struct pt_lane_event *e)
{
    const struct pt_run *run = h->run;
    return run->opts->linger_ms && h->dir && (h->state == PT_HOST_WORKING || h->state == PT_HOST_ENDING) &&
           !run->stopping && !run->failed && e->err.kind == PT_ERR_INFRA;
}

static void on_try(void *arg)
{
    struct pt_run_host *h = arg;
    h->away.timer = 0;
    if (pt_run_host_attach(h) < 0)
        h->away.timer = pt_loop_after(h->run->loop, AGAIN_MS, on_try, h);
}

static void leave(struct pt_run_host *h, const struct pt_lane_event *e)
{
    int64_t now = pt_now_ms(), linger = h->run->opts->linger_ms;
    if (h->state == PT_HOST_ENDING && linger > ENDING_MS)
        linger = ENDING_MS;
    h->away.since = now;
    h->away.until = now + linger;
    pt_run_host_unlink(h);
    pt_run_across_lost(h);
    pt_run_across_down(h);
    pt_run_host_note(h, "%s; it goes on by itself, connecting again for %lld s", e->err.msg,
                     (long long)(linger / 1000));
    pt_run_host_show(h, "away");
}

bool pt_run_away_down(struct pt_run_host *h, const struct pt_lane_event *e)
{
    bool first = !h->away.since;
    if (!may_go_on(h, e)) {
        pt_run_away_end(h);
        return false;
    }
    if (first)
        leave(h, e);
    h->away.attached = false;
    pt_loop_cancel(h->run->loop, h->away.timer);
    h->away.timer = 0;
    if (e->level || pt_now_ms() >= h->away.until) {
        pt_run_host_note(h, "it did not %s: %s", e->level ? "go on by itself" : "come back", e->err.msg);
        pt_run_away_end(h);
        return false;
    }
    if (!first)
        pt_debug("%s: %s; trying again", h->host->name, e->err.msg);
    h->away.timer = pt_loop_after(h->run->loop, first ? FIRST_MS : AGAIN_MS, on_try, h);
    return true;
}

static void on_no_link(void *arg)
{
    struct pt_run_host *h = arg;
    h->away.timer = 0;
    pt_run_host_note(h, "its workers did not come back in %d s", LINK_MS / 1000);
    pt_run_away_end(h);
    pt_lane_end_workers(h->lane, 0); /* EXITED follows */
}

void pt_run_away_attached(struct pt_run_host *h, uint32_t launch)
{
    struct pt_buf b = {0};
    if (!h->away.since)
        return;
    h->away.attached = true;
    pt_run_collect_offer(h);
    if (launch != h->launches) {
        pt_run_away_end(h); /* its workers ended meanwhile: EXITED follows */
        return;
    }
    pt_run_host_keys(h, PT_C_RELINK, &b);
    pt_lane_send(h->lane, &b);
    h->away.timer = pt_loop_after(h->run->loop, LINK_MS, on_no_link, h);
}

bool pt_run_away_expects(const struct pt_run_host *h, const struct pt_hello *hello)
{
    return h->away.attached && !h->link && hello->launch == h->launches && hello->slots == h->launch_slots;
}

void pt_run_away_back(struct pt_run_host *h, struct pt_link *link, uint64_t got)
{
    struct pt_run *run = h->run;
    struct pt_err err = PT_ERR_INIT;
    double seconds = (double)(pt_now_ms() - h->away.since) / 1000;
    if (pt_backlog_got(&h->backlog, got) < 0) {
        pt_link_refuse(link, "these are not the messages that were sent");
        return;
    }
    if (pt_ledger_commit(run->ledger, &err) < 0) {
        pt_run_fail(run, &err);
        return;
    }
    pt_run_away_end(h);
    h->link = link;
    h->acked = h->seq;
    pt_link_welcome(link, h->acked);
    if (h->backlog.frames.len)
        pt_link_send(link, &h->backlog.frames);
    pt_run_host_note(h, "is back after %.1f s", seconds);
    pt_run_host_show(h, "ready");
    pt_run_deal(run);
}

void pt_run_away_end(struct pt_run_host *h)
{
    pt_loop_cancel(h->run->loop, h->away.timer);
    h->away = (struct pt_run_away){0};
}

/* --- what it is told --- */

void pt_run_host_say(struct pt_run_host *h, const struct pt_buf *frames)
{
    struct pt_err err = PT_ERR_INIT;
    if (h->run->opts->linger_ms && pt_backlog_add(&h->backlog, frames) < 0) {
        pt_err_set(&err, "host %s: out of memory", h->host->name);
        pt_run_fail(h->run, &err);
    }
    if (h->link)
        pt_link_send(h->link, frames);
}
