/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Is the verdict that is made again from a ledger the one that the run had? */
#include "ledger_lab.h"
#include "recorded.h"

static inline void check_same(const struct pt_verdict *want, const struct pt_verdict *got)
{
    struct pt_count a, b;
    size_t i = 0;
    for (; pt_verdict_get_count(want, i, &a); i++) {
        cr_assert(pt_verdict_get_count(got, i, &b), "nothing is %s", a.name);
        cr_expect_str_eq(a.name, b.name);
        cr_expect_eq(a.n, b.n, "%s: want %u, got %u", a.name, a.n, b.n);
    }
    cr_expect_not(pt_verdict_get_count(got, i, &b), "something is %s", b.name);
    for (unsigned outcome = 0; outcome < PT_OUTCOMES; outcome++)
        cr_expect_eq(pt_verdict_total(want, outcome), pt_verdict_total(got, outcome), "%s: want %u, got %u",
                     pt_outcome_name(outcome), pt_verdict_total(want, outcome),
                     pt_verdict_total(got, outcome));
    cr_expect_eq(pt_verdict_tests(want), pt_verdict_tests(got));
    cr_expect_eq(pt_verdict_done(want), pt_verdict_done(got));
    cr_expect(pt_verdict_sum_ok(got));
}

static inline void check_recorded(struct pt_ledger *l, const struct pt_verdict *want)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_verdict *got = pt_recorded_verdict(l, 0, &err);
    cr_assert_not_null(got, "%s", err.msg);
    check_same(want, got);
    pt_verdict_destroy(got);
}
