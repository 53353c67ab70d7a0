/* SPDX-License-Identifier: Apache-2.0 */
/* What idle slots get: parts of what others hold, copies of it, tests that run again. */
#include "plan_deal_lab.h"

static struct pt_plan *plan_of(uint32_t hosts, enum pt_schedule schedule, bool speculate)
{
    return plan_from((struct pt_plan_spec){
        .hosts = hosts, .bundles_per_worker = 1000, .schedule = schedule, .speculate = speculate});
}

/* --- stealing --- */

Test(plan_idle, the_later_half_is_stolen_at_a_border_of_atoms)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, false);
    uint32_t atoms[] = {0, 0, 1, 1, 2, 2, 2, 2, 3, 4};
    struct pt_plan_unit unit = plain_unit();
    struct pt_plan_steal steal;
    unit.atoms = atoms;
    add(plan, unit, "f.py", 0, 10, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *b = next(plan, NULL);
    cr_assert_eq(pt_plan_steal(plan, &steal), 0, "nobody is idle");
    pt_plan_host(plan, 1, 1);
    cr_assert_eq(pt_plan_steal(plan, &steal), 1);
    cr_assert_eq(steal.host, 0);
    cr_assert_eq(steal.n, 6);
    uint32_t tests[10];
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_eq(tests[i] = steal.tests[i], 4 + i);
    struct pt_plan_steal other;
    cr_assert_eq(pt_plan_steal(plan, &other), 0, "the answer is to come");
    cr_assert_not(pt_plan_stolen(plan, 1, b->bundle, 1, tests, 6));
    uint32_t foreign[] = {9, 0};
    cr_assert_not(pt_plan_stolen(plan, 0, b->bundle, 1, foreign, 2));
    cr_assert(pt_plan_holds(plan, 0, b->bundle, 1, 9));
    cr_assert(pt_plan_stolen(plan, 0, b->bundle, 1, tests + 4, 2), "the first of them had begun");
    cr_assert_not(pt_plan_holds(plan, 0, b->bundle, 1, 9));
    cr_assert(pt_plan_holds(plan, 0, b->bundle, 1, 7));
    uint32_t host;
    const struct pt_bundle *loot = next(plan, &host);
    cr_assert_eq(host, 1);
    cr_assert_eq(first_test(loot), 8);
    cr_assert_neq(loot->bundle, b->bundle);
    finish(plan, 1, loot);
    for (uint32_t i = 0; i < 8; i++)
        cr_assert(pt_plan_told(plan, i));
    cr_assert(pt_plan_done(plan, 0, b->bundle, 1, NULL, NULL));
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan_idle, what_must_not_be_cut_is_not_stolen_from)
{
    struct pt_plan_unit units[] = {plain_unit(), plain_unit(), plain_unit(), plain_unit(), plain_unit()};
    uint32_t one_atom[9] = {0};
    units[0].alone = true;
    units[1].atoms = one_atom;
    units[2].weight = 2;
    units[3].exclusive = PT_EXCLUSIVE_HOST;
    units[4].host = units[4].rank = 0;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, false);
        struct pt_plan_steal steal;
        add(plan, units[i], "f.py", 0, 9, 10);
        pt_plan_collected(plan);
        pt_plan_host(plan, 0, 2);
        pt_plan_host(plan, 1, 1);
        cr_assert_not_null(next(plan, NULL));
        cr_assert_eq(pt_plan_steal(plan, &steal), 0, "unit %zu", i);
        pt_plan_destroy(plan);
    }
}

Test(plan_idle, a_bundle_that_gives_nothing_is_not_asked_again)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, false);
    struct pt_plan_steal steal;
    add(plan, plain_unit(), "f.py", 0, 20, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *b = next(plan, NULL);
    pt_plan_host(plan, 1, 1);
    cr_assert_eq(pt_plan_steal(plan, &steal), 1);
    cr_assert(pt_plan_stolen(plan, 0, b->bundle, 1, NULL, 0));
    cr_assert_eq(pt_plan_steal(plan, &steal), 0);
    finish(plan, 0, b);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

/* --- copies --- */

static struct pt_plan *two_holders(const struct pt_bundle **first, struct pt_plan_deal *copy)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, true);
    uint32_t host, bundle;
    add(plan, plain_unit(), "f.py", 0, 3, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    *first = next(plan, NULL);
    cr_assert(pt_plan_told(plan, 0));
    pt_plan_host(plan, 1, 1);
    cr_assert_eq(pt_plan_next(plan, copy, NULL), 1);
    cr_assert(copy->copy);
    cr_assert_eq(copy->host, 1, "another host has an idle slot");
    cr_assert_eq(count_tests(copy->bundle), 2);
    cr_assert_eq(test_at(copy->bundle, 0)->test, 2);
    cr_assert_eq(test_at(copy->bundle, 1)->test, 1, "what the first is at comes last");
    cr_assert_null(next(plan, NULL), "one copy is enough");
    cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 0);
    cr_assert(pt_plan_holds(plan, 0, (*first)->bundle, 1, 1));
    cr_assert(pt_plan_holds(plan, 1, copy->bundle->bundle, 1, 1));
    return plan;
}

