/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent says on the control stream becomes events of the run. */
#include "lane_parts.h"

#include "common/auto.h"
#include "common/loop.h"
#include "common/quote.h"
#include "common/shortage.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* --- events --- */

struct pt_lane_post {
    void (*on_event)(void *arg, struct pt_lane_event *event);
    void *arg;
    struct pt_lane *lane;
    size_t bytes;
    struct pt_lane_event event;
};

static void deliver(void *arg)
{
    struct pt_lane_post *p = arg;
    atomic_fetch_sub(&p->lane->untold, p->bytes); /* the last event may end the lane */
    p->on_event(p->arg, &p->event);
    if (p->event.fd >= 0)
        close(p->event.fd);
    pt_ready_fini(&p->event.ready);
    pt_listening_fini(&p->event.listening);
    pt_reached_fini(&p->event.reached);
    free(p->event.text);
    free(p);
}

struct pt_lane_post *pt_lane_event_new(struct pt_lane *lane, enum pt_lane_kind kind)
{
    struct pt_lane_post *p = calloc(1, sizeof(*p));
    if (!p)
        abort(); /* an event that cannot be told would hang the run */
    p->on_event = lane->o.on_event;
    p->arg = lane->o.arg;
    p->lane = lane;
    p->event = (struct pt_lane_event){.kind = kind, .host = lane->o.host, .fd = -1, .at = pt_wall_clock()};
    return p;
}

struct pt_lane_event *pt_lane_event_of(struct pt_lane_post *post)
{
    return &post->event;
}

void pt_lane_event_send(struct pt_lane *lane, struct pt_lane_post *p)
{
    p->bytes = sizeof(*p) + (p->event.text ? strlen(p->event.text) : 0);
    atomic_fetch_add(&lane->untold, p->bytes);
    if (pt_loop_post(lane->o.loop, deliver, p) < 0)
        abort();
}

void pt_lane_tell(struct pt_lane *lane, enum pt_lane_kind kind, uint64_t bytes)
{
    struct pt_lane_post *p = pt_lane_event_new(lane, kind);
    p->event.bytes = bytes;
    pt_lane_event_send(lane, p);
}

/* --- control messages of the agent --- */

static int on_missing(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    uint32_t n = pt_get_u32(r);
    if (n > PT_TOOLS || lane->ntools)
        return pt_err_set(err, "the agent misses %u programs", n);
    for (uint32_t i = 0; i < n; i++) {
        lane->tools[i] = pt_get_u32(r);
        if (lane->tools[i] >= PT_TOOLS)
            return pt_err_set(err, "the agent misses a program that does not exist");
    }
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed MISSING");
    lane->ntools = n;
    if (n == 0)
        pt_lane_tell(lane, PT_LANE_TOOLED, 0);
    return 0;
}

static int on_ready(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_READY);
    if (pt_ready_decode(r, &pt_lane_event_of(p)->ready, err) < 0) {
        free(p);
        return -1;
    }
    uint32_t protocol = pt_lane_event_of(p)->ready.protocol;
    pt_lane_event_send(lane, p);
    if (protocol != PT_PROTOCOL)
        return pt_err_set(err, "the agent speaks protocol %u, this master %u", protocol, PT_PROTOCOL);
    return 0;
}

static int on_attached(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    uint32_t launch = pt_get_u32(r);
    if (!pt_get_end(r) || !lane->attaching)
        return pt_err_set(err, "malformed ATTACHED");
    lane->attaching = false;
    pt_lane_tell(lane, PT_LANE_ATTACHED, launch);
    return 0;
}

static int on_exited(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    uint8_t program = pt_get_u8(r);
    uint32_t status = pt_get_u32(r);
    size_t n;
    const void *said = pt_get_bytes(r, &n);
    if (!pt_get_end(r) || n > PT_MAX_TEXT)
        return pt_err_set(err, "malformed EXITED");
    char *text = pt_quote_nuls(said, n);
    if (!text)
        return pt_err_set(err, "out of memory");
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_EXITED);
    pt_lane_event_of(p)->program = program;
    pt_lane_event_of(p)->status = status;
    pt_lane_event_of(p)->text = text;
    pt_lane_event_send(lane, p);
    return 0;
}

static int on_log(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    uint8_t level = pt_get_u8(r);
    char *text = pt_get_str(r, PT_MAX_TEXT);
    if (!pt_get_end(r)) {
        free(text);
        return pt_err_set(err, "malformed LOG");
    }
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_LOG);
    pt_lane_event_of(p)->level = level;
    pt_lane_event_of(p)->text = text;
    pt_lane_event_send(lane, p);
    return 0;
}

