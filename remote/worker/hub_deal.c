/* SPDX-License-Identifier: Apache-2.0 */
/* Which rank gets which bundle, and how bundles and tests come back. A STEAL is answered once: from the queue
 * at once; by the rank that has the bundle; or, when that rank says DONE or BROKEN first, by the hub in its
 * place. */
#include "common/auto.h"
#include "common/err.h"
#include "remote/worker/conn.h"
#include "remote/worker/hub_inside.h"
#include "remote/worker/tell.h"

static struct pt_hub_peer *find_peer(const struct pt_hub *hub, uint32_t rank)
{
    struct pt_hub_peer *peer = hub->peers;
    while (peer && peer->rank != rank)
        peer = peer->next;
    return peer;
}

static void start_peer(struct pt_hub_peer *peer)
{
    if (peer->started)
        return;
    peer->started = true;
    pt_conn_send(peer->conn, peer->hub->session.data, peer->hub->session.len);
}

void pt_hub_start(struct pt_hub *hub)
{
    bool waits = pt_queue_pinned(&hub->queue, PT_NONE) != NULL;
    uint32_t room = hub->runners || !waits ? hub->runners : 1;
    if (!hub->session.len)
        return;
    for (uint32_t rank = 0; rank < hub->config.slots; rank++) {
        struct pt_hub_peer *peer = find_peer(hub, rank);
        if (peer && peer->broken)
            continue;
        if (peer && (room || pt_queue_pinned(&hub->queue, rank)))
            start_peer(peer);
        room -= room > 0; /* a rank that has yet to join has its place */
    }
}

static bool has_bundle(const struct pt_hub_peer *peer)
{
    const struct pt_queue *queue = &peer->hub->queue;
    return peer->ready && (pt_queue_pinned(queue, PT_NONE) || pt_queue_pinned(queue, peer->rank));
}

void pt_hub_deal(struct pt_hub *hub)
{
    for (struct pt_hub_peer *peer = hub->peers; peer && hub->queue.head; peer = peer->next) {
        if (!has_bundle(peer))
            continue;
        struct pt_queue_item *item = pt_hub_may_run(hub, 1) ? pt_queue_take(&hub->queue, peer->rank) : NULL;
        if (!item)
            return;
        peer->ready = false;
        peer->bundle = item->bundle;
        peer->attempt = item->attempt;
        peer->thefts = 0;
        pt_conn_send(peer->conn, item->frame, item->len);
        free(item);
    }
}

/* --- back to the master --- */

static void tell_recalled(struct pt_hub *hub, uint32_t bundle, bool given_back)
{
    struct pt_buf msg = {0};
    pt_tell_recalled(&msg, bundle, given_back);
    pt_hub_tell(hub, &msg);
}

static void tell_done(struct pt_hub *hub, const struct pt_queue_item *item)
{
    struct pt_buf msg = {0};
    pt_tell_done(&msg, item->rank, item->bundle, item->attempt);
    pt_hub_tell(hub, &msg);
}

static void tell_stolen(struct pt_hub *hub, uint32_t rank, uint32_t attempt, const struct pt_steal *given)
{
    struct pt_buf msg = {0};
    pt_tell_stolen(&msg, rank, attempt, given);
    pt_hub_tell(hub, &msg);
}

void pt_hub_settle(struct pt_hub_peer *peer)
{
    for (; peer->thefts; peer->thefts--)
        tell_stolen(peer->hub, peer->rank, peer->attempt, &(struct pt_steal){.bundle = peer->bundle});
}

void pt_hub_give_back(struct pt_hub_peer *peer)
{
    struct pt_hub *hub = peer->hub;
    const struct pt_queue_item *item;
    if (peer->bundle != PT_NONE && !hub->order.len)
        tell_recalled(hub, peer->bundle, true);
    peer->bundle = PT_NONE;
    while ((item = pt_queue_pinned(&hub->queue, peer->rank))) {
        struct pt_queue_item *gone = pt_queue_remove(&hub->queue, item->bundle);
        tell_recalled(hub, gone->bundle, true);
        free(gone);
    }
}

/* --- what the master says --- */

