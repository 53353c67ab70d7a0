/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Both ends of what goes from a host to another by the master (frames: common/message_across.h).
 * RUNDIR/relay.sock: what a process of a group asks of another host is carried there unread. And what other
 * hosts ask of this one: its hub, or an orted, which ends with the stream. */
#include "common/wire.h"

#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_relays;

struct pt_relays *pt_relays_create(struct pt_agent *a, struct pt_err *err);
void pt_relays_destroy(struct pt_relays *relays);
/* PEERS, answered by PEERED. -1 when it is malformed. */
int pt_relays_know(struct pt_relays *relays, struct pt_reader *body, struct pt_err *err);
/* RELAY. -1 when it is malformed; what cannot be done is told to who asks. */
int pt_relays_take(struct pt_relays *relays, struct pt_reader *body, struct pt_err *err);
/* What mpirun starts in place of ssh: program and role. Heap; NULL with err. */
char *pt_relays_rsh(const struct pt_agent *a, struct pt_err *err);
/* A child ended: was it one of theirs? */
bool pt_relays_reaped(struct pt_relays *relays, pid_t pid, int status);
/* The workers ended: no orted outlives them. */
void pt_relays_end(struct pt_relays *relays);
/* True while anything of an orted is left. */
bool pt_relays_busy(const struct pt_relays *relays);
