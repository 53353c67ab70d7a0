/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What `systemd-run --user --scope` does, for processes that run already: a scope of the user's own service
 * manager, which outlasts the login they came with. */
#include <stddef.h>
#include <stdint.h>

struct pt_err;

#define PT_SCOPE_MS 1500 /* for all of it: a manager that hangs must not hold up the run */

/* Moves these processes to the scope NAME (no path, ends in .scope), asking the manager that listens at
 * `socket`, and waits until they are there, as /proc tells. -1 with the reason: they may come there later, or
 * never. */
int pt_scope_enter(const char *socket, const char *name, const uint32_t *pids, uint32_t n,
                   struct pt_err *err);
