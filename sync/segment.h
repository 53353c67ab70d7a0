/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A piece of an archive: raw bytes of a tar, or one zstd frame of them. It travels and is stored as it is. */
#include <stdbool.h>
#include <stdint.h>

#define PT_SEGMENT_MAX   (1u << 20)                                    /* raw bytes */
#define PT_SEGMENT_BYTES (PT_SEGMENT_MAX + PT_SEGMENT_MAX / 256 + 64u) /* packed bytes, at the worst */

struct pt_segment {
    const void *data; /* size bytes; whoever gave the segment owns them */
    uint32_t size;
    uint32_t raw; /* bytes it stands for */
    bool packed;  /* data is one zstd frame */
};

/* What every segment obeys: 1 to PT_SEGMENT_MAX raw bytes; as many stored, or at most PT_SEGMENT_BYTES
 * packed. */
static inline bool pt_segment_fits(uint32_t size, uint32_t raw, bool packed)
{
    return raw > 0 && raw <= PT_SEGMENT_MAX && (packed ? size > 0 && size <= PT_SEGMENT_BYTES : size == raw);
}
