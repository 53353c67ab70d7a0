/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of two hosts, with the run around them played here. */
#include "run_lab.h"

#include <sys/stat.h>

TestSuite(run_results, .init = lab_make, .fini = lab_remove);

/* --- reruns --- */

Test(run_results, a_failing_test_runs_again_until_it_passes)
{
    start(2, 1);
    add_file("a.py", 2);
    collected();
    report(0, "failed");
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_NONE);
    report(1, "passed");
    done_with(1);
    report(0, "error");
    done_with(0);
    cr_assert_not(pt_plan_over(run.plan));
    report(0, "passed");
    done_with(0);
    cr_assert(pt_plan_over(run.plan));
    cr_assert(pt_verdict_flaky(run.verdict, 0));
    cr_assert_eq(pt_verdict_count_of(run.verdict, "rerun"), 2);
    cr_assert_str_eq(run.stopped, "", "reruns do not count for --maxfail");
    check_shown("a.py::0 RERUN (why) [  0%] h");
    check_shown("a.py::0 PASSED [100%] h");
    stop();
}

Test(run_results, a_test_that_fails_to_the_end_counts_once)
{
    start(2, 1);
    add_file("a.py", 1);
    collected();
    for (int i = 0; i < 3; i++) {
        cr_assert_str_eq(run.stopped, "");
        report(0, "failed");
        done_with(0);
    }
    cr_assert_str_eq(run.stopped, "stopping after 1 failures");
    cr_assert_eq(pt_verdict_count_of(run.verdict, "failed"), 1);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "rerun"), 2);
    stop();
}

static int count_rows(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows,
                      size_t n)
{
    (void)test;
    for (size_t i = 0; i < n; i++)
        say("%s try %u%s; ", pt_outcome_name(rows[i].outcome), rows[i].try_, rows[i].rerun ? " again" : "");
    *(size_t *)arg += n;
    return 0;
}

Test(run_results, a_rerun_that_never_came_leaves_the_last_outcome)
{
    size_t n = 0;
    start(5, 0);
    add_file("a.py", 2);
    collected();
    report(0, "failed");
    report(0, "failed");
    pt_run_stop(&run, "no host is left");
    report(1, "failed");
    cr_assert_eq(pt_verdict_outcome(run.verdict, 1), PT_OUTCOME_FAILED, "nothing runs again after the stop");
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_NONE);
    pt_run_results_end(&run);
    pt_run_results_end(&run);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_FAILED);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "failed"), 2);
    cr_assert_eq(pt_verdict_finish(run.verdict, PT_OUTCOME_NOTRUN), 0);
    cr_assert_eq(pt_ledger_finish_run(run.ledger, 5, 1, PT_OUTCOME_NOTRUN, NULL), 0);
    cr_assert_eq(pt_ledger_each_result(run.ledger, 0, ~0u, count_rows, &n, NULL), 0);
    cr_assert_not_null(strstr(said, "failed try 1 again; failed try 2 again; "
                                    "failed try 2; failed try 1; "),
                       "%s", said);
    stop();
}

/* --- what hosts say --- */

Test(run_results, the_first_report_counts)
{
    struct pt_run_host *h = NULL;
    start(0, 0);
    add_file("a.py", 1);
    collected();
    const struct pt_bundle *b = bundle_of(0, &h);
    report(0, "passed");
    report(0, "failed");
    cr_assert_eq(death(h, (struct pt_death){.bundle = b->bundle,
                                            .attempt = b->attempt,
                                            .file = PT_NONE,
                                            .phase = PT_PHASE_TEARDOWN,
                                            .status = 11}),
                 0);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_PASSED);
    cr_assert_not_null(strstr(said, "killed by signal 11 (SIGSEGV) after a.py::0 had ended\n"), "%s", said);
    stop();
}

