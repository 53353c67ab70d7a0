/* SPDX-License-Identifier: Apache-2.0 */
/* The hub's side of the link. Where the run lingers, a link that breaks is not the hub's end: the ranks go
 * on, what they tell waits in the outbox, and the next link begins with what the master has not acknowledged.
 */
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "remote/worker/conn.h"
#include "remote/worker/hub_inside.h"

#define OUTBOX_HIGH  (16u << 20) /* bytes in memory at which the ranks have to wait */
#define OUTBOX_LOW   (8u << 20)
#define SAID_HIGH    (1u << 20)   /* bytes on their way at which more waits in the outbox */
#define STARTED_HIGH (256u << 10) /* and at which STARTED is left out */
#define BYE_MS       5000         /* for the next acknowledgement, up to the last */
#define GOT_MESSAGES 64           /* taken, after which the master is told so */
#define GOT_MS       200
#define AGAIN_MS     500 /* between two links of which nothing came */

static void pause_peers(struct pt_hub *hub, bool pause)
{
    hub->paused = pause;
    for (struct pt_hub_peer *peer = hub->peers; peer; peer = peer->next)
        pt_conn_pause(peer->conn, pause);
    pt_hub_groups_pause(hub->groups, pause);
}

static void watch_memory(struct pt_hub *hub)
{
    size_t bytes = pt_outbox_bytes(&hub->outbox);
    if (!hub->paused && bytes > OUTBOX_HIGH)
        pause_peers(hub, true);
    else if (hub->paused && bytes < OUTBOX_LOW)
        pause_peers(hub, false);
}

/* --- out --- */

/* As much as the link should have now. */
static void say_more(struct pt_hub *hub)
{
    struct pt_err err = PT_ERR_INIT;
    const unsigned char *frame;
    size_t n;
    int rc = 0;
    while (hub->up && !hub->ended && pt_uplink_queued(hub->link) < SAID_HIGH &&
           (rc = pt_outbox_next(&hub->outbox, &frame, &n, &err)) > 0)
        pt_uplink_send(hub->link, frame, n);
    if (rc < 0)
        pt_hub_end(hub, err.msg);
}

void pt_hub_pass(struct pt_hub *hub, const void *frame, size_t n)
{
    if (pt_outbox_add(&hub->outbox, frame, n) < 0) {
        pt_hub_end(hub, "out of memory");
        return;
    }
    say_more(hub);
    watch_memory(hub);
}

void pt_hub_tell(struct pt_hub *hub, struct pt_buf *msg)
{
    if (msg->bad)
        pt_hub_end(hub, "out of memory");
    else
        pt_hub_pass(hub, msg->data, msg->len);
    pt_buf_fini(msg);
}

/* It must not overtake the report of the test before. */
void pt_hub_pass_started(struct pt_hub *hub, const void *frame, size_t n)
{
    if (hub->up && !pt_outbox_waits(&hub->outbox) && pt_uplink_queued(hub->link) < STARTED_HIGH)
        pt_uplink_send(hub->link, frame, n);
}

static void say_got(void *arg)
{
    struct pt_hub *hub = arg;
    struct pt_buf msg = {0};
    pt_loop_cancel(hub->loop, hub->got_timer);
    hub->got_timer = 0;
    if (!hub->up || hub->ended)
        return;
    hub->got_said = hub->got;
    size_t mark = pt_frame_begin(&msg, PT_L_GOT);
    pt_put_u64(&msg, hub->got);
    pt_frame_end(&msg, mark);
    if (!msg.bad)
        pt_uplink_send(hub->link, msg.data, msg.len);
    pt_buf_fini(&msg);
}

/* --- in --- */

static void finish_if_empty(struct pt_hub *hub)
{
    if (!hub->closing || !pt_outbox_empty(&hub->outbox))
        return;
    pt_uplink_close(hub->link);
    pt_hub_end(hub, NULL);
}

void pt_hub_expect_ack(struct pt_hub *hub)
{
    pt_loop_cancel(hub->loop, hub->deadline);
    hub->deadline = 0;
    if (hub->up)
        pt_hub_set_deadline(hub, BYE_MS);
}

