/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A member of a group: the supervisor of one rank of MPI. Its runner is that rank, by the launcher's
 * variables that it is given; the member itself makes no MPI call. There is no second runner: what becomes of
 * the first is told, then the member waits for its hub to go. */
#include <stdint.h>

struct pt_err;

struct pt_member_config {
    uint32_t group, rank, size;
};

/* Fills in rank and size, as the launcher gave them to this process. */
int pt_member_find(struct pt_member_config *config, struct pt_err *err);
