/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A run of the plan in which anything happens: what is true of its tests, random units, and whether what is
 * dealt may be. */
#include "plan_lab.h"

#define HOSTS_MAX 8
#ifndef TESTS_MAX
#define TESTS_MAX 4000
#endif
#define LIVE_MAX  512
#define ASKED_MAX 64

enum feature {
    WEIGHTS = 1,
    EXCLUSIVES = 2,
    LABELS = 4,
    PINS = 8,
    RERUNS = 16,
    LOSSES = 32,
    NEVER = 64,
    RAGGED = 128, /* runners give back whatever they like */
    RANKS = 256,  /* tests of several */
    ACROSS = 512, /* these are spread also where one host has slots enough */
    FEATURES = 1024,
};

struct fact { /* what is true of a test */
    uint32_t unit, weight, ranks, host, rank, tries, holders;
    enum pt_exclusive exclusive;
    uint64_t needs;
    bool numa, joined, told, kills; /* kills: takes its host along */
    bool fell;                      /* was in a bundle when its host died: may be dealt by itself */
};

struct live {
    struct pt_plan_deal deal;
    uint32_t n, at;           /* tests; told or passed over so far */
    uint32_t cut;             /* hosts of its spread that were lost, a bit each */
    bool gone[TESTS_MAX / 4]; /* given back */
};

struct asked {
    bool recall;
    uint32_t host, bundle, n, tests[TESTS_MAX / 4];
};

struct sim {
    struct pt_plan *plan;
    enum pt_schedule schedule;
    uint32_t features, hosts, slots[HOSTS_MAX];
    uint64_t labels[HOSTS_MAX];
    bool up[HOSTS_MAX], never[HOSTS_MAX];
    bool may[HOSTS_MAX], judged[HOSTS_MAX]; /* run tests together with others; whether is known */
    uint32_t units, units_added, tests;
    struct fact facts[TESTS_MAX];
    struct live *live[LIVE_MAX];
    uint32_t n;
    struct asked asked[ASKED_MAX];
    uint32_t nasked;
    uint32_t last_pinned[HOSTS_MAX][16]; /* unit dealt last to that slot, from 1 */
    uint32_t last_unit;                  /* dealt last, in a sequential run, from 1 */
    uint32_t impossible, copies, steals, drops, agains, given_up, killed, tried, spreads, broken;
};

static inline const struct fact *fact_of(const struct sim *sim, const struct live *live)
{
    return &sim->facts[test_at(live->deal.bundle, 0)->test];
}

static inline bool able(const struct sim *sim, const struct fact *f, uint32_t h)
{
    return (sim->labels[h] & f->needs) == f->needs && f->weight <= sim->slots[h] &&
           (f->host == PT_NONE || f->host == h) &&
           (f->rank == PT_NONE || f->ranks != 1 || f->rank < sim->slots[h]);
}

/* Slots of the host that the bundle takes. */
static inline uint32_t taken(const struct sim *sim, const struct live *live, uint32_t h)
{
    const struct pt_bundle *b = live->deal.bundle;
    for (uint32_t i = 0; i < b->nspread; i++)
        if (b->spread[i].host == h && !(live->cut >> h & 1))
            return b->spread[i].ranks;
    return b->nspread == 0 && live->deal.host == h ? fact_of(sim, live)->weight : 0;
}

/* Could several hosts that came, or may come, take it together? */
static inline bool able_together(const struct sim *sim, const struct fact *f)
{
    uint32_t n = 0, slots = 0;
    bool led = f->host == PT_NONE;
    for (uint32_t h = 0; h < sim->hosts; h++) {
        if (sim->never[h] || (sim->labels[h] & f->needs) != f->needs || (sim->judged[h] && !sim->may[h]))
            continue;
        n++;
        slots += sim->slots[h];
        led = led || f->host == h;
    }
    return led && n > 1 && f->ranks > 1 && f->ranks != PT_PLAN_ALL && slots >= f->ranks;
}

/* --- adding --- */

static inline void random_traits(struct sim *sim, struct pt_plan_unit *unit)
{
    *unit = plain_unit();
    if ((sim->features & WEIGHTS) && pick(6) == 0)
        unit->weight = 1 + pick(5);
    if ((sim->features & EXCLUSIVES) && pick(15) == 0)
        unit->exclusive = pick(3) ? PT_EXCLUSIVE_HOST : PT_EXCLUSIVE_RUN;
    if ((sim->features & LABELS) && pick(4) == 0)
        unit->needs = 1u << pick(3) | 1u << pick(3);
    if ((sim->features & PINS) && pick(3) == 0) {
        unit->host = pick(sim->hosts);
        if (pick(2))
            unit->rank = pick(sim->slots[unit->host] + (pick(20) == 0));
    }
    if ((sim->features & RANKS) && pick(3) == 0)
        unit->ranks = pick(6) ? 1 + pick(pick(3) ? 5 : 14) : PT_PLAN_ALL;
    unit->numa = (sim->features & RANKS) && pick(9) == 0;
    unit->alone = pick(10) == 0;
}

