/* SPDX-License-Identifier: Apache-2.0 */
/* How a lane brings trees to its host, one after the other, and what it remembers of them. */
#include "lane_parts.h"

#include "common/log.h"
#include "common/loop.h"

#include <string.h>

#define MUCH (256u << 10) /* bytes of content */

/* --- figures --- */

/* Seconds since the last look belong to the phase that was then. */
static void count_time(struct pt_lane *lane)
{
    double now = pt_wall_clock(), more = now - lane->phase_at;
    double *of[] = {[PT_PUSH_OFFERED] = &lane->sync.offer,
                    [PT_PUSH_SENDING] = &lane->sync.send,
                    [PT_PUSH_SENT] = &lane->sync.finish};
    if (lane->phase <= PT_PUSH_SENT && more > 0)
        *of[lane->phase] += more;
    lane->phase = pt_push_state(lane->push);
    lane->phase_at = now;
}

static struct pt_lane_sync figures(const struct pt_lane *lane)
{
    struct pt_lane_sync sync = lane->sync;
    struct pt_push_figures f;
    pt_push_get_figures(lane->push, &f);
    sync.wire += f.wire;
    sync.raw += f.raw;
    sync.total += f.total;
    sync.synced = f.synced;
    sync.rate = sync.send > 0.001 ? (uint64_t)((double)sync.wire / sync.send) : 0;
    return sync;
}

static void tell(struct pt_lane *lane, enum pt_lane_kind kind, const char *text)
{
    struct pt_lane_post *p = pt_lane_event_new(lane, kind);
    pt_lane_event_of(p)->sync = figures(lane);
    if (text)
        pt_lane_event_of(p)->text = strdup(text);
    pt_lane_event_send(lane, p);
}

/* --- memory --- */

/* What the workspace was last, as far as anybody remembers. */
static const struct pt_manifest *find_base(struct pt_lane *lane, const struct pt_manifest *target)
{
    if (lane->base || !lane->sent)
        return lane->base;
    const unsigned char *root = pt_sent_root(lane->sent);
    if (root && memcmp(root, pt_manifest_root(target), PT_DIGEST) == 0)
        return target; /* equal but for times, which need not be looked at */
    return pt_sent_manifest(lane->sent);
}

static void remember(struct pt_lane *lane, bool forgot)
{
    struct pt_err err = PT_ERR_INIT;
    lane->base = pt_fanout_manifest(lane->tree);
    if (!lane->sent)
        return;
    if (lane->rate.measured)
        pt_sent_set_rate(lane->sent, lane->rate.rate);
    if (pt_sent_tree(lane->sent, lane->base, forgot, &err) < 0 || pt_sent_save(lane->sent, &err) < 0)
        pt_debug("%s: %s", lane->o.target.name, err.msg);
}

/* --- pushes --- */

/* What breaks off from here on is worth a question the next time. */
static void note_much(struct pt_lane *lane)
{
    struct pt_push_figures f;
    pt_push_get_figures(lane->push, &f);
    if (lane->sent && f.total > MUCH)
        pt_sent_set_unfinished(lane->sent);
}

static int begin(struct pt_lane *lane, struct pt_fanout *tree, struct pt_err *err)
{
    struct pt_push_spec spec = {.fanout = tree,
                                .base = find_base(lane, pt_fanout_manifest(tree)),
                                .known = lane->sent ? pt_sent_known(lane->sent) : NULL,
                                .keep = lane->o.keep,
                                .nkeep = lane->o.nkeep,
                                .ask = lane->sent && pt_sent_unfinished(lane->sent)};
    struct pt_buf *control = pt_mux_queue(lane->mux, PT_MUX_CONTROL);
    lane->tree = tree;
    lane->push = pt_push_create(&spec, control, err);
    if (!lane->push)
        return -1;
    lane->phase = pt_push_state(lane->push);
    lane->phase_at = pt_wall_clock();
    note_much(lane);
    return 0;
}

static void end(struct pt_lane *lane)
{
    lane->sync = figures(lane);
    pt_push_destroy(lane->push);
    lane->push = NULL;
}

int pt_lane_push(struct pt_lane *lane, struct pt_fanout *tree, struct pt_err *err)
{
    if (!lane->push)
        return begin(lane, tree, err);
    if (lane->next)
        pt_fanout_skip(lane->next);
    lane->next = tree;
    return 0;
}

