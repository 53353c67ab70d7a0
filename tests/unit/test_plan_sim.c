/* SPDX-License-Identifier: Apache-2.0 */
/* The plan under whole runs that are only thought through: hosts come, get lost, answer late; slots take
 * time. */
#include "common/err.h"
#include "plan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_MAX 16
#define TESTS_MAX 8000
#define LIVE_MAX  4096

static uint64_t seed;

static uint32_t pick(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static void add(struct pt_plan *plan, uint32_t file, uint32_t first, uint32_t n, double seconds)
{
    char path[32];
    char id[64];
    struct pt_bundle_test tests[64];
    char ids[64][64];
    snprintf(path, sizeof(path), "test_%u.py", file);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(id, sizeof(id), "%s::t%u", path, first + i);
        strcpy(ids[i], id);
        tests[i] = (struct pt_bundle_test){.test = first + i, .nodeid = ids[i]};
    }
    cr_assert_eq(pt_plan_add_file(plan, path, tests, n, seconds, NULL), 0);
}

/* --- anything may happen --- */

struct live {
    struct pt_plan_deal deal;
    uint32_t at; /* tests told so far, in order */
};

struct sim {
    struct pt_plan *plan;
    uint32_t hosts, slots[HOSTS_MAX];
    bool up[HOSTS_MAX];
    uint32_t files, files_added, tests, tests_added;
    struct live live[LIVE_MAX];
    size_t n;
    uint8_t holders[TESTS_MAX]; /* live attempts that have the test and have not told it */
    bool told[TESTS_MAX];
    uint32_t file_size[TESTS_MAX];
    uint32_t attempts[TESTS_MAX]; /* by bundle: the last one */
    uint32_t given_up;
    bool recalled;
    uint32_t recall_host, recall_bundle;
};

static const struct pt_bundle_test *test_at(const struct pt_bundle *bundle, uint32_t at)
{
    for (uint32_t f = 0; f < bundle->nfiles; f++) {
        if (at < bundle->files[f].ntests)
            return &bundle->files[f].tests[at];
        at -= bundle->files[f].ntests;
    }
    return NULL;
}

static void given_up(void *arg, uint32_t test)
{
    struct sim *sim = arg;
    cr_assert_not(sim->told[test]);
    sim->told[test] = true;
    sim->given_up++;
}

static void drop_live(struct sim *sim, size_t i)
{
    const struct pt_bundle_test *test;
    for (uint32_t at = sim->live[i].at; (test = test_at(sim->live[i].deal.bundle, at)); at++)
        sim->holders[test->test]--;
    if (sim->recalled && sim->recall_bundle == sim->live[i].deal.bundle->bundle)
        sim->recalled = false;
    sim->live[i] = sim->live[--sim->n];
}

static void check_deal(struct sim *sim, const struct pt_plan_deal *deal)
{
    const struct pt_bundle *bundle = deal->bundle;
    const struct pt_bundle_test *test;
    cr_assert(sim->up[deal->host]);
    cr_assert_leq(pt_plan_held(sim->plan, deal->host), 2 * sim->slots[deal->host] + 1);
    cr_assert_eq(bundle->attempt, sim->attempts[bundle->bundle] + 1);
    sim->attempts[bundle->bundle] = bundle->attempt;
    cr_assert_gt(bundle->nfiles, 0);
    for (uint32_t at = 0; (test = test_at(bundle, at)); at++) {
        cr_assert_not(sim->told[test->test], "a told test was dealt");
        cr_assert_eq(sim->holders[test->test], 0, "two live attempts at test %u", test->test);
        sim->holders[test->test]++;
    }
    for (uint32_t f = 0; bundle->attempt == 1 && !deal->alone && f < bundle->nfiles; f++)
        cr_assert_eq(bundle->files[f].ntests, sim->file_size[atoi(bundle->files[f].path + 5)]);
    cr_assert_lt(sim->n, LIVE_MAX);
    sim->live[sim->n++] = (struct live){.deal = *deal};
}

static void deal_all(struct sim *sim)
{
    struct pt_plan_deal deal;
    while (pt_plan_next(sim->plan, &deal, NULL) > 0)
        check_deal(sim, &deal);
    if (!sim->recalled && pt_plan_recall(sim->plan, &sim->recall_host, &sim->recall_bundle)) {
        sim->recalled = true;
        cr_assert_gt(pt_plan_held(sim->plan, sim->recall_host), 0);
    }
}

static void collect_one(struct sim *sim)
{
    if (sim->files_added < sim->files) {
        uint32_t n = 1 + pick(12);
        sim->file_size[sim->files_added] = n;
        add(sim->plan, sim->files_added++, sim->tests_added, n, pick(3) ? pick(100) / 10.0 : -1);
        sim->tests_added += n;
        if (sim->files_added == sim->files)
            pt_plan_collected(sim->plan);
    }
}

