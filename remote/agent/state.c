/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/state.h"

#include "remote/agent/collect.h"
#include "remote/agent/kit.h"
#include "remote/agent/launch.h"
#include "remote/agent/linger.h"
#include "remote/agent/python.h"
#include "remote/agent/room.h"
#include "remote/agent/scarce.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

void pt_agent_send(struct pt_agent *a, struct pt_buf *frame)
{
    if (!frame->bad && !pt_linger_keep(a->linger, frame))
        pt_mux_send(a->mux, PT_MUX_CONTROL, frame->data, frame->len);
    pt_buf_fini(frame);
}

void pt_agent_fail(struct pt_agent *a, enum pt_stage stage, const struct pt_err *err)
{
    if (a->failed)
        return;
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_FAIL);
    a->failed = true;
    pt_put_u8(&b, (uint8_t)stage);
    pt_put_str(&b, err->msg);
    pt_put_str(&b, err->hint);
    pt_frame_end(&b, mark);
    pt_agent_send(a, &b);
}

/* What programs say when there is too little of something does not tell of what: that comes last, as it is
 * read first. */
static void add_scarce(const struct pt_agent *a, struct pt_buf *text)
{
    struct pt_err err = PT_ERR_INIT;
    char line[2 * PT_ERR_MAX + 16];
    if (pt_scarce(a->dir, &err) == 0)
        return;
    snprintf(line, sizeof(line), "\n%s; next: %s\n", err.msg, err.hint);
    pt_buf_append(text, line, strlen(line));
}

void pt_agent_exited(struct pt_agent *a, enum pt_program program, int status, const struct pt_buf *output)
{
    struct pt_buf b = {0}, text = {0};
    pt_buf_append(&text, output->data, output->len);
    if (status != 0 && program != PT_PROGRAM_COLLECTOR)
        add_scarce(a, &text);
    size_t mark = pt_frame_begin(&b, PT_C_EXITED);
    pt_put_u8(&b, (uint8_t)program);
    pt_put_u32(&b, (uint32_t)status);
    pt_put_bytes(&b, text.data, text.len);
    pt_buf_fini(&text);
    pt_frame_end(&b, mark);
    pt_agent_send(a, &b);
}

void pt_agent_advance(struct pt_agent *a)
{
    if (a->failed)
        return;
    pt_python_advance(a->python, !pt_launcher_idle(a->launcher));
    pt_kit_advance(a->kit);
    pt_launcher_advance(a->launcher);
    pt_collector_advance(a->collector);
    pt_room_advance(a->room);
}

const char *pt_agent_status(int status, char text[48])
{
    if (WIFSIGNALED(status))
        snprintf(text, 48, "signal %d", WTERMSIG(status));
    else
        snprintf(text, 48, "exit status %d", WEXITSTATUS(status));
    return text;
}
