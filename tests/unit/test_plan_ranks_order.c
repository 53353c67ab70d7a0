/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of several ranks under schedules that give an order: sequential, replayed, static. */
#include "plan_ranks_lab.h"

/* --- in order --- */

Test(plan_ranks_order, a_sequential_run_takes_them_one_at_a_time_in_order)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_SEQUENTIAL);
    const uint32_t ranks[] = {1, 4, 2, PT_PLAN_ALL, 1, 3, 2}, want[] = {1, 4, 2, 6, 1, 3, 2};
    uint32_t host;
    for (uint32_t i = 0; i < 7; i++) {
        struct pt_plan_unit unit = of_ranks(ranks[i]);
        unit.alone = true;
        add(plan, unit, "f.py", i, 1, i);
    }
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 6);
    pt_plan_host(plan, 1, 3);
    for (uint32_t i = 0; i < 7; i++) {
        const struct pt_bundle *b = next(plan, &host);
        cr_assert_eq(first_test(b), i);
        cr_assert_eq(b->ranks, want[i]);
        cr_assert_eq(b->rank, want[i] > 1 ? PT_NONE : 0);
        cr_assert_null(next(plan, NULL));
        finish(plan, host, b);
    }
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

/* A replay: those of one number follow each other on their host, those of others run beside them. */
Test(plan_ranks_order, pinned_ones_keep_their_host_and_order)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    uint32_t host;
    for (uint32_t i = 0; i < 6; i++) {
        struct pt_plan_unit unit = of_ranks(2);
        unit.host = 1;
        unit.rank = i % 2 ? 7 : 0;
        unit.alone = true;
        add(plan, unit, "f.py", i, 1, i);
    }
    struct pt_plan_unit light = plain_unit();
    light.host = 1;
    light.rank = 0;
    add(plan, light, "light.py", 6, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 8);
    pt_plan_host(plan, 1, 4);
    const struct pt_bundle *held[2];
    for (uint32_t i = 0; i < 2; i++) {
        held[i] = next(plan, &host);
        cr_assert(first_test(held[i]) == i && host == 1 && held[i]->rank == PT_NONE && held[i]->ranks == 2);
    }
    cr_assert_null(next(plan, NULL));
    finish(plan, 1, held[0]);
    cr_assert_eq(first_test(held[0] = next(plan, NULL)), 2);
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_host(plan, 1, 4);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(first_test(held[i] = next(plan, NULL)), 2 - i, "again, in the old order");
    finish(plan, 1, held[0]);
    finish(plan, 1, held[1]);
    for (uint32_t i = 3; i < 6; i++) {
        const struct pt_bundle *b = next(plan, NULL);
        cr_assert_not_null(b);
        finish(plan, 1, b);
    }
    cr_assert_eq(first_test(held[0] = next(plan, NULL)), 6);
    finish(plan, 1, held[0]);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

/* --- static --- */

struct laid {
    uint32_t n, host[16], step[16], slot[16], width[16]; /* by test */
};

static void note(void *arg, const struct pt_plan_deal *deal)
{
    struct laid *laid = arg;
    uint32_t test = first_test(deal->bundle);
    laid->n++;
    laid->host[test] = deal->host;
    laid->step[test] = deal->step;
    laid->slot[test] = deal->slot;
    laid->width[test] = deal->width;
}

static struct laid lay_out_static(uint32_t hosts, uint32_t slots, const uint32_t *ranks, uint32_t n)
{
    struct laid laid = {0};
    struct pt_plan *plan = plan_of(hosts, PT_SCHEDULE_STATIC);
    for (uint32_t i = 0; i < n; i++) {
        struct pt_plan_unit unit = of_ranks(ranks[i]);
        unit.alone = true;
        add(plan, unit, "f.py", i, 1, 1);
    }
    pt_plan_collected(plan);
    for (uint32_t h = 0; h < hosts; h++)
        pt_plan_host(plan, h, slots);
    cr_assert_eq(pt_plan_preview(plan, note, &laid, NULL), 0);
    cr_assert_eq(laid.n, n);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
    return laid;
}

/* First fit decreasing, as pytest_parallel's group_items_by_parallel_steps. */
Test(plan_ranks_order, a_static_run_lays_them_out_in_steps)
{
    const uint32_t ranks[] = {2, 3, 1, 4, 2, 2, 3, 1};
    struct laid laid = lay_out_static(1, 4, ranks, 8);
    const uint32_t step[] = {3, 1, PT_NONE, 0, 3, 4, 2, PT_NONE}, slot[] = {0, 0, 0, 0, 2, 0, 0, 0};
    for (uint32_t i = 0; i < 8; i++) {
        cr_assert_eq(laid.step[i], step[i], "test %u: step %u", i, laid.step[i]);
        cr_assert_eq(laid.slot[i], slot[i], "test %u: slot %u", i, laid.slot[i]);
        cr_assert_eq(laid.width[i], ranks[i]);
    }
}

Test(plan_ranks_order, the_steps_of_several_hosts)
{
    const uint32_t ranks[] = {4, 4, 3, 3, 2, 2, 2, PT_PLAN_ALL};
    struct laid laid = lay_out_static(2, 5, ranks, 8);
    uint32_t used[2][8] = {{0}};
    for (uint32_t i = 0; i < 8; i++) {
        used[laid.host[i]][laid.step[i]] += laid.width[i];
        cr_assert_leq(used[laid.host[i]][laid.step[i]], 5);
    }
    cr_assert(laid.width[7] == 5 && laid.step[7] == 0 && laid.slot[7] == 0);
    cr_assert_neq(laid.host[2], laid.host[3], "hosts end together");
}

Test(plan_ranks_order, a_static_run_holds_to_its_slots_and_ends)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_STATIC);
    const struct pt_bundle *held[64];
    uint32_t host[64], n = 0, load[2] = {0}, told = 0;
    seed = 11;
    for (uint32_t i = 0; i < 200; i++)
        add(plan, of_ranks(1 + pick(4)), "f.py", i, 1, 0.1 + pick(10) / 10.0);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 5);
    for (;;) {
        const struct pt_bundle *b;
        while ((b = next(plan, &host[n]))) {
            held[n] = b;
            load[host[n++]] += b->ranks > 1 ? b->ranks : 0;
            cr_assert(load[0] <= 4 && load[1] <= 5);
        }
        if (n == 0)
            break;
        uint32_t i = pick(n);
        load[host[i]] -= held[i]->ranks > 1 ? held[i]->ranks : 0;
        told += count_tests(held[i]);
        finish(plan, host[i], held[i]);
        held[i] = held[--n];
        host[i] = host[n];
    }
    cr_assert_eq(told, 200);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan_ranks_order, a_static_run_goes_on_elsewhere_when_a_host_is_gone)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_STATIC);
    uint32_t host, told = 0;
    for (uint32_t i = 0; i < 40; i++)
        add(plan, of_ranks(1 + i % 3), "f.py", i, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 3);
    pt_plan_host(plan, 1, 4);
    cr_assert_not_null(next(plan, NULL));
    pt_plan_lost(plan, 0, NULL, NULL);
    pt_plan_never(plan, 0);
    pt_plan_lost(plan, 1, NULL, NULL);
    pt_plan_host(plan, 1, 4);
    for (const struct pt_bundle *b; (b = next(plan, &host)); finish(plan, host, b)) {
        cr_assert_eq(host, 1);
        told += count_tests(b);
    }
    cr_assert_eq(told, 40);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}
