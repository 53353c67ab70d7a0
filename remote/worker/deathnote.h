/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a dead runner left: the Python stack that faulthandler wrote, and the last output. */
#include <sys/types.h>

struct pt_death;

/* From death->status, fill death->stack and death->output (heap, never NULL unless memory ends). `file` is
 * the runner's output file, of which the bytes from `since` on belong to what died, and those from `dumped`
 * on hold a stack that was asked for before it was killed (-1: none was); `capture` are the files that pytest
 * captures stdout and stderr in, or -1. */
void pt_deathnote_read(struct pt_death *death, int file, off_t since, off_t dumped, const int capture[2]);
