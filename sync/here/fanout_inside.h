/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of a fan-out share: fanout.c (who is there), fanout_pack.c (the thread that reads and
 * packs), fanout_piece.c (what is kept, and in which form), parcel.c (a lane's end).
 *
 * A pack makes pieces, each the bytes of one segment. A piece has one or more forms: raw in memory, packed in
 * memory, one of them in the spill file. One lock guards all of it; who uses a form without the lock holds a
 * reference, and a form goes only when nobody but the pack has one. */
#include "common/err.h"
#include "common/wire.h"
#include "sync/here/fanout.h"
#include "sync/here/spill.h"

#include <pthread.h>

#define PT_FAN_POOL 4 /* buffers kept for the next piece */

struct pt_fan_piece {
    uint64_t at;   /* of its first byte in the archive */
    uint32_t raw;  /* bytes of the archive */
    uint32_t room; /* bytes of data */
    unsigned refs;
    bool busy;           /* someone compresses or spills it */
    bool solid;          /* does not get smaller */
    bool reader;         /* scratch of victim(): a lane stands here */
    unsigned char *data; /* or NULL */
    unsigned char *packed;
    uint32_t packed_size;
    uint32_t slot, slot_size;
    bool slot_packed;
};

struct pt_fan_pack {
    struct pt_fan_pack *next;
    struct pt_fanout *f;
    unsigned char *need;
    uint64_t total;
    struct pt_parcel *parcels;
    pthread_t thread;
    pthread_cond_t changed; /* of what the thread waits for */
    bool waiting, stop;
    enum pt_parcel_got state; /* NOTHING while it runs */
    struct pt_err err;
    struct pt_fan_piece **pieces;
    size_t n, cap;
    size_t first;    /* those before it were dropped */
    uint64_t length; /* bytes of all pieces */

    /* the thread's own: the piece being filled */
    struct pt_fan_piece *filling;
    uint32_t filled, good; /* bytes; of them up to the last blob that was right */
    struct pt_buf scratch; /* for compressing */
};

struct pt_parcel {
    struct pt_parcel *next;
    struct pt_fan_pack *pack;
    size_t at;                 /* the next piece */
    struct pt_fan_piece *held; /* given out, or NULL */
    int event, level;
    bool lit;              /* event is readable */
    unsigned char *buffer; /* of a segment that was spilled, made when needed */
    struct pt_buf scratch; /* for compressing */
};

struct pt_fanout {
    pthread_mutex_t lock;
    struct pt_manifest *manifest;
    int root; /* of the tree */
    struct pt_spill *spill;
    bool spill_bad;
    unsigned expected; /* lanes that may still join */
    unsigned packs_made;
    struct pt_fan_pack *packs;
    uint64_t kept;
    void *pool[PT_FAN_POOL]; /* buffers of PT_SEGMENT_MAX */
    unsigned pooled;
};

/* All of these want the lock held. Those that say so let it go meanwhile. */

/* An empty piece with a buffer of `room` bytes; NULL when memory ends. */
struct pt_fan_piece *pt_fan_piece_create(struct pt_fanout *f, uint32_t room);
void pt_fan_piece_unref(struct pt_fanout *f, struct pt_fan_piece *piece);
/* Make its packed form, and tell the lanes that wait for it. Lets go of the lock. */
void pt_fan_squeeze(struct pt_fanout *f, struct pt_fan_piece *piece, int level, struct pt_buf *scratch);
/* Try to come to at most KEPT bytes with n more; false when there is nothing left to put away. Lets go of the
 * lock. */
bool pt_fan_make_room(struct pt_fanout *f, size_t n);
/* Drop what no lane needs or will need. */
void pt_fan_drop(struct pt_fan_pack *pack);
/* Keep no buffers when there is no pack. */
void pt_fan_rest(struct pt_fanout *f);

/* True when a lane of that level is not to have the piece before it is compressed. */
bool pt_fan_wants_packing(const struct pt_fan_piece *piece, int level);

/* How many pieces the fastest lane has got, and its level (level may be NULL); 0 without a lane. */
size_t pt_fan_leader(const struct pt_fan_pack *pack, int *level);
/* After any change: light the events of the lanes that can go on, and wake the threads that wait. */
void pt_fan_refresh(struct pt_fanout *f);
/* Take the packs that nobody reads or will read out of the list; they are to be destroyed without the lock.
 */
struct pt_fan_pack *pt_fan_idle(struct pt_fanout *f);
void pt_fan_destroy(struct pt_fan_pack *packs);

/* An end that reads no pack yet; NULL with err. Wants no lock. */
struct pt_parcel *pt_fan_parcel_create(struct pt_err *err);
/* The thread. -1 with errno. */
int pt_fan_start(struct pt_fan_pack *pack);
