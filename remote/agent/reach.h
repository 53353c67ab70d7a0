/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Who reaches whom: this host answers other hosts' probes for a while (LISTEN), and probes them (PROBE). */
#include "common/wire.h"

#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_reach;

struct pt_reach *pt_reach_create(struct pt_agent *a, struct pt_err *err);
void pt_reach_destroy(struct pt_reach *reach);
/* LISTEN, answered by LISTENING once mpirun's version is known: with no addresses where this host cannot take
 * part. -1 when it is malformed. */
int pt_reach_listen(struct pt_reach *reach, struct pt_reader *body, struct pt_err *err);
/* PROBE, answered by REACHED once all answered or the time is over; the next one cuts it short. -1 when it is
 * malformed. */
int pt_reach_probe(struct pt_reach *reach, struct pt_reader *body, struct pt_err *err);
/* A child ended: was it ours? */
bool pt_reach_reaped(struct pt_reach *reach, pid_t pid, int status);
