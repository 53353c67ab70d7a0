/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of one host. Its life: open -> boot -> talk -> close. While it talks it moves bytes between the
 * transport and the streams (mux), between streams and the run's descriptors (channels.c), feeds the bulk
 * stream from the programs and the push, and turns the agent's messages into events. Commands of the run come
 * as whole control frames through a locked list and a wake descriptor.
 *
 * Whatever fails (connect, boot, a malformed message, silence, FAIL) ends in one DOWN event with the reason.
 */
#include "lane.h"

#include "channels.h"
#include "common/auto.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mux.h"
#include "remote/boot.h"
#include "sync/push.h"
#include "tools.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/utsname.h>

#define BOOT_SILENCE_MS 60000 /* no byte for so long before the agent speaks: give up */
#define SILENCE_MS      30000 /* no byte for so long from an agent that is pinged */
#define PING_MS         2000
#define OUT_TARGET      (256u << 10) /* bytes kept ready for the transport */
#define BULK_TARGET     (1u << 20)   /* bytes kept queued on the bulk stream */
#define ERR_TAIL        4096         /* of the command's stderr */

struct command {
    struct command *next;
    struct pt_buf frame;                /* whole control frame, or empty */
    const struct pt_manifest *manifest; /* a tree to push */
    bool stop;
    uint32_t grace_ms;
};

struct pt_lane {
    struct pt_lane_options o;
    pthread_t thread;
    int wake;
    pthread_mutex_t lock; /* guards head and tail */
    struct command *head, **tail;

    /* the thread's own from here on */
    struct pt_transport *transport;
    struct pt_mux *mux;
    struct pt_channels *channels;
    struct pt_buf out;     /* bytes for the transport */
    struct pt_buf control; /* control stream, not yet whole frames */
    struct pt_push *push;
    const struct pt_manifest *manifest;
    uint32_t tools[PT_TOOLS]; /* to send, in order */
    size_t ntools, tool_sent;
    bool tool_open, push_open; /* in the middle of an object */
    uint64_t pushed;           /* bytes of earlier pushes */
    char tail_text[ERR_TAIL];
    size_t tail_len;
    int64_t heard, pinged, told;
    int64_t stop_by; /* 0: not stopping */
    bool stopped;
    struct pt_err failure; /* set by a callback of the mux */
    bool failed;
    bool unfit; /* the agent said FAIL: trying again is no use */
};

/* --- events --- */

struct posted {
    void (*on_event)(void *arg, struct pt_lane_event *event);
    void *arg;
    struct pt_lane_event event;
};

static void deliver(void *arg)
{
    struct posted *p = arg;
    p->on_event(p->arg, &p->event);
    if (p->event.fd >= 0)
        close(p->event.fd);
    pt_ready_fini(&p->event.ready);
    free(p->event.text);
    free(p);
}

static struct posted *event_new(const struct pt_lane *lane, enum pt_lane_kind kind)
{
    struct posted *p = calloc(1, sizeof(*p));
    if (!p)
        abort(); /* an event that cannot be told would hang the run */
    p->on_event = lane->o.on_event;
    p->arg = lane->o.arg;
    p->event = (struct pt_lane_event){.kind = kind, .host = lane->o.host, .fd = -1, .at = pt_wall_clock()};
    return p;
}

static void event_post(const struct pt_lane *lane, struct posted *p)
{
    if (pt_loop_post(lane->o.loop, deliver, p) < 0)
        abort();
}

static void tell(const struct pt_lane *lane, enum pt_lane_kind kind, uint64_t bytes)
{
    struct posted *p = event_new(lane, kind);
    p->event.bytes = bytes;
    event_post(lane, p);
}

/* --- control messages of the agent --- */

static uint64_t tree_bytes(const struct pt_lane *lane)
{
    return lane->pushed + (lane->push ? pt_push_bytes(lane->push) : 0);
}

static void end_push(struct pt_lane *lane)
{
    if (lane->push)
        lane->pushed += pt_push_bytes(lane->push);
    pt_push_destroy(lane->push);
    lane->push = NULL;
    lane->push_open = false;
}

