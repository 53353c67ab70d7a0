/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of tests of several ranks share. */
#include "plan_deal_lab.h"

static inline struct pt_plan *plan_of(uint32_t hosts, enum pt_schedule schedule)
{
    return plan_from((struct pt_plan_spec){
        .hosts = hosts, .bundles_per_worker = 10, .schedule = schedule, .speculate = true});
}

static inline struct pt_plan_unit of_ranks(uint32_t ranks)
{
    struct pt_plan_unit unit = plain_unit();
    unit.ranks = ranks;
    return unit;
}
