/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One slot: keeps one runner alive, feeds it bundles, and tells the hub of every test exactly once, whatever
 * becomes of the runner. */
#include <stdbool.h>
#include <stdint.h>

struct pt_err;
struct pt_loop;
struct pt_member_config;
struct pt_slot;

struct pt_slot_config {
    const char *run_dir;
    char *cwd, *workspace, *run; /* for the runner; borrowed; run may be "" */
    uint32_t host, rank, slots;
    const struct pt_member_config *member; /* of a group; NULL: a rank of the host's own */
};

/* Called once, when the hub has gone: `ended` is true when that is how it should be, as always of a member
 * that was welcome. May destroy the slot. */
typedef void pt_slot_over_fn(void *arg, bool ended);

/* Takes `hub`, a socket to rank 0, over and joins. */
struct pt_slot *pt_slot_create(struct pt_loop *loop, const struct pt_slot_config *config, int hub,
                               pt_slot_over_fn *over, void *arg, struct pt_err *err);
/* Kills the runner. NULL is fine. */
void pt_slot_destroy(struct pt_slot *slot);