static int start_push(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_buf frame = {0};
    end_push(lane);
    lane->push = pt_push_create(lane->manifest, &frame, err);
    int rc = lane->push && !frame.bad && pt_mux_send(lane->mux, PT_MUX_CONTROL, frame.data, frame.len) == 0
                 ? 0
                 : -1;
    pt_buf_fini(&frame);
    return rc;
}

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
        tell(lane, PT_LANE_TOOLED, 0);
    return 0;
}

static int on_ready(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    struct posted *p = event_new(lane, PT_LANE_READY);
    if (pt_ready_decode(r, &p->event.ready, err) < 0) {
        free(p);
        return -1;
    }
    uint32_t protocol = p->event.ready.protocol;
    event_post(lane, p);
    if (protocol != PT_PROTOCOL)
        return pt_err_set(err, "the agent speaks protocol %u, this master %u", protocol, PT_PROTOCOL);
    return 0;
}

static int on_exited(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    uint8_t program = pt_get_u8(r);
    uint32_t status = pt_get_u32(r);
    char *text = pt_get_str(r, PT_MAX_TEXT);
    if (!pt_get_end(r)) {
        free(text);
        return pt_err_set(err, "malformed EXITED");
    }
    struct posted *p = event_new(lane, PT_LANE_EXITED);
    p->event.program = program;
    p->event.status = status;
    p->event.text = text;
    event_post(lane, p);
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
    struct posted *p = event_new(lane, PT_LANE_LOG);
    p->event.level = level;
    p->event.text = text;
    event_post(lane, p);
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
    pt_err_set_kind(err, PT_ERR_INFRA, "%s", message);
    if (hint[0])
        pt_err_hint(err, "%s", hint);
    return -1;
}

static int on_python(struct pt_lane *lane, struct pt_reader *r, struct pt_err *err)
{
    pt_auto_free char *version = pt_get_str(r, 255);
    pt_auto_free char *pytest = pt_get_str(r, 255);
    pt_auto_free char *path = pt_get_str(r, PT_MAX_PATH);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed PYTHON");
    struct posted *p = event_new(lane, PT_LANE_PYTHON);
    if (asprintf(&p->event.text, "Python %s, pytest %s, %s", version, pytest, path) < 0)
        p->event.text = NULL;
    event_post(lane, p);
    return 0;
}

/* What the push makes of TREE, NEED, SYNCED, RESEND. */
static int on_tree(struct pt_lane *lane, uint8_t type, struct pt_reader *r, struct pt_err *err)
{
    if (!lane->push)
        return pt_err_set(err, "message %u without a tree under way", type);
    if (pt_push_control(lane->push, type, r, err) < 0)
        return -1;
    enum pt_push_state state = pt_push_state(lane->push);
    if (state == PT_PUSH_DONE)
        tell(lane, PT_LANE_SYNCED, tree_bytes(lane));
    else if (state == PT_PUSH_STALE)
        tell(lane, PT_LANE_STALE, tree_bytes(lane));
    if (state == PT_PUSH_DONE || state == PT_PUSH_STALE)
        end_push(lane);
    return 0;
}

static int on_control(struct pt_lane *lane, uint8_t type, struct pt_reader *r, struct pt_err *err)
{
    switch (type) {
    case PT_C_READY:
        return on_ready(lane, r, err);
    case PT_C_MISSING:
        return on_missing(lane, r, err);
    case PT_C_TREE:
    case PT_C_NEED:
    case PT_C_SYNCED:
    case PT_C_RESEND:
        return on_tree(lane, type, r, err);
    case PT_C_LAUNCHED:
        tell(lane, PT_LANE_LAUNCHED, 0);
        return 0;
    case PT_C_EXITED:
        return on_exited(lane, r, err);
    case PT_C_LOG:
        return on_log(lane, r, err);
    case PT_C_FAIL:
        return on_fail(lane, r, err);
    case PT_C_PONG:
        return 0;
    case PT_C_STOPPED:
        lane->stopped = true;
        return 0;
    case PT_C_PYTHON:
        return on_python(lane, r, err);
    default:
        return pt_err_set(err, "unknown control message %u", type);
    }
}

static int take_control(struct pt_lane *lane, const void *data, size_t n, struct pt_err *err)
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

/* --- streams --- */

