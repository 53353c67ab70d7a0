/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What happens in a run of plan_chaos_lab.h, and whether the plan takes it as it should. */
#include "plan_chaos_lab.h"

static inline void drop_live(struct sim *sim, uint32_t i)
{
    struct live *live = sim->live[i];
    for (uint32_t at = live->at; at < live->n; at++)
        if (!live->gone[at])
            sim->facts[test_at(live->deal.bundle, at)->test].holders--;
    sim->live[i] = sim->live[--sim->n];
    free(live);
}

static inline uint32_t find_live(const struct sim *sim, uint32_t host, uint32_t bundle)
{
    for (uint32_t i = 0; i < sim->n; i++)
        if (sim->live[i]->deal.host == host && sim->live[i]->deal.bundle->bundle == bundle)
            return i;
    return PT_NONE;
}

static inline void told_impossible(struct sim *sim)
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

/* Deal all that can be dealt, and ask for all that is worth asking. */
static inline void take_wishes(struct sim *sim)
{
    struct pt_plan_deal deal;
    struct pt_plan_steal steal;
    uint32_t host, bundle;
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
}

static inline void given_up(void *arg, uint32_t number)
{
    struct sim *sim = arg;
    cr_assert_not(sim->facts[number].told);
    struct pt_plan_deaths deaths;
    sim->facts[number].told = true;
    sim->given_up++;
    if (pt_plan_killed(sim->plan, number, &deaths)) {
        sim->killed++;
        cr_assert(deaths.alone >= PT_PLAN_ALONE && deaths.n >= PT_PLAN_KILLS);
        cr_assert(sim->features & LOSSES);
    }
}

/* True when it is the test's first word. */
static inline bool report(struct sim *sim, struct live *live, uint32_t number)
{
    const struct pt_bundle *b = live->deal.bundle;
    struct fact *f = &sim->facts[number];
    if (!pt_plan_holds(sim->plan, live->deal.host, b->bundle, b->attempt, number)) {
        cr_assert(f->told || f->tries > 0 || live->cut, "test %u is not believed", number);
        return false;
    }
    cr_assert_eq(live->cut, 0, "a group that lost a host is believed");
    bool news = pt_plan_told(sim->plan, number);
    cr_assert_neq(news, f->told);
    f->told = true;
    return news;
}

static inline void run_again(struct sim *sim, uint32_t number)
{
    struct fact *f = &sim->facts[number];
    cr_assert_eq(pt_plan_again(sim->plan, number, NULL), 0);
    f->told = false;
    f->tries++;
    sim->agains++;
}

static inline void host_lost(struct sim *sim, uint32_t h)
{
    sim->up[h] = sim->may[h] = sim->judged[h] = false;
    for (uint32_t i = 0; i < sim->n;) {
        if (taken(sim, sim->live[i], h) > 0 || sim->live[i]->deal.host == h)
            for (uint32_t at = 0; at < sim->live[i]->n; at++)
                sim->facts[test_at(sim->live[i]->deal.bundle, at)->test].fell = true;
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

/* Hosts that may come have come: then something must be under way. */
static inline void check_busy(const struct sim *sim)
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
