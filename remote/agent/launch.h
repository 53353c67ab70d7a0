/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One mpirun at a time: started when all it needs is there, ended when asked, and whatever way it ended, its
 * remains (ranks, runners, folders) are swept before EXITED is said. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_launch;
struct pt_launcher;
struct pt_reader;

struct pt_launcher *pt_launcher_create(struct pt_agent *a, struct pt_err *err);
void pt_launcher_destroy(struct pt_launcher *launcher);
/* LAUNCH. -1 when it is malformed or one runs already. */
int pt_launcher_want(struct pt_launcher *launcher, struct pt_reader *body, struct pt_err *err);
/* RELINK: new keys for the launch that runs; nothing when that has just ended. -1 when another is meant. */
int pt_launcher_relink(struct pt_launcher *launcher, struct pt_reader *body, struct pt_err *err);
/* Start what is wanted, if it can be. */
void pt_launcher_advance(struct pt_launcher *launcher);
/* SIGTERM now, SIGKILL after grace_ms. */
void pt_launcher_end(struct pt_launcher *launcher, uint32_t grace_ms);
/* What runs, or NULL. Borrowed until the next call of another function of it. */
const struct pt_launch *pt_launcher_running(const struct pt_launcher *launcher);
/* The number of the launch that was started, until EXITED is said; 0: none. And of the last that ended. */
uint32_t pt_launcher_number(const struct pt_launcher *launcher);
uint32_t pt_launcher_ended(const struct pt_launcher *launcher);
bool pt_launcher_idle(const struct pt_launcher *launcher);
bool pt_launcher_reaped(struct pt_launcher *launcher, pid_t pid, int status);
