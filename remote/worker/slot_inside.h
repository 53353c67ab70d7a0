/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What slot.c (the life of a slot) and slot_runner.c (what its runner says) share; for nobody else. */
#include "remote/worker/local.h"
#include "remote/worker/runner.h"
#include "remote/worker/slot.h"
#include "remote/worker/work.h"

#include <sys/types.h>

enum pt_slot_state { WAITING, STARTING, READY, RUNNING, KILLING, ENDING, STOPPED, GONE, STATES };

struct pt_slot {
    struct pt_loop *loop;
    uint32_t rank;
    pt_slot_over_fn *over;
    void *arg;
    enum pt_slot_state state;
    struct pt_conn *hub;
    struct pt_runner *runner;
    struct pt_runner_spec spec;
    struct pt_env env[4];
    char worker[32], slots[16], fork_socket[PT_LOCAL_PATH];
    struct pt_work work;
    struct pt_buf session;            /* the frame for the runner */
    struct pt_buf broken;             /* why the runner cannot start pytest, in its own words */
    off_t mark;                       /* where in the output file the current bundle began */
    int64_t began, lasted;            /* the current phase or import: when, and how long until it was ended */
    uint64_t limit, leaving;          /* timers of the test and of the session's end */
    uint32_t fruitless;               /* runners in a row that got nowhere */
    uint8_t cause;                    /* of the runner's end */
    bool up, progress, ended, paused; /* of this runner */
    bool quitting, cancelled;
};

void pt_slot_move(struct pt_slot *slot, enum pt_slot_state to);
/* Sends and frees what tell.h made. */
void pt_slot_send(struct pt_slot *slot, struct pt_buf *msg);
/* The runner waits: give it what is left of the bundle, or ask the hub for another. */
void pt_slot_feed(struct pt_slot *slot);
/* Says DONE. */
void pt_slot_finish(struct pt_slot *slot);
void pt_slot_kill(struct pt_slot *slot, uint8_t cause, bool dump);
void pt_slot_stop_timers(struct pt_slot *slot);
/* Starts the output file again from nothing when it is longer. */
void pt_slot_bound_output(struct pt_slot *slot, off_t most);
/* Timers: the test's time is over; the session's end took too long. */
void pt_slot_on_limit(void *slot);
void pt_slot_on_leaving(void *slot);
/* A frame from the runner; -1 when it makes no sense. */
int pt_slot_obey(struct pt_slot *slot, struct pt_frame *frame);