int pt_hub_bundle(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err)
{
    struct pt_bundle bundle;
    int rc = 0;
    if (pt_bundle_decode(&frame->body, &bundle, err) < 0)
        return -1;
    struct pt_hub_peer *peer = find_peer(hub, bundle.rank);
    if (bundle.ranks > 1)
        bundle.rank = PT_NONE; /* a group is no slot */
    uint32_t here = bundle.nspread ? bundle.spread[0].ranks : bundle.ranks;
    if (bundle.nspread && bundle.spread[0].host != hub->config.host)
        rc = pt_err_set(err, "a bundle of host %u", bundle.spread[0].host);
    else if (here > hub->config.slots)
        rc = pt_err_set(err, "a bundle for %u ranks, with %u slots", here, hub->config.slots);
    else if (bundle.rank != PT_NONE && bundle.rank >= hub->config.slots)
        rc = pt_err_set(err, "a bundle for rank %u, of %u", bundle.rank, hub->config.slots);
    else if (hub->order.len) /* cancelled or quitting */
        rc = 0;
    else if (bundle.rank != PT_NONE && peer && peer->broken)
        tell_recalled(hub, bundle.bundle, true);
    else if (pt_queue_add(&hub->queue, &bundle) < 0)
        rc = pt_err_set(err, "a bundle: out of memory");
    pt_bundle_fini(&bundle);
    pt_hub_start(hub);
    pt_hub_deal(hub);
    pt_hub_groups_deal(hub->groups);
    return rc;
}

int pt_hub_recall(struct pt_hub *hub, struct pt_reader *r, struct pt_err *err)
{
    uint32_t bundle = pt_get_u32(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed RECALL");
    pt_auto_free struct pt_queue_item *item = pt_queue_remove(&hub->queue, bundle);
    tell_recalled(hub, bundle, item != NULL);
    pt_hub_groups_deal(hub->groups);
    return 0;
}

static struct pt_hub_peer *find_holder(const struct pt_hub *hub, uint32_t bundle)
{
    struct pt_hub_peer *peer = bundle == PT_NONE || hub->order.len ? NULL : hub->peers;
    while (peer && peer->bundle != bundle)
        peer = peer->next;
    return peer;
}

/* A bundle of which nothing is left does not wait for a rank. */
static void tell_taken(struct pt_hub *hub, const struct pt_steal *given, const struct pt_queue_item *left)
{
    tell_stolen(hub, left->rank, left->attempt, given);
    if (left->ntests)
        return;
    tell_done(hub, left);
    free(pt_queue_remove(&hub->queue, left->bundle));
}

int pt_hub_steal(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err)
{
    struct pt_steal steal;
    const struct pt_queue_item *left = NULL;
    uint32_t attempt = 0;
    if (pt_steal_decode(&frame->body, &steal, err) < 0)
        return -1;
    struct pt_hub_peer *peer = find_holder(hub, steal.bundle);
    int rc = peer ? 0 : pt_queue_steal(&hub->queue, &steal, &left);
    if (peer) {
        peer->thefts++;
        pt_conn_send(peer->conn, frame->data, frame->len);
    } else if (rc > 0) {
        tell_taken(hub, &steal, left);
    } else {
        pt_hub_groups_holds(hub->groups, steal.bundle, &attempt); /* a group parts with none */
        tell_stolen(hub, PT_NONE, attempt, &(struct pt_steal){.bundle = steal.bundle});
    }
    pt_steal_fini(&steal);
    pt_hub_groups_deal(hub->groups);
    return 0;
}

int pt_hub_drop(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err)
{
    uint32_t bundle = pt_get_u32(&frame->body);
    if (!pt_get_end(&frame->body))
        return pt_err_set(err, "malformed DROP");
    struct pt_hub_peer *peer = find_holder(hub, bundle);
    pt_auto_free struct pt_queue_item *item = pt_queue_remove(&hub->queue, bundle);
    if (item)
        tell_done(hub, item);
    else if (peer)
        pt_conn_send(peer->conn, frame->data, frame->len);
    else
        pt_hub_groups_drop(hub->groups, bundle);
    pt_hub_groups_deal(hub->groups);
    return 0;
}

bool pt_hub_stolen(struct pt_hub_peer *peer, const struct pt_frame *frame)
{
    struct pt_reader r = frame->body;
    pt_get_u64(&r);
    pt_get_u32(&r);
    if (pt_get_u32(&r) != peer->bundle || !peer->thefts)
        return false;
    peer->thefts--;
    return true;
}
