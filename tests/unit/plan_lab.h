/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of the plan share: random numbers that are the same everywhere, and units to add. */
#include "common/err.h"
#include "plan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;

static inline uint32_t pick(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static inline const struct pt_bundle_test *test_at(const struct pt_bundle *bundle, uint32_t at)
{
    for (uint32_t f = 0; f < bundle->nfiles; f++) {
        if (at < bundle->files[f].ntests)
            return &bundle->files[f].tests[at];
        at -= bundle->files[f].ntests;
    }
    return NULL;
}

static inline uint32_t count_tests(const struct pt_bundle *bundle)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < bundle->nfiles; f++)
        n += bundle->files[f].ntests;
    return n;
}

static inline struct pt_plan_unit plain_unit(void)
{
    return (struct pt_plan_unit){.seconds = -1, .host = PT_NONE, .rank = PT_NONE};
}

/* A unit of n tests of one file, numbered from first on, each an atom. seconds: of one test, < 0: unknown. */
static inline int add_unit(struct pt_plan *plan, struct pt_plan_unit unit, const char *path, uint32_t first,
                           uint32_t n, double seconds, struct pt_err *err)
{
    struct pt_bundle_test *tests = calloc(n, sizeof(*tests));
    uint32_t *atoms = calloc(n, sizeof(*atoms));
    char(*ids)[48] = calloc(n, sizeof(*ids));
    for (uint32_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%.30s::t%u", path, first + i);
        tests[i] = (struct pt_bundle_test){.test = first + i, .nodeid = ids[i]};
        atoms[i] = i;
    }
    struct pt_bundle_file file = {.path = (char *)(uintptr_t)path, .tests = tests, .ntests = n};
    unit.files = &file;
    unit.nfiles = 1;
    unit.atoms = unit.atoms ? unit.atoms : atoms;
    unit.seconds = seconds < 0 ? -1 : seconds * n;
    int rc = pt_plan_add(plan, &unit, err);
    free(ids);
    free(atoms);
    free(tests);
    return rc;
}
