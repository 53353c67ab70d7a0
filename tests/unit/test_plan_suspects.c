/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that bring their host down: found whatever the order of events, and nothing else is blamed. */
#include "orders.h"
#include "plan_lab.h"

TestSuite(plan_suspects, .fini = orders_show);

#define HOSTS 2
#define TESTS 64

struct live {
    struct pt_plan_deal deal;
    uint32_t at, silent; /* tests that ran; the last of them whose reports are still on their way */
};

struct world {
    struct pt_plan *plan;
    uint32_t hosts, slots, tests, killers[2];
    bool down[HOSTS], told[TESTS], killed[TESTS];
    struct live live[64];
    uint32_t n, deaths, trials, died[HOSTS];
};

static bool is_killer(const struct world *w, uint32_t test)
{
    return test == w->killers[0] || test == w->killers[1];
}

static void given_up(void *arg, uint32_t test)
{
    struct world *w = arg;
    struct pt_plan_deaths deaths;
    cr_assert(is_killer(w, test), "test %u is innocent", test);
    cr_assert_not(w->told[test]);
    cr_assert(pt_plan_killed(w->plan, test, &deaths));
    cr_assert(deaths.alone >= PT_PLAN_ALONE && deaths.n >= PT_PLAN_KILLS && deaths.n <= w->deaths);
    w->told[test] = w->killed[test] = true;
}

/* files of 4 tests each, on hosts that are there. */
static void world_begin(struct world *w, uint32_t hosts, uint32_t slots, uint32_t files)
{
    struct pt_plan_spec spec = {.hosts = hosts, .bundles_per_worker = 4};
    *w = (struct world){.hosts = hosts, .slots = slots, .tests = 4 * files, .killers = {PT_NONE, PT_NONE}};
    w->plan = pt_plan_create(&spec, NULL);
    for (uint32_t f = 0; f < files; f++) {
        char path[16];
        snprintf(path, sizeof(path), "%c.py", (char)('a' + f));
        cr_assert_eq(add_unit(w->plan, plain_unit(), path, 4 * f, 4, 1, NULL), 0);
    }
    pt_plan_collected(w->plan);
    for (uint32_t h = 0; h < hosts; h++)
        pt_plan_host(w->plan, h, slots);
}

static void deal(struct world *w)
{
    struct pt_plan_deal d;
    while (pt_plan_next(w->plan, &d, NULL) == 1) {
        for (uint32_t i = 0; i < w->n; i++)
            if (w->live[i].deal.host == d.host)
                cr_assert(!w->live[i].deal.alone && !d.alone, "a suspect is not alone");
        cr_assert(!d.alone || count_tests(d.bundle) == 1);
        w->trials += d.alone;
        w->live[w->n++] = (struct live){.deal = d};
    }
}

static void die(struct world *w, uint32_t host)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->n; i++)
        if (w->live[i].deal.host != host)
            w->live[kept++] = w->live[i];
    w->n = kept;
    w->deaths++;
    w->died[host]++;
    w->down[host] = true;
    pt_plan_lost(w->plan, host, given_up, w);
}

static void come_back(struct world *w)
{
    for (uint32_t h = 0; h < w->hosts; h++)
        if (w->down[h])
            pt_plan_host(w->plan, h, w->slots);
    memset(w->down, 0, sizeof(w->down));
}

static void begin(struct world *w, const struct live *l, uint32_t test)
{
    const struct pt_bundle *b = l->deal.bundle;
    pt_plan_begun(w->plan, l->deal.host, b->bundle, b->attempt, test);
}

static void report(struct world *w, struct live *l)
{
    for (; l->silent > 0; l->silent--) {
        uint32_t test = test_at(l->deal.bundle, l->at - l->silent)->test;
        cr_assert(pt_plan_told(w->plan, test));
        cr_assert_not(w->told[test], "test %u is told twice", test);
        w->told[test] = true;
    }
}

enum how { HEARD, SILENT, UNHEARD, HOWS };

