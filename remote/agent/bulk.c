/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/bulk.h"

#include "remote/agent/state.h"
#include "remote/agent/tools.h"
#include "remote/agent/tree.h"

static int take_begin(struct pt_agent *a, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    if (a->bulk != PT_BULK_NONE)
        return pt_err_set(err, "bulk: one object within another");
    a->bulk = type == PT_B_TOOL ? PT_BULK_TOOL : PT_BULK_TREE;
    return type == PT_B_TOOL ? pt_tools_begin(a->tools, body, err) : 0;
}

int pt_bulk_take(struct pt_agent *a, uint8_t type, struct pt_reader *body, const void *frame, size_t n,
                 enum pt_stage *stage, struct pt_err *err)
{
    *stage = a->bulk == PT_BULK_TREE || type == PT_B_MANIFEST || type == PT_B_ARCHIVE ? PT_STAGE_TREE
                                                                                      : PT_STAGE_TOOLS;
    if (a->failed) {
        pt_mux_credit(a->mux, PT_MUX_BULK, n);
        return 0;
    }
    if (!a->set_up || type < PT_B_TOOL || type > PT_B_END)
        return pt_err_set(err, "bulk: frame %u is out of turn", type);
    bool begins = type != PT_B_DATA && type != PT_B_END;
    if (begins && take_begin(a, type, body, err) < 0)
        return -1;
    if (a->bulk == PT_BULK_NONE)
        return pt_err_set(err, "bulk: bytes of nothing");
    bool tree = a->bulk == PT_BULK_TREE;
    if (type == PT_B_END)
        a->bulk = PT_BULK_NONE;
    if (tree)
        return pt_tree_send(a->tree, frame, n, true, err);
    pt_mux_credit(a->mux, PT_MUX_BULK, n);
    if (type == PT_B_DATA)
        return pt_tools_data(a->tools, body->p, body->left, err);
    return type == PT_B_END ? pt_tools_end(a->tools, err) : 0;
}
