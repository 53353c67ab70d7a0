/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* DETACH: the program becomes two before it has threads. The starter keeps the terminal, waits until the
 * other one says how it went, and ends; the other is the run, in a session of its own, without a terminal.
 *
 *   fork ─► starter: waits ◄── "under way", with what to print ──► exit 0
 *        └► run: prints into memory ─► state folder known: STATE/output/RUN ─► told ─► goes on
 *                 ended before it was told ──► all that was printed, and its exit code, are the starter's */
#include <stdbool.h>
#include <stddef.h>

struct pt_err;

struct pt_detach {
    int starter; /* pipe to it; -1: it was told, or there is none */
    int printed; /* where stdout and stderr go */
};
#define PT_DETACH_INIT ((struct pt_detach){.starter = -1, .printed = -1})

/* 0 in the run; 1 in the starter, whose exit code is *code then; -1 when there is no run. Ctrl-C at the
 * starter is passed on to the run. */
int pt_detach_fork(struct pt_detach *d, int *code, struct pt_err *err);
/* What was and will be printed is kept in the file of that run. */
int pt_detach_keep(struct pt_detach *d, const char *state_dir, const char *run, struct pt_err *err);
/* Does the starter still wait? */
bool pt_detach_waits(const struct pt_detach *d);
/* The run is under way: the starter prints the text and ends with 0. all: first what the run printed so far.
 */
void pt_detach_tell(struct pt_detach *d, const char *text, bool all);
/* The run is over: a starter that still waits prints all of it, on stderr if it failed. */
void pt_detach_end(struct pt_detach *d, bool failed);
