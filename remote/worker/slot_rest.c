/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that take no time are told in crowds, and every word would wake the slot, the hub, the agent and the
 * master. So a runner that reports quickly is read every few milliseconds, and what it said goes on together.
 * What it said before it died is in its socket, and is read then. Near the end of a bundle nobody rests. */
#include "common/loop.h"
#include "remote/worker/slot_inside.h"

#define REST_MS   10
#define REST_LEFT 8 /* tests of the bundle that are still to come */

static void on_rest(void *arg);

static bool may_rest(const struct pt_slot *slot)
{
    return slot->state == RUNNING && slot->runner && !slot->member && !slot->nasked && !slot->paused &&
           slot->work.left >= REST_LEFT;
}

static void lie_down(struct pt_slot *slot)
{
    slot->resting = true;
    slot->heard = false;
    slot->rest = pt_loop_after(slot->loop, REST_MS, on_rest, slot);
    pt_runner_pause(slot->runner, true);
    pt_conn_cork(slot->hub, true);
}

/* What was held back goes on. */
static void pass_on(struct pt_slot *slot)
{
    if (slot->started.len && !slot->started.bad)
        pt_conn_send(slot->hub, slot->started.data, slot->started.len);
    pt_buf_clear(&slot->started);
    pt_conn_cork(slot->hub, false);
}

void pt_slot_wake(struct pt_slot *slot)
{
    if (!slot->resting)
        return;
    slot->resting = false;
    pt_loop_cancel(slot->loop, slot->rest);
    slot->rest = 0;
    pass_on(slot);
    if (slot->runner)
        pt_runner_pause(slot->runner, slot->paused);
    pt_slot_throttle(slot);
}

static void on_rest(void *arg)
{
    struct pt_slot *slot = arg;
    slot->rest = 0;
    if (slot->runner && !slot->paused)
        pt_runner_catch_up(slot->runner);
    if (!slot->resting)
        return;
    if (!slot->heard || !may_rest(slot)) {
        pt_slot_wake(slot);
        return;
    }
    pass_on(slot);
    lie_down(slot);
}

void pt_slot_hold_started(struct pt_slot *slot, struct pt_buf *msg)
{
    pt_buf_fini(&slot->started);
    slot->started = *msg;
    *msg = (struct pt_buf){0};
}

void pt_slot_rest(struct pt_slot *slot)
{
    int64_t now = pt_now_ms(), since = now - slot->reported;
    slot->reported = now;
    slot->heard = true;
    pt_buf_clear(&slot->started);
    if (!slot->resting && since < REST_MS && may_rest(slot))
        lie_down(slot);
}
