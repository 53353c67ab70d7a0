/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "report.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int decode(const char *json, struct pt_report *r)
{
    return pt_report_decode(json, strlen(json), r, NULL);
}

static const char full[] =
    "{\"nodeid\":\"tests/a.py::test_x[1]\",\"file\":\"tests/"
    "a.py\",\"outcome\":\"error\",\"phase\":\"teardown\","
    "\"started\":1700000000.5,\"duration\":0.3,\"setup\":0.1,\"call\":0.1,\"teardown\":0.1,"
    "\"counts\":{\"passed\":1,\"error\":1},\"message\":\"boom\",\"longrepr\":\"E boom\",\"stdout\":\"out\","
    "\"stderr\":\"err\",\"log\":\"log\",\"problems\":[{\"phase\":\"teardown\",\"category\":\"error\","
    "\"headline\":\"ERROR at teardown of test_x[1]\",\"longrepr\":\"E boom\","
    "\"sections\":[[\"Captured stdout call\",\"out\"]]}],\"skip\":[\"tests/a.py\",3,\"why\"],"
    "\"properties\":[[\"k\",1]],\"junit\":[[\"testcase\",{},null,[]]],\"junit_counts\":{\"tests\":2},"
    "\"stop\":\"enough\",\"unknown\":{}}";

Test(report, reads_every_field)
{
    struct pt_report r;
    cr_assert_eq(decode(full, &r), 0);
    cr_assert_str_eq(r.nodeid, "tests/a.py::test_x[1]");
    cr_assert_str_eq(r.file, "tests/a.py");
    cr_assert_eq(r.outcome, PT_OUTCOME_ERROR);
    cr_assert_eq(r.phase, PT_PHASE_TEARDOWN);
    cr_assert_float_eq(r.started, 1700000000.5, 1e-6);
    cr_assert_float_eq(r.duration, 0.3, 1e-9);
    cr_assert_eq(r.ncounts, 2);
    cr_assert(strcmp(r.counts[1].name, "error") == 0 && r.counts[1].n == 1);
    cr_assert_str_eq(r.message, "boom");
    cr_assert_str_eq(r.captured_out, "out");
    cr_assert_str_eq(r.captured_err, "err");
    cr_assert_eq(r.nproblems, 1);
    cr_assert_str_eq(r.problems[0].headline, "ERROR at teardown of test_x[1]");
    cr_assert_eq(r.skip_line, 3);
    cr_assert_str_eq(r.skip_reason, "why");
    cr_assert_eq(pt_json_count(r.junit), 1);
    cr_assert_str_eq(r.stop, "enough");
    pt_report_fini(&r);
}

Test(report, absent_fields_are_told_apart_from_empty_ones)
{
    struct pt_report r;
    cr_assert_eq(decode("{\"nodeid\":\"a\",\"outcome\":\"passed\"}", &r), 0);
    cr_assert_null(r.counts);
    cr_assert(r.duration < 0 && r.setup < 0);
    cr_assert_null(r.message);
    cr_assert_eq(r.skip_line, PT_NONE);
    cr_assert_eq(r.phase, PT_PHASE_CALL);
    pt_report_fini(&r);
    cr_assert_eq(decode("{\"nodeid\":\"a\",\"outcome\":\"passed\",\"counts\":{},\"message\":null}", &r), 0);
    cr_assert_not_null(r.counts);
    cr_assert_eq(r.ncounts, 0);
    cr_assert_null(r.message);
    pt_report_fini(&r);
}

Test(report, refuses_every_truncation)
{
    struct pt_report r;
    for (size_t n = 0; n + 1 < sizeof(full); n++) {
        char *copy = malloc(n + 1);
        memcpy(copy, full, n);
        cr_assert_eq(pt_report_decode(copy, n, &r, NULL), -1);
        free(copy);
    }
}

Test(report, refuses_wrong_values)
{
    static const char *const bad[] = {
        "[]",
        "{}",
        "{\"nodeid\":\"a\"}",
        "{\"outcome\":\"passed\"}",
        "{\"nodeid\":\"a\",\"outcome\":\"none\"}",
        "{\"nodeid\":\"a\",\"outcome\":\"great\"}",
        "{\"nodeid\":1,\"outcome\":\"passed\"}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"phase\":\"lunch\"}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"duration\":\"long\"}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"duration\":1e999}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"counts\":{\"passed\":-1}}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"counts\":{\"passed\":1e12}}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"counts\":[1]}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"problems\":[1]}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"problems\":[{\"sections\":[[1]]}]}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"junit\":{}}",
    };
    struct pt_report r;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pt_err err = PT_ERR_INIT;
        cr_assert_eq(pt_report_decode(bad[i], strlen(bad[i]), &r, &err), -1, "%s", bad[i]);
        cr_assert_eq(strncmp(err.msg, "report: ", 8), 0, "%s", err.msg);
    }
}

