/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A process between the agent and a program that may leave others behind: all of them are below it, whatever
 * they did to hide. SIGTERM to it ends the program and its children, the program's end ends all that is left,
 * and then it ends as the program did. The agent's death is SIGTERM to it. */
#include <stdint.h>

struct pt_guard {
    const char *folders[2]; /* that go with the program; NULL: none */
    uint32_t grace_ms;      /* from SIGTERM to SIGKILL, at most */
};

/* As pt_child_spec.between; arg is a struct pt_guard. */
int pt_guard_fork(const void *arg);
