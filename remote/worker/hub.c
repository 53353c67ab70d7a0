/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/hub.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "remote/worker/hub_inside.h"
#include "remote/worker/local.h"
#include "remote/worker/rank.h"
#include "remote/worker/tell.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define QUIT_MS 10000 /* for the ranks' next output and BYE, besides the grace */

static void on_peer_frame(void *arg, struct pt_frame *frame);
static void on_peer_closed(void *arg, const char *why);
static const struct pt_conn_callbacks peer_callbacks = {on_peer_frame, on_peer_closed, NULL};

void pt_hub_end(struct pt_hub *hub, const char *why)
{
    if (hub->ended)
        return;
    hub->ended = true;
    pt_loop_cancel(hub->loop, hub->deadline);
    hub->deadline = 0;
    hub->over(hub->arg, why);
}

/* --- its end --- */

static void over_time(void *arg)
{
    struct pt_hub *hub = arg;
    hub->deadline = 0;
    pt_hub_end(hub, hub->closing ? "the master did not acknowledge the last messages in time"
                                 : "a rank did not end in time");
}

void pt_hub_set_deadline(struct pt_hub *hub, int64_t ms)
{
    pt_loop_cancel(hub->loop, hub->deadline);
    hub->deadline = pt_loop_after(hub->loop, ms, over_time, hub);
}

void pt_hub_stir(struct pt_hub *hub)
{
    if (hub->quitting && !hub->closing)
        pt_hub_set_deadline(hub, (int64_t)hub->grace + QUIT_MS);
}

/* All ranks are done: say so, and wait until the master has everything. */
void pt_hub_close_when_done(struct pt_hub *hub)
{
    if (!hub->quitting || hub->closing || hub->gone < hub->config.slots || !pt_hub_groups_over(hub->groups))
        return;
    struct pt_buf msg = {0};
    hub->closing = true;
    pt_hub_expect_ack(hub);
    pt_tell_bye(&msg, PT_NONE);
    pt_hub_tell(hub, &msg);
}

/* --- what the master says --- */

static void send_peers(struct pt_hub *hub, const struct pt_frame *frame)
{
    for (struct pt_hub_peer *peer = hub->peers; peer; peer = peer->next)
        if (peer->rank != PT_NONE)
            pt_conn_send(peer->conn, frame->data, frame->len);
}

static int on_session(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err)
{
    if (hub->session.len)
        return pt_err_set(err, "a second SESSION");
    pt_buf_append(&hub->session, frame->data, frame->len);
    if (hub->session.bad)
        return pt_err_set(err, "out of memory");
    pt_hub_start(hub);
    pt_hub_groups_session(hub->groups);
    return 0;
}

static int on_limits(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err)
{
    struct pt_limits limits;
    if (pt_limits_decode(&frame->body, &limits, err) < 0)
        return -1;
    pt_buf_clear(&hub->limit);
    pt_buf_append(&hub->limit, frame->data, frame->len);
    if (hub->limit.bad)
        return pt_err_set(err, "out of memory");
    hub->runners = limits.runners;
    send_peers(hub, frame);
    pt_hub_groups_limits(hub->groups, &limits, frame);
    pt_hub_start(hub);
    return 0;
}

/* CANCEL and QUIT: nothing waits any more; the ranks do the rest. */
static int on_order(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err)
{
    uint32_t grace = frame->type == PT_L_QUIT ? pt_get_u32(&frame->body) : 0;
    if (!pt_get_end(&frame->body))
        return pt_err_set(err, "malformed CANCEL or QUIT");
    if (hub->quitting || (frame->type == PT_L_CANCEL && hub->order.len))
        return 0;
    pt_queue_fini(&hub->queue);
    pt_buf_append(&hub->order, frame->data, frame->len);
    send_peers(hub, frame);
    if (frame->type == PT_L_QUIT) {
        hub->quitting = true;
        hub->grace = grace;
        pt_hub_set_deadline(hub, (int64_t)grace + QUIT_MS);
    }
    pt_hub_groups_order(hub->groups, frame);
    pt_hub_let_go(hub);
    pt_hub_close_when_done(hub);
    return 0;
}

