/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation of a run fails once: a message, nothing lost, nothing leaked, and the run can go on. */
#include "fail_alloc.h"

#include "src/plan.c"
#include "src/plan_across.c"
#include "src/plan_add.c"
#include "src/plan_again.c"
#include "src/plan_alone.c"
#include "src/plan_copy.c"
#include "src/plan_deal.c"
#include "src/plan_impossible.c"
#include "src/plan_line.c"
#include "src/plan_piece.c"
#include "src/plan_pool.c"
#include "src/plan_preview.c"
#include "src/plan_rank.c"
#include "src/plan_room.c"
#include "src/plan_split.c"
#include "src/plan_spread.c"
#include "src/plan_static.c"
#include "src/plan_steal.c"
#include "src/plan_suspects.c"
#include "src/plan_task.c"
#include "src/plan_waiting.c"

#include <criterion/criterion.h>

enum { FILES = 70 };

/* Ask again after a failure, as a caller could: 1 dealt, 0 nothing. */
static int next_or_again(struct pt_plan *plan, struct pt_plan_deal *deal)
{
    struct pt_err err = PT_ERR_INIT;
    int rc = pt_plan_next(plan, deal, &err);
    if (rc >= 0)
        return rc;
    cr_assert(strstr(err.msg, "out of memory"), "%s", err.msg);
    return pt_plan_next(plan, deal, NULL);
}

static void add_or_again(struct pt_plan *plan, uint32_t file)
{
    struct pt_err err = PT_ERR_INIT;
    char id[] = "f.py::t";
    struct pt_bundle_test tests[] = {{.test = 2 * file, .nodeid = id}, {.test = 2 * file + 1, .nodeid = id}};
    uint32_t before = pt_plan_untold(plan);
    if (pt_plan_add_file(plan, "f.py", tests, 2, file % 2 ? 1.0 : -1.0, &err)) {
        cr_assert(strstr(err.msg, "out of memory"), "%s", err.msg);
        cr_assert_eq(pt_plan_untold(plan), before);
        cr_assert_eq(pt_plan_add_file(plan, "f.py", tests, 2, 1, NULL), 0);
    }
}

static void run(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_plan_spec spec = {.hosts = 2, .bundles_per_worker = 100};
    struct pt_plan *plan = pt_plan_create(&spec, &err);
    if (!plan) {
        cr_assert_str_eq(err.msg, "plan for 2 hosts: out of memory");
        return;
    }
    for (uint32_t f = 0; f < FILES; f++)
        add_or_again(plan, f);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    struct pt_plan_deal deal;
    cr_assert_eq(next_or_again(plan, &deal), 1);
    pt_plan_lost(plan, 0, NULL, NULL);
    pt_plan_host(plan, 1, 1);
    uint32_t told = 0;
    while (next_or_again(plan, &deal)) {
        for (uint32_t f = 0; f < deal.bundle->nfiles; f++)
            for (uint32_t t = 0; t < deal.bundle->files[f].ntests; t++)
                told += pt_plan_told(plan, deal.bundle->files[f].tests[t].test);
        cr_assert(pt_plan_done(plan, 1, deal.bundle->bundle, deal.bundle->attempt, NULL, NULL));
    }
    cr_assert_eq(told, 2 * FILES);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan_memory, a_run_survives_each_allocation_failing_once)
{
    long at = 0;
    do {
        fail_hit = false;
        fail_at = ++at;
        run();
    } while (fail_hit);
    fail_at = 0;
    cr_assert_gt(at, 2 * FILES);
}

static void count_up(void *arg, uint32_t test)
{
    (void)test;
    ++*(uint32_t *)arg;
}

/* A death for which there is no memory is one that nobody is accused of. */
static void run_killer(void)
{
    struct pt_plan_spec spec = {.hosts = 1, .bundles_per_worker = 1};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    struct pt_plan_deal deal;
    uint32_t given_up = 0, deaths = 0;
    if (!plan)
        return;
    for (uint32_t f = 0; f < 3; f++)
        add_or_again(plan, f);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    while (!pt_plan_over(plan)) {
        cr_assert_eq(next_or_again(plan, &deal), 1);
        const struct pt_bundle *b = deal.bundle;
        bool died = false;
        for (uint32_t f = 0; f < b->nfiles && !died; f++)
            for (uint32_t t = 0; t < b->files[f].ntests && !died; t++) {
                uint32_t test = b->files[f].tests[t].test;
                pt_plan_begun(plan, 0, b->bundle, b->attempt, test);
                died = test == 3;
                if (!died)
                    pt_plan_told(plan, test);
            }
        if (!died) {
            cr_assert(pt_plan_done(plan, 0, b->bundle, b->attempt, NULL, NULL));
            continue;
        }
        pt_plan_lost(plan, 0, count_up, &given_up);
        pt_plan_host(plan, 0, 1);
        deaths++;
    }
    cr_assert(given_up == 1 && deaths <= PT_PLAN_DEATHS + PT_PLAN_ALONE + 1);
    pt_plan_destroy(plan);
}

Test(plan_memory, a_killer_is_found_though_each_allocation_fails_once)
{
    long at = 0;
    do {
        fail_hit = false;
        fail_at = ++at;
        run_killer();
    } while (fail_hit);
    fail_at = 0;
    cr_assert_gt(at, 10);
}

static void ignore(void *arg, const struct pt_plan_deal *deal)
{
    (void)arg;
    (void)deal;
}

