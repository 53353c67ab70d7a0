/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What decides a result and is on its way to the master: numbered, and kept until it is acknowledged. Pure.
 */
#include "common/wire.h"

struct pt_outbox_item;

struct pt_outbox {
    struct pt_outbox_item *head, **tail;
    uint64_t last, acked; /* highest number given, highest acknowledged */
    size_t bytes;         /* kept now */
};

void pt_outbox_init(struct pt_outbox *box);
void pt_outbox_fini(struct pt_outbox *box);
/* Keep a copy of one frame, whose first field is the number, with that number put in. Gives the copy, which
 * lives until it is acknowledged; NULL when memory ends or the frame has no room for a number. */
const unsigned char *pt_outbox_add(struct pt_outbox *box, const void *frame, size_t n);
/* All up to seq are stored at the other end; -1 when that cannot be. */
int pt_outbox_ack(struct pt_outbox *box, uint64_t seq);
/* Nothing is kept. */
bool pt_outbox_empty(const struct pt_outbox *box);
