/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --collect remote: the collector of the Python package, run in the workspace; what it says travels on a
 * stream of its own. */
#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_collector;
struct pt_err;
struct pt_reader;

struct pt_collector *pt_collector_create(struct pt_agent *a, struct pt_err *err);
void pt_collector_destroy(struct pt_collector *c);
/* COLLECT. -1 when it is malformed or one runs already. */
int pt_collector_want(struct pt_collector *c, struct pt_reader *body, struct pt_err *err);
/* Start what is wanted, once tree, package and environment are there. */
void pt_collector_advance(struct pt_collector *c);
/* Nobody listens any more: ends the one that runs. */
void pt_collector_end(struct pt_collector *collector);
pid_t pt_collector_pid(const struct pt_collector *c);
bool pt_collector_reaped(struct pt_collector *c, pid_t pid, int status);
