/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* PRINTED: what a run without a terminal prints, in STATE/output/RUN (0600 in 0700). */
#include <stdbool.h>

struct pt_err;

#define PT_PRINTED_RUNS 50 /* files that are kept: as many as runs */

/* A new file, open to append and to read, close-on-exec; the oldest are dropped. run: its name. */
int pt_printed_create(const char *state_dir, const char *run, struct pt_err *err);
/* The file of that run, to read; -1 when there is none. */
int pt_printed_open(const char *state_dir, const char *run);
/* Is there one? */
bool pt_printed_is(const char *state_dir, const char *run);