static int on_fail(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    lane->unfit = true;
    pt_get_u8(r);
    pt_auto_free char *message = pt_get_str(r, PT_MAX_TEXT);
    pt_auto_free char *hint = pt_get_str(r, PT_MAX_TEXT);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed FAIL");
    pt_err_set_kind(err, PT_ERR_INFRA, "%s", message[0] ? message : "the agent failed and did not say why");
    if (hint[0])
        pt_err_hint(err, "%s", hint);
    return pt_shortage_hint(err);
}

static int on_python(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    pt_auto_free char *version = pt_get_str(r, 255);
    pt_auto_free char *pytest = pt_get_str(r, 255);
    pt_auto_free char *path = pt_get_str(r, PT_MAX_PATH);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed PYTHON");
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_PYTHON);
    if (asprintf(&pt_lane_event_of(p)->text, "Python %s, pytest %s, %s", version, pytest, path) < 0)
        pt_lane_event_of(p)->text = NULL;
    pt_lane_event_send(lane, p);
    return 0;
}

static int on_pong(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    uint64_t token = pt_get_u64(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed PONG");
    pt_rate_answer(&lane->rate, token, pt_now_ms());
    return 0;
}

static int on_listening(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_LISTENING);
    if (pt_listening_decode(r, &p->event.listening, err) < 0) {
        free(p);
        return -1;
    }
    pt_lane_event_send(lane, p);
    return 0;
}

static int on_reached(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_REACHED);
    if (pt_reached_decode(r, &p->event.reached, err) < 0) {
        free(p);
        return -1;
    }
    pt_lane_event_send(lane, p);
    return 0;
}

static int on_peered(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed PEERED");
    pt_lane_tell(lane, PT_LANE_PEERED, 0);
    return 0;
}

static int on_cleaned(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    uint64_t bytes = pt_get_u64(r);
    char *text = pt_get_str(r, PT_MAX_TEXT);
    if (!pt_get_end(r)) {
        free(text);
        return pt_err_set(err, "malformed CLEANED");
    }
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_CLEANED);
    p->event.bytes = bytes;
    p->event.text = text;
    pt_lane_event_send(lane, p);
    return 0;
}

static int on_control(struct pt_lane *lane, uint8_t type, struct pt_reader *r, struct pt_err *err)
{
    switch (type) {
    case PT_C_READY:
        return on_ready(lane, r, err);
    case PT_C_ATTACHED:
        return on_attached(lane, r, err);
    case PT_C_MISSING:
        return on_missing(lane, r, err);
    case PT_C_TREE:
    case PT_C_NEED:
    case PT_C_SYNCED:
    case PT_C_RESEND:
        return pt_lane_push_control(lane, type, r, err);
    case PT_C_LAUNCHED:
        pt_lane_tell(lane, PT_LANE_LAUNCHED, 0);
        return 0;
    case PT_C_EXITED:
        return on_exited(lane, r, err);
    case PT_C_LOG:
        return on_log(lane, r, err);
    case PT_C_FAIL:
        return on_fail(lane, r, err);
    case PT_C_PONG:
        return on_pong(lane, r, err);
    case PT_C_STOPPED:
        lane->stopped = true;
        return lane->stop_by ? 0
                             : pt_err_set_kind(err, PT_ERR_INFRA, "the agent stopped, and nobody told it to");
    case PT_C_PYTHON:
        return on_python(lane, r, err);
    case PT_C_LISTENING:
        return on_listening(lane, r, err);
    case PT_C_REACHED:
        return on_reached(lane, r, err);
    case PT_C_PEERED:
        return on_peered(lane, r, err);
    case PT_C_CLEANED:
        return on_cleaned(lane, r, err);
    default:
        return pt_err_set(err, "unknown control message %u", type);
    }
}

int pt_lane_control(struct pt_lane *lane, const void *data, size_t n, struct pt_err *err)
{
    size_t used = 0, total;
    uint8_t type;
    struct pt_reader body;
    int rc = 0;
    pt_buf_append(&lane->control, data, n);
    if (lane->control.bad)
        return pt_err_set(err, "out of memory");
    while ((rc = pt_frame_next(lane->control.data + used, lane->control.len - used, PT_MAX_FRAME, &type,
                               &body, &total)) > 0) {
        used += total;
        if (on_control(lane, type, &body, err) < 0)
            return -1;
    }
    if (rc < 0)
        return pt_err_set(err, "a control frame of impossible length");
    pt_buf_consume(&lane->control, used);
    return 0;
}

void pt_lane_say(struct pt_lane *lane, uint8_t type, uint64_t value, size_t bytes)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    if (bytes == 8)
        pt_put_u64(&b, value);
    else if (bytes == 4)
        pt_put_u32(&b, (uint32_t)value);
    else if (bytes == 1)
        pt_put_u8(&b, (uint8_t)value);
    pt_frame_end(&b, mark);
    if (!b.bad)
        pt_mux_send(lane->mux, PT_MUX_CONTROL, b.data, b.len);
    pt_buf_fini(&b);
}
