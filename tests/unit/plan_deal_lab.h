/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests share that deal a plan's bundles by hand, one after the other. */
#include "plan_lab.h"

static inline struct pt_plan *plan_from(struct pt_plan_spec spec)
{
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    cr_assert_not_null(plan);
    return plan;
}

static inline void add(struct pt_plan *plan, struct pt_plan_unit unit, const char *path, uint32_t first,
                       uint32_t n, double seconds)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(add_unit(plan, unit, path, first, n, seconds, &err), 0, "%s", err.msg);
}

/* The next bundle, and its host; NULL for none. */
static inline const struct pt_bundle *next(struct pt_plan *plan, uint32_t *host)
{
    struct pt_plan_deal deal;
    if (pt_plan_next(plan, &deal, NULL) <= 0)
        return NULL;
    if (host)
        *host = deal.host;
    return deal.bundle;
}

static inline uint32_t first_test(const struct pt_bundle *bundle)
{
    return bundle ? test_at(bundle, 0)->test : PT_NONE;
}

static inline void finish(struct pt_plan *plan, uint32_t host, const struct pt_bundle *bundle)
{
    for (uint32_t i = 0; i < count_tests(bundle); i++)
        pt_plan_told(plan, test_at(bundle, i)->test);
    cr_assert(pt_plan_done(plan, host, bundle->bundle, bundle->attempt, NULL, NULL));
}