Test(report, bounds_its_lists)
{
    struct pt_buf b = {0};
    struct pt_report r;
    pt_buf_append(&b, "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"problems\":[{}", 48);
    for (int i = 0; i < PT_REPORT_LISTS; i++)
        pt_buf_append(&b, ",{}", 3);
    pt_buf_append(&b, "]}", 2);
    cr_assert_eq(pt_report_decode(b.data, b.len, &r, NULL), -1);
    pt_buf_fini(&b);
}

/* --- notes --- */

static int note(const char *json, struct pt_note *n)
{
    return pt_note_decode(json, strlen(json), n, NULL);
}

Test(report, reads_notes)
{
    struct pt_note n;
    cr_assert_eq(
        note("{\"kind\":\"collect\",\"path\":\"a.py\",\"outcome\":\"error\",\"report\":{\"nodeid\":\"a.py\","
             "\"outcome\":\"error\",\"phase\":\"collect\"}}",
             &n),
        0);
    cr_assert(n.kind == PT_NOTE_COLLECT && n.report.outcome == PT_OUTCOME_ERROR);
    cr_assert_str_eq(n.path, "a.py");
    pt_note_fini(&n);
    cr_assert_eq(
        note("{\"kind\":\"missing\",\"path\":\"a.py\",\"test\":7,\"nodeid\":\"a.py::x\",\"found\":[\"y\"]}",
             &n),
        0);
    cr_assert_eq(n.test, 7);
    pt_note_fini(&n);
    cr_assert_eq(note("{\"kind\":\"warning\",\"message\":\"m\",\"category\":\"C\",\"lineno\":3}", &n), 0);
    cr_assert_eq(n.warning.lineno, 3);
    pt_note_fini(&n);
    cr_assert_eq(
        note("{\"kind\":\"report\",\"after\":2,\"report\":{\"nodeid\":\"a\",\"outcome\":\"error\"}}", &n), 0);
    cr_assert_eq(n.test, 2);
    pt_note_fini(&n);
    cr_assert_eq(note("{\"kind\":\"stop\",\"reason\":\"r\"}", &n), 0);
    cr_assert_eq(n.exit, -1);
    pt_note_fini(&n);
    cr_assert_eq(note("{\"kind\":\"stop\",\"exit\":0}", &n), 0);
    cr_assert_eq(n.exit, 0);
    pt_note_fini(&n);
    cr_assert_eq(note("{\"kind\":\"suite\",\"properties\":[[\"a\",\"b\"]]}", &n), 0);
    cr_assert_eq(pt_json_count(n.properties), 1);
    pt_note_fini(&n);
}

Test(report, refuses_wrong_notes)
{
    static const char *const bad[] = {
        "{}",
        "{\"kind\":\"lunch\"}",
        "{\"kind\":\"collect\",\"path\":\"a\"}",
        "{\"kind\":\"collect\",\"report\":{\"nodeid\":\"a\",\"outcome\":\"error\"}}",
        "{\"kind\":\"missing\",\"path\":\"a\",\"nodeid\":\"x\"}",
        "{\"kind\":\"missing\",\"path\":\"a\",\"test\":-1,\"nodeid\":\"x\"}",
        "{\"kind\":\"warning\"}",
        "{\"kind\":\"stop\",\"exit\":300}",
        "{\"kind\":\"suite\"}"};
    struct pt_note n;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(note(bad[i], &n), -1, "%s", bad[i]);
}

/* --- made here --- */

static void decode_made(struct pt_buf *b, struct pt_report *r)
{
    cr_assert_eq(pt_report_decode(b->data, b->len, r, NULL), 0);
    pt_buf_fini(b);
}

static struct pt_death death(uint8_t cause, uint32_t status)
{
    return (struct pt_death){.test = 1,
                             .phase = PT_PHASE_CALL,
                             .cause = cause,
                             .status = status,
                             .duration_us = 1500000,
                             .stack = (char *)"File \"a.py\", line 3 in test_x",
                             .output = (char *)"last \x1b[31mwords\xff"};
}

