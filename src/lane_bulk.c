/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent is sent on the bulk stream: programs it misses, then what the push gives. */
#include "lane_parts.h"

#include "common/loop.h"

#include <string.h>

uint64_t pt_lane_pushed(const struct pt_lane *lane)
{
    return lane->pushed + (lane->push ? pt_push_bytes(lane->push) : 0);
}

void pt_lane_push_end(struct pt_lane *lane)
{
    if (lane->push)
        lane->pushed += pt_push_bytes(lane->push);
    pt_push_destroy(lane->push);
    lane->push = NULL;
    lane->push_open = false;
}

int pt_lane_push(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_buf frame = {0};
    pt_lane_push_end(lane);
    lane->push = pt_push_create(lane->manifest, &frame, err);
    int rc = lane->push && !frame.bad && pt_mux_send(lane->mux, PT_MUX_CONTROL, frame.data, frame.len) == 0
                 ? 0
                 : -1;
    pt_buf_fini(&frame);
    return rc;
}

static int fill_tool(struct pt_lane *lane)
{
    struct pt_buf b = {0};
    const struct pt_tool *tool = &pt_tools()[lane->tools[0]];
    if (!lane->tool_open) {
        size_t mark = pt_frame_begin(&b, PT_B_TOOL);
        pt_put_u32(&b, lane->tools[0]);
        pt_frame_end(&b, mark);
        lane->tool_open = true;
        lane->tool_sent = 0;
    }
    size_t n = tool->size - lane->tool_sent;
    n = n > PT_DATA_CHUNK ? PT_DATA_CHUNK : n;
    size_t mark = pt_frame_begin(&b, PT_B_DATA);
    pt_buf_append(&b, (const char *)tool->data + lane->tool_sent, n);
    pt_frame_end(&b, mark);
    lane->tool_sent += n;
    if (lane->tool_sent == tool->size) {
        pt_frame_end(&b, pt_frame_begin(&b, PT_B_END));
        lane->tool_open = false;
        memmove(lane->tools, lane->tools + 1, --lane->ntools * sizeof(lane->tools[0]));
    }
    int rc = b.bad ? -1 : pt_mux_send(lane->mux, PT_MUX_BULK, b.data, b.len);
    pt_buf_fini(&b);
    return rc;
}

/* Whether the last frame of what the push gave leaves an object open. */
static bool ends_open(const struct pt_buf *b, bool open)
{
    size_t used = 0, total;
    uint8_t type;
    struct pt_reader body;
    while (pt_frame_next(b->data + used, b->len - used, PT_FRAME_MAX, &type, &body, &total) > 0) {
        used += total;
        open = type != PT_B_END;
    }
    return open;
}

/* 1 something was queued, 0 nothing to queue, -1. */
static int fill_push(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_buf b = {0};
    int rc = pt_push_pull(lane->push, &b, PT_LANE_BULK / 2, err);
    if (rc > 0) {
        lane->push_open = ends_open(&b, lane->push_open);
        if (b.bad || pt_mux_send(lane->mux, PT_MUX_BULK, b.data, b.len) < 0)
            rc = pt_err_set(err, "out of memory");
    }
    pt_buf_fini(&b);
    return rc;
}

int pt_lane_fill(struct pt_lane *lane, struct pt_err *err)
{
    int rc = 1;
    while (rc > 0 && pt_mux_queued(lane->mux, PT_MUX_BULK) < PT_LANE_BULK) {
        if (lane->ntools && !lane->push_open)
            rc = fill_tool(lane) < 0 ? pt_err_set(err, "out of memory") : 1;
        else
            rc = lane->push ? fill_push(lane, err) : 0;
    }
    if (lane->push && pt_now_ms() - lane->told > 100 && pt_push_bytes(lane->push)) {
        lane->told = pt_now_ms();
        pt_lane_tell(lane, PT_LANE_SENDING, pt_lane_pushed(lane));
    }
    return rc < 0 ? -1 : 0;
}
