/* SPDX-License-Identifier: Apache-2.0 */
/* What a host says again to who comes after its master died, in all orders, over what that had written down:
 * a test that has an outcome keeps it, the others have the first that is told. */
#include "common/message.h"
#include "gather_reports.h"
#include "orders.h"
#include "recorded_lab.h"
#include "report.h"

#define DEPTH 4

static void end(void)
{
    orders_show();
    lab_remove();
}

TestSuite(gather_orders, .init = lab_make, .fini = end);

enum before { NOTHING, COUNTED, RERUN, BEFORES };
enum event { PASS, FAIL, DIE, CUT_SHORT, OTHER, EVENTS };

static struct pt_ledger *l;

static void name_of(uint32_t test, char *out, size_t size)
{
    snprintf(out, size, "a.py::%u", test);
}

static int gather_report(struct pt_gather_from *from, uint32_t test, uint32_t named, const char *outcome)
{
    struct pt_buf m = {0};
    char json[128], name[32];
    name_of(named, name, sizeof(name));
    snprintf(json, sizeof(json), "{\"nodeid\":\"%s\",\"outcome\":\"%s\"}", name, outcome);
    pt_put_u32(&m, 0);
    pt_put_u32(&m, 1);
    pt_put_u32(&m, 1);
    pt_put_u32(&m, test);
    pt_put_u8(&m, 1);
    pt_put_bytes(&m, json, strlen(json));
    struct pt_reader r = {.p = m.data, .left = m.len};
    int rc = pt_gather_report(from, &r, NULL);
    pt_buf_fini(&m);
    return rc;
}

static int gather_death(struct pt_gather_from *from, uint32_t test, uint8_t cause)
{
    static char none[] = "";
    struct pt_buf m = {0};
    struct pt_death d = {.bundle = 1,
                         .attempt = 1,
                         .test = test,
                         .file = PT_NONE,
                         .path = none,
                         .stack = none,
                         .output = none,
                         .phase = PT_PHASE_CALL,
                         .cause = cause,
                         .status = 11};
    pt_death_encode(&d, 1, &m);
    struct pt_reader r = {.p = m.data + PT_FRAME_HEAD + 8, .left = m.len - PT_FRAME_HEAD - 8};
    int rc = pt_gather_death(from, &r, NULL);
    pt_buf_fini(&m);
    return rc;
}

/* The outcome that it would have if it had none, or NONE. */
static unsigned happen(struct pt_gather_from *from, uint32_t test, enum event event)
{
    if (event == PASS || event == FAIL) {
        cr_assert_eq(gather_report(from, test, test, event == PASS ? "passed" : "failed"), 0);
        return event == PASS ? PT_OUTCOME_PASSED : from->reruns ? PT_OUTCOME_NONE : PT_OUTCOME_FAILED;
    }
    if (event == OTHER) {
        gather_report(from, test, test + 1, "failed");
        return PT_OUTCOME_NONE;
    }
    cr_assert_eq(gather_death(from, test, event == DIE ? PT_CAUSE_DIED : PT_CAUSE_TIMEOUT), 0);
    return event == DIE && !from->reruns ? PT_OUTCOME_CRASHED : PT_OUTCOME_NONE;
}

/* What the dead master had of it. */
static unsigned write_before(uint32_t test, enum before before)
{
    char name[32];
    name_of(test, name, sizeof(name));
    lab_test(l, test, name);
    if (before == NOTHING)
        return PT_OUTCOME_NONE;
    lab_report(l, test, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, NULL);
    if (before == COUNTED)
        return PT_OUTCOME_FAILED;
    cr_assert_eq(pt_ledger_rerun(l, test, NULL), 0);
    return PT_OUTCOME_NONE;
}

static int check_test(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows,
                      size_t n)
{
    const unsigned *want = arg;
    unsigned counted = 0;
    if (!test)
        return 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].rerun || rows[i].counted <= 0)
            continue;
        counted++;
        cr_assert_eq(rows[i].outcome, want[test->number], "%s", test->nodeid);
    }
    cr_assert_eq(counted, want[test->number] != PT_OUTCOME_NONE, "%s has %u outcomes", test->nodeid, counted);
    return 0;
}

static void all_orders(uint32_t reruns)
{
    static unsigned outcomes[BEFORES * 625];
    uint32_t tests = 0, brought = 0;
    l = lab_open();
    struct pt_gather_from from = {.ledger = l, .run = lab_begin(l, "r1"), .reruns = reruns};
    memset(outcomes, 0, sizeof(outcomes));
    orders_begin(DEPTH + 1);
    do {
        unsigned had = write_before(tests, (enum before)choose(BEFORES)), *now = &outcomes[tests];
        *now = had;
        for (int i = 0; i < DEPTH; i++) {
            unsigned then = happen(&from, tests, (enum event)choose(EVENTS));
            *now = *now == PT_OUTCOME_NONE ? then : *now;
        }
        brought += *now != had;
        tests++;
    } while (orders_next());
    cr_assert_eq(orders.n, BEFORES * 625);
    cr_assert_eq(from.reports, brought);
    cr_assert_eq(pt_ledger_each_result(l, 0, ~0u, check_test, outcomes, NULL), 0);
    struct pt_verdict *v = pt_recorded_verdict(l, 0, NULL);
    for (uint32_t t = 0; t < tests; t++)
        cr_assert_eq(pt_verdict_outcome(v, t), outcomes[t]);
    cr_assert(pt_verdict_sum_ok(v));
    pt_verdict_destroy(v);
    pt_ledger_close(l);
}

Test(gather_orders, the_first_outcome_counts)
{
    all_orders(0);
}

Test(gather_orders, what_went_wrong_is_left_to_its_rerun)
{
    all_orders(2);
}
