/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: one tree on its way to several hosts. Each distinct set of missing blobs is read and packed once, by
 * a thread of its own, and compressed at most once; every lane reads it at its own pace. Every call is
 * thread-safe; a parcel belongs to one thread. */
#include "sync/manifest.h"
#include "sync/segment.h"

struct pt_err;
struct pt_fanout;
struct pt_parcel; /* one lane's reading end */

#define PT_FANOUT_AHEAD (4u << 20)  /* raw bytes that are read before the fastest lane asks for them */
#define PT_FANOUT_KEPT  (64u << 20) /* bytes in memory; what slower lanes still need beyond goes to a file */

/* What pt_parcel_next gave. */
enum pt_parcel_got {
    PT_PARCEL_FAILED = -1, /* a file cannot be read, or memory ended: err says it */
    PT_PARCEL_NOTHING = 0, /* nothing now */
    PT_PARCEL_SEGMENT = 1,
    PT_PARCEL_END = 2,     /* that was the whole archive */
    PT_PARCEL_CHANGED = 3, /* it ended early: a file is not as the scan saw it, err names it */
};

/* `manifest`, which must be of a scan, is taken, also on failure. `spill` is the folder for the file, which
 * has no name there; when none can be made, memory takes its place. `lanes`: so many calls of join and skip
 * are expected, and nothing is dropped before them. */
struct pt_fanout *pt_fanout_create(struct pt_manifest *manifest, const char *spill, unsigned lanes,
                                   struct pt_err *err);
/* When all parcels have left. Stops what is under way. NULL is fine. */
void pt_fanout_destroy(struct pt_fanout *f);
const struct pt_manifest *pt_fanout_manifest(const struct pt_fanout *f);

/* A lane that reads the blobs whose bits are set in `need` (blob n: bit n % 8 of byte n / 8; copied). NULL
 * with err. */
struct pt_parcel *pt_fanout_join(struct pt_fanout *f, const unsigned char *need, struct pt_err *err);
/* One of the lanes wants no archive, or is gone. */
void pt_fanout_skip(struct pt_fanout *f);

/* Readable when pt_parcel_next will give something; belongs to the parcel. */
int pt_parcel_fd(const struct pt_parcel *p);
/* The next segment; out is good until the next call. Level 0 wants it stored, others compressed at about that
 * level; what there is already may be given instead. Waits for no other lane and for no file of the tree. */
enum pt_parcel_got pt_parcel_next(struct pt_parcel *p, int level, struct pt_segment *out, struct pt_err *err);
/* Bytes of all blobs of the set. */
uint64_t pt_parcel_total(const struct pt_parcel *p);
/* What only this lane needed is dropped. NULL is fine. */
void pt_parcel_leave(struct pt_parcel *p);

/* Figures for tests: bytes in memory now, distinct sets packed so far. */
uint64_t pt_fanout_kept(struct pt_fanout *f);
unsigned pt_fanout_packs(struct pt_fanout *f);
