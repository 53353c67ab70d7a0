/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that several hosts run together: when hosts are asked, and who is chosen. */
#include "plan_across_lab.h"

/* --- asking --- */

Test(plan_across, hosts_are_asked_when_a_test_needs_several)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    bool both[] = {true, true};
    add(plan, of_ranks(4), "four.py", 0, 1, 1);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    cr_assert_not(pt_plan_wants_together(plan));
    add(plan, of_ranks(6), "six.py", 1, 1, 1);
    cr_assert(pt_plan_wants_together(plan));
    pt_plan_collected(plan);
    cr_assert_eq(next(plan, NULL)->ranks, 4);
    cr_assert_null(next(plan, NULL), "it waits for the answer");
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
    pt_plan_together(plan, both, 2);
    cr_assert_not(pt_plan_wants_together(plan));
    pt_plan_lost(plan, 1, NULL, NULL);
    cr_assert_not(pt_plan_wants_together(plan), "it is not there");
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE, "it may come back");
    pt_plan_host(plan, 1, 4);
    cr_assert_null(next(plan, NULL), "nobody knows whether it may still");
    cr_assert(pt_plan_wants_together(plan));
    pt_plan_stop(plan);
    cr_assert_not(pt_plan_wants_together(plan));
    pt_plan_destroy(plan);
}

Test(plan_across, nobody_is_asked_in_vain)
{
    struct pt_plan *plan = plan_of(3, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_unit gpu = of_ranks(6);
    uint32_t want, most;
    gpu.needs = 1;
    add(plan, gpu, "gpu.py", 0, 1, 1);
    add(plan, of_ranks(20), "wide.py", 1, 1, 1);
    add(plan, of_ranks(PT_PLAN_ALL), "all.py", 2, 1, 1);
    pt_plan_labels(plan, 2, 1);
    for (uint32_t i = 0; i < 3; i++)
        pt_plan_host(plan, i, 4);
    pt_plan_collected(plan);
    cr_assert_not(pt_plan_wants_together(plan));
    uint32_t a = pt_plan_impossible(plan), b = pt_plan_impossible(plan);
    cr_assert(a + b == 1 && pt_plan_impossible(plan) == PT_NONE);
    cr_assert(pt_plan_lacks_slots(plan, 0, &want, &most) && want == 6 && most == 4);
    cr_assert(pt_plan_lacks_slots(plan, 1, &want, &most) && want == 20 && most == 12);
    pt_plan_destroy(plan);
}

Test(plan_across, hosts_that_stay_apart_are_never_asked)
{
    struct pt_plan_spec spec = {.hosts = 2, .more = 1, .bundles_per_worker = 10, .apart = true};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    uint32_t want, most, host;
    add(plan, of_ranks(4), "four.py", 0, 1, 1);
    add(plan, of_ranks(6), "six.py", 1, 1, 1);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    pt_plan_collected(plan);
    cr_assert_not(pt_plan_wants_together(plan));
    cr_assert_eq(pt_plan_impossible(plan), 1);
    cr_assert(pt_plan_lacks_slots(plan, 1, &want, &most) && want == 6 && most == 4);
    cr_assert_str_eq(next_whom(plan), "0");
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_host(plan, 1, 4);
    host = pt_plan_add_host(plan);
    cr_assert_eq(host, 2);
    pt_plan_host(plan, host, 4);
    cr_assert_not(pt_plan_wants_together(plan));
    cr_assert_null(next(plan, NULL));
    pt_plan_destroy(plan);
}

Test(plan_across, one_that_comes_late_is_asked_too)
{
    struct pt_plan *plan = plan_of(3, PT_SCHEDULE_DYNAMIC);
    bool all[] = {true, true, true};
    add(plan, of_ranks(10), "ten.py", 0, 1, 1);
    pt_plan_collected(plan);
    for (uint32_t i = 0; i < 3; i++)
        pt_plan_expect(plan, i, 4);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    pt_plan_together(plan, all, 2);
    cr_assert_not(pt_plan_wants_together(plan));
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
    pt_plan_host(plan, 2, 4);
    cr_assert(pt_plan_wants_together(plan));
    pt_plan_together(plan, all, 3);
    cr_assert_str_eq(next_whom(plan), "0:4 1:4 2:2");
    pt_plan_destroy(plan);
}

Test(plan_across, tests_are_impossible_for_those_who_may)
{
    struct pt_plan *plan = plan_of(3, PT_SCHEDULE_DYNAMIC);
    bool some[] = {true, true, false};
    uint32_t want, most;
    add(plan, of_ranks(10), "ten.py", 0, 1, 1);
    add(plan, of_ranks(8), "eight.py", 1, 1, 1);
    pt_plan_collected(plan);
    for (uint32_t i = 0; i < 3; i++)
        pt_plan_host(plan, i, 4);
    pt_plan_together(plan, some, 3);
    cr_assert_eq(pt_plan_impossible(plan), 0);
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
    cr_assert(pt_plan_lacks_slots(plan, 0, &want, &most) && want == 10 && most == 8);
    cr_assert_str_eq(next_whom(plan), "0:4 1:4");
    pt_plan_together(plan, NULL, 0);
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_never(plan, 1);
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE, "the leader has yet to end it");
    pt_plan_lost(plan, 0, NULL, NULL);
    pt_plan_host(plan, 0, 4);
    cr_assert_eq(pt_plan_impossible(plan), 1);
    cr_assert_not(pt_plan_lacks_slots(plan, 1, &want, &most), "there were enough, one is lost");
    pt_plan_destroy(plan);
}

