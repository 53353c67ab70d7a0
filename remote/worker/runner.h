/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One runner: a process forked by the fork server, led through a control socket. Destroying it kills it. */
#include "remote/worker/conn.h"

#include "common/message.h"

#include <sys/types.h>

struct pt_runner;

struct pt_runner_spec {
    const char *fork_socket; /* path of the fork server's socket */
    const char *cwd;
    const struct pt_env *env;
    uint32_t nenv;
    int output;       /* becomes stdout and stderr */
    int64_t delay_ms; /* before it asks */
};

struct pt_runner_callbacks {
    /* A frame from the runner (enum pt_runner). Must not destroy it. */
    void (*frame)(void *arg, struct pt_frame *frame);
    /* Exactly once, after the last frame: it ended with this wait status; or, with `why`, there was none or
     * it was lost from sight (and is killed). May destroy it. */
    void (*ended)(void *arg, uint32_t status, const char *why);
};

/* Asks the fork server for a process; keeps asking for a while when the server is not there yet. */
struct pt_runner *pt_runner_create(struct pt_loop *loop, const struct pt_runner_spec *spec,
                                   const struct pt_runner_callbacks *cb, void *arg, struct pt_err *err);
/* NULL is fine. */
void pt_runner_destroy(struct pt_runner *runner);

/* Queue frames for the control socket. */
void pt_runner_send(struct pt_runner *runner, const void *frames, size_t n);
/* Stop reading what the runner says, or go on; a runner that is not read waits. */
void pt_runner_pause(struct pt_runner *runner, bool pause);
/* Take what it said and nobody has read yet, paused or not. */
void pt_runner_catch_up(struct pt_runner *runner);
/* Kill it with its group; with `dump`, first let faulthandler write the stack, for at most a second. A
 * session that ignores SIGABRT waits for a child that runs the tests: then that one writes it, and three
 * seconds are given to say R_DIED. */
void pt_runner_kill(struct pt_runner *runner, bool dump);
/* After a kill with `dump`: it lives on. False when it is too late for that. */
bool pt_runner_spare(struct pt_runner *runner);
/* 0 while it is not there. */
pid_t pt_runner_pid(const struct pt_runner *runner);
/* The fork server was there to be asked: if it failed, it is worth asking again. */
bool pt_runner_reached(const struct pt_runner *runner);
/* Where it is now, by its own word: false when it has not said. `since` as pt_now_ms(). */
bool pt_runner_place(const struct pt_runner *runner, uint32_t *test, uint32_t *phase, int64_t *since);
/* The two files that captured output goes to; each -1 when not known. Borrowed. */
const int *pt_runner_capture(const struct pt_runner *runner);
