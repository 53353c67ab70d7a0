/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles that several hosts run together: the slots kept for them, lost hosts, schedules. */
#include "plan_across_lab.h"

/* --- slots --- */

Test(plan_spread, slots_of_all_hosts_are_taken_until_it_is_done)
{
    struct pt_plan *plan = four_and_four();
    uint32_t host;
    add(plan, of_ranks(6), "six.py", 0, 1, 1);
    const struct pt_bundle *six = next(plan, &host), *light[8];
    cr_assert_str_eq(whom(six, host), "0:4 1:2");
    cr_assert(host == 0 && six->ranks == 6 && six->rank == PT_NONE);
    cr_assert(pt_plan_held(plan, 0) == 1 && pt_plan_held(plan, 1) == 0);
    cr_assert(pt_plan_holds(plan, 0, six->bundle, 1, 0) && !pt_plan_holds(plan, 1, six->bundle, 1, 0));
    add_light(plan, 1, 20);
    pt_plan_collected(plan);
    for (uint32_t i = 0; i < 2; i++) {
        light[i] = next(plan, &host);
        cr_assert_eq(host, 1, "the other two slots");
    }
    cr_assert_null(next(plan, NULL));
    finish(plan, 1, light[0]);
    cr_assert_not_null(next(plan, &host));
    cr_assert_eq(host, 1);
    cr_assert_null(next(plan, NULL));
    cr_assert_not(pt_plan_done(plan, 1, six->bundle, 1, NULL, NULL), "it is not that one's to tell");
    finish(plan, 0, six);
    for (uint32_t i = 0; i < 6; i++)
        cr_assert_not_null(next(plan, &host));
    pt_plan_destroy(plan);
}

/* Both hosts are full of light ones, and more come all the time. */
Test(plan_spread, hosts_are_drained_together_and_light_ones_go_on_beside)
{
    struct pt_plan *plan = four_and_four();
    const struct pt_bundle *held[2][8];
    uint32_t n[2] = {0}, host, first = 0, on[2] = {0};
    for (uint32_t i = 0; i < 8; i++) {
        add_light(plan, first++, 1);
        const struct pt_bundle *b = next(plan, &host);
        held[host][n[host]++] = b;
    }
    cr_assert(n[0] == 4 && n[1] == 4);
    add(plan, of_ranks(6), "six.py", 100, 1, 1);
    cr_assert_null(next(plan, NULL));
    for (uint32_t round = 0; round < 30; round++) {
        uint32_t h = round % 4 == 3 ? 0 : 1;
        add_light(plan, first++, 1);
        if (n[h] > 0)
            finish(plan, h, held[h][--n[h]]);
        for (const struct pt_bundle *b; (b = next(plan, &host)); held[host][n[host]++] = b) {
            if (first_test(b) == 100) {
                cr_assert_eq(b->nspread, 2);
                cr_assert_leq(n[host] + b->spread[0].ranks, 4);
                cr_assert_leq(n[1 - host] + b->spread[1].ranks, 4);
                cr_assert(on[0] == 0 && on[1] > 0, "%u and %u beside", on[0], on[1]);
                pt_plan_destroy(plan);
                return;
            }
            on[host]++;
        }
    }
    cr_assert_fail("it starves");
}

/* Neither do pairs that fit beside keep it waiting. */
Test(plan_spread, a_stream_of_pairs_does_not_starve_it)
{
    struct pt_plan *plan = four_and_four();
    const struct pt_bundle *held[2][4];
    uint32_t n[2] = {0}, host, first = 0;
    for (uint32_t i = 0; i < 40; i++)
        add(plan, alone(of_ranks(2)), "pair.py", first++, 1, 1);
    for (const struct pt_bundle *b; (b = next(plan, &host));)
        held[host][n[host]++] = b;
    add(plan, of_ranks(7), "seven.py", 100, 1, 1);
    for (uint32_t round = 0; round < 4; round++) {
        uint32_t h = round % 2;
        if (n[h] > 0)
            finish(plan, h, held[h][--n[h]]);
        for (const struct pt_bundle *b; (b = next(plan, &host)); held[host][n[host]++] = b)
            if (first_test(b) == 100) {
                pt_plan_destroy(plan);
                return;
            }
    }
    cr_assert_fail("it starves");
}

