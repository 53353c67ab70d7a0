/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/outbox.h"

#include "common/err.h"
#include "common/log.h"
#include "remote/worker/spool.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY_MAX (4u << 20)  /* bytes in memory above which the disk is used */
#define READ_MAX   (12u << 20) /* and up to which it is read back: so much may be unacknowledged */
#define REFILL     (1u << 20)  /* bytes that are read back at a time */

struct pt_outbox_item {
    struct pt_outbox_item *next;
    uint64_t seq;
    size_t len;
    unsigned char data[];
};

/* --- lists --- */

static void list_init(struct pt_outbox_list *list)
{
    *list = (struct pt_outbox_list){.tail = &list->head};
}

static void list_add(struct pt_outbox_list *list, struct pt_outbox_item *item)
{
    item->next = NULL;
    *list->tail = item;
    list->tail = &item->next;
    list->bytes += item->len;
}

static struct pt_outbox_item *list_take(struct pt_outbox_list *list)
{
    struct pt_outbox_item *item = list->head;
    list->head = item->next;
    if (!list->head)
        list->tail = &list->head;
    list->bytes -= item->len;
    return item;
}

static void list_fini(struct pt_outbox_list *list)
{
    while (list->head)
        free(list_take(list));
}

static struct pt_outbox_item *make_item(const void *frame, size_t n)
{
    struct pt_outbox_item *item = n < PT_FRAME_HEAD + 8 ? NULL : malloc(sizeof(*item) + n);
    if (!item)
        return NULL;
    item->len = n;
    memcpy(item->data, frame, n);
    return item;
}

/* --- life --- */

void pt_outbox_init(struct pt_outbox *box)
{
    *box = (struct pt_outbox){0};
    list_init(&box->list);
    list_init(&box->late);
}

void pt_outbox_fini(struct pt_outbox *box)
{
    list_fini(&box->list);
    list_fini(&box->late);
    pt_spool_destroy(box->spool);
    box->spool = NULL;
    box->next = NULL;
}

void pt_outbox_spool(struct pt_outbox *box, const char *dir)
{
    box->dir = dir;
}

/* --- in --- */

/* True when the frame is on the disk now. */
static bool spool(struct pt_outbox *box, const struct pt_outbox_item *item)
{
    struct pt_err err = PT_ERR_INIT;
    if (!box->dir || box->late.head || (pt_spool_empty(box->spool) && box->list.bytes < MEMORY_MAX))
        return false;
    if (!box->spool && !(box->spool = pt_spool_create(box->dir, &err))) {
        pt_warn("reports wait in memory: %s", err.msg);
        box->dir = NULL; /* once is enough */
        return false;
    }
    return pt_spool_add(box->spool, item->data, item->len) == 0;
}

int pt_outbox_add(struct pt_outbox *box, const void *frame, size_t n)
{
    struct pt_outbox_item *item = make_item(frame, n);
    if (!item)
        return -1;
    item->seq = ++box->last;
    for (int i = 0; i < 8; i++)
        item->data[PT_FRAME_HEAD + i] = (unsigned char)(item->seq >> (56 - 8 * i));
    if (spool(box, item)) {
        free(item);
    } else if (box->late.head || !pt_spool_empty(box->spool)) {
        list_add(&box->late, item);
    } else {
        list_add(&box->list, item);
        box->next = box->next ? box->next : item;
    }
    return 0;
}

/* --- out --- */

static void add_read(struct pt_outbox *box, struct pt_outbox_item *item)
{
    list_add(&box->list, item);
    box->next = box->next ? box->next : item;
}

/* From the disk to the memory. */
static int read_back(struct pt_outbox *box, struct pt_err *err)
{
    struct pt_buf frames = {0};
    int rc = pt_spool_take(box->spool, &frames, REFILL, err);
    for (size_t used = 0; rc == 0 && used < frames.len;) {
        struct pt_reader r = {.p = frames.data + used, .left = frames.len - used};
        size_t n = 4 + (size_t)pt_get_u32(&r);
        pt_get_u8(&r);
        uint64_t seq = pt_get_u64(&r);
        struct pt_outbox_item *item = make_item(frames.data + used, n);
        if (!item) {
            rc = pt_err_set(err, "out of memory");
            break;
        }
        item->seq = seq;
        add_read(box, item);
        used += n;
    }
    pt_buf_fini(&frames);
    return rc;
}

/* All of the memory was said: bring what comes next. */
static int refill(struct pt_outbox *box, struct pt_err *err)
{
    if (!pt_spool_empty(box->spool))
        return box->list.bytes < READ_MAX ? read_back(box, err) : 0;
    while (box->late.head)
        add_read(box, list_take(&box->late));
    return 0;
}

int pt_outbox_next(struct pt_outbox *box, const unsigned char **frame, size_t *n, struct pt_err *err)
{
    if (!box->next && refill(box, err) < 0)
        return -1;
    struct pt_outbox_item *item = box->next;
    if (!item)
        return 0;
    box->next = item->next;
    box->said = item->seq > box->said ? item->seq : box->said;
    *frame = item->data;
    *n = item->len;
    return 1;
}

void pt_outbox_rewind(struct pt_outbox *box)
{
    box->next = box->list.head;
}

int pt_outbox_ack(struct pt_outbox *box, uint64_t seq)
{
    if (seq > box->said || seq < box->acked)
        return -1;
    box->acked = seq;
    while (box->list.head && box->list.head->seq <= seq) {
        struct pt_outbox_item *item = list_take(&box->list);
        box->next = box->next == item ? box->list.head : box->next;
        free(item);
    }
    return 0;
}

bool pt_outbox_empty(const struct pt_outbox *box)
{
    return !box->list.head && !box->late.head && pt_spool_empty(box->spool);
}

bool pt_outbox_waits(const struct pt_outbox *box)
{
    return box->next || box->late.head || !pt_spool_empty(box->spool);
}

size_t pt_outbox_bytes(const struct pt_outbox *box)
{
    return box->list.bytes + box->late.bytes;
}
