/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One mpirun as a child of the agent: for the workers of a launch, or for a group of ranks. What it writes
 * goes to folders of its own. */
#include "remote/agent/child.h"

#include <stdbool.h>
#include <stdint.h>

struct pt_agent;
struct pt_err;
struct pt_launch;

struct pt_job_spec {
    const struct pt_launch *launch;
    uint32_t ranks;
    uint32_t group;  /* the hub's number of it, or PT_NONE: the workers */
    uint32_t serial; /* of a group: no other of this launch has or had it */
    bool yield;
};

struct pt_job {
    struct pt_child child; /* mpirun; of a group its guard (guard.h) */
    char *session_dir, *shm_dir;
};

/* -1 when it could not be started: nothing of it is left then, but pt_job_fini may be called. */
int pt_job_start(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec, struct pt_err *err);
/* Removes the folders, and forgets the child. Does not kill. Zero is fine where child.output is -1. */
void pt_job_fini(struct pt_job *job);
