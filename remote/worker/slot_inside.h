/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of a slot share; for nobody else. slot.c has its life, slot_hub.c what the hub asks for,
 * slot_runner.c what its runner says, slot_watch.c what goes by the clock, slot_output.c what its runner
 * wrote, slot_rest.c when it is read, member.c what is different in a member of a group. */
#include "remote/worker/local.h"
#include "remote/worker/output.h"
#include "remote/worker/runner.h"
#include "remote/worker/slot.h"
#include "remote/worker/work.h"

#include <sys/types.h>

#define PT_SLOT_FRUITLESS 3 /* runners in a row that get nowhere: there will be no other */

enum pt_slot_state { WAITING, STARTING, READY, RUNNING, KILLING, ENDING, STOPPED, GONE, STATES };

struct pt_member;
struct pt_member_config;

struct pt_slot {
    struct pt_loop *loop;
    uint32_t host, rank;
    struct pt_member *member; /* NULL: a rank of the host's own */
    pt_slot_over_fn *over;
    void *arg;
    enum pt_slot_state state;
    struct pt_conn *hub;
    struct pt_runner *runner;
    struct pt_runner_spec spec;
    struct pt_env env[5];
    char worker[32], slots[16], rank_text[16], fork_socket[PT_LOCAL_PATH];
    struct pt_limits limits;
    struct pt_work work;
    struct pt_output output;
    struct pt_buf session;            /* the frame for the runner */
    struct pt_buf broken;             /* why the runner cannot start pytest, in its own words */
    struct pt_buf asked;              /* STEAL frames that the runner has not answered */
    uint32_t nasked, late;            /* how many; how many more that were answered without it */
    off_t mark;                       /* where in the output file the current bundle began */
    int64_t began, lasted;            /* the current phase or import: when, and how long until it was ended */
    uint64_t test_began, test_lasted; /* the current test, in microseconds: since 1970; likewise */
    uint64_t limit, leaving;          /* timers of the test and of the session's end */
    uint64_t weigh, look;             /* timers that look at memory and at output */
    uint64_t rest;                    /* timer: read the runner again */
    int64_t reported;                 /* when it last told a test */
    struct pt_buf started;            /* STARTED of the test that runs, while at rest */
    uint64_t heavy;                   /* bytes it had when it was killed for them */
    uint64_t oom_kills;               /* of the machine when the runner began */
    uint32_t fruitless;               /* runners in a row that got nowhere */
    uint32_t grace;                   /* ms, as QUIT said */
    uint8_t cause;                    /* of the runner's end */
    bool up, progress, ended, paused; /* of this runner */
    bool graced;                      /* this test's tear-down has got its grace */
    bool dumping;                     /* killed for its time: a session that says R_DIED lives on */
    bool dropped;                     /* killed as its bundle is not wanted any more */
    bool resting, heard;              /* heard: of a test, during this rest */
    bool quitting, cancelled, leaves; /* leaves: BYE, once all output is sent */
};

/* --- slot.c --- */
/* What the runner is called, and by which number: hHOST.NUMBER. */
void pt_slot_name(struct pt_slot *slot, uint32_t number);
void pt_slot_move(struct pt_slot *slot, enum pt_slot_state to);
/* Sends and frees what tell.h made. */
void pt_slot_send(struct pt_slot *slot, struct pt_buf *msg);
void pt_slot_start(struct pt_slot *slot);
/* The runner waits: give it what is left of the bundle, or ask the hub for another. */
void pt_slot_feed(struct pt_slot *slot);
/* It is over, by now, for what runs: how long that took. */
void pt_slot_clock(struct pt_slot *slot);
/* Microseconds since 1970. */
uint64_t pt_slot_now(void);
/* Look where the runner is. */
void pt_slot_look(struct pt_slot *slot);
/* Says DONE. */
void pt_slot_finish(struct pt_slot *slot);
/* Says BROKEN: no runner will be started any more. */
void pt_slot_stop(struct pt_slot *slot, const void *why, size_t n);
/* Says BYE, after all output. */
void pt_slot_say_bye(struct pt_slot *slot);
void pt_slot_kill(struct pt_slot *slot, uint8_t cause, bool dump);
/* Says DEATH for what was going on. */
void pt_slot_tell_death(struct pt_slot *slot, uint32_t status);

