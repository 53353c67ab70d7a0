/* SPDX-License-Identifier: Apache-2.0 */
/* The verdict in all orders of reports, later words, reruns and the end of the run: what it counts by adding
 * and taking back is what a count from the start gives, and every test has one outcome. */
#include "orders.h"
#include "verdict.h"

TestSuite(verdict_orders, .fini = orders_show);

enum op { PASSED, FAILED, BOTH, MORE, AGAIN, NOT_AGAIN, OPS };

enum { N_PASSED, N_FAILED, N_ERROR, N_FLAKY, N_RERUN, NAMES };
static const char *const names[NAMES] = {"passed", "failed", "error", "flaky", "rerun"};

/* What the last try of a test gave, so far. */
struct fact {
    unsigned outcome;
    uint32_t attempt, reruns, counts[NAMES];
};

static const struct {
    uint32_t attempt;
    unsigned outcome;
    uint32_t passed, failed, error;
} reports[] = {[PASSED] = {1, PT_OUTCOME_PASSED, 1, 0, 0},
               [FAILED] = {2, PT_OUTCOME_FAILED, 0, 1, 0},
               [BOTH] = {1, PT_OUTCOME_ERROR, 1, 0, 1}};

static bool has_outcome(const struct fact *f)
{
    return f->outcome != PT_OUTCOME_NONE;
}

static void report(struct pt_verdict *v, struct fact *f, uint32_t test, enum op op)
{
    static const struct pt_count both[] = {{"passed", 1}, {"error", 1}};
    bool first = !has_outcome(f);
    bool counts = first || (reports[op].attempt >= f->attempt && reports[op].outcome > f->outcome);
    cr_assert_eq(pt_verdict_set(v, test, reports[op].attempt, reports[op].outcome, op == BOTH ? both : NULL,
                                op == BOTH ? 2 : 0),
                 first    ? PT_COUNTED_FIRST
                 : counts ? PT_COUNTED_INSTEAD
                          : PT_COUNTED_NOT);
    if (counts)
        *f = (struct fact){.outcome = reports[op].outcome,
                           .attempt = reports[op].attempt,
                           .reruns = f->reruns,
                           .counts = {reports[op].passed, reports[op].failed, reports[op].error}};
}

static void more(struct pt_verdict *v, struct fact *f, uint32_t test)
{
    static const struct pt_count error = {"error", 1};
    cr_assert_eq(pt_verdict_amend(v, test, PT_OUTCOME_ERROR, &error, 1), has_outcome(f) ? 0 : -1);
    if (!has_outcome(f))
        return;
    f->counts[N_ERROR]++;
    if (f->outcome < PT_OUTCOME_ERROR)
        f->outcome = PT_OUTCOME_ERROR;
}

static void happen(struct pt_verdict *v, struct fact *f, uint32_t test, enum op op)
{
    if (op <= BOTH) {
        report(v, f, test, op);
    } else if (op == MORE) {
        more(v, f, test);
    } else if (op == AGAIN) {
        cr_assert_eq(pt_verdict_again(v, test), has_outcome(f) ? 0 : -1);
        if (has_outcome(f))
            *f = (struct fact){.reruns = f->reruns + 1};
    } else {
        bool can = !has_outcome(f) && f->reruns > 0;
        cr_assert_eq(pt_verdict_not_again(v, test), can ? 0 : -1);
        f->reruns -= can;
    }
}

static void check(const struct pt_verdict *v, const struct fact *facts, uint32_t n)
{
    uint32_t done = 0, totals[PT_OUTCOMES] = {0}, counts[NAMES] = {0};
    for (uint32_t t = 0; t < n; t++) {
        bool flaky = facts[t].outcome == PT_OUTCOME_PASSED && facts[t].reruns > 0;
        cr_assert_eq(pt_verdict_outcome(v, t), facts[t].outcome);
        cr_assert_eq(pt_verdict_tries(v, t), facts[t].reruns + 1);
        cr_assert_eq(pt_verdict_flaky(v, t), flaky);
        done += has_outcome(&facts[t]);
        totals[facts[t].outcome]++;
        counts[N_FLAKY] += flaky;
        counts[N_RERUN] += facts[t].reruns;
        for (int i = 0; i < NAMES; i++)
            counts[i] += facts[t].counts[i];
    }
    for (unsigned o = PT_OUTCOME_NONE + 1; o < PT_OUTCOMES; o++)
        cr_assert_eq(pt_verdict_total(v, o), totals[o]);
    for (int i = 0; i < NAMES; i++)
        cr_assert_eq(pt_verdict_count_of(v, names[i]), counts[i], "%s", names[i]);
    cr_assert_eq(pt_verdict_done(v), done);
    cr_assert_eq(pt_verdict_failures(v), counts[N_FAILED] + counts[N_ERROR]);
    cr_assert(pt_verdict_sum_ok(v));
}

static void run_order(uint32_t depth, uint32_t tests)
{
    struct pt_verdict *v = pt_verdict_create(NULL);
    struct fact facts[2] = {0};
    const struct pt_end end = {0};
    uint32_t open = 0, failed = 0;
    for (uint32_t t = 0; t < tests; t++)
        pt_verdict_add_test(v);
    for (uint32_t i = 0; i < depth; i++) {
        uint32_t what = choose(tests * OPS), test = what / OPS;
        happen(v, &facts[test], test, (enum op)(what % OPS));
        check(v, facts, tests);
    }
    for (uint32_t t = 0; t < tests; t++) {
        open += !has_outcome(&facts[t]);
        failed += facts[t].counts[N_FAILED] + facts[t].counts[N_ERROR];
    }
    cr_assert(pt_verdict_exit_code(v, &end) == PT_EXIT_INTERNAL || open == 0);
    cr_assert_eq(pt_verdict_finish(v, PT_OUTCOME_NOTRUN), open);
    cr_assert(pt_verdict_sum_ok(v) && pt_verdict_done(v) == tests);
    cr_assert_eq(pt_verdict_exit_code(v, &end), failed ? PT_EXIT_FAILED : open ? PT_EXIT_INTERRUPTED : 0);
    pt_verdict_destroy(v);
}

Test(verdict_orders, of_one_test)
{
    orders_begin(6);
    do
        run_order(6, 1);
    while (orders_next());
    cr_assert_eq(orders.n, 6 * 6 * 6 * 6 * 6 * 6);
}

Test(verdict_orders, of_two_tests)
{
    orders_begin(4);
    do
        run_order(4, 2);
    while (orders_next());
    cr_assert_eq(orders.n, 12 * 12 * 12 * 12);
}
