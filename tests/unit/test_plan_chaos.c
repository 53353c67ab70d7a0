/* SPDX-License-Identifier: Apache-2.0 */
/* The plan under whole runs in which anything happens: random suites with every kind of unit, hosts that
 * come, go and never come again, bundles called back, robbed, copied, spread over hosts, tests run again. */
#include "plan_lab.h"

#define HOSTS_MAX 8
#define TESTS_MAX 4000
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
    uint32_t impossible, copies, steals, drops, agains, given_up, spreads, broken;
};

static const struct fact *fact_of(const struct sim *sim, const struct live *live)
{
    return &sim->facts[test_at(live->deal.bundle, 0)->test];
}

static bool able(const struct sim *sim, const struct fact *f, uint32_t h)
{
    return (sim->labels[h] & f->needs) == f->needs && f->weight <= sim->slots[h] &&
           (f->host == PT_NONE || f->host == h) &&
           (f->rank == PT_NONE || f->ranks != 1 || f->rank < sim->slots[h]);
}

/* Slots of the host that the bundle takes. */
static uint32_t taken(const struct sim *sim, const struct live *live, uint32_t h)
{
    const struct pt_bundle *b = live->deal.bundle;
    for (uint32_t i = 0; i < b->nspread; i++)
        if (b->spread[i].host == h && !(live->cut >> h & 1))
            return b->spread[i].ranks;
    return b->nspread == 0 && live->deal.host == h ? fact_of(sim, live)->weight : 0;
}

/* Could several hosts that came, or may come, take it together? */
static bool able_together(const struct sim *sim, const struct fact *f)
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

static void random_traits(struct sim *sim, struct pt_plan_unit *unit)
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

static struct fact unit_fact(const struct sim *sim, const struct pt_plan_unit *unit)
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

static void collect_one(struct sim *sim)
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

static void check_host(const struct sim *sim, const struct live *live, uint32_t h)
{
    uint32_t held = 0;
    uint64_t weight = 0;
    bool heavy = false;
    for (uint32_t i = 0; i < sim->n; i++) {
        const struct fact *f = fact_of(sim, sim->live[i]);
        held += sim->live[i]->deal.host == h;
        weight += taken(sim, sim->live[i], h);
        heavy = heavy || (taken(sim, sim->live[i], h) > 0 && f->weight > 1);
        if (taken(sim, sim->live[i], h) > 0 && (f->exclusive || fact_of(sim, live)->exclusive))
            cr_assert_eq(sim->live[i], live, "beside a bundle that bears none on its host");
    }
    cr_assert_eq(pt_plan_held(sim->plan, h), held);
    if (heavy)
        cr_assert_leq(weight, sim->slots[h]);
}

static void check_neighbours(const struct sim *sim, const struct live *live)
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

static void check_spread(struct sim *sim, const struct live *live)
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

static void check_order(struct sim *sim, const struct live *live)
{
    const struct pt_bundle *b = live->deal.bundle;
    const struct fact *f = fact_of(sim, live);
    if (b->attempt > 1 || f->tries > 0 || live->deal.copy)
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

static void check_tests(struct sim *sim, const struct live *live)
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
        if (f->joined && f->tries == 0 && !sim->facts[number - 1].told && sim->facts[number - 1].tries == 0 &&
            !(sim->features & RAGGED))
            cr_assert(i > 0 && test_at(b, i - 1)->test == number - 1, "an atom was parted");
        if (i > 0 && !live->deal.copy && sim->facts[test_at(b, i - 1)->test].unit == f->unit)
            cr_assert_gt(number, test_at(b, i - 1)->test);
    }
}

static void check_deal(struct sim *sim, const struct pt_plan_deal *deal)
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
    check_tests(sim, live);
    check_neighbours(sim, live);
    check_order(sim, live);
}

/* --- the plan's wishes --- */

static void drop_live(struct sim *sim, uint32_t i)
{
    struct live *live = sim->live[i];
    for (uint32_t at = live->at; at < live->n; at++)
        if (!live->gone[at])
            sim->facts[test_at(live->deal.bundle, at)->test].holders--;
    sim->live[i] = sim->live[--sim->n];
    free(live);
}

static uint32_t find_live(const struct sim *sim, uint32_t host, uint32_t bundle)
{
    for (uint32_t i = 0; i < sim->n; i++)
        if (sim->live[i]->deal.host == host && sim->live[i]->deal.bundle->bundle == bundle)
            return i;
    return PT_NONE;
}

