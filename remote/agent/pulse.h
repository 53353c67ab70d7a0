/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Do the file systems of the cache and of the tree still answer? A home on a server that is gone stops
 * whoever touches it, for ever and without a word: then this host fails. A child asks, as it would stop too.
 */
#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_pulse;

struct pt_pulse *pt_pulse_create(struct pt_agent *a, struct pt_err *err);
void pt_pulse_destroy(struct pt_pulse *pulse);
/* The child that asks just now, or 0. pulse may be NULL. */
pid_t pt_pulse_pid(const struct pt_pulse *pulse);
/* True when that was its child. pulse may be NULL. */
bool pt_pulse_reaped(struct pt_pulse *pulse, pid_t pid);
