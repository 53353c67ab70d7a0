/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Frames that wait on the disk, first in, first out, in a file without a name: gone with its process. */
#include "common/wire.h"

struct pt_err;
struct pt_spool;

/* In that folder. NULL with err. */
struct pt_spool *pt_spool_create(const char *dir, struct pt_err *err);
void pt_spool_destroy(struct pt_spool *spool);
/* -1 when the disk is full, nearly so, or 1 GiB waits: then nothing was added. */
int pt_spool_add(struct pt_spool *spool, const void *frame, size_t n);
/* Moves the first frames to the end of out: at least one, about max bytes. -1 with err when they cannot be
 * read. */
int pt_spool_take(struct pt_spool *spool, struct pt_buf *out, size_t max, struct pt_err *err);
bool pt_spool_empty(const struct pt_spool *spool);
