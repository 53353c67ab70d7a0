/* SPDX-License-Identifier: Apache-2.0 */
#include "verdict.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct pt_verdict *make(uint32_t tests)
{
    struct pt_verdict *v = pt_verdict_create(NULL);
    for (uint32_t i = 0; i < tests; i++)
        cr_assert_eq(pt_verdict_add_test(v), i);
    return v;
}

static enum pt_counted set(struct pt_verdict *v, uint32_t test, uint32_t attempt, unsigned outcome)
{
    return pt_verdict_set(v, test, attempt, outcome, NULL, 0);
}

static int exit_code(const struct pt_verdict *v)
{
    struct pt_end end = {0};
    return pt_verdict_exit_code(v, &end);
}

Test(verdict, counts_a_report_once)
{
    struct pt_verdict *v = make(2);
    cr_assert_eq(set(v, 0, 1, PT_OUTCOME_PASSED), PT_COUNTED_FIRST);
    cr_assert_eq(set(v, 0, 1, PT_OUTCOME_PASSED), PT_COUNTED_NOT);
    cr_assert_eq(pt_verdict_count_of(v, "passed"), 1);
    cr_assert_eq(pt_verdict_total(v, PT_OUTCOME_PASSED), 1);
    cr_assert_eq(pt_verdict_done(v), 1);
    cr_assert_eq(pt_verdict_next_missing(v, 0), 1);
    cr_assert_eq(pt_verdict_outcome(v, 1), PT_OUTCOME_NONE);
    cr_assert(pt_verdict_sum_ok(v));
    pt_verdict_destroy(v);
}

Test(verdict, the_gravest_counts_whatever_the_order)
{
    for (unsigned a = 1; a < PT_OUTCOMES; a++) {
        for (unsigned b = 1; b < PT_OUTCOMES; b++) {
            struct pt_verdict *v = make(1);
            set(v, 0, 1, a);
            cr_assert_eq(set(v, 0, 1, b), b > a ? PT_COUNTED_INSTEAD : PT_COUNTED_NOT);
            cr_assert_eq(pt_verdict_outcome(v, 0), a > b ? a : b);
            cr_assert_eq(pt_verdict_count_of(v, pt_outcome_name(a > b ? a : b)), 1);
            if (a != b)
                cr_assert_eq(pt_verdict_count_of(v, pt_outcome_name(a < b ? a : b)), 0);
            cr_assert(pt_verdict_sum_ok(v));
            pt_verdict_destroy(v);
        }
    }
}

Test(verdict, a_late_report_of_an_older_attempt_does_not_replace)
{
    struct pt_verdict *v = make(1);
    cr_assert_eq(set(v, 0, 2, PT_OUTCOME_PASSED), PT_COUNTED_FIRST);
    cr_assert_eq(set(v, 0, 1, PT_OUTCOME_CRASHED), PT_COUNTED_NOT);
    cr_assert_eq(pt_verdict_outcome(v, 0), PT_OUTCOME_PASSED);
    pt_verdict_destroy(v);
}

Test(verdict, refuses_what_is_no_test_or_outcome)
{
    struct pt_verdict *v = make(1);
    cr_assert_eq(set(v, 1, 1, PT_OUTCOME_PASSED), PT_COUNTED_BAD);
    cr_assert_eq(set(v, PT_NONE, 1, PT_OUTCOME_PASSED), PT_COUNTED_BAD);
    cr_assert_eq(set(v, 0, 1, PT_OUTCOME_NONE), PT_COUNTED_BAD);
    cr_assert_eq(set(v, 0, 1, PT_OUTCOMES), PT_COUNTED_BAD);
    cr_assert_eq(pt_verdict_amend(v, 0, PT_OUTCOME_ERROR, NULL, 0), -1);
    cr_assert_eq(pt_verdict_add_entry(v, 99, NULL, 0), -1);
    cr_assert_eq(pt_verdict_done(v), 0);
    pt_verdict_destroy(v);
}

Test(verdict, counts_as_pytest_counts)
{
    struct pt_verdict *v = make(2);
    struct pt_count both[] = {{"passed", 1}, {"error", 1}, {"", 1}};
    cr_assert_eq(pt_verdict_set(v, 0, 1, PT_OUTCOME_ERROR, both, 3), PT_COUNTED_FIRST);
    cr_assert_eq(pt_verdict_set(v, 1, 1, PT_OUTCOME_CRASHED, both, 0), PT_COUNTED_FIRST);
    cr_assert_eq(pt_verdict_count_of(v, "passed"), 1);
    cr_assert_eq(pt_verdict_count_of(v, "error"), 1);
    cr_assert_eq(pt_verdict_count_of(v, "crashed"), 0, "told by another report");
    cr_assert_eq(pt_verdict_total(v, PT_OUTCOME_CRASHED), 1);
    cr_assert_eq(pt_verdict_failures(v), 1);
    cr_assert(pt_verdict_sum_ok(v));
    pt_verdict_destroy(v);
}