Test(plan_memory, a_preview_fails_with_a_message)
{
    long at = 0;
    do {
        struct pt_err err = PT_ERR_INIT;
        struct pt_plan_spec spec = {.hosts = 2, .bundles_per_worker = 10};
        struct pt_plan *plan = pt_plan_create(&spec, NULL);
        for (uint32_t f = 0; f < 5; f++)
            add_or_again(plan, f);
        pt_plan_collected(plan);
        pt_plan_host(plan, 0, 2);
        fail_hit = false;
        fail_at = ++at;
        int rc = pt_plan_preview(plan, ignore, NULL, &err);
        fail_at = 0;
        cr_assert_eq(rc, fail_hit ? -1 : 0);
        cr_assert(!fail_hit || strstr(err.msg, "out of memory"));
        pt_plan_destroy(plan);
    } while (fail_hit);
    cr_assert_gt(at, 5);
}

/* --- every kind of unit --- */

enum { MANY = 24 };

/* Some fit both hosts only together. */
static uint32_t ranks_of(uint32_t i)
{
    if (i % 11 == 5)
        return 3;
    return i % 7 == 0 ? 2 : 1;
}

static int add_one(struct pt_plan *plan, uint32_t i, struct pt_err *err)
{
    char id[] = "f.py::t";
    struct pt_bundle_test tests[] = {{.test = 4 * i, .nodeid = id},
                                     {.test = 4 * i + 1, .nodeid = id},
                                     {.test = 4 * i + 2, .nodeid = id},
                                     {.test = 4 * i + 3, .nodeid = id}};
    uint32_t atoms[] = {0, 1, 2, 3};
    struct pt_bundle_file file = {.path = (char[]){"f.py"}, .tests = tests, .ntests = 4};
    struct pt_plan_unit unit = {.files = &file,
                                .nfiles = 1,
                                .atoms = atoms,
                                .seconds = i % 3 ? 4 : -1,
                                .weight = i % 5 == 0 ? 2 : 1,
                                .ranks = ranks_of(i),
                                .needs = i % 4 == 0,
                                .host = i % 6 == 0 ? 0 : PT_NONE,
                                .rank = i % 6 == 0 ? i % 2 : PT_NONE};
    return pt_plan_add(plan, &unit, err);
}

static void steal_or_not(struct pt_plan *plan)
{
    struct pt_plan_steal steal;
    if (pt_plan_steal(plan, &steal) == 1) {
        uint32_t attempt = pt_plan_bundle(plan, steal.bundle)->attempt;
        cr_assert(pt_plan_stolen(plan, steal.host, steal.bundle, attempt, steal.tests, steal.n));
    }
}

/* One test of the bundle fails once and runs again; the others pass. */
static uint32_t tell(struct pt_plan *plan, const struct pt_plan_deal *deal, bool *failed)
{
    uint32_t told = 0;
    struct pt_err err = PT_ERR_INIT;
    const struct pt_bundle *b = deal->bundle;
    for (uint32_t f = 0; f < b->nfiles; f++) {
        for (uint32_t t = 0; t < b->files[f].ntests; t++) {
            uint32_t test = b->files[f].tests[t].test;
            if (!pt_plan_holds(plan, deal->host, b->bundle, b->attempt, test) || !pt_plan_told(plan, test))
                continue;
            told++;
            if (*failed)
                continue;
            *failed = true;
            told--;
            if (pt_plan_again(plan, test, &err)) {
                cr_assert(strstr(err.msg, "out of memory"), "%s", err.msg);
                cr_assert(pt_plan_is_told(plan, test));
                cr_assert_eq(pt_plan_again(plan, test, NULL), 0);
            }
        }
    }
    cr_assert(pt_plan_done(plan, deal->host, b->bundle, b->attempt, NULL, NULL));
    return told;
}

static void run_units(enum pt_schedule schedule)
{
    struct pt_plan_spec spec = {.hosts = 2, .bundles_per_worker = 4, .schedule = schedule, .speculate = true};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    struct pt_plan_deal deals[64];
    uint32_t n = 0, told = 0, host, bundle, spread = 0;
    bool failed = false;
    if (!plan)
        return;
    for (uint32_t i = 0; i < MANY; i++) {
        struct pt_err err = PT_ERR_INIT;
        if (add_one(plan, i, &err)) {
            cr_assert(strstr(err.msg, "out of memory"), "%s", err.msg);
            cr_assert_eq(pt_plan_untold(plan), 4 * i);
            cr_assert_eq(add_one(plan, i, NULL), 0);
        }
    }
    pt_plan_collected(plan);
    for (uint32_t h = 0; h < 2; h++) {
        pt_plan_labels(plan, h, 1);
        pt_plan_host(plan, h, 2);
    }
    pt_plan_together(plan, (bool[]){true, true}, 2);
    while (!pt_plan_over(plan)) {
        cr_assert_eq(pt_plan_impossible(plan), PT_NONE);
        while (next_or_again(plan, &deals[n]))
            n++;
        steal_or_not(plan);
        cr_assert_gt(n, 0);
        spread += deals[--n].bundle->nspread == 2;
        told += tell(plan, &deals[n], &failed);
        while (pt_plan_drop(plan, &host, &bundle))
            ;
    }
    cr_assert_eq(told, 4 * MANY);
    cr_assert_gt(spread, 0);
    pt_plan_destroy(plan);
}

Test(plan_memory, runs_of_every_schedule_survive_each_allocation_failing_once)
{
    for (enum pt_schedule s = PT_SCHEDULE_DYNAMIC; s <= PT_SCHEDULE_SEQUENTIAL; s++) {
        long at = 0;
        do {
            fail_hit = false;
            fail_at = ++at;
            run_units(s);
        } while (fail_hit);
        fail_at = 0;
        cr_assert_gt(at, MANY);
    }
}
