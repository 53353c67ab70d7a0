/* SPDX-License-Identifier: Apache-2.0 */
/* What the hub asks of a slot. */
#include "common/err.h"
#include "common/log.h"
#include "remote/worker/slot_inside.h"
#include "remote/worker/tell.h"

#include <stdlib.h>
#include <string.h>

static void on_session(struct pt_slot *slot, struct pt_frame *frame)
{
    if (slot->state != WAITING || slot->quitting)
        return;
    if (slot->member && !pt_member_welcome(slot)) {
        pt_error("rank %u: SESSION before WELCOME: a bug", slot->rank);
        return;
    }
    pt_buf_clear(&slot->session);
    pt_buf_append(&slot->session, frame->data, frame->len);
    if (slot->session.bad) {
        pt_slot_stop(slot, "out of memory", strlen("out of memory"));
        return;
    }
    slot->session.data[PT_FRAME_HEAD - 1] = PT_R_SESSION;
    pt_slot_start(slot);
}

static void on_limits(struct pt_slot *slot, struct pt_reader *r)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_limits limits;
    if (pt_limits_decode(r, &limits, &err) < 0) {
        pt_error("rank %u: %s", slot->rank, err.msg);
        return;
    }
    slot->limits = limits;
    pt_slot_watch(slot);
}

static void on_bundle(struct pt_slot *slot, struct pt_frame *frame)
{
    struct pt_bundle bundle;
    struct pt_err err = PT_ERR_INIT;
    bool welcome = (slot->state == READY || slot->state == STARTING) && !slot->work.active;
    if (pt_bundle_decode(&frame->body, &bundle, &err) < 0) {
        pt_error("rank %u: %s", slot->rank, err.msg);
        return;
    }
    if (!welcome) {
        pt_bundle_fini(&bundle);
        return;
    }
    if (pt_work_init(&slot->work, &bundle, &err) < 0)
        pt_error("rank %u: %s", slot->rank, err.msg);
    else if (slot->state == READY)
        pt_slot_feed(slot);
}

/* --- tests and bundles that are wanted back --- */

uint32_t pt_slot_give(struct pt_slot *slot, const struct pt_steal *asked)
{
    struct pt_buf msg = {0};
    struct pt_steal given = {.bundle = asked->bundle, .tests = calloc(asked->n + 1, sizeof(*given.tests))};
    if (given.tests)
        given.n = pt_work_take(&slot->work, asked->tests, asked->n, given.tests);
    pt_tell_stolen(&msg, slot->rank, slot->work.bundle.attempt, &given);
    pt_slot_send(slot, &msg);
    free(given.tests);
    return given.n;
}

void pt_slot_forget_asked(struct pt_slot *slot)
{
    pt_buf_fini(&slot->asked);
    slot->late += slot->nasked;
    slot->nasked = 0;
}

void pt_slot_answer(struct pt_slot *slot)
{
    struct pt_frame frame;
    size_t used = 0;
    while (slot->work.active && used < slot->asked.len &&
           pt_frame_next(slot->asked.data + used, slot->asked.len - used, PT_MAX_FRAME, &frame.type,
                         &frame.body, &frame.len) == 1) {
        struct pt_steal steal;
        used += frame.len;
        if (pt_steal_decode(&frame.body, &steal, NULL) == 0)
            pt_slot_give(slot, &steal);
        pt_steal_fini(&steal);
    }
    pt_slot_forget_asked(slot);
}

static void ask_runner(struct pt_slot *slot, const struct pt_frame *frame, const struct pt_steal *steal)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_R_STEAL);
    pt_put_u32(&msg, steal->n);
    for (uint32_t i = 0; i < steal->n; i++)
        pt_put_u32(&msg, steal->tests[i]);
    pt_frame_end(&msg, mark);
    pt_buf_append(&slot->asked, frame->data, frame->len);
    slot->nasked++;
    if (msg.bad || slot->asked.bad)
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
    else
        pt_runner_send(slot->runner, msg.data, msg.len);
    pt_buf_fini(&msg);
}

/* Of a bundle that is not here the hub knows: our DONE or BROKEN is on its way. */
static void on_steal(struct pt_slot *slot, struct pt_frame *frame)
{
    struct pt_steal steal;
    struct pt_err err = PT_ERR_INIT;
    if (pt_steal_decode(&frame->body, &steal, &err) < 0) {
        pt_error("rank %u: %s", slot->rank, err.msg);
        return;
    }
    bool ours = slot->work.active && slot->work.bundle.bundle == steal.bundle && !slot->dropped;
    if (ours && slot->state == RUNNING)
        ask_runner(slot, frame, &steal);
    else if (ours && (slot->state == STARTING || slot->state == KILLING))
        pt_slot_give(slot, &steal);
    if (ours && slot->state == STARTING && !slot->work.left)
        pt_slot_finish(slot);
    pt_steal_fini(&steal);
}

static void on_drop(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t bundle = pt_get_u32(r);
    if (!slot->work.active || slot->work.bundle.bundle != bundle || slot->quitting || slot->cancelled)
        return;
    if (slot->state == STARTING) {
        pt_slot_finish(slot);
        return;
    }
    slot->dropped = true;
    slot->dumping = false;
    if (slot->state == KILLING)
        pt_runner_kill(slot->runner, false);
    else
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
}

/* --- the end --- */

static void on_cancel(struct pt_slot *slot)
{
    slot->cancelled = true;
    slot->dumping = false;
    if (slot->state == WAITING)
        pt_slot_move(slot, STOPPED);
    else if (slot->runner && slot->state != KILLING)
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
    else if (slot->runner)
        pt_runner_kill(slot->runner, false);
}

void pt_slot_leave(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    pt_frame_end(&msg, pt_frame_begin(&msg, PT_R_QUIT));
    pt_runner_send(slot->runner, msg.data, msg.len);
    pt_buf_fini(&msg);
    pt_slot_time_end(slot, slot->grace);
    pt_slot_move(slot, ENDING);
}

static void on_quit(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t grace = pt_get_u32(r);
    if (slot->quitting)
        return;
    slot->quitting = true;
    slot->grace = grace;
    switch (slot->state) {
    case WAITING:
    case STOPPED:
        pt_slot_say_bye(slot);
        break;
    case STARTING:
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
        break;
    case READY:
    case RUNNING:
        pt_slot_leave(slot);
        break;
    default:
        break; /* KILLING ends in BYE */
    }
}

void pt_slot_hear(struct pt_slot *slot, struct pt_frame *frame)
{
    if (slot->member && pt_member_refused(slot, frame))
        return;
    switch (frame->type) {
    case PT_L_SESSION:
        on_session(slot, frame);
        break;
    case PT_L_LIMITS:
        on_limits(slot, &frame->body);
        break;
    case PT_L_BUNDLE:
        on_bundle(slot, frame);
        break;
    case PT_L_STEAL:
        on_steal(slot, frame);
        break;
    case PT_L_DROP:
        on_drop(slot, &frame->body);
        break;
    case PT_L_CANCEL:
        on_cancel(slot);
        break;
    case PT_L_QUIT:
        on_quit(slot, &frame->body);
        break;
    default:
        if (!slot->member || pt_member_hear(slot, frame) < 0)
            pt_error("rank %u: message %u from the hub: a bug", slot->rank, frame->type);
    }
}