static void told_impossible(struct sim *sim)
{
    uint32_t number;
    while ((number = pt_plan_impossible(sim->plan)) != PT_NONE) {
        struct fact *f = &sim->facts[number];
        cr_assert_not(f->told);
        f->told = true;
        sim->impossible++;
        for (uint32_t h = 0; h < sim->hosts; h++)
            cr_assert(sim->never[h] || !able(sim, f, h), "test %u was possible on %u", number, h);
        cr_assert_not(able_together(sim, f), "test %u was possible together", number);
    }
}

/* Some time after it is asked for. */
static void tell_together(struct sim *sim)
{
    if (!pt_plan_wants_together(sim->plan) || pick(4))
        return;
    for (uint32_t h = 0; h < sim->hosts; h++) {
        sim->judged[h] = sim->up[h];
        sim->may[h] = sim->up[h] && pick(6) > 0;
    }
    pt_plan_together(sim->plan, sim->may, sim->hosts);
}

static void end_dropped(struct sim *sim, uint32_t host, uint32_t bundle)
{
    uint32_t i = find_live(sim, host, bundle);
    cr_assert_neq(i, PT_NONE);
    sim->drops++;
    uint32_t attempt = sim->live[i]->deal.bundle->attempt;
    if (pick(2))
        return; /* it gets to its end first */
    drop_live(sim, i);
    cr_assert(pt_plan_done(sim->plan, host, bundle, attempt, NULL, NULL));
}

static void ask_all(struct sim *sim)
{
    struct pt_plan_deal deal;
    struct pt_plan_steal steal;
    uint32_t host, bundle;
    tell_together(sim);
    told_impossible(sim);
    while (pt_plan_next(sim->plan, &deal, NULL) > 0)
        check_deal(sim, &deal);
    while (sim->nasked < ASKED_MAX && pt_plan_recall(sim->plan, &host, &bundle)) {
        cr_assert_neq(find_live(sim, host, bundle), PT_NONE);
        sim->asked[sim->nasked++] = (struct asked){.recall = true, .host = host, .bundle = bundle};
    }
    while (sim->nasked < ASKED_MAX && pt_plan_steal(sim->plan, &steal)) {
        cr_assert_neq(find_live(sim, steal.host, steal.bundle), PT_NONE);
        struct asked *a = &sim->asked[sim->nasked++];
        *a = (struct asked){.host = steal.host, .bundle = steal.bundle, .n = steal.n};
        memcpy(a->tests, steal.tests, steal.n * sizeof(*a->tests));
        cr_assert_not(sim->facts[a->tests[0]].joined, "an atom would be parted");
    }
    while (pt_plan_drop(sim->plan, &host, &bundle))
        end_dropped(sim, host, bundle);
}

/* --- what happens --- */

static void given_up(void *arg, uint32_t number)
{
    struct sim *sim = arg;
    cr_assert_not(sim->facts[number].told);
    sim->facts[number].told = true;
    sim->given_up++;
}

static void report(struct sim *sim, struct live *live, uint32_t number)
{
    const struct pt_bundle *b = live->deal.bundle;
    struct fact *f = &sim->facts[number];
    if (!pt_plan_holds(sim->plan, live->deal.host, b->bundle, b->attempt, number)) {
        cr_assert(f->told || f->tries > 0 || live->cut, "test %u is not believed", number);
        return;
    }
    cr_assert_eq(live->cut, 0, "a group that lost a host is believed");
    bool news = pt_plan_told(sim->plan, number);
    cr_assert_neq(news, f->told);
    f->told = true;
    if (news && (sim->features & RERUNS) && f->tries < 3 && pick(15) == 0) {
        cr_assert_eq(pt_plan_again(sim->plan, number, NULL), 0);
        f->told = false;
        f->tries++;
        sim->agains++;
    }
}

static void host_lost(struct sim *sim, uint32_t h)
{
    sim->up[h] = sim->may[h] = sim->judged[h] = false;
    for (uint32_t i = 0; i < sim->n;) {
        if (sim->live[i]->deal.host == h) {
            drop_live(sim, i);
            continue;
        }
        if (taken(sim, sim->live[i], h) > 0) {
            sim->broken += sim->live[i]->cut == 0;
            sim->live[i]->cut |= 1u << h;
        }
        i++;
    }
    for (uint32_t a = 0; a < sim->nasked;) {
        if (sim->asked[a].host == h)
            sim->asked[a] = sim->asked[--sim->nasked];
        else
            a++;
    }
    pt_plan_lost(sim->plan, h, given_up, sim);
    cr_assert_eq(pt_plan_held(sim->plan, h), 0);
}