Test(plan_spread, exclusive_ones_have_all_their_hosts_to_themselves)
{
    for (uint32_t e = PT_EXCLUSIVE_HOST; e <= PT_EXCLUSIVE_RUN; e++) {
        struct pt_plan *plan = plan_with((uint32_t[]){4, 4, 4}, 3, false);
        struct pt_plan_unit unit = alone(of_ranks(6));
        uint32_t host[3];
        unit.exclusive = e;
        add_light(plan, 0, 1);
        const struct pt_bundle *one = next(plan, &host[0]);
        add(plan, unit, "f.py", 1, 1, 1);
        pt_plan_collected(plan);
        const struct pt_bundle *six = next(plan, &host[1]);
        cr_assert_str_eq(whom(six, host[1]), e == PT_EXCLUSIVE_HOST ? "1:4 2:2" : "nobody");
        finish(plan, host[0], one);
        if (!six)
            cr_assert_str_eq(whom(six = next(plan, &host[1]), host[1]), "0:4 1:2");
        add_light(plan, 2, 8);
        for (uint32_t i = 0; i < 4; i++) {
            const struct pt_bundle *b = next(plan, &host[2]);
            cr_assert_eq(b == NULL, e == PT_EXCLUSIVE_RUN);
            cr_assert(!b || host[2] == 0);
        }
        finish(plan, host[1], six);
        cr_assert_not_null(next(plan, NULL));
        pt_plan_destroy(plan);
    }
}

/* --- losses --- */

static void count_up(void *arg, uint32_t test)
{
    (void)test;
    ++*(uint32_t *)arg;
}

Test(plan_spread, a_lost_host_costs_one_try_of_the_running_test)
{
    struct pt_plan *plan = four_and_four();
    bool both[] = {true, true};
    uint32_t host, bundle, up = 0;
    add(plan, of_ranks(6), "six.py", 0, 3, 0.1);
    pt_plan_collected(plan);
    const struct pt_bundle *b = next(plan, &host);
    cr_assert_eq(count_tests(b), 3);
    pt_plan_told(plan, 0);
    cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 0);
    pt_plan_lost(plan, 1, count_up, &up);
    cr_assert(pt_plan_drop(plan, &host, &bundle) == 1 && host == 0 && bundle == b->bundle);
    cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 0, "told once");
    cr_assert_not(pt_plan_holds(plan, 0, bundle, 1, 1), "the group fell with the host");
    pt_plan_host(plan, 1, 4);
    pt_plan_together(plan, both, 2);
    add_light(plan, 10, 20);
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_not_null(next(plan, &host));
        cr_assert_eq(host, 1, "its ranks may still be at work on the first");
    }
    pt_plan_lost(plan, 1, NULL, NULL);
    cr_assert(pt_plan_done(plan, 0, bundle, 1, count_up, &up));
    cr_assert_not(pt_plan_done(plan, 0, bundle, 1, count_up, &up));
    pt_plan_host(plan, 1, 4);
    pt_plan_together(plan, both, 2);
    const struct pt_bundle *again = next(plan, &host);
    cr_assert(again->bundle == bundle && again->attempt == 2 && count_tests(again) == 2);
    cr_assert(pt_plan_holds(plan, 0, bundle, 2, 1));
    finish(plan, host, again);
    cr_assert_eq(up, 0);
    pt_plan_destroy(plan);
}

Test(plan_spread, when_the_first_is_lost_it_goes_back_at_once)
{
    struct pt_plan *plan = plan_with((uint32_t[]){4, 4, 4}, 3, false);
    uint32_t host, bundle;
    add(plan, of_ranks(6), "six.py", 0, 3, 0.1);
    cr_assert_str_eq(next_whom(plan), "0:4 1:2");
    pt_plan_lost(plan, 0, NULL, NULL);
    cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 0);
    const struct pt_bundle *b = next(plan, &host);
    cr_assert_str_eq(whom(b, host), "1:4 2:2");
    cr_assert_eq(b->attempt, 2);
    pt_plan_destroy(plan);
}

/* After two deaths it waits for idle hosts, after two more there it is given up. */
Test(plan_spread, one_that_takes_its_hosts_along_is_given_up)
{
    struct pt_plan *plan = plan_with((uint32_t[]){4, 4, 4}, 3, false);
    bool all[] = {true, true, true};
    uint32_t host, bundle, up = 0, other;
    add(plan, of_ranks(6), "six.py", 50, 1, 1);
    add_light(plan, 0, 40);
    pt_plan_collected(plan);
    const uint32_t deaths = PT_PLAN_DEATHS + PT_PLAN_ALONE;
    for (uint32_t i = 1; i <= deaths; i++) {
        const struct pt_bundle *b = next(plan, &host);
        for (; first_test(b) != 50; b = next(plan, &host)) {
            cr_assert_gt(i, PT_PLAN_DEATHS);
            finish(plan, host, b);
        }
        uint32_t far = b->spread[1].host;
        cr_assert_eq(b->attempt, i);
        if (i > PT_PLAN_DEATHS)
            while (next(plan, &other))
                cr_assert(other != host && other != far, "nothing is beside it");
        pt_plan_lost(plan, far, count_up, &up);
        cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 1);
        pt_plan_done(plan, host, bundle, i, count_up, &up);
        pt_plan_host(plan, far, 4);
        pt_plan_together(plan, all, 3);
    }
    cr_assert(up == 1 && pt_plan_is_told(plan, 50));
    pt_plan_destroy(plan);
}

