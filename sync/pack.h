/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: the files of a manifest as one pax archive, compressed with zstd, made by a thread of its own and
 * read from a pipe. What is read is checked against the manifest, so that a file that changed meanwhile is
 * noticed. */
#include "sync/manifest.h"

struct pt_err;
struct pt_pack;

enum pt_packed {
    PT_PACK_WHOLE,   /* every file went in as the manifest has it */
    PT_PACK_CHANGED, /* one is not as it was: the stream ends early */
    PT_PACK_FAILED,  /* one cannot be read */
};

/* need has a bit for each entry of the manifest; the bits of folders and links do not count. Both must live
 * until destroy. Starts the thread. */
struct pt_pack *pt_pack_start(const struct pt_manifest *manifest, const unsigned char *need,
                              struct pt_err *err);
/* Stops the thread and waits for it. NULL is fine. */
void pt_pack_destroy(struct pt_pack *pack);
/* The end to read from, non-blocking; belongs to pack. */
int pt_pack_fd(const struct pt_pack *pack);
/* After the end of the pipe: how it went, with err filled unless WHOLE. */
enum pt_packed pt_pack_result(struct pt_pack *pack, struct pt_err *err);