static void run_one(struct sim *sim)
{
    if (sim->n == 0)
        return;
    uint32_t i = pick(sim->n);
    struct live *live = sim->live[i];
    while (live->at < live->n && live->gone[live->at])
        live->at++;
    if (live->at < live->n) {
        uint32_t number = test_at(live->deal.bundle, live->at)->test;
        if (sim->facts[number].kills && !live->cut) {
            const struct pt_bundle *b = live->deal.bundle;
            host_lost(sim, b->nspread ? b->spread[pick(b->nspread)].host : live->deal.host);
            return;
        }
        live->at++;
        sim->facts[number].holders--;
        report(sim, live, number);
        return;
    }
    struct pt_plan_deal deal = live->deal;
    for (uint32_t a = 0; a < sim->nasked; a++)
        if (sim->asked[a].host == deal.host && sim->asked[a].bundle == deal.bundle->bundle)
            return; /* answers come first */
    drop_live(sim, i);
    cr_assert(pt_plan_done(sim->plan, deal.host, deal.bundle->bundle, deal.bundle->attempt, given_up, sim));
}

/* The tests that the runner gives back: those that it has not come near, or some of them. */
static uint32_t choose(struct sim *sim, struct live *live, const struct asked *a, uint32_t *given)
{
    uint32_t n = 0;
    bool begun = pick(10) == 0;
    uint32_t from = live->at + 2;
    while (!(sim->features & RAGGED) && from < live->n &&
           sim->facts[test_at(live->deal.bundle, from)->test].joined)
        from++;
    for (uint32_t at = from; at < live->n && !begun; at++) {
        uint32_t number = test_at(live->deal.bundle, at)->test;
        bool wanted = false;
        for (uint32_t i = 0; i < a->n; i++)
            wanted = wanted || a->tests[i] == number;
        if (!wanted || live->gone[at] || ((sim->features & RAGGED) && pick(4) == 0))
            continue;
        live->gone[at] = true;
        sim->facts[number].holders--;
        given[n++] = number;
    }
    return n;
}

static void answer_steal(struct sim *sim, const struct asked *a)
{
    static uint32_t given[TESTS_MAX];
    uint32_t i = find_live(sim, a->host, a->bundle);
    if (i == PT_NONE) {
        cr_assert_not(pt_plan_stolen(sim->plan, a->host, a->bundle, 0, a->tests, 0));
        return;
    }
    struct live *live = sim->live[i];
    uint32_t attempt = live->deal.bundle->attempt;
    uint32_t foreign[] = {test_at(live->deal.bundle, 0)->test, TESTS_MAX};
    cr_assert_not(pt_plan_stolen(sim->plan, a->host, a->bundle, attempt, foreign, 1));
    cr_assert_not(pt_plan_stolen(sim->plan, a->host, a->bundle, attempt, foreign + 1, 1));
    cr_assert_not(pt_plan_stolen(sim->plan, a->host, a->bundle, attempt + 1, a->tests, 1));
    uint32_t n = choose(sim, live, a, given);
    given[n] = given[0];
    if (n > 0)
        cr_assert_not(pt_plan_stolen(sim->plan, a->host, a->bundle, attempt, given, n + 1), "one twice");
    cr_assert(pt_plan_stolen(sim->plan, a->host, a->bundle, attempt, given, n));
    cr_assert_not(pt_plan_stolen(sim->plan, a->host, a->bundle, attempt, given, n));
    sim->steals += n > 0;
}

static void answer(struct sim *sim)
{
    static struct asked a;
    if (sim->nasked == 0)
        return;
    uint32_t which = pick(sim->nasked);
    a = sim->asked[which];
    sim->asked[which] = sim->asked[--sim->nasked];
    if (!a.recall) {
        answer_steal(sim, &a);
        return;
    }
    uint32_t i = find_live(sim, a.host, a.bundle);
    bool back = i != PT_NONE && sim->live[i]->at == 0;
    if (back)
        drop_live(sim, i);
    cr_assert_eq(pt_plan_returned(sim->plan, a.host, a.bundle, back), i != PT_NONE);
}

