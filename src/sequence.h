/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a host says that must count once is numbered from 1 in each launch; on a new link some of it is said
 * again. Pure. */
#include <stdint.h>

struct pt_err;

/* A message of that number came after *last: 1 new, *last counts on; 0 it was seen before; -1 one between is
 * missing. */
int pt_sequence_next(uint64_t *last, uint64_t seq, struct pt_err *err);
