/* SPDX-License-Identifier: Apache-2.0 */
/* What a runner says: checked, noted in the work, and passed on. */
#include "common/loop.h"
#include "remote/worker/memory.h"
#include "remote/worker/slot_inside.h"
#include "remote/worker/tell.h"

#define LEAVE_MS 2000 /* for the process to go after its session ended */

static int on_import(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t file = pt_get_u32(r);
    if (!pt_get_end(r) || pt_work_importing(&slot->work, file) < 0)
        return -1;
    slot->began = pt_now_ms();
    pt_slot_untime_test(slot);
    pt_slot_time_test(slot);
    return 0;
}

static int on_start(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t test = pt_get_u32(r);
    uint8_t phase = pt_get_u8(r);
    int rc = pt_get_end(r) ? pt_work_started(&slot->work, test, phase) : -1;
    if (rc != 0)
        return rc;
    slot->began = pt_now_ms();
    if (phase == PT_PHASE_SETUP) {
        slot->test_began = pt_slot_now();
        struct pt_buf msg = {0};
        pt_slot_untime_test(slot); /* an import's */
        pt_slot_bound_output(slot);
        pt_tell_started(&msg, slot->rank, &slot->work.bundle, test);
        if (slot->resting)
            pt_slot_hold_started(slot, &msg);
        else
            pt_slot_send(slot, &msg);
    }
    pt_slot_time_test(slot);
    return 0;
}

static int on_report(struct pt_slot *slot, struct pt_reader *r)
{
    size_t n;
    uint32_t test = pt_get_u32(r);
    uint8_t outcome = pt_get_u8(r);
    const void *json = pt_get_bytes(r, &n);
    if (!pt_get_end(r) || outcome == PT_OUTCOME_NONE || outcome >= PT_OUTCOMES)
        return -1;
    if (slot->limits.output_ms && test == slot->work.test)
        pt_slot_output(slot);
    int rc = pt_work_reported(&slot->work, test);
    pt_slot_untime_test(slot);
    if (rc != 0)
        return rc;
    struct pt_buf msg = {0};
    pt_tell_report(&msg, slot->rank, &slot->work.bundle, test, outcome, json, n);
    pt_slot_send(slot, &msg);
    slot->progress = true;
    pt_slot_rest(slot);
    return 0;
}

static int on_note(struct pt_slot *slot, struct pt_reader *r)
{
    size_t n;
    const void *json = pt_get_bytes(r, &n);
    if (!pt_get_end(r))
        return -1;
    struct pt_buf msg = {0};
    pt_tell_note(&msg, slot->rank, slot->work.active ? &slot->work.bundle : NULL, json, n);
    pt_slot_send(slot, &msg);
    return 0;
}

static int on_done(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t bundle = pt_get_u32(r);
    if (!pt_get_end(r) || !slot->work.active || bundle != slot->work.bundle.bundle)
        return -1;
    pt_slot_untime_test(slot);
    slot->progress = true;
    pt_slot_finish(slot);
    if (slot->state == RUNNING)
        pt_slot_feed(slot);
    return 0;
}

/* After QUIT, or because only a fresh process should go on. */
static int on_ended_session(struct pt_slot *slot)
{
    if (!slot->up)
        return -1;
    slot->ended = true;
    pt_slot_untime_test(slot);
    pt_slot_time_end(slot, LEAVE_MS);
    return 0;
}

/* One for each STEAL; an answer that comes too late gives nothing. */
static int on_stolen(struct pt_slot *slot, struct pt_reader *r)
{
    struct pt_steal steal;
    struct pt_frame first;
    int rc = 0;
    if (pt_steal_decode(r, &steal, NULL) < 0)
        return -1;
    bool ours = slot->work.active && steal.bundle == slot->work.bundle.bundle;
    if (!steal.n && slot->late) {
        slot->late--;
    } else if (ours && pt_frame_next(slot->asked.data, slot->asked.len, PT_MAX_FRAME, &first.type,
                                     &first.body, &first.len) == 1) {
        pt_buf_consume(&slot->asked, first.len);
        slot->nasked--;
        rc = pt_slot_give(slot, &steal) == steal.n ? 0 : -1;
    } else if (ours && steal.n) {
        rc = -1; /* they would be run by nobody */
    }
    pt_steal_fini(&steal);
    return rc;
}

/* The child that ran the tests; the session waits for what is left. */
static int on_died(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t status = pt_get_u32(r);
    if (!pt_get_end(r) || !slot->up || slot->member)
        return -1;
    pt_slot_untime_test(slot);
    pt_slot_output(slot);
    pt_slot_tell_death(slot, status);
    pt_slot_answer(slot);
    slot->fruitless = slot->progress ? 0 : slot->fruitless + 1;
    slot->progress = slot->dumping = false;
    slot->cause = PT_CAUSE_DIED;
    slot->oom_kills = pt_memory_oom_kills();
    pt_slot_watch(slot);
    if (slot->state == READY || slot->state == ENDING)
        return 0;
    if (slot->quitting)
        pt_slot_leave(slot);
    else if (slot->fruitless >= PT_SLOT_FRUITLESS)
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
    else
        pt_slot_feed(slot);
    return 0;
}

static int on_up(struct pt_slot *slot)
{
    if (slot->state != STARTING)
        return -1;
    slot->up = true;
    if (slot->member)
        pt_member_bind(slot);
    pt_slot_feed(slot);
    return 0;
}

static int on_broken(struct pt_slot *slot, struct pt_reader *r)
{
    size_t n;
    const void *text = pt_get_bytes(r, &n);
    if (!pt_get_end(r))
        return -1;
    pt_buf_clear(&slot->broken);
    pt_buf_append(&slot->broken, n ? text : "?", n ? n : 1);
    return 0;
}

int pt_slot_obey(struct pt_slot *slot, struct pt_frame *frame)
{
    switch (frame->type) {
    case PT_R_UP:
        return on_up(slot);
    case PT_R_IMPORT:
        return on_import(slot, &frame->body);
    case PT_R_START:
        return on_start(slot, &frame->body);
    case PT_R_REPORT:
        return on_report(slot, &frame->body);
    case PT_R_NOTE:
        return on_note(slot, &frame->body);
    case PT_R_DONE:
        return on_done(slot, &frame->body);
    case PT_R_ENDED:
        return on_ended_session(slot);
    case PT_R_STOLEN:
        return on_stolen(slot, &frame->body);
    case PT_R_DIED:
        return on_died(slot, &frame->body);
    case PT_R_FAILED:
        return slot->member ? pt_member_failed(slot, &frame->body) : -1;
    case PT_R_BROKEN:
        return on_broken(slot, &frame->body);
    default:
        return -1;
    }
}
