/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One group of ranks that run tests together: who is there, what each rank said of which test, and what is
 * told when it ends. Pure: time is an argument.
 *
 *   STARTING --all ready--> IDLE --take--> BUSY --all done--> IDLE ...
 *   any of these --a rank is gone--> FALLING --all answered--> ENDING
 *   IDLE, BUSY --left--> LEAVING --all said BYE--> ENDING
 *
 * A test is told (RANKS) once every rank has reported it. In a fall the test it began over is told by the
 * FALL; what else was reported by some ranks only is forgotten, as those tests run again in another group. */
#include "common/message_group.h"
#include "remote/worker/work.h"

enum pt_group_state {
    PT_GROUP_STARTING,
    PT_GROUP_IDLE,
    PT_GROUP_BUSY,
    PT_GROUP_FALLING,
    PT_GROUP_LEAVING,
    PT_GROUP_ENDING,
};

struct pt_group_member {
    bool joined, ready;
    bool done;     /* with the bundle */
    bool answered; /* it died, is lost, or is broken: nothing more comes */
    bool bye;
    uint32_t at;         /* the test it began and has not reported, or NONE */
    struct pt_buf death; /* its DEATH, if it said one */
};

struct pt_group_test; /* what is reported by some and not told */

struct pt_group {
    uint32_t id;    /* as the agent knows it */
    uint32_t index; /* a small number */
    uint32_t ranks;
    enum pt_group_state state;
    struct pt_group_member *members;
    struct pt_group_test *tests;
    struct pt_work work; /* the bundle it runs */
    uint32_t only;       /* the one test of it that was given to the members; NONE: all */
    struct {
        uint32_t test, rank; /* NONE; the rank that failed first */
        int64_t due[PT_PHASE_TEARDOWN + 1];
    } failed;
    struct { /* what it falls over */
        uint32_t test, culprit;
        uint32_t file; /* as the members got the bundle, or NONE */
        uint8_t phase, cause;
        bool lost;    /* the culprit vanished without a word */
        bool leaving; /* its session was to end anyway */
    } fall;
};

int pt_group_init(struct pt_group *group, uint32_t id, uint32_t index, uint32_t ranks, struct pt_err *err);
void pt_group_fini(struct pt_group *group);

/* -1 when there is no such rank, or it is there. */
int pt_group_join(struct pt_group *group, uint32_t rank);
/* That rank waits for a bundle. True when all do: from STARTING it is IDLE then. */
bool pt_group_ready(struct pt_group *group, uint32_t rank);

/* An IDLE group gets a bundle (taken over, on failure too) and is BUSY; `frame` is the BUNDLE for all
 * members, of its first test alone when `one`. */
int pt_group_take(struct pt_group *group, struct pt_bundle *bundle, bool one, struct pt_buf *frame,
                  struct pt_err *err);
/* A rank began a test; -1 when that is none of the bundle. */
int pt_group_started(struct pt_group *group, uint32_t rank, uint32_t test);
/* A rank's REPORT frame. 1 when all ranks have reported that test, which is *test; 0 not yet, or told before;
 * -1 when it makes no sense. */
int pt_group_reported(struct pt_group *group, uint32_t rank, const void *frame, size_t n, uint32_t *test);
/* Append the RANKS of a test, which is told from then on. Ranks that did not report it are left out; so are
 * words, the longest first, until it is a frame. */
void pt_group_tell(struct pt_group *group, uint32_t test, struct pt_buf *out);
/* A rank is done with what it was given. True when all are: those that are not told by then, given by
 * pt_group_untold, will not be. */
bool pt_group_done(struct pt_group *group, uint32_t rank);
/* A test that the members were given and that is not told, or NONE. */
uint32_t pt_group_untold(const struct pt_group *group);
/* The bundle is over: IDLE, unless it leaves. */
void pt_group_finish(struct pt_group *group);
/* What is left of the bundle, as a bundle; -1 when memory ends. */
int pt_group_rest(struct pt_group *group, struct pt_bundle *out);

/* That phase of a test failed on a rank: who is still at it at `due`, hangs. -1 when it makes no sense. */
int pt_group_failed(struct pt_group *group, uint32_t rank, uint32_t test, uint8_t phase, int64_t due);
/* When pt_group_hung has something to say; -1: never. */
int64_t pt_group_due(const struct pt_group *group);
/* True, once for each phase that failed: who is no further than *phase of *test hangs. */
bool pt_group_hung(struct pt_group *group, int64_t now, uint32_t *test, uint8_t *phase);

/* A rank died (its DEATH frame) or, with a frame of NULL, is gone without a word. The first one makes the
 * group fall. -1 when the frame makes no sense. */
int pt_group_died(struct pt_group *group, uint32_t rank, const void *frame, size_t n);
/* In a fall: nothing more will come of any rank. */
bool pt_group_fallen(const struct pt_group *group);
/* Append the FALL, and take what it tells off the bundle; how many tests that were. A culprit that vanished
 * has the status and output of the group's launcher as its death. */
uint32_t pt_group_tell_fall(struct pt_group *group, uint32_t status, const char *output, struct pt_buf *out);
