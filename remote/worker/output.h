/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The file that is stdout and stderr of a slot's runners, one after the other: read as it grows, each byte
 * once and in order, with what ran when it was written. What was read is given back to the disk. */
#include "common/wire.h"

#include <sys/types.h>

#define PT_OUTPUT_MOST (256u << 10) /* bytes in one message */

struct pt_output_mark;

struct pt_output {
    int fd;
    off_t sent, freed;            /* up to where it was read; up to where the disk has it back */
    struct pt_output_mark *marks; /* from `sent` on: whose the bytes up to an offset are */
    size_t nmarks, room;
    bool stuck; /* the disk cannot take back part of a file */
};

/* fd is borrowed; the file starts empty and is appended to. */
void pt_output_init(struct pt_output *output, int fd);
void pt_output_fini(struct pt_output *output);

/* What was written since the last mark is of this bundle and test (each may be PT_NONE). -1 when memory ends:
 * it will go with the next mark. */
int pt_output_mark(struct pt_output *output, uint32_t bundle, uint32_t test);
/* Append an OUTPUT frame with the next marked bytes; false when there are none. */
bool pt_output_next(struct pt_output *output, uint32_t rank, struct pt_buf *out);
/* Marked bytes that were not read yet; all bytes that were not. */
off_t pt_output_left(const struct pt_output *output);
off_t pt_output_unread(const struct pt_output *output);
/* Give back to the disk what was read, but the last `keep` bytes. */
void pt_output_trim(struct pt_output *output, off_t keep);
/* Nobody writes now: where the disk does not take back parts and all was read, start again from nothing. */
void pt_output_restart(struct pt_output *output);
