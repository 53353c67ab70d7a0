/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation of the rows and of a recorded run fails in turn: all is printed or it is said, and nothing
 * leaks. */
#include "fail_alloc.h"

#include "src/recorded.c"
#include "src/recorded_verdict.c"
#include "src/records_columns.c"

#undef malloc
#undef calloc
#undef realloc
#undef strdup
#undef asprintf
#include "ledger_lab.h"

static void print(struct pt_ledger *l)
{
    static char text[256];
    struct pt_err err = PT_ERR_INIT;
    struct pt_columns c = {.width = 2};
    (void)l;
    memset(text, 0, sizeof(text));
    FILE *out = fmemopen(text, sizeof(text), "w");
    cr_assert_not_null(out);
    for (int i = 0; i < 70; i++)
        pt_columns_add(&c, "a");
    if (pt_columns_print(&c, "", 0, out, &err) < 0)
        cr_expect_str_eq(err.msg, "out of memory");
    else
        cr_expect_eq(strlen(text), 35 * 5);
    cr_expect(fail_hit || !err.msg[0]);
    fclose(out);
}

static void load(struct pt_ledger *l)
{
    struct pt_recorded r;
    struct pt_err err = PT_ERR_INIT;
    if (pt_recorded_init(&r, l, 0, &err) < 0)
        cr_expect(fail_hit && err.msg[0]);
    else
        cr_expect(r.root && r.verdict && pt_verdict_tests(r.verdict) == 1 &&
                  pt_verdict_count_of(r.verdict, "failed") == 1);
    pt_recorded_fini(&r);
}

static void each_in_turn(void (*use)(struct pt_ledger *), struct pt_ledger *l)
{
    long at = 0;
    do {
        fail_hit = false;
        fail_at = ++at;
        use(l);
    } while (fail_hit && at < 1000);
    fail_at = 0;
    cr_expect_gt(at, 1, "nothing failed");
    use(l);
}

Test(records_memory, rows, .init = lab_make, .fini = lab_remove)
{
    each_in_turn(print, NULL);
}

Test(records_memory, a_recorded_run, .init = lab_make, .fini = lab_remove)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false,
               "{\"nodeid\":\"a.py::x\",\"outcome\":\"failed\"}");
    cr_assert_eq(pt_ledger_add_note(l, 0, PT_RECORDED_NOTE, "{\"root\":\"/p\"}", 13, NULL), 0);
    each_in_turn(load, l);
    pt_ledger_close(l);
}
