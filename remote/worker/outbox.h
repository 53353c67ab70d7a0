/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What decides a result and is on its way to the master: numbered, and kept until it is acknowledged. Where
 * the run lingers, what is too much for the memory waits on the disk until its turn to be said has come. */
#include "common/wire.h"

struct pt_err;
struct pt_outbox_item;
struct pt_spool;

struct pt_outbox_list {
    struct pt_outbox_item *head, **tail;
    size_t bytes;
};

struct pt_outbox {
    struct pt_outbox_list list;  /* the oldest; then those in the spool; then late */
    struct pt_outbox_list late;  /* for which the disk had no room */
    struct pt_outbox_item *next; /* in list: the first that was not said on this link; NULL: none in it */
    struct pt_spool *spool;
    const char *dir;            /* for the spool; NULL: nothing goes to the disk */
    uint64_t last, said, acked; /* highest number given, ever said, acknowledged */
};

void pt_outbox_init(struct pt_outbox *box);
void pt_outbox_fini(struct pt_outbox *box);
/* From now on what is too much for the memory goes to a file in dir (borrowed). */
void pt_outbox_spool(struct pt_outbox *box, const char *dir);
/* Keep a copy of one frame, whose first field is the number, with that number put in. -1 when memory ends or
 * the frame has no room for a number. */
int pt_outbox_add(struct pt_outbox *box, const void *frame, size_t n);
/* The next to say, which lives until it is acknowledged; 1, or 0: none may be said now. -1 with err: it was
 * on the disk, and cannot be read. */
int pt_outbox_next(struct pt_outbox *box, const unsigned char **frame, size_t *n, struct pt_err *err);
/* A new link: next is again the first that is kept. */
void pt_outbox_rewind(struct pt_outbox *box);
/* All up to seq are stored at the other end; -1 when that cannot be. */
int pt_outbox_ack(struct pt_outbox *box, uint64_t seq);
/* Nothing is kept. */
bool pt_outbox_empty(const struct pt_outbox *box);
/* Something was not said on this link. */
bool pt_outbox_waits(const struct pt_outbox *box);
/* Bytes in memory. */
size_t pt_outbox_bytes(const struct pt_outbox *box);
