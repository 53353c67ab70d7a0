/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What hub_groups.c (which groups there are), hub_launch.c (how they start and end) and hub_members.c (what
 * their ranks say) share; for nobody else. */
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
    uint64_t timer;             /* its ranks join, answer, or leave in time */
    uint64_t hung;              /* who failed is no longer waited for */
    uint64_t used;              /* the later, the greater */
    bool ended;                 /* the agent says so */
    uint32_t status;            /* of its launcher */
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
    uint8_t *tries;    /* by size: groups in a row that got nowhere */
    uint32_t last;     /* number given to a group */
    uint64_t clock;
    uint32_t mpi_grace;
    uint8_t fresh; /* enum pt_fresh */
    bool cancelled;
};

/* --- hub_groups.c --- */
/* No group of that size got anywhere: tell every test that waits for one. */
void pt_groups_give_up(struct pt_hub_groups *groups, uint32_t ranks, const char *why);
/* The number of those that are in one of these states (a bit each), of that size or (0) of any. */
uint32_t pt_groups_count(const struct pt_hub_groups *groups, unsigned states, uint32_t ranks);
void pt_groups_tell_done(struct pt_hub *hub, const struct pt_bundle *bundle);

/* --- hub_launch.c --- */
/* The agent can be asked for groups; false with no_agent filled in when not. */
bool pt_live_agent(struct pt_hub_groups *groups);
/* -1 when memory ends. */
int pt_live_start(struct pt_hub_groups *groups, uint32_t ranks);
/* It got nowhere before it was up: the last one of its size that may, speaks for all tests that wait. */
void pt_live_failed(struct pt_live *live, const char *why);
/* Have the members end their session, then it. */
void pt_live_leave(struct pt_live *live, uint32_t grace_ms);
/* Nothing more is wanted of it: it is freed when the agent says that it ended. */
void pt_live_end(struct pt_live *live);
void pt_live_send(struct pt_live *live, const void *frames, size_t n);
void pt_live_time(struct pt_live *live, int64_t ms, void (*late)(void *live));

/* --- hub_members.c --- */
/* An idle group gets the first bundle of its size. */
void pt_live_give(struct pt_live *live);
/* In a fall: tell it if all have answered, or `late`. */
void pt_live_fallen(struct pt_live *live, bool late);
