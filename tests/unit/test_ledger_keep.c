/* SPDX-License-Identifier: Apache-2.0 */
/* Which runs are kept. */
#include "ledger_inside.h"
#include "ledger_lab.h"

#include <time.h>

TestSuite(ledger_keep, .init = lab_make, .fini = lab_remove);

static int count_test(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *r,
                      size_t n)
{
    (void)r, (void)n;
    *(int *)arg += test != NULL;
    return 0;
}

static int tests_of(struct pt_ledger *l, int64_t run)
{
    int n = 0;
    cr_assert_eq(pt_ledger_each_result(l, run, ~0u, count_test, &n, NULL), 0);
    return n;
}

Test(ledger_keep, keeps_the_last_runs)
{
    struct pt_ledger *l = lab_open();
    struct pt_ledger_run run;
    char name[16];
    int64_t first = 0;
    for (int i = 0; i < PT_LEDGER_RUNS + 20; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        int64_t id = lab_begin(l, name);
        first = first ? first : id;
        lab_test(l, 0, "a.py::x");
        lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
        cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    }
    cr_assert_eq(pt_ledger_get_run(l, first + 19, &run, NULL), 1);
    cr_assert_eq(pt_ledger_get_run(l, first + 20, &run, NULL), 0);
    cr_assert_eq(tests_of(l, first + 19), 0);
    cr_assert_eq(tests_of(l, first + 20), 1);
    pt_ledger_close(l);
}

static int64_t big_run(struct pt_ledger *l, int i)
{
    static char json[64 << 10];
    char name[16];
    memset(json, 'x', sizeof(json) - 1);
    snprintf(name, sizeof(name), "r%d", i);
    int64_t id = lab_begin(l, name);
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, json);
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    return id;
}

Test(ledger_keep, keeps_fewer_runs_when_they_are_large)
{
    struct pt_ledger *l = lab_open();
    struct pt_ledger_run run;
    int64_t id = 0;
    l->most = 20 * (64 << 10);
    for (int i = 0; i < 40; i++)
        id = big_run(l, i);
    cr_assert_eq(pt_ledger_get_run(l, id - 21, &run, NULL), 1);
    cr_assert_eq(pt_ledger_get_run(l, id - 15, &run, NULL), 0);
    l->most = 1;
    for (int i = 40; i < 60; i++)
        id = big_run(l, i);
    cr_assert_eq(pt_ledger_get_run(l, id - PT_LEDGER_LEAST, &run, NULL), 1);
    cr_assert_eq(pt_ledger_get_run(l, id - PT_LEDGER_LEAST + 1, &run, NULL), 0);
    pt_ledger_close(l);
}

/* Another master may be at it. */
Test(ledger_keep, a_run_that_may_be_under_way_is_kept)
{
    struct pt_ledger *other = lab_open(), *l = lab_open();
    struct pt_ledger_run run = {.name = "busy", .started = (double)time(NULL)};
    cr_assert_eq(pt_ledger_begin_run(other, &run, NULL), 0);
    for (int i = 0; i < PT_LEDGER_RUNS + 10; i++)
        big_run(l, i);
    cr_assert_eq(pt_ledger_get_run(l, run.id, &run, NULL), 0);
    cr_assert_eq(pt_ledger_finish_run(other, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    big_run(l, 100);
    cr_assert_eq(pt_ledger_get_run(l, run.id, &run, NULL), 1);
    pt_ledger_close(l);
    pt_ledger_close(other);
}
