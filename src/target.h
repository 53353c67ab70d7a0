/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How many slots a run needs to end in a given time. Pure. */
#include <stddef.h>
#include <stdint.h>

/* The least number of slots, at most `most`, on which units of these seconds end within `target` when each in
 * turn, longest first, goes to the slot that is free first (Graham 1969); `most` when none does. */
uint32_t pt_target_slots(const double *seconds, size_t n, double target, uint32_t most);