int pt_hub_acked(struct pt_hub *hub, struct pt_reader *r, struct pt_err *err)
{
    uint64_t seq = pt_get_u64(r);
    if (!pt_get_end(r) || pt_outbox_ack(&hub->outbox, seq) < 0)
        return pt_err_set(err, "an ACK of %llu, with %llu sent", (unsigned long long)seq,
                          (unsigned long long)hub->outbox.said);
    say_more(hub);
    watch_memory(hub);
    if (hub->closing)
        pt_hub_expect_ack(hub);
    finish_if_empty(hub);
    return 0;
}

static void take_note(struct pt_hub *hub)
{
    hub->got++;
    if (!hub->linger_ms || hub->ended)
        return;
    if (hub->got - hub->got_said >= GOT_MESSAGES)
        say_got(hub);
    else if (!hub->got_timer)
        hub->got_timer = pt_loop_after(hub->loop, GOT_MS, say_got, hub);
}

static void on_frame(void *arg, struct pt_frame *frame)
{
    struct pt_hub *hub = arg;
    struct pt_err err = PT_ERR_INIT;
    if (hub->ended)
        return;
    if (pt_hub_obey(hub, frame, &err) < 0) {
        pt_err_wrap(&err, "the master sent");
        pt_hub_end(hub, err.msg);
    } else if (frame->type != PT_L_ACK) {
        take_note(hub);
    }
}

static void on_sent(void *arg)
{
    say_more(arg);
}

/* --- from link to link --- */

static void on_welcome(void *arg, uint64_t acked)
{
    struct pt_hub *hub = arg;
    if (pt_outbox_ack(&hub->outbox, acked) < 0) {
        pt_hub_end(hub, "the master has messages of this launch that were never sent, or lost some");
        return;
    }
    hub->up = true;
    hub->flapping = false;
    hub->linger_ms = pt_uplink_linger(hub->link);
    hub->got_said = hub->got; /* HELLO said it */
    if (hub->linger_ms)
        pt_outbox_spool(&hub->outbox, hub->config.run_dir);
    pt_outbox_rewind(&hub->outbox);
    say_more(hub);
    watch_memory(hub);
    if (hub->closing)
        pt_hub_expect_ack(hub);
    finish_if_empty(hub);
}

static void connect_again(void *arg)
{
    struct pt_hub *hub = arg;
    struct pt_err err = PT_ERR_INIT;
    hub->again = 0;
    if (hub->ended)
        return;
    pt_uplink_destroy(hub->link);
    hub->link = NULL;
    if (pt_hub_connect(hub, &err) < 0)
        pt_hub_end(hub, err.msg);
}

/* The agent ends us when the run lingered long enough. */
static void on_closed(void *arg, const char *why)
{
    struct pt_hub *hub = arg;
    struct pt_err err = PT_ERR_INIT;
    uint32_t linger_ms = pt_uplink_linger(hub->link);
    if (linger_ms)
        hub->linger_ms = linger_ms;
    if (why && hub->linger_ms && !pt_uplink_final(hub->link) && !hub->ended) {
        hub->up = false;
        if (hub->closing)
            pt_hub_expect_ack(hub);
        hub->again = pt_loop_after(hub->loop, hub->flapping ? AGAIN_MS : 0, connect_again, hub);
        hub->flapping = true;
        if (hub->again)
            return;
    }
    hub->up = false;
    pt_err_set(&err, "link: %s", why ? why : "the master closed it before the end");
    pt_hub_end(hub, err.msg);
}

int pt_hub_connect(struct pt_hub *hub, struct pt_err *err)
{
    static const struct pt_uplink_callbacks callbacks = {
        .welcome = on_welcome, .frame = on_frame, .closed = on_closed, .sent = on_sent};
    const struct pt_hub_config *config = &hub->config;
    struct pt_uplink_config link = {.run_dir = config->run_dir,
                                    .host = config->host,
                                    .launch = config->launch,
                                    .slots = config->slots,
                                    .got = hub->got,
                                    .acked = hub->outbox.acked,
                                    .wait_ms = hub->linger_ms};
    hub->link = pt_uplink_create(hub->loop, &link, &callbacks, hub, err);
    return hub->link ? 0 : -1;
}

void pt_hub_disconnect(struct pt_hub *hub)
{
    pt_loop_cancel(hub->loop, hub->again);
    pt_loop_cancel(hub->loop, hub->got_timer);
    pt_uplink_destroy(hub->link);
    hub->link = NULL;
}
