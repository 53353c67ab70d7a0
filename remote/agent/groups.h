/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* RUNDIR/group.sock: the hub of this host's workers has groups of MPI ranks started and ended, each an mpirun
 * of its own. The socket's end ends them all. Whatever a group leaves is removed when its mpirun has ended.
 */
#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_groups;

/* Frames on that socket. */
#define PT_G_START 1 /* hub: u32 group, u32 ranks, u8 1: ranks and cores are not one to one, so ranks yield  \
                      */
#define PT_G_END 2   /* hub: u32 group: it is wanted no more */
#define PT_G_ENDED                                                                                           \
    16 /* agent: u32 group, u32 wait status, bytes last output; whatever the reason, once for each START */

#define PT_GROUPS_MAX 256 /* that live at a time */

struct pt_groups *pt_groups_create(struct pt_agent *a, struct pt_err *err);
void pt_groups_destroy(struct pt_groups *groups);
/* A child ended: was it one of theirs? */
bool pt_groups_reaped(struct pt_groups *groups, pid_t pid, int status);
/* The workers ended: no group outlives them. */
void pt_groups_end(struct pt_groups *groups);
