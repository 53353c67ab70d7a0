/* SPDX-License-Identifier: Apache-2.0 */
/* Units: how they are joined, and what they need of a host. */
#include "plan_deal_lab.h"

static struct pt_plan *plan_of(uint32_t hosts, enum pt_schedule schedule, bool speculate)
{
    return plan_from((struct pt_plan_spec){
        .hosts = hosts, .bundles_per_worker = 1000, .schedule = schedule, .speculate = speculate});
}

/* --- adding --- */

Test(plan_units, a_unit_of_several_files_is_dealt_as_it_is)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC, false);
    struct pt_bundle_test tests[] = {{.test = 4, .nodeid = (char[]){"b.py::x"}},
                                     {.test = 2, .nodeid = (char[]){"a.py::y"}},
                                     {.test = 9, .occurrence = 1, .nodeid = (char[]){"a.py::y"}},
                                     {.test = 1, .nodeid = (char[]){"b.py::z"}}};
    struct pt_bundle_file files[] = {{.path = (char[]){"b.py"}, .tests = tests, .ntests = 1},
                                     {.path = (char[]){"none.py"}},
                                     {.path = (char[]){"a.py"}, .tests = tests + 1, .ntests = 2},
                                     {.path = (char[]){"b.py"}, .tests = tests + 3, .ntests = 1}};
    struct pt_plan_unit unit = plain_unit();
    unit.files = files;
    unit.nfiles = 4;
    cr_assert_eq(pt_plan_add(plan, &unit, NULL), 0);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *b = next(plan, NULL);
    cr_assert_eq(b->nfiles, 3);
    cr_assert_str_eq(b->files[0].path, "b.py");
    cr_assert_str_eq(b->files[1].path, "a.py");
    cr_assert_str_eq(b->files[2].path, "b.py");
    cr_assert_eq(b->files[1].ntests, 2);
    cr_assert_eq(b->files[1].tests[1].occurrence, 1);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(test_at(b, i)->test, tests[i].test);
    pt_plan_destroy(plan);
}

Test(plan_units, refuses_places_that_do_not_exist)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, false);
    struct pt_err err = PT_ERR_INIT;
    struct pt_plan_unit unit = plain_unit();
    unit.host = 2;
    cr_assert_eq(add_unit(plan, unit, "a.py", 0, 1, 1, &err), -1);
    cr_assert(strstr(err.msg, "host 2"), "%s", err.msg);
    unit = plain_unit();
    unit.rank = 0;
    cr_assert_eq(add_unit(plan, unit, "a.py", 0, 1, 1, &err), -1);
    cr_assert(strstr(err.msg, "slot 0"), "%s", err.msg);
    cr_assert_eq(pt_plan_untold(plan), 0);
    pt_plan_destroy(plan);
}

/* Single tests of random durations: a bundle has whole stretches of few files, in order. */
Test(plan_units, small_units_are_joined_with_their_neighbours)
{
    struct pt_plan_spec spec = {.hosts = 1, .bundles_per_worker = 10};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    seed = 1;
    for (uint32_t i = 0; i < 2000; i++) {
        char path[32];
        snprintf(path, sizeof(path), "f_%u.py", i / 100);
        add(plan, plain_unit(), path, i, 1, 0.01 + pick(100) / 1000.0);
    }
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    const struct pt_bundle *b;
    uint32_t files = 0;
    while ((b = next(plan, NULL))) {
        files += b->nfiles;
        for (uint32_t i = 1; i < count_tests(b); i++)
            cr_assert_gt(test_at(b, i)->test, test_at(b, i - 1)->test);
        finish(plan, 0, b);
    }
    cr_assert(pt_plan_over(plan));
    cr_assert_lt(files, 4 * 20, "%u visits to 20 files", files);
    pt_plan_destroy(plan);
}

/* --- places --- */