Test(plan_idle, the_first_of_two_holders_counts_and_the_other_is_dropped)
{
    struct pt_plan_deal copy;
    const struct pt_bundle *first;
    struct pt_plan *plan = two_holders(&first, &copy);
    uint32_t host, bundle;
    cr_assert(pt_plan_told(plan, 1));
    cr_assert_not(pt_plan_told(plan, 1), "the other's report");
    cr_assert(pt_plan_told(plan, 2));
    cr_assert(pt_plan_over(plan));
    cr_assert(pt_plan_done(plan, 1, copy.bundle->bundle, 1, NULL, NULL));
    cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 1);
    cr_assert_eq(host, 0);
    cr_assert_eq(bundle, first->bundle);
    cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 0);
    cr_assert(pt_plan_done(plan, 0, first->bundle, 1, NULL, NULL));
    cr_assert_eq(pt_plan_held(plan, 0), 0);
    pt_plan_destroy(plan);
}

Test(plan_idle, a_copy_goes_on_alone_when_the_first_is_lost)
{
    struct pt_plan_deal copy;
    const struct pt_bundle *first;
    struct pt_plan *plan = two_holders(&first, &copy);
    pt_plan_lost(plan, 0, NULL, NULL);
    cr_assert_null(next(plan, NULL), "nothing waits");
    cr_assert(pt_plan_holds(plan, 0, first->bundle, 1, 1), "a late report");
    cr_assert(pt_plan_told(plan, 1));
    cr_assert_not(pt_plan_over(plan));
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_host(plan, 1, 1);
    const struct pt_bundle *again = next(plan, NULL);
    cr_assert_eq(count_tests(again), 1);
    cr_assert_eq(first_test(again), 2);
    finish(plan, 1, again);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

/* --- again --- */

Test(plan_idle, a_test_runs_again_at_once_and_elsewhere)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, false);
    struct pt_err err = PT_ERR_INIT;
    uint32_t host;
    for (uint32_t i = 0; i < 100; i++)
        add(plan, plain_unit(), "f.py", 4 * i, 4, 1);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *b = next(plan, NULL);
    uint32_t failed = test_at(b, 1)->test;
    cr_assert_eq(pt_plan_again(plan, failed, &err), 0);
    cr_assert_eq(pt_plan_untold(plan), 400, "it has not run");
    cr_assert_eq(pt_plan_again(plan, 4000, &err), -1);
    cr_assert(pt_plan_told(plan, failed));
    cr_assert_eq(pt_plan_again(plan, failed, &err), 0);
    cr_assert_eq(pt_plan_untold(plan), 400);
    cr_assert_not(pt_plan_holds(plan, 0, b->bundle, 1, failed), "who ran it is not believed again");
    pt_plan_host(plan, 1, 1);
    const struct pt_bundle *again = next(plan, &host);
    cr_assert_eq(host, 1);
    cr_assert_eq(count_tests(again), 1);
    cr_assert_eq(first_test(again), failed);
    cr_assert_str_eq(again->files[0].path, "f.py");
    cr_assert(pt_plan_holds(plan, 1, again->bundle, 1, failed));
    finish(plan, 1, again);
    pt_plan_destroy(plan);
}

Test(plan_idle, a_slot_that_does_not_answer_is_copied)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, true);
    struct pt_plan_steal steal;
    struct pt_plan_deal copy;
    add(plan, plain_unit(), "stuck.py", 0, 10, 10);
    add(plan, plain_unit(), "f.py", 10, 8, 10);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    const struct pt_bundle *stuck = next(plan, NULL);
    const struct pt_bundle *other = next(plan, NULL);
    pt_plan_host(plan, 1, 1);
    cr_assert_eq(pt_plan_steal(plan, &steal), 1);
    cr_assert_eq(steal.bundle, stuck->bundle);
    cr_assert_null(next(plan, NULL));
    uint32_t tests[10], n = steal.n;
    memcpy(tests, steal.tests, n * sizeof(*tests));
    for (uint32_t i = 10; i < 17; i++)
        cr_assert(pt_plan_told(plan, i));
    cr_assert_eq(pt_plan_next(plan, &copy, NULL), 1, "the others went on, it did not");
    cr_assert(copy.copy);
    cr_assert_eq(count_tests(copy.bundle), 10);
    cr_assert(pt_plan_stolen(plan, 0, stuck->bundle, 1, tests, n), "now it answers");
    cr_assert_null(next(plan, NULL), "the copy has them already");
    cr_assert(pt_plan_holds(plan, 1, copy.bundle->bundle, 1, tests[0]));
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_host(plan, 1, 1);
    for (uint32_t i = 0; i < 10 - n; i++)
        cr_assert(pt_plan_told(plan, i));
    cr_assert(pt_plan_done(plan, 0, stuck->bundle, 1, NULL, NULL));
    finish(plan, 0, other);
    uint32_t left = pt_plan_untold(plan), host;
    cr_assert_eq(left, n);
    const struct pt_bundle *b;
    while ((b = next(plan, &host)))
        finish(plan, host, b);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan_idle, without_thefts_a_long_bundle_is_copied_whole)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, true);
    struct pt_plan_deal copy;
    uint32_t host;
    add(plan, plain_unit(), "f.py", 0, 30, 10);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *b = next(plan, NULL);
    pt_plan_host(plan, 1, 1);
    cr_assert_eq(pt_plan_next(plan, &copy, NULL), 1);
    cr_assert(copy.copy);
    cr_assert_eq(count_tests(copy.bundle), 30);
    finish(plan, 1, copy.bundle);
    cr_assert_eq(pt_plan_drop(plan, &host, &host), 1);
    cr_assert(pt_plan_done(plan, 0, b->bundle, 1, NULL, NULL));
    pt_plan_destroy(plan);
}
