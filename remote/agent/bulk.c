/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/bulk.h"

#include "remote/agent/state.h"
#include "remote/agent/tools.h"
#include "remote/agent/tree.h"
#include "sync/segment.h"

#define MAX_TOOL (PT_DATA_CHUNK + 64)           /* length of a frame for the tools */
#define MAX_TREE (PT_SEGMENT_MAX + (64u << 10)) /* for the receiver */

static bool begins_tree(uint8_t type)
{
    return type == PT_B_MANIFEST || type == PT_B_DELTA || type == PT_B_ARCHIVE;
}

/* Whether a frame of that type may come now, and to whom it goes. */
static int check_head(struct pt_agent *a, uint8_t type, uint32_t length, enum pt_stage *stage,
                      struct pt_err *err)
{
    struct pt_bulk *b = &a->bulk;
    bool tree = b->mode == PT_BULK_TREE || begins_tree(type), begins = begins_tree(type) || type == PT_B_TOOL;
    if (length == 0 || length > (tree ? MAX_TREE : MAX_TOOL)) {
        *stage = PT_STAGE_SETUP;
        return pt_err_set(err, "the master sent a frame of bad length");
    }
    *stage = tree ? PT_STAGE_TREE : PT_STAGE_TOOLS;
    if (!a->set_up || (!begins && type != PT_B_DATA && type != PT_B_END && type != PT_B_SEGMENT))
        return pt_err_set(err, "bulk: frame %u is out of turn", type);
    if (begins && b->mode != PT_BULK_NONE)
        return pt_err_set(err, "bulk: one object within another");
    if ((!begins && b->mode == PT_BULK_NONE) || (type == PT_B_SEGMENT && !tree))
        return pt_err_set(err, "bulk: bytes of nothing");
    if (tree && !a->tree)
        return pt_err_set(err, "a tree was sent that is shared");
    if (begins)
        b->mode = tree ? PT_BULK_TREE : PT_BULK_TOOL;
    return 0;
}

static int take_tool(struct pt_agent *a, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    switch (type) {
    case PT_B_TOOL:
        return pt_tools_begin(a->tools, body, err);
    case PT_B_DATA:
        return pt_tools_data(a->tools, body->p, body->left, err);
    default:
        return pt_tools_end(a->tools, err);
    }
}

/* As many of n bytes as `in` lacks to be `whole` long. */
static size_t gather(struct pt_bulk *b, const unsigned char *data, size_t n, size_t whole)
{
    size_t lacks = b->in.len < whole ? whole - b->in.len : 0;
    n = n < lacks ? n : lacks;
    pt_buf_append(&b->in, data, n);
    return n;
}

/* What the frame in `in` is for: its head is there, and for the tools all of it must be. 1 when it was taken.
 */
static int take_frame(struct pt_agent *a, uint32_t length, uint8_t type, enum pt_stage *stage,
                      struct pt_err *err)
{
    struct pt_bulk *b = &a->bulk;
    struct pt_reader body = {.p = b->in.data + PT_FRAME_HEAD, .left = b->in.len - PT_FRAME_HEAD};
    bool tree = b->mode == PT_BULK_TREE;
    *stage = tree ? PT_STAGE_TREE : PT_STAGE_TOOLS;
    if (!tree && b->in.len < 4 + (size_t)length)
        return 0;
    if (type == PT_B_END)
        b->mode = PT_BULK_NONE;
    if (tree)
        b->pass = length - 1;
    else
        pt_mux_credit(a->mux, PT_MUX_BULK, b->in.len);
    int rc = tree ? pt_tree_send(a->tree, b->in.data, b->in.len, true, err) : take_tool(a, type, &body, err);
    pt_buf_clear(&b->in);
    return rc < 0 ? -1 : 1;
}

/* A part of the bytes, how many of them in *took. */
static int feed(struct pt_agent *a, const unsigned char *data, size_t n, size_t *took, enum pt_stage *stage,
                struct pt_err *err)
{
    struct pt_bulk *b = &a->bulk;
    if (b->pass) {
        *took = n < b->pass ? n : b->pass;
        b->pass -= *took;
        *stage = PT_STAGE_TREE;
        return pt_tree_send(a->tree, data, *took, true, err);
    }
    bool had_head = b->in.len >= PT_FRAME_HEAD;
    *took = gather(b, data, n, PT_FRAME_HEAD);
    *stage = PT_STAGE_SETUP;
    if (b->in.bad)
        return pt_err_set(err, "out of memory");
    if (b->in.len < PT_FRAME_HEAD)
        return 0;
    struct pt_reader head = {.p = b->in.data, .left = PT_FRAME_HEAD};
    uint32_t length = pt_get_u32(&head);
    uint8_t type = pt_get_u8(&head);
    if (!had_head && check_head(a, type, length, stage, err) < 0)
        return -1;
    if (b->mode != PT_BULK_TREE)
        *took += gather(b, data + *took, n - *took, 4 + (size_t)length);
    if (b->in.bad)
        return pt_err_set(err, "out of memory");
    return take_frame(a, length, type, stage, err) < 0 ? -1 : 0;
}

bool pt_bulk_idle(const struct pt_bulk *bulk)
{
    return bulk->mode == PT_BULK_NONE && bulk->pass == 0 && bulk->in.len == 0;
}

int pt_bulk_feed(struct pt_agent *a, const void *data, size_t n, enum pt_stage *stage, struct pt_err *err)
{
    const unsigned char *p = data;
    for (size_t took; n > 0; p += took, n -= took) {
        if (a->failed) {
            pt_mux_credit(a->mux, PT_MUX_BULK, n);
            return 0;
        }
        if (feed(a, p, n, &took, stage, err) < 0)
            return -1;
    }
    return 0;
}