static void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    struct pt_lane *lane = arg;
    if (kind != PT_MUX_KIND_LINK && kind != PT_MUX_KIND_COLLECT) {
        pt_mux_close(lane->mux, stream);
        return;
    }
    struct posted *p = event_new(lane, kind == PT_MUX_KIND_LINK ? PT_LANE_LINK : PT_LANE_COLLECT);
    p->event.fd = pt_channels_add(lane->channels, stream);
    if (p->event.fd < 0) {
        free(p);
        pt_mux_close(lane->mux, stream);
        return;
    }
    event_post(lane, p);
}

static void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    struct pt_lane *lane = arg;
    if (stream != PT_MUX_CONTROL) {
        pt_channels_data(lane->channels, stream, data, n);
        return;
    }
    pt_mux_credit(lane->mux, stream, n);
    if (!lane->failed && take_control(lane, data, n, &lane->failure) < 0)
        lane->failed = true;
}

static void on_closed(void *arg, uint32_t stream)
{
    struct pt_lane *lane = arg;
    pt_channels_closed(lane->channels, stream);
}

/* --- bulk --- */

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
    int rc = pt_push_pull(lane->push, &b, BULK_TARGET / 2, err);
    if (rc > 0) {
        lane->push_open = ends_open(&b, lane->push_open);
        if (b.bad || pt_mux_send(lane->mux, PT_MUX_BULK, b.data, b.len) < 0)
            rc = pt_err_set(err, "out of memory");
    }
    pt_buf_fini(&b);
    return rc;
}

static int fill_bulk(struct pt_lane *lane, struct pt_err *err)
{
    int rc = 1;
    while (rc > 0 && pt_mux_queued(lane->mux, PT_MUX_BULK) < BULK_TARGET) {
        if (lane->ntools && !lane->push_open)
            rc = fill_tool(lane) < 0 ? pt_err_set(err, "out of memory") : 1;
        else
            rc = lane->push ? fill_push(lane, err) : 0;
    }
    if (lane->push && pt_now_ms() - lane->told > 100 && pt_push_bytes(lane->push)) {
        lane->told = pt_now_ms();
        tell(lane, PT_LANE_SENDING, tree_bytes(lane));
    }
    return rc < 0 ? -1 : 0;
}

/* --- commands --- */

static void send_frame(struct pt_lane *lane, uint8_t type, uint64_t value, size_t bytes)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, type);
    if (bytes == 8)
        pt_put_u64(&b, value);
    else if (bytes == 4)
        pt_put_u32(&b, (uint32_t)value);
    pt_frame_end(&b, mark);
    if (!b.bad)
        pt_mux_send(lane->mux, PT_MUX_CONTROL, b.data, b.len);
    pt_buf_fini(&b);
}

static void command_free(struct command *c)
{
    if (c->frame.data)
        explicit_bzero(c->frame.data, c->frame.cap);
    pt_buf_fini(&c->frame);
    free(c);
}

static struct command *command_take(struct pt_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    struct command *c = lane->head;
    if (c) {
        lane->head = c->next;
        if (!lane->head)
            lane->tail = &lane->head;
    }
    pthread_mutex_unlock(&lane->lock);
    return c;
}

static int run_command(struct pt_lane *lane, const struct command *c, struct pt_err *err)
{
    if (c->stop && !lane->stop_by) {
        lane->stop_by = pt_now_ms() + c->grace_ms + 10000;
        send_frame(lane, PT_C_STOP, c->grace_ms, 4);
    }
    if (c->manifest) {
        lane->manifest = c->manifest;
        return start_push(lane, err);
    }
    if (c->frame.len)
        pt_mux_send(lane->mux, PT_MUX_CONTROL, c->frame.data, c->frame.len);
    return 0;
}

