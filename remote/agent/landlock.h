/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The kernel's Landlock: a process gives up, for good, all files but those below some folders. Its numbers
 * are written down here, as the build may have older headers than the host has a kernel. */
#include <stddef.h>

struct pt_err;

/* 0 where the kernel has none, or its use is refused. */
int pt_landlock_abi(void);
/* From which on a file may be moved from one folder to another. */
#define PT_LANDLOCK_MOVES 2

/* Left are: whatever is open, all that may be done to files and folders below `folders` but executing them,
 * and reading `file` (or NULL). What is not there is left out. TCP, signals to others and abstract sockets go
 * too, where the kernel knows how. For the calling thread and what it starts. */
int pt_landlock_limit(const char *const *folders, size_t n, const char *file, struct pt_err *err);