static inline struct fact unit_fact(const struct sim *sim, const struct pt_plan_unit *unit)
{
    struct fact f = {.unit = sim->units_added,
                     .weight = unit->weight ? unit->weight : 1,
                     .ranks = unit->ranks ? unit->ranks : 1,
                     .numa = unit->numa,
                     .exclusive = unit->exclusive,
                     .needs = unit->needs,
                     .host = unit->host,
                     .rank = unit->rank};
    if (f.ranks == PT_PLAN_ALL && !f.exclusive)
        f.exclusive = PT_EXCLUSIVE_HOST;
    else if (f.ranks != PT_PLAN_ALL && f.ranks > f.weight)
        f.weight = f.ranks;
    return f;
}

static inline void collect_one(struct sim *sim)
{
    struct pt_plan_unit unit;
    struct pt_bundle_test tests[24];
    struct pt_bundle_file files[3] = {{.path = (char[]){"a.py"}}, {.path = (char[]){"b.py"}}};
    char paths[3][32], ids[24][32];
    uint32_t atoms[24];
    float seconds[24];
    if (sim->units_added == sim->units)
        return;
    random_traits(sim, &unit);
    uint32_t n = 1 + pick(pick(4) ? 8 : 24);
    bool whole = pick(5) == 0;
    uint32_t nfiles = 1 + pick(3);
    nfiles = nfiles > n ? n : nfiles;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = sim->tests + i;
        snprintf(ids[i], sizeof(ids[i]), "t%u", number);
        tests[i] = (struct pt_bundle_test){.test = number, .nodeid = ids[i]};
        atoms[i] = i == 0 ? 7 : atoms[i - 1] + (pick(3) > 0);
        seconds[i] = pick(4) ? (float)pick(100) / 50 : -1;
        sim->facts[number] = unit_fact(sim, &unit);
        sim->facts[number].kills = (sim->features & LOSSES) && pick(300) == 0;
        sim->facts[number].joined = i > 0 && (whole || atoms[i] == atoms[i - 1]);
    }
    for (uint32_t f = 0, at = 0; f < nfiles; f++) {
        snprintf(paths[f], sizeof(paths[f]), "test_%u.py", pick(3) ? sim->units_added / 4 : f);
        files[f] = (struct pt_bundle_file){
            .path = paths[f], .tests = tests + at, .ntests = f + 1 == nfiles ? n - at : n / nfiles};
        at += files[f].ntests;
    }
    unit.files = files;
    unit.nfiles = nfiles;
    unit.atoms = whole ? NULL : atoms;
    unit.seconds_of = pick(2) ? seconds : NULL;
    unit.seconds = pick(3) ? pick(200) / 10.0 : -1;
    cr_assert_eq(pt_plan_add(sim->plan, &unit, NULL), 0);
    sim->tests += n;
    if (++sim->units_added == sim->units)
        pt_plan_collected(sim->plan);
}

/* --- what is dealt --- */

static inline void check_host(const struct sim *sim, const struct live *live, uint32_t h)
{
    uint32_t held = 0;
    uint64_t weight = 0;
    bool heavy = false;
    for (uint32_t i = 0; i < sim->n; i++) {
        const struct fact *f = fact_of(sim, sim->live[i]);
        held += sim->live[i]->deal.host == h;
        weight += taken(sim, sim->live[i], h);
        heavy = heavy || (taken(sim, sim->live[i], h) > 0 && f->weight > 1);
        if (taken(sim, sim->live[i], h) > 0 &&
            (f->exclusive || fact_of(sim, live)->exclusive || sim->live[i]->deal.alone || live->deal.alone))
            cr_assert_eq(sim->live[i], live, "beside a bundle that bears none on its host");
    }
    cr_assert_eq(pt_plan_held(sim->plan, h), held);
    if (heavy)
        cr_assert_leq(weight, sim->slots[h]);
}

static inline void check_neighbours(const struct sim *sim, const struct live *live)
{
    const struct fact *mine = fact_of(sim, live);
    for (uint32_t i = 0; i < sim->n; i++)
        if (fact_of(sim, sim->live[i])->exclusive == PT_EXCLUSIVE_RUN || mine->exclusive == PT_EXCLUSIVE_RUN)
            cr_assert_eq(sim->n, 1, "beside a bundle that bears none in the run");
    for (uint32_t h = 0; h < sim->hosts; h++)
        if (taken(sim, live, h) > 0)
            check_host(sim, live, h);
    if (sim->schedule == PT_SCHEDULE_SEQUENTIAL)
        cr_assert_eq(sim->n, 1);
}

