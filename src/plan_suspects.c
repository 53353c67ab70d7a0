/* SPDX-License-Identifier: Apache-2.0 */
/* Which test brings hosts down. When a host dies, the bundles that were at work there are accused: those of
 * which a test was told to have begun or to have ended, and for slots of which nothing was heard the first of
 * the others. What waited is not. A bundle that is accused in PT_PLAN_DEATHS deaths is a suspect: it is
 * split, its tests are tried one by one, each alone on its host, beginning with the one that ran
 * (plan_alone.c).
 *
 *   waits ─► at work, accused twice ─► suspect ─► its first test alone ─► told: so are the next TRIED_MAX
 *     ▲                                  │             │ dies PT_PLAN_ALONE times: given up
 *     └──── its deaths are explained ◄───┴─────────────┘
 *
 * The deaths of a test that is given up are explained by it: they count no more against the bundles that were
 * beside it, which go back to their lines, nor against its hosts. Why the tests after the first are tried as
 * well: what was reported in the last milliseconds of a host may not have come, so quick tests that had ended
 * are taken for the one that ran. */
#include "plan_state.h"

#include <stdlib.h>

#define TRIED_MAX 16 /* tests whose reports may have been on their way when their host died */

/* --- deaths --- */

static uint32_t unexplained(const struct pt_plan *plan, const struct task *task)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < task->ndeaths; i++)
        n += !plan->deaths[task->deaths[i]].explained;
    return n;
}

static void add_death(const struct pt_plan *plan, struct task *task, uint32_t death)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < task->ndeaths; i++)
        if (!plan->deaths[task->deaths[i]].explained)
            task->deaths[n++] = task->deaths[i];
    if (n < PT_PLAN_DEATHS_TOLD)
        task->deaths[n++] = death;
    task->ndeaths = n;
}

/* A number for it; PT_NONE: no memory. */
static uint32_t death_create(struct pt_plan *plan, uint32_t host)
{
    if (plan->ndeaths == plan->deaths_cap) {
        uint32_t cap = plan->deaths_cap ? 2 * plan->deaths_cap : 16;
        struct death *deaths = realloc(plan->deaths, cap * sizeof(*deaths));
        if (!deaths)
            return PT_NONE;
        plan->deaths = deaths;
        plan->deaths_cap = cap;
    }
    plan->deaths[plan->ndeaths] = (struct death){.host = host};
    return plan->ndeaths++;
}

/* --- accusing --- */

void pt_plan_begun(struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt, uint32_t test)
{
    const struct task *task = pt_plan_held_task(plan, host, bundle);
    if (!task || task->last->bundle.attempt != attempt || test >= plan->ntests ||
        !pt_plan_owes(plan, task, test))
        return;
    task->last->begun = test;
    plan->hosts[host].proven = true;
}

void pt_plan_accuse_one(struct pt_plan *plan, struct pt_plan_loss *loss, struct task *task)
{
    if (plan->stopped) /* what still runs is ended by ourselves */
        return;
    if (loss->death == PT_NONE && (loss->death = death_create(plan, loss->host)) == PT_NONE)
        return;
    task->accused = true;
    task->avoid = loss->host;
    add_death(plan, task, loss->death);
    if (task->twin)
        add_death(plan, task->twin, loss->death);
    if (task->isolated)
        plan->deaths[loss->death].isolated = true;
}

static bool has_begun(const struct task *task)
{
    return task->last->begun != PT_NONE || task->untold < task->last->ntests;
}

void pt_plan_accuse(struct pt_plan *plan, struct pt_plan_loss *loss)
{
    const struct host *host = &plan->hosts[loss->host];
    uint32_t running = 0;
    for (int begun = 1; begun >= 0; begun--) {
        for (struct task *task = host->holds.head; task; task = task->next) {
            if (has_begun(task) != begun || pt_plan_owed(task) == 0 || task->last->gone)
                continue;
            if (begun || (host->proven && running < host->runners))
                pt_plan_accuse_one(plan, loss, task);
            running++;
        }
    }
}

/* --- judging --- */

/* The test that ran, as far as is known, of a task that was dealt and owes some. */
static uint32_t first_owed(const struct pt_plan *plan, const struct task *task)
{
    uint32_t begun = task->last->begun;
    if (begun != PT_NONE && pt_plan_owes(plan, task, begun))
        return begun;
    for (const struct pt_plan_piece *p = task->pieces; p; p = p->next)
        for (uint32_t i = 0; i < p->ntests; i++)
            if (pt_plan_owes(plan, task, p->tests[i].test))
                return p->tests[i].test;
    return PT_NONE;
}

static void convict(struct pt_plan *plan, const struct pt_plan_loss *loss, const struct task *task,
                    uint32_t number)
{
    plan->tests[number].killed = true;
    for (uint32_t i = 0; i < task->ndeaths; i++)
        plan->deaths[task->deaths[i]].explained = true;
    pt_plan_told(plan, number);
    if (loss->given_up)
        loss->given_up(loss->arg, number);
}

