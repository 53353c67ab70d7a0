/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/outbox.c"
#include "remote/worker/tell.c"

#include <criterion/criterion.h>

static const unsigned char *add_done(struct pt_outbox *box)
{
    struct pt_buf msg = {0};
    pt_tell_done(&msg, 3, 7, 1);
    const unsigned char *kept = pt_outbox_add(box, msg.data, msg.len);
    pt_buf_fini(&msg);
    return kept;
}

Test(outbox, numbers_are_put_in_and_kept_until_acknowledged)
{
    struct pt_outbox box;
    pt_outbox_init(&box);
    for (uint64_t seq = 1; seq <= 300; seq++) {
        struct pt_reader r = {.p = add_done(&box) + PT_FRAME_HEAD, .left = 20};
        cr_assert_eq(pt_get_u64(&r), seq);
        cr_assert_eq(pt_get_u32(&r), 3);
        cr_assert_eq(pt_get_u32(&r), 7);
    }
    size_t one = box.bytes / 300;
    cr_assert_eq(pt_outbox_ack(&box, 100), 0);
    cr_assert_eq(box.bytes, 200 * one);
    cr_assert_eq(pt_outbox_ack(&box, 100), 0, "twice is once");
    cr_assert_eq(pt_outbox_ack(&box, 99), -1, "not backwards");
    cr_assert_eq(pt_outbox_ack(&box, 301), -1, "not what was never sent");
    cr_assert_eq(pt_outbox_ack(&box, UINT64_MAX), -1);
    cr_assert_not(pt_outbox_empty(&box));
    cr_assert_eq(pt_outbox_ack(&box, 300), 0);
    cr_assert(pt_outbox_empty(&box));
    cr_assert_eq(box.bytes, 0);
    cr_assert_not_null(add_done(&box));
    pt_outbox_fini(&box);
}

Test(outbox, a_frame_without_room_for_a_number_is_refused)
{
    struct pt_outbox box;
    pt_outbox_init(&box);
    cr_assert_null(pt_outbox_add(&box, "123456789012", 12));
    cr_assert_eq(box.last, 0);
    pt_outbox_fini(&box);
}