static inline void check_spread(struct sim *sim, const struct live *live)
{
    const struct pt_bundle *b = live->deal.bundle;
    const struct fact *f = fact_of(sim, live);
    uint32_t ranks = 0, seen = 0;
    sim->spreads++;
    cr_assert(b->spread[0].host == live->deal.host && (f->host == PT_NONE || f->host == live->deal.host));
    for (uint32_t i = 0; i < b->nspread; i++) {
        uint32_t h = b->spread[i].host;
        cr_assert(sim->up[h] && sim->may[h] && !(seen >> h & 1));
        cr_assert_eq(sim->labels[h] & f->needs, f->needs);
        if (!(sim->features & ACROSS))
            cr_assert_not(able(sim, f, h), "one is enough");
        cr_assert_gt(b->spread[i].ranks, 0);
        ranks += b->spread[i].ranks;
        seen |= 1u << h;
    }
    cr_assert(b->nspread > 1 && ranks == f->ranks);
}

static inline void check_order(struct sim *sim, const struct live *live)
{
    const struct pt_bundle *b = live->deal.bundle;
    const struct fact *f = fact_of(sim, live);
    if (b->attempt > 1 || f->tries > 0 || f->fell || live->deal.copy)
        return;
    if (f->rank != PT_NONE && sim->schedule != PT_SCHEDULE_SEQUENTIAL) {
        uint32_t *last = &sim->last_pinned[live->deal.host][f->rank + (f->ranks != 1 ? 8 : 0)];
        cr_assert_gt(f->unit + 1, *last, "pinned units out of order");
        *last = f->unit + 1;
    }
    if (sim->schedule == PT_SCHEDULE_SEQUENTIAL) {
        for (uint32_t i = 0; i < live->n; i++) {
            uint32_t unit = sim->facts[test_at(b, i)->test].unit + 1;
            cr_assert_geq(unit, sim->last_unit, "out of order");
            sim->last_unit = unit;
        }
    }
}

static inline void check_tests(struct sim *sim, const struct live *live)
{
    const struct pt_bundle *b = live->deal.bundle;
    const struct fact *first = fact_of(sim, live);
    for (uint32_t i = 0; i < live->n; i++) {
        uint32_t number = test_at(b, i)->test;
        struct fact *f = &sim->facts[number];
        cr_assert_not(f->told, "a told test was dealt");
        uint32_t others = f->holders++;
        if (f->tries == 0) /* one that runs again may still be in the line of a copy */
            cr_assert_leq(others, live->deal.copy, "test %u is held already", number);
        cr_assert(f->weight == first->weight && f->needs == first->needs && f->host == first->host &&
                  f->rank == first->rank && f->exclusive == first->exclusive && f->ranks == first->ranks &&
                  f->numa == first->numa);
        if (f->joined && f->tries == 0 && !f->fell && !sim->facts[number - 1].told &&
            sim->facts[number - 1].tries == 0 && !(sim->features & RAGGED))
            cr_assert(i > 0 && test_at(b, i - 1)->test == number - 1, "an atom was parted");
        if (i > 0 && !live->deal.copy && sim->facts[test_at(b, i - 1)->test].unit == f->unit)
            cr_assert_gt(number, test_at(b, i - 1)->test);
    }
}

static inline void check_deal(struct sim *sim, const struct pt_plan_deal *deal)
{
    cr_assert_lt(sim->n, LIVE_MAX);
    struct live *live = calloc(1, sizeof(*live));
    *live = (struct live){.deal = *deal, .n = count_tests(deal->bundle)};
    sim->live[sim->n++] = live;
    cr_assert_gt(live->n, 0);
    cr_assert(sim->up[deal->host]);
    const struct fact *f = fact_of(sim, live);
    if (deal->bundle->nspread)
        check_spread(sim, live);
    else
        cr_assert(able(sim, f, deal->host));
    if (f->ranks != 1)
        cr_assert_eq(deal->bundle->rank, PT_NONE);
    else if (f->rank != PT_NONE)
        cr_assert_eq(deal->bundle->rank, f->rank);
    cr_assert_eq(deal->bundle->ranks, f->ranks == PT_PLAN_ALL ? sim->slots[deal->host] : f->ranks);
    cr_assert_eq(deal->bundle->flags, f->numa ? PT_BUNDLE_NUMA : 0);
    cr_assert(f->ranks == 1 || !deal->copy);
    sim->copies += deal->copy;
    sim->tried += deal->alone;
    check_tests(sim, live);
    check_neighbours(sim, live);
    check_order(sim, live);
}