static int run_commands(struct pt_lane *lane, struct pt_err *err)
{
    uint64_t drained;
    struct command *c;
    while (read(lane->wake, &drained, sizeof(drained)) < 0 && errno == EINTR)
        ;
    while ((c = command_take(lane))) {
        int rc = run_command(lane, c, err);
        command_free(c);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* --- moving bytes --- */

static void keep_stderr(struct pt_lane *lane)
{
    char buf[1024];
    ssize_t n;
    while ((n = lane->transport->ops->read_err(lane->transport, buf, sizeof(buf))) > 0) {
        size_t keep = lane->tail_len + (size_t)n > ERR_TAIL ? ERR_TAIL - (size_t)n : lane->tail_len;
        memmove(lane->tail_text, lane->tail_text + lane->tail_len - keep, keep);
        memcpy(lane->tail_text + keep, buf, (size_t)n);
        lane->tail_len = keep + (size_t)n;
    }
}

/* The last line that the command wrote to stderr, or "". */
static void last_line(struct pt_lane *lane, char *out, size_t size)
{
    keep_stderr(lane);
    size_t end = lane->tail_len;
    while (end && strchr("\r\n ", lane->tail_text[end - 1]))
        end--;
    size_t start = end;
    while (start && lane->tail_text[start - 1] != '\n')
        start--;
    snprintf(out, size, "%.*s", (int)(end - start), lane->tail_text + start);
}

/* The connection is at its end: why. */
static int gone(struct pt_lane *lane, const char *doing, struct pt_err *err)
{
    char line[512];
    last_line(lane, line, sizeof(line));
    const char *why = lane->transport->ops->why(lane->transport);
    if (err->msg[0] && !why[0])
        return -1;
    pt_err_set_kind(err, PT_ERR_INFRA, "%s: the connection ended%s%s%s%s", doing, why[0] ? ": " : "", why,
                    line[0] ? ": " : "", line);
    return -1;
}

/* Give the transport what is ready. 0, or -1 when it is gone. */
static int write_out(struct pt_lane *lane)
{
    size_t sent = 0;
    for (;;) {
        if (lane->mux && lane->out.len - sent < OUT_TARGET) {
            pt_buf_consume(&lane->out, sent);
            sent = 0;
            pt_mux_pull(lane->mux, &lane->out, OUT_TARGET);
        }
        if (lane->out.len == sent)
            break;
        ssize_t n = lane->transport->ops->write(lane->transport, lane->out.data + sent, lane->out.len - sent);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    pt_buf_consume(&lane->out, sent);
    return 0;
}

static int boot_open(struct pt_lane *lane, struct pt_boot **boot, struct pt_err *err)
{
    const struct pt_tool *agent = pt_tools_agent();
    struct utsname uts;
    uname(&uts);
    struct pt_boot_agent what = {
        .data = agent->data, .size = agent->size, .digest = agent->hex, .machine = uts.machine};
    lane->transport = lane->o.target.local ? pt_local_open(&lane->o.target, lane->o.transport, err)
                                           : pt_ssh_open(&lane->o.target, lane->o.transport, err);
    if (!lane->transport || lane->transport->ops->exec(lane->transport, pt_boot_command(), err) < 0)
        return -1;
    *boot = pt_boot_create(&what, lane->o.remote_dir, &lane->out, err);
    return *boot ? 0 : -1;
}

static bool cancelled(const struct pt_lane *lane)
{
    return lane->o.transport->cancel && *lane->o.transport->cancel;
}

/* Until the agent speaks; its first bytes go to rest. */
static int boot_run(struct pt_lane *lane, struct pt_boot *boot, struct pt_buf *rest, struct pt_err *err)
{
    static __thread char buf[64u << 10];
    lane->heard = pt_now_ms();
    for (;;) {
        if (write_out(lane) < 0)
            return gone(lane, "starting the agent", err);
        ssize_t n = lane->transport->ops->read(lane->transport, buf, sizeof(buf));
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return gone(lane, "starting the agent", err);
        if (n > 0) {
            lane->heard = pt_now_ms();
            int rc = pt_boot_feed(boot, buf, (size_t)n, &lane->out, rest, err);
            if (rc != 0)
                return rc < 0 ? -1 : 0;
            continue;
        }
        keep_stderr(lane);
        if (cancelled(lane))
            return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "interrupted");
        if (pt_now_ms() - lane->heard > BOOT_SILENCE_MS)
            return pt_err_set_kind(err, PT_ERR_INFRA, "the login shell gave no answer in %d s",
                                   BOOT_SILENCE_MS / 1000);
        if (lane->transport->ops->wait(lane->transport, NULL, 0, lane->out.len > 0, 500, err) < 0)
            return gone(lane, "starting the agent", err);
    }
}

static int hello(struct pt_lane *lane, struct pt_err *err)
{
    static const struct pt_mux_callbacks callbacks = {
        .opened = on_opened, .data = on_data, .closed = on_closed};
    struct pt_buf b = {0};
    lane->mux = pt_mux_create(&callbacks, lane, err);
    lane->channels = lane->mux ? pt_channels_create(lane->mux, err) : NULL;
    if (!lane->channels)
        return -1;
    pt_setup_encode(&lane->o.setup, &b);
    size_t mark = pt_frame_begin(&b, PT_C_TOOLS);
    pt_put_u32(&b, PT_TOOLS);
    for (size_t i = 0; i < PT_TOOLS; i++) {
        const struct pt_tool *tool = &pt_tools()[i];
        pt_put_str(&b, tool->name);
        pt_buf_append(&b, tool->digest, PT_DIGEST);
        pt_put_u64(&b, tool->size);
    }
    pt_frame_end(&b, mark);
    int rc = b.bad ? -1 : pt_mux_send(lane->mux, PT_MUX_CONTROL, b.data, b.len);
    pt_buf_fini(&b);
    return rc < 0 ? pt_err_set(err, "out of memory") : 0;
}

static int feed(struct pt_lane *lane, const void *data, size_t n, struct pt_err *err)
{
    lane->heard = pt_now_ms();
    if (pt_mux_feed(lane->mux, data, n, err) < 0)
        return pt_err_wrap(err, "the agent broke the protocol");
    if (lane->failed) {
        *err = lane->failure;
        return -1;
    }
    return 0;
}

/* Read all that is there. 0, 1 at the proper end, -1. */
static int read_all(struct pt_lane *lane, struct pt_err *err)
{
    static __thread char buf[256u << 10];
    ssize_t n;
    while ((n = lane->transport->ops->read(lane->transport, buf, sizeof(buf))) > 0)
        if (feed(lane, buf, (size_t)n, err) < 0)
            return -1;
    keep_stderr(lane);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return lane->stopped || lane->stop_by ? 1 : gone(lane, "talking to the agent", err);
}

static int check_time(struct pt_lane *lane, struct pt_err *err)
{
    int64_t now = pt_now_ms();
    if (now - lane->pinged >= PING_MS) {
        lane->pinged = now;
        send_frame(lane, PT_C_PING, (uint64_t)now, 8);
    }
    if (lane->stop_by && now > lane->stop_by)
        return pt_err_set_kind(err, PT_ERR_INFRA, "did not clean up in time");
    if (now - lane->heard > SILENCE_MS)
        return pt_err_set_kind(err, PT_ERR_INFRA, "stopped answering (nothing heard for %d s)",
                               SILENCE_MS / 1000);
    return 0;
}

static int wait_some(struct pt_lane *lane, struct pt_err *err)
{
    struct pollfd fds[2 + PT_CHANNELS_MAX];
    size_t n = 0;
    fds[n++] = (struct pollfd){.fd = lane->wake, .events = POLLIN};
    int push_fd =
        lane->push && pt_mux_queued(lane->mux, PT_MUX_BULK) < BULK_TARGET ? pt_push_fd(lane->push) : -1;
    if (push_fd >= 0)
        fds[n++] = (struct pollfd){.fd = push_fd, .events = POLLIN};
    size_t first = n;
    n += pt_channels_polls(lane->channels, fds + n);
    bool want_write = lane->out.len > 0 || pt_mux_ready(lane->mux);
    if (lane->transport->ops->wait(lane->transport, fds, n, want_write, 500, err) < 0)
        return gone(lane, "talking to the agent", err);
    pt_channels_move(lane->channels, fds + first, n - first);
    return 0;
}

static int talk(struct pt_lane *lane, struct pt_err *err)
{
    for (;;) {
        if (run_commands(lane, err) < 0 || fill_bulk(lane, err) < 0)
            return -1;
        if (write_out(lane) < 0)
            return gone(lane, "talking to the agent", err);
        int rc = read_all(lane, err);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        if (check_time(lane, err) < 0)
            return -1;
        if (lane->stopped)
            return 0;
        if (wait_some(lane, err) < 0)
            return lane->stop_by ? 0 : -1;
    }
}

static int live(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_boot *boot = NULL;
    struct pt_buf rest = {0};
    int rc = boot_open(lane, &boot, err);
    if (rc == 0)
        rc = boot_run(lane, boot, &rest, err);
    if (rc == 0) {
        tell(lane, PT_LANE_CONNECTED, pt_boot_pushed(boot));
        rc = hello(lane, err);
    }
    if (rc == 0)
        rc = rest.len ? feed(lane, rest.data, rest.len, err) : 0;
    if (rc == 0)
        rc = talk(lane, err);
    pt_boot_destroy(boot);
    pt_buf_fini(&rest);
    return rc;
}

static void *lane_main(void *arg)
{
    struct pt_lane *lane = arg;
    struct pt_err err = PT_ERR_INIT;
    int rc = live(lane, &err);
    end_push(lane);
    pt_channels_destroy(lane->channels);
    pt_mux_destroy(lane->mux);
    if (lane->transport)
        lane->transport->ops->close(lane->transport);
    pt_buf_fini(&lane->out);
    pt_buf_fini(&lane->control);
    struct posted *p = event_new(lane, PT_LANE_DOWN);
    if (rc < 0)
        p->event.err = err;
    p->event.level = lane->unfit;
    event_post(lane, p);
    return NULL;
}

/* --- the run's side --- */

struct pt_lane *pt_lane_create(const struct pt_lane_options *options, struct pt_err *err)
{
    struct pt_lane *lane = calloc(1, sizeof(*lane));
    if (!lane) {
        pt_err_set(err, "host %s: out of memory", options->target.name);
        return NULL;
    }
    lane->o = *options;
    lane->tail = &lane->head;
    lane->failure = PT_ERR_INIT;
    pthread_mutex_init(&lane->lock, NULL);
    lane->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = lane->wake < 0 ? errno : pthread_create(&lane->thread, NULL, lane_main, lane);
    if (rc != 0) {
        pt_err_set(err, "host %s: %s", options->target.name, strerror(rc));
        if (lane->wake >= 0)
            close(lane->wake);
        pthread_mutex_destroy(&lane->lock);
        free(lane);
        return NULL;
    }
    return lane;
}

static void command(struct pt_lane *lane, const struct command *what)
{
    struct command *c = malloc(sizeof(*c));
    if (!c || what->frame.bad)
        abort(); /* a run that cannot say STOP must not go on */
    *c = *what;
    c->next = NULL;
    pthread_mutex_lock(&lane->lock);
    *lane->tail = c;
    lane->tail = &c->next;
    pthread_mutex_unlock(&lane->lock);
    uint64_t one = 1;
    while (write(lane->wake, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void pt_lane_tree(struct pt_lane *lane, const struct pt_manifest *manifest)
{
    command(lane, &(struct command){.manifest = manifest});
}

void pt_lane_launch(struct pt_lane *lane, const struct pt_launch *launch)
{
    struct command c = {0};
    pt_launch_encode(launch, &c.frame);
    command(lane, &c);
}

void pt_lane_collect(struct pt_lane *lane, const char *json, size_t n)
{
    struct command c = {0};
    size_t mark = pt_frame_begin(&c.frame, PT_C_COLLECT);
    pt_put_bytes(&c.frame, json, n);
    pt_frame_end(&c.frame, mark);
    command(lane, &c);
}

void pt_lane_end_workers(struct pt_lane *lane, uint32_t grace_ms)
{
    struct command c = {0};
    size_t mark = pt_frame_begin(&c.frame, PT_C_END_WORKERS);
    pt_put_u32(&c.frame, grace_ms);
    pt_frame_end(&c.frame, mark);
    command(lane, &c);
}

void pt_lane_stop(struct pt_lane *lane, uint32_t grace_ms)
{
    command(lane, &(struct command){.stop = true, .grace_ms = grace_ms});
}

void pt_lane_destroy(struct pt_lane *lane)
{
    struct command *c;
    if (!lane)
        return;
    pthread_join(lane->thread, NULL);
    while ((c = command_take(lane)))
        command_free(c);
    close(lane->wake);
    pthread_mutex_destroy(&lane->lock);
    free(lane);
}
