/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Least power: what a process of ours that starts no runner gives up, for good. No core file and no new
 * privileges on any kernel; the rest where the kernel has Landlock and seccomp. Runners keep what a login
 * has, so none of their ancestors may do so before it has forked for the last time. Each is called once, by
 * the process itself, before it has threads. 0 also where the kernel lacks it; -1 when that failed which it
 * has: the process may go on, and err says why it has more than it needs. */
#include <stdbool.h>

struct pt_err;

/* Left: bytes between the descriptors that are open, and to end (proxy). */
int pt_least_bytes(struct pt_err *err);
/* Left besides: files below the folders in `below`, NULL at its end (receiver, room), or sizes of file
 * systems with none (pulse). */
int pt_least_files(const char *const *below, struct pt_err *err);
/* Left: all but sockets and starting programs; for one that ends processes and removes folders wherever they
 * lie (keeper, guard). */
int pt_least_sweep(struct pt_err *err);

/* One line of what this kernel lacks for it; false when nothing. */
bool pt_least_lacks(char line[200]);
