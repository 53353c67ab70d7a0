/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/push.h"

#include "common/err.h"
#include "common/message.h"
#include "sync/compress.h"
#include "sync/delta.h"
#include "sync/here/guess.h"

#include <stdlib.h>
#include <string.h>

#define SMALL     (512u << 10) /* bytes of an archive that are squeezed in no time */
#define TAR_BLOCK 512u

/* What goes to the bulk stream, one after the other: DELTA, guess, MANIFEST, ARCHIVE at most. */
#define OBJECTS 4
struct object {
    uint8_t type;
    struct pt_buf data;       /* of DELTA and MANIFEST, compressed */
    uint64_t given;           /* of data; raw bytes of an ARCHIVE's segments */
    struct pt_parcel *parcel; /* of an ARCHIVE; NULL: nobody wants it any more */
    int level;                /* -1: as the caller says */
    uint64_t tar;             /* raw bytes of all its segments, nearly */
    uint64_t size;            /* bytes of its blobs, 0 when nobody wants them */
};

struct pt_push {
    struct pt_push_spec spec;
    const struct pt_manifest *manifest;
    struct object objects[OBJECTS];
    size_t first, n; /* the object under way; how many there are */
    bool opened;     /* the object under way has its first frame */
    uint8_t how;
    bool joined, asked_tree, asked_need;
    unsigned archives;      /* that the host takes: the guess, unless it said TREE, and what it needs */
    bool changed;           /* packing saw a file that is not as the manifest has it */
    enum pt_push_state end; /* DONE, STALE, or OFFERED as long as it is neither */
    struct pt_err why;
    struct pt_push_figures figures;
};

/* --- objects --- */

static uint64_t tar_size(const struct pt_manifest *m, const unsigned char *bits)
{
    uint64_t sum = 2 * TAR_BLOCK;
    for (uint32_t i = 0; i < pt_manifest_blobs(m); i++)
        if (bits[i / 8] >> (i % 8) & 1)
            sum +=
                TAR_BLOCK + ((uint64_t)pt_manifest_blob(m, i).size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    return sum;
}

static struct object *add_object(struct pt_push *p, uint8_t type)
{
    struct object *o = &p->objects[p->n++];
    *o = (struct object){.type = type, .level = -1};
    return o;
}

static int add_delta(struct pt_push *p, struct pt_err *err)
{
    struct pt_buf plain = {0};
    int rc = pt_delta_encode(p->spec.base, p->manifest, &plain) < 0
                 ? pt_err_set(err, "push: out of memory")
                 : pt_deflate(plain.data, plain.len, &add_object(p, PT_B_DELTA)->data, err);
    pt_buf_fini(&plain);
    return rc;
}

static int add_manifest(struct pt_push *p, struct pt_err *err)
{
    struct pt_buf plain = {0};
    pt_manifest_encode(p->manifest, &plain);
    int rc = plain.bad ? pt_err_set(err, "push: out of memory")
                       : pt_deflate(plain.data, plain.len, &add_object(p, PT_B_MANIFEST)->data, err);
    pt_buf_fini(&plain);
    return rc;
}

static int add_archive(struct pt_push *p, const unsigned char *bits, bool guessed, struct pt_err *err)
{
    struct pt_parcel *parcel = pt_fanout_join(p->spec.fanout, bits, err);
    if (!parcel)
        return -1;
    struct object *o = add_object(p, PT_B_ARCHIVE);
    o->parcel = parcel;
    o->size = pt_parcel_total(parcel);
    if (guessed)
        o->level = o->size <= SMALL ? 5 : 3;
    o->tar = tar_size(p->manifest, bits);
    p->joined = true;
    p->archives++;
    p->figures.total += o->size;
    return 0;
}

/* --- begin and end --- */

static uint8_t choose(const struct pt_push *p)
{
    const struct pt_manifest *base = p->spec.base;
    if (!base || pt_manifest_algorithm(base) != pt_manifest_algorithm(p->manifest))
        return PT_OFFER_WHOLE;
    return memcmp(pt_manifest_root(base), pt_manifest_root(p->manifest), PT_DIGEST) == 0 ? PT_OFFER_ROOT
                                                                                         : PT_OFFER_DELTA;
}

static void put_offer(const struct pt_push *p, unsigned char *sent, struct pt_buf *control)
{
    struct pt_offer offer = {.algorithm = (uint8_t)pt_manifest_algorithm(p->manifest),
                             .how = p->how,
                             .archive = sent != NULL,
                             .blobs = sent ? pt_manifest_blobs(p->manifest) : 0,
                             .sent = sent,
                             .keep = (char **)(uintptr_t)p->spec.keep,
                             .nkeep = (uint32_t)p->spec.nkeep};
    memcpy(offer.root, pt_manifest_root(p->manifest), PT_DIGEST);
    pt_offer_encode(&offer, control);
}

static int begin(struct pt_push *p, struct pt_buf *control, struct pt_err *err)
{
    int rc = 0;
    p->how = choose(p);
    unsigned char *sent = NULL;
    if (p->how == PT_OFFER_DELTA && !p->spec.ask)
        sent = pt_guess(p->spec.base, p->manifest, p->spec.known, PT_PUSH_GUESS);
    if (p->how == PT_OFFER_DELTA)
        rc = add_delta(p, err);
    else if (p->how == PT_OFFER_WHOLE)
        rc = add_manifest(p, err);
    if (rc == 0 && sent)
        rc = add_archive(p, sent, true, err);
    if (rc == 0)
        put_offer(p, sent, control);
    free(sent);
    if (rc == 0 && control->bad)
        rc = pt_err_set(err, "push: out of memory");
    return rc;
}

struct pt_push *pt_push_create(const struct pt_push_spec *spec, struct pt_buf *control, struct pt_err *err)
{
    struct pt_push *p = calloc(1, sizeof(*p));
    if (!p) {
        pt_fanout_skip(spec->fanout);
        pt_err_set(err, "push: out of memory");
        return NULL;
    }
    p->spec = *spec;
    p->manifest = pt_fanout_manifest(spec->fanout);
    p->why = PT_ERR_INIT;
    if (begin(p, control, err) == 0)
        return p;
    pt_push_destroy(p);
    return NULL;
}

void pt_push_destroy(struct pt_push *p)
{
    if (!p)
        return;
    if (!p->joined)
        pt_fanout_skip(p->spec.fanout);
    for (size_t i = 0; i < p->n; i++) {
        pt_parcel_leave(p->objects[i].parcel);
        pt_buf_fini(&p->objects[i].data);
    }
    free(p);
}

/* --- what the agent says --- */

static int out_of_turn(const char *what, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "the agent's %s came out of turn or is malformed", what);
}

