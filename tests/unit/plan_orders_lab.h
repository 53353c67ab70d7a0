/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A small run of the plan in all orders of what can happen to it. What is dealt is checked as in
 * plan_chaos_lab.h. */
#define TESTS_MAX 64
#include "orders.h"
#include "plan_chaos_events.h"

#define GHOSTS 16

/* The first of these that can happen is what happens once the order is over. */
enum kind { BACK, STALE, YES, TELL, NO, BEGIN, DIE, FAIL, LATE, LOSE, NEVER_MORE, DRAIN, JOIN, STOP };
#define MAY(kind) (1u << (kind))
#define ALWAYS    (MAY(BACK) | MAY(STALE) | MAY(YES) | MAY(TELL))

struct scene {
    uint32_t may, depth; /* kinds of events; how many of them in all orders */
    uint32_t hosts, slots, bundles, tries;
    enum pt_schedule schedule;
    bool speculate, across;
    void (*collect)(struct sim *sim);
};

struct world {
    const struct scene *scene;
    struct sim sim;
    bool begun[TESTS_MAX], joined, stopped;
    uint32_t silent[TESTS_MAX], fell[TESTS_MAX], alone[TESTS_MAX]; /* how often, by test */
    uint32_t died[HOSTS_MAX], recalls;
    struct live ghosts[GHOSTS]; /* of hosts that were given up: their reports may come yet */
    uint32_t nghosts;
    struct asked stale[ASKED_MAX]; /* that crossed the end of their bundles */
    uint32_t nstale;
};

struct event {
    enum kind kind;
    uint32_t at;
};

/* --- what can happen --- */

static inline void offer(const struct world *w, struct event *list, uint32_t *n, enum kind kind, uint32_t at)
{
    if ((w->scene->may | ALWAYS) & MAY(kind))
        list[(*n)++] = (struct event){kind, at};
}

static inline uint32_t next_test(struct live *live)
{
    while (live->at < live->n && live->gone[live->at])
        live->at++;
    return live->at < live->n ? test_at(live->deal.bundle, live->at)->test : PT_NONE;
}

static inline void offer_of_live(const struct world *w, struct event *list, uint32_t *n, enum kind kind)
{
    for (uint32_t i = 0; i < w->sim.n; i++) {
        uint32_t test = next_test(w->sim.live[i]);
        bool can = kind == BEGIN  ? test != PT_NONE && !w->begun[test]
                   : kind == FAIL ? test != PT_NONE && w->sim.facts[test].tries < w->scene->tries
                   : kind == DIE  ? test != PT_NONE
                                  : kind == TELL;
        if (can)
            offer(w, list, n, kind, i);
    }
}

static inline bool has_host(const struct world *w, uint32_t h)
{
    for (uint32_t i = 0; i < w->sim.n; i++)
        if (w->sim.live[i]->deal.host == h || taken(&w->sim, w->sim.live[i], h) > 0)
            return true;
    return w->sim.up[h];
}

static inline void offer_of_host(const struct world *w, struct event *list, uint32_t *n, enum kind kind)
{
    for (uint32_t h = 0; h < w->sim.hosts; h++) {
        bool down = !w->sim.up[h] && !w->sim.never[h];
        if (kind == BACK || kind == NEVER_MORE ? down : kind == LOSE ? has_host(w, h) : w->sim.up[h])
            offer(w, list, n, kind, h);
    }
}

static inline uint32_t list_events(const struct world *w, struct event *list)
{
    uint32_t n = 0;
    offer_of_host(w, list, &n, BACK);
    for (uint32_t i = 0; i < w->nstale; i++)
        offer(w, list, &n, STALE, i);
    for (uint32_t i = 0; i < w->sim.nasked; i++)
        offer(w, list, &n, YES, i);
    offer_of_live(w, list, &n, TELL);
    for (uint32_t i = 0; i < w->sim.nasked; i++)
        offer(w, list, &n, NO, i);
    offer_of_live(w, list, &n, BEGIN);
    offer_of_live(w, list, &n, DIE);
    offer_of_live(w, list, &n, FAIL);
    for (uint32_t i = 0; i < w->nghosts; i++)
        if (next_test((struct live *)(uintptr_t)&w->ghosts[i]) != PT_NONE)
            offer(w, list, &n, LATE, i);
    offer_of_host(w, list, &n, LOSE);
    offer_of_host(w, list, &n, NEVER_MORE);
    if (!w->stopped)
        offer_of_host(w, list, &n, DRAIN);
    if (!w->joined)
        offer(w, list, &n, JOIN, 0);
    if (!w->stopped)
        offer(w, list, &n, STOP, 0);
    return n;
}

