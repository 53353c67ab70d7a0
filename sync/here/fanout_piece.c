/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "sync/compress.h"
#include "sync/here/fanout_inside.h"

#include <string.h>

#define FAR (1 << 30) /* pieces: to a lane that has not joined yet */

static void release_raw(struct pt_fanout *f, struct pt_fan_piece *piece)
{
    if (!piece->data)
        return;
    if (piece->room == PT_SEGMENT_MAX && f->pooled < PT_FAN_POOL && f->kept <= PT_FANOUT_KEPT) {
        f->pool[f->pooled++] = pt_steal_ptr(&piece->data);
        return;
    }
    f->kept -= piece->room;
    free(pt_steal_ptr(&piece->data));
}

static void release_packed(struct pt_fanout *f, struct pt_fan_piece *piece)
{
    if (!piece->packed)
        return;
    f->kept -= piece->packed_size;
    free(pt_steal_ptr(&piece->packed));
}

static void release_slot(struct pt_fanout *f, struct pt_fan_piece *piece)
{
    pt_spill_drop(f->spill, piece->slot);
    piece->slot = PT_SPILL_NONE;
}

struct pt_fan_piece *pt_fan_piece_create(struct pt_fanout *f, uint32_t room)
{
    struct pt_fan_piece *piece = calloc(1, sizeof(*piece));
    if (!piece)
        return NULL;
    if (room == PT_SEGMENT_MAX && f->pooled > 0) {
        piece->data = f->pool[--f->pooled];
    } else {
        piece->data = malloc(room);
        f->kept += piece->data ? room : 0;
    }
    if (!piece->data) {
        free(piece);
        return NULL;
    }
    piece->room = room;
    piece->refs = 1;
    piece->slot = PT_SPILL_NONE;
    return piece;
}

void pt_fan_piece_unref(struct pt_fanout *f, struct pt_fan_piece *piece)
{
    if (!piece || --piece->refs > 0)
        return;
    release_raw(f, piece);
    release_packed(f, piece);
    release_slot(f, piece);
    free(piece);
}

bool pt_fan_wants_packing(const struct pt_fan_piece *piece, int level)
{
    bool spilled = piece->slot != PT_SPILL_NONE && piece->slot_packed;
    return level > 0 && !piece->packed && !piece->solid && !spilled;
}

/* The raw bytes, from the spill file when they are no longer in memory; heap is what the caller is to free.
 */
static const void *raw_bytes(const struct pt_fanout *f, const struct pt_fan_piece *piece, void **heap)
{
    if (piece->data)
        return piece->data;
    *heap = malloc(piece->raw);
    return *heap && pt_spill_get(f->spill, piece->slot, *heap, piece->raw) == 0 ? *heap : NULL;
}

/* Without the lock. The packed bytes on the heap; NULL when they are no gain. */
static void *compress(const void *raw, uint32_t n, int level, struct pt_buf *scratch, uint32_t *size)
{
    pt_buf_clear(scratch);
    if (!raw || pt_segment_pack(raw, n, level, scratch, NULL) < 0 || scratch->len >= (uint64_t)n * 97 / 100)
        return NULL;
    void *out = malloc(scratch->len);
    *size = (uint32_t)scratch->len;
    return out ? memcpy(out, scratch->data, scratch->len) : NULL;
}

void pt_fan_squeeze(struct pt_fanout *f, struct pt_fan_piece *piece, int level, struct pt_buf *scratch)
{
    pt_auto_free void *heap = NULL;
    const struct pt_fan_piece before = *piece; /* its raw form cannot go meanwhile */
    uint32_t size = 0;
    piece->busy = true;
    piece->refs++;
    pthread_mutex_unlock(&f->lock);
    void *packed = compress(raw_bytes(f, &before, &heap), before.raw, level, scratch, &size);
    pthread_mutex_lock(&f->lock);
    piece->busy = false;
    piece->packed = packed;
    piece->packed_size = size;
    piece->solid = !packed;
    f->kept += packed ? size : 0;
    if (packed && piece->refs == 2) {
        release_slot(f, piece);
        if (f->kept > PT_FANOUT_KEPT)
            release_raw(f, piece);
    }
    pt_fan_piece_unref(f, piece);
    pt_fan_refresh(f);
}