Test(plan_units, pinned_units_keep_their_slot_and_their_order)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, false);
    struct pt_plan_unit unit = plain_unit();
    unit.host = 1;
    for (uint32_t i = 0; i < 8; i++) {
        unit.rank = i % 2;
        add(plan, unit, "f.py", i, 1, i);
    }
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    cr_assert_null(next(plan, NULL));
    pt_plan_host(plan, 1, 2);
    const struct pt_bundle *held[4];
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_not_null(held[i] = next(plan, NULL));
        cr_assert_eq(first_test(held[i]), i, "one on each slot, then one behind each");
        cr_assert_eq(held[i]->rank, i % 2);
    }
    cr_assert_null(next(plan, NULL));
    finish(plan, 1, held[1]);
    cr_assert_eq(first_test(next(plan, NULL)), 5);
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_host(plan, 1, 2);
    const uint32_t again[] = {0, 3, 2, 5};
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(first_test(next(plan, NULL)), again[i], "in the old order");
    pt_plan_destroy(plan);
}

Test(plan_units, labels_choose_the_host)
{
    struct pt_plan *plan = plan_of(3, PT_SCHEDULE_DYNAMIC, false);
    struct pt_plan_unit unit = plain_unit();
    unit.needs = 5;
    pt_plan_labels(plan, 0, 1);
    pt_plan_labels(plan, 1, 7);
    add(plan, unit, "gpu.py", 0, 1, 1);
    add(plan, plain_unit(), "any.py", 1, 1, 100);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 2, 4);
    uint32_t host;
    cr_assert_eq(first_test(next(plan, &host)), 1);
    cr_assert_null(next(plan, NULL));
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE, "the host may come");
    pt_plan_host(plan, 1, 1);
    cr_assert_eq(first_test(next(plan, &host)), 0);
    cr_assert_eq(host, 1);
    pt_plan_lost(plan, 1, NULL, NULL);
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE, "it may come again");
    pt_plan_never(plan, 1);
    cr_assert_eq(pt_plan_impossible(plan), 0);
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
    cr_assert(pt_plan_is_told(plan, 0));
    pt_plan_destroy(plan);
}

Test(plan_units, what_is_heavier_than_every_host_is_impossible)
{
    static const enum pt_schedule schedules[] = {PT_SCHEDULE_DYNAMIC, PT_SCHEDULE_STATIC,
                                                 PT_SCHEDULE_SEQUENTIAL};
    for (size_t i = 0; i < 3; i++) {
        struct pt_plan *plan = plan_of(2, schedules[i], false);
        struct pt_plan_unit unit = plain_unit();
        unit.weight = 5;
        add(plan, unit, "heavy.py", 0, 3, 1);
        add(plan, plain_unit(), "light.py", 3, 1, 1);
        pt_plan_collected(plan);
        pt_plan_host(plan, 0, 4);
        cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
        pt_plan_expect(plan, 1, 4);
        for (uint32_t t = 0; t < 3; t++)
            cr_assert_eq(pt_plan_impossible(plan), t);
        cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
        cr_assert_eq(pt_plan_untold(plan), 1);
        pt_plan_never(plan, 1);
        cr_assert_eq(first_test(next(plan, NULL)), 3);
        pt_plan_destroy(plan);
    }
}

Test(plan_units, a_host_is_drained_for_a_heavy_unit)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC, false);
    struct pt_plan_unit heavy = plain_unit();
    const struct pt_bundle *held[16];
    heavy.weight = 3;
    for (uint32_t i = 0; i < 100; i++)
        add(plan, plain_unit(), "light.py", i, 1, 1);
    pt_plan_host(plan, 0, 4);
    uint32_t n = 0;
    while ((held[n] = next(plan, NULL)))
        n++;
    cr_assert_eq(n, 8, "many ahead while much waits");
    add(plan, heavy, "heavy.py", 100, 2, 0.1);
    for (uint32_t i = 0; i < 7; i++) {
        cr_assert_null(next(plan, NULL), "nothing more until there is room");
        finish(plan, 0, held[i]);
    }
    const struct pt_bundle *b = next(plan, NULL);
    cr_assert_eq(first_test(b), 100);
    cr_assert_null(next(plan, NULL), "one beside three");
    finish(plan, 0, held[7]);
    cr_assert_neq(first_test(next(plan, NULL)), PT_NONE);
    cr_assert_null(next(plan, NULL));
    finish(plan, 0, b);
    cr_assert_not_null(next(plan, NULL));
    pt_plan_destroy(plan);
}

