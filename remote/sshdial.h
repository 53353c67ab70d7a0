/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reaching a host's port, with a deadline and a way out; and the gate that lets few knock at once. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pt_err;
struct pt_gate;

/* When to give up. */
struct pt_limit {
    int64_t end_ms; /* as pt_now_ms */
    const atomic_int *cancel;
};

#define PT_SLICE_MS 200 /* how long anybody sleeps before looking at the cancel flag */

struct pt_limit pt_limit_after(int ms, const atomic_int *cancel);
/* Milliseconds to sleep at most: 0 when the time is over. */
int pt_limit_left(const struct pt_limit *limit);
/* True, with err set, once the user gave up. */
bool pt_limit_cancelled(const struct pt_limit *limit, struct pt_err *err);
/* Sleep ms unless cancelled. */
void pt_limit_sleep(const struct pt_limit *limit, int ms);

/* A connected, non-blocking, close-on-exec TCP socket, or -1 with reason and next step. `family` is enum
 * pt_family. Tries each address in turn; keep-alive and TCP_NODELAY are on. */
int pt_dial(const char *host, int port, int family, const struct pt_limit *limit, struct pt_err *err);
/* Acknowledge at once what comes in next (it is forgotten by the kernel after each use). */
void pt_dial_quickack(int fd);

#define PT_GATE_WIDTH 8

/* Wait until fewer than PT_GATE_WIDTH callers are inside the gate of that name. NULL with err: cancelled, no
 * memory. */
struct pt_gate *pt_gate_enter(const char *name, const struct pt_limit *limit, struct pt_err *err);
/* NULL is fine. */
void pt_gate_leave(struct pt_gate *gate);