/* --- it happens --- */

static inline void done(struct world *w, uint32_t i)
{
    struct sim *sim = &w->sim;
    struct pt_plan_deal deal = sim->live[i]->deal;
    bool counts = !sim->live[i]->cut && !w->scene->speculate;
    for (uint32_t at = sim->live[i]->at; at < sim->live[i]->n; at++)
        w->silent[test_at(deal.bundle, at)->test] += counts && !sim->live[i]->gone[at];
    for (uint32_t a = 0; a < sim->nasked;) {
        if (sim->asked[a].host != deal.host || sim->asked[a].bundle != deal.bundle->bundle) {
            a++;
            continue;
        }
        w->stale[w->nstale++] = sim->asked[a];
        sim->asked[a] = sim->asked[--sim->nasked];
    }
    drop_live(sim, i);
    cr_assert(pt_plan_done(sim->plan, deal.host, deal.bundle->bundle, deal.bundle->attempt, given_up, sim));
}

static inline void tell(struct world *w, uint32_t i, bool again)
{
    struct live *live = w->sim.live[i];
    uint32_t test = next_test(live);
    if (test == PT_NONE) {
        done(w, i);
        return;
    }
    live->at++;
    w->sim.facts[test].holders--;
    if (report(&w->sim, live, test) && again)
        run_again(&w->sim, test);
}

static inline void begin(struct world *w, uint32_t i)
{
    struct live *live = w->sim.live[i];
    const struct pt_bundle *b = live->deal.bundle;
    uint32_t test = next_test(live);
    pt_plan_begun(w->sim.plan, live->deal.host, b->bundle, b->attempt, test);
    w->begun[test] = true;
}

static inline void tell_late(struct world *w, uint32_t i)
{
    struct live *ghost = &w->ghosts[i];
    const struct pt_bundle *b = ghost->deal.bundle;
    uint32_t test = next_test(ghost);
    struct fact *f = &w->sim.facts[test];
    ghost->at++;
    if (!pt_plan_holds(w->sim.plan, ghost->deal.host, b->bundle, b->attempt, test))
        return;
    cr_assert_neq(pt_plan_told(w->sim.plan, test), f->told);
    f->told = true;
}

static inline void lose(struct world *w, uint32_t h)
{
    struct sim *sim = &w->sim;
    for (uint32_t i = 0; i < sim->n; i++) {
        const struct live *live = sim->live[i];
        if (live->deal.host != h && taken(sim, live, h) == 0)
            continue;
        for (uint32_t at = live->at; at < live->n; at++) {
            w->fell[test_at(live->deal.bundle, at)->test]++;
            w->alone[test_at(live->deal.bundle, at)->test] += live->deal.alone;
        }
        if (live->deal.host == h && w->nghosts < GHOSTS)
            w->ghosts[w->nghosts++] = *live;
    }
    for (uint32_t i = 0; i < w->nstale;) {
        if (w->stale[i].host == h)
            w->stale[i] = w->stale[--w->nstale];
        else
            i++;
    }
    w->died[h]++;
    host_lost(sim, h);
}

