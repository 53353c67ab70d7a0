/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: one host's part of sending the tree. A state machine fed by the lane with what the agent says; it
 * writes whole frames for the control and the bulk stream. The other end is receive.h. */
#include "common/wire.h"
#include "sync/manifest.h"

struct pt_err;
struct pt_push;

enum pt_push_state {
    PT_PUSH_ASKED,   /* MANIFEST sent, waits for TREE */
    PT_PUSH_OFFERED, /* manifest sent, waits for NEED */
    PT_PUSH_SENDING, /* archive under way */
    PT_PUSH_SENT,    /* waits for SYNCED */
    PT_PUSH_DONE,    /* the workspace is the tree */
    PT_PUSH_STALE,   /* the tree changed meanwhile: scan again, start a new push */
};

/* manifest stays the caller's and must live until destroy; it may be shared by the pushes of all hosts.
 * The first control frame (MANIFEST) is appended to `control`. */
struct pt_push *pt_push_create(const struct pt_manifest *manifest, struct pt_buf *control,
                               struct pt_err *err);
/* Stops packing if it is under way. NULL is fine. */
void pt_push_destroy(struct pt_push *push);
/* A control message of the agent: TREE, NEED, SYNCED or RESEND. -1 when it is malformed or out of turn. */
int pt_push_control(struct pt_push *push, uint8_t type, struct pt_reader *body, struct pt_err *err);
/* Readable when pt_push_pull may give more although it gave nothing; -1 while there is nothing to wait for.
 */
int pt_push_fd(const struct pt_push *push);
/* Append at most about `max` bytes of frames for the bulk stream. 1 when it gave something, 0 when there is
 * nothing now, -1 when packing failed (a file that cannot be read: err names it). Never blocks. */
int pt_push_pull(struct pt_push *push, struct pt_buf *bulk, size_t max, struct pt_err *err);
enum pt_push_state pt_push_state(const struct pt_push *push);
/* Bytes given for the bulk stream so far. */
uint64_t pt_push_bytes(const struct pt_push *push);
