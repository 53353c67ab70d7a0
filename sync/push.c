/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/push.h"

#include "common/err.h"
#include "common/message.h"
#include "sync/compress.h"
#include "sync/pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pt_push {
    const struct pt_manifest *manifest;
    enum pt_push_state state;
    struct pt_buf offer; /* the compressed manifest, while it is given */
    size_t given;        /* bytes of it that were */
    bool opened;         /* the object under way has its first frame */
    unsigned char *need; /* a bit for each entry */
    struct pt_pack *pack;
    bool changed; /* packing saw a file that is not as the manifest has it */
    uint64_t bytes;
};

struct pt_push *pt_push_create(const struct pt_manifest *manifest, struct pt_buf *control, struct pt_err *err)
{
    struct pt_push *p = calloc(1, sizeof(*p));
    if (!p) {
        pt_err_set(err, "push: out of memory");
        return NULL;
    }
    p->manifest = manifest;
    p->state = PT_PUSH_ASKED;
    size_t mark = pt_frame_begin(control, PT_C_MANIFEST);
    pt_put_u8(control, (uint8_t)pt_manifest_algorithm(manifest));
    pt_buf_append(control, pt_manifest_root(manifest), PT_DIGEST);
    pt_frame_end(control, mark);
    return p;
}

void pt_push_destroy(struct pt_push *p)
{
    if (!p)
        return;
    pt_pack_destroy(p->pack);
    pt_buf_fini(&p->offer);
    free(p->need);
    free(p);
}

/* --- what the agent says --- */

static int out_of_turn(const char *what, struct pt_err *err)
{
    return pt_err_set_kind(err, PT_ERR_INFRA, "the agent's %s came out of turn or is malformed", what);
}

static int on_tree(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    uint8_t wanted = pt_get_u8(r);
    if (!pt_get_end(r) || wanted > 1 || p->state != PT_PUSH_ASKED)
        return out_of_turn("TREE", err);
    p->state = wanted ? PT_PUSH_OFFERED : PT_PUSH_SENT;
    if (!wanted)
        return 0;
    struct pt_buf plain = {0};
    pt_manifest_encode(p->manifest, &plain);
    int rc = plain.bad ? pt_err_set(err, "push: out of memory")
                       : pt_deflate(plain.data, plain.len, &p->offer, err);
    pt_buf_fini(&plain);
    return rc;
}

/* 1 when a file is needed, 0 when none is, -1 when the bits are none of ours. */
static int check_need(const struct pt_push *p, const unsigned char *bits, size_t len, uint32_t entries)
{
    size_t n = pt_manifest_count(p->manifest);
    bool any = false;
    if (entries != n || len != (n + 7) / 8)
        return -1;
    for (size_t i = 0; i < 8 * len; i++) {
        if (!(bits[i / 8] >> (i % 8) & 1))
            continue;
        if (i >= n || pt_manifest_get(p->manifest, i)->type != PT_ENTRY_FILE)
            return -1;
        any = true;
    }
    return any;
}

static int on_need(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    size_t len;
    uint32_t entries = pt_get_u32(r);
    const void *bits = pt_get_bytes(r, &len);
    int any = pt_get_end(r) ? check_need(p, bits, len, entries) : -1;
    if (any < 0 || p->state != PT_PUSH_OFFERED || p->offer.len)
        return out_of_turn("NEED", err);
    if (!any) {
        p->state = PT_PUSH_SENT;
        return 0;
    }
    p->need = malloc(len);
    if (!p->need)
        return pt_err_set(err, "push: out of memory");
    memcpy(p->need, bits, len);
    p->pack = pt_pack_start(p->manifest, p->need, err);
    if (!p->pack)
        return -1;
    p->state = PT_PUSH_SENDING;
    return 0;
}

static int on_synced(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    pt_get_u64(r);
    pt_get_u64(r);
    pt_get_u64(r);
    if (!pt_get_end(r) || p->state != PT_PUSH_SENT || p->changed)
        return out_of_turn("SYNCED", err);
    p->state = PT_PUSH_DONE;
    return 0;
}

static int on_resend(struct pt_push *p, struct pt_reader *r, struct pt_err *err)
{
    free(pt_get_str(r, PT_MAX_TEXT));
    if (!pt_get_end(r) || p->state != PT_PUSH_SENT)
        return out_of_turn("RESEND", err);
    p->state = PT_PUSH_STALE;
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

static void give_offer(struct pt_push *p, struct pt_buf *bulk, size_t max)
{
    if (!p->opened)
        put_empty(bulk, PT_B_MANIFEST);
    p->opened = true;
    size_t left = p->offer.len - p->given, n = left < max ? left : max;
    if (n) {
        size_t mark = pt_frame_begin(bulk, PT_B_DATA);
        pt_buf_append(bulk, p->offer.data + p->given, n);
        pt_frame_end(bulk, mark);
    }
    p->given += n;
    if (n == left) {
        put_empty(bulk, PT_B_END);
        pt_buf_fini(&p->offer);
        p->opened = false;
    }
}

/* The pipe is at its end. */
static int finish_archive(struct pt_push *p, struct pt_buf *bulk, struct pt_err *err)
{
    enum pt_packed result = pt_pack_result(p->pack, err);
    pt_pack_destroy(p->pack);
    p->pack = NULL;
    if (result == PT_PACK_FAILED)
        return -1;
    p->changed = result == PT_PACK_CHANGED;
    put_empty(bulk, PT_B_END);
    p->state = PT_PUSH_SENT;
    return 0;
}

static int give_archive(struct pt_push *p, struct pt_buf *bulk, size_t max, struct pt_err *err)
{
    if (!p->opened)
        put_empty(bulk, PT_B_ARCHIVE);
    p->opened = true;
    size_t mark = pt_frame_begin(bulk, PT_B_DATA), got = 0;
    unsigned char *room = pt_buf_reserve(bulk, max);
    ssize_t n = 1;
    while (room && got < max && (n = read(pt_pack_fd(p->pack), room + got, max - got)) > 0)
        got += (size_t)n;
    int saved = errno;
    if (!got)
        bulk->len = bulk->bad ? bulk->len : mark;
    else {
        bulk->len += got;
        pt_frame_end(bulk, mark);
    }
    if (bulk->bad)
        return pt_err_set(err, "push: out of memory");
    if (n == 0)
        return finish_archive(p, bulk, err);
    if (n < 0 && saved != EAGAIN && saved != EINTR)
        return pt_err_set(err, "push: %s", strerror(saved));
    return 0;
}

int pt_push_pull(struct pt_push *p, struct pt_buf *bulk, size_t max, struct pt_err *err)
{
    size_t before = bulk->len;
    size_t most = max < 1 ? 1 : max > PT_DATA_CHUNK ? PT_DATA_CHUNK : max;
    int rc = 0;
    if (p->state == PT_PUSH_OFFERED && p->offer.len)
        give_offer(p, bulk, most);
    else if (p->state == PT_PUSH_SENDING)
        rc = give_archive(p, bulk, most, err);
    if (rc < 0)
        return -1;
    if (bulk->bad)
        return pt_err_set(err, "push: out of memory");
    p->bytes += bulk->len - before;
    return bulk->len > before;
}

int pt_push_fd(const struct pt_push *p)
{
    return p->pack ? pt_pack_fd(p->pack) : -1;
}

enum pt_push_state pt_push_state(const struct pt_push *p)
{
    return p->state;
}

uint64_t pt_push_bytes(const struct pt_push *p)
{
    return p->bytes;
}
