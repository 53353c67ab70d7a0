/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/queue.h"

#include <stdlib.h>
#include <string.h>

void pt_queue_init(struct pt_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

void pt_queue_fini(struct pt_queue *queue)
{
    struct pt_queue_item *item;
    while ((item = pt_queue_take(queue)))
        free(item);
}

int pt_queue_add(struct pt_queue *queue, uint32_t bundle, const void *frame, size_t n)
{
    struct pt_queue_item *item = malloc(sizeof(*item) + n);
    if (!item)
        return -1;
    item->next = NULL;
    item->bundle = bundle;
    item->len = n;
    memcpy(item->frame, frame, n);
    *queue->tail = item;
    queue->tail = &item->next;
    return 0;
}

static struct pt_queue_item *unlink_at(struct pt_queue *queue, struct pt_queue_item **at)
{
    struct pt_queue_item *item = *at;
    *at = item->next;
    if (!*at)
        queue->tail = at;
    return item;
}

struct pt_queue_item *pt_queue_take(struct pt_queue *queue)
{
    return queue->head ? unlink_at(queue, &queue->head) : NULL;
}

bool pt_queue_remove(struct pt_queue *queue, uint32_t bundle)
{
    for (struct pt_queue_item **at = &queue->head; *at; at = &(*at)->next)
        if ((*at)->bundle == bundle) {
            free(unlink_at(queue, at));
            return true;
        }
    return false;
}