/* The host has been given what an answer to the manifest is made from. */
static bool answerable(const struct pt_push *p)
{
    for (size_t i = p->first; i < p->n; i++)
        if (p->objects[i].type != PT_B_ARCHIVE)
            return false;
    return p->end == PT_PUSH_OFFERED;
}

static int on_tree(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    uint8_t wanted = pt_get_u8(r);
    if (!pt_get_end(r) || wanted != 1 || p->how == PT_OFFER_WHOLE || p->asked_tree || p->asked_need ||
        p->end != PT_PUSH_OFFERED)
        return out_of_turn("TREE", err);
    p->asked_tree = true;
    p->archives = 0;
    p->changed = false;
    for (size_t i = 0; i < p->n; i++) { /* the host drops it */
        p->figures.total -= p->objects[i].size;
        p->objects[i].size = 0;
        pt_parcel_leave(p->objects[i].parcel);
        p->objects[i].parcel = NULL;
    }
    p->figures.raw = 0;
    return add_manifest(p, err);
}

/* The bits that are ours, at least one of them set. */
static bool check_need(const struct pt_push *p, const unsigned char *bits, size_t len, uint32_t blobs)
{
    uint32_t n = pt_manifest_blobs(p->manifest);
    bool any = false;
    if (blobs != n || len != (n + (size_t)7) / 8 || (n % 8 && bits[len - 1] >> n % 8))
        return false;
    for (size_t i = 0; i < len && !any; i++)
        any = bits[i] != 0;
    return any;
}

static bool is_forgotten(const struct pt_push *p, const unsigned char *bits)
{
    for (uint32_t i = 0; i < pt_manifest_blobs(p->manifest); i++)
        if (bits[i / 8] >> (i % 8) & 1 &&
            pt_known_has(p->spec.known, pt_manifest_blob(p->manifest, i).digest))
            return true;
    return false;
}

static int on_need(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    size_t len;
    uint32_t blobs = pt_get_u32(r);
    const unsigned char *bits = pt_get_bytes(r, &len);
    if (!pt_get_end(r) || p->asked_need || !answerable(p) || !check_need(p, bits, len, blobs))
        return out_of_turn("NEED", err);
    p->asked_need = true;
    p->figures.forgot = is_forgotten(p, bits);
    return add_archive(p, bits, false, err);
}

static int on_synced(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    if (pt_synced_decode(r, &p->figures.synced, err) < 0)
        return -1;
    if (p->first < p->n || p->changed || p->end != PT_PUSH_OFFERED)
        return out_of_turn("SYNCED", err);
    p->end = PT_PUSH_DONE;
    return 0;
}

static int on_resend(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    char *why = pt_get_str(r, PT_MAX_TEXT);
    bool good = pt_get_end(r) && p->first == p->n && p->archives && p->end == PT_PUSH_OFFERED;
    if (good && !p->changed)
        pt_err_set(&p->why, "%s", why);
    free(why);
    if (!good)
        return out_of_turn("RESEND", err);
    p->end = PT_PUSH_STALE;
    return 0;
}

