/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/queue.h"

#include "common/message.h"

#include <stdlib.h>
#include <string.h>

void pt_queue_init(struct pt_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
}

void pt_queue_fini(struct pt_queue *queue)
{
    while (queue->head) {
        struct pt_queue_item *next = queue->head->next;
        free(queue->head);
        queue->head = next;
    }
    queue->tail = &queue->head;
}

static struct pt_queue_item *make_item(const struct pt_bundle *bundle)
{
    struct pt_buf frame = {0};
    pt_bundle_encode(bundle, PT_L_BUNDLE, &frame);
    struct pt_queue_item *item = frame.bad ? NULL : malloc(sizeof(*item) + frame.len);
    if (item) {
        *item = (struct pt_queue_item){.bundle = bundle->bundle,
                                       .attempt = bundle->attempt,
                                       .rank = bundle->rank,
                                       .ranks = bundle->ranks,
                                       .spread = bundle->nspread > 0,
                                       .len = frame.len};
        for (uint32_t i = 0; i < bundle->nfiles; i++)
            item->ntests += bundle->files[i].ntests;
        memcpy(item->frame, frame.data, frame.len);
    }
    pt_buf_fini(&frame);
    return item;
}

int pt_queue_add(struct pt_queue *queue, const struct pt_bundle *bundle)
{
    struct pt_queue_item *item = make_item(bundle);
    if (!item)
        return -1;
    *queue->tail = item;
    queue->tail = &item->next;
    return 0;
}

int pt_queue_back(struct pt_queue *queue, const struct pt_bundle *bundle)
{
    struct pt_queue_item *item = make_item(bundle);
    if (!item)
        return -1;
    item->next = queue->head;
    if (!item->next)
        queue->tail = &item->next;
    queue->head = item;
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

struct pt_queue_item *pt_queue_take(struct pt_queue *queue, uint32_t rank)
{
    for (struct pt_queue_item **at = &queue->head; *at; at = &(*at)->next)
        if ((*at)->ranks <= 1 && ((*at)->rank == PT_NONE || (*at)->rank == rank))
            return unlink_at(queue, at);
    return NULL;
}

struct pt_queue_item *pt_queue_take_ranks(struct pt_queue *queue, uint32_t ranks)
{
    for (struct pt_queue_item **at = &queue->head; *at; at = &(*at)->next)
        if ((*at)->ranks == ranks && !(*at)->spread)
            return unlink_at(queue, at);
    return NULL;
}

uint32_t pt_queue_largest(const struct pt_queue *queue, uint32_t below)
{
    uint32_t most = 0;
    for (const struct pt_queue_item *item = queue->head; item; item = item->next)
        if (item->ranks > 1 && !item->spread && item->ranks < below && item->ranks > most)
            most = item->ranks;
    return most;
}

uint32_t pt_queue_count(const struct pt_queue *queue, uint32_t ranks)
{
    uint32_t n = 0;
    for (const struct pt_queue_item *item = queue->head; item; item = item->next)
        n += item->ranks == ranks && !item->spread;
    return n;
}

const struct pt_queue_item *pt_queue_spread(const struct pt_queue *queue, const struct pt_queue_item *behind)
{
    const struct pt_queue_item *item = behind ? behind->next : queue->head;
    while (item && !item->spread)
        item = item->next;
    return item;
}

static struct pt_queue_item **find(struct pt_queue *queue, uint32_t bundle)
{
    for (struct pt_queue_item **at = &queue->head; *at; at = &(*at)->next)
        if ((*at)->bundle == bundle)
            return at;
    return NULL;
}

struct pt_queue_item *pt_queue_remove(struct pt_queue *queue, uint32_t bundle)
{
    struct pt_queue_item **at = find(queue, bundle);
    return at ? unlink_at(queue, at) : NULL;
}

const struct pt_queue_item *pt_queue_pinned(const struct pt_queue *queue, uint32_t rank)
{
    const struct pt_queue_item *item = queue->head;
    while (item && (item->ranks > 1 || item->rank != rank))
        item = item->next;
    return item;
}

static int compare(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x < y ? -1 : x > y;
}

/* Keep only what is not among the sorted `asked`; what is goes to `given`. */
static uint32_t part(struct pt_bundle *bundle, const struct pt_steal *asked, uint32_t *given)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < bundle->nfiles; i++) {
        struct pt_bundle_file *file = &bundle->files[i];
        uint32_t kept = 0;
        for (uint32_t k = 0; k < file->ntests; k++) {
            struct pt_bundle_test test = file->tests[k];
            if (bsearch(&test.test, asked->tests, asked->n, sizeof(*asked->tests), compare)) {
                given[n++] = test.test;
                free(test.nodeid);
            } else {
                file->tests[kept++] = test;
            }
        }
        file->ntests = kept;
    }
    return n;
}

/* A file without tests is not imported for nothing. */
static void drop_empty_files(struct pt_bundle *bundle)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < bundle->nfiles; i++) {
        if (bundle->files[i].ntests) {
            bundle->files[kept++] = bundle->files[i];
            continue;
        }
        free(bundle->files[i].path);
        free(bundle->files[i].tests);
    }
    bundle->nfiles = kept;
}

int pt_queue_open(const struct pt_queue_item *item, struct pt_bundle *bundle)
{
    struct pt_reader body = {.p = item->frame + PT_FRAME_HEAD, .left = item->len - PT_FRAME_HEAD};
    return pt_bundle_decode(&body, bundle, NULL);
}

int pt_queue_steal(struct pt_queue *queue, struct pt_steal *steal, const struct pt_queue_item **left)
{
    struct pt_queue_item **at = find(queue, steal->bundle);
    if (!at)
        return 0;
    struct pt_bundle bundle;
    struct pt_queue_item *item = NULL;
    if (pt_queue_open(*at, &bundle) < 0)
        return -1;
    uint32_t *given = calloc((*at)->ntests + 1, sizeof(*given));
    qsort(steal->tests, steal->n, sizeof(*steal->tests), compare);
    uint32_t n = given ? part(&bundle, steal, given) : 0;
    drop_empty_files(&bundle);
    item = given ? make_item(&bundle) : NULL;
    pt_bundle_fini(&bundle);
    if (!item) {
        free(given);
        return -1;
    }
    item->next = (*at)->next;
    if (!item->next)
        queue->tail = &item->next;
    free(*at);
    *at = item;
    free(steal->tests);
    steal->tests = given;
    steal->n = n;
    *left = item;
    return 1;
}