static void change_host(struct sim *sim)
{
    uint32_t h = pick(sim->hosts);
    if (sim->never[h])
        return;
    if (sim->up[h]) {
        if ((sim->features & LOSSES) && pick(8) == 0)
            host_lost(sim, h);
    } else if ((sim->features & NEVER) && pick(40) == 0) {
        sim->never[h] = true;
        pt_plan_never(sim->plan, h);
    } else {
        sim->up[h] = true;
        pt_plan_host(sim->plan, h, sim->slots[h]);
    }
}

/* Hosts that may come have come: then something must be under way. */
static void check_busy(const struct sim *sim)
{
    if (sim->units_added < sim->units || pt_plan_over(sim->plan))
        return;
    for (uint32_t h = 0; h < sim->hosts; h++)
        if (!sim->up[h] && !sim->never[h])
            return;
    if (pt_plan_wants_together(sim->plan))
        return;
    cr_assert_gt(sim->n, 0, "every host is there, tests too, and nothing is dealt");
}

static void sim_init(struct sim *sim, uint64_t number)
{
    seed = number * 7919 + 1;
    *sim = (struct sim){.features = pick(FEATURES), .hosts = 1 + pick(HOSTS_MAX), .units = 1 + pick(150)};
    uint32_t kind = pick(6);
    sim->schedule = kind == 0 ? PT_SCHEDULE_STATIC : kind == 1 ? PT_SCHEDULE_SEQUENTIAL : PT_SCHEDULE_DYNAMIC;
    struct pt_plan_spec spec = {.hosts = sim->hosts,
                                .bundles_per_worker = 1 + pick(12),
                                .schedule = sim->schedule,
                                .across = sim->features & ACROSS,
                                .speculate = pick(2)};
    sim->plan = pt_plan_create(&spec, NULL);
    cr_assert_not_null(sim->plan);
    for (uint32_t h = 0; h < sim->hosts; h++) {
        sim->slots[h] = 1 + pick(6);
        sim->labels[h] = pick(8);
        pt_plan_labels(sim->plan, h, sim->labels[h]);
        if (pick(2))
            pt_plan_expect(sim->plan, h, sim->slots[h]);
    }
}

static void run_random(struct sim *sim, uint64_t number)
{
    sim_init(sim, number);
    for (long step = 0; !pt_plan_over(sim->plan); step++) {
        cr_assert_lt(step, 500000, "run %lu does not end", (unsigned long)number);
        uint32_t what = pick(100);
        if (what < 20)
            collect_one(sim);
        else if (what < 23)
            change_host(sim);
        else if (what < 32)
            answer(sim);
        else
            run_one(sim);
        ask_all(sim);
        check_busy(sim);
    }
    for (uint32_t t = 0; t < sim->tests; t++)
        cr_assert(sim->facts[t].told && pt_plan_is_told(sim->plan, t), "test %u was not told", t);
    cr_assert_eq(pt_plan_untold(sim->plan), 0);
    cr_assert_eq(sim->units_added, sim->units);
    while (sim->n > 0)
        drop_live(sim, 0);
    pt_plan_destroy(sim->plan);
}

Test(plan_chaos, every_test_is_told_once_and_nothing_runs_where_it_must_not)
{
    struct sim *sim = malloc(sizeof(*sim));
    uint32_t impossible = 0, copies = 0, steals = 0, drops = 0, agains = 0, lost = 0, spreads = 0, broken = 0;
    for (uint64_t i = 0; i < 400; i++) {
        run_random(sim, i);
        impossible += sim->impossible;
        copies += sim->copies;
        steals += sim->steals;
        drops += sim->drops;
        agains += sim->agains;
        lost += sim->given_up;
        spreads += sim->spreads;
        broken += sim->broken;
    }
    cr_log_info("%u spread, %u of them broken\n", spreads, broken);
    cr_assert(impossible > 0 && copies > 0 && steals > 0 && drops > 0 && agains > 0 && lost > 0 &&
                  spreads > 0 && broken > 0,
              "%u impossible, %u copies, %u thefts, %u drops, %u reruns, %u given up, %u spread, %u broken",
              impossible, copies, steals, drops, agains, lost, spreads, broken);
    free(sim);
}