static void mark_readers(struct pt_fan_pack *pack, bool mark)
{
    for (const struct pt_parcel *p = pack->parcels; p; p = p->next)
        if (p->at < pack->n)
            pack->pieces[p->at]->reader = mark;
}

/* True when it can be made to hold less memory. */
static bool can_shrink(const struct pt_fanout *f, const struct pt_fan_piece *piece)
{
    if (piece->refs > 1 || piece->busy || (!piece->data && !piece->packed))
        return false;
    return !f->spill_bad || piece->slot != PT_SPILL_NONE || (piece->data && piece->packed);
}

/* Of what memory holds and the fastest lane has passed, or no lane is there to take: what is needed last. */
static struct pt_fan_piece *pack_victim(struct pt_fan_pack *pack, long *distance)
{
    struct pt_fan_piece *out = NULL;
    long behind = -FAR;
    size_t end = pack->parcels ? pt_fan_leader(pack, NULL) : pack->n;
    mark_readers(pack, true);
    for (size_t i = pack->first; i < end; i++) {
        struct pt_fan_piece *piece = pack->pieces[i];
        if (piece->reader)
            behind = (long)i;
        if ((long)i - behind >= *distance && can_shrink(pack->f, piece)) {
            *distance = (long)i - behind;
            out = piece;
        }
    }
    mark_readers(pack, false);
    return out;
}

static struct pt_fan_piece *victim(const struct pt_fanout *f)
{
    struct pt_fan_piece *out = NULL;
    long distance = 0;
    for (struct pt_fan_pack *pack = f->packs; pack; pack = pack->next) {
        struct pt_fan_piece *piece = pack_victim(pack, &distance);
        out = piece ? piece : out;
    }
    return out;
}

/* To the spill file. Lets go of the lock. */
static void put_away(struct pt_fanout *f, struct pt_fan_piece *piece)
{
    bool packed = piece->packed != NULL;
    const void *data = packed ? piece->packed : piece->data;
    uint32_t size = packed ? piece->packed_size : piece->raw;
    piece->busy = true;
    piece->refs++;
    pthread_mutex_unlock(&f->lock);
    uint32_t slot = pt_spill_put(f->spill, data, size);
    pthread_mutex_lock(&f->lock);
    piece->busy = false;
    if (slot == PT_SPILL_NONE)
        f->spill_bad = true;
    piece->slot = slot;
    piece->slot_size = size;
    piece->slot_packed = packed;
    if (slot != PT_SPILL_NONE && piece->refs == 2) {
        release_raw(f, piece);
        release_packed(f, piece);
    }
    pt_fan_piece_unref(f, piece);
    pt_fan_refresh(f);
}

static void shrink(struct pt_fanout *f, struct pt_fan_piece *piece)
{
    if (piece->packed && piece->slot != PT_SPILL_NONE && !piece->slot_packed)
        release_slot(f, piece);
    if (piece->slot != PT_SPILL_NONE) {
        release_raw(f, piece);
        release_packed(f, piece);
    } else if (piece->data && piece->packed) {
        release_raw(f, piece);
    } else {
        put_away(f, piece);
    }
}

static void empty_pool(struct pt_fanout *f)
{
    for (; f->pooled > 0; f->kept -= PT_SEGMENT_MAX)
        free(f->pool[--f->pooled]);
}

void pt_fan_rest(struct pt_fanout *f)
{
    if (!f->packs)
        empty_pool(f);
}

bool pt_fan_make_room(struct pt_fanout *f, size_t n)
{
    while (f->kept + n > PT_FANOUT_KEPT) {
        bool pooled = f->pooled > 0;
        struct pt_fan_piece *piece = pooled ? NULL : victim(f);
        if (pooled)
            empty_pool(f);
        else if (piece)
            shrink(f, piece);
        else
            return false;
    }
    return true;
}

void pt_fan_drop(struct pt_fan_pack *pack)
{
    if (pack->f->expected > 0 || !pack->parcels)
        return;
    size_t least = SIZE_MAX;
    for (const struct pt_parcel *p = pack->parcels; p; p = p->next)
        if (p->at - (p->held != NULL) < least)
            least = p->at - (p->held != NULL);
    for (; pack->first < least; pack->first++) {
        pt_fan_piece_unref(pack->f, pack->pieces[pack->first]);
        pack->pieces[pack->first] = NULL;
    }
}
