/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where a large file is cut into chunks, so that bytes inserted or removed change only the chunks around
 * them: FastCDC (Xia et al., USENIX ATC 2016) with a gear hash and normalized cuts. The cuts are part of the
 * digest of a tree: they never change. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PT_CHUNKED_FROM (8u << 20) /* files of more bytes are cut */
#define PT_CHUNK_MIN    (256u << 10)
#define PT_CHUNK_AVG    (1u << 20)
#define PT_CHUNK_MAX    (4u << 20)

/* Length of the first chunk of n bytes, which are the rest of the file, or more than PT_CHUNK_MAX of it. */
size_t pt_chunk_cut(const unsigned char *data, size_t n);

/* The same for bytes that come piece by piece. Zero-initialise. */
struct pt_chunker {
    uint64_t hash;
    size_t len; /* bytes of the chunk that has begun */
};

/* Take bytes of data up to the next cut; gives how many. *cut tells whether the chunk ends there: the next
 * byte begins another. The end of the file ends the last one. */
size_t pt_chunker_feed(struct pt_chunker *c, const unsigned char *data, size_t n, bool *cut);
