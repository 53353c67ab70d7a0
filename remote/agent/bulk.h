/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The bulk stream: one object after the other, each for the tools or for the receiver of the tree. A frame
 * for the receiver goes on as it comes: it may be longer than the credit of the stream. */
#include "common/message.h"

struct pt_agent;
struct pt_err;

/* Whose the object is that was begun and not ended. */
enum pt_bulk_mode { PT_BULK_NONE, PT_BULK_TOOL, PT_BULK_TREE };

struct pt_bulk {
    enum pt_bulk_mode mode;
    struct pt_buf in; /* the beginning of a frame */
    size_t pass;      /* bytes of a frame for the receiver that are still to come */
};

/* Nothing was begun that has not ended. */
bool pt_bulk_idle(const struct pt_bulk *bulk);
/* The next bytes of the stream. Gives their credit back, now or once the receiver took them. -1 when they are
 * out of turn or cannot be stored; *stage says whose they were, PT_STAGE_SETUP that they make no sense. */
int pt_bulk_feed(struct pt_agent *a, const void *data, size_t n, enum pt_stage *stage, struct pt_err *err);
