/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How mpirun is found and called: one job, of this host alone with nothing of it on the network, or of
 * several that reach each other; never in shared folders. */
#include "remote/agent/environ.h"
#include "remote/agent/words.h"

#include <stdbool.h>
#include <stdint.h>

struct pt_err;
struct pt_peer;
struct pt_share;

struct pt_mpirun {
    const char *program; /* what pt_mpirun_find gave */
    const char *worker;
    const char *run_dir, *session_dir, *shm_dir;
    uint32_t ranks, host, launch;
    uint32_t group; /* the number of a group, or PT_NONE: the workers */
    bool yield;     /* of a group: more ranks than cores, so none spins for long */
    /* Of a group over several hosts, this one first: who has how many ranks, where each is, and the program
     * with a word that mpirun shall start in place of ssh. n 0: all are here. */
    const struct pt_share *shares;
    const struct pt_peer *const *peers;
    size_t n;
    const char *rsh;
};

/* `wanted` is --mpirun, or "": then PATH, then where the distributions put it. Heap; NULL with err and hint.
 */
char *pt_mpirun_find(const struct pt_environ *env, const char *wanted, struct pt_err *err);
/* Adds its arguments, the program first. */
void pt_mpirun_argv(const struct pt_mpirun *m, struct pt_words *argv);
/* Its daemon for other hosts' groups, which lies beside it. Heap; NULL with err. */
char *pt_mpirun_orted(const char *program, struct pt_err *err);
/* The suite's environment made into mpirun's. */
void pt_mpirun_environ(const char *program, const char *session_dir, struct pt_environ *env);
/* For processes that become a world of one rank without mpirun: what they leave behind when they do not
 * finalize MPI lies in the run's folders, and goes with them. shm may be NULL. Settings of the user's stay.
 */
void pt_mpirun_alone(const char *run_dir, const char *shm, struct pt_environ *env);
