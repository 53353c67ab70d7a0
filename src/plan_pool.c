/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_pool.h"

#include <stdlib.h>
#include <string.h>

#define JOIN_BYTES (PT_MAX_FRAME / 4) /* small pieces are joined up to this */

/* Should a be dealt before b? */
static bool is_before(const struct pt_plan_pool *pool, const struct pt_plan_piece *a,
                      const struct pt_plan_piece *b)
{
    if (pool->in_order)
        return a->order < b->order;
    if ((a->seconds < 0) != (b->seconds < 0))
        return a->seconds < 0;
    double wa = a->seconds < 0 ? a->ntests : pt_plan_piece_seconds(a);
    double wb = b->seconds < 0 ? b->ntests : pt_plan_piece_seconds(b);
    if (wa > wb || wa < wb)
        return wa > wb;
    return a->order < b->order;
}

static void heap_push(struct pt_plan_pool *pool, struct pt_plan_piece *piece)
{
    size_t i = pool->n++;
    while (i > 0 && is_before(pool, piece, pool->heap[(i - 1) / 2])) {
        pool->heap[i] = pool->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    pool->heap[i] = piece;
}

/* Put this one where it belongs, below a top that is not one any more. */
static void heap_sink(struct pt_plan_pool *pool, struct pt_plan_piece *last)
{
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= pool->n)
            break;
        if (child + 1 < pool->n && is_before(pool, pool->heap[child + 1], pool->heap[child]))
            child++;
        if (!is_before(pool, pool->heap[child], last))
            break;
        pool->heap[i] = pool->heap[child];
        i = child;
    }
    pool->heap[i] = last;
}

static void heap_pop(struct pt_plan_pool *pool)
{
    struct pt_plan_piece *last = pool->heap[--pool->n];
    heap_sink(pool, last);
}

static struct pt_plan_piece *heap_top(struct pt_plan_pool *pool)
{
    while (pool->n > 0 && pool->heap[0]->taken)
        heap_pop(pool);
    return pool->n > 0 ? pool->heap[0] : NULL;
}

int pt_plan_pool_reserve(struct pt_plan_pool *pool, size_t more)
{
    if (pool->cap - pool->n >= more)
        return 0;
    size_t cap = pool->n + more > 2 * pool->cap ? pool->n + more : 2 * pool->cap;
    struct pt_plan_piece **heap = realloc(pool->heap, cap * sizeof(struct pt_plan_piece *));
    if (!heap)
        return -1;
    pool->heap = heap;
    pool->cap = cap;
    return 0;
}

static bool share_a_file(const struct pt_plan_piece *a, const struct pt_plan_piece *b)
{
    const char *path = a->files[a->nfiles - 1].path;
    return path == b->files[0].path || strcmp(path, b->files[0].path) == 0;
}

static void count_in(struct pt_plan_pool *pool, const struct pt_plan_piece *piece)
{
    pool->tests += piece->ntests;
    if (piece->seconds < 0)
        pool->unknown_left += piece->ntests;
    else
        pool->seconds_left += pt_plan_piece_seconds(piece);
}

static void count_out(struct pt_plan_pool *pool, const struct pt_plan_piece *piece)
{
    pool->tests -= piece->ntests;
    if (piece->seconds < 0)
        pool->unknown_left -= piece->ntests;
    else
        pool->seconds_left -= pt_plan_piece_seconds(piece);
}

void pt_plan_pool_add(struct pt_plan_pool *pool, struct pt_plan_piece *piece)
{
    struct pt_plan_piece *last = pool->last;
    if (last && !last->taken && share_a_file(last, piece)) {
        piece->before = last;
        last->after = piece;
    }
    pool->last = piece;
    pool->live++;
    if (piece->seconds < 0)
        pool->unknown_tests += piece->ntests;
    else
        pool->seconds += pt_plan_piece_seconds(piece);
    count_in(pool, piece);
    heap_push(pool, piece);
}

void pt_plan_pool_drop(struct pt_plan_pool *pool, struct pt_plan_piece *piece)
{
    piece->taken = true;
    if (piece->before)
        piece->before->after = piece->after;
    if (piece->after)
        piece->after->before = piece->before;
    pool->live--;
    count_out(pool, piece);
    if (pool->live == 0)
        pool->seconds_left = 0; /* no rest of rounding */
}

