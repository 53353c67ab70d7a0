/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bundles that no rank has yet, as the frames that bring them; first in, first out. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_queue_item {
    struct pt_queue_item *next;
    uint32_t bundle;
    size_t len;
    unsigned char frame[];
};

struct pt_queue {
    struct pt_queue_item *head, **tail;
};

void pt_queue_init(struct pt_queue *queue);
void pt_queue_fini(struct pt_queue *queue);
/* Keeps a copy. -1 when memory ends. */
int pt_queue_add(struct pt_queue *queue, uint32_t bundle, const void *frame, size_t n);
/* The first one, off the queue: the caller frees it. NULL when there is none. */
struct pt_queue_item *pt_queue_take(struct pt_queue *queue);
/* Take one out by its number; false when it is not there. */
bool pt_queue_remove(struct pt_queue *queue, uint32_t bundle);
