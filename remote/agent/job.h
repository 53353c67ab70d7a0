/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One launcher of MPI as a child of the agent: mpirun for the workers of a launch, or for a group of ranks,
 * or the daemon of another host's mpirun. What it writes goes to folders of its own. */
#include "common/message.h"
#include "remote/agent/child.h"

#include <stdbool.h>
#include <stdint.h>

struct pt_agent;
struct pt_err;
struct pt_launch;
struct pt_words;

struct pt_job_spec {
    const struct pt_launch *launch;
    uint32_t ranks;
    uint32_t group;  /* the hub's number of it, or PT_NONE: the workers */
    uint32_t serial; /* of a group or daemon: no other of its kind of this launch has or had it */
    bool yield;
    const struct pt_share *spread; /* of a group over several hosts, this one first; n 0: all are here */
    uint32_t nspread;
};

struct pt_job {
    struct pt_child child; /* mpirun; of groups and daemons their guard (guard.h) */
    char *session_dir, *shm_dir;
};

/* -1 when it could not be started: nothing of it is left then, but pt_job_fini may be called. */
int pt_job_start(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec, struct pt_err *err);
/* This host's orted, with the words that another host's mpirun has for its own. At most `ranks` come here;
 * group and spread are not looked at. */
int pt_job_start_orted(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec,
                       char *const *words, size_t nwords, struct pt_err *err);
/* Removes the folders, and forgets the child. Does not kill. Zero is fine where child.output is -1. */
void pt_job_fini(struct pt_job *job);