/* The bundle's next test, or its end. SILENT: its report is not sent yet; UNHEARD: nor that it began. */
static void advance(struct world *w, uint32_t i, enum how how)
{
    struct live *l = &w->live[i];
    const struct pt_bundle_test *next = test_at(l->deal.bundle, l->at);
    if (!next) {
        struct pt_plan_deal d = l->deal;
        report(w, l);
        w->live[i] = w->live[--w->n];
        cr_assert(pt_plan_done(w->plan, d.host, d.bundle->bundle, d.bundle->attempt, given_up, w));
        return;
    }
    if (how == HEARD)
        report(w, l);
    if (how != UNHEARD)
        begin(w, l, next->test);
    if (is_killer(w, next->test)) {
        die(w, l->deal.host);
        return;
    }
    l->at++;
    l->silent++;
    if (how == HEARD)
        report(w, l);
}

static void world_end(struct world *w)
{
    uint32_t excused = 0;
    for (uint32_t t = 0; t < w->tests; t++) {
        cr_assert(w->told[t] && pt_plan_is_told(w->plan, t), "test %u was not told", t);
        cr_assert_eq(w->killed[t], is_killer(w, t));
    }
    for (uint32_t h = 0; h < w->hosts; h++) {
        cr_assert_leq(pt_plan_excused(w->plan, h), w->died[h]);
        excused += pt_plan_excused(w->plan, h);
    }
    cr_assert_geq(excused, w->killers[0] == PT_NONE ? 0 : PT_PLAN_KILLS);
    pt_plan_destroy(w->plan);
}

/* --- orders of events --- */

#define DEPTH 6

static void run_order(struct world *w)
{
    for (uint32_t h = 0; h < w->hosts; h++) { /* each has told of a test: what follows is not its start */
        deal(w);
        advance(w, h, HEARD);
        come_back(w);
    }
    for (int step = 0; !pt_plan_over(w->plan); step++) {
        cr_assert_lt(step, 2000, "it does not end");
        bool any_down = w->down[0] || w->down[1];
        if (any_down && (w->n == 0 || choose(2) == 0))
            come_back(w);
        deal(w);
        if (w->n == 0)
            continue;
        uint32_t what = choose(w->n * HOWS);
        advance(w, what / HOWS, what % HOWS);
    }
    world_end(w);
}

static uint32_t all_orders(uint32_t hosts, uint32_t slots, uint32_t first, uint32_t second)
{
    uint32_t most = 0;
    struct world w;
    orders_begin(DEPTH);
    do {
        world_begin(&w, hosts, slots, 2);
        w.killers[0] = first;
        w.killers[1] = second;
        run_order(&w);
        most = w.deaths > most ? w.deaths : most;
    } while (orders_next());
    cr_assert_gt(orders.n, 2000);
    return most;
}

Test(plan_suspects, one_killer_is_found_in_any_order_of_events)
{
    for (uint32_t killer = 0; killer < 8; killer += 3) {
        uint32_t most = all_orders(1, 2, killer, PT_NONE);
        cr_assert_leq(most, 6, "%u deaths", most);
        most = all_orders(2, 1, killer, PT_NONE);
        cr_assert_leq(most, 6, "%u deaths", most);
    }
}

Test(plan_suspects, two_killers_are_found_in_any_order_of_events)
{
    cr_assert_leq(all_orders(1, 2, 2, 5), 10);
    cr_assert_leq(all_orders(2, 1, 2, 3), 10);
}

Test(plan_suspects, killers_are_found_in_long_runs)
{
    struct world w;
    for (uint64_t number = 0; number < 300; number++) {
        seed = number * 7919 + 1;
        world_begin(&w, 1 + pick(2), 1 + pick(6), 16);
        w.killers[0] = pick(TESTS);
        w.killers[1] = pick(TESTS);
        for (int step = 0; !pt_plan_over(w.plan); step++) {
            cr_assert_lt(step, 5000, "run %lu does not end", (unsigned long)number);
            if (w.n == 0 || pick(4) == 0)
                come_back(&w);
            deal(&w);
            if (w.n > 0)
                advance(&w, pick(w.n), pick(8) ? HEARD : pick(2) ? SILENT : UNHEARD);
        }
        cr_assert_leq(w.deaths, 12, "%u deaths in run %lu", w.deaths, (unsigned long)number);
        world_end(&w);
    }
}

/* --- who is suspected --- */

