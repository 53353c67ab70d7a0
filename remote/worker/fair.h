/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How many of a machine's slots each of the runs on it may hold. Every run's hub asks this for itself, on
 * what all of them wrote down; that no slot has two holders is proved by locks (sharing.h), not here. Pure.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_fair {
    uint32_t base, slots; /* it holds slots numbered base to base + slots - 1 only */
    uint32_t held;
    uint32_t step;  /* the fewest more that would be of use to it; 0: it wishes for none */
    uint32_t want;  /* how many it could use in all */
    int64_t since;  /* when its wish began; of two, the earlier goes first */
    uint32_t order; /* when they began together: the lower */
};

/* What each has for sure when all of them wish: an equal part, at least 1. */
uint32_t pt_fair_part(const struct pt_fair *runs, size_t n);
/* How many run `me` may hold in all now; it takes no more until it was asked again. Nobody has to give what
 * it uses. A wish of more than a part at once (MPI) is served in turn: the oldest such run is left alone with
 * what the others do not use, then it stands behind all that waited meanwhile. */
uint32_t pt_fair_most(const struct pt_fair *runs, size_t n, size_t me);
/* It wishes, and has less than a part, or needs more than that at once. */
bool pt_fair_waits(const struct pt_fair *run, uint32_t part);