Test(verdict, what_came_on_top_is_added)
{
    struct pt_verdict *v = make(1);
    set(v, 0, 1, PT_OUTCOME_PASSED);
    cr_assert_eq(pt_verdict_amend(v, 0, PT_OUTCOME_ERROR, NULL, 0), 0);
    cr_assert_eq(pt_verdict_outcome(v, 0), PT_OUTCOME_ERROR);
    cr_assert_eq(pt_verdict_count_of(v, "passed"), 1);
    cr_assert_eq(pt_verdict_count_of(v, "error"), 1);
    cr_assert_eq(set(v, 0, 2, PT_OUTCOME_CRASHED), PT_COUNTED_INSTEAD);
    cr_assert_eq(pt_verdict_count_of(v, "error"), 0, "its counts go with it");
    cr_assert_eq(pt_verdict_count_of(v, "passed"), 0);
    cr_assert(pt_verdict_sum_ok(v));
    pt_verdict_destroy(v);
}

Test(verdict, categories_in_order_and_bounded)
{
    struct pt_verdict *v = make(0);
    struct pt_count c;
    char name[32];
    pt_verdict_count(v, "error", 2);
    pt_verdict_count(v, "rerun", 1);
    pt_verdict_count(v, "failed", 1);
    cr_assert(pt_verdict_get_count(v, 0, &c) && strcmp(c.name, "failed") == 0);
    cr_assert(pt_verdict_get_count(v, 1, &c) && strcmp(c.name, "error") == 0 && c.n == 2);
    cr_assert(pt_verdict_get_count(v, 2, &c) && strcmp(c.name, "rerun") == 0);
    cr_assert_not(pt_verdict_get_count(v, 3, &c));
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "made%d", i);
        pt_verdict_count(v, name, 1);
    }
    size_t n = 0;
    uint32_t sum = 0;
    for (; pt_verdict_get_count(v, n, &c); n++)
        sum += c.n;
    cr_assert_leq(n, PT_MAX_CATEGORIES);
    cr_assert_eq(sum, 1004);
    cr_assert_gt(pt_verdict_count_of(v, "other"), 900);
    pt_verdict_destroy(v);
}

Test(verdict, maxfail)
{
    struct pt_verdict *v = make(5);
    cr_assert_not(pt_verdict_enough(v, 0));
    set(v, 0, 1, PT_OUTCOME_FAILED);
    cr_assert_not(pt_verdict_enough(v, 0));
    cr_assert(pt_verdict_enough(v, 1));
    set(v, 1, 1, PT_OUTCOME_XFAILED);
    set(v, 2, 1, PT_OUTCOME_CRASHED);
    set(v, 3, 1, PT_OUTCOME_TIMEOUT);
    cr_assert_not(pt_verdict_enough(v, 4));
    pt_verdict_add_entry(v, PT_OUTCOME_ERROR, NULL, 0);
    cr_assert(pt_verdict_enough(v, 4));
    pt_verdict_destroy(v);
}

Test(verdict, what_is_missing_is_told)
{
    struct pt_verdict *v = make(10);
    for (uint32_t i = 0; i < 10; i += 2)
        set(v, i, 1, PT_OUTCOME_PASSED);
    cr_assert_eq(exit_code(v), PT_EXIT_INTERNAL, "a test without outcome is a bug");
    cr_assert_eq(pt_verdict_next_missing(v, 2), 3);
    cr_assert_eq(pt_verdict_finish(v, PT_OUTCOME_LOST), 5);
    cr_assert_eq(pt_verdict_finish(v, PT_OUTCOME_LOST), 0);
    cr_assert_eq(pt_verdict_total(v, PT_OUTCOME_LOST), 5);
    cr_assert_eq(pt_verdict_next_missing(v, 0), PT_NONE);
    cr_assert(pt_verdict_sum_ok(v));
    cr_assert_eq(exit_code(v), PT_EXIT_INFRA);
    pt_verdict_destroy(v);
}