/* The push under way is DONE or STALE. */
static int finish(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_push_figures f;
    struct pt_fanout *next = lane->next;
    bool done = pt_push_state(lane->push) == PT_PUSH_DONE;
    pt_push_get_figures(lane->push, &f);
    if (!next)
        tell(lane, done ? PT_LANE_SYNCED : PT_LANE_STALE, done ? NULL : pt_push_why(lane->push));
    end(lane);
    if (done)
        remember(lane, f.forgot);
    lane->next = NULL;
    return next ? begin(lane, next, err) : 0;
}

int pt_lane_push_control(struct pt_lane *lane, uint8_t type, struct pt_reader *r, struct pt_err *err)
{
    if (!lane->push)
        return pt_err_set(err, "message %u without a tree under way", type);
    if (pt_push_control(lane->push, type, r, err) < 0)
        return -1;
    count_time(lane);
    note_much(lane);
    return lane->phase == PT_PUSH_DONE || lane->phase == PT_PUSH_STALE ? finish(lane, err) : 0;
}

void pt_lane_push_fini(struct pt_lane *lane)
{
    pt_push_destroy(lane->push);
    lane->push = NULL;
    if (lane->next)
        pt_fanout_skip(lane->next);
    lane->next = NULL;
    pt_sent_destroy(lane->sent);
    lane->sent = NULL;
}

/* --- the bulk stream --- */

/* Before anything is known of the way there, only a little goes on it. */
static bool may_send(const struct pt_lane *lane)
{
    size_t queued = pt_mux_queued(lane->mux, PT_MUX_BULK);
    if (lane->rate.rate || !lane->push || pt_push_state(lane->push) != PT_PUSH_SENDING)
        return queued < PT_LANE_BULK;
    return pt_mux_pulled(lane->mux, PT_MUX_BULK) + queued < lane->rate.from + PT_LANE_FIRST;
}

int pt_lane_push_fd(const struct pt_lane *lane)
{
    return lane->push && may_send(lane) ? pt_push_fd(lane->push) : -1;
}

static int fill_tool(struct pt_lane *lane, struct pt_buf *b)
{
    const struct pt_tool *tool = &pt_tools()[lane->tools[0]];
    if (!lane->tool_open) {
        size_t mark = pt_frame_begin(b, PT_B_TOOL);
        pt_put_u32(b, lane->tools[0]);
        pt_frame_end(b, mark);
        lane->tool_open = true;
        lane->tool_sent = 0;
    }
    size_t n = tool->size - lane->tool_sent;
    n = n > PT_DATA_CHUNK ? PT_DATA_CHUNK : n;
    size_t mark = pt_frame_begin(b, PT_B_DATA);
    pt_buf_append(b, (const char *)tool->data + lane->tool_sent, n);
    pt_frame_end(b, mark);
    lane->tool_sent += n;
    if (lane->tool_sent == tool->size) {
        pt_frame_end(b, pt_frame_begin(b, PT_B_END));
        lane->tool_open = false;
        memmove(lane->tools, lane->tools + 1, --lane->ntools * sizeof(lane->tools[0]));
    }
    return b->bad ? -1 : 1;
}

static int fill_push(struct pt_lane *lane, struct pt_buf *b, struct pt_err *err)
{
    int rc = pt_push_pull(lane->push, b, PT_LANE_BULK / 4, pt_rate_level(&lane->rate, lane->o.lanes), err);
    count_time(lane);
    if (rc > 0 && pt_now_ms() - lane->told > 100) {
        lane->told = pt_now_ms();
        tell(lane, PT_LANE_SENDING, NULL);
    }
    return rc;
}

int pt_lane_fill(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_buf *b = pt_mux_queue(lane->mux, PT_MUX_BULK);
    int rc = 1;
    bool more = lane->ntools || (lane->push && pt_push_state(lane->push) == PT_PUSH_SENDING);
    if (!pt_mux_queued(lane->mux, PT_MUX_BULK) && lane->out.len == lane->out_sent)
        pt_rate_idle(&lane->rate, pt_mux_pulled(lane->mux, PT_MUX_BULK), pt_now_ms(), !more);
    while (rc > 0 && may_send(lane)) {
        if (lane->ntools && !(lane->push && pt_push_open(lane->push)))
            rc = fill_tool(lane, b) < 0 ? pt_err_set(err, "out of memory") : 1;
        else
            rc = lane->push ? fill_push(lane, b, err) : 0;
    }
    return rc < 0 ? -1 : 0;
}

void pt_lane_measure(struct pt_lane *lane)
{
    if (pt_rate_ask(&lane->rate, pt_mux_pulled(lane->mux, PT_MUX_BULK), pt_now_ms(), false))
        pt_lane_say(lane, PT_C_PING, lane->rate.token, 8);
}
