/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of tests that several hosts run together share. */
#include "plan_ranks_lab.h"

/* Hosts with so many slots, all up, all reaching each other. */
static inline struct pt_plan *plan_with(const uint32_t *slots, uint32_t n, bool across)
{
    struct pt_plan_spec spec = {.hosts = n, .bundles_per_worker = 10, .across = across, .speculate = true};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    bool may[8] = {true, true, true, true, true, true, true, true};
    cr_assert_not_null(plan);
    for (uint32_t i = 0; i < n; i++)
        pt_plan_host(plan, i, slots[i]);
    pt_plan_together(plan, may, n);
    return plan;
}

static inline struct pt_plan *four_and_four(void)
{
    return plan_with((uint32_t[]){4, 4}, 2, false);
}

static inline struct pt_plan_unit alone(struct pt_plan_unit unit)
{
    unit.alone = true;
    return unit;
}

static inline void add_light(struct pt_plan *plan, uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++)
        add(plan, alone(plain_unit()), "light.py", i, 1, 1);
}

/* "0:4 1:2", or of a bundle that one host has "0". */
static inline const char *whom(const struct pt_bundle *b, uint32_t host)
{
    static char words[128];
    size_t n = 0;
    if (b && b->nspread == 0)
        snprintf(words, sizeof(words), "%u", host);
    for (uint32_t i = 0; b && i < b->nspread; i++)
        n += (size_t)snprintf(words + n, sizeof(words) - n, "%s%u:%u", i ? " " : "", b->spread[i].host,
                              b->spread[i].ranks);
    return b ? words : "nobody";
}

static inline const char *next_whom(struct pt_plan *plan)
{
    uint32_t host = PT_NONE;
    const struct pt_bundle *b = next(plan, &host);
    return whom(b, host);
}