/* --- choosing --- */

Test(plan_across, as_few_hosts_as_can_be)
{
    static const struct {
        uint32_t ranks;
        const char *whom;
    } cases[] = {
        {6, "1"}, {8, "1"}, {9, "1:8 3:1"}, {13, "1:8 3:5"}, {14, "1:8 3:5 2:1"}, {19, "1:8 3:5 2:4 0:2"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pt_plan *plan = plan_with((uint32_t[]){2, 8, 4, 5}, 4, false);
        add(plan, of_ranks(cases[i].ranks), "f.py", 0, 1, 1);
        cr_expect_str_eq(next_whom(plan), cases[i].whom, "%u ranks", cases[i].ranks);
        pt_plan_destroy(plan);
    }
}

Test(plan_across, evenly_when_it_is_asked_for)
{
    static const struct {
        uint32_t ranks;
        const char *whom;
    } cases[] = {{1, "1"},       {2, "1:1 2:1"}, {3, "1:2 2:1"},
                 {4, "1:2 2:2"}, {8, "1:5 2:3"}, {12, "1:8 2:3 0:1"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct pt_plan *plan = plan_with((uint32_t[]){2, 8, 3}, 3, true);
        add(plan, of_ranks(cases[i].ranks), "f.py", 0, 1, 1);
        cr_expect_str_eq(next_whom(plan), cases[i].ranks == 1 ? "0" : cases[i].whom, "%u ranks",
                         cases[i].ranks);
        pt_plan_destroy(plan);
    }
}

/* With it, hosts are asked for any test of several ranks; where nobody may, one host takes it. */
Test(plan_across, one_host_takes_what_it_can_where_none_may_together)
{
    struct pt_plan_spec spec = {.hosts = 2, .bundles_per_worker = 10, .across = true};
    for (uint32_t never = 0; never < 2; never++) {
        struct pt_plan *plan = pt_plan_create(&spec, NULL);
        struct pt_size size;
        add(plan, of_ranks(4), "f.py", 0, 1, 1);
        pt_plan_host(plan, 0, 4);
        cr_assert_null(next(plan, NULL), "the other will come");
        if (never) {
            pt_plan_never(plan, 1);
        } else {
            pt_plan_host(plan, 1, 4);
            cr_assert_null(next(plan, NULL));
            cr_assert(pt_plan_wants_together(plan));
            cr_assert_eq(pt_plan_sizes(plan, 0, &size, 1), 0);
            pt_plan_together(plan, (bool[]){true, false}, 2);
        }
        cr_assert_not(pt_plan_wants_together(plan));
        cr_assert_eq(pt_plan_sizes(plan, 0, &size, 1), 1);
        cr_assert_str_eq(next_whom(plan), "0");
        pt_plan_destroy(plan);
    }
}

Test(plan_across, labels_and_the_leader_are_heeded)
{
    struct pt_plan *plan = plan_with((uint32_t[]){4, 8, 4, 4}, 4, false);
    struct pt_plan_unit gpu = of_ranks(6), led = of_ranks(10);
    gpu.needs = 1;
    led.host = 2;
    pt_plan_labels(plan, 0, 1);
    pt_plan_labels(plan, 3, 1);
    add(plan, gpu, "gpu.py", 0, 1, 1);
    cr_assert_str_eq(next_whom(plan), "0:4 3:2");
    add(plan, led, "led.py", 1, 1, 1);
    cr_assert_str_eq(next_whom(plan), "2:4 1:6");
    pt_plan_destroy(plan);
}

Test(plan_across, more_slots_than_ranks_count_on_one_host_only)
{
    struct pt_plan *plan = four_and_four();
    struct pt_plan_unit unit = of_ranks(3);
    unit.weight = 8;
    add(plan, unit, "f.py", 0, 1, 1);
    add_light(plan, 1, 20);
    pt_plan_collected(plan);
    cr_assert_str_eq(next_whom(plan), "0:2 1:1");
    for (uint32_t i = 0; i < 5; i++)
        cr_assert_not_null(next(plan, NULL));
    cr_assert_null(next(plan, NULL));
    pt_plan_destroy(plan);
}

Test(plan_across, as_many_as_there_are_at_once)
{
    struct pt_plan *plan = plan_with((uint32_t[]){4, 4, 4}, 3, false);
    for (uint32_t i = 0; i < 3; i++)
        add(plan, alone(of_ranks(6)), "f.py", i, 1, 1);
    cr_assert_str_eq(next_whom(plan), "0:4 1:2");
    cr_assert_str_eq(next_whom(plan), "2:4 1:2");
    cr_assert_null(next(plan, NULL));
    pt_plan_destroy(plan);
}

/* One message names no more than so many. */
Test(plan_across, more_hosts_than_a_spread_can_have)
{
    struct pt_plan *plan = plan_of(PT_SPREAD_MAX + 6, PT_SCHEDULE_DYNAMIC);
    bool may[PT_SPREAD_MAX + 6];
    memset(may, true, sizeof(may));
    add(plan, of_ranks(PT_SPREAD_MAX), "f.py", 0, 1, 1);
    add(plan, of_ranks(PT_SPREAD_MAX + 1), "g.py", 1, 1, 1);
    pt_plan_collected(plan);
    for (uint32_t i = 0; i < PT_SPREAD_MAX + 6; i++)
        pt_plan_host(plan, i, 1);
    pt_plan_together(plan, may, PT_SPREAD_MAX + 6);
    cr_assert_eq(pt_plan_impossible(plan), 1);
    const struct pt_bundle *b = next(plan, NULL);
    cr_assert(b->nspread == PT_SPREAD_MAX && b->ranks == PT_SPREAD_MAX);
    cr_assert_null(next(plan, NULL));
    pt_plan_destroy(plan);
}

/* Each has a group of its own: what is short shares one. */
Test(plan_across, short_ones_are_joined)
{
    struct pt_plan *plan = four_and_four();
    uint32_t bundles = 0, host;
    for (uint32_t i = 0; i < 60; i++)
        add(plan, of_ranks(6), i < 30 ? "a.py" : "b.py", i, 1, 0.1);
    pt_plan_collected(plan);
    for (const struct pt_bundle *b; (b = next(plan, &host)); bundles++)
        finish(plan, host, b);
    cr_assert(pt_plan_over(plan));
    cr_assert(bundles >= 2 && bundles <= 4, "%u", bundles);
    pt_plan_destroy(plan);
}
