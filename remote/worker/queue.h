/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bundles that no rank and no group has yet, as the frames that bring them; first in, first out. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_bundle;
struct pt_steal;

struct pt_queue_item {
    struct pt_queue_item *next;
    uint32_t bundle, attempt, rank, ranks, ntests;
    bool spread; /* over several hosts */
    size_t len;
    unsigned char frame[];
};

struct pt_queue {
    struct pt_queue_item *head, **tail;
};

void pt_queue_init(struct pt_queue *queue);
void pt_queue_fini(struct pt_queue *queue);
/* Keeps the bundle as a PT_L_BUNDLE frame. -1 when memory ends. */
int pt_queue_add(struct pt_queue *queue, const struct pt_bundle *bundle);
/* The same, as the first of all: it was taken before. */
int pt_queue_back(struct pt_queue *queue, const struct pt_bundle *bundle);
/* The first one that this rank may run, off the queue: the caller frees it. NULL when there is none. Those
 * for several ranks are for none. */
struct pt_queue_item *pt_queue_take(struct pt_queue *queue, uint32_t rank);
/* The first one for so many ranks (more than 1) of this host, off the queue: the caller frees it. NULL when
 * there is none. */
struct pt_queue_item *pt_queue_take_ranks(struct pt_queue *queue, uint32_t ranks);
/* The most ranks of this host, below that number (and above 1), that a bundle waits for; 0: none does. */
uint32_t pt_queue_largest(const struct pt_queue *queue, uint32_t below);
/* How many bundles for so many ranks of this host wait. */
uint32_t pt_queue_count(const struct pt_queue *queue, uint32_t ranks);
/* The bundle that the item brings; -1 when it is malformed or memory ends. */
int pt_queue_open(const struct pt_queue_item *item, struct pt_bundle *bundle);
/* The first one over several hosts behind that one (NULL: of all); borrowed, NULL when there is none. */
const struct pt_queue_item *pt_queue_spread(const struct pt_queue *queue, const struct pt_queue_item *behind);
/* Take one out by its number: the caller frees it. NULL when it is not there. */
struct pt_queue_item *pt_queue_remove(struct pt_queue *queue, uint32_t bundle);
/* The first one that only this rank may run (PT_NONE: that any may run); borrowed, NULL when there is none.
 * Those for several ranks are left out. */
const struct pt_queue_item *pt_queue_pinned(const struct pt_queue *queue, uint32_t rank);
/* Take tests out of a bundle that waits. 1: steal->n and steal->tests are now those that it had, and *left is
 * what is left of it, still waiting; 0 it is not there; -1 no memory, nothing changed. */
int pt_queue_steal(struct pt_queue *queue, struct pt_steal *steal, const struct pt_queue_item **left);
