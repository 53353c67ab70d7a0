/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where the worker that was sent cannot be loaded (another libmpi, an older libc) it is built with the host's
 * own mpicc, from the tool "kit": the one file that uses MPI, and one object with all the rest. What was
 * built stays in CACHE/bin, for that mpirun on that machine. */
#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_buf;
struct pt_err;
struct pt_kit;

struct pt_kit *pt_kit_create(struct pt_agent *a, struct pt_err *err);
void pt_kit_destroy(struct pt_kit *kit);
/* The worker to start with this mpirun: the one built for it, if there is one, else the one that was sent.
 * Heap; NULL with err. */
char *pt_kit_worker(struct pt_kit *kit, const char *mpirun, struct pt_err *err);
/* mpirun ended by itself, and said that. True: its worker could not be loaded; launch again once pt_kit_busy
 * is over. When nothing can be built either FAIL is said. */
bool pt_kit_take(struct pt_kit *kit, int status, const struct pt_buf *output);
bool pt_kit_busy(const struct pt_kit *kit);
/* Build, if the kit has come. */
void pt_kit_advance(struct pt_kit *kit);
bool pt_kit_reaped(struct pt_kit *kit, pid_t pid, int status);
