/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A master that is away: whether, how long it may be, and what it is told when it comes again. Pure: time is
 * an argument, in ms. */
#include "common/wire.h"

/* Zero-initialise. */
struct pt_absence {
    bool armed; /* LINGER was said, of this launch */
    bool away;
    int64_t until;
    struct pt_buf kept;   /* frames, while away */
    struct pt_buf exited; /* EXITED of the last launch: it may have been said to nobody */
    struct pt_buf served; /* the same of the fork server under it */
    uint32_t launch;      /* of exited */
};

void pt_absence_fini(struct pt_absence *absence);
/* There is no channel any more. */
void pt_absence_begin(struct pt_absence *absence, int64_t until);
/* Nobody came in time. */
bool pt_absence_over(const struct pt_absence *absence, int64_t now);
/* A control frame is to be sent; `ended` is the launch that ended last. True while away: it cannot be, and
 * what a master must know is kept. */
bool pt_absence_keep(struct pt_absence *absence, const struct pt_buf *frame, uint32_t ended);
/* Workers are launched: what became of those before is known. */
void pt_absence_forget(struct pt_absence *absence);
/* There is a channel again: append what is said on it, ATTACHED first. `runs`: the launch that runs, or 0. */
void pt_absence_end(struct pt_absence *absence, uint32_t runs, struct pt_buf *out);