Test(verdict, exit_code_of_each_outcome)
{
    static const int want[PT_OUTCOMES] = {
        [PT_OUTCOME_PASSED] = 0,  [PT_OUTCOME_SKIPPED] = 0, [PT_OUTCOME_XFAILED] = 0,
        [PT_OUTCOME_XPASSED] = 0, [PT_OUTCOME_NOTRUN] = 2,  [PT_OUTCOME_LOST] = 6,
        [PT_OUTCOME_ERROR] = 1,   [PT_OUTCOME_FAILED] = 1,  [PT_OUTCOME_TIMEOUT] = 1,
        [PT_OUTCOME_CRASHED] = 1,
    };
    for (unsigned o = PT_OUTCOME_PASSED; o < PT_OUTCOMES; o++) {
        struct pt_verdict *v = make(2);
        set(v, 0, 1, PT_OUTCOME_PASSED);
        set(v, 1, 1, o);
        cr_assert_eq(exit_code(v), want[o], "%s", pt_outcome_name(o));
        pt_verdict_destroy(v);
        v = make(1);
        set(v, 0, 1, PT_OUTCOME_PASSED);
        pt_verdict_add_entry(v, o, NULL, 0);
        cr_assert_eq(exit_code(v), want[o], "entry %s", pt_outcome_name(o));
        pt_verdict_destroy(v);
    }
}

Test(verdict, exit_code_precedence)
{
    struct pt_verdict *v = make(3);
    set(v, 0, 1, PT_OUTCOME_FAILED);
    set(v, 1, 1, PT_OUTCOME_NOTRUN);
    set(v, 2, 1, PT_OUTCOME_PASSED);
    struct pt_end end = {0};
    cr_assert_eq(pt_verdict_exit_code(v, &end), 1, "-x: the failure is told, not what it left out");
    end.no_host = true;
    cr_assert_eq(pt_verdict_exit_code(v, &end), 6);
    end.interrupted = true;
    cr_assert_eq(pt_verdict_exit_code(v, &end), 2);
    end.exits = true;
    end.exit = 42;
    cr_assert_eq(pt_verdict_exit_code(v, &end), 42);
    end.internal = true;
    cr_assert_eq(pt_verdict_exit_code(v, &end), 3);
    end.usage = true;
    cr_assert_eq(pt_verdict_exit_code(v, &end), 4);
    pt_verdict_destroy(v);
    static const int order[] = {4, 3, 2, 6, 1, 5, 0};
    for (int i = 0; i < 7; i++)
        for (int k = i; k < 7; k++)
            cr_assert(pt_exit_worse(order[i], order[k]) == order[i] &&
                      pt_exit_worse(order[k], order[i]) == order[i]);
}

Test(verdict, a_rerun_that_passes_is_flaky)
{
    struct pt_verdict *v = make(3);
    struct pt_count c;
    set(v, 0, 1, PT_OUTCOME_PASSED);
    set(v, 1, 1, PT_OUTCOME_FAILED);
    cr_assert_eq(pt_verdict_tries(v, 1), 1);
    cr_assert_eq(pt_verdict_again(v, 1), 0);
    cr_assert_eq(pt_verdict_again(v, 1), -1, "it runs");
    cr_assert_eq(pt_verdict_tries(v, 1), 2);
    cr_assert_eq(pt_verdict_outcome(v, 1), PT_OUTCOME_NONE);
    cr_assert_eq(pt_verdict_done(v), 1);
    cr_assert_eq(pt_verdict_failures(v), 0, "not counted for --maxfail");
    cr_assert_eq(pt_verdict_next_missing(v, 0), 1);
    cr_assert(pt_verdict_sum_ok(v));
    cr_assert_eq(set(v, 1, 1, PT_OUTCOME_CRASHED), PT_COUNTED_FIRST);
    cr_assert_eq(pt_verdict_again(v, 1), 0);
    cr_assert_eq(set(v, 1, 1, PT_OUTCOME_PASSED), PT_COUNTED_FIRST);
    cr_assert_eq(set(v, 2, 1, PT_OUTCOME_PASSED), PT_COUNTED_FIRST);
    cr_assert(pt_verdict_flaky(v, 1));
    cr_assert_not(pt_verdict_flaky(v, 0));
    cr_assert_eq(pt_verdict_tries(v, 1), 3);
    cr_assert(pt_verdict_get_count(v, 0, &c) && strcmp(c.name, "passed") == 0 && c.n == 3);
    cr_assert(pt_verdict_get_count(v, 1, &c) && strcmp(c.name, "flaky") == 0 && c.n == 1);
    cr_assert(pt_verdict_get_count(v, 2, &c) && strcmp(c.name, "rerun") == 0 && c.n == 2);
    cr_assert_not(pt_verdict_get_count(v, 3, &c));
    cr_assert_eq(pt_verdict_total(v, PT_OUTCOME_PASSED), 3);
    cr_assert(pt_verdict_sum_ok(v));
    cr_assert_eq(exit_code(v), PT_EXIT_OK);
    pt_verdict_destroy(v);
}