Test(plan_spread, two_lost_hosts_are_one_loss)
{
    struct pt_plan *plan = plan_with((uint32_t[]){4, 4, 4}, 3, false);
    uint32_t host, bundle, up = 0;
    add(plan, of_ranks(12), "wide.py", 0, 1, 1);
    for (uint32_t i = 0; i < PT_PLAN_LOSSES - 1; i++) {
        cr_assert_str_eq(next_whom(plan), "0:4 1:4 2:4");
        pt_plan_lost(plan, 2, count_up, &up);
        pt_plan_lost(plan, 1, count_up, &up);
        if (i == 0)
            cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 1);
        pt_plan_lost(plan, 0, count_up, &up);
        cr_assert_eq(pt_plan_drop(plan, &host, &bundle), 0);
        for (uint32_t h = 0; h < 3; h++)
            pt_plan_host(plan, h, 4);
        pt_plan_together(plan, (bool[]){true, true, true}, 3);
        if (i == 0)
            add_light(plan, 1, 1);
    }
    cr_assert_eq(up, 0);
    cr_assert_not(pt_plan_is_told(plan, 0));
    pt_plan_destroy(plan);
}

/* --- schedules --- */

Test(plan_spread, one_at_a_time_in_order)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_SEQUENTIAL);
    uint32_t host;
    add(plan, plain_unit(), "a.py", 0, 1, 1);
    add(plan, of_ranks(6), "b.py", 1, 1, 1);
    add(plan, plain_unit(), "c.py", 2, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    cr_assert(pt_plan_wants_together(plan));
    const struct pt_bundle *b = next(plan, &host);
    cr_assert_eq(first_test(b), 0);
    finish(plan, host, b);
    cr_assert_null(next(plan, NULL), "nothing passes it");
    pt_plan_together(plan, (bool[]){true, true}, 2);
    cr_assert_str_eq(whom(b = next(plan, &host), host), "0:4 1:2");
    cr_assert_null(next(plan, NULL));
    finish(plan, host, b);
    cr_assert_eq(first_test(next(plan, NULL)), 2);
    pt_plan_destroy(plan);
}

Test(plan_spread, after_the_packed_work_of_a_static_run)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_STATIC);
    uint32_t host, told = 0;
    add_light(plan, 0, 20);
    add(plan, alone(of_ranks(3)), "three.py", 20, 1, 1);
    add(plan, alone(of_ranks(6)), "six.py", 21, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    cr_assert(pt_plan_wants_together(plan));
    for (const struct pt_bundle *b; (b = next(plan, &host)); finish(plan, host, b))
        told += count_tests(b);
    cr_assert_eq(told, 21);
    cr_assert(pt_plan_wants_together(plan));
    pt_plan_together(plan, (bool[]){true, true}, 2);
    cr_assert_str_eq(next_whom(plan), "0:4 1:2");
    pt_plan_destroy(plan);
}

/* As a run is done again: what a host led then it leads now, in order. */
Test(plan_spread, pinned_ones_go_in_order)
{
    struct pt_plan *plan = plan_of(3, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_unit unit = alone(of_ranks(6));
    uint32_t host;
    unit.host = 1;
    unit.rank = 4096;
    for (uint32_t i = 0; i < 3; i++)
        add(plan, unit, "f.py", i, 1, 1);
    pt_plan_collected(plan);
    for (uint32_t i = 0; i < 3; i++)
        pt_plan_host(plan, i, 4);
    cr_assert(pt_plan_wants_together(plan));
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
    pt_plan_together(plan, (bool[]){true, true, true}, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const struct pt_bundle *b = next(plan, &host);
        cr_assert_eq(first_test(b), i);
        cr_assert_str_eq(whom(b, host), "1:4 0:2");
        cr_assert_null(next(plan, NULL));
        finish(plan, host, b);
    }
    pt_plan_destroy(plan);
}

static void keep_widest(void *arg, const struct pt_plan_deal *deal)
{
    if (deal->bundle->nspread)
        snprintf(arg, 32, "%s", whom(deal->bundle, deal->host));
}

Test(plan_spread, a_preview_takes_them_to_reach_each_other)
{
    for (enum pt_schedule s = PT_SCHEDULE_DYNAMIC; s <= PT_SCHEDULE_SEQUENTIAL; s++) {
        struct pt_plan *plan = plan_of(2, s);
        char seen[32] = "";
        add_light(plan, 0, 10);
        add(plan, of_ranks(6), "six.py", 10, 1, 3);
        pt_plan_collected(plan);
        pt_plan_expect(plan, 0, 4);
        pt_plan_expect(plan, 1, 4);
        cr_assert_eq(pt_plan_preview(plan, keep_widest, seen, NULL), 0);
        cr_assert(strcmp(seen, "0:4 1:2") == 0 || strcmp(seen, "1:4 0:2") == 0, "%s", seen);
        cr_assert(pt_plan_over(plan));
        pt_plan_destroy(plan);
    }
}
