/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: room in a cache, made by removing what no live run uses: whole workspaces, programs, bytecode, packs
 * of the store. Only what ptremote put there, whatever its names say; no link is followed, no file system
 * left. Several may do so at once, on several machines that share the cache. Blocking, and slow. */
#include <stdint.h>

struct pt_err;

#define PT_CACHE_NAMES 2000
#define PT_CACHE_RUNS  500

struct pt_cache_done {
    uint64_t bytes;             /* freed, as the disk counts them */
    uint32_t removed, kept;     /* how many; kept: that would have gone, but are in use */
    char runs[PT_CACHE_RUNS];   /* that use what was kept (clean) */
    char names[PT_CACHE_NAMES]; /* of those that were removed (bound) or kept (clean), as far as they fit */
};

/* While it takes more than `limit` bytes, what was used last longest ago goes; nothing of the last hour that
 * others may still need. Not looked at when it took less than nine tenths of that within the last ten
 * minutes. -1 when it cannot be looked at. */
int pt_cache_bound(const char *cache, const char *machine_id, uint64_t limit, struct pt_cache_done *done,
                   struct pt_err *err);
/* All goes that is not used now; then the cache's own folder, if it is empty and named by us. */
int pt_cache_clean(const char *cache, const char *machine_id, struct pt_cache_done *done, struct pt_err *err);
