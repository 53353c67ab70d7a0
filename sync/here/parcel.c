/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "sync/here/fanout_inside.h"

#include <string.h>
#include <sys/eventfd.h>

int pt_parcel_fd(const struct pt_parcel *p)
{
    return p->event;
}

uint64_t pt_parcel_total(const struct pt_parcel *p)
{
    return p->pack->total;
}

/* Without the lock: the segment from the spill file. */
static enum pt_parcel_got fetch(struct pt_parcel *p, uint32_t slot, struct pt_segment *out,
                                struct pt_err *err)
{
    if (!p->buffer && !(p->buffer = malloc(PT_SEGMENT_MAX))) {
        pt_err_set(err, "packing: out of memory");
        return PT_PARCEL_FAILED;
    }
    if (pt_spill_get(p->pack->f->spill, slot, p->buffer, out->size) < 0) {
        pt_err_set(err, "what was put away to be sent cannot be read: %s", strerror(errno));
        return PT_PARCEL_FAILED;
    }
    out->data = p->buffer;
    return PT_PARCEL_SEGMENT;
}

/* One of the forms of the piece that is held. */
static enum pt_parcel_got give(struct pt_parcel *p, int level, struct pt_segment *out, struct pt_err *err)
{
    struct pt_fanout *f = p->pack->f;
    const struct pt_fan_piece *piece = p->held;
    *out = (struct pt_segment){.raw = piece->raw};
    if (piece->packed && (level > 0 || !piece->data)) {
        out->data = piece->packed;
        out->size = piece->packed_size;
        out->packed = true;
    } else if (piece->data) {
        out->data = piece->data;
        out->size = piece->raw;
    } else {
        uint32_t slot = piece->slot;
        out->size = piece->slot_size;
        out->packed = piece->slot_packed;
        pthread_mutex_unlock(&f->lock);
        enum pt_parcel_got got = fetch(p, slot, out, err);
        pthread_mutex_lock(&f->lock);
        return got;
    }
    return PT_PARCEL_SEGMENT;
}

static enum pt_parcel_got take(struct pt_parcel *p, int level, struct pt_segment *out, struct pt_err *err)
{
    struct pt_fan_pack *pack = p->pack;
    struct pt_fanout *f = pack->f;
    if (p->at == pack->n) {
        if (err && (pack->state == PT_PARCEL_FAILED || pack->state == PT_PARCEL_CHANGED))
            *err = pack->err;
        return pack->state;
    }
    struct pt_fan_piece *piece = pack->pieces[p->at];
    bool squeeze = pt_fan_wants_packing(piece, level);
    if (squeeze && piece->busy)
        return PT_PARCEL_NOTHING;
    if (squeeze)
        pt_fan_squeeze(f, piece, level, &p->scratch);
    piece->refs++;
    p->held = piece;
    p->at++;
    if (squeeze)
        pt_fan_make_room(f, 0);
    enum pt_parcel_got got = give(p, level, out, err);
    if (got != PT_PARCEL_SEGMENT) {
        pt_fan_piece_unref(f, pt_steal_ptr(&p->held));
        p->at--;
    }
    return got;
}

enum pt_parcel_got pt_parcel_next(struct pt_parcel *p, int level, struct pt_segment *out, struct pt_err *err)
{
    struct pt_fanout *f = p->pack->f;
    pthread_mutex_lock(&f->lock);
    p->level = level;
    pt_fan_piece_unref(f, pt_steal_ptr(&p->held));
    enum pt_parcel_got got = take(p, level, out, err);
    pt_fan_drop(p->pack);
    pt_fan_refresh(f);
    pthread_mutex_unlock(&f->lock);
    return got;
}

/* Whether pt_parcel_next would give something at the level last wanted. */
static bool is_ready(const struct pt_parcel *p)
{
    const struct pt_fan_pack *pack = p->pack;
    if (p->at == pack->n)
        return pack->state != PT_PARCEL_NOTHING;
    const struct pt_fan_piece *piece = pack->pieces[p->at];
    return !piece->busy || !pt_fan_wants_packing(piece, p->level);
}

static void light(struct pt_parcel *p)
{
    uint64_t one = 1;
    bool ready = is_ready(p);
    if (ready == p->lit)
        return;
    ssize_t n = ready ? write(p->event, &one, sizeof(one)) : read(p->event, &one, sizeof(one));
    p->lit = n == sizeof(one) ? ready : p->lit;
}

void pt_fan_refresh(struct pt_fanout *f)
{
    for (struct pt_fan_pack *pack = f->packs; pack; pack = pack->next) {
        for (struct pt_parcel *p = pack->parcels; p; p = p->next)
            light(p);
        if (pack->waiting)
            pthread_cond_signal(&pack->changed);
        pack->waiting = false;
    }
}

size_t pt_fan_leader(const struct pt_fan_pack *pack, int *level)
{
    size_t at = 0;
    int wanted = 0;
    for (const struct pt_parcel *p = pack->parcels; p; p = p->next) {
        if (p == pack->parcels || p->at > at || (p->at == at && p->level < wanted))
            wanted = p->level;
        if (p->at > at)
            at = p->at;
    }
    if (level)
        *level = wanted;
    return at;
}

/* Without the lock. */
static void destroy(struct pt_parcel *p)
{
    if (p->event >= 0)
        close(p->event);
    free(p->buffer);
    pt_buf_fini(&p->scratch);
    free(p);
}

struct pt_parcel *pt_fan_parcel_create(struct pt_err *err)
{
    struct pt_parcel *p = calloc(1, sizeof(*p));
    if (!p) {
        pt_err_set(err, "packing: out of memory");
        return NULL;
    }
    p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->event >= 0)
        return p;
    pt_err_set(err, "packing: eventfd: %s", strerror(errno));
    destroy(p);
    return NULL;
}

void pt_parcel_leave(struct pt_parcel *p)
{
    if (!p)
        return;
    int saved = errno;
    struct pt_fan_pack *pack = p->pack;
    if (pack) {
        struct pt_fanout *f = pack->f;
        pthread_mutex_lock(&f->lock);
        pt_fan_piece_unref(f, pt_steal_ptr(&p->held));
        struct pt_parcel **link = &pack->parcels;
        while (*link != p)
            link = &(*link)->next;
        *link = p->next;
        pt_fan_drop(pack);
        struct pt_fan_pack *idle = pt_fan_idle(f);
        pt_fan_refresh(f);
        pthread_mutex_unlock(&f->lock);
        pt_fan_destroy(idle);
    }
    destroy(p);
    errno = saved;
}
