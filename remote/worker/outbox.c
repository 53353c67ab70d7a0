/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/outbox.h"

#include <stdlib.h>
#include <string.h>

struct pt_outbox_item {
    struct pt_outbox_item *next;
    uint64_t seq;
    size_t len;
    unsigned char data[];
};

void pt_outbox_init(struct pt_outbox *box)
{
    *box = (struct pt_outbox){0};
    box->tail = &box->head;
}

static void drop_first(struct pt_outbox *box)
{
    struct pt_outbox_item *item = box->head;
    box->head = item->next;
    if (!box->head)
        box->tail = &box->head;
    box->bytes -= item->len;
    free(item);
}

void pt_outbox_fini(struct pt_outbox *box)
{
    while (box->head)
        drop_first(box);
}

const unsigned char *pt_outbox_add(struct pt_outbox *box, const void *frame, size_t n)
{
    struct pt_outbox_item *item = n < PT_FRAME_HEAD + 8 ? NULL : malloc(sizeof(*item) + n);
    if (!item)
        return NULL;
    item->next = NULL;
    item->seq = ++box->last;
    item->len = n;
    memcpy(item->data, frame, n);
    for (int i = 0; i < 8; i++)
        item->data[PT_FRAME_HEAD + i] = (unsigned char)(item->seq >> (56 - 8 * i));
    *box->tail = item;
    box->tail = &item->next;
    box->bytes += n;
    return item->data;
}

int pt_outbox_ack(struct pt_outbox *box, uint64_t seq)
{
    if (seq > box->last || seq < box->acked)
        return -1;
    box->acked = seq;
    while (box->head && box->head->seq <= seq)
        drop_first(box);
    return 0;
}

bool pt_outbox_empty(const struct pt_outbox *box)
{
    return !box->head;
}
