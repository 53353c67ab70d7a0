/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* zstd for whole messages and for segments of archives. The only direct libzstd user. */
#include "common/wire.h"
#include "sync/segment.h"

struct pt_err;
struct pt_inflate;

/* Append the compressed form of n bytes to out. */
int pt_deflate(const void *data, size_t n, struct pt_buf *out, struct pt_err *err);

/* Takes compressed bytes as they come and refuses to give more than `max` bytes in all. */
struct pt_inflate *pt_inflate_create(size_t max, struct pt_err *err);
void pt_inflate_destroy(struct pt_inflate *z);
int pt_inflate_add(struct pt_inflate *z, const void *data, size_t n, struct pt_buf *out, struct pt_err *err);
/* -1 unless the compressed bytes were whole and nothing came after them. */
int pt_inflate_end(struct pt_inflate *z, struct pt_err *err);

/* Append n raw bytes (at most PT_SEGMENT_MAX) as one zstd frame to out. Each thread keeps its own context. */
int pt_segment_pack(const void *raw, size_t n, int level, struct pt_buf *out, struct pt_err *err);
/* Exactly s->raw bytes into out. Refuses a segment that does not fit, another length than it says, and more
 * or less than one frame. Takes no memory for the window that a frame claims. */
int pt_segment_unpack(const struct pt_segment *s, void *out, struct pt_err *err);
