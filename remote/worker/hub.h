/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Rank 0's second job: one link to the master on one side, all ranks of the host on the other. Gives each
 * idle rank the next bundle, numbers what the ranks tell, and keeps it until the master has it. */
#include <stdbool.h>
#include <stdint.h>

struct pt_err;
struct pt_hub;
struct pt_loop;

struct pt_hub_config {
    const char *run_dir;
    uint32_t host, launch, slots;
    const char *run, *who,
        *share; /* share: the folder where runs share slots (sharing.h), NULL: they do not */
};

/* Called once. `why` is NULL when all ranks said BYE and the master has everything. */
typedef void pt_hub_over_fn(void *arg, const char *why);

/* `own` is the near end of a socket pair to rank 0's own slot; taken over. */
struct pt_hub *pt_hub_create(struct pt_loop *loop, const struct pt_hub_config *config, int own,
                             pt_hub_over_fn *over, void *arg, struct pt_err *err);
/* Closes the ranks' sockets, which ends them. */
void pt_hub_destroy(struct pt_hub *hub);
