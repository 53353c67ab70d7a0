/* SPDX-License-Identifier: Apache-2.0 */
/* What a slot does by the clock: the time of a test and of a session's end, a look at memory and output. */
#include "common/log.h"
#include "common/loop.h"
#include "remote/worker/memory.h"
#include "remote/worker/slot_inside.h"

#define PAUSED_MS 1000 /* a test that cannot report because we do not read is given this more */
#define WEIGH_MS  200

static void on_limit(void *arg)
{
    struct pt_slot *slot = arg;
    uint64_t limit = slot->limit;
    if (slot->resting && !slot->paused)
        pt_runner_catch_up(slot->runner);
    if (slot->limit != limit) /* it was told meanwhile */
        return;
    pt_slot_look(slot);
    bool longer = slot->work.phase == PT_PHASE_TEARDOWN || slot->work.phase == PT_PHASE_COLLECT;
    bool grace = slot->limits.grace_ms && longer && !slot->graced;
    slot->limit = 0;
    if (slot->paused || grace) {
        slot->graced = slot->graced || !slot->paused;
        slot->limit =
            pt_loop_after(slot->loop, slot->paused ? PAUSED_MS : slot->limits.grace_ms, on_limit, slot);
        return;
    }
    slot->dumping = true;
    pt_slot_kill(slot, PT_CAUSE_TIMEOUT, true);
}

void pt_slot_time_test(struct pt_slot *slot)
{
    if (slot->work.bundle.timeout_ms && !slot->limit)
        slot->limit = pt_loop_after(slot->loop, slot->work.bundle.timeout_ms, on_limit, slot);
}

void pt_slot_untime_test(struct pt_slot *slot)
{
    pt_loop_cancel(slot->loop, slot->limit);
    slot->limit = 0;
    slot->graced = false;
}

static void on_leaving(void *arg)
{
    struct pt_slot *slot = arg;
    slot->leaving = 0;
    pt_slot_kill(slot, PT_CAUSE_TIMEOUT, !slot->ended);
}

void pt_slot_time_end(struct pt_slot *slot, int64_t ms)
{
    pt_loop_cancel(slot->loop, slot->leaving);
    slot->leaving = pt_loop_after(slot->loop, ms, on_leaving, slot);
}

static void on_weigh(void *arg)
{
    struct pt_slot *slot = arg;
    uint64_t most = slot->limits.memory;
    slot->weigh = 0;
    if (slot->state == RUNNING || slot->state == ENDING) {
        uint64_t bytes = pt_memory_of_tree(pt_runner_pid(slot->runner), most);
        if (most && bytes > most) {
            slot->heavy = bytes;
            pt_slot_kill(slot, PT_CAUSE_MEMORY, false);
            return;
        }
    }
    pt_slot_watch(slot);
}

static void on_look(void *arg)
{
    struct pt_slot *slot = arg;
    slot->look = 0;
    pt_slot_output(slot);
    pt_slot_watch(slot);
}

void pt_slot_watch(struct pt_slot *slot)
{
    if (slot->runner && slot->limits.memory && !slot->weigh)
        slot->weigh = pt_loop_after(slot->loop, WEIGH_MS, on_weigh, slot);
    if (slot->runner && slot->limits.output_ms && !slot->look)
        slot->look = pt_loop_after(slot->loop, slot->limits.output_ms, on_look, slot);
}

void pt_slot_stop_timers(struct pt_slot *slot)
{
    uint64_t *timers[] = {&slot->limit, &slot->leaving, &slot->weigh, &slot->look};
    for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++) {
        pt_loop_cancel(slot->loop, *timers[i]);
        *timers[i] = 0;
    }
    slot->graced = false;
    pt_slot_wake(slot);
}