/* Told by STARTED what ran there, the host dies. */
static void die_at(struct world *w, uint32_t host, const uint32_t *tests, uint32_t n)
{
    for (uint32_t i = 0; i < w->n; i++)
        for (uint32_t t = 0; t < n; t++)
            if (w->live[i].deal.host == host)
                begin(w, &w->live[i], tests[t]);
    die(w, host);
}

Test(plan_suspects, what_waited_is_not_counted)
{
    struct world w;
    uint32_t of_one = 0;
    world_begin(&w, 1, 1, 8);
    for (uint32_t i = 0; i < PT_PLAN_DEATHS; i++) {
        deal(&w);
        cr_assert_geq(w.n, 2, "some wait in the host's line");
        uint32_t runs = test_at(w.live[0].deal.bundle, 0)->test;
        cr_assert_eq(runs, 0);
        of_one = count_tests(w.live[0].deal.bundle);
        die_at(&w, 0, &runs, 1);
        come_back(&w);
    }
    deal(&w);
    cr_assert(w.n == 1 && w.live[0].deal.alone);
    cr_assert_eq(test_at(w.live[0].deal.bundle, 0)->test, 0);
    advance(&w, 0, HEARD); /* it is not it: so are the next ones tried */
    advance(&w, 0, HEARD);
    for (uint32_t i = 1; i < of_one; i++) {
        deal(&w);
        cr_assert(w.n == 1 && w.live[0].deal.alone);
        cr_assert_eq(test_at(w.live[0].deal.bundle, 0)->test, i);
        advance(&w, 0, HEARD);
        advance(&w, 0, HEARD);
    }
    deal(&w);
    cr_assert_not(w.live[0].deal.alone, "what waited is as good as new");
    cr_assert_eq(pt_plan_excused(w.plan, 0), 0, "it was the host");
    pt_plan_destroy(w.plan);
}

Test(plan_suspects, a_host_that_died_before_any_test_began_blames_none)
{
    struct world w;
    world_begin(&w, 1, 2, 4);
    for (uint32_t i = 0; i < 10; i++) {
        deal(&w);
        die(&w, 0);
        come_back(&w);
    }
    deal(&w);
    cr_assert_eq(w.trials, 0);
    cr_assert_eq(pt_plan_excused(w.plan, 0), 0);
    pt_plan_destroy(w.plan);
}

Test(plan_suspects, deaths_of_a_host_for_its_own_reasons_make_no_test_a_killer)
{
    struct world w;
    world_begin(&w, 2, 1, 4);
    for (uint32_t i = 0; i < 3; i++) { /* twice at a bundle's test, then while that is alone */
        deal(&w);
        for (uint32_t l = 0; l < w.n; l++)
            begin(&w, &w.live[l], test_at(w.live[l].deal.bundle, 0)->test);
        die(&w, 0);
        if (w.n > 0)
            die(&w, 1);
        come_back(&w);
    }
    while (!pt_plan_over(w.plan)) {
        deal(&w);
        advance(&w, 0, HEARD);
    }
    world_end(&w);
}

Test(plan_suspects, neighbours_of_a_killer_go_free_with_it)
{
    struct world w;
    world_begin(&w, 1, 2, 8);
    w.killers[0] = 0;
    for (uint32_t i = 0; i < PT_PLAN_DEATHS; i++) {
        deal(&w);
        advance(&w, 1, HEARD);
        begin(&w, &w.live[1], test_at(w.live[1].deal.bundle, w.live[1].at)->test);
        advance(&w, 0, HEARD);
        come_back(&w);
    }
    for (uint32_t i = 0; i < PT_PLAN_ALONE; i++) {
        deal(&w);
        cr_assert(w.n == 1 && w.live[0].deal.alone, "both bundles are suspects");
        if (test_at(w.live[0].deal.bundle, 0)->test != 0) {
            advance(&w, 0, HEARD);
            advance(&w, 0, HEARD);
            i--;
            continue;
        }
        advance(&w, 0, HEARD);
        come_back(&w);
    }
    cr_assert(w.killed[0]);
    uint32_t trials = w.trials;
    while (!pt_plan_over(w.plan)) {
        deal(&w);
        advance(&w, 0, HEARD);
    }
    cr_assert_eq(w.trials, trials, "nothing is a suspect any more");
    cr_assert_eq(pt_plan_excused(w.plan, 0), w.deaths, "no death was the host's fault");
    world_end(&w);
}

