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

/* How the wish of one run goes on; zero-initialise. */
struct pt_fair_turn {
    bool met;    /* it had its part when it looked last */
    bool served; /* then a bundle ended: what it wishes from there on is a new wish */
};

/* What each has for sure when all of them wish: an equal part, at least 1. Where there are more runs than
 * slots, each has that in turn. */
uint32_t pt_fair_part(const struct pt_fair *runs, size_t n);
/* How many run `me` may hold in all now; it takes no more until it was asked again. Nobody has to give what
 * it uses. A wish of more than a part at once (MPI) is served in turn: the oldest such run is left alone with
 * what the others do not use, then it stands behind all that waited meanwhile. */
uint32_t pt_fair_most(const struct pt_fair *runs, size_t n, size_t me);
/* It wishes, and has less than a part, or needs more than that at once. */
bool pt_fair_waits(const struct pt_fair *run, uint32_t part);

/* --- the run that asks; it is the first of them --- */

/* It wishes for `step` more at least, `want` in all. */
void pt_fair_wish(struct pt_fair *me, struct pt_fair_turn *turn, uint32_t step, uint32_t want, int64_t now);
/* As pt_fair_most. */
uint32_t pt_fair_look(const struct pt_fair *runs, size_t n, struct pt_fair_turn *turn);
/* It got n more: does that end its wish? */
bool pt_fair_rests(const struct pt_fair *me, uint32_t n);
/* It is about to hold no more than that. */
void pt_fair_keep(const struct pt_fair *me, struct pt_fair_turn *turn, uint32_t held);
