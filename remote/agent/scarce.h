/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What there is so little of on this host, or for this login, that programs fail with words that do not tell.
 */
struct pt_err;
struct pt_rundir;

/* The first such thing in err, with the next step: -1. 0: nothing. */
int pt_scarce(const struct pt_rundir *dir, struct pt_err *err);
