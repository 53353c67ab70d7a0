/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where a Python process is, asked without ending it: the Python stacks of its threads, which it writes into
 * a file itself (faulthandler, registered for PT_STACKS_SIGNAL), then its native frames, where a tool that
 * tells them is in PATH. */
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#define PT_STACKS_SIGNAL (SIGRTMIN + 5)

struct pt_loop;
struct pt_stacks;

/* Called once, never by pt_stacks_create itself. May destroy the stacks. */
typedef void pt_stacks_fn(void *arg);

/* `file`, borrowed, is where the process writes them. Takes at most a second, with `native` four. NULL when
 * memory ends. */
struct pt_stacks *pt_stacks_create(struct pt_loop *loop, pid_t pid, int file, bool native, pt_stacks_fn *done,
                                   void *arg);
/* Ends the tool, if it runs. NULL is fine. */
void pt_stacks_destroy(struct pt_stacks *stacks);

/* The process does not wait for that signal (it would die of it): nothing was asked. */
bool pt_stacks_deaf(const struct pt_stacks *stacks);
/* Offset in the file from which on the Python stacks are. */
off_t pt_stacks_from(const struct pt_stacks *stacks);
/* The native frames, borrowed; "" when there are none. */
const char *pt_stacks_native(const struct pt_stacks *stacks);
