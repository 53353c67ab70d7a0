/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The units that wait to be dealt for the first time, longest first. Part of plan.c. */
#include "plan.h"

struct pt_plan_line;

/* A unit, or a part of one whose names would not fit one message. One block holds it and all its strings but
 * a path that the piece before it has too. */
struct pt_plan_piece {
    struct pt_plan_line *line; /* what its host must be like */
    struct pt_bundle_file *files;
    struct pt_bundle_test *tests; /* of all files */
    uint32_t nfiles, ntests;
    double seconds; /* < 0: unknown */
    uint32_t bytes; /* of its encoding, about */
    uint32_t order; /* of arrival */
    uint32_t rank;  /* or PT_NONE */
    bool alone;     /* is a bundle of its own and stays whole */
    bool joins;     /* may be in a bundle with others */
    bool taken;
    struct pt_plan_piece *next; /* in its bundle */
    struct pt_plan_piece *all;  /* every piece ever made */
    /* Its neighbours that are still here: they came just before and after it and share a file with it. */
    struct pt_plan_piece *before, *after;
};

/* How many of the unit's tests, from that one on, one message can hold; a border of atoms if there is one. */
uint32_t pt_plan_piece_fits(const struct pt_plan_unit *unit, uint32_t from, bool loose);
/* A copy of n of the unit's tests from that one on; older: the piece made last, or NULL. NULL: no memory. */
struct pt_plan_piece *pt_plan_piece_create(const struct pt_plan_unit *unit, uint32_t from, uint32_t n,
                                           const struct pt_plan_piece *older);
/* May test i of the unit not be parted from the one before it? loose: each is an atom. */
bool pt_plan_unit_joined(const struct pt_plan_unit *unit, uint32_t i, bool loose);
/* That test of the piece, in a piece of its own that borrows its strings. NULL: no memory. */
struct pt_plan_piece *pt_plan_piece_of_one(const struct pt_plan_piece *piece, uint32_t at);

/* What is known of durations in the whole plan. */
struct pt_plan_known {
    double seconds;
    uint64_t tests;
};
double pt_plan_known_mean(const struct pt_plan_known *known); /* of a test; 1 when nothing is known */

/* Zero-initialise but for known and in_order. */
struct pt_plan_pool {
    const struct pt_plan_known *known;
    bool in_order; /* first come, first dealt */
    struct pt_plan_piece **heap;
    size_t n, cap;  /* of the heap; some in it may be taken */
    size_t live;    /* not taken */
    uint64_t tests; /* of them */
    struct pt_plan_piece *last;
    double seconds, seconds_left; /* known pieces: ever added, still here */
    uint64_t unknown_tests, unknown_left;
};

/* Room for so many more; -1 when memory ends. */
int pt_plan_pool_reserve(struct pt_plan_pool *pool, size_t more);
void pt_plan_pool_add(struct pt_plan_pool *pool, struct pt_plan_piece *piece);
/* Take the pieces for the next bundle, linked by next, in the order they came: the longest, joined up to
 * about `size` first with its neighbours, then with the longest of the others. */
struct pt_plan_piece *pt_plan_pool_take(struct pt_plan_pool *pool, double size);
/* The piece that comes next, NULL: none. It may get shorter: tests, seconds. */
struct pt_plan_piece *pt_plan_pool_top(struct pt_plan_pool *pool);
void pt_plan_pool_shorten(struct pt_plan_pool *pool, struct pt_plan_piece *top, uint32_t tests,
                          double seconds);
/* This one will not be dealt. */
void pt_plan_pool_drop(struct pt_plan_pool *pool, struct pt_plan_piece *piece);

/* Work in seconds, or in tests when nothing is known: of a piece, of all ever, of those still here. */
double pt_plan_pool_weight(const struct pt_plan_pool *pool, const struct pt_plan_piece *piece);
double pt_plan_pool_total(const struct pt_plan_pool *pool);
double pt_plan_pool_left(const struct pt_plan_pool *pool);
double pt_plan_piece_seconds(const struct pt_plan_piece *piece); /* of a known one */

void pt_plan_pool_fini(struct pt_plan_pool *pool);