Test(verdict, flaky_is_taken_back_by_what_is_graver)
{
    struct pt_verdict *v = make(2);
    for (uint32_t i = 0; i < 2; i++) {
        set(v, i, 1, PT_OUTCOME_FAILED);
        pt_verdict_again(v, i);
        set(v, i, 1, PT_OUTCOME_PASSED);
    }
    cr_assert_eq(pt_verdict_count_of(v, "flaky"), 2);
    cr_assert_eq(set(v, 0, 1, PT_OUTCOME_CRASHED), PT_COUNTED_INSTEAD);
    cr_assert_eq(pt_verdict_amend(v, 1, PT_OUTCOME_ERROR, NULL, 0), 0);
    cr_assert_eq(pt_verdict_count_of(v, "flaky"), 0);
    cr_assert_not(pt_verdict_flaky(v, 0) || pt_verdict_flaky(v, 1));
    cr_assert(pt_verdict_sum_ok(v));
    cr_assert_eq(exit_code(v), PT_EXIT_FAILED);
    pt_verdict_destroy(v);
}

Test(verdict, a_rerun_that_never_ran_is_none)
{
    struct pt_verdict *v = make(1);
    cr_assert_eq(pt_verdict_not_again(v, 0), -1);
    set(v, 0, 1, PT_OUTCOME_FAILED);
    cr_assert_eq(pt_verdict_not_again(v, 0), -1);
    pt_verdict_again(v, 0);
    cr_assert_eq(pt_verdict_not_again(v, 0), 0);
    cr_assert_eq(pt_verdict_not_again(v, 0), -1);
    cr_assert_eq(pt_verdict_not_again(v, 1), -1);
    cr_assert_eq(set(v, 0, 1, PT_OUTCOME_FAILED), PT_COUNTED_FIRST);
    cr_assert_eq(pt_verdict_count_of(v, "rerun"), 0);
    cr_assert_eq(pt_verdict_count_of(v, "failed"), 1);
    cr_assert_eq(pt_verdict_tries(v, 0), 1);
    cr_assert(pt_verdict_sum_ok(v));
    pt_verdict_destroy(v);
}

Test(verdict, several_counts_are_taken_back)
{
    struct pt_verdict *v = make(1);
    struct pt_count many[] = {{"failed", 1}, {"subtests passed", 3}, {"subtests failed", 2}, {"error", 1}};
    pt_verdict_set(v, 0, 1, PT_OUTCOME_FAILED, many, 4);
    cr_assert_eq(pt_verdict_count_of(v, "subtests passed"), 3);
    cr_assert_eq(pt_verdict_failures(v), 2);
    pt_verdict_again(v, 0);
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pt_verdict_count_of(v, many[i].name), 0, "%s", many[i].name);
    set(v, 0, 1, PT_OUTCOME_PASSED);
    cr_assert(pt_verdict_sum_ok(v));
    pt_verdict_destroy(v);
}

Test(verdict, no_tests)
{
    struct pt_verdict *v = make(0);
    cr_assert_eq(exit_code(v), PT_EXIT_NO_TESTS);
    pt_verdict_count(v, "deselected", 3);
    pt_verdict_add_entry(v, PT_OUTCOME_SKIPPED, NULL, 0);
    cr_assert_eq(exit_code(v), PT_EXIT_NO_TESTS);
    pt_verdict_add_entry(v, PT_OUTCOME_ERROR, NULL, 0);
    cr_assert_eq(exit_code(v), PT_EXIT_FAILED);
    pt_verdict_destroy(v);
}

Test(verdict, errors_have_exit_codes)
{
    cr_assert_eq(pt_exit_of(PT_ERR_USAGE), 4);
    cr_assert_eq(pt_exit_of(PT_ERR_INFRA), 6);
    cr_assert_eq(pt_exit_of(PT_ERR_INTERRUPTED), 2);
    cr_assert_eq(pt_exit_of(PT_ERR_INTERNAL), 3);
}
