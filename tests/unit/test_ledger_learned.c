/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_lab.h"

TestSuite(ledger_learned, .init = lab_make, .fini = lab_remove);

static int tell_duration(void *arg, const struct pt_ledger_duration *d)
{
    char *out = arg;
    sprintf(out + strlen(out), "%s|%s|%u|%s|%g|%g|%g ", d->file, d->nodeid, d->occurrence, d->host, d->setup,
            d->call, d->teardown);
    return 0;
}

static int tell_import(void *arg, const struct pt_ledger_import *i)
{
    char *out = arg;
    sprintf(out + strlen(out), "%s|%s|%g|%s ", i->file, i->host, i->seconds, i->modules);
    return 0;
}

static int tell_speed(void *arg, const char *host, double speed)
{
    char *out = arg;
    sprintf(out + strlen(out), "%s|%g ", host, speed);
    return 0;
}

static void put(struct pt_ledger *l, const char *file, const char *nodeid, uint32_t occurrence, double call)
{
    struct pt_ledger_duration d = {file,         nodeid,       occurrence,    .host = "h1",
                                   .setup = 0.5, .call = call, .teardown = -1};
    cr_assert_eq(pt_ledger_put_duration(l, &d, NULL), 0);
}

static const char *durations(struct pt_ledger *l)
{
    static char text[4096];
    text[0] = '\0';
    cr_assert_eq(pt_ledger_each_duration(l, tell_duration, text, NULL), 0);
    return text;
}

Test(ledger_learned, is_kept_and_replaced)
{
    char text[256] = "";
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    put(l, "b.py", "b.py::x", 0, 1);
    put(l, "a.py", "a.py::x", 1, 2);
    put(l, "a.py", "a.py::x", 0, 3);
    put(l, "b.py", "b.py::x", 0, 4);
    struct pt_ledger_import i = {"a.py", "h1", 0.25, "numpy,scipy", 0};
    cr_assert_eq(pt_ledger_put_import(l, &i, NULL), 0);
    cr_assert_eq(pt_ledger_put_speed(l, "h1", 2, NULL), 0);
    cr_assert_eq(pt_ledger_put_speed(l, "h1", 1.5, NULL), 0);
    cr_assert_eq(pt_ledger_commit(l, NULL), 0);
    pt_ledger_close(l);
    l = lab_open();
    cr_assert_str_eq(durations(l),
                     "a.py|a.py::x|0|h1|0.5|3|-1 a.py|a.py::x|1|h1|0.5|2|-1 b.py|b.py::x|0|h1|0.5|4|-1 ");
    cr_assert_eq(pt_ledger_each_import(l, tell_import, text, NULL), 0);
    cr_assert_str_eq(text, "a.py|h1|0.25|numpy,scipy ");
    text[0] = '\0';
    cr_assert_eq(pt_ledger_each_speed(l, tell_speed, text, NULL), 0);
    cr_assert_str_eq(text, "h1|1.5 ");
    pt_ledger_close(l);
}

Test(ledger_learned, is_forgotten_when_nobody_writes_it_any_more)
{
    struct pt_ledger *l = lab_open();
    char name[16];
    for (int i = 0; i < PT_LEDGER_LEARNED + 40; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        lab_begin(l, name);
        if (i == 0)
            put(l, "a.py", "a.py::old", 0, 1);
        if (i == 100)
            put(l, "a.py", "a.py::newer", 0, 1);
        if (i == PT_LEDGER_LEARNED - 20)
            cr_assert_not_null(strstr(durations(l), "old"));
    }
    cr_assert_null(strstr(durations(l), "old"));
    cr_assert_not_null(strstr(durations(l), "newer"));
    pt_ledger_close(l);
}

/* --- older layouts: such a file is taken over with all that is in it --- */

#define TO_LAYOUT_3                                                                                          \
    "ALTER TABLE runs DROP COLUMN argv; ALTER TABLE runs DROP COLUMN cwd;"                                   \
    "ALTER TABLE runs DROP COLUMN master; ALTER TABLE runs DROP COLUMN tree;"                                \
    "ALTER TABLE runs DROP COLUMN resumes; DROP TABLE trees; PRAGMA user_version=3;"
#define TO_LAYOUT_2                                                                                          \
    "ALTER TABLE runs DROP COLUMN how; ALTER TABLE reports DROP COLUMN bundle;"                              \
    "ALTER TABLE reports DROP COLUMN try; ALTER TABLE reports DROP COLUMN rerun;"                            \
    "DROP TABLE imports; DROP TABLE speeds; DROP TABLE durations;"                                           \
    "CREATE TABLE durations(file TEXT, nodeid TEXT, occurrence INTEGER, seconds REAL, run INTEGER,"          \
    " PRIMARY KEY(file, nodeid, occurrence)) WITHOUT ROWID;"                                                 \
    "INSERT INTO durations VALUES('a.py','a.py::x',1,2.5,1); PRAGMA user_version=2;"