/* --- slot_hub.c --- */
/* A frame from the hub. */
void pt_slot_hear(struct pt_slot *slot, struct pt_frame *frame);
/* Says STOLEN for those of `asked` that have not begun; how many they were. */
uint32_t pt_slot_give(struct pt_slot *slot, const struct pt_steal *asked);
/* What the runner did not answer, now that it runs nothing. */
void pt_slot_answer(struct pt_slot *slot);
/* The same where the hub answers. */
void pt_slot_forget_asked(struct pt_slot *slot);
/* Have the runner end its session. */
void pt_slot_leave(struct pt_slot *slot);

/* --- slot_runner.c --- */
/* A frame from the runner; -1 when it makes no sense. */
int pt_slot_obey(struct pt_slot *slot, struct pt_frame *frame);

/* --- slot_watch.c --- */
/* Of the runner that is there now, as the limits want it. */
void pt_slot_watch(struct pt_slot *slot);
void pt_slot_stop_timers(struct pt_slot *slot);
/* The test begins or goes on; it is over. */
void pt_slot_time_test(struct pt_slot *slot);
void pt_slot_untime_test(struct pt_slot *slot);
/* The session's end may take so long. */
void pt_slot_time_end(struct pt_slot *slot, int64_t ms);

/* --- slot_rest.c --- */
/* A test was told: the runner may go unread for a moment, and the hub unheard. */
void pt_slot_rest(struct pt_slot *slot);
/* STARTED (tell.h) is of use only when the test still runs then. */
void pt_slot_hold_started(struct pt_slot *slot, struct pt_buf *msg);
/* No longer: what was held back goes on. */
void pt_slot_wake(struct pt_slot *slot);

/* --- slot_output.c --- */
/* What was written so far belongs to what runs now: send it, as far as the hub takes it. */
void pt_slot_output(struct pt_slot *slot);
/* The hub takes more. */
void pt_slot_flush(struct pt_slot *slot);
/* Stop reading the runner while the hub takes no more, or go on. */
void pt_slot_throttle(struct pt_slot *slot);
/* What comes from here on is of what the runner does next. */
void pt_slot_mark(struct pt_slot *slot);
/* A bundle that writes much does not wait for its end. */
void pt_slot_bound_output(struct pt_slot *slot);

/* --- member.c; all but destroy of a slot that has a member --- */
int pt_member_create(struct pt_slot *slot, const struct pt_member_config *config, struct pt_err *err);
/* NULL is fine. */
void pt_member_destroy(struct pt_member *member);
/* Append what a member says first. */
void pt_member_join(const struct pt_slot *slot, struct pt_buf *msg);
/* The hub said who its runner is. */
bool pt_member_welcome(const struct pt_slot *slot);
/* The hub is gone: whether that may be, and in words on stderr when not. */
bool pt_member_closed(const struct pt_slot *slot, const char *why);
/* Whether it is what a far member hears when its hub cannot be reached; then that was said, and it is over.
 */
bool pt_member_refused(struct pt_slot *slot, const struct pt_frame *frame);
/* A frame from the hub that no other rank gets; -1 when it makes no sense. */
int pt_member_hear(struct pt_slot *slot, struct pt_frame *frame);
/* The runner said FAILED; -1 when that cannot be. */
int pt_member_failed(struct pt_slot *slot, struct pt_reader *r);
/* Have all threads of the runner run where it was last told to. */
void pt_member_bind(struct pt_slot *slot);
/* The runner is gone. */
void pt_member_end(struct pt_slot *slot);
/* Dump the runner's stacks, then kill it; false: not possible, nothing was done. */
bool pt_member_dump(struct pt_slot *slot);
/* Where in the output file the dumped stacks begin; -1 when there are none. */
off_t pt_member_dumped(const struct pt_slot *slot);
/* What else the dump gave, to death->stack. */
void pt_member_add_native(const struct pt_slot *slot, struct pt_death *death);