static void run_one(struct sim *sim)
{
    if (sim->n == 0)
        return;
    size_t i = pick((uint32_t)sim->n);
    struct live *live = &sim->live[i];
    const struct pt_bundle *bundle = live->deal.bundle;
    const struct pt_bundle_test *test = test_at(bundle, live->at);
    if (!test) {
        cr_assert(pt_plan_done(sim->plan, live->deal.host, bundle->bundle, bundle->attempt, given_up, sim));
        drop_live(sim, i);
        return;
    }
    cr_assert(pt_plan_holds(sim->plan, live->deal.host, bundle->bundle, bundle->attempt, test->test));
    cr_assert(pt_plan_told(sim->plan, test->test));
    sim->told[test->test] = true;
    sim->holders[test->test]--;
    live->at++;
}

static void change_host(struct sim *sim)
{
    uint32_t h = pick(sim->hosts);
    if (!sim->up[h]) {
        sim->up[h] = true;
        pt_plan_host(sim->plan, h, sim->slots[h]);
        return;
    }
    if (pick(8))
        return;
    sim->up[h] = false;
    for (size_t i = 0; i < sim->n;) {
        if (sim->live[i].deal.host == h)
            drop_live(sim, i);
        else
            i++;
    }
    pt_plan_lost(sim->plan, h, given_up, sim);
    cr_assert_eq(pt_plan_held(sim->plan, h), 0);
}

static void answer(struct sim *sim)
{
    if (!sim->recalled)
        return;
    sim->recalled = false;
    for (size_t i = 0; i < sim->n; i++) {
        if (sim->live[i].deal.bundle->bundle != sim->recall_bundle)
            continue;
        bool back = sim->live[i].at == 0;
        cr_assert(pt_plan_returned(sim->plan, sim->recall_host, sim->recall_bundle, back));
        if (back)
            drop_live(sim, i);
        return;
    }
    cr_assert_fail("a bundle was called back that nobody holds");
}

/* A host that is up and has a free slot means that nothing waits but what must wait for a host of its own. */
static void check_busy(const struct sim *sim)
{
    if (sim->files_added < sim->files || pt_plan_over(sim->plan))
        return;
    uint32_t up = 0;
    uint32_t held = 0;
    for (uint32_t h = 0; h < sim->hosts; h++) {
        up += sim->up[h];
        held += pt_plan_held(sim->plan, h);
    }
    if (up > 0)
        cr_assert_gt(held, 0, "hosts are there, tests too, and nothing is dealt");
}

static void run_random(uint64_t number)
{
    static struct sim sim;
    sim = (struct sim){0};
    seed = number * 7919 + 1;
    sim.hosts = 1 + pick(HOSTS_MAX);
    sim.files = 1 + pick(400);
    struct pt_plan_spec spec = {.hosts = sim.hosts, .bundles_per_worker = 1 + pick(20)};
    sim.plan = pt_plan_create(&spec, NULL);
    cr_assert_not_null(sim.plan);
    for (uint32_t h = 0; h < sim.hosts; h++) {
        sim.slots[h] = 1 + pick(16);
        if (pick(2))
            pt_plan_expect(sim.plan, h, sim.slots[h]);
    }
    for (long step = 0; !pt_plan_over(sim.plan); step++) {
        cr_assert_lt(step, 2000000, "run %lu does not end", (unsigned long)number);
        uint32_t what = pick(100);
        if (what < 20)
            collect_one(&sim);
        else if (what < 22)
            change_host(&sim);
        else if (what < 30)
            answer(&sim);
        else
            run_one(&sim);
        deal_all(&sim);
        check_busy(&sim);
    }
    for (uint32_t t = 0; t < sim.tests_added; t++)
        cr_assert(sim.told[t] && pt_plan_is_told(sim.plan, t));
    cr_assert_eq(pt_plan_untold(sim.plan), 0);
    cr_assert_eq(sim.files_added, sim.files);
    pt_plan_destroy(sim.plan);
}

Test(plan_sim, every_test_is_told_once_whatever_happens)
{
    for (uint64_t i = 0; i < 150; i++)
        run_random(i);
}

/* --- how well the slots are used --- */

struct slot_run {
    double end;
    struct pt_plan_deal deal;
    uint32_t slot;
};

struct clock {
    struct pt_plan *plan;
    double now, delay; /* delay: from dealing to the host, and back */
    uint32_t hosts, slots[HOSTS_MAX];
    double free_at[HOSTS_MAX][64];
    double busy;
    double seconds[TESTS_MAX]; /* what each test really takes */
    struct slot_run runs[LIVE_MAX];
    size_t n;
};

static void clock_start(struct clock *clock, const struct pt_plan_deal *deal)
{
    double *free_at = clock->free_at[deal->host];
    uint32_t first = 0;
    for (uint32_t i = 1; i < clock->slots[deal->host]; i++)
        if (free_at[i] < free_at[first])
            first = i;
    double start = fmax(clock->now + clock->delay, free_at[first]);
    double takes = 0;
    const struct pt_bundle_test *test;
    for (uint32_t at = 0; (test = test_at(deal->bundle, at)); at++)
        takes += clock->seconds[test->test];
    free_at[first] = start + takes;
    clock->busy += takes;
    cr_assert_lt(clock->n, LIVE_MAX);
    clock->runs[clock->n++] = (struct slot_run){.end = start + takes + clock->delay, .deal = *deal};
}

