/* SPDX-License-Identifier: Apache-2.0 */
/* Questions over all runs, and a view that stands still. */
#include "ledger_lab.h"

TestSuite(ledger_history, .init = lab_make, .fini = lab_remove);

/* A report of one test at that try that took so long. */
static void tell(struct pt_ledger *l, uint32_t test, unsigned outcome, uint32_t try_, double duration)
{
    struct pt_ledger_report r = {.test = test,
                                 .counted = PT_COUNTED_FIRST,
                                 .attempt = 1,
                                 .bundle = PT_NONE,
                                 .worker = PT_NONE,
                                 .try_ = try_,
                                 .outcome = (uint8_t)outcome,
                                 .phase = PT_PHASE_CALL,
                                 .duration = duration};
    cr_assert_eq(pt_ledger_add_report(l, &r, NULL), 0);
}

/* Runs r1 to r3 of a test that fails once, one that needs a rerun once, and one that was never run. */
static struct pt_ledger *three_runs(void)
{
    struct pt_ledger *l = lab_open();
    const unsigned x[] = {PT_OUTCOME_PASSED, PT_OUTCOME_TIMEOUT, PT_OUTCOME_PASSED};
    const double took[] = {1, 5, 2};
    for (size_t i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof(name), "r%zu", i + 1);
        lab_begin(l, name);
        struct pt_ledger_host host = {.name = "h1", .state = "ok"};
        cr_assert_eq(pt_ledger_add_host(l, &host, NULL), 0);
        lab_test(l, 0, "b.py::x");
        lab_test(l, 1, "a.py::y");
        lab_test(l, 2, "c.py::never_100%");
        tell(l, 0, x[i], 1, took[i]);
        if (i == 1) {
            tell(l, 1, PT_OUTCOME_FAILED, 1, 0.5);
            cr_assert_eq(pt_ledger_rerun(l, 1, NULL), 0);
        }
        tell(l, 1, PT_OUTCOME_PASSED, i == 1 ? 2 : 1, 0.25);
        cr_assert_eq(pt_ledger_finish_run(l, 1700000009, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    }
    return l;
}

static int list_trend(void *arg, const struct pt_ledger_trend *t)
{
    char *text = arg;
    sprintf(text + strlen(text), "%s %u+%u-%u %g %g; ", t->nodeid, t->passed, t->reran, t->failed, t->median,
            t->last);
    return 0;
}

Test(ledger_history, tells_what_each_test_came_to)
{
    char text[512] = "";
    struct pt_ledger *l = three_runs();
    cr_assert_eq(pt_ledger_each_trend(l, list_trend, text, NULL), 0);
    cr_expect_str_eq(text, "b.py::x 2+0-1 2 2; a.py::y 3+1-0 0.25 0.25; c.py::never_100% 0+0-0 -1 -1; ");
    pt_ledger_close(l);
}

Test(ledger_history, what_a_resumed_run_took_over_counts_once)
{
    char text[512] = "";
    struct pt_ledger_run again = {.name = "r4", .resumes = 2, .started = 1700000010};
    struct pt_ledger *l = three_runs();
    cr_assert_eq(pt_ledger_begin_run(l, &again, NULL), 0);
    lab_test(l, 0, "b.py::x");
    cr_assert_eq(pt_ledger_each_trend(l, list_trend, text, NULL), 0);
    cr_expect(strstr(text, "b.py::x 2+0-1"), "until it has all: %s", text);
    cr_assert_eq(pt_ledger_can_resume(l, "[]", NULL), 0);
    tell(l, 0, PT_OUTCOME_TIMEOUT, 1, 5);
    text[0] = '\0';
    cr_assert_eq(pt_ledger_each_trend(l, list_trend, text, NULL), 0);
    cr_expect(strstr(text, "b.py::x 2+0-1") && strstr(text, "a.py::y 2+0-0"), "%s", text);
    pt_ledger_close(l);
}

Test(ledger_history, a_median_of_two_lies_between_them)
{
    char text[256] = "";
    struct pt_ledger *l = lab_open();
    for (int i = 0; i < 3; i++) {
        lab_begin(l, i == 0 ? "a" : i == 1 ? "b" : "c");
        lab_test(l, 0, "a.py::x");
        tell(l, 0, PT_OUTCOME_PASSED, 1, i == 2 ? -1 : i + 1);
    }
    cr_assert_eq(pt_ledger_each_trend(l, list_trend, text, NULL), 0);
    cr_expect_str_eq(text, "a.py::x 3+0-0 1.5 2; ", "a run that did not time it does not count: %s", text);
    pt_ledger_close(l);
}

static int list_past(void *arg, const struct pt_ledger_past *p)
{
    char *text = arg;
    sprintf(text + strlen(text), "%s %s %s %s %u %g; ", p->nodeid, p->run, p->host,
            pt_outcome_name(p->outcome), p->tries, p->duration);
    return 0;
}

Test(ledger_history, tells_each_run_of_the_tests_that_are_asked_for)
{
    char text[512] = "";
    struct pt_ledger *l = three_runs();
    cr_assert_eq(pt_ledger_each_past(l, "py::y", list_past, text, NULL), 0);
    cr_expect_str_eq(text, "a.py::y r3 h1 passed 1 0.25; a.py::y r2 h1 passed 2 0.25;"
                           " a.py::y r1 h1 passed 1 0.25; ");
    text[0] = '\0';
    cr_assert_eq(pt_ledger_each_past(l, "100%", list_past, text, NULL), 0);
    cr_expect_str_eq(text, "c.py::never_100% r3  notrun 1 -1; c.py::never_100% r2  notrun 1 -1;"
                           " c.py::never_100% r1  notrun 1 -1; ");
    text[0] = '\0';
    cr_assert_eq(pt_ledger_each_past(l, "PY::Y", list_past, text, NULL), 0);
    cr_expect_str_eq(text, "");
    pt_ledger_close(l);
}

static int end_with_7(void *arg, const struct pt_ledger_trend *t)
{
    (void)t;
    ++*(int *)arg;
    return 7;
}

Test(ledger_history, ends_where_it_is_told_to)
{
    int calls = 0;
    struct pt_ledger *l = three_runs();
    cr_expect_eq(pt_ledger_each_trend(l, end_with_7, &calls, NULL), 7);
    cr_expect_eq(calls, 1);
    pt_ledger_close(l);
}

static int count_run(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    (void)run, (void)counts;
    ++*(int *)arg;
    return 0;
}

Test(ledger_history, a_view_that_is_held_stands_still)
{
    int runs = 0;
    struct pt_ledger *l = three_runs(), *other = pt_ledger_look(lab_dir, NULL);
    cr_assert_not_null(other);
    cr_assert_eq(pt_ledger_hold(other, NULL), 0);
    lab_begin(l, "r4");
    cr_assert_eq(pt_ledger_each_run(other, count_run, &runs, NULL), 0);
    cr_expect_eq(runs, 3);
    pt_ledger_close(other);
    cr_assert_not_null(other = pt_ledger_look(lab_dir, NULL));
    runs = 0;
    cr_assert_eq(pt_ledger_each_run(other, count_run, &runs, NULL), 0);
    cr_expect_eq(runs, 4);
    pt_ledger_close(other);
    pt_ledger_close(l);
}

Test(ledger_history, a_run_can_be_taken_back)
{
    char text[512] = "";
    int runs = 0;
    struct pt_ledger *l = three_runs();
    cr_assert_eq(pt_ledger_drop_run(l, NULL), 0);
    cr_assert_eq(pt_ledger_each_run(l, count_run, &runs, NULL), 0);
    cr_expect_eq(runs, 2);
    cr_assert_eq(pt_ledger_each_past(l, "a.py::y", list_past, text, NULL), 0);
    cr_expect_str_eq(text, "a.py::y r2 h1 passed 2 0.25; a.py::y r1 h1 passed 1 0.25; ");
    cr_expect_not(pt_ledger_dirty(l));
    pt_ledger_close(l);
}
