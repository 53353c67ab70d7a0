/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: the objects of the bulk stream, from frames. The end of the connection within one is an error. */
#include "sync/manifest.h"
#include "sync/segment.h"
#include "sync/there/frames.h"

/* A message that has no place here, or is malformed; -1. */
int pt_intake_unexpected(uint8_t type, struct pt_err *err);

/* The frame that begins an object of that type. */
int pt_intake_begin(struct pt_frames *f, uint8_t type, struct pt_err *err);
/* A whole MANIFEST object. NULL with err. */
struct pt_manifest *pt_intake_manifest(struct pt_frames *f, struct pt_err *err);
/* A whole DELTA object. 1 with the tree it leads to, 0 when it does not start from `base` (may be NULL), -1.
 */
int pt_intake_delta(struct pt_frames *f, const struct pt_manifest *base, struct pt_manifest **out,
                    struct pt_err *err);
/* Of an ARCHIVE that was begun: 1 with the next segment, good until the next call, 0 at its end, -1. */
int pt_intake_segment(struct pt_frames *f, struct pt_segment *out, struct pt_err *err);
/* Read an object of that type and forget it. */
int pt_intake_drop(struct pt_frames *f, uint8_t type, struct pt_err *err);