static void clock_step(struct clock *clock)
{
    size_t first = 0;
    for (size_t i = 1; i < clock->n; i++)
        if (clock->runs[i].end < clock->runs[first].end)
            first = i;
    struct slot_run run = clock->runs[first];
    clock->runs[first] = clock->runs[--clock->n];
    clock->now = run.end;
    const struct pt_bundle_test *test;
    for (uint32_t at = 0; (test = test_at(run.deal.bundle, at)); at++)
        pt_plan_told(clock->plan, test->test);
    pt_plan_done(clock->plan, run.deal.host, run.deal.bundle->bundle, run.deal.bundle->attempt, NULL, NULL);
}

/* The part of the slots' time that tests had, from the start to the last outcome. */
static double use_of_slots(struct clock *clock)
{
    double slots = 0;
    for (uint32_t h = 0; h < clock->hosts; h++) {
        pt_plan_host(clock->plan, h, clock->slots[h]);
        slots += clock->slots[h];
    }
    do {
        struct pt_plan_deal deal;
        while (pt_plan_next(clock->plan, &deal, NULL) > 0)
            clock_start(clock, &deal);
        if (clock->n > 0)
            clock_step(clock);
    } while (clock->n > 0 || !pt_plan_over(clock->plan));
    return clock->busy / (slots * clock->now);
}

/* Files of 0.02 to 4 seconds, a few slow; known says whether history has them. */
static double use_with(uint32_t hosts, uint32_t slots, double delay, bool known)
{
    static struct clock clock;
    clock = (struct clock){.delay = delay, .hosts = hosts};
    seed = 42;
    struct pt_plan_spec spec = {.hosts = hosts, .bundles_per_worker = 10};
    clock.plan = pt_plan_create(&spec, NULL);
    for (uint32_t h = 0; h < hosts; h++)
        clock.slots[h] = slots;
    for (uint32_t f = 0, t = 0; f < 600; f++) {
        uint32_t n = 1 + pick(10);
        double sum = 0;
        for (uint32_t i = 0; i < n; i++)
            sum += clock.seconds[t + i] = 0.02 + (pick(20) ? pick(100) / 1000.0 : pick(100) / 50.0);
        add(clock.plan, f, t, n, known ? sum : -1);
        t += n;
    }
    pt_plan_collected(clock.plan);
    double use = use_of_slots(&clock);
    pt_plan_destroy(clock.plan);
    return use;
}

Test(plan_sim, slots_end_together_when_durations_are_known)
{
    cr_assert_gt(use_with(1, 1, 0, true), 0.999);
    cr_assert_gt(use_with(2, 1, 0, true), 0.99);
    cr_assert_gt(use_with(2, 8, 0, true), 0.95);
    cr_assert_gt(use_with(4, 8, 0, true), 0.90);
}

Test(plan_sim, slots_end_nearly_together_when_nothing_is_known)
{
    cr_assert_gt(use_with(2, 1, 0, false), 0.97);
    cr_assert_gt(use_with(2, 8, 0, false), 0.85);
}

Test(plan_sim, no_slot_waits_for_a_round_trip)
{
    cr_assert_gt(use_with(2, 1, 0.1, true), 0.98);
    cr_assert_gt(use_with(2, 8, 0.1, true), 0.92);
    cr_assert_gt(use_with(2, 8, 0.1, false), 0.80);
}

/* --- dry run --- */

struct listing {
    uint32_t bundles[HOSTS_MAX], tests, total;
};

static void list(void *arg, const struct pt_plan_deal *deal)
{
    struct listing *listing = arg;
    listing->bundles[deal->host]++;
    listing->total++;
    for (uint32_t at = 0; test_at(deal->bundle, at); at++)
        listing->tests++;
}

Test(plan_sim, preview_shows_every_test_once_on_all_hosts)
{
    struct pt_plan_spec spec = {.hosts = 3, .bundles_per_worker = 10};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    for (uint32_t f = 0; f < 300; f++)
        add(plan, f, 2 * f, 2, f % 2 ? 1.0 + f % 5 : -1.0);
    pt_plan_collected(plan);
    pt_plan_expect(plan, 0, 1);
    pt_plan_host(plan, 2, 3);
    struct listing listing = {0};
    cr_assert_eq(pt_plan_preview(plan, list, &listing, NULL), 0);
    cr_assert_eq(listing.tests, 600);
    cr_assert_eq(listing.bundles[1], 0);
    cr_assert_gt(listing.bundles[2], 2 * listing.bundles[0]);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan_sim, preview_without_hosts_shows_nothing)
{
    struct pt_plan_spec spec = {.hosts = 1, .bundles_per_worker = 10};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    add(plan, 0, 0, 2, 1);
    pt_plan_collected(plan);
    struct listing listing = {0};
    cr_assert_eq(pt_plan_preview(plan, list, &listing, NULL), 0);
    cr_assert_eq(listing.total, 0);
    pt_plan_destroy(plan);
}
