/* SPDX-License-Identifier: Apache-2.0 */
/* The runs themselves: finding, listing, and what one that can be resumed needs. */
#include "ledger_inside.h"
#include "ledger_lab.h"

TestSuite(ledger_runs, .init = lab_make, .fini = lab_remove);

static void expect_error(struct pt_ledger *l, const char *name, const char *words)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_eq(pt_ledger_find_run(l, name, &err), 0);
    cr_expect(err.kind == PT_ERR_USAGE && strstr(err.msg, words), "%s", err.msg);
}

Test(ledger_runs, are_found_by_name_and_by_its_beginning)
{
    struct pt_ledger *l = lab_open();
    expect_error(l, NULL, "no runs are recorded");
    int64_t a = lab_begin(l, "20260101-a"), b = lab_begin(l, "20260101-ab"), c = lab_begin(l, "20260102-%");
    cr_expect_eq(pt_ledger_find_run(l, NULL, NULL), c);
    cr_expect_eq(pt_ledger_find_run(l, "20260101-ab", NULL), b);
    cr_expect_eq(pt_ledger_find_run(l, "20260101-a", NULL), a,
                 "the whole name goes before one that begins so");
    cr_expect_eq(pt_ledger_find_run(l, "20260102", NULL), c);
    expect_error(l, "20260101", "several runs begin with '20260101'");
    expect_error(l, "%", "no run '%' is recorded");
    expect_error(l, "20260103", "no run '20260103' is recorded");
    pt_ledger_close(l);
}

static int list(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    char *text = arg;
    sprintf(text + strlen(text), "%s:%u/%u/%u/%u ", run->name, counts[PT_OUTCOME_NONE],
            counts[PT_OUTCOME_PASSED], counts[PT_OUTCOME_FAILED], counts[PT_OUTCOME_NOTRUN]);
    return 0;
}

Test(ledger_runs, are_listed_while_one_is_written)
{
    char text[256] = "";
    struct pt_ledger *l = lab_open();
    lab_begin(l, "first");
    for (uint32_t i = 0; i < 3; i++)
        lab_test(l, i, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    lab_report(l, 1, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    lab_report(l, 1, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, true, "{}");
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    lab_begin(l, "second");
    lab_test(l, 0, "a.py::x");
    lab_test(l, 1, "a.py::y");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{}");
    cr_assert_eq(pt_ledger_commit(l, NULL), 0);
    lab_report(l, 1, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}"); /* nobody sees it yet */
    struct pt_ledger *other = pt_ledger_look(lab_dir, NULL);
    cr_assert_not_null(other);
    cr_assert_eq(pt_ledger_each_run(other, list, text, NULL), 0);
    cr_expect_str_eq(text, "second:1/0/1/0 first:0/2/0/1 ");
    cr_expect_lt(pt_ledger_exec(other, "DELETE FROM runs", NULL), 0, "it only looks");
    pt_ledger_close(other);
    pt_ledger_close(l);
}

Test(ledger_runs, nothing_is_made_by_looking)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_null(pt_ledger_look(lab_dir, &err));
    cr_expect(err.kind == PT_ERR_USAGE && strstr(err.msg, "no runs are recorded in"), "%s", err.msg);
    cr_expect_eq(access(lab_path("ledger.sqlite"), F_OK), -1);
    FILE *f = fopen(lab_path("ledger.sqlite"), "w");
    fputs("certainly not a database, and longer than the head of one would be: one hundred bytes are needed",
          f);
    fclose(f);
    err = (struct pt_err)PT_ERR_INIT;
    cr_expect_null(pt_ledger_look(lab_dir, &err));
    cr_expect(strstr(err.msg, "is damaged"), "%s", err.msg);
    cr_expect_eq(access(lab_path("ledger.sqlite"), F_OK), 0, "the next run sets it aside");
}

static int get_one(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *r, size_t n)
{
    char *text = arg;
    sprintf(text + strlen(text), "%u %s %zu", test->number, test->nodeid, n);
    for (size_t i = 0; i < n; i++)
        sprintf(text + strlen(text), " %.*s%s%s", (int)r[i].json_len, (const char *)r[i].json,
                r[i].rerun ? "r" : "", r[i].extra ? "x" : "");
    return 0;
}

Test(ledger_runs, one_test_is_read_alone)
{
    char text[256] = "";
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, "a.py::x");
    lab_test(l, 1, "a.py::y");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{1}");
    cr_assert_eq(pt_ledger_rerun(l, 0, NULL), 0);
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{2}");
    lab_report(l, 0, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, true, "{3}");
    for (int round = 0; round < 2; round++)
        for (uint32_t test = 0; test < 3; test++)
            cr_assert_eq(pt_ledger_get_result(l, 0, test, get_one, text, NULL), 0);
    cr_expect_str_eq(text, "0 a.py::x 3 {1}r {2} {3}x1 a.py::y 00 a.py::x 3 {1}r {2} {3}x1 a.py::y 0");
    pt_ledger_close(l);
}

static bool has_tree(struct pt_ledger *l, int64_t run)
{
    struct pt_buf tree = {0};
    int rc = pt_ledger_get_tree(l, run, &tree, NULL);
    cr_assert(rc == 1 || (rc == 0 && tree.len == 4 && memcmp(tree.data, "tree", 4) == 0));
    pt_buf_fini(&tree);
    return rc == 0;
}

Test(ledger_runs, a_tree_is_kept_for_as_long_as_there_is_something_left)
{
    struct pt_ledger *l = lab_open();
    int64_t first = lab_begin(l, "first");
    lab_test(l, 0, "a.py::x");
    cr_assert_eq(pt_ledger_put_tree(l, "root", 4, "old!", 4, NULL), 0);
    cr_assert_eq(pt_ledger_put_tree(l, "root", 4, "tree", 4, NULL), 0);
    cr_expect(has_tree(l, 0));
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    int64_t second = lab_begin(l, "second");
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{}");
    cr_assert_eq(pt_ledger_put_tree(l, "root", 4, "tree", 4, NULL), 0);
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    cr_expect(has_tree(l, first) && !has_tree(l, second));
    pt_ledger_close(l);
}

Test(ledger_runs, a_run_that_is_resumed_is_not_dropped)
{
    char name[16];
    struct pt_ledger_run run = {.name = "again", .argv = "[\"-v\"]", .cwd = "/tmp", .master = "here 1 2"},
                         got;
    struct pt_ledger *l = lab_open();
    int64_t first = lab_begin(l, "first");
    lab_test(l, 0, "a.py::x");
    for (int i = 1; i < PT_LEDGER_RUNS; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        lab_begin(l, name);
    }
    run.resumes = first;
    cr_assert_eq(pt_ledger_begin_run(l, &run, NULL), 0);
    cr_expect_eq(pt_ledger_get_run(l, first, &got, NULL), 0);
    cr_assert_eq(pt_ledger_get_run(l, 0, &got, NULL), 0);
    cr_expect(got.resumes == first && strcmp(got.argv, run.argv) == 0 && strcmp(got.cwd, run.cwd) == 0 &&
              strcmp(got.master, run.master) == 0);
    lab_begin(l, "later");
    cr_expect_eq(pt_ledger_get_run(l, first, &got, NULL), 1);
    pt_ledger_close(l);
}
