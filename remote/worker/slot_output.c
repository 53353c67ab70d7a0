/* SPDX-License-Identifier: Apache-2.0 */
/* What a slot's runner wrote, on its way to the hub. Nothing is lost: while the hub takes no more it waits in
 * the file, and a runner that writes on is not read. */
#include "remote/worker/slot_inside.h"
#include "remote/worker/tell.h"

#define QUEUE_HIGH  (4u << 20) /* bytes to the hub at which the runner has to wait */
#define QUEUE_LOW   (1u << 20)
#define UNREAD_HIGH (64 << 20) /* bytes in the file at which it has to wait */
#define UNREAD_LOW  (8 << 20)
#define KEEP        (1 << 20) /* of what is sent, for what a death quotes */

void pt_slot_throttle(struct pt_slot *slot)
{
    size_t queued = pt_conn_queued(slot->hub);
    off_t left = pt_output_left(&slot->output);
    bool pause = queued > QUEUE_HIGH || left > UNREAD_HIGH;
    if (slot->paused)
        pause = queued >= QUEUE_LOW || left > UNREAD_LOW;
    if (!slot->runner || pause == slot->paused)
        return;
    slot->paused = pause;
    pt_runner_pause(slot->runner, pause);
}

static void send_more(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    while (pt_conn_queued(slot->hub) <= QUEUE_HIGH && pt_output_next(&slot->output, slot->rank, &msg))
        pt_slot_send(slot, &msg);
    pt_output_trim(&slot->output, KEEP);
}

void pt_slot_flush(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    if (pt_conn_queued(slot->hub) < QUEUE_LOW)
        send_more(slot);
    pt_slot_throttle(slot);
    if (!slot->leaves || pt_output_left(&slot->output))
        return;
    slot->leaves = false;
    pt_tell_bye(&msg, slot->rank);
    pt_slot_send(slot, &msg);
    pt_slot_move(slot, GONE);
}

void pt_slot_output(struct pt_slot *slot)
{
    pt_output_mark(&slot->output, slot->work.active ? slot->work.bundle.bundle : PT_NONE, slot->work.test);
    send_more(slot);
}

void pt_slot_mark(struct pt_slot *slot)
{
    slot->mark = slot->output.sent + pt_output_unread(&slot->output);
}

void pt_slot_bound_output(struct pt_slot *slot)
{
    if (pt_output_unread(&slot->output) > UNREAD_LOW)
        pt_slot_output(slot);
}