/* Gives back all that was asked for and that it has not come near, or nothing. */
static inline void answer(struct world *w, uint32_t at, bool yes)
{
    struct sim *sim = &w->sim;
    struct asked a = sim->asked[at];
    uint32_t given[TESTS_MAX], n = 0, i = find_live(sim, a.host, a.bundle);
    struct live *live = sim->live[i];
    sim->asked[at] = sim->asked[--sim->nasked];
    if (a.recall) {
        yes = yes && live->at == 0 && !w->begun[next_test(live)];
        w->recalls += yes;
        if (yes)
            drop_live(sim, i);
        cr_assert(pt_plan_returned(sim->plan, a.host, a.bundle, yes));
        return;
    }
    for (uint32_t k = live->at + 1; yes && k < live->n; k++) {
        uint32_t test = test_at(live->deal.bundle, k)->test;
        for (uint32_t m = 0; m < a.n && !live->gone[k]; m++)
            if (a.tests[m] == test) {
                live->gone[k] = true;
                sim->facts[test].holders--;
                given[n++] = test;
            }
    }
    cr_assert(pt_plan_stolen(sim->plan, a.host, a.bundle, live->deal.bundle->attempt, given, n));
    sim->steals += n > 0;
}

/* As the host says that has no such bundle any more. Nobody may take it for the answer to a later question.
 */
static inline void answer_stale(struct world *w, uint32_t at)
{
    struct asked a = w->stale[at];
    w->stale[at] = w->stale[--w->nstale];
    if (a.recall)
        cr_assert_not(pt_plan_returned(w->sim.plan, a.host, a.bundle, false));
    else
        cr_assert_not(pt_plan_stolen(w->sim.plan, a.host, a.bundle, 0, a.tests, 0));
}

static inline void drain(struct world *w, uint32_t h)
{
    uint32_t waiting = pt_plan_waiting(w->sim.plan), held = pt_plan_held(w->sim.plan, h);
    if (pt_plan_drain(w->sim.plan, h)) {
        w->sim.up[h] = false;
        w->sim.never[h] = true;
        cr_assert_eq(pt_plan_held(w->sim.plan, h), held);
    }
    cr_assert_eq(pt_plan_waiting(w->sim.plan), waiting);
}

static inline void join(struct world *w)
{
    uint32_t h = pt_plan_add_host(w->sim.plan);
    cr_assert_eq(h, w->sim.hosts);
    w->sim.hosts++;
    w->sim.slots[h] = w->scene->slots;
    w->sim.up[h] = w->joined = true;
    pt_plan_host(w->sim.plan, h, w->scene->slots);
}

static inline void happen(struct world *w, struct event e)
{
    struct sim *sim = &w->sim;
    if (e.kind == BACK) {
        sim->up[e.at] = true;
        pt_plan_host(sim->plan, e.at, sim->slots[e.at]);
    } else if (e.kind == NEVER_MORE) {
        sim->never[e.at] = true;
        pt_plan_never(sim->plan, e.at);
    } else if (e.kind == STALE) {
        answer_stale(w, e.at);
    } else if (e.kind == YES || e.kind == NO) {
        answer(w, e.at, e.kind == YES);
    } else if (e.kind == TELL || e.kind == FAIL) {
        tell(w, e.at, e.kind == FAIL);
    } else if (e.kind == BEGIN) {
        begin(w, e.at);
    } else if (e.kind == DIE) {
        done(w, e.at);
    } else if (e.kind == LATE) {
        tell_late(w, e.at);
    } else if (e.kind == LOSE) {
        lose(w, e.at);
    } else if (e.kind == DRAIN) {
        drain(w, e.at);
    } else if (e.kind == JOIN) {
        join(w);
    } else {
        w->stopped = true;
        pt_plan_stop(sim->plan);
    }
}

/* --- what is true after each --- */

static inline void reach(struct world *w)
{
    struct sim *sim = &w->sim;
    if (!pt_plan_wants_together(sim->plan))
        return;
    for (uint32_t h = 0; h < sim->hosts; h++)
        sim->judged[h] = sim->may[h] = sim->up[h];
    pt_plan_together(sim->plan, sim->may, sim->hosts);
}

static inline void deal(struct world *w)
{
    struct sim *sim = &w->sim;
    uint32_t host, bundle, before = sim->n;
    if (w->stopped) {
        struct pt_plan_deal more;
        cr_assert_eq(pt_plan_next(sim->plan, &more, NULL), 0);
        return;
    }
    reach(w);
    take_wishes(sim);
    for (; before < sim->n; before++)
        for (uint32_t at = 0; at < sim->live[before]->n; at++)
            w->begun[test_at(sim->live[before]->deal.bundle, at)->test] = false;
    while (pt_plan_drop(sim->plan, &host, &bundle)) {
        uint32_t i = find_live(sim, host, bundle);
        cr_assert_neq(i, PT_NONE);
        sim->drops++;
        done(w, i);
        take_wishes(sim);
    }
}

