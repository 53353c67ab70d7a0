/* SPDX-License-Identifier: Apache-2.0 */
/* Units of several ranks are parted when they are dealt: from a bundle of those nothing is stolen later. */
#include "plan_state.h"

#include <stdlib.h>

/* The tests [0, n) of the piece, in one that borrows its strings. NULL: no memory. */
static struct pt_plan_piece *first_part(const struct pt_plan_piece *piece, uint32_t n)
{
    uint32_t nfiles = 0;
    for (uint32_t end = 0; end < n; end += piece->files[nfiles++].ntests)
        ;
    struct pt_plan_piece *part = malloc(sizeof(*part) + nfiles * sizeof(*part->files));
    if (!part)
        return NULL;
    *part = (struct pt_plan_piece){.line = piece->line,
                                   .files = (struct pt_bundle_file *)(part + 1),
                                   .tests = piece->tests,
                                   .nfiles = nfiles,
                                   .ntests = n,
                                   .seconds = piece->seconds,
                                   .bytes = (uint32_t)((uint64_t)piece->bytes * n / piece->ntests),
                                   .order = piece->order,
                                   .rank = piece->rank};
    for (uint32_t f = 0; f < nfiles; f++) {
        part->files[f] = piece->files[f];
        if (part->files[f].ntests > n)
            part->files[f].ntests = n;
        n -= part->files[f].ntests;
    }
    return part;
}

/* The piece without its first n tests. Its count is still the old one. */
static void cut_off(struct pt_plan *plan, struct pt_plan_piece *piece, struct pt_plan_piece *part)
{
    uint32_t n = part->ntests, gone = part->nfiles - 1;
    for (uint32_t i = 0; i < piece->ntests; i++) {
        struct test *test = &plan->tests[piece->tests[i].test];
        if (test->piece != piece) /* it runs again, in a piece of its own */
            continue;
        if (i < n)
            test->piece = part;
        else
            test->at -= n;
    }
    if (part->files[gone].ntests == piece->files[gone].ntests) {
        gone++;
    } else {
        piece->files[gone].tests += part->files[gone].ntests;
        piece->files[gone].ntests -= part->files[gone].ntests;
    }
    piece->files += gone;
    piece->nfiles -= gone;
    piece->tests += n;
    piece->bytes -= part->bytes;
}

static double work_in(const struct pt_plan *plan, const struct pt_plan_piece *piece, uint32_t from,
                      uint32_t to)
{
    double work = 0;
    for (uint32_t i = from; i < to; i++)
        work += pt_plan_test_work(plan, piece->tests[i].test);
    return work;
}

/* Where the first part ends that takes about so long; all tests: nowhere that is worth it. */
static uint32_t end_of_part(const struct pt_plan *plan, const struct pt_plan_piece *piece, double size)
{
    double work = 0;
    for (uint32_t i = 0; i < piece->ntests; i++) {
        if (i > 0 && work >= size && !plan->tests[piece->tests[i].test].joined)
            return work_in(plan, piece, i, piece->ntests) * 2 < size ? piece->ntests : i;
        work += pt_plan_test_work(plan, piece->tests[i].test);
    }
    return piece->ntests;
}

struct pt_plan_piece *pt_plan_split(struct pt_plan *plan, struct pt_plan_line *line, double size)
{
    struct pt_plan_pool *pool = &line->pool;
    struct pt_plan_piece *piece = pt_plan_is_group(line) && line->places > 1 ? pt_plan_pool_top(pool) : NULL;
    if (!piece || piece->alone || pt_plan_pool_weight(pool, piece) < 1.5 * size)
        return NULL;
    /* Each part begins its files anew. */
    double again = piece->seconds < 0 ? 0 : piece->seconds - work_in(plan, piece, 0, piece->ntests);
    again = again > 0 ? again : 0;
    double net = size - again > 2 * again ? size - again : 2 * again;
    uint32_t n = end_of_part(plan, piece, net), all = piece->ntests;
    struct pt_plan_piece *part = n < all ? first_part(piece, n) : NULL;
    if (!part)
        return NULL;
    bool known = piece->seconds >= 0;
    cut_off(plan, piece, part);
    part->seconds = known ? again + work_in(plan, part, 0, n) : -1;
    part->all = plan->pieces;
    plan->pieces = part;
    struct pt_plan_piece left = *piece;
    left.ntests = all - n;
    pt_plan_pool_shorten(pool, piece, all - n, known ? again + work_in(plan, &left, 0, all - n) : -1);
    return part;
}
