/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/absence.h"

#include "common/message.h"

#define KEPT_MAX (1u << 20) /* bytes of what is kept besides the end of the workers */

void pt_absence_fini(struct pt_absence *absence)
{
    pt_buf_fini(&absence->kept);
    pt_buf_fini(&absence->exited);
    pt_buf_fini(&absence->served);
}

void pt_absence_begin(struct pt_absence *absence, int64_t until)
{
    absence->away = true;
    absence->until = until;
}

bool pt_absence_over(const struct pt_absence *absence, int64_t now)
{
    return absence->away && now >= absence->until;
}

static void remember(struct pt_buf *what, const struct pt_buf *frame)
{
    pt_buf_clear(what);
    pt_buf_append(what, frame->data, frame->len);
}

/* The end of a collector shows by its stream, which is gone with the channel. */
bool pt_absence_keep(struct pt_absence *absence, const struct pt_buf *frame, uint32_t ended)
{
    uint8_t type = frame->data[4], program = frame->len > PT_FRAME_HEAD ? frame->data[PT_FRAME_HEAD] : 0;
    if (type == PT_C_EXITED && program == PT_PROGRAM_WORKERS) {
        remember(&absence->exited, frame);
        absence->launch = ended;
    } else if (type == PT_C_EXITED && program == PT_PROGRAM_FORKSERVER) {
        remember(&absence->served, frame);
    } else if (absence->away && absence->kept.len + frame->len < KEPT_MAX && type == PT_C_FAIL) {
        pt_buf_append(&absence->kept, frame->data, frame->len);
    }
    return absence->away;
}

void pt_absence_forget(struct pt_absence *absence)
{
    pt_buf_fini(&absence->exited);
    pt_buf_fini(&absence->served);
    absence->launch = 0;
    absence->armed = false;
}

void pt_absence_end(struct pt_absence *absence, uint32_t runs, struct pt_buf *out)
{
    size_t mark = pt_frame_begin(out, PT_C_ATTACHED);
    pt_put_u32(out, runs ? runs : absence->launch);
    pt_frame_end(out, mark);
    pt_buf_append(out, absence->kept.data, absence->kept.len);
    pt_buf_append(out, absence->served.data, absence->served.len);
    pt_buf_append(out, absence->exited.data, absence->exited.len);
    pt_buf_fini(&absence->kept);
    absence->away = false;
}
