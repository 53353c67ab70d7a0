/* SPDX-License-Identifier: Apache-2.0 */
/* What a run noted of itself, and its verdict made again: every test here feeds a verdict and a ledger as a
 * run does, and wants the same counts from the ledger alone. */
#include "master.h"
#include "recorded_lab.h"
#include "report.h"

TestSuite(recorded, .init = lab_make, .fini = lab_remove);

struct lab {
    struct pt_ledger *l;
    struct pt_verdict *v;
};

static struct lab begin(void)
{
    struct lab lab = {.l = lab_open(), .v = pt_verdict_create(NULL)};
    cr_assert_not_null(lab.v);
    lab_begin(lab.l, "r1");
    return lab;
}

static uint32_t test_of(struct lab *lab, const char *nodeid)
{
    uint32_t test = pt_verdict_add_test(lab->v);
    lab_test(lab->l, test, nodeid);
    return test;
}

/* As a run takes it: the verdict says whether it counts, the ledger keeps it. test PT_NONE: an entry. */
static void tell(struct lab *lab, uint32_t test, bool extra, const char *json)
{
    struct pt_report r;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_report_decode(json, strlen(json), &r, &err), 0, "%s", err.msg);
    int counted = PT_COUNTED_FIRST;
    if (test == PT_NONE)
        pt_verdict_add_entry(lab->v, r.outcome, r.counts, r.ncounts);
    else if (extra)
        pt_verdict_amend(lab->v, test, r.outcome, r.counts, r.ncounts);
    else
        counted = pt_verdict_set(lab->v, test, 1, r.outcome, r.counts, r.ncounts);
    struct pt_ledger_report row = {.test = test,
                                   .counted = counted,
                                   .extra = extra,
                                   .attempt = 1,
                                   .host = PT_NONE,
                                   .worker = PT_NONE,
                                   .bundle = PT_NONE,
                                   .try_ = pt_verdict_tries(lab->v, test),
                                   .outcome = r.outcome,
                                   .phase = r.phase,
                                   .json = json,
                                   .json_len = strlen(json)};
    cr_assert_eq(pt_ledger_add_report(lab->l, &row, NULL), 0);
    pt_report_fini(&r);
}

static void again(struct lab *lab, uint32_t test)
{
    cr_assert_eq(pt_ledger_rerun(lab->l, test, NULL), 0);
    cr_assert_eq(pt_verdict_again(lab->v, test), 0);
}

static void end(struct lab *lab)
{
    check_recorded(lab->l, lab->v);
    pt_verdict_destroy(lab->v);
    pt_ledger_close(lab->l);
}

#define REPORT(nodeid, outcome) "{\"nodeid\":\"" nodeid "\",\"outcome\":\"" outcome "\"}"

Test(recorded, nothing_gives_an_empty_verdict)
{
    struct lab lab = begin();
    end(&lab);
}

Test(recorded, each_outcome_counts_once)
{
    static const char *const reports[] = {
        REPORT("a", "passed"),  REPORT("a", "failed"),  REPORT("a", "skipped"),
        REPORT("a", "error"),   REPORT("a", "xfailed"), REPORT("a", "xpassed"),
        REPORT("a", "crashed"), REPORT("a", "timeout"), REPORT("a", "lost")};
    struct lab lab = begin();
    for (size_t i = 0; i < sizeof(reports) / sizeof(*reports); i++)
        tell(&lab, test_of(&lab, "a"), false, reports[i]);
    test_of(&lab, "open");
    end(&lab);
}

Test(recorded, a_graver_report_took_the_place_of_another)
{
    struct lab lab = begin();
    uint32_t test = test_of(&lab, "a");
    tell(&lab, test, false, REPORT("a", "passed"));
    tell(&lab, test, false, REPORT("a", "crashed"));
    tell(&lab, test, false, REPORT("a", "failed"));
    end(&lab);
}

Test(recorded, reports_count_as_they_say)
{
    struct lab lab = begin();
    tell(&lab, test_of(&lab, "a"), false,
         "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"counts\":{\"failed\":1,\"error\":1,\"subtests "
         "passed\":3}}");
    tell(&lab, test_of(&lab, "b"), false, "{\"nodeid\":\"b\",\"outcome\":\"passed\",\"counts\":{}}");
    tell(&lab, PT_NONE, false, REPORT("x.py", "error"));
    end(&lab);
}

Test(recorded, what_came_on_top_is_added)
{
    struct lab lab = begin();
    uint32_t test = test_of(&lab, "a");
    tell(&lab, test, false, REPORT("a", "passed"));
    tell(&lab, test, true, REPORT("a", "error"));
    end(&lab);
}

Test(recorded, reruns_are_reruns_again)
{
    struct lab lab = begin();
    uint32_t flaky = test_of(&lab, "flaky"), bad = test_of(&lab, "bad"), waits = test_of(&lab, "waits");
    for (int i = 0; i < 2; i++) {
        tell(&lab, flaky, false, REPORT("flaky", "failed"));
        again(&lab, flaky);
    }
    tell(&lab, flaky, false, REPORT("flaky", "passed"));
    tell(&lab, bad, false, REPORT("bad", "failed"));
    tell(&lab, bad, true, REPORT("bad", "error"));
    again(&lab, bad);
    tell(&lab, bad, false, REPORT("bad", "failed"));
    tell(&lab, waits, false, REPORT("waits", "failed"));
    again(&lab, waits);
    cr_expect_eq(pt_verdict_count_of(lab.v, "rerun"), 4);
    end(&lab);
}

