/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A piece of an archive: raw bytes of a tar, or one zstd frame of them. It travels and is stored as it is. */
#include <stdbool.h>
#include <stdint.h>

#define PT_SEGMENT_MAX (1u << 20) /* raw bytes */

struct pt_segment {
    const void *data; /* size bytes; whoever gave the segment owns them */
    uint32_t size;
    uint32_t raw; /* bytes it stands for */
    bool packed;  /* data is one zstd frame */
};
