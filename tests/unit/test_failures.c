/* SPDX-License-Identifier: Apache-2.0 */
/* What failed when it last ran. */
#include "common/auto.h"
#include "failures.h"
#include "json.h"
#include "ledger_lab.h"

TestSuite(failures, .init = lab_make, .fini = lab_remove);

#define COLLECTING "{\"nodeid\":\"%s\",\"file\":\"%s\",\"outcome\":\"error\",\"phase\":\"collect\"}"

static int64_t begin_in(struct pt_ledger *l, const char *name, const char *project, const char *rootdir,
                        int64_t resumes)
{
    char note[128];
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_run run = {.name = name, .rootdir = project, .resumes = resumes};
    cr_assert_eq(pt_ledger_begin_run(l, &run, &err), 0, "%s", err.msg);
    int n = snprintf(note, sizeof(note), "{\"root\":\"%s\"}", rootdir);
    cr_assert_eq(pt_ledger_add_note(l, PT_NONE, "run", note, (size_t)n, NULL), 0);
    return run.id;
}

static int64_t begin(struct pt_ledger *l, const char *name)
{
    return begin_in(l, name, "/p", "/p", 0);
}

/* The next test of the run; PT_OUTCOME_NONE: it told nothing. */
static void add(struct pt_ledger *l, uint32_t number, const char *nodeid, unsigned outcome)
{
    lab_test(l, number, nodeid);
    if (outcome != PT_OUTCOME_NONE)
        lab_report(l, number, (uint8_t)outcome, PT_COUNTED_FIRST, false, "{}");
}

static void could_not_collect(struct pt_ledger *l, const char *file)
{
    char json[256];
    snprintf(json, sizeof(json), COLLECTING, file, file);
    struct pt_ledger_report r = {.test = PT_NONE,
                                 .counted = 1,
                                 .host = PT_NONE,
                                 .outcome = PT_OUTCOME_ERROR,
                                 .json = json,
                                 .json_len = strlen(json)};
    cr_assert_eq(pt_ledger_add_report(l, &r, NULL), 0);
}

/* "/p: a b; /q: c" */
static const char *failed(struct pt_ledger *l, int64_t before, const char *root)
{
    static char text[1024];
    struct pt_err err = PT_ERR_INIT;
    struct pt_json *json = pt_failures_load(l, before, root, &err);
    cr_assert_not_null(json, "%s", err.msg);
    text[0] = '\0';
    for (const struct pt_json *g = pt_json_first(json); g; g = pt_json_next(g)) {
        sprintf(text + strlen(text), "%s%s:", text[0] ? "; " : "", pt_json_name(g));
        for (const struct pt_json *v = pt_json_first(g); v; v = pt_json_next(v))
            sprintf(text + strlen(text), " %s", pt_json_text(v));
    }
    pt_json_destroy(json);
    return text;
}

Test(failures, what_is_a_failure)
{
    static const unsigned outcomes[PT_OUTCOMES] = {PT_OUTCOME_NONE,    PT_OUTCOME_PASSED,  PT_OUTCOME_SKIPPED,
                                                   PT_OUTCOME_XFAILED, PT_OUTCOME_XPASSED, PT_OUTCOME_NOTRUN,
                                                   PT_OUTCOME_LOST,    PT_OUTCOME_ERROR,   PT_OUTCOME_FAILED,
                                                   PT_OUTCOME_TIMEOUT, PT_OUTCOME_CRASHED};
    struct pt_ledger *l = lab_open();
    char name[32];
    cr_expect_str_eq(failed(l, 0, "/p"), "");
    begin(l, "r1");
    for (uint32_t i = 0; i < PT_COUNT(outcomes); i++) {
        snprintf(name, sizeof(name), "a.py::%02u", i);
        add(l, i, name, outcomes[i]);
    }
    cr_expect_str_eq(failed(l, 0, "/p"), "/p: a.py::06 a.py::07 a.py::08 a.py::09 a.py::10");
    pt_ledger_close(l);
}