Test(recorded, a_rerun_that_never_came_is_none)
{
    struct lab lab = begin();
    uint32_t test = test_of(&lab, "a");
    tell(&lab, test, false, REPORT("a", "failed"));
    again(&lab, test);
    cr_assert_eq(pt_verdict_not_again(lab.v, test), 0);
    tell(&lab, test, false, REPORT("a", "failed"));
    cr_expect_eq(pt_verdict_count_of(lab.v, "rerun"), 0);
    end(&lab);
}

Test(recorded, tests_that_never_ran_and_warnings_count)
{
    struct lab lab = begin();
    test_of(&lab, "a");
    test_of(&lab, "b");
    pt_verdict_finish(lab.v, PT_OUTCOME_NOTRUN);
    for (int i = 0; i < 3; i++) {
        pt_verdict_count(lab.v, "warnings", 1);
        cr_assert_eq(pt_ledger_add_note(lab.l, 0, "warning", "{}", 2, NULL), 0);
    }
    cr_assert_eq(pt_ledger_finish_run(lab.l, 1700000009, 2, PT_OUTCOME_NOTRUN, NULL), 0);
    end(&lab);
}

Test(recorded, notes_add_up)
{
    static const char line[] =
        "{\"root\":\"/p\",\"report_chars\":\"fE\",\"durations\":3,\"durations_min\":0.5,"
        "\"header\":[\"much\"],\"junit\":{\"path\":\"/x\",\"family\":\"xunit1\","
        "\"suite_name\":\"s\",\"prefix\":null}}";
    struct lab lab = begin();
    struct pt_recorded r;
    struct pt_json *session = pt_json_parse(line, strlen(line), NULL);
    cr_assert_not_null(session);
    cr_assert_eq(pt_recorded_session(lab.l, session, NULL), 0);
    cr_assert_eq(pt_recorded_deselected(lab.l, 7, NULL), 0);
    cr_assert_eq(pt_recorded_stopped(lab.l, "", NULL), 0);
    cr_assert_eq(pt_recorded_init(&r, lab.l, 0, NULL), 0);
    cr_expect_null(r.stopped);
    pt_recorded_fini(&r);
    cr_assert_eq(pt_recorded_stopped(lab.l, "no \"host\" is left", NULL), 0);
    cr_assert_eq(pt_ledger_finish_run(lab.l, 1700000009.123456789, 6, PT_OUTCOME_LOST, NULL), 0);
    cr_assert_eq(pt_recorded_init(&r, lab.l, 0, NULL), 0);
    cr_expect_str_eq(r.name, "r1");
    cr_expect_eq(r.state, PT_RECORDED_ENDED);
    cr_expect_eq(r.exitcode, 6);
    cr_expect(r.started == 1700000000.25 && r.finished == 1700000009.123456789, "to the last bit");
    cr_expect_str_eq(r.root, "/p");
    cr_expect_str_eq(r.report_chars, "fE");
    cr_expect_eq(r.durations, 3);
    cr_expect(r.durations_min == 0.5);
    cr_expect_str_eq(r.family, "xunit1");
    cr_expect_str_eq(r.suite_name, "s");
    cr_expect_null(r.prefix);
    cr_expect_str_eq(r.stopped, "no \"host\" is left");
    cr_expect_eq(r.deselected, 7);
    cr_expect_eq(pt_verdict_count_of(r.verdict, "deselected"), 7);
    pt_recorded_fini(&r);
    cr_expect_lt(pt_recorded_init(&r, lab.l, 99, NULL), 0);
    pt_recorded_fini(&r);
    pt_json_destroy(session);
    pt_verdict_destroy(lab.v);
    pt_ledger_close(lab.l);
}

Test(recorded, notes_that_make_no_sense_are_as_none)
{
    static const char *const notes[] = {"", "[]", "{\"durations\":1e300,\"deselected\":-1e300,\"root\":5}",
                                        "{\"durations_min\":\"x\",\"junit\":[1]}"};
    struct lab lab = begin();
    struct pt_recorded r;
    for (size_t i = 0; i < sizeof(notes) / sizeof(*notes); i++)
        cr_assert_eq(pt_ledger_add_note(lab.l, 0, PT_RECORDED_NOTE, notes[i], strlen(notes[i]), NULL), 0);
    cr_assert_eq(pt_recorded_init(&r, lab.l, 0, NULL), 0);
    cr_expect(!r.root && !r.family && r.durations == -1 && r.deselected == 0 && r.durations_min == 0.005);
    pt_recorded_fini(&r);
    pt_verdict_destroy(lab.v);
    pt_ledger_close(lab.l);
}

Test(recorded, what_became_of_a_run)
{
    char self[PT_MASTER_MAX], gone[PT_MASTER_MAX];
    long pid = 0;
    pt_master_self(self);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    int used = 0;
    cr_assert(sscanf(self, "%*s %*s%n", &used) == 0 && used > 0);
    snprintf(gone, sizeof(gone), "%.*s %ld 1", used, self, (long)child);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    struct pt_ledger_run run = {.master = self};
    cr_expect_eq(pt_recorded_state(&run, &pid), PT_RECORDED_RUNNING);
    cr_expect_eq(pid, getpid());
    run.master = gone;
    cr_expect_eq(pt_recorded_state(&run, NULL), PT_RECORDED_CUT);
    run.master = "elsewhere boot 1 1";
    cr_expect_eq(pt_recorded_state(&run, NULL), PT_RECORDED_UNKNOWN);
    run.master = NULL;
    cr_expect_eq(pt_recorded_state(&run, NULL), PT_RECORDED_UNKNOWN);
    run.finished = 1;
    cr_expect_eq(pt_recorded_state(&run, NULL), PT_RECORDED_ENDED);
}
