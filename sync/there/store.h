/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: blobs by content, for all projects and workspaces of a user, in a few append-only packs with an
 * index each (CACHE/store/ALGORITHM). Machines may share the folder. The store is only ever a help: content
 * is checked before it is given, and what is torn, damaged or removed by another is just not there. A NULL
 * store is one that has nothing and takes nothing. One thread at a time, but for pt_store_note. */
#include "sync/digest.h"
#include "sync/segment.h"

#include <stdbool.h>

struct pt_err;
struct pt_store;

#define PT_BLOB_MAX (8u << 20) /* bytes of a blob */

/* Makes the folders, mode 0700, and takes in what writers that died left behind. */
struct pt_store *pt_store_open(const char *cache, enum pt_digest_algorithm algorithm, struct pt_err *err);
/* Ends what was begun. NULL is fine; keeps errno. */
void pt_store_close(struct pt_store *s);
bool pt_store_has(const struct pt_store *s, const unsigned char digest[PT_DIGEST], uint32_t size);

struct pt_store_want {
    unsigned char digest[PT_DIGEST];
    uint32_t size;
    uint32_t number; /* the caller's */
    bool lost;       /* out: it was not there, or damaged, or never came to its turn */
};
/* Gives each of the wants that is there, whole and checked, in the order that is quickest; `give` is called
 * by the calling thread only, and data is good until it returns. give < 0 ends it: -1 then, err as give left
 * it. Lost blobs are no error (and pt_store_has knows better from then on). -1 also when memory ends. */
int pt_store_read(struct pt_store *s, struct pt_store_want *wants, size_t n,
                  int (*give)(void *arg, uint32_t number, const void *data, uint32_t size), void *arg,
                  struct pt_err *err);

/* Keeping an archive, one at a time. Its segments as they come, and the blobs whose digest was checked; the
 * blobs are there for pt_store_has and pt_store_read after pt_store_end. */
int pt_store_begin(struct pt_store *s, struct pt_err *err);
/* -1 when it cannot be written: then nothing of this archive is kept and its room is given back; further
 * segments and notes are ignored until pt_store_end. Warn once and go on. */
int pt_store_segment(struct pt_store *s, const struct pt_segment *segment, struct pt_err *err);
/* Another thread may call this while segments are added; raw_offset counts the raw bytes of all segments. */
void pt_store_note(struct pt_store *s, const unsigned char digest[PT_DIGEST], uint64_t raw_offset,
                   uint32_t size);
/* Also after a broken connection: keeps what was noted and came whole. */
int pt_store_end(struct pt_store *s, struct pt_err *err);

/* When idle: merges small packs, drops those that were not read for the longest time until all take at most
 * `limit` bytes, and removes what dead writers left. */
void pt_store_tidy(struct pt_store *s, uint64_t limit);