Test(run_results, what_a_host_does_not_hold_is_ignored)
{
    struct pt_run_host *h = NULL;
    start(0, 0);
    add_file("a.py", 1);
    collected();
    const struct pt_bundle *b = bundle_of(0, &h);
    struct pt_run_host *other = &at[!h->number];
    struct pt_bundle wrong = {.bundle = b->bundle + 1, .attempt = b->attempt};
    cr_assert_eq(send_json(other, b, 0, "{\"nodeid\":\"x\",\"outcome\":\"failed\"}"), 0);
    cr_assert_eq(send_json(h, &wrong, 0, "{\"nodeid\":\"x\",\"outcome\":\"failed\"}"), 0);
    cr_assert_eq(send_json(h, b, PT_NONE, "{\"nodeid\":\"x\",\"outcome\":\"failed\"}"), 0);
    cr_assert_eq(send_json(h, b, 0, "{\"nodeid\":\"x\",\"outcome\":\"no\"}"), -1);
    cr_assert_eq(death(other, (struct pt_death){.bundle = b->bundle, .attempt = b->attempt, .file = PT_NONE}),
                 0);
    cr_assert_eq(pt_verdict_done(run.verdict), 0);
    stop();
}

Test(run_results, a_file_may_stand_in_a_bundle_several_times)
{
    struct pt_run_host *h = NULL;
    char json[256];
    start(3, 0);
    struct pt_bundle_test tests[3];
    char id[3][16];
    uint32_t file = pt_suite_file(run.suite, "a.py");
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(id[i], sizeof(id[i]), "a.py::%u", i);
        pt_suite_add(run.suite, file, id[i], 0);
        pt_verdict_add_test(run.verdict);
        lab_test(run.ledger, i, id[i]);
        tests[i] = (struct pt_bundle_test){.test = i, .nodeid = id[i]};
    }
    char path[] = "a.py";
    struct pt_bundle_file files[] = {{path, tests, 1}, {path, tests + 1, 1}, {path, tests + 2, 1}};
    struct pt_plan_unit unit = {.files = files, .nfiles = 3, .seconds = 1, .host = PT_NONE, .rank = PT_NONE};
    cr_assert_eq(pt_plan_add(run.plan, &unit, NULL), 0);
    collected();
    const struct pt_bundle *b = bundle_of(0, &h);
    report(0, "passed");
    snprintf(json, sizeof(json),
             "{\"kind\":\"collect\",\"path\":\"a.py\",\"outcome\":\"error\","
             "\"report\":{\"nodeid\":"
             "\"a.py\",\"outcome\":\"error\",\"phase\":\"collect\",\"message\":"
             "\"no\"}}");
    note(h, b->bundle, json);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_PASSED);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 1), PT_OUTCOME_ERROR);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 2), PT_OUTCOME_ERROR);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "rerun"), 0, "an import is not tried again");
    stop();
}

Test(run_results, a_death_at_import_is_told_once_for_all_entries)
{
    struct pt_run_host *h = NULL;
    start(3, 0);
    add_file("a.py", 3);
    collected();
    const struct pt_bundle *b = bundle_of(0, &h);
    char path[] = "a.py";
    opts.memory_per_slot = 64 << 20;
    char output[] = "70 MiB, limit 64 MiB\n";
    struct pt_death d = {.bundle = b->bundle,
                         .attempt = b->attempt,
                         .test = PT_NONE,
                         .path = path,
                         .cause = PT_CAUSE_MEMORY,
                         .status = 9,
                         .output = output};
    cr_assert_eq(death(h, d), 0);
    cr_assert_eq(pt_verdict_total(run.verdict, PT_OUTCOME_CRASHED), 3);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "crashed"), 1);
    check_shown("a.py::0 CRASHED");
    stop();
}

Test(run_results, a_test_that_no_host_can_take)
{
    start(3, 0);
    add_file("a.py", 2);
    pt_run_impossible_test(&run, 0);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_ERROR);
    check_shown("a.py::0 ERROR");
    at[1].lost = true;
    pt_run_impossible_test(&run, 1);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 1), PT_OUTCOME_LOST);
    check_shown("a.py::1 LOST");
    stop();
}

