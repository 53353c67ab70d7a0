/* SPDX-License-Identifier: Apache-2.0 */
/* What a runner says: checked, noted in the work, and passed on. */
#include "common/loop.h"
#include "remote/worker/slot_inside.h"
#include "remote/worker/tell.h"

#define OUTPUT_MOST (64 << 20) /* bytes of output in one bundle; what comes before is lost */
#define LEAVE_MS    2000       /* for the process to go after its session ended */

static int on_import(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t file = pt_get_u32(r);
    if (!pt_get_end(r) || pt_work_importing(&slot->work, file) < 0)
        return -1;
    slot->began = pt_now_ms();
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
        struct pt_buf msg = {0};
        pt_slot_bound_output(slot, OUTPUT_MOST);
        pt_tell_started(&msg, slot->rank, &slot->work.bundle, test);
        pt_slot_send(slot, &msg);
    }
    if (slot->work.bundle.timeout_ms && !slot->limit)
        slot->limit = pt_loop_after(slot->loop, slot->work.bundle.timeout_ms, pt_slot_on_limit, slot);
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
    int rc = pt_work_reported(&slot->work, test);
    pt_loop_cancel(slot->loop, slot->limit);
    slot->limit = 0;
    if (rc != 0)
        return rc;
    struct pt_buf msg = {0};
    pt_tell_report(&msg, slot->rank, &slot->work.bundle, test, outcome, json, n);
    pt_slot_send(slot, &msg);
    slot->progress = true;
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
    pt_loop_cancel(slot->loop, slot->limit);
    slot->limit = 0;
    slot->progress = true;
    pt_slot_finish(slot);
    if (slot->state == RUNNING)
        pt_slot_feed(slot);
    return 0;
}

static int on_ended_session(struct pt_slot *slot)
{
    slot->ended = true;
    if (slot->state != ENDING)
        return 0;
    pt_slot_stop_timers(slot);
    slot->leaving = pt_loop_after(slot->loop, LEAVE_MS, pt_slot_on_leaving, slot);
    return 0;
}

static int on_up(struct pt_slot *slot)
{
    if (slot->state != STARTING)
        return -1;
    slot->up = true;
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
    case PT_R_BROKEN:
        return on_broken(slot, &frame->body);
    default:
        return -1;
    }
}
