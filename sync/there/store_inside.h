/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared by store*.c only.
 *
 * X.part (X: 16 random hex digits) is a pack that is written: a head with the boot id of the machine, then
 * segments as they came, each behind a head of its own. Its writer holds a flock(2) on it. X.idx says where
 * blobs lie; it is written before X.part is renamed to X.pack. X.merge becomes a pack too, but is worth
 * nothing before. */
#include "common/wire.h"
#include "sync/there/store.h"

#include <endian.h>
#include <pthread.h>
#include <sys/stat.h>

#define STORE_NAME         16
#define STORE_FILE         32 /* a name with any of the suffixes, NUL */
#define STORE_BOOT         16
#define STORE_BOOT_AT      16
#define STORE_HEAD         32
#define STORE_MAGIC        "ptremote pack 1"
#define STORE_SEGMENT_HEAD 16
#define STORE_MAX_BLOBS    (4u << 20) /* in all packs */
#define STORE_STALE_NS     (600 * INT64_C(1000000000))

/* Numbers are big-endian. */
struct store_segment_head {
    uint32_t magic, raw, size;
    uint8_t packed, zero[3];
};
_Static_assert(sizeof(struct store_segment_head) == STORE_SEGMENT_HEAD, "no gaps");
#define STORE_SEGMENT_MAGIC htobe32(0x50545347) /* "PTSG" */

struct store_segment {
    uint64_t at;     /* of its bytes in the file */
    uint64_t offset; /* of its raw bytes among those of the pack */
    uint32_t size, raw;
    bool packed;
};

struct store_blob {
    unsigned char digest[PT_DIGEST];
    uint64_t offset; /* among the raw bytes of the pack */
    uint32_t size;   /* 0: found damaged */
};

struct store_pack {
    char name[STORE_NAME + 1];
    struct store_segment *segments;
    struct store_blob *blobs;
    size_t nsegments, nblobs, segment_room, blob_room;
    uint64_t bytes, raw; /* of its file as far as it is known, of the archive in it */
    int64_t used;        /* seconds: when its index was touched last */
    int fd;              /* while it is written, else -1 */
    bool damaged, gone;  /* blobs of it are; the file is */
    bool merging;        /* into another, at the moment */
};

struct store_slot {
    uint32_t pack, blob; /* blob counts from 1; 0: a free slot */
};

struct pt_store {
    char *folder;
    int dir;
    enum pt_digest_algorithm algorithm;
    unsigned char boot[STORE_BOOT];
    struct store_pack **packs;
    size_t npacks, pack_room;
    struct store_slot *table;
    size_t slots, taken;
    uint64_t seed;
    struct store_pack *writing; /* between begin and end, unless that failed */
    pthread_mutex_t lock;       /* of notes */
    struct store_pack notes;    /* only its blobs */
};

/* --- store.c: what is known --- */
/* The pack, which is the store's from then on, or freed when -1. */
int pt_store_take(struct pt_store *s, struct store_pack *p);
/* Frees the packs that are gone and finds every blob its place anew. */
int pt_store_rebuild(struct pt_store *s);
struct store_blob *pt_store_find(const struct pt_store *s, const unsigned char digest[PT_DIGEST],
                                 uint32_t size, struct store_pack **pack);
/* Forgets the packs that are gone, and loads those that came. */
int pt_store_look(struct pt_store *s);

/* --- store_pack.c: one pack --- */
/* Is this the name of a pack, with that suffix? */
bool pt_store_is(const char *file, const char *suffix);
/* Reads exactly n bytes at an offset: 1; 0 for a file that is too short; -1 with errno. */
int pt_store_pread(int fd, void *data, size_t n, uint64_t at);
void pt_store_file(char out[STORE_FILE], const char *name, const char *suffix);
struct store_pack *pt_store_pack_create(void);
void pt_store_pack_destroy(struct store_pack *p);
int pt_store_pack_blob(struct store_pack *p, const struct store_blob *blob);
/* Says that a segment lies at the end of what is known. */
int pt_store_pack_segment(struct store_pack *p, uint32_t size, uint32_t raw, bool packed);
/* The segment that holds this raw byte. */
size_t pt_store_pack_at(const struct store_pack *p, uint64_t offset);
/* From NAME.idx and the size of NAME + suffix; NULL when they do not go together. */
struct store_pack *pt_store_pack_load(const struct pt_store *s, const char *name, const char *suffix);
/* Its index, without what is damaged. -1 with errno. */
int pt_store_pack_save(const struct pt_store *s, const struct store_pack *p);
/* The file, and then the index. */
void pt_store_pack_remove(const struct pt_store *s, const struct store_pack *p, const char *suffix);

/* --- store_write.c: writing one --- */
/* A new file, locked, with its head; NULL with errno. */
struct store_pack *pt_store_pack_begin(const struct pt_store *s, const char *suffix);
int pt_store_pack_write(struct store_pack *p, const struct pt_segment *segment);
/* Index and rename; the pack is then the store's. -1 with errno: it is removed. */
int pt_store_pack_end(struct pt_store *s, struct store_pack *p, const char *suffix);

/* --- store_read.c --- */
/* Touches the index, once a day. */
void pt_store_used(const struct pt_store *s, struct store_pack *p);

/* --- store_salvage.c --- */
/* A descriptor that holds the lock of a file whose writer is gone: nobody else holds it, and it was written
 * since this machine started, or is old. -1 when that is not so. */
int pt_store_abandoned(const struct pt_store *s, const char *file);
/* Not written to for ten minutes. */
bool pt_store_old(const struct pt_store *s, const char *file);
/* Makes packs of what is whole in each .part of a dead writer, and in each .pack without an index. */
void pt_store_salvage(struct pt_store *s);