static inline void check(const struct world *w)
{
    const struct sim *sim = &w->sim;
    struct pt_plan_deaths deaths;
    uint32_t told = 0;
    for (uint32_t t = 0; t < sim->tests; t++) {
        cr_assert_eq(pt_plan_is_told(sim->plan, t), sim->facts[t].told);
        told += sim->facts[t].told;
        cr_assert(w->silent[t] < PT_PLAN_LOSSES || sim->facts[t].told || sim->facts[t].tries > 0,
                  "test %u was lost %u times", t, w->silent[t]);
        if (pt_plan_killed(sim->plan, t, &deaths))
            cr_assert(deaths.n <= w->fell[t] && deaths.alone <= w->alone[t]);
    }
    cr_assert_eq(pt_plan_untold(sim->plan), sim->tests - told);
    for (uint32_t h = 0; h < sim->hosts; h++)
        cr_assert_leq(pt_plan_excused(sim->plan, h), w->died[h]);
    if (!w->stopped)
        check_busy(sim);
}

/* --- all of it --- */

static inline void begin_world(struct world *w, const struct scene *scene)
{
    struct pt_plan_spec spec = {.hosts = scene->hosts,
                                .more = 1,
                                .bundles_per_worker = scene->bundles,
                                .schedule = scene->schedule,
                                .across = scene->across,
                                .speculate = scene->speculate};
    *w = (struct world){.scene = scene};
    w->sim.schedule = scene->schedule;
    w->sim.hosts = scene->hosts;
    w->sim.features = LOSSES | (scene->across ? ACROSS : 0);
    w->sim.plan = pt_plan_create(&spec, NULL);
    for (uint32_t h = 0; h < scene->hosts; h++) {
        w->sim.slots[h] = scene->slots;
        pt_plan_expect(w->sim.plan, h, scene->slots);
    }
    scene->collect(&w->sim);
    w->sim.units = w->sim.units_added;
    pt_plan_collected(w->sim.plan);
    for (uint32_t h = 0; h < scene->hosts; h++)
        happen(w, (struct event){BACK, h});
}

static inline void end_world(struct world *w)
{
    for (uint32_t t = 0; t < w->sim.tests; t++)
        cr_assert(w->sim.facts[t].told || w->stopped, "test %u was not told", t);
    while (w->sim.n > 0)
        drop_live(&w->sim, 0);
    pt_plan_destroy(w->sim.plan);
}

static inline void run_order(struct world *w, const struct scene *scene)
{
    struct event list[512];
    begin_world(w, scene);
    deal(w);
    for (int step = 0; !pt_plan_over(w->sim.plan); step++) {
        cr_assert_lt(step, 500, "it does not end");
        uint32_t n = list_events(w, list);
        cr_assert_gt(n, 0, "nothing can happen");
        happen(w, list[choose(n)]);
        deal(w);
        check(w);
    }
    end_world(w);
}

/* How often it happened, in all orders. */
struct seen {
    uint32_t recalls, steals, agains, given_up, tried, impossible, copies, drops, broken;
};

/* least: orders there are, about; how many in fact goes by what the plan does. */
static inline struct seen all_orders(const struct scene *scene, uint64_t least)
{
    static struct world w;
    struct seen s = {0};
    orders_begin(scene->depth);
    do {
        run_order(&w, scene);
        s.recalls += w.recalls;
        s.steals += w.sim.steals;
        s.agains += w.sim.agains;
        s.given_up += w.sim.given_up;
        s.tried += w.sim.tried;
        s.impossible += w.sim.impossible;
        s.copies += w.sim.copies;
        s.drops += w.sim.drops;
        s.broken += w.sim.broken;
    } while (orders_next());
    cr_assert_geq(orders.n, least);
    return s;
}