void pt_plan_judge(struct pt_plan *plan, const struct pt_plan_loss *loss, struct task *task)
{
    if (!task->accused)
        return;
    task->accused = false;
    if (!task->isolated || task->untold != 1)
        return;
    uint32_t number = first_owed(plan, task);
    if (++plan->tests[number].alone >= PT_PLAN_ALONE && unexplained(plan, task) >= PT_PLAN_KILLS)
        convict(plan, loss, task, number);
}

bool pt_plan_killed(const struct pt_plan *plan, uint32_t number, struct pt_plan_deaths *out)
{
    const struct test *test = number < plan->ntests ? &plan->tests[number] : NULL;
    *out = (struct pt_plan_deaths){0};
    if (!test || !test->killed)
        return false;
    const struct task *task = plan->tasks[test->bundle];
    for (; out->n < task->ndeaths; out->n++)
        out->hosts[out->n] = plan->deaths[task->deaths[out->n]].host;
    out->alone = test->alone < out->n ? test->alone : out->n;
    return true;
}

uint32_t pt_plan_excused(const struct pt_plan *plan, uint32_t host)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < plan->ndeaths; i++)
        n += plan->deaths[i].host == host && (plan->deaths[i].explained || plan->deaths[i].isolated);
    return n;
}

/* --- suspects --- */

static bool any_owed(const struct pt_plan *plan, const struct task *task, bool (*is)(const struct test *test))
{
    for (const struct pt_plan_piece *p = task->pieces; p; p = p->next)
        for (uint32_t i = 0; i < p->ntests; i++)
            if (pt_plan_owes(plan, task, p->tests[i].test) && is(&plan->tests[p->tests[i].test]))
                return true;
    return false;
}

static bool was_alone(const struct test *test)
{
    return test->alone > 0;
}

static bool was_lost(const struct test *test)
{
    return test->losses + 1 >= PT_PLAN_LOSSES;
}

/* Is it to be tried test by test? */
static bool kills(const struct pt_plan *plan, const struct task *task)
{
    return task->ndeaths > 0 &&
           (unexplained(plan, task) >= PT_PLAN_DEATHS || any_owed(plan, task, was_alone));
}

bool pt_plan_is_suspect(const struct pt_plan *plan, const struct task *task)
{
    return kills(plan, task) || any_owed(plan, task, was_lost);
}

/* One that died alone already comes first. */
void pt_plan_suspect_add(struct pt_plan *plan, struct task *task)
{
    bool first = task->ndeaths > 0 && any_owed(plan, task, was_alone);
    queue_add_before(&plan->suspects, task, first ? plan->suspects.head : NULL);
}

void pt_plan_suspects_settle(struct pt_plan *plan)
{
    for (struct task *next, *task = plan->suspects.head; task; task = next) {
        next = task->next;
        if (task->trial && task->trial->untold == 0) {
            task->trial = NULL;
            if (++task->tried >= TRIED_MAX)
                task->ndeaths = task->tried = 0;
        }
        if (task->untold > 0 && pt_plan_is_suspect(plan, task))
            continue;
        queue_remove(&plan->suspects, task);
        task->trial = NULL;
        task->tried = 0;
        pt_plan_put_back(plan, task, true);
    }
}

/* The test of the bundle that is tried next, in a task of its own. NULL: no memory. */
static struct task *split_off(struct pt_plan *plan, struct task *task)
{
    uint32_t number = first_owed(plan, task);
    struct test *test = &plan->tests[number];
    struct task *one = pt_plan_task_of_one(plan, test);
    if (!one)
        return NULL;
    test->piece = one->pieces;
    test->at = 0;
    test->bundle = one->number;
    test->joined = false;
    one->expected = pt_plan_test_work(plan, number);
    one->avoid = task->avoid;
    one->ndeaths = task->ndeaths;
    for (uint32_t i = 0; i < task->ndeaths; i++)
        one->deaths[i] = task->deaths[i];
    task->untold--;
    task->trial = one;
    return one;
}

struct task *pt_plan_suspect_take(struct pt_plan *plan, struct pt_plan_spread *hosts, int *rc)
{
    for (struct task *task = plan->suspects.head; task; task = task->next) {
        if (task->untold == 0 || task->trial)
            continue;
        if (!pt_plan_find_alone(plan, task, hosts)) {
            pt_plan_drain_alone(plan, task);
            continue;
        }
        if (task->untold == 1 || !kills(plan, task)) {
            queue_remove(&plan->suspects, task);
            return task;
        }
        struct task *one = split_off(plan, task);
        *rc = one ? 0 : -1;
        return one;
    }
    return NULL;
}
