/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: the digest of a file, and the chunks of a large one, as they were at one moment. */
#include "sync/manifest.h"
#include "sync/stamp.h"

struct pt_content {
    struct pt_stamp stamp;
    unsigned mode; /* permission bits */
    unsigned char digest[PT_DIGEST];
    struct pt_chunk *chunks; /* heap; NULL when the file has none */
    uint32_t nchunks;
};

void pt_content_fini(struct pt_content *c);

/* Reads one file after another, for one thread, in little memory. */
struct pt_content_reader;
struct pt_content_reader *pt_content_create(enum pt_digest_algorithm algorithm, struct pt_err *err);
void pt_content_destroy(struct pt_content_reader *r);
/* Read the file at `path` below the folder `root`; a link there is followed or none. 1 when out is filled, 0
 * when the file changed while it was read, -1 with errno; ENOENT when no file is there. */
int pt_content_read(struct pt_content_reader *r, int root, const char *path, bool follow,
                    struct pt_content *out);