Test(failures, the_newest_outcome_counts)
{
    struct pt_ledger *l = lab_open();
    begin(l, "r1");
    add(l, 0, "a.py::mended", PT_OUTCOME_FAILED);
    add(l, 1, "a.py::broken", PT_OUTCOME_PASSED);
    add(l, 2, "a.py::not_chosen", PT_OUTCOME_FAILED);
    add(l, 3, "a.py::not_reached", PT_OUTCOME_CRASHED);
    add(l, 4, "a.py::cut_off", PT_OUTCOME_TIMEOUT);
    add(l, 5, "a.py::skipped", PT_OUTCOME_FAILED);
    add(l, 6, "a.py::flaky", PT_OUTCOME_FAILED);
    begin(l, "r2");
    add(l, 0, "a.py::mended", PT_OUTCOME_PASSED);
    add(l, 1, "a.py::broken", PT_OUTCOME_FAILED);
    add(l, 2, "a.py::not_reached", PT_OUTCOME_NOTRUN);
    add(l, 3, "a.py::cut_off", PT_OUTCOME_NONE);
    add(l, 4, "a.py::skipped", PT_OUTCOME_SKIPPED);
    add(l, 5, "a.py::flaky", PT_OUTCOME_FAILED);
    cr_assert_eq(pt_ledger_rerun(l, 5, NULL), 0);
    lab_report(l, 5, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    add(l, 6, "a.py::in_tear_down", PT_OUTCOME_PASSED);
    lab_report(l, 6, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, true, "{}");
    cr_expect_str_eq(failed(l, 0, "/p"),
                     "/p: a.py::broken a.py::cut_off a.py::in_tear_down a.py::not_chosen a.py::not_reached");
    pt_ledger_close(l);
}

/* One of the tests with that id is enough. */
Test(failures, of_several_with_one_id)
{
    struct pt_ledger *l = lab_open();
    begin(l, "r1");
    for (uint32_t i = 0; i < 3; i++) {
        struct pt_ledger_test test = {.number = i, .nodeid = "a.py::x", .file = "a.py", .occurrence = i};
        cr_assert_eq(pt_ledger_add_test(l, &test, NULL), 0);
        lab_report(l, i, i == 1 ? PT_OUTCOME_FAILED : PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    }
    cr_expect_str_eq(failed(l, 0, "/p"), "/p: a.py::x");
    pt_ledger_close(l);
}

Test(failures, files_that_could_not_be_collected)
{
    struct pt_ledger *l = lab_open();
    begin(l, "r1");
    could_not_collect(l, "broken.py");
    could_not_collect(l, "mended.py");
    begin(l, "r2");
    add(l, 0, "mended.py::x", PT_OUTCOME_NOTRUN);
    cr_expect_str_eq(failed(l, 0, "/p"), "/p: broken.py");
    pt_ledger_close(l);
}

Test(failures, ids_mean_another_test_below_another_folder)
{
    struct pt_ledger *l = lab_open();
    begin_in(l, "r1", "/p", "/p/sub", 0);
    add(l, 0, "a.py::x", PT_OUTCOME_FAILED);
    begin_in(l, "r2", "/p", "/p", 0);
    add(l, 0, "a.py::x", PT_OUTCOME_PASSED);
    add(l, 1, "a.py::y", PT_OUTCOME_FAILED);
    begin_in(l, "r3", "/q", "/q", 0);
    add(l, 0, "a.py::z", PT_OUTCOME_FAILED);
    cr_expect_str_eq(failed(l, 0, NULL), "/q: a.py::z; /p: a.py::y; /p/sub: a.py::x");
    cr_expect_str_eq(failed(l, 3, "/now"), "/now: a.py::y; /now/sub: a.py::x", "the project was moved");
    pt_ledger_close(l);
}

/* A run that is resumed has the tests that it had: those that failed before it began. */
Test(failures, before_a_run_that_is_resumed)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = lab_open();
    begin(l, "r1");
    add(l, 0, "a.py::x", PT_OUTCOME_FAILED);
    add(l, 1, "a.py::y", PT_OUTCOME_FAILED);
    int64_t first = begin(l, "r2");
    add(l, 0, "a.py::x", PT_OUTCOME_PASSED);
    add(l, 1, "a.py::y", PT_OUTCOME_NONE);
    int64_t second = begin_in(l, "r3", "/p", "/p", first);
    cr_expect_eq(pt_failures_before(l, first, &err), first);
    cr_expect_eq(pt_failures_before(l, second, &err), first);
    cr_expect_str_eq(failed(l, first, "/p"), "/p: a.py::x a.py::y");
    cr_expect_str_eq(failed(l, 0, "/p"), "/p: a.py::y");
    pt_ledger_close(l);
}
