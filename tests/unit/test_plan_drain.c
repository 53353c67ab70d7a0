/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that come late, and hosts that leave while others go on. */
#include "plan_deal_lab.h"

#define MORE 4

static struct pt_plan *plan_of(uint32_t hosts, enum pt_schedule schedule)
{
    return plan_from((struct pt_plan_spec){
        .hosts = hosts, .more = MORE, .bundles_per_worker = 1000, .schedule = schedule});
}

/* So many units of one test, numbered from first on. */
static void add_units(struct pt_plan *plan, struct pt_plan_unit unit, uint32_t first, uint32_t n)
{
    char path[32];
    for (uint32_t i = first; i < first + n; i++) {
        snprintf(path, sizeof(path), "f%u.py", i);
        add(plan, unit, path, i, 1, 1);
    }
}

/* Deals all that can be dealt; how many bundles, and how many of them to that host. */
static uint32_t deal_all(struct pt_plan *plan, uint32_t host, uint32_t *to_host)
{
    struct pt_plan_deal deal;
    uint32_t n = 0;
    *to_host = 0;
    for (; pt_plan_next(plan, &deal, NULL) == 1; n++)
        *to_host += deal.host == host;
    return n;
}

static void tell(struct pt_plan *plan, uint32_t host, const struct pt_bundle *b)
{
    for (uint32_t i = 0; i < count_tests(b); i++)
        cr_expect(pt_plan_told(plan, test_at(b, i)->test));
    cr_expect(pt_plan_done(plan, host, b->bundle, b->attempt, NULL, NULL));
}

Test(plan_drain, a_host_that_is_added_takes_what_waits)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC);
    uint32_t to_second;
    add_units(plan, plain_unit(), 0, 40);
    pt_plan_host(plan, 0, 2);
    deal_all(plan, 1, &to_second);
    cr_expect_eq(to_second, 0);
    cr_assert_eq(pt_plan_add_host(plan), 1);
    pt_plan_expect(plan, 1, 3);
    cr_expect_eq(deal_all(plan, 1, &to_second), 0, "it is not up");
    pt_plan_host(plan, 1, 3);
    deal_all(plan, 1, &to_second);
    cr_expect_geq(to_second, 3);
    cr_expect_eq(pt_plan_held(plan, 1), to_second);
    pt_plan_destroy(plan);
}

Test(plan_drain, room_for_hosts_is_bounded_and_other_schedules_have_none)
{
    static const enum pt_schedule fixed[] = {PT_SCHEDULE_STATIC, PT_SCHEDULE_SEQUENTIAL};
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    for (uint32_t i = 0; i < MORE; i++)
        cr_expect_eq(pt_plan_add_host(plan), 2 + i);
    cr_expect_eq(pt_plan_add_host(plan), PT_NONE);
    pt_plan_destroy(plan);
    for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++) {
        plan = plan_of(2, fixed[i]);
        cr_expect_eq(pt_plan_add_host(plan), PT_NONE);
        pt_plan_destroy(plan);
    }
}

Test(plan_drain, what_waits_is_called_back_and_what_runs_ends)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    uint32_t host, bundle, recalled = 0, to_first;
    add_units(plan, plain_unit(), 0, 40);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    deal_all(plan, 0, &to_first);
    cr_assert_eq(to_first, 4, "two run, two wait");
    pt_plan_host(plan, 1, 1);
    deal_all(plan, 1, &to_first);
    uint32_t held[4], n = 0;
    for (uint32_t b = 0; b < 4; b++)
        held[n++] = b;
    pt_plan_begun(plan, 0, held[0], 1, test_at(pt_plan_bundle(plan, held[0]), 0)->test);
    cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 0, "no slot idles");
    cr_assert(pt_plan_drain(plan, 0));
    while (pt_plan_recall(plan, &host, &bundle) == 1) {
        cr_expect_eq(host, 0);
        cr_expect_neq(bundle, held[0], "it has begun");
        cr_assert(pt_plan_returned(plan, host, bundle, bundle != held[1]));
        recalled++;
    }
    cr_expect_eq(recalled, 3, "the one that runs without a word came too late");
    cr_expect_eq(pt_plan_held(plan, 0), 2);
    deal_all(plan, 0, &to_first);
    cr_expect_eq(to_first, 0);
    cr_expect_not(pt_plan_is_free(plan, 0));
    tell(plan, 0, pt_plan_bundle(plan, held[0]));
    deal_all(plan, 0, &to_first);
    cr_expect_eq(to_first, 0, "nothing takes its place");
    tell(plan, 0, pt_plan_bundle(plan, held[1]));
    cr_expect(pt_plan_is_free(plan, 0));
    pt_plan_host(plan, 0, 2);
    deal_all(plan, 0, &to_first);
    cr_expect_eq(to_first, 0, "it does not come again");
    pt_plan_destroy(plan);
}

Test(plan_drain, the_later_part_of_what_runs_is_taken_though_no_slot_idles)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_steal steal;
    uint32_t to_second;
    add(plan, plain_unit(), "long.py", 0, 10, 10);
    add_units(plan, plain_unit(), 10, 6);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    struct pt_plan_deal deal;
    cr_assert_eq(pt_plan_next(plan, &deal, NULL), 1);
    cr_assert_eq(count_tests(deal.bundle), 10);
    pt_plan_host(plan, 1, 1);
    deal_all(plan, 1, &to_second);
    cr_assert_geq(to_second, 1);
    cr_assert_eq(pt_plan_steal(plan, &steal), 0, "no slot idles");
    cr_assert(pt_plan_drain(plan, 0));
    cr_assert_eq(pt_plan_steal(plan, &steal), 1);
    cr_expect_eq(steal.host, 0);
    cr_expect_eq(steal.bundle, deal.bundle->bundle);
    cr_expect(pt_plan_stolen(plan, 0, steal.bundle, 1, steal.tests, steal.n));
    pt_plan_destroy(plan);
}

