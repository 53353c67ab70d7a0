/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* zstd for whole messages; archives are squeezed by libarchive. The only direct libzstd user. */
#include "common/wire.h"

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
