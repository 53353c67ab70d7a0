/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the kernel tells of memory: how much a process and all it started use, and who it killed for it. */
#include <stdint.h>
#include <sys/types.h>

/* Bytes in memory of a process and its descendants; 0 when it is gone. What they share is counted once for
 * each of them, but when the sum is above `above`: then shares are counted by part, where the kernel tells
 * (PSS). At most the first few thousand processes are looked at. */
uint64_t pt_memory_of_tree(pid_t pid, uint64_t above);
/* Processes that the kernel killed because memory ran out, since it was booted; 0 when it does not tell. */
uint64_t pt_memory_oom_kills(void);