int pt_push_control(struct pt_push *p, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    switch (type) {
    case PT_C_TREE:
        return on_tree(p, body, err);
    case PT_C_NEED:
        return on_need(p, body, err);
    case PT_C_SYNCED:
        return on_synced(p, body, err);
    case PT_C_RESEND:
        return on_resend(p, body, err);
    default:
        return pt_err_set(err, "push: message %u is not about the tree", type);
    }
}

/* --- what goes to the bulk stream --- */

static void put_empty(struct pt_buf *bulk, uint8_t type)
{
    pt_frame_end(bulk, pt_frame_begin(bulk, type));
}

static void end_object(struct pt_push *p, struct pt_buf *bulk)
{
    struct object *o = &p->objects[p->first++];
    put_empty(bulk, PT_B_END);
    p->opened = false;
    pt_buf_fini(&o->data);
    pt_parcel_leave(o->parcel);
    o->parcel = NULL;
    p->figures.raw += o->size;
}

static void give_data(struct pt_push *p, struct object *o, struct pt_buf *bulk, size_t max)
{
    size_t left = o->data.len - (size_t)o->given, n = left < max ? left : max;
    n = n < 1 ? left : n > PT_DATA_CHUNK ? PT_DATA_CHUNK : n;
    if (n) {
        size_t mark = pt_frame_begin(bulk, PT_B_DATA);
        pt_buf_append(bulk, o->data.data + o->given, n);
        pt_frame_end(bulk, mark);
    }
    o->given += n;
    if (n == left)
        end_object(p, bulk);
}

static void put_segment(struct object *o, const struct pt_segment *s, struct pt_buf *bulk)
{
    size_t mark = pt_frame_begin(bulk, PT_B_SEGMENT);
    pt_put_u8(bulk, s->packed);
    pt_put_u32(bulk, s->raw);
    pt_put_bytes(bulk, s->data, s->size);
    pt_frame_end(bulk, mark);
    o->given += s->raw;
}

/* 1 something, 0 nothing now, -1. */
static int give_archive(struct pt_push *p, struct object *o, struct pt_buf *bulk, int level,
                        struct pt_err *err)
{
    struct pt_segment segment;
    enum pt_parcel_got got = PT_PARCEL_END;
    if (o->parcel)
        got = pt_parcel_next(o->parcel, o->level < 0 ? level : o->level, &segment, &p->why);
    if (got == PT_PARCEL_FAILED)
        *err = p->why;
    if (got == PT_PARCEL_FAILED || got == PT_PARCEL_NOTHING)
        return got;
    if (!p->opened)
        put_empty(bulk, PT_B_ARCHIVE);
    p->opened = true;
    if (got == PT_PARCEL_SEGMENT) {
        put_segment(o, &segment, bulk);
        return 1;
    }
    p->changed |= got == PT_PARCEL_CHANGED;
    end_object(p, bulk);
    return 1;
}

/* One frame, with what comes before and after it. */
static int give(struct pt_push *p, struct pt_buf *bulk, size_t max, int level, struct pt_err *err)
{
    struct object *o = &p->objects[p->first];
    if (p->first == p->n)
        return 0;
    if (o->type == PT_B_ARCHIVE)
        return give_archive(p, o, bulk, level, err);
    if (!p->opened)
        put_empty(bulk, o->type);
    p->opened = true;
    give_data(p, o, bulk, max);
    return 1;
}

int pt_push_pull(struct pt_push *p, struct pt_buf *bulk, size_t max, int level, struct pt_err *err)
{
    size_t before = bulk->len;
    int rc = 1;
    do
        rc = give(p, bulk, max - (bulk->len - before), level, err);
    while (rc > 0 && !bulk->bad && bulk->len - before < max);
    if (rc < 0)
        return -1;
    if (bulk->bad)
        return pt_err_set(err, "push: out of memory");
    p->figures.wire += bulk->len - before;
    return bulk->len > before;
}

bool pt_push_open(const struct pt_push *p)
{
    return p->opened;
}

int pt_push_fd(const struct pt_push *p)
{
    return p->first < p->n && p->objects[p->first].parcel ? pt_parcel_fd(p->objects[p->first].parcel) : -1;
}

enum pt_push_state pt_push_state(const struct pt_push *p)
{
    if (p->end != PT_PUSH_OFFERED)
        return p->end;
    if (!p->archives || !answerable(p))
        return PT_PUSH_OFFERED;
    return p->first < p->n ? PT_PUSH_SENDING : PT_PUSH_SENT;
}

const char *pt_push_why(const struct pt_push *p)
{
    return p->why.msg;
}

void pt_push_get_figures(const struct pt_push *p, struct pt_push_figures *out)
{
    const struct object *o = p->first < p->n ? &p->objects[p->first] : NULL;
    *out = p->figures;
    if (o && o->size)
        out->raw +=
            o->given < o->tar ? (uint64_t)((double)o->size * (double)o->given / (double)o->tar) : o->size;
}
