/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How mpirun is found and called: one local job, nothing of it on the network or in shared folders. */
#include "remote/agent/environ.h"

#include <stdbool.h>
#include <stdint.h>

struct pt_err;

struct pt_mpirun {
    const char *program; /* what pt_mpirun_find gave */
    const char *worker;
    const char *run_dir, *session_dir, *shm_dir;
    uint32_t ranks, host, launch;
    uint32_t group; /* the number of a group, or PT_NONE: the workers */
    bool yield;     /* of a group: more ranks than cores, so none spins for long */
};

#define PT_MPIRUN_ARGS 56

/* `wanted` is --mpirun, or "": then PATH, then where the distributions put it. Heap; NULL with err and hint.
 */
char *pt_mpirun_find(const struct pt_environ *env, const char *wanted, struct pt_err *err);
/* Fills argv (NULL-terminated). Numbers are written to `numbers`. */
void pt_mpirun_argv(const struct pt_mpirun *m, char *argv[PT_MPIRUN_ARGS], char numbers[4][16]);
/* The suite's environment made into mpirun's. */
void pt_mpirun_environ(const struct pt_mpirun *m, struct pt_environ *env);
/* For processes that become a world of one rank without mpirun: what they leave behind when they do not
 * finalize MPI lies in the run's folders, and goes with them. shm may be NULL. Settings of the user's stay.
 */
void pt_mpirun_alone(const char *run_dir, const char *shm, struct pt_environ *env);
