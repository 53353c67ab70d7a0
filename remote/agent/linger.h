/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A run that goes on without its master: RUNDIR/attach.sock, where the agent of a new channel hands that
 * over (attach.h), how long nobody may come, and what is to be told to who comes. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_agent;
struct pt_buf;
struct pt_err;
struct pt_linger;

/* A new channel is this agent's: close the old one, and say pt_linger_return on fresh streams. `taken` bytes
 * of its control stream were read by the agent that gave it, and not credited. Takes channel. */
typedef void pt_linger_fn(void *arg, int channel, size_t taken);

/* Opens the door; only where SETUP has linger_ms. */
struct pt_linger *pt_linger_create(struct pt_agent *a, pt_linger_fn *attached, void *arg, struct pt_err *err);
void pt_linger_destroy(struct pt_linger *linger);

/* LINGER came. NULL is fine. */
void pt_linger_arm(struct pt_linger *linger);
/* May this agent do without a channel now? LINGER was said of the workers that run, and nothing has failed.
 * NULL may not. */
bool pt_linger_may(const struct pt_linger *linger);
/* There is no channel any more: from now on its time runs. */
void pt_linger_leave(struct pt_linger *linger);
bool pt_linger_away(const struct pt_linger *linger);
/* It is away, and nobody came in time. */
bool pt_linger_over(const struct pt_linger *linger);
/* A control frame is about to be sent. True while away: it is not, and what a master must know is kept. */
bool pt_linger_keep(struct pt_linger *linger, const struct pt_buf *frame);
/* LAUNCH came: what became of the launch before is known. */
void pt_linger_forget(struct pt_linger *linger);
/* There is a channel again: say ATTACHED, and what was kept. */
void pt_linger_return(struct pt_linger *linger);