Test(plan_drain, the_only_host_for_some_test_stays)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_unit unit = plain_unit();
    uint32_t n;
    unit.needs = 1;
    pt_plan_labels(plan, 0, 1);
    add_units(plan, unit, 0, 2);
    add_units(plan, plain_unit(), 2, 2);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    pt_plan_host(plan, 1, 1);
    cr_expect_not(pt_plan_drain(plan, 0));
    cr_expect_not(pt_plan_drain(plan, 7), "there is none");
    cr_expect_eq(pt_plan_impossible(plan), PT_NONE);
    deal_all(plan, 0, &n);
    cr_expect_geq(n, 1, "it works on");
    cr_expect_not(pt_plan_drain(plan, 0), "it holds one that would have nowhere to go back to");
    cr_assert_eq(pt_plan_add_host(plan), 2);
    pt_plan_labels(plan, 2, 1);
    pt_plan_expect(plan, 2, 1);
    cr_expect(pt_plan_drain(plan, 0));
    cr_expect_eq(pt_plan_impossible(plan), PT_NONE);
    pt_plan_destroy(plan);
}

Test(plan_drain, a_host_that_dies_while_it_leaves_gives_all_back)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    uint32_t n;
    add_units(plan, plain_unit(), 0, 8);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    deal_all(plan, 0, &n);
    pt_plan_host(plan, 1, 2);
    cr_assert(pt_plan_drain(plan, 0));
    pt_plan_lost(plan, 0, NULL, NULL);
    cr_expect(pt_plan_is_free(plan, 0));
    while (!pt_plan_over(plan)) {
        struct pt_plan_deal deal;
        cr_assert_eq(pt_plan_next(plan, &deal, NULL), 1);
        cr_assert_eq(deal.host, 1);
        tell(plan, 1, deal.bundle);
    }
    pt_plan_destroy(plan);
}

/* --- any order of events --- */

#define TESTS 120
#define HOSTS (2 + MORE)

struct world {
    struct pt_plan *plan;
    uint32_t hosts, told;
    bool leaves[HOSTS];
    struct pt_bundle held[HOSTS][TESTS];
    uint32_t nheld[HOSTS];
};

static void keep_dealing(struct world *w)
{
    struct pt_plan_deal deal;
    uint32_t host, bundle;
    struct pt_plan_steal steal;
    cr_assert_eq(pt_plan_impossible(w->plan), PT_NONE);
    while (pt_plan_next(w->plan, &deal, NULL) == 1) {
        cr_assert_not(w->leaves[deal.host]);
        w->held[deal.host][w->nheld[deal.host]++] = *deal.bundle;
    }
    while (pt_plan_recall(w->plan, &host, &bundle) == 1) {
        bool back = pick(2);
        cr_assert(pt_plan_returned(w->plan, host, bundle, back));
        for (uint32_t i = 0; back && i < w->nheld[host]; i++)
            if (w->held[host][i].bundle == bundle)
                w->held[host][i--] = w->held[host][--w->nheld[host]];
    }
    while (pt_plan_steal(w->plan, &steal) == 1)
        cr_assert(pt_plan_stolen(w->plan, steal.host, steal.bundle,
                                 pt_plan_bundle(w->plan, steal.bundle)->attempt, steal.tests,
                                 pick(steal.n + 1)));
}

static void end_one(struct world *w, uint32_t host)
{
    if (w->nheld[host] == 0)
        return;
    struct pt_bundle b = w->held[host][--w->nheld[host]];
    for (uint32_t i = 0; i < count_tests(&b); i++) {
        uint32_t test = test_at(&b, i)->test;
        if (pt_plan_holds(w->plan, host, b.bundle, b.attempt, test))
            w->told += pt_plan_told(w->plan, test);
    }
    cr_assert(pt_plan_done(w->plan, host, b.bundle, b.attempt, NULL, NULL));
}

static uint32_t staying(const struct world *w)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->hosts; i++)
        n += !w->leaves[i];
    return n;
}

Test(plan_drain, every_test_is_told_once_whoever_comes_and_leaves)
{
    for (uint32_t round = 0; round < 300; round++) {
        struct world w = {.plan = plan_of(2, PT_SCHEDULE_DYNAMIC), .hosts = 2};
        seed = round;
        for (uint32_t i = 0; i < TESTS; i += 4)
            add(w.plan, plain_unit(), i % 3 ? "a.py" : "b.py", i, 4, pick(3) ? 1 : -1);
        pt_plan_collected(w.plan);
        pt_plan_host(w.plan, 0, 1 + pick(3));
        pt_plan_host(w.plan, 1, 1 + pick(3));
        for (uint32_t step = 0; !pt_plan_over(w.plan); step++) {
            cr_assert_lt(step, 10000u, "round %u: %u untold", round, pt_plan_untold(w.plan));
            keep_dealing(&w);
            uint32_t host = pick(w.hosts), what = pick(30);
            if (what == 0 && w.hosts < HOSTS) {
                cr_assert_eq(pt_plan_add_host(w.plan), w.hosts);
                pt_plan_host(w.plan, w.hosts++, 1 + pick(3));
            } else if (what == 1 && !w.leaves[host] && staying(&w) > 1) {
                cr_assert(pt_plan_drain(w.plan, host));
                w.leaves[host] = true;
            } else {
                end_one(&w, host);
            }
        }
        cr_expect_eq(w.told, TESTS, "round %u", round);
        for (uint32_t i = 0; i < w.hosts; i++)
            cr_expect_eq(pt_plan_held(w.plan, i), w.nheld[i]);
        pt_plan_destroy(w.plan);
    }
}
