/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* STATUS: which test runs where and since when, as SIGUSR1 of the master prints it. */
#include <stdint.h>
#include <stdio.h>

struct pt_status;

struct pt_status *pt_status_create(void);
void pt_status_destroy(struct pt_status *s);
/* s may be NULL. A test began, or (nodeid NULL) what ran there ended. now: monotonic ms. -1 when memory ends.
 */
int pt_status_set(struct pt_status *s, uint32_t host, uint32_t rank, const char *nodeid, int64_t now);
/* The same for a group of that many ranks. */
int pt_status_set_group(struct pt_status *s, uint32_t host, uint32_t group, uint32_t ranks, uint32_t bundle,
                        const char *nodeid, int64_t now);
/* No group of that host is at that bundle any more. */
void pt_status_end_bundle(struct pt_status *s, uint32_t host, uint32_t bundle);
/* The host's workers are gone. s may be NULL. */
void pt_status_lost(struct pt_status *s, uint32_t host);
struct pt_status_host {
    const char *name, *state;
    uint32_t slots, base; /* base: number of its first node */
    uint32_t held;        /* bundles */
};
/* The table: a line a host, below it one for each slot and for each group of ranks that runs a test, the
 * longest-running test first told at the end. */
void pt_status_print(const struct pt_status *s, const struct pt_status_host *hosts, size_t n, uint32_t untold,
                     int64_t now, FILE *out);