struct pt_plan_piece *pt_plan_pool_top(struct pt_plan_pool *pool)
{
    return heap_top(pool);
}

void pt_plan_pool_shorten(struct pt_plan_pool *pool, struct pt_plan_piece *top, uint32_t tests,
                          double seconds)
{
    count_out(pool, top);
    top->ntests = tests;
    top->seconds = seconds;
    count_in(pool, top);
    heap_sink(pool, top);
}

/* Merge sort by order of arrival. */
static struct pt_plan_piece *sorted(struct pt_plan_piece *pieces)
{
    if (!pieces || !pieces->next)
        return pieces;
    struct pt_plan_piece *middle = pieces;
    for (struct pt_plan_piece *end = pieces->next; end && end->next; end = end->next->next)
        middle = middle->next;
    struct pt_plan_piece *b = middle->next;
    middle->next = NULL;
    struct pt_plan_piece *a = sorted(pieces);
    b = sorted(b);
    struct pt_plan_piece *first = NULL;
    for (struct pt_plan_piece **end = &first; a || b; end = &(*end)->next) {
        struct pt_plan_piece **least = !b || (a && a->order < b->order) ? &a : &b;
        *end = *least;
        *least = (*least)->next;
    }
    return first;
}

struct joining {
    struct pt_plan_pool *pool;
    struct pt_plan_piece *pieces;
    struct pt_plan_piece *up, *down; /* neighbours of what was joined */
    double size, sum;
    size_t bytes;
};

static void join(struct joining *j, struct pt_plan_piece *piece)
{
    pt_plan_pool_drop(j->pool, piece);
    piece->next = j->pieces;
    j->pieces = piece;
    j->sum += pt_plan_pool_weight(j->pool, piece);
    j->bytes += piece->bytes;
}

static bool can_join(const struct joining *j, const struct pt_plan_piece *piece)
{
    return piece && piece->joins && piece->line == j->pieces->line &&
           j->sum + pt_plan_pool_weight(j->pool, piece) / 2 <= j->size &&
           j->bytes + piece->bytes <= JOIN_BYTES;
}

/* One more piece into the bundle, if one is small enough. */
static bool join_next(struct joining *j)
{
    struct pt_plan_piece *piece;
    if (!can_join(j, j->up))
        j->up = NULL;
    if (!can_join(j, j->down))
        j->down = NULL;
    if (j->up) {
        piece = j->up;
        j->up = piece->after;
    } else if (j->down) {
        piece = j->down;
        j->down = piece->before;
    } else {
        piece = heap_top(j->pool);
        if (!can_join(j, piece))
            return false;
        j->up = piece->after;
        j->down = piece->before;
    }
    join(j, piece);
    return true;
}

struct pt_plan_piece *pt_plan_pool_take(struct pt_plan_pool *pool, double size)
{
    struct joining j = {.pool = pool, .size = size};
    struct pt_plan_piece *first = heap_top(pool);
    if (!first)
        return NULL;
    join(&j, first);
    if (!pool->in_order) {
        j.up = first->after;
        j.down = first->before;
    }
    if (first->joins)
        while (join_next(&j))
            ;
    return sorted(j.pieces);
}

double pt_plan_pool_weight(const struct pt_plan_pool *pool, const struct pt_plan_piece *piece)
{
    return piece->seconds < 0 ? piece->ntests * pt_plan_known_mean(pool->known)
                              : pt_plan_piece_seconds(piece);
}

double pt_plan_pool_total(const struct pt_plan_pool *pool)
{
    return pool->seconds + (double)pool->unknown_tests * pt_plan_known_mean(pool->known);
}

double pt_plan_pool_left(const struct pt_plan_pool *pool)
{
    return pool->seconds_left + (double)pool->unknown_left * pt_plan_known_mean(pool->known);
}

void pt_plan_pool_fini(struct pt_plan_pool *pool)
{
    free(pool->heap);
    *pool = (struct pt_plan_pool){0};
}