Test(report, a_crash_says_signal_stack_and_output)
{
    struct pt_death d = death(PT_CAUSE_DIED, SIGSEGV);
    struct pt_buf b = {0};
    struct pt_report r;
    cr_assert_eq(pt_report_from_death(&d, 0, "a.py::T::test_x[p::q]", "a.py", false, &b), 0);
    decode_made(&b, &r);
    cr_assert_eq(r.outcome, PT_OUTCOME_CRASHED);
    cr_assert_eq(r.phase, PT_PHASE_CALL);
    cr_assert_str_eq(r.message, "crashed in call: killed by signal 11 (SIGSEGV)");
    cr_assert_not_null(strstr(r.longrepr, "line 3 in test_x"));
    cr_assert_not_null(strstr(r.longrepr, "last \x1b[31mwords\\xff"));
    cr_assert_eq(r.nproblems, 1);
    cr_assert_str_eq(r.problems[0].headline, "T.test_x[p::q]");
    cr_assert_str_eq(r.problems[0].category, "crashed");
    cr_assert_eq(r.counts[0].n, 1);
    cr_assert_float_eq(r.duration, 1.5, 1e-9);
    pt_report_fini(&r);
    d.began_us = 1700000000250000;
    d.lasted_us = 4000000;
    cr_assert_eq(pt_report_from_death(&d, 0, "a.py::x", "a.py", false, &b), 0);
    decode_made(&b, &r);
    cr_assert_float_eq(r.started, 1700000000.25, 1e-4);
    cr_assert_float_eq(r.duration, 4, 1e-9);
    pt_report_fini(&r);
}

Test(report, an_exit_and_a_timeout)
{
    struct pt_death d = death(PT_CAUSE_DIED, 3 << 8);
    struct pt_buf b = {0};
    struct pt_report r;
    pt_report_from_death(&d, 0, "a.py::x", "a.py", true, &b);
    decode_made(&b, &r);
    cr_assert_str_eq(r.message, "crashed in call: exited with status 3");
    cr_assert(r.counts && r.ncounts == 0 && r.nproblems == 0, "silent");
    pt_report_fini(&r);
    d = death(PT_CAUSE_TIMEOUT, SIGKILL);
    pt_report_from_death(&d, 0, "a.py::x", "a.py", false, &b);
    decode_made(&b, &r);
    cr_assert_eq(r.outcome, PT_OUTCOME_TIMEOUT);
    cr_assert_str_eq(r.message, "timed out in call after 1.5 s");
    pt_report_fini(&r);
}

