/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The bulk stream: one object after the other, each for the tools or for the receiver of the tree. */
#include "common/message.h"

struct pt_agent;
struct pt_err;

#define PT_BULK_FRAME (PT_DATA_CHUNK + 64) /* no frame is longer */

/* One frame: `frame` is all n bytes of it, body its fields. Gives the credit back, now or once the receiver
 * took it. -1 when it is out of turn or cannot be stored; *stage says whose it was. */
int pt_bulk_take(struct pt_agent *a, uint8_t type, struct pt_reader *body, const void *frame, size_t n,
                 enum pt_stage *stage, struct pt_err *err);
