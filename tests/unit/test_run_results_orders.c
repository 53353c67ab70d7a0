/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts say of one test after another, in all orders: reports, deaths, ends of bundles and of hosts, and
 * what a host says too late. Each has one outcome then, and the ledger tells the same as the run did. */
#define MAX_BUNDLES 40000
#include "orders.h"
#include "recorded_lab.h"
#include "run_lab.h"

static void end(void)
{
    orders_show();
    lab_remove();
}

TestSuite(run_results_orders, .init = lab_make, .fini = end);

enum event { PASS, FAIL, DIE, LATE, DONE, LOSE };

static uint32_t tests;

/* A host that is dealt each at once. */
static void begin(uint32_t reruns)
{
    start(reruns, 0);
    for (uint32_t i = 0; i < 2; i++)
        pt_plan_host(run.plan, i, 1000);
}

/* What holds a test and what held it before. */
struct holder {
    struct pt_run_host *h;
    const struct pt_bundle *b;
};

static void say_report(struct holder from, uint32_t test, const char *outcome)
{
    char json[128];
    snprintf(json, sizeof(json), "{\"nodeid\":\"%s\",\"outcome\":\"%s\"}",
             pt_suite_get(run.suite, test)->nodeid, outcome);
    cr_assert_eq(send_json(from.h, from.b, test, json), 0);
}

static void lose(struct pt_run_host *h)
{
    pt_plan_lost(run.plan, h->number, pt_run_lost_test, &run);
    h->seq = 0;
    pt_plan_host(run.plan, h->number, 1000);
    pt_run_deal(&run);
}

static void happen(enum event event, uint32_t test, struct holder now, struct holder before)
{
    if (event == PASS || event == FAIL) {
        say_report(now, test, event == PASS ? "passed" : "failed");
    } else if (event == LATE) {
        say_report(before, test, "failed");
    } else if (event == DONE) {
        done(now.b, now.h);
    } else if (event == LOSE) {
        lose(now.h);
    } else {
        struct pt_death d = {.bundle = now.b->bundle,
                             .attempt = now.b->attempt,
                             .test = test,
                             .file = PT_NONE,
                             .phase = PT_PHASE_CALL,
                             .status = 11};
        cr_assert_eq(death(now.h, d), 0);
    }
}

static struct holder holder_of(uint32_t test)
{
    struct holder holder;
    holder.b = bundle_of(test, &holder.h);
    return holder;
}

static uint32_t add_test(void)
{
    char path[16];
    snprintf(path, sizeof(path), "%u.py", tests);
    add_file(path, 1);
    pt_run_deal(&run);
    return tests++;
}

/* Events happen to it; whether it had its outcome, it keeps it. */
static uint32_t run_order(uint32_t depth, uint32_t kinds)
{
    uint32_t test = add_test();
    struct holder now = holder_of(test), before = now;
    for (uint32_t i = 0; i < depth; i++) {
        unsigned outcome = pt_verdict_outcome(run.verdict, test);
        happen((enum event)choose(kinds), test, now, before);
        struct holder next = holder_of(test);
        before = next.b == now.b ? before : now;
        now = next;
        if (outcome != PT_OUTCOME_NONE)
            cr_assert_eq(pt_verdict_outcome(run.verdict, test), outcome);
        cr_assert_leq(pt_verdict_tries(run.verdict, test), 2);
    }
    return test;
}

/* All that is held is told, and all bundles end. */
static void settle(uint32_t test)
{
    for (int i = 0; pt_verdict_outcome(run.verdict, test) == PT_OUTCOME_NONE; i++) {
        cr_assert_lt(i, 10);
        say_report(holder_of(test), test, "passed");
    }
    for (uint32_t h = 0; h < 2; h++)
        for (size_t i = ndealt; i > 0 && pt_plan_held(run.plan, h) > 0; i--)
            if (dealt_to[i - 1] == h)
                done(dealt[i - 1], &at[h]);
    cr_assert_eq(pt_plan_held(run.plan, 0) + pt_plan_held(run.plan, 1), 0);
}

static void check(void)
{
    cr_assert_eq(pt_verdict_done(run.verdict), tests);
    cr_assert_eq(pt_verdict_total(run.verdict, PT_OUTCOME_NOTRUN), 0);
    check_recorded(run.ledger, run.verdict);
    stop();
}

Test(run_results_orders, each_test_has_one_outcome)
{
    begin(1);
    orders_begin(5);
    do
        settle(run_order(5, 6));
    while (orders_next());
    cr_assert_eq(orders.n, 6 * 6 * 6 * 6 * 6);
    cr_assert_geq(pt_verdict_count_of(run.verdict, "rerun"), 1000);
    cr_assert_eq(pt_plan_untold(run.plan), 0);
    check();
}

/* The run ends while some wait for their rerun: what they gave last is what counts. */
Test(run_results_orders, a_run_that_stops)
{
    uint32_t open = 0, before = 0;
    begin(1);
    for (uint32_t depth = 1; depth <= 4; depth++) {
        orders_begin(depth);
        do {
            uint32_t test = run_order(depth, 3);
            open += pt_verdict_outcome(run.verdict, test) == PT_OUTCOME_NONE;
        } while (orders_next());
        cr_assert_eq(orders.n, 3 * (before ? before : 1));
        before = (uint32_t)orders.n;
    }
    pt_run_stop(&run, "enough");
    pt_run_results_end(&run);
    cr_assert_eq(open, 2, "what failed or died first, and nothing came after it");
    check();
}
