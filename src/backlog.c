/* SPDX-License-Identifier: Apache-2.0 */
#include "backlog.h"

#include "common/message.h"

/* Bytes of the first `n` frames, or of as many as there are; *n becomes how many. */
static size_t size_of(const struct pt_buf *frames, uint64_t *n)
{
    size_t used = 0, total;
    uint64_t found = 0;
    uint8_t type;
    struct pt_reader body;
    while (found < *n &&
           pt_frame_next(frames->data + used, frames->len - used, PT_MAX_FRAME, &type, &body, &total) == 1) {
        used += total;
        found++;
    }
    *n = found;
    return used;
}

int pt_backlog_add(struct pt_backlog *log, const struct pt_buf *frames)
{
    uint64_t n = UINT64_MAX;
    if (frames->bad || size_of(frames, &n) != frames->len)
        return -1;
    pt_buf_append(&log->frames, frames->data, frames->len);
    if (log->frames.bad)
        return -1;
    log->said += n;
    return 0;
}

int pt_backlog_got(struct pt_backlog *log, uint64_t got)
{
    if (got < log->got || got > log->said)
        return -1;
    uint64_t n = got - log->got;
    pt_buf_consume(&log->frames, size_of(&log->frames, &n));
    log->got = got;
    return 0;
}

void pt_backlog_fini(struct pt_backlog *log)
{
    pt_buf_fini(&log->frames);
    *log = (struct pt_backlog){0};
}
