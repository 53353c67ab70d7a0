/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The kernel's seccomp: a process gives up system calls for good. One that is given up fails with EPERM. */
#include <stdbool.h>
#include <stddef.h>

struct pt_err;

#define PT_SECCOMP_CALLS 64 /* that may be named at once */

/* False where the kernel has none, its use is refused, or this architecture is not known here. */
bool pt_seccomp_is_there(void);
/* Left are `calls` alone, or (`without`) all but these. For the calling thread and what it starts. */
int pt_seccomp_limit(const int *calls, size_t n, bool without, struct pt_err *err);
