/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of one host. Its life: open -> boot -> talk -> close. While it talks it moves bytes between the
 * transport and the streams (mux), between streams and the run's descriptors (channels.c), feeds the bulk
 * stream from the programs and the push, and turns the agent's messages into events. Commands of the run come
 * as whole control frames through a locked list and a wake descriptor.
 *
 * Whatever fails (connect, boot, a malformed message, silence, FAIL) ends in one DOWN event with the reason.
 */
#include "lane_parts.h"

#include "common/auto.h"
#include "common/loop.h"
#include "common/shortage.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>

#define PING_MS       2000 /* at least so often */
#define LAST_WORDS_MS 2000 /* for them to arrive, when nothing can be said any more */

/* --- streams --- */

static void on_opened(void *arg, uint32_t stream, uint8_t kind)
{
    static const enum pt_lane_kind events[] = {[PT_MUX_KIND_LINK] = PT_LANE_LINK,
                                               [PT_MUX_KIND_COLLECT] = PT_LANE_COLLECT,
                                               [PT_MUX_KIND_RELAY] = PT_LANE_RELAY};
    struct pt_lane *lane = arg;
    if (kind < PT_MUX_KIND_LINK || kind >= PT_COUNT(events)) {
        pt_mux_close(lane->mux, stream);
        return;
    }
    struct pt_lane_post *p = pt_lane_event_new(lane, events[kind]);
    pt_lane_event_of(p)->fd = pt_channels_add(lane->channels, stream);
    if (pt_lane_event_of(p)->fd < 0) {
        free(p);
        pt_mux_close(lane->mux, stream);
        return;
    }
    pt_lane_event_send(lane, p);
}

static void on_data(void *arg, uint32_t stream, const void *data, size_t n)
{
    struct pt_lane *lane = arg;
    if (stream != PT_MUX_CONTROL) {
        pt_channels_data(lane->channels, stream, data, n);
        return;
    }
    lane->owed += n;
    if (!lane->failed && pt_lane_control(lane, data, n, &lane->failure) < 0)
        lane->failed = true;
}

static void on_closed(void *arg, uint32_t stream)
{
    struct pt_lane *lane = arg;
    pt_channels_closed(lane->channels, stream);
}

/* An agent that says more than the run can take waits until it did. */
static void give_credit(struct pt_lane *lane)
{
    if (lane->owed && atomic_load(&lane->untold) < PT_LANE_TOLD) {
        pt_mux_credit(lane->mux, PT_MUX_CONTROL, lane->owed);
        lane->owed = 0;
    }
}

/* --- commands --- */

static void command_free(struct pt_lane_command *c)
{
    if (c->frame.data)
        explicit_bzero(c->frame.data, c->frame.cap);
    pt_buf_fini(&c->frame);
    free(c);
}

static struct pt_lane_command *command_take(struct pt_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    struct pt_lane_command *c = lane->head;
    if (c) {
        lane->head = c->next;
        if (!lane->head)
            lane->tail = &lane->head;
    }
    pthread_mutex_unlock(&lane->lock);
    return c;
}

static int run_command(struct pt_lane *lane, const struct pt_lane_command *c, struct pt_err *err)
{
    if (lane->attaching) { /* what is there is not ours yet */
        lane->stopped |= c->stop;
        return 0;
    }
    if (c->stop && !lane->stop_by) {
        lane->stop_by = pt_now_ms() + c->grace_ms + 10000;
        pt_lane_say(lane, PT_C_STOP, c->grace_ms, 4);
    }
    if (c->tree)
        return pt_lane_push(lane, c->tree, err);
    if (c->frame.len)
        pt_mux_send(lane->mux, PT_MUX_CONTROL, c->frame.data, c->frame.len);
    return 0;
}

