/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What hub_groups.c (which groups there are), hub_spread.c (which are over several hosts), hub_launch.c (how
 * they start and end) and hub_members.c (what their ranks say) share; for nobody else. */
#include "remote/worker/cores.h"
#include "remote/worker/group.h"
#include "remote/worker/hub_groups.h"
#include "remote/worker/hub_inside.h"

#define PT_GROUP_TRIES    2     /* in a row that get nowhere: the tests of that size are told so */
#define PT_GROUP_STARTS   2     /* at a time */
#define PT_GROUP_JOIN_MS  60000 /* for all members to join */
#define PT_GROUP_FALL_MS  5000  /* for all members to answer */
#define PT_GROUP_LEAVE_MS 10000 /* for a session that is given up to end */

/* A group and who speaks for it. */
struct pt_live {
    struct pt_live *next;
    struct pt_hub_groups *groups;
    struct pt_group group;
    struct pt_hub_peer **peers; /* by rank; NULL: nobody is there */
    struct pt_share *spread;    /* who has its ranks, this host first; NULL: they are all here */
    uint32_t nspread;
    uint32_t bundle; /* of a spread one: what it is for */
    uint64_t timer;  /* its ranks join, answer, or leave in time */
    uint64_t hung;   /* who failed is no longer waited for */
    uint64_t used;   /* the later, the greater */
    bool ended;      /* the agent says so */
    uint32_t status; /* of its launcher */
    char *output;
};

struct pt_hub_groups {
    struct pt_hub *hub;
    struct pt_conn *agent;
    char no_agent[160]; /* why there will be no group; "" */
    struct pt_live *live;
    struct pt_sizes sizes;
    struct pt_cores cores;
    bool looked, bind; /* cores were read; ranks are bound to them */
    uint8_t *tries;    /* by size: groups in a row that got nowhere; [0]: of spread ones */
    uint32_t last;     /* number given to a group */
    uint64_t clock;
    uint32_t mpi_grace;
    uint8_t fresh; /* enum pt_fresh */
    bool cancelled;
};

/* --- hub_groups.c --- */
/* No group of that size got anywhere: tell every test that waits for one. */
void pt_groups_give_up(struct pt_hub_groups *groups, uint32_t ranks, const char *why);
/* The same for the tests of one bundle, which is freed. */
void pt_groups_tell_none(struct pt_hub_groups *groups, struct pt_queue_item *item, const char *why);
/* Room for one more; idle groups make it where a bundle waits. */
bool pt_groups_have_room(struct pt_hub_groups *groups, bool waits);
/* The number of those that are in one of these states (a bit each), of that size and all here or (0) of any.
 */
uint32_t pt_groups_count(const struct pt_hub_groups *groups, unsigned states, uint32_t ranks);
void pt_groups_tell_done(struct pt_hub *hub, const struct pt_bundle *bundle);

/* --- hub_spread.c --- */
/* For each bundle over several hosts that waits: give it to its group, or start that. End those of which
 * nothing waits any more. */
void pt_spread_deal(struct pt_hub_groups *groups);
/* How many in a row got nowhere, of those that count together with this one. */
uint8_t *pt_live_tries(const struct pt_live *live);
/* It and the one before got nowhere: tell the tests that wait for it. */
void pt_live_give_up(struct pt_live *live, const char *why);
/* The number of that rank's runner. */
uint32_t pt_live_number(const struct pt_live *live, uint32_t rank);

/* --- hub_launch.c --- */
/* The agent can be asked for groups; false with no_agent filled in when not. */
bool pt_live_agent(struct pt_hub_groups *groups);
/* For that bundle alone, which is spread, or (NULL) for any of so many ranks. -1 when memory ends. */
int pt_live_start(struct pt_hub_groups *groups, uint32_t ranks, const struct pt_bundle *spread);
/* It got nowhere before it was up: the last one of its size that may, speaks for all tests that wait. */
void pt_live_failed(struct pt_live *live, const char *why);
/* Have the members end their session, then it. */
void pt_live_leave(struct pt_live *live, uint32_t grace_ms);
/* Nothing more is wanted of it: it is freed when the agent says that it ended. */
void pt_live_end(struct pt_live *live);
void pt_live_send(struct pt_live *live, const void *frames, size_t n);
void pt_live_time(struct pt_live *live, int64_t ms, void (*late)(void *live));

/* --- hub_members.c --- */
/* An idle group gets the first bundle of its size, a spread one its own. */
void pt_live_give(struct pt_live *live);
/* In a fall: tell it if all have answered, or `late`. */
void pt_live_fallen(struct pt_live *live, bool late);
