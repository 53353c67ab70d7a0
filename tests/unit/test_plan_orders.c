/* SPDX-License-Identifier: Apache-2.0 */
/* The plan in all orders of what can happen to a small run: after each of them, and a fixed way of ending the
 * rest, every test has one outcome. */
#include "plan_orders_lab.h"

TestSuite(plan_orders, .fini = orders_show);

/* --- suites --- */

static void add(struct sim *sim, struct pt_plan_unit unit, uint32_t n, double seconds)
{
    char path[16];
    snprintf(path, sizeof(path), "%c.py", (char)('a' + sim->units_added));
    for (uint32_t i = 0; i < n; i++)
        sim->facts[sim->tests + i] = unit_fact(sim, &unit);
    cr_assert_eq(add_unit(sim->plan, unit, path, sim->tests, n, seconds, NULL), 0);
    sim->tests += n;
    sim->units_added++;
}

static void plain(struct sim *sim)
{
    for (int i = 0; i < 3; i++)
        add(sim, plain_unit(), 2, 1);
}

static void one_long(struct sim *sim)
{
    add(sim, plain_unit(), 6, 1);
    add(sim, plain_unit(), 1, 1);
}

static void heavy(struct sim *sim)
{
    struct pt_plan_unit unit = plain_unit();
    unit.ranks = 2;
    add(sim, unit, 2, 1);
    unit = plain_unit();
    unit.exclusive = PT_EXCLUSIVE_HOST;
    add(sim, unit, 1, 1);
    unit.exclusive = PT_EXCLUSIVE_RUN;
    add(sim, unit, 1, 1);
    add(sim, plain_unit(), 3, 1);
}

static void pinned(struct sim *sim)
{
    struct pt_plan_unit unit = plain_unit();
    unit.host = 0;
    unit.rank = 0;
    for (int i = 0; i < 2; i++)
        add(sim, unit, 2, 1);
    unit.rank = PT_NONE;
    add(sim, unit, 1, 1);
    add(sim, plain_unit(), 2, 1);
}

static void over_hosts(struct sim *sim)
{
    struct pt_plan_unit unit = plain_unit();
    unit.ranks = 3;
    add(sim, unit, 2, 1);
    add(sim, plain_unit(), 3, 1);
}

/* --- tests --- */

Test(plan_orders, hosts_are_lost_and_come_back_and_report_late)
{
    struct scene scene = {.may = MAY(LOSE) | MAY(LATE) | MAY(BEGIN),
                          .depth = 5,
                          .hosts = 2,
                          .slots = 1,
                          .bundles = 2,
                          .collect = plain};
    struct seen seen = all_orders(&scene, 20000);
    cr_assert_gt(seen.tried, 0);
}

Test(plan_orders, bundles_end_without_a_word)
{
    struct scene scene = {
        .may = MAY(DIE) | MAY(NO), .depth = 6, .hosts = 2, .slots = 1, .bundles = 2, .collect = plain};
    struct seen seen = all_orders(&scene, 20000);
    cr_assert_gt(seen.given_up, 0);
}

Test(plan_orders, bundles_are_called_back_and_stolen)
{
    struct scene scene = {.may = MAY(BEGIN) | MAY(NO) | MAY(DIE) | MAY(LOSE),
                          .depth = 5,
                          .hosts = 2,
                          .slots = 1,
                          .bundles = 1,
                          .collect = one_long};
    struct seen seen = all_orders(&scene, 15000);
    cr_assert(seen.recalls > 0 && seen.steals > 0);
}

Test(plan_orders, hosts_join_and_leave)
{
    struct scene scene = {.may = MAY(DRAIN) | MAY(JOIN) | MAY(NO) | MAY(LOSE) | MAY(NEVER_MORE),
                          .depth = 5,
                          .hosts = 2,
                          .slots = 1,
                          .bundles = 2,
                          .collect = one_long};
    struct seen seen = all_orders(&scene, 20000);
    cr_assert(seen.recalls > 0 && seen.steals > 0 && seen.impossible > 0);
}

Test(plan_orders, tests_run_again)
{
    struct scene scene = {.may = MAY(FAIL) | MAY(LATE) | MAY(LOSE) | MAY(STOP),
                          .depth = 5,
                          .hosts = 2,
                          .slots = 1,
                          .bundles = 2,
                          .tries = 2,
                          .collect = plain};
    struct seen seen = all_orders(&scene, 30000);
    cr_assert_gt(seen.agains, 0);
}

Test(plan_orders, stragglers_are_run_twice)
{
    struct scene scene = {.may = MAY(LOSE) | MAY(DIE) | MAY(FAIL),
                          .depth = 4,
                          .hosts = 2,
                          .slots = 2,
                          .bundles = 1,
                          .tries = 1,
                          .speculate = true,
                          .collect = one_long};
    struct seen seen = all_orders(&scene, 20000);
    cr_assert(seen.copies > 0 && seen.drops > 0);
}

Test(plan_orders, mpi_sizes_and_exclusive_tests)
{
    struct scene scene = {.may = MAY(BEGIN) | MAY(LOSE) | MAY(DIE) | MAY(NEVER_MORE),
                          .depth = 5,
                          .hosts = 2,
                          .slots = 2,
                          .bundles = 2,
                          .collect = heavy};
    struct seen seen = all_orders(&scene, 9000);
    cr_assert_gt(seen.impossible, 0);
}

Test(plan_orders, tests_over_several_hosts)
{
    struct scene scene = {.may = MAY(BEGIN) | MAY(LOSE) | MAY(DIE) | MAY(DRAIN) | MAY(JOIN),
                          .depth = 4,
                          .hosts = 2,
                          .slots = 2,
                          .bundles = 2,
                          .across = true,
                          .collect = over_hosts};
    struct seen seen = all_orders(&scene, 8000);
    cr_assert(seen.broken > 0 && seen.drops > 0);
}

Test(plan_orders, tests_that_have_their_slot)
{
    struct scene scene = {.may = MAY(BEGIN) | MAY(LOSE) | MAY(DIE) | MAY(LATE) | MAY(NEVER_MORE),
                          .depth = 4,
                          .hosts = 2,
                          .slots = 1,
                          .bundles = 2,
                          .collect = pinned};
    struct seen seen = all_orders(&scene, 10000);
    cr_assert_gt(seen.impossible, 0);
}

Test(plan_orders, schedules_that_are_settled_before)
{
    struct scene scene = {.may = MAY(BEGIN) | MAY(LOSE) | MAY(DIE) | MAY(LATE) | MAY(NEVER_MORE),
                          .depth = 5,
                          .hosts = 2,
                          .slots = 2,
                          .bundles = 2,
                          .collect = heavy};
    for (scene.schedule = PT_SCHEDULE_STATIC; scene.schedule <= PT_SCHEDULE_SEQUENTIAL; scene.schedule++)
        all_orders(&scene, 4000);
}

Test(plan_orders, all_that_can_happen)
{
    struct scene scene = {.may = ~0u,
                          .depth = 4,
                          .hosts = 2,
                          .slots = 2,
                          .bundles = 2,
                          .tries = 1,
                          .speculate = true,
                          .across = true,
                          .collect = heavy};
    all_orders(&scene, 20000);
}
