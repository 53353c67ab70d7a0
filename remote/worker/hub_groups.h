/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The hub's groups: ranks of MPI for bundles of more than one. The agent starts and ends them, their members
 * join as ranks do, and what they say becomes one RANKS a test, or a FALL. */
#include "common/message_group.h"

struct pt_err;
struct pt_frame;
struct pt_hub;
struct pt_hub_groups;
struct pt_hub_peer;

struct pt_hub_groups *pt_hub_groups_create(struct pt_hub *hub, struct pt_err *err);
/* Ends all of them. NULL is fine. */
void pt_hub_groups_destroy(struct pt_hub_groups *groups);

/* --- what the master says; -1 when it makes no sense --- */
int pt_hub_groups_sizes(struct pt_hub_groups *groups, struct pt_reader *r, struct pt_err *err);
/* LIMITS, after they were put into the hub. */
void pt_hub_groups_limits(struct pt_hub_groups *groups, const struct pt_limits *limits,
                          const struct pt_frame *frame);
/* SESSION, likewise. */
void pt_hub_groups_session(struct pt_hub_groups *groups);
/* CANCEL or QUIT. */
void pt_hub_groups_order(struct pt_hub_groups *groups, const struct pt_frame *frame);
/* Bundles wait, or there is room: give, start, end. */
void pt_hub_groups_deal(struct pt_hub_groups *groups);
/* Whether a group runs that bundle, as which attempt. */
bool pt_hub_groups_holds(const struct pt_hub_groups *groups, uint32_t bundle, uint32_t *attempt);
/* Its group ends, and it is DONE. False when none runs it. */
bool pt_hub_groups_drop(struct pt_hub_groups *groups, uint32_t bundle);

void pt_hub_groups_pause(struct pt_hub_groups *groups, bool pause);
/* None has a session any more. */
bool pt_hub_groups_over(const struct pt_hub_groups *groups);

/* --- members --- */
/* A connection said MEMBER: it is the group's from now on. -1 when no such member is expected. */
int pt_hub_groups_join(struct pt_hub_groups *groups, struct pt_hub_peer *peer, struct pt_frame *frame);
/* A member's frame, and its end. */
void pt_hub_groups_frame(struct pt_hub_peer *peer, struct pt_frame *frame);
void pt_hub_groups_closed(struct pt_hub_peer *peer, const char *why);