int pt_hub_obey(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err)
{
    switch (frame->type) {
    case PT_L_SESSION:
        return on_session(hub, frame, err);
    case PT_L_LIMITS:
        return on_limits(hub, frame, err);
    case PT_L_BUNDLE:
        return pt_hub_bundle(hub, frame, err);
    case PT_L_ACK:
        return pt_hub_acked(hub, &frame->body, err);
    case PT_L_RECALL:
        return pt_hub_recall(hub, &frame->body, err);
    case PT_L_STEAL:
        return pt_hub_steal(hub, frame, err);
    case PT_L_DROP:
        return pt_hub_drop(hub, frame, err);
    case PT_L_SIZES:
        return pt_hub_groups_sizes(hub->groups, &frame->body, err);
    case PT_L_CANCEL:
    case PT_L_QUIT:
        return on_order(hub, frame, err);
    default:
        return pt_err_set(err, "an unknown message (type %u)", frame->type);
    }
}

/* --- what the ranks say --- */

static void peer_destroy(struct pt_hub_peer *peer)
{
    pt_conn_destroy(peer->conn);
    free(peer);
}

static int add_peer(struct pt_hub *hub, int fd, struct pt_err *err)
{
    struct pt_hub_peer *peer = calloc(1, sizeof(*peer));
    if (!peer) {
        close(fd);
        return pt_err_set(err, "out of memory");
    }
    *peer = (struct pt_hub_peer){.hub = hub, .rank = PT_NONE, .bundle = PT_NONE, .next = hub->peers};
    peer->conn = pt_conn_create(hub->loop, fd, PT_MAX_FRAME, &peer_callbacks, peer, err);
    if (!peer->conn) {
        free(peer);
        return -1;
    }
    hub->peers = peer;
    return 0;
}

static void on_listener(void *arg, int fd, short revents)
{
    struct pt_hub *hub = arg;
    struct pt_err err = PT_ERR_INIT;
    (void)revents;
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (conn < 0)
        return;
    if (pt_local_check_peer(conn, &err) < 0) {
        pt_warn("%s", err.msg);
        close(conn);
    } else if (add_peer(hub, conn, &err) < 0) {
        pt_warn("a rank cannot join: %s", err.msg);
    }
}

static int join(struct pt_hub_peer *peer, struct pt_frame *frame)
{
    struct pt_hub *hub = peer->hub;
    uint32_t rank = pt_get_u32(&frame->body);
    if (frame->type != PT_L_JOIN || !pt_get_end(&frame->body) || rank >= hub->config.slots)
        return -1;
    for (struct pt_hub_peer *other = hub->peers; other; other = other->next)
        if (other->rank == rank)
            return -1;
    peer->rank = rank;
    if (hub->limit.len)
        pt_conn_send(peer->conn, hub->limit.data, hub->limit.len);
    pt_hub_start(hub);
    if (hub->order.len)
        pt_conn_send(peer->conn, hub->order.data, hub->order.len);
    if (hub->paused)
        pt_conn_pause(peer->conn, true);
    return 0;
}

static int on_ready(struct pt_hub_peer *peer, struct pt_frame *frame)
{
    if (pt_get_u32(&frame->body) != peer->rank || !pt_get_end(&frame->body) || !peer->started)
        return -1;
    peer->ready = !peer->broken && peer->bundle == PT_NONE;
    peer->hub->proven = true;
    pt_hub_deal(peer->hub);
    return 0;
}

/* What the hub itself takes from a message that it passed on. */
static void note(struct pt_hub_peer *peer, uint8_t type)
{
    struct pt_hub *hub = peer->hub;
    if (type == PT_L_DONE) {
        peer->bundle = PT_NONE;
        pt_hub_let_go(hub);
    } else if (type == PT_L_BROKEN) {
        peer->broken = true;
        peer->ready = false;
        pt_hub_give_back(peer);
        pt_hub_let_go(hub);
        pt_hub_start(hub);
    } else if (type == PT_L_OUTPUT) {
        pt_hub_stir(hub);
    } else if (type == PT_L_BYE && !peer->gone) {
        peer->gone = true;
        peer->bundle = PT_NONE;
        hub->gone++;
        pt_hub_let_go(hub);
        pt_hub_close_when_done(hub);
    }
}

/* RECALLED is the hub's to say. */
static bool is_told(uint8_t type)
{
    return (type >= PT_L_STARTED && type <= PT_L_BYE && type != PT_L_RECALLED) || type == PT_L_STOLEN ||
           type == PT_L_OUTPUT;
}

