/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A member of a group: the supervisor of one rank of MPI. Its runner is that rank, by the launcher's
 * variables that it is given; the member itself makes no MPI call. There is no second runner: what becomes of
 * the first is told, then the member waits for its hub to go. Of a group that is spread over several hosts
 * the hub is on one of them; members on the others reach it through the agents and the master. */
#include <stdint.h>

struct pt_err;

struct pt_member_config {
    uint32_t group, rank, size;
    uint32_t far; /* the host whose hub it is; NONE: that of this one */
};

/* Fills in rank and size, as the launcher gave them to this process. */
int pt_member_find(struct pt_member_config *config, struct pt_err *err);
/* A launcher that cannot enter the run's folder starts its processes elsewhere: -1 when this one is not
 * there. */
int pt_member_check_folder(const char *run_dir, struct pt_err *err);
/* A connection to the hub of host config->far, to be used as one to RANK_SOCKET; the hub, or who cannot reach
 * it, answers later. -1 when nobody passes it on. */
int pt_member_reach(const struct pt_member_config *config, const char *run_dir, struct pt_err *err);
