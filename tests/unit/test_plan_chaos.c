/* SPDX-License-Identifier: Apache-2.0 */
/* The plan under whole runs in which anything happens: random suites with every kind of unit, hosts that
 * come, go and never come again, bundles called back, robbed, copied, spread over hosts, tests run again. */
#include "plan_chaos_events.h"

/* --- the plan's wishes --- */

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
    uint32_t host, bundle;
    tell_together(sim);
    take_wishes(sim);
    while (pt_plan_drop(sim->plan, &host, &bundle))
        end_dropped(sim, host, bundle);
}

/* --- what happens --- */

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
        if (pick(2)) /* not each is heard of */
            pt_plan_begun(sim->plan, live->deal.host, live->deal.bundle->bundle, live->deal.bundle->attempt,
                          number);
        if (sim->facts[number].kills && !live->cut) {
            const struct pt_bundle *b = live->deal.bundle;
            host_lost(sim, b->nspread ? b->spread[pick(b->nspread)].host : live->deal.host);
            return;
        }
        live->at++;
        sim->facts[number].holders--;
        const struct fact *f = &sim->facts[number];
        if (report(sim, live, number) && (sim->features & RERUNS) && f->tries < 3 && pick(15) == 0)
            run_again(sim, number);
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
    uint32_t killed = 0, tried = 0;
    for (uint64_t i = 0; i < 400; i++) {
        run_random(sim, i);
        impossible += sim->impossible;
        copies += sim->copies;
        steals += sim->steals;
        drops += sim->drops;
        agains += sim->agains;
        lost += sim->given_up;
        killed += sim->killed;
        tried += sim->tried;
        spreads += sim->spreads;
        broken += sim->broken;
    }
    cr_log_info("%u spread, %u of them broken\n", spreads, broken);
    cr_assert(impossible > 0 && copies > 0 && steals > 0 && drops > 0 && agains > 0 && lost > 0 &&
                  spreads > 0 && broken > 0 && killed > 0 && tried > killed,
              "%u impossible, %u copies, %u thefts, %u drops, %u reruns, %u given up, %u spread, %u broken",
              impossible, copies, steals, drops, agains, lost, spreads, broken);
    free(sim);
}