#define TO_LAYOUT_1                                                                                          \
    "ALTER TABLE hosts DROP COLUMN files_sent; ALTER TABLE hosts DROP COLUMN bytes_raw;"                     \
    "ALTER TABLE hosts DROP COLUMN files_reused; ALTER TABLE hosts DROP COLUMN bytes_reused;"                \
    "ALTER TABLE hosts DROP COLUMN removed; ALTER TABLE hosts DROP COLUMN rate;"                             \
    "ALTER TABLE hosts DROP COLUMN offer; ALTER TABLE hosts DROP COLUMN send;"                               \
    "ALTER TABLE hosts DROP COLUMN finish; PRAGMA user_version=1;"

static void fill(void)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "old");
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{1}");
    struct pt_ledger_host host = {.name = "h1", .state = "ready", .slots = 4, .bytes_sent = 5};
    cr_assert_eq(pt_ledger_add_host(l, &host, NULL), 0);
    cr_assert_eq(pt_ledger_finish_run(l, 5, 1, PT_OUTCOME_NOTRUN, NULL), 0);
    pt_ledger_close(l);
}

static int old_report(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *r,
                      size_t n)
{
    cr_assert(test && n == 1 && r->counted == 1 && !r->rerun && r->bundle == PT_NONE && r->try_ == 1);
    cr_assert(r->outcome == PT_OUTCOME_FAILED && r->json_len == 3 && memcmp(r->json, "{1}", 3) == 0);
    ++*(int *)arg;
    return 0;
}

static int old_host(void *arg, const struct pt_ledger_host *h)
{
    cr_assert(strcmp(h->name, "h1") == 0 && h->bytes_sent == 5 && h->slots == 4);
    ++*(int *)arg;
    return 0;
}

/* A run on what an older layout left behind. */
static void go_on(const char *name)
{
    int seen = 0;
    struct pt_ledger_run run;
    struct pt_ledger *l = lab_open();
    cr_assert_str_eq(pt_ledger_note(l), "");
    cr_assert_eq(lab_aside(""), 0, "nothing is thrown away");
    int64_t id = lab_begin(l, name);
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{2}");
    cr_assert_eq(pt_ledger_rerun(l, 0, NULL), 0);
    put(l, "a.py", "a.py::new", 0, 3);
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    cr_assert_eq(pt_ledger_each_result(l, 1, ~0u, old_report, &seen, NULL), 0);
    cr_assert_eq(pt_ledger_each_host(l, 1, old_host, &seen, NULL), 0);
    cr_assert_eq(seen, 2);
    cr_assert(pt_ledger_get_run(l, 1, &run, NULL) == 0 && !run.how && run.exitcode == 1);
    cr_assert_gt(id, 1);
    cr_assert_str_eq(durations(l), "a.py|a.py::new|0|h1|0.5|3|-1 a.py|a.py::x|1||-1|2.5|-1 ");
    pt_ledger_close(l);
}

/* Of layout 3 only the runs were other. */
Test(ledger_learned, layout_3_is_read_and_goes_on)
{
    struct pt_ledger_run run;
    fill();
    lab_alter(TO_LAYOUT_3);
    struct pt_ledger *l = pt_ledger_look(lab_dir, NULL);
    cr_assert(l && pt_ledger_get_run(l, 1, &run, NULL) == 0 && !run.argv && run.exitcode == 1);
    pt_ledger_close(l);
    l = lab_open();
    cr_assert_str_eq(pt_ledger_note(l), "");
    cr_assert_eq(lab_begin(l, "r2"), 2);
    pt_ledger_close(l);
}

Test(ledger_learned, layout_2_goes_on)
{
    fill();
    lab_alter(TO_LAYOUT_3 TO_LAYOUT_2);
    go_on("r2");
    lab_alter("SELECT 1");
    go_on("r3");
}

Test(ledger_learned, layout_1_goes_on)
{
    fill();
    lab_alter(TO_LAYOUT_3 TO_LAYOUT_2 TO_LAYOUT_1);
    go_on("r2");
}

/* A file that says layout 2 and is not: set aside, and a new one is begun. */
Test(ledger_learned, a_layout_that_lies_is_set_aside)
{
    fill();
    lab_alter("PRAGMA user_version=2");
    struct pt_ledger *l = lab_open();
    cr_assert_not_null(strstr(pt_ledger_note(l), "damaged"), "%s", pt_ledger_note(l));
    lab_begin(l, "r2");
    pt_ledger_close(l);
}