Test(run_results, output_goes_into_logs_and_to_the_terminal)
{
    struct pt_buf m = {0};
    start(0, 0);
    opts.live = true;
    add_file("a.py", 1);
    collected();
    pt_put_u32(&m, 0);
    pt_put_u32(&m, PT_NONE);
    pt_put_u32(&m, 0);
    pt_put_bytes(&m, "one\ntwo", 7);
    cr_assert_eq(send(&at[1], PT_L_OUTPUT, &m), 0);
    check_shown("[h2 gw10 a.py::0] one\n");
    struct pt_run_host *h = NULL;
    done(bundle_of(0, &h), &at[1]);
    check_shown("[h2 gw10 a.py::0] two\n");
    char path[256];
    snprintf(path, sizeof(path), "%s/gw10.log", pt_logs_folder(run.logs));
    cr_assert_eq(access(path, R_OK), 0);
    pt_put_u32(&m, 1); /* no such rank */
    pt_put_u32(&m, PT_NONE);
    pt_put_u32(&m, 0);
    pt_put_bytes(&m, "x", 1);
    cr_assert_eq(send(&at[1], PT_L_OUTPUT, &m), -1);
    opts.live = false;
    stop();
}

Test(run_results, notes_of_hosts)
{
    start(0, 0);
    add_file("a.py", 1);
    collected();
    note(&at[0], PT_NONE, "{\"kind\":\"unsafe\",\"reason\":\"torch\"}");
    note(&at[0], PT_NONE, "{\"kind\":\"unsafe\",\"reason\":\"torch\"}");
    note(&at[1], PT_NONE, "{\"kind\":\"workeroutput\",\"node\":\"gw10\",\"output\":{}}");
    note(&at[1], PT_NONE,
         "{\"kind\":\"file\",\"path\":\"a.py\",\"seconds\":1,\"modules\":[\"x\"]"
         "}");
    struct pt_buf m = {0};
    pt_put_u32(&m, 0);
    cr_assert_eq(send(&at[1], PT_L_BYE, &m), 0);
    struct pt_death d = {.test = PT_NONE, .file = PT_NONE, .phase = PT_PHASE_SESSION, .status = 1 << 8};
    cr_assert_eq(death(&at[1], d), 0);
    cr_assert_str_eq(said, "h1: forking is not safe here, tests get fresh interpreters instead: torch\n"
                           "gw10: 49 bytes\ngw10 down: -\ngw10 down: exited with status 1\n"
                           "h2: worker 0: the process exited with status 1 while its session ended\n");
    stop();
}

Test(run_results, a_host_amends_its_own_tests_only)
{
    char json[160];
    struct pt_run_host *h = NULL;
    struct pt_run_host *other = NULL;
    start(0, 0);
    add_file("a.py", 1);
    add_file("b.py", 1);
    collected();
    report(0, "passed");
    report(1, "passed");
    bundle_of(0, &h);
    bundle_of(1, &other);
    cr_assert_neq(h, other);
    for (uint32_t test = 0; test < 2; test++) {
        snprintf(
            json, sizeof(json),
            "{\"kind\":\"report\",\"after\":%u,\"report\":{\"nodeid\":\"a.py::0\",\"outcome\":\"error\"}}",
            test);
        note(h, PT_NONE, json);
    }
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_ERROR);
    cr_assert_eq(pt_verdict_outcome(run.verdict, 1), PT_OUTCOME_PASSED, "another host ran it");
    cr_assert_eq(pt_verdict_total(run.verdict, PT_OUTCOME_ERROR), 2, "what it says is an entry of its own");
    stop();
}

static size_t logged(void)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof(path), "%s/gw0.log", pt_logs_folder(run.logs));
    return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

static int output(struct pt_run_host *h, const char *words)
{
    struct pt_buf m = {0};
    pt_put_u32(&m, 0);
    pt_put_u32(&m, PT_NONE);
    pt_put_u32(&m, PT_NONE);
    pt_put_bytes(&m, words, strlen(words));
    return send(h, PT_L_OUTPUT, &m);
}

Test(run_results, who_never_stops_fills_no_disk)
{
    struct pt_buf m = {0};
    start(0, 0);
    add_file("a.py", 1);
    collected();
    at[0].written = PT_RUN_WRITTEN - 3;
    cr_assert_eq(output(&at[0], "first\n"), 0);
    size_t kept = logged();
    cr_assert_gt(kept, 0);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(output(&at[0], "more\n"), 0);
    cr_assert_eq(logged(), kept);
    cr_assert_str_eq(said, "h1: wrote more than 1024 MiB: what else it writes is not kept in its logs\n");
    const char *warning = "{\"kind\":\"warning\",\"message\":\"w\"}";
    at[0].noted = PT_RUN_NOTED - strlen(warning);
    note(&at[0], PT_NONE, warning);
    pt_put_u32(&m, 0);
    pt_put_u32(&m, PT_NONE);
    pt_put_bytes(&m, warning, strlen(warning));
    cr_assert_eq(send(&at[0], PT_L_NOTE, &m), -1, "the link ends");
    cr_assert_eq(pt_verdict_count_of(run.verdict, "warnings"), 1);
    stop();
}