Test(plan_units, exclusive_units_have_their_host_or_the_run_to_themselves)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC, false);
    struct pt_plan_unit host_only = plain_unit(), run_only = plain_unit();
    host_only.exclusive = PT_EXCLUSIVE_HOST;
    run_only.exclusive = PT_EXCLUSIVE_RUN;
    add(plan, run_only, "run.py", 0, 1, 50);
    add(plan, host_only, "host.py", 1, 1, 50);
    for (uint32_t i = 2; i < 6; i++)
        add(plan, plain_unit(), "light.py", i, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    pt_plan_host(plan, 1, 4);
    uint32_t host;
    const struct pt_bundle *alone = next(plan, &host);
    cr_assert_eq(first_test(alone), 1);
    cr_assert_eq(host, 0);
    const struct pt_bundle *light[4];
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(first_test(light[i] = next(plan, &host)), 2 + i);
        cr_assert_eq(host, 1);
    }
    cr_assert_null(next(plan, NULL));
    for (uint32_t i = 0; i < 4; i++)
        finish(plan, 1, light[i]);
    cr_assert_null(next(plan, NULL), "a host is still busy");
    finish(plan, 0, alone);
    cr_assert_eq(first_test(next(plan, NULL)), 0);
    pt_plan_destroy(plan);
}

Test(plan_units, a_sequential_run_keeps_the_order_on_one_slot)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_SEQUENTIAL, true);
    struct pt_plan_unit gpu = plain_unit();
    gpu.needs = 1;
    pt_plan_labels(plan, 1, 1);
    for (uint32_t i = 0; i < 20; i++)
        add(plan, i == 10 ? gpu : plain_unit(), "f.py", i, 1, i % 3 ? i : -1.0);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    uint32_t host, at = 0;
    const struct pt_bundle *b;
    while ((b = next(plan, &host))) {
        cr_assert_eq(b->rank, 0);
        cr_assert_null(next(plan, NULL));
        for (uint32_t i = 0; i < count_tests(b); i++, at++) {
            cr_assert_eq(test_at(b, i)->test, at);
            cr_assert_eq(host, at == 10);
        }
        finish(plan, host, b);
    }
    cr_assert_eq(at, 20);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan_units, what_was_packed_onto_a_host_that_is_gone_runs_elsewhere)
{
    struct pt_plan *plan = plan_of(3, PT_SCHEDULE_STATIC, false);
    uint32_t host, told = 0;
    const struct pt_bundle *b;
    for (uint32_t i = 0; i < 40; i++)
        add(plan, plain_unit(), "f.py", 2 * i, 2, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    pt_plan_host(plan, 1, 2);
    cr_assert_null(next(plan, NULL), "one host is to come");
    pt_plan_never(plan, 2);
    for (uint32_t i = 0; i < 8; i++)
        cr_assert_not_null(next(plan, NULL));
    cr_assert_null(next(plan, NULL));
    pt_plan_lost(plan, 0, NULL, NULL);
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_host(plan, 1, 1);
    pt_plan_never(plan, 0);
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
    while ((b = next(plan, &host))) {
        cr_assert_eq(host, 1);
        cr_assert(b->rank == 0 || b->rank == PT_NONE);
        told += count_tests(b);
        finish(plan, host, b);
    }
    cr_assert_eq(told, 80);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}
