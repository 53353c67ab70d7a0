/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/offer.h"

#include "common/err.h"
#include "common/message.h"

#include <stdlib.h>
#include <string.h>

#define MAX_GLOB 4096

void pt_offer_encode(const struct pt_offer *offer, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_MANIFEST);
    pt_put_u8(out, offer->algorithm);
    pt_buf_append(out, offer->root, PT_DIGEST);
    pt_put_u8(out, offer->how);
    pt_put_u8(out, offer->archive);
    pt_put_u32(out, offer->archive ? offer->blobs : 0);
    pt_put_bytes(out, offer->sent, offer->archive ? ((size_t)offer->blobs + 7) / 8 : 0);
    pt_put_u32(out, offer->nkeep);
    for (uint32_t i = 0; i < offer->nkeep; i++)
        pt_put_str(out, offer->keep[i]);
    pt_frame_end(out, mark);
}

static void get_sent(struct pt_reader *r, struct pt_offer *o)
{
    size_t len;
    o->blobs = pt_get_u32(r);
    const void *bits = pt_get_bytes(r, &len);
    if (r->bad || (!o->archive && o->blobs) || len != ((size_t)o->blobs + 7) / 8 ||
        !(o->sent = malloc(len + 1)))
        r->bad = true;
    else
        memcpy(o->sent, bits, len);
}

static void get_keep(struct pt_reader *r, struct pt_offer *o)
{
    uint32_t n = pt_get_u32(r);
    if (r->bad || n > PT_KEEP_MAX || !(o->keep = calloc(n + 1, sizeof(*o->keep))))
        r->bad = true;
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        o->keep[i] = pt_get_str(r, MAX_GLOB);
        o->nkeep++;
    }
}

int pt_offer_decode(struct pt_reader *body, struct pt_offer *offer, struct pt_err *err)
{
    *offer = (struct pt_offer){.algorithm = pt_get_u8(body)};
    const void *root = pt_get_raw(body, PT_DIGEST);
    if (root)
        memcpy(offer->root, root, PT_DIGEST);
    offer->how = pt_get_u8(body);
    uint8_t archive = pt_get_u8(body);
    offer->archive = archive;
    if (offer->how > PT_OFFER_WHOLE || archive > 1)
        body->bad = true;
    get_sent(body, offer);
    get_keep(body, offer);
    if (pt_get_end(body))
        return 0;
    pt_offer_fini(offer);
    return pt_err_set_kind(err, PT_ERR_INFRA, "the offer of a tree is malformed");
}

void pt_offer_fini(struct pt_offer *offer)
{
    for (uint32_t i = 0; i < offer->nkeep; i++)
        free(offer->keep[i]);
    free(offer->keep);
    free(offer->sent);
    *offer = (struct pt_offer){0};
}

void pt_synced_encode(const struct pt_synced *s, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_SYNCED);
    pt_put_u64(out, s->files_sent);
    pt_put_u64(out, s->bytes_sent);
    pt_put_u64(out, s->files_reused);
    pt_put_u64(out, s->bytes_reused);
    pt_put_u64(out, s->files_right);
    pt_put_u64(out, s->bytes_right);
    pt_put_u64(out, s->removed);
    pt_put_u32(out, s->survey_ms);
    pt_put_u32(out, s->apply_ms);
    pt_frame_end(out, mark);
}

int pt_synced_decode(struct pt_reader *body, struct pt_synced *s, struct pt_err *err)
{
    s->files_sent = pt_get_u64(body);
    s->bytes_sent = pt_get_u64(body);
    s->files_reused = pt_get_u64(body);
    s->bytes_reused = pt_get_u64(body);
    s->files_right = pt_get_u64(body);
    s->bytes_right = pt_get_u64(body);
    s->removed = pt_get_u64(body);
    s->survey_ms = pt_get_u32(body);
    s->apply_ms = pt_get_u32(body);
    return pt_get_end(body) ? 0 : pt_err_set_kind(err, PT_ERR_INFRA, "the agent's SYNCED is malformed");
}