Test(report, memory_that_ran_out)
{
    static const struct {
        uint8_t cause;
        uint64_t limit;
        const char *output, *want;
    } cases[] = {
        {PT_CAUSE_MEMORY, 512ull << 20, "612 MiB, limit 512 MiB\nwords",
         "killed in call: 612 MiB, above --memory-per-slot 512 MiB"},
        {PT_CAUSE_MEMORY, 512ull << 20, "words", "killed in call: above --memory-per-slot 512 MiB"},
        {PT_CAUSE_MEMORY, 100ull << 10, "9999999999999999 MiB, limit 1 MiB\n",
         "killed in call: above --memory-per-slot 100 KiB"},
        {PT_CAUSE_MEMORY, 512ull << 20, "612 MiB, limit ", "killed in call: above --memory-per-slot 512 MiB"},
        {PT_CAUSE_OOM, 512ull << 20, "612 MiB, limit 512 MiB\n",
         "killed in call by the kernel, which was out of memory"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pt_death d = death(cases[i].cause, SIGKILL);
        d.output = (char *)cases[i].output;
        struct pt_buf b = {0};
        struct pt_report r;
        cr_assert_eq(pt_report_from_death(&d, cases[i].limit, "a.py::x", "a.py", false, &b), 0);
        decode_made(&b, &r);
        cr_assert_eq(r.outcome, PT_OUTCOME_CRASHED);
        cr_assert_str_eq(r.message, cases[i].want);
        cr_assert_eq(strstr(r.longrepr, "612 MiB, limit 512") == NULL, cases[i].cause == PT_CAUSE_MEMORY);
        pt_report_fini(&r);
    }
}

Test(report, notes_of_files_and_sessions)
{
    static const char file[] =
        "{\"kind\":\"file\",\"path\":\"a.py\",\"seconds\":0.5,\"modules\":[\"numpy\",\"pandas\"]}";
    static const char unsafe[] = "{\"kind\":\"unsafe\",\"reason\":\"torch was imported\"}";
    static const char output[] = "{\"kind\":\"workeroutput\",\"node\":\"gw3\",\"output\":{\"x\":1}}";
    static const char *const bad[] = {"{\"kind\":\"file\",\"seconds\":1}",
                                      "{\"kind\":\"file\",\"path\":\"a.py\",\"seconds\":\"1\"}",
                                      "{\"kind\":\"file\",\"path\":\"a.py\",\"modules\":\"numpy\"}"};
    struct pt_note n;
    cr_assert_eq(pt_note_decode(file, strlen(file), &n, NULL), 0);
    cr_assert_eq(n.kind, PT_NOTE_FILE);
    cr_assert_str_eq(n.path, "a.py");
    cr_assert_float_eq(n.seconds, 0.5, 1e-9);
    cr_assert_str_eq(pt_json_text(pt_json_next(pt_json_first(n.modules))), "pandas");
    pt_note_fini(&n);
    cr_assert_eq(pt_note_decode(unsafe, strlen(unsafe), &n, NULL), 0);
    cr_assert_eq(n.kind, PT_NOTE_UNSAFE);
    cr_assert_str_eq(n.reason, "torch was imported");
    pt_note_fini(&n);
    cr_assert_eq(pt_note_decode(output, strlen(output), &n, NULL), 0);
    cr_assert_eq(n.kind, PT_NOTE_WORKEROUTPUT);
    pt_note_fini(&n);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_eq(pt_note_decode(bad[i], strlen(bad[i]), &n, NULL), -1, "%s", bad[i]);
}

Test(report, a_file_that_did_not_collect_gives_its_outcome_to_its_tests)
{
    struct pt_report file;
    struct pt_report r;
    struct pt_buf b = {0};
    cr_assert_eq(
        decode("{\"nodeid\":\"a.py\",\"outcome\":\"skipped\",\"phase\":\"collect\",\"message\":\"no numpy\","
               "\"skip\":[\"a.py\",2,\"no numpy\"]}",
               &file),
        0);
    cr_assert_eq(pt_report_of_file(&file, "a.py::x", "a.py", "h1", &b), 0);
    decode_made(&b, &r);
    cr_assert(r.outcome == PT_OUTCOME_SKIPPED && r.phase == PT_PHASE_COLLECT && r.nproblems == 0);
    cr_assert_str_eq(r.skip_reason, "no numpy");
    pt_report_fini(&r);
    pt_report_fini(&file);
    cr_assert_eq(decode("{\"nodeid\":\"a.py\",\"outcome\":\"error\",\"longrepr\":\"ImportError\"}", &file),
                 0);
    cr_assert_eq(pt_report_of_file(&file, "a.py::x", "a.py", "h1", &b), 0);
    decode_made(&b, &r);
    cr_assert_str_eq(r.problems[0].headline, "ERROR collecting a.py on h1");
    cr_assert_str_eq(r.problems[0].longrepr, "ImportError");
    pt_report_fini(&r);
    pt_report_fini(&file);
}

Test(report, a_missing_test_names_both_sides)
{
    struct pt_note n;
    struct pt_report r;
    struct pt_buf b = {0};
    cr_assert_eq(note("{\"kind\":\"missing\",\"path\":\"a.py\",\"test\":0,\"nodeid\":\"a.py::x[2]\","
                      "\"found\":[\"a.py::x[1]\"]}",
                      &n),
                 0);
    cr_assert_eq(pt_report_missing(&n, "a.py", "h1", &b), 0);
    decode_made(&b, &r);
    cr_assert_eq(r.outcome, PT_OUTCOME_ERROR);
    cr_assert_str_eq(r.nodeid, "a.py::x[2]");
    cr_assert_str_eq(r.message, "collected here, but a.py on h1 has no such test");
    cr_assert_not_null(strstr(r.longrepr, "a.py::x[1]"));
    pt_report_fini(&r);
    pt_note_fini(&n);
}

Test(report, every_kind_of_test_can_be_made)
{
    for (unsigned o = PT_OUTCOME_PASSED; o < PT_OUTCOMES; o++) {
        struct pt_report_new what = {.outcome = o, .phase = PT_PHASE_CALL, .nodeid = "a", .duration = -1};
        struct pt_buf b = {0};
        struct pt_report r;
        cr_assert_eq(pt_report_make(&what, &b), 0);
        decode_made(&b, &r);
        cr_assert_eq(r.outcome, o);
        cr_assert(r.duration < 0);
        pt_report_fini(&r);
    }
}

Test(report, a_skip_that_was_made_is_no_problem)
{
    struct pt_report_new what = {.outcome = PT_OUTCOME_SKIPPED,
                                 .phase = PT_PHASE_SETUP,
                                 .nodeid = "a.py::x",
                                 .file = "a.py",
                                 .message = "Not enough procs",
                                 .duration = -1};
    struct pt_buf b = {0};
    struct pt_report r;
    cr_assert_eq(pt_report_make(&what, &b), 0);
    decode_made(&b, &r);
    cr_assert(r.nproblems == 0 && !r.longrepr && r.ranks == 1 && r.skip_line == PT_NONE);
    cr_assert_str_eq(r.skip_file, "a.py");
    cr_assert_str_eq(r.skip_reason, "Not enough procs");
    cr_assert_str_eq(r.message, "Not enough procs");
    pt_report_fini(&r);
}
