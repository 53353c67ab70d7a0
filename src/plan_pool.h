/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The files that wait to be dealt for the first time, longest first. Part of plan.c. */
#include "common/message.h"

struct pt_err;

/* A test file, or a part of one whose names would not fit one message. */
struct pt_plan_file {
    char *path;
    struct pt_bundle_test *tests;
    uint32_t n;
    double seconds; /* < 0: unknown */
    size_t bytes;   /* of its encoding, about */
    uint64_t order; /* of arrival */
    struct pt_plan_file *next;
    struct pt_plan_file *all; /* every file ever added */
};

/* Zero-initialise. Sums are of weights: seconds of known files, tests of unknown ones. */
struct pt_plan_pool {
    struct pt_plan_file **heap;
    size_t n, cap;
    struct pt_plan_file *all;
    uint64_t added;
    double seconds, seconds_left; /* known files: ever added, still here */
    uint64_t known_tests;
    uint64_t unknown_tests, unknown_left;
};

/* -1 when memory ends; then nothing was added. */
int pt_plan_pool_add(struct pt_plan_pool *pool, const char *path, const struct pt_bundle_test *tests,
                     uint32_t n, double seconds);
/* Take the files for the next bundle, linked by next: from the longest on, joined up to about `size`. */
struct pt_plan_file *pt_plan_pool_take(struct pt_plan_pool *pool, double size);
/* Put what take gave back; cannot fail. */
void pt_plan_pool_put(struct pt_plan_pool *pool, struct pt_plan_file *files);

/* Work in seconds, or in tests when nothing is known: of a file, of all files ever, of those still here. */
double pt_plan_pool_weight(const struct pt_plan_pool *pool, const struct pt_plan_file *file);
double pt_plan_pool_total(const struct pt_plan_pool *pool);
double pt_plan_pool_left(const struct pt_plan_pool *pool);

void pt_plan_pool_fini(struct pt_plan_pool *pool);
