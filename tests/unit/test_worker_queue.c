/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/queue.c"

#include <criterion/criterion.h>

static void add(struct pt_queue *queue, uint32_t bundle)
{
    cr_assert_eq(pt_queue_add(queue, bundle, &bundle, sizeof(bundle)), 0);
}

static void take(struct pt_queue *queue, uint32_t bundle)
{
    struct pt_queue_item *item = pt_queue_take(queue);
    cr_assert(item && item->bundle == bundle && item->len == sizeof(bundle));
    cr_assert_eq(memcmp(item->frame, &bundle, sizeof(bundle)), 0);
    free(item);
}

Test(queue, first_in_first_out_and_any_out)
{
    struct pt_queue queue;
    pt_queue_init(&queue);
    cr_assert_null(pt_queue_take(&queue));
    cr_assert_not(pt_queue_remove(&queue, 1));
    for (uint32_t i = 1; i <= 5; i++)
        add(&queue, i);
    cr_assert(pt_queue_remove(&queue, 3));
    cr_assert_not(pt_queue_remove(&queue, 3), "only once");
    take(&queue, 1);
    cr_assert(pt_queue_remove(&queue, 5), "the last");
    add(&queue, 6);
    take(&queue, 2);
    take(&queue, 4);
    take(&queue, 6);
    cr_assert_null(pt_queue_take(&queue));
    add(&queue, 7);
    pt_queue_fini(&queue);
    cr_assert_null(queue.head);
    add(&queue, 8);
    pt_queue_fini(&queue);
}
