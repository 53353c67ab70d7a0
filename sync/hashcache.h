/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: digests of files that were read before, found by device, inode, size, mtime and ctime, so that a scan
 * reads only what changed. A cache that is missing, damaged or of another algorithm counts as empty. */
#include "sync/digest.h"
#include "sync/stamp.h"

struct pt_hashcache;

/* path NULL: remembers nothing. Its folder must exist for anything to be kept. NULL when memory ends. Open
 * it before the first file is stat'ed: what may change unseen after that moment is never kept. */
struct pt_hashcache *pt_hashcache_open(const char *path, enum pt_digest_algorithm algorithm);
void pt_hashcache_destroy(struct pt_hashcache *c);
/* True and the digest when a file with this stamp is known. */
bool pt_hashcache_get(struct pt_hashcache *c, const struct pt_stamp *stamp, unsigned char digest[PT_DIGEST]);
/* Of a file that was read; the stamp is from before and after the reading. */
void pt_hashcache_put(struct pt_hashcache *c, const struct pt_stamp *stamp,
                      const unsigned char digest[PT_DIGEST]);
/* Write what was got and put since the opening, if that differs from the file. -1 with errno when it cannot
 * be written; the old file is then as it was. */
int pt_hashcache_save(struct pt_hashcache *c);