Test(run_results, who_runs_what)
{
    struct pt_run_host *h = NULL;
    struct pt_buf m = {0};
    char *shown = NULL;
    size_t n = 0;
    start(0, 0);
    add_file("a.py", 1);
    collected();
    const struct pt_bundle *b = bundle_of(0, &h);
    struct pt_status_host rows[] = {{.name = "h", .state = "s", .slots = 1},
                                    {.name = "h", .state = "s", .slots = 1}};
    for (int i = 0; i < 2; i++) {
        pt_put_u32(&m, 0);
        pt_put_u32(&m, b->bundle);
        pt_put_u32(&m, b->attempt);
        pt_put_u32(&m, 0);
        cr_assert_eq(send(h, PT_L_STARTED, &m), 0);
        if (i)
            report(0, "passed");
        FILE *f = open_memstream(&shown, &n);
        pt_status_print(run.status, rows, 2, 1, 0, f);
        fclose(f);
        cr_assert_eq(strstr(shown, "a.py::0") != NULL, i == 0, "%s", shown);
        free(shown);
    }
    stop();
}

/* Whom a host waits for is another run's word, and a host may say it as often as it likes. */
Test(run_results, whom_a_host_waits_for)
{
    const struct pt_waits waits = {
        .run = (char *)"20261122-1", .who = (char *)"a\x1b[2J\n@b", .held = 3, .slots = 8};
    struct pt_buf m = {0};
    size_t lines = 0;
    start(0, 0);
    pt_waits_encode(&waits, &m);
    for (int i = 0; i < 500; i++) {
        struct pt_reader r = {.p = m.data + PT_FRAME_HEAD, .left = m.len - PT_FRAME_HEAD};
        cr_assert_eq(pt_run_message(&at[0], PT_L_WAITS, &r, NULL), 0);
    }
    pt_buf_fini(&m);
    cr_expect(strstr(said, "h1: waits for run 20261122-1 of a?[2J?@b (3 of 8 slots)\n"), "%s", said);
    for (const char *p = said; (p = strstr(p, "waits for")); p++)
        lines++;
    cr_expect_eq(lines, 32);
    stop();
}

Test(run_results, every_truncation_is_refused)
{
    static const uint8_t types[] = {PT_L_REPORT,   PT_L_DEATH, PT_L_NOTE,   PT_L_DONE,   PT_L_BROKEN,
                                    PT_L_RECALLED, PT_L_BYE,   PT_L_STOLEN, PT_L_OUTPUT, PT_L_STARTED};
    static const uint8_t waits[12];
    start(0, 0);
    add_file("a.py", 1);
    collected();
    for (size_t i = 0; i < sizeof(types); i++)
        for (size_t n = 0; n < (types[i] == PT_L_BYE ? 4u : 5u); n++) {
            struct pt_buf m = {0};
            for (size_t k = 0; k < n; k++)
                pt_put_u8(&m, 0);
            cr_assert_eq(send(&at[0], types[i], &m), -1, "type %u of %zu bytes", types[i], n);
        }
    struct pt_buf m = {0};
    pt_put_u32(&m, 0);
    pt_put_u32(&m, 0);
    pt_put_u32(&m, 1);
    pt_put_u32(&m, 0x40000000); /* more tests than there are bytes */
    cr_assert_eq(send(&at[0], PT_L_STOLEN, &m), -1);
    for (size_t n = 0; n < sizeof(waits); n++) {
        struct pt_reader r = {.p = waits, .left = n};
        cr_assert_eq(pt_run_message(&at[0], PT_L_WAITS, &r, NULL), -1, "WAITS of %zu bytes", n);
    }
    cr_assert_eq(send(&at[0], 63, &m), -1);
    stop();
}
