/* SPDX-License-Identifier: Apache-2.0 */
#include "backlog.h"
#include "common/message.h"

#include <criterion/criterion.h>

static void say(struct pt_backlog *log, uint32_t first, uint32_t n)
{
    struct pt_buf b = {0};
    for (uint32_t i = 0; i < n; i++) {
        size_t mark = pt_frame_begin(&b, PT_L_RECALL);
        pt_put_u32(&b, first + i);
        pt_frame_end(&b, mark);
    }
    cr_assert_eq(pt_backlog_add(log, &b), 0);
    pt_buf_fini(&b);
}

/* What would be said again is first, first + 1 ... up to and with last. */
static void expect_rest(const struct pt_backlog *log, uint32_t first, uint32_t last)
{
    size_t used = 0, total;
    uint8_t type;
    struct pt_reader body;
    for (uint32_t i = first; i <= last; i++) {
        cr_assert_eq(pt_frame_next(log->frames.data + used, log->frames.len - used, PT_MAX_FRAME, &type,
                                   &body, &total),
                     1);
        cr_expect_eq(pt_get_u32(&body), i);
        used += total;
    }
    cr_expect_eq(used, log->frames.len);
}

Test(backlog, what_has_arrived_is_forgotten)
{
    struct pt_backlog log = {0};
    say(&log, 1, 3);
    say(&log, 4, 1);
    expect_rest(&log, 1, 4);
    cr_expect_eq(pt_backlog_got(&log, 0), 0);
    expect_rest(&log, 1, 4);
    cr_expect_eq(pt_backlog_got(&log, 2), 0);
    expect_rest(&log, 3, 4);
    say(&log, 5, 2);
    cr_expect_eq(pt_backlog_got(&log, 6), 0);
    cr_expect_eq(log.frames.len, 0);
    say(&log, 7, 1);
    expect_rest(&log, 7, 7);
    pt_backlog_fini(&log);
}

Test(backlog, nobody_has_more_than_was_said_or_less_than_before)
{
    struct pt_backlog log = {0};
    cr_expect_eq(pt_backlog_got(&log, 1), -1);
    say(&log, 1, 3);
    cr_expect_eq(pt_backlog_got(&log, 4), -1);
    cr_expect_eq(pt_backlog_got(&log, 2), 0);
    cr_expect_eq(pt_backlog_got(&log, 1), -1);
    expect_rest(&log, 3, 3);
    pt_backlog_fini(&log);
}

Test(backlog, half_a_frame_is_not_kept)
{
    struct pt_backlog log = {0};
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_L_RECALL);
    pt_put_u32(&b, 1);
    pt_frame_end(&b, mark);
    b.len--;
    cr_expect_eq(pt_backlog_add(&log, &b), -1);
    cr_expect_eq(log.said, 0);
    pt_buf_fini(&b);
    pt_backlog_fini(&log);
}

/* A new launch begins to count anew. */
Test(backlog, ends)
{
    struct pt_backlog log = {0};
    say(&log, 1, 3);
    cr_expect_eq(pt_backlog_got(&log, 3), 0);
    pt_backlog_fini(&log);
    cr_expect_eq(pt_backlog_got(&log, 0), 0);
    say(&log, 1, 1);
    expect_rest(&log, 1, 1);
    pt_backlog_fini(&log);
}
