/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/tell.h"

/* Every one of them starts with the number and, but RECALLED, the rank. */
static size_t begin(struct pt_buf *out, uint8_t type, uint32_t first)
{
    size_t mark = pt_frame_begin(out, type);
    pt_put_u64(out, 0);
    pt_put_u32(out, first);
    return mark;
}

void pt_tell_started(struct pt_buf *out, uint32_t rank, const struct pt_bundle *bundle, uint32_t test)
{
    size_t mark = begin(out, PT_L_STARTED, rank);
    pt_put_u32(out, bundle->bundle);
    pt_put_u32(out, bundle->attempt);
    pt_put_u32(out, test);
    pt_frame_end(out, mark);
}

void pt_tell_report(struct pt_buf *out, uint32_t rank, const struct pt_bundle *bundle, uint32_t test,
                    uint8_t outcome, const void *json, size_t n)
{
    size_t mark = begin(out, PT_L_REPORT, rank);
    pt_put_u32(out, bundle->bundle);
    pt_put_u32(out, bundle->attempt);
    pt_put_u32(out, test);
    pt_put_u8(out, outcome);
    pt_put_bytes(out, json, n);
    pt_frame_end(out, mark);
}

void pt_tell_note(struct pt_buf *out, uint32_t rank, const struct pt_bundle *bundle, const void *json,
                  size_t n)
{
    size_t mark = begin(out, PT_L_NOTE, rank);
    pt_put_u32(out, bundle ? bundle->bundle : PT_NONE);
    pt_put_bytes(out, json, n);
    pt_frame_end(out, mark);
}

void pt_tell_done(struct pt_buf *out, uint32_t rank, uint32_t bundle, uint32_t attempt)
{
    size_t mark = begin(out, PT_L_DONE, rank);
    pt_put_u32(out, bundle);
    pt_put_u32(out, attempt);
    pt_frame_end(out, mark);
}

void pt_tell_stolen(struct pt_buf *out, uint32_t rank, uint32_t attempt, const struct pt_steal *given)
{
    size_t mark = begin(out, PT_L_STOLEN, rank);
    pt_put_u32(out, given->bundle);
    pt_put_u32(out, attempt);
    pt_put_u32(out, given->n);
    for (uint32_t i = 0; i < given->n; i++)
        pt_put_u32(out, given->tests[i]);
    pt_frame_end(out, mark);
}

void pt_tell_output(struct pt_buf *out, uint32_t rank, uint32_t bundle, uint32_t test, const void *bytes,
                    size_t n)
{
    size_t mark = begin(out, PT_L_OUTPUT, rank);
    pt_put_u32(out, bundle);
    pt_put_u32(out, test);
    pt_put_bytes(out, bytes, n);
    pt_frame_end(out, mark);
}

void pt_tell_broken(struct pt_buf *out, uint32_t rank, const void *text, size_t n)
{
    size_t mark = begin(out, PT_L_BROKEN, rank);
    pt_put_bytes(out, text, n);
    pt_frame_end(out, mark);
}

void pt_tell_recalled(struct pt_buf *out, uint32_t bundle, bool given_back)
{
    size_t mark = begin(out, PT_L_RECALLED, bundle);
    pt_put_u8(out, given_back);
    pt_frame_end(out, mark);
}

void pt_tell_bye(struct pt_buf *out, uint32_t rank)
{
    pt_frame_end(out, begin(out, PT_L_BYE, rank));
}
