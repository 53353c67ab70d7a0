/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What hub.c (the ranks), hub_link.c (the link), hub_deal.c (who gets which bundle) and those of the groups
 * (hub_groups_inside.h) share; for nobody else. */
#include "common/message.h"
#include "remote/worker/hub.h"
#include "remote/worker/hub_groups.h"
#include "remote/worker/outbox.h"
#include "remote/worker/queue.h"
#include "remote/worker/sharing.h"
#include "remote/worker/uplink.h"

struct pt_live;

struct pt_hub_peer {
    struct pt_hub *hub;
    struct pt_live *group; /* NULL: a rank of the host's own, or not known yet */
    struct pt_conn *conn;
    struct pt_hub_peer *next;
    uint32_t rank;            /* NONE until it joined; of a group's, in the group */
    uint32_t bundle, attempt; /* what it was given and has not told DONE of, or NONE */
    uint32_t thefts;          /* times it was asked for tests of that and has not answered */
    bool started, ready, broken, gone;
};

struct pt_hub {
    struct pt_loop *loop;
    struct pt_hub_config config;
    pt_hub_over_fn *over;
    void *arg;
    int listener;
    struct pt_uplink *link;
    uint64_t got, got_said; /* messages of the master that were taken; as it was last told */
    uint64_t got_timer, again;
    uint32_t linger_ms; /* as the agent said */
    bool up;            /* the master welcomed us on this link */
    bool flapping;      /* the link before was over before that */
    struct pt_outbox outbox;
    struct pt_hub_peer *peers; /* but those of groups */
    struct pt_hub_groups *groups;
    struct pt_sharing *sharing;          /* NULL: all slots are this run's */
    uint32_t group_waits;                /* ranks of a group that was refused slots, or 0 */
    struct pt_queue queue;               /* bundles that no rank and no group has */
    struct pt_buf session, limit, order; /* SESSION, LIMITS; CANCEL and QUIT: for ranks that join later */
    uint32_t runners;                    /* ranks that may have a session */
    uint32_t grace;                      /* ms, as QUIT said */
    uint64_t deadline;
    uint32_t joined, gone;
    bool proven; /* a runner of its own came up once */
    bool paused, quitting, closing, ended;
};

void pt_hub_end(struct pt_hub *hub, const char *why);
/* The ranks, or the next acknowledgement, must come in so many ms. */
void pt_hub_set_deadline(struct pt_hub *hub, int64_t ms);
/* A message of the master, any but WELCOME and REFUSED. -1 when it makes no sense. */
int pt_hub_obey(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err);

/* The link, and again whenever it breaks where the run lingers. */
int pt_hub_connect(struct pt_hub *hub, struct pt_err *err);
void pt_hub_disconnect(struct pt_hub *hub);
/* ACK. */
int pt_hub_acked(struct pt_hub *hub, struct pt_reader *r, struct pt_err *err);
/* While it closes: the master is to acknowledge more, if it is there. */
void pt_hub_expect_ack(struct pt_hub *hub);
/* Numbers, keeps and sends one frame. */
void pt_hub_pass(struct pt_hub *hub, const void *frame, size_t n);
/* Numbers, keeps, sends and frees what tell.h made. */
void pt_hub_tell(struct pt_hub *hub, struct pt_buf *msg);
/* A STARTED, unless much is on its way. */
void pt_hub_pass_started(struct pt_hub *hub, const void *frame, size_t n);
/* While it ends: something still comes, so wait for more. */
void pt_hub_stir(struct pt_hub *hub);
/* Say BYE once all ranks have and no group is left. */
void pt_hub_close_when_done(struct pt_hub *hub);
/* Off the list of peers. */
void pt_hub_unlink(struct pt_hub_peer *peer);

/* Give SESSION to the ranks that are to have one: as many as the limit says, the lowest that are not broken;
 * one at least while a bundle waits that any may run; and those that a waiting bundle names. */
void pt_hub_start(struct pt_hub *hub);
/* Give bundles that wait to ranks that are ready. */
void pt_hub_deal(struct pt_hub *hub);
/* Slots are shared from here on, if they are to be. */
void pt_hub_share(struct pt_hub *hub);
/* There are slots for so many more ranks: of a bundle, or (more than 1) of a group's. Where not, both are
 * dealt again when there may be. */
bool pt_hub_may_run(struct pt_hub *hub, uint32_t ranks);
/* A bundle came to its end, or none waits any more: others may have the slots. */
void pt_hub_let_go(struct pt_hub *hub);
/* What the master says of bundles: BUNDLE, RECALL, STEAL, DROP. -1 when it makes no sense. */
int pt_hub_bundle(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err);
int pt_hub_recall(struct pt_hub *hub, struct pt_reader *r, struct pt_err *err);
int pt_hub_steal(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err);
int pt_hub_drop(struct pt_hub *hub, struct pt_frame *frame, struct pt_err *err);
/* A rank answers a STEAL: true to pass it on, false when it was answered for it. */
bool pt_hub_stolen(struct pt_hub_peer *peer, const struct pt_frame *frame);
/* A rank will not answer for the bundle it had: do it, before its DONE, BROKEN or BYE. */
void pt_hub_settle(struct pt_hub_peer *peer);
/* After BROKEN: what only this rank could run, or was running, goes back to the master. */
void pt_hub_give_back(struct pt_hub_peer *peer);
