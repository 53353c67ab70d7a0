/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: digests of files that were read before, found by device, inode, size, mtime and ctime, so that a scan
 * reads only what changed. A cache that is missing, damaged or of another algorithm counts as empty. */
#include "sync/here/content.h"

struct pt_hashcache;

/* path NULL: remembers nothing. Its folder must exist for anything to be kept. NULL when memory ends. Open
 * it before the first file is stat'ed: what may change unseen after that moment is never kept. */
struct pt_hashcache *pt_hashcache_open(const char *path, enum pt_digest_algorithm algorithm);
void pt_hashcache_destroy(struct pt_hashcache *c);
/* What is known of a file with this stamp: its digest, and its chunks if it is large;
 * borrowed from the cache. False when nothing is. Threads may get at once. */
struct pt_hashed {
    const unsigned char *digest;
    const struct pt_chunk *chunks;
    uint32_t nchunks;
};
bool pt_hashcache_get(struct pt_hashcache *c, const struct pt_stamp *stamp, struct pt_hashed *out);
/* A file that was read. Not while others get. */
void pt_hashcache_put(struct pt_hashcache *c, const struct pt_content *content);
/* Write what was got and put since the opening, if that is news. What was not asked for stays while it is no
 * more than that. -1 with errno when it cannot be written; the old file is then as it was. */
int pt_hashcache_save(struct pt_hashcache *c);
