/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What was said to a host's workers and may not have arrived: numbered from 1, forgotten when they tell that
 * they have it, said again on a new link. Pure. */
#include "common/wire.h"

struct pt_backlog {
    struct pt_buf frames; /* whole frames, the oldest first */
    uint64_t said, got;   /* messages that were said; of them, how many the workers have */
};

/* Keep a copy of one whole frame, or of several. -1 when memory ends or these are no whole frames. */
int pt_backlog_add(struct pt_backlog *log, const struct pt_buf *frames);
/* The workers have the first `got` messages. -1 when that cannot be. */
int pt_backlog_got(struct pt_backlog *log, uint64_t got);
/* Nothing was ever said. */
void pt_backlog_fini(struct pt_backlog *log);