static int run_commands(struct pt_lane *lane, struct pt_err *err)
{
    uint64_t drained;
    struct pt_lane_command *c;
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

static int open_streams(struct pt_lane *lane, struct pt_err *err)
{
    static const struct pt_mux_callbacks callbacks = {
        .opened = on_opened, .data = on_data, .closed = on_closed};
    lane->mux = pt_mux_create(&callbacks, lane, err);
    lane->channels = lane->mux ? pt_channels_create(lane->mux, err) : NULL;
    return lane->channels ? 0 : -1;
}

/* Nothing else may be said before the answer. */
static int say_attach(struct pt_lane *lane, struct pt_err *err)
{
    lane->attaching = true;
    int rc = pt_mux_send(lane->mux, PT_MUX_CONTROL, lane->attach.data, lane->attach.len);
    return rc < 0 ? pt_err_set(err, "out of memory") : 0;
}

static int hello(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_buf b = {0};
    if (open_streams(lane, err) < 0)
        return -1;
    if (lane->attach.len)
        return say_attach(lane, err);
    if (pt_rate_ask(&lane->rate, 0, pt_now_ms(), true))
        pt_lane_say(lane, PT_C_PING, lane->rate.token, 8);
    if (lane->o.clean) {
        pt_lane_say(lane, PT_C_CLEAN, !*lane->o.remote_dir, 1);
        return 0;
    }
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
    if (lane->o.cache_size) {
        mark = pt_frame_begin(&b, PT_C_BOUND);
        pt_put_u64(&b, lane->o.cache_size);
        pt_frame_end(&b, mark);
    }
    if (!lane->o.setup.shared || !*lane->o.setup.shared)
        pt_frame_end(&b, pt_frame_begin(&b, PT_C_SURVEY));
    int rc = b.bad ? -1 : pt_mux_send(lane->mux, PT_MUX_CONTROL, b.data, b.len);
    pt_buf_fini(&b);
    return rc < 0 ? pt_err_set(err, "out of memory") : 0;
}

/* While the host takes the first words. */
static int remember(struct pt_lane *lane)
{
    int rc = pt_lane_write(lane);
    if (lane->o.state_dir)
        lane->sent = pt_sent_load(lane->o.state_dir, lane->o.target.name, lane->o.remote_dir);
    if (lane->sent)
        lane->rate.rate = pt_sent_rate(lane->sent);
    return rc;
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
    pt_lane_stderr(lane);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return lane->stopped || lane->stop_by ? 1 : pt_lane_gone(lane, "talking to the agent", err);
}

/* Nothing can be said any more: what the agent said before it ended tells why. 1 or -1, as read_all. */
static int hear_the_end(struct pt_lane *lane, struct pt_err *err)
{
    int64_t end = pt_now_ms() + LAST_WORDS_MS;
    struct pt_err ignored = PT_ERR_INIT;
    struct pollfd none;
    int rc, left;
    while ((rc = read_all(lane, err)) == 0 && (left = (int)(end - pt_now_ms())) > 0)
        if (lane->transport->ops->wait(lane->transport, &none, 0, false, left, &ignored) < 0)
            break;
    return rc == 0 ? pt_lane_gone(lane, "talking to the agent", err) : rc;
}

static int check_time(struct pt_lane *lane, struct pt_err *err)
{
    int64_t now = pt_now_ms(), silence = lane->o.setup.silence_ms;
    int64_t every = silence / 5 < PING_MS ? silence / 5 : PING_MS;
    if (now - lane->pinged >= every && !lane->attaching) {
        lane->pinged = now;
        pt_lane_say(lane, PT_C_PING, (uint64_t)now, 8);
    }
    if (lane->stop_by && now > lane->stop_by)
        return pt_err_set_kind(err, PT_ERR_INFRA, "did not clean up in time");
    if (now - lane->heard > silence)
        return pt_err_set_kind(err, PT_ERR_INFRA, "stopped answering (nothing heard for %.1f s)",
                               (double)silence / 1000);
    return 0;
}

static int wait_some(struct pt_lane *lane, struct pt_err *err)
{
    struct pollfd fds[2 + PT_CHANNELS_MAX];
    size_t n = 0;
    fds[n++] = (struct pollfd){.fd = lane->wake, .events = POLLIN};
    int push_fd = pt_lane_push_fd(lane);
    if (push_fd >= 0)
        fds[n++] = (struct pollfd){.fd = push_fd, .events = POLLIN};
    size_t first = n;
    n += pt_channels_polls(lane->channels, fds + n);
    bool want_write = lane->out.len > lane->out_sent || pt_mux_ready(lane->mux);
    if (lane->transport->ops->wait(lane->transport, fds, n, want_write, 500, err) < 0)
        return hear_the_end(lane, err);
    pt_channels_move(lane->channels, fds + first, n - first);
    return 0;
}

static int talk(struct pt_lane *lane, struct pt_err *err)
{
    for (;;) {
        if (run_commands(lane, err) < 0 || pt_lane_fill(lane, err) < 0)
            return -1;
        int rc = 0;
        if (pt_lane_write(lane) < 0 && !lane->stop_by) /* else it may have ended, and said so */
            rc = hear_the_end(lane, err);
        pt_lane_measure(lane);
        if (rc == 0)
            rc = read_all(lane, err);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        give_credit(lane);
        if (check_time(lane, err) < 0)
            return -1;
        if (lane->stopped)
            return 0;
        if ((rc = wait_some(lane, err)) != 0)
            return rc < 0 && !lane->stop_by ? -1 : 0;
    }
}

static int live(struct pt_lane *lane, struct pt_err *err)
{
    struct pt_buf rest = {0};
    bool pushed;
    int rc = pt_lane_boot(lane, &rest, &pushed, err);
    if (rc == 0) {
        pt_lane_tell(lane, PT_LANE_CONNECTED, pushed);
        rc = hello(lane, err);
    }
    bool told = rc == 0 && remember(lane) == 0; /* our first words are with the agent */
    if (rc == 0)
        rc = rest.len ? feed(lane, rest.data, rest.len, err) : 0;
    if (rc == 0 && !told)
        rc = hear_the_end(lane, err) < 0 ? -1 : 0;
    else if (rc == 0)
        rc = talk(lane, err);
    pt_buf_fini(&rest);
    return rc;
}

/* No command is taken from here on; trees that nobody will send are told so. */
static void close_commands(struct pt_lane *lane)
{
    struct pt_lane_command *c;
    pthread_mutex_lock(&lane->lock);
    lane->down = true;
    pthread_mutex_unlock(&lane->lock);
    while ((c = command_take(lane))) {
        if (c->tree)
            pt_fanout_skip(c->tree);
        command_free(c);
    }
}

static void *lane_main(void *arg)
{
    struct pt_lane *lane = arg;
    struct pt_err err = PT_ERR_INIT;
    int rc = live(lane, &err);
    close_commands(lane);
    pt_lane_push_fini(lane);
    pt_channels_destroy(lane->channels);
    pt_mux_destroy(lane->mux);
    if (lane->transport)
        lane->transport->ops->close(lane->transport);
    pt_buf_fini(&lane->out);
    pt_buf_fini(&lane->control);
    struct pt_lane_post *p = pt_lane_event_new(lane, PT_LANE_DOWN);
    if (rc < 0)
        pt_lane_event_of(p)->err = err;
    pt_lane_event_of(p)->level = lane->unfit;
    pt_lane_event_send(lane, p);
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
    pt_rate_init(&lane->rate, 0);
    if (options->attach)
        pt_attach_encode(options->attach, &lane->attach);
    lane->o.attach = NULL;
    pthread_mutex_init(&lane->lock, NULL);
    lane->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = lane->wake < 0 ? errno : pthread_create(&lane->thread, NULL, lane_main, lane);
    if (rc != 0) {
        pt_err_set_kind(err, PT_ERR_INFRA, "no thread for this host: %s", strerror(rc));
        pt_shortage_hint(err);
        if (lane->wake >= 0)
            close(lane->wake);
        pthread_mutex_destroy(&lane->lock);
        free(lane);
        return NULL;
    }
    return lane;
}

static void command(struct pt_lane *lane, const struct pt_lane_command *what)
{
    struct pt_lane_command *c = malloc(sizeof(*c));
    if (!c || what->frame.bad)
        abort(); /* a run that cannot say STOP must not go on */
    *c = *what;
    c->next = NULL;
    pthread_mutex_lock(&lane->lock);
    bool down = lane->down;
    if (!down) {
        *lane->tail = c;
        lane->tail = &c->next;
    }
    pthread_mutex_unlock(&lane->lock);
    if (down) {
        if (c->tree)
            pt_fanout_skip(c->tree);
        command_free(c);
        return;
    }
    uint64_t one = 1;
    while (write(lane->wake, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

void pt_lane_survey(struct pt_lane *lane)
{
    struct pt_lane_command c = {0};
    pt_frame_end(&c.frame, pt_frame_begin(&c.frame, PT_C_SURVEY));
    command(lane, &c);
}

void pt_lane_tree(struct pt_lane *lane, struct pt_fanout *tree)
{
    command(lane, &(struct pt_lane_command){.tree = tree});
}

void pt_lane_collect(struct pt_lane *lane, const char *json, size_t n)
{
    struct pt_lane_command c = {0};
    size_t mark = pt_frame_begin(&c.frame, PT_C_COLLECT);
    pt_put_bytes(&c.frame, json, n);
    pt_frame_end(&c.frame, mark);
    command(lane, &c);
}

void pt_lane_send(struct pt_lane *lane, struct pt_buf *frame)
{
    struct pt_lane_command c = {.frame = *frame};
    *frame = (struct pt_buf){0};
    command(lane, &c);
}

void pt_lane_end_workers(struct pt_lane *lane, uint32_t grace_ms)
{
    struct pt_lane_command c = {0};
    size_t mark = pt_frame_begin(&c.frame, PT_C_END_WORKERS);
    pt_put_u32(&c.frame, grace_ms);
    pt_frame_end(&c.frame, mark);
    command(lane, &c);
}

void pt_lane_stop(struct pt_lane *lane, uint32_t grace_ms)
{
    command(lane, &(struct pt_lane_command){.stop = true, .grace_ms = grace_ms});
}

void pt_lane_destroy(struct pt_lane *lane)
{
    if (!lane)
        return;
    pthread_join(lane->thread, NULL);
    close(lane->wake);
    pt_buf_fini(&lane->attach);
    pthread_mutex_destroy(&lane->lock);
    free(lane);
}
