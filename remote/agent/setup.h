/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* SETUP: what the master says of this run, checked, and the parts that serve it. */
struct pt_agent;
struct pt_err;
struct pt_reader;

/* Takes the message, makes the parts, says READY. -1 with the reason. */
int pt_agent_set_up(struct pt_agent *a, struct pt_reader *body, struct pt_err *err);
/* Ends what the parts have open; their processes are left to the sweep. */
void pt_agent_take_down(struct pt_agent *a);
