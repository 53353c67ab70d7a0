/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RUNDIR/group.sock: the hub of this host's workers has groups of MPI ranks started and ended, each an mpirun
 * of its own (frames: common/message_group.h). The socket's end ends them all. Whatever a group leaves is
 * removed when its mpirun has ended. */
#include "common/message_group.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_groups;
struct pt_launch;

#define PT_GROUP_OUTPUT (16u << 10) /* bytes of last output in ENDED */
#define PT_GROUP_FAILED                                                                                      \
    (127u << 8) /* status of one whose mpirun could not be started; the output says why                      \
                 */

struct pt_groups *pt_groups_create(struct pt_agent *a, struct pt_err *err);
void pt_groups_destroy(struct pt_groups *groups);
/* From now on a process below mpirun may have groups. launch is borrowed until pt_groups_end. */
void pt_groups_allow(struct pt_groups *groups, const struct pt_launch *launch, pid_t mpirun);
/* A child ended: was it one of theirs? */
bool pt_groups_reaped(struct pt_groups *groups, pid_t pid, int status);
/* The workers ended: no group outlives them. */
void pt_groups_end(struct pt_groups *groups);
/* Is that process below one of them? */
bool pt_groups_own(const struct pt_groups *groups, pid_t pid);
/* True while anything of a group is left. */
bool pt_groups_busy(const struct pt_groups *groups);