static int obey_peer(struct pt_hub_peer *peer, struct pt_frame *frame)
{
    struct pt_hub *hub = peer->hub;
    if (peer->rank == PT_NONE && frame->type == PT_RANK_MEMBER)
        return pt_hub_groups_join(hub->groups, peer, frame);
    if (peer->rank == PT_NONE)
        return join(peer, frame);
    if (frame->type == PT_RANK_READY)
        return on_ready(peer, frame);
    struct pt_reader r = frame->body;
    uint64_t seq = pt_get_u64(&r);
    uint32_t rank = pt_get_u32(&r);
    if (r.bad || seq != 0 || rank != peer->rank || !is_told(frame->type))
        return -1;
    if (frame->type == PT_L_STARTED) {
        pt_hub_pass_started(hub, frame->data, frame->len);
        return 0;
    }
    if (frame->type == PT_L_STOLEN && !pt_hub_stolen(peer, frame))
        return 0;
    if (frame->type == PT_L_DONE || frame->type == PT_L_BROKEN || frame->type == PT_L_BYE)
        pt_hub_settle(peer);
    pt_hub_pass(hub, frame->data, frame->len);
    note(peer, frame->type);
    return 0;
}

void pt_hub_unlink(struct pt_hub_peer *peer)
{
    for (struct pt_hub_peer **at = &peer->hub->peers; *at; at = &(*at)->next)
        if (*at == peer) {
            *at = peer->next;
            break;
        }
}

static void drop_peer(struct pt_hub_peer *peer)
{
    pt_hub_unlink(peer);
    peer_destroy(peer);
}

static void on_peer_frame(void *arg, struct pt_frame *frame)
{
    struct pt_hub_peer *peer = arg;
    if (peer->group) {
        pt_hub_groups_frame(peer, frame);
        return;
    }
    if (peer->hub->ended || obey_peer(peer, frame) == 0)
        return;
    char why[96];
    snprintf(why, sizeof(why), "rank %d sent a message that makes no sense (type %u)", (int)peer->rank,
             frame->type);
    if (peer->rank == PT_NONE) {
        pt_warn("somebody joined as what is no rank of ours");
        drop_peer(peer);
    } else {
        pt_hub_end(peer->hub, why);
    }
}

static void on_peer_closed(void *arg, const char *why)
{
    struct pt_hub_peer *peer = arg;
    char text[160];
    snprintf(text, sizeof(text), "rank %d is gone: %s", (int)peer->rank, why);
    if (peer->group)
        pt_hub_groups_closed(peer, why);
    else if (peer->rank == PT_NONE)
        drop_peer(peer);
    else if (!peer->gone)
        pt_hub_end(peer->hub, text);
}

/* --- create, destroy --- */

static int start_listener(struct pt_hub *hub, struct pt_err *err)
{
    char path[PT_LOCAL_PATH];
    if (pt_local_path(path, hub->config.run_dir, PT_RANK_SOCKET, err) < 0 ||
        (hub->listener = pt_local_listen(path, err)) < 0)
        return -1;
    return pt_loop_watch(hub->loop, hub->listener, POLLIN, on_listener, hub);
}

struct pt_hub *pt_hub_create(struct pt_loop *loop, const struct pt_hub_config *config, int own,
                             pt_hub_over_fn *over, void *arg, struct pt_err *err)
{
    struct pt_hub *hub = calloc(1, sizeof(*hub));
    if (!hub) {
        close(own);
        pt_err_set(err, "out of memory");
        return NULL;
    }
    *hub = (struct pt_hub){
        .loop = loop, .config = *config, .over = over, .arg = arg, .listener = -1, .runners = PT_NONE};
    pt_queue_init(&hub->queue);
    pt_outbox_init(&hub->outbox);
    pt_hub_share(hub);
    if (add_peer(hub, own, err) < 0 || !(hub->groups = pt_hub_groups_create(hub, err)) ||
        start_listener(hub, err) < 0 || pt_hub_connect(hub, err) < 0) {
        pt_hub_destroy(hub);
        return NULL;
    }
    return hub;
}

void pt_hub_destroy(struct pt_hub *hub)
{
    if (!hub)
        return;
    pt_loop_cancel(hub->loop, hub->deadline);
    pt_hub_groups_destroy(hub->groups);
    while (hub->peers) {
        struct pt_hub_peer *next = hub->peers->next;
        peer_destroy(hub->peers);
        hub->peers = next;
    }
    if (hub->listener >= 0) {
        pt_loop_unwatch(hub->loop, hub->listener);
        close(hub->listener);
    }
    pt_hub_disconnect(hub);
    pt_sharing_destroy(hub->sharing);
    pt_outbox_fini(&hub->outbox);
    pt_queue_fini(&hub->queue);
    pt_buf_fini(&hub->session);
    pt_buf_fini(&hub->limit);
    pt_buf_fini(&hub->order);
    free(hub);
}
