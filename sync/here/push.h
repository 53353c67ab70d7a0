/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: one host's part of sending the tree. A state machine fed by the lane with what the agent says; it
 * writes whole frames for the control and the bulk stream. The other end is receive.h.
 *
 *   the host's memory is this tree  -> MANIFEST root                        -> SYNCED
 *   it is another                   -> MANIFEST, delta, what is likely
 *                                      missing when that is little          -> SYNCED, or NEED
 *   there is none, or it was wrong (TREE) -> the whole manifest             -> SYNCED, or NEED
 *   NEED                            -> archive                              -> SYNCED, or RESEND */
#include "common/wire.h"
#include "sync/here/fanout.h"
#include "sync/here/known.h"
#include "sync/offer.h"

struct pt_err;
struct pt_push;

#define PT_PUSH_GUESS (4u << 20) /* most bytes of blobs that are sent before the host asked for them */

enum pt_push_state {
    PT_PUSH_OFFERED, /* MANIFEST was said, what it announced is on its way or waits for its answer */
    PT_PUSH_SENDING, /* archive under way */
    PT_PUSH_SENT,    /* waits for SYNCED */
    PT_PUSH_DONE,    /* the workspace is the tree */
    PT_PUSH_STALE,   /* the tree changed meanwhile: scan again, start a new push */
};

/* All is the caller's and must live until destroy. */
struct pt_push_spec {
    struct pt_fanout *fanout;
    const struct pt_manifest *base; /* what the workspace was last, or NULL */
    const struct pt_known *known;   /* what the host's store is thought to have, or NULL */
    const char *const *keep;        /* globs */
    size_t nkeep;
    bool ask; /* a push broke off: the host has some of what `known` says it lacks, so it is asked first */
};

struct pt_push_figures {
    uint64_t wire;           /* bytes given for the bulk stream */
    uint64_t raw;            /* bytes of content given, before compression */
    uint64_t total;          /* of so many */
    bool forgot;             /* the host needs what `known` said it has */
    struct pt_synced synced; /* once DONE */
};

/* The first control frame (MANIFEST) is appended to `control`. The push joins the fanout, or skips it by the
 * time it is destroyed; so does a creation that fails (NULL). */
struct pt_push *pt_push_create(const struct pt_push_spec *spec, struct pt_buf *control, struct pt_err *err);
/* NULL is fine. */
void pt_push_destroy(struct pt_push *push);
/* A control message of the agent: TREE, NEED, SYNCED or RESEND. -1 when it is malformed or out of turn. */
int pt_push_control(struct pt_push *push, uint8_t type, struct pt_reader *body, struct pt_err *err);
/* Readable when pt_push_pull may give more although it gave nothing; -1 while there is nothing to wait for.
 */
int pt_push_fd(const struct pt_push *push);
/* Append about `max` bytes of whole frames for the bulk stream, at least one frame when there is any;
 * archives compressed as `level` says (0: not), but for the first, small one. 1 when it gave something, 0
 * when there is nothing now, -1 when packing failed (a file that cannot be read: err names it). Never blocks.
 */
int pt_push_pull(struct pt_push *push, struct pt_buf *bulk, size_t max, int level, struct pt_err *err);
/* An object is begun and not ended. */
bool pt_push_open(const struct pt_push *push);
enum pt_push_state pt_push_state(const struct pt_push *push);
/* Why it is STALE; names the file when that is known. */
const char *pt_push_why(const struct pt_push *push);
void pt_push_get_figures(const struct pt_push *push, struct pt_push_figures *out);