/* A host that is bad proves nothing: the other one is drained for the second time alone. */
Test(plan_suspects, what_died_alone_goes_to_another_host)
{
    struct world w;
    uint32_t last = PT_NONE, run = 0;
    world_begin(&w, 2, 2, 12);
    while (!pt_plan_over(w.plan)) {
        come_back(&w);
        deal(&w);
        uint32_t i = w.n - 1;
        const struct pt_plan_deal *d = &w.live[i].deal;
        while (i > 0 && !d->alone)
            d = &w.live[--i].deal;
        run = test_at(d->bundle, 0)->test;
        if (run == 0 && d->alone) {
            cr_assert_neq(d->host, last);
            last = d->host;
        }
        if (run == 0) {
            begin(&w, &w.live[i], 0);
            die(&w, d->host);
            if (w.deaths == PT_PLAN_DEATHS + 1) { /* the other one is at work: it waits for that */
                come_back(&w);
                deal(&w);
                for (uint32_t l = 0; l < w.n; l++)
                    cr_assert_neq(test_at(w.live[l].deal.bundle, 0)->test, 0);
                break;
            }
            continue;
        }
        advance(&w, i, HEARD);
    }
    cr_assert_eq(w.deaths, PT_PLAN_DEATHS + 1);
    while (!pt_plan_over(w.plan)) {
        deal(&w);
        for (uint32_t l = 0; l < w.n; l++)
            if (test_at(w.live[l].deal.bundle, 0)->test == 0)
                cr_assert(w.live[l].deal.alone && w.live[l].deal.host != last);
        advance(&w, 0, HEARD);
    }
    world_end(&w);
}

Test(plan_suspects, tests_of_several_ranks_that_kill_are_found_too)
{
    struct world w;
    struct pt_plan_unit two = plain_unit();
    two.ranks = 2;
    world_begin(&w, 2, 4, 2);
    cr_assert_eq(add_unit(w.plan, two, "ranks.py", 8, 4, 1, NULL), 0);
    w.tests = 12;
    w.killers[0] = 10;
    while (!pt_plan_over(w.plan)) {
        come_back(&w);
        deal(&w);
        advance(&w, w.n - 1, HEARD);
    }
    cr_assert_eq(w.deaths, PT_PLAN_DEATHS + PT_PLAN_ALONE);
    world_end(&w);
}

Test(plan_suspects, an_order_that_is_kept_finds_them_as_well)
{
    struct world w = {.hosts = 1, .slots = 1, .tests = 8, .killers = {3, PT_NONE}};
    struct pt_plan_spec spec = {
        .hosts = 1, .bundles_per_worker = 2, .schedule = PT_SCHEDULE_SEQUENTIAL, .in_order = true};
    w.plan = pt_plan_create(&spec, NULL);
    for (uint32_t f = 0; f < 2; f++)
        add_unit(w.plan, plain_unit(), f ? "b.py" : "a.py", 4 * f, 4, 1, NULL);
    pt_plan_collected(w.plan);
    pt_plan_host(w.plan, 0, 1);
    while (!pt_plan_over(w.plan)) {
        come_back(&w);
        deal(&w);
        cr_assert_eq(w.n, 1);
        advance(&w, 0, HEARD);
    }
    cr_assert_eq(w.deaths, PT_PLAN_DEATHS + PT_PLAN_ALONE);
    world_end(&w);
}

Test(plan_suspects, a_run_that_ends_early_blames_none)
{
    struct world w;
    world_begin(&w, 1, 1, 1);
    w.killers[0] = 0;
    while (w.deaths < PT_PLAN_DEATHS + PT_PLAN_ALONE - 1) {
        deal(&w);
        advance(&w, 0, HEARD);
        come_back(&w);
    }
    deal(&w);
    cr_assert(w.live[0].deal.alone);
    begin(&w, &w.live[0], 0);
    pt_plan_stop(w.plan);
    die(&w, 0);
    cr_assert_not(w.killed[0]);
    cr_assert(pt_plan_over(w.plan));
    pt_plan_destroy(w.plan);
}
