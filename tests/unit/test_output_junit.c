/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_lab.h"
#include "output/junit.h"
#include "report.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

TestSuite(junit, .init = lab_make, .fini = lab_remove);

static int run_program(const char *const argv[])
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void check_parses(const char *path)
{
    cr_assert_eq(run_program((const char *const[]){"xmllint", "--noout", path, NULL}), 0, "%s", path);
}

static char *read_all(const char *path)
{
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f, "%s", path);
    char *text = calloc(1, 1 << 20);
    cr_assert_lt(fread(text, 1, (1 << 20) - 1, f), (1u << 20) - 1);
    fclose(f);
    return text;
}

static void add_host(struct pt_ledger *l, const char *name)
{
    struct pt_ledger_host host = {.name = name, .state = "ready"};
    cr_assert_eq(pt_ledger_add_host(l, &host, NULL), 0);
}

static char *write_xml(struct pt_ledger *l, struct pt_junit_options o)
{
    struct pt_err err = PT_ERR_INIT;
    char path[128];
    snprintf(path, sizeof(path), "%s/out/deep/result.xml", lab_dir);
    o.path = path;
    o.started = 1700000000.25;
    o.seconds = 1.5;
    cr_assert_eq(pt_junit_write(&o, l, 0, &err), 0, "%s", err.msg);
    check_parses(path);
    return read_all(path);
}

/* --- against pytest --- */

static void load_line(struct pt_ledger *l, char *line, uint32_t *number)
{
    struct pt_report r;
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, "{\"kind\"", 7) == 0) {
        for (int worker = 0; worker < 3; worker++) /* each says it */
            cr_assert_eq(pt_ledger_add_note(l, 0, "suite", line, strlen(line), NULL), 0);
        return;
    }
    cr_assert_eq(pt_report_decode(line, strlen(line), &r, NULL), 0, "%s", line);
    if (r.phase == PT_PHASE_COLLECT) {
        lab_report(l, PT_NONE, r.outcome, PT_COUNTED_FIRST, false, line);
    } else {
        lab_test(l, *number, r.nodeid);
        lab_report(l, (*number)++, r.outcome, PT_COUNTED_FIRST, false, line);
    }
    pt_report_fini(&r);
}

static void compare_with_pytest(const char *family, const char *counts)
{
    const char *python = getenv("PTREMOTE_PYTHON");
    const char *source = getenv("PTREMOTE_SOURCE");
    char script[512];
    char ref[128];
    char line[65536];
    uint32_t number = 0;
    python = python ? python : "/usr/bin/python3";
    snprintf(script, sizeof(script), "%s/tests/unit/junit_reference.py", source ? source : ".");
    if (run_program((const char *const[]){python, "-c", "import pytest", NULL}) != 0)
        cr_skip_test("no pytest");
    cr_assert_eq(run_program((const char *const[]){python, script, "run", family, counts, lab_dir, NULL}), 0);
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    add_host(l, "h1");
    FILE *f = fopen(lab_path("reports.jsonl"), "r");
    while (fgets(line, sizeof(line), f))
        load_line(l, line, &number);
    fclose(f);
    cr_assert_gt(number, 15);
    struct pt_junit_options o = {.family = family, .suite_name = "the <suite>"};
    char *text = write_xml(l, o);
    cr_assert_not_null(strstr(text, "<property name=\"host\" value=\"h1\" />"));
    free(text);
    pt_ledger_close(l);
    char ours[128];
    snprintf(ours, sizeof(ours), "%s/out/deep/result.xml", lab_dir);
    snprintf(ref, sizeof(ref), "%s/reference.xml", lab_dir);
    cr_assert_eq(run_program((const char *const[]){python, script, "compare", ref, ours, NULL}), 0);
}

Test(junit, the_same_as_pytest_xunit2)
{
    compare_with_pytest("xunit2", "1");
}

Test(junit, the_same_as_pytest_xunit1)
{
    compare_with_pytest("xunit1", "1");
}

Test(junit, the_same_sums_without_the_runners)
{
    compare_with_pytest("xunit2", "");
}

/* --- made here --- */

static char *body(char *text)
{
    char *start = strstr(text, "<testcase");
    char *end = strstr(text, "</testsuite>");
    if (start && end)
        *end = '\0';
    return start ? start : (char *)"";
}

static void check_made(const char *json, uint8_t outcome, struct pt_junit_options o, const char *want)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, json);
    lab_test(l, 0, "tests/sub/a.py::TestA::test_x[a::b/c.py]");
    lab_report(l, 0, outcome, PT_COUNTED_FIRST, false, json[0] == '{' ? json : NULL);
    char *text = write_xml(l, o);
    cr_assert_str_eq(body(text), want);
    free(text);
    pt_ledger_close(l);
}

#define ID "\"nodeid\":\"tests/sub/a.py::TestA::test_x[a::b/c.py]\",\"file\":\"tests/sub/a.py\""

Test(junit, tests_that_could_not_speak)
{
    struct pt_junit_options o = {0};
    check_made(
        "{" ID ",\"outcome\":\"crashed\",\"phase\":\"call\",\"duration\":1.5,\"message\":\"crashed in call: "
        "killed by signal 11 (SIGSEGV)\",\"longrepr\":\"stack <1>\"}",
        PT_OUTCOME_CRASHED, o,
        "<testcase classname=\"tests.sub.a.TestA\" name=\"test_x[a::b/c.py]\" time=\"1.500\">"
        "<error type=\"crashed\" message=\"crashed in call: killed by signal 11 (SIGSEGV)\">stack &lt;1&gt;"
        "</error></testcase>");
    check_made("{" ID ",\"outcome\":\"failed\",\"phase\":\"call\",\"ranks\":3,\"message\":\"m\"}",
               PT_OUTCOME_FAILED, o,
               "<testcase classname=\"tests.sub.a.TestA\" name=\"test_x[a::b/c.py]\" time=\"0.000\">"
               "<properties><property name=\"ranks\" value=\"3\" /></properties>"
               "<failure message=\"m\">m</failure></testcase>");
    check_made("{" ID ",\"outcome\":\"passed\",\"ranks\":2,\"junit\":[[\"testcase\",{},null,[]]]}",
               PT_OUTCOME_PASSED, o,
               "<testcase><properties><property name=\"ranks\" value=\"2\" /></properties></testcase>");
    check_made("lost", PT_OUTCOME_LOST, o,
               "<testcase classname=\"tests.sub.a.TestA\" name=\"test_x[a::b/c.py]\" time=\"0.500\">"
               "<error type=\"lost\" message=\"no host gave a report of this test\"></error></testcase>");
    check_made("notrun", PT_OUTCOME_NOTRUN, o, "");
    check_made("{" ID ",\"outcome\":\"skipped\",\"phase\":\"collect\",\"message\":\"m\",\"longrepr\":\"l\"}",
               PT_OUTCOME_SKIPPED, o,
               "<testcase classname=\"tests.sub.a.TestA\" name=\"test_x[a::b/c.py]\" time=\"0.000\">"
               "<skipped message=\"collection skipped\">l</skipped></testcase>");
    o.family = "xunit1";
    o.prefix = "pre";
    check_made(
        "{" ID ",\"outcome\":\"error\",\"phase\":\"collect\",\"longrepr\":\"l\"}", PT_OUTCOME_ERROR, o,
        "<testcase classname=\"pre.tests.sub.a.TestA\" name=\"test_x[a::b/c.py]\" file=\"tests/sub/a.py\" "
        "time=\"0.000\"><error message=\"collection failure\">l</error></testcase>");
}

Test(junit, a_file_is_named_as_pytest_names_it)
{
    struct pt_ledger *l = lab_open();
    struct pt_junit_options o = {0};
    lab_begin(l, "r1");
    lab_report(l, PT_NONE, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, false,
               "{\"nodeid\":\"tests/a.py\",\"outcome\":\"error\",\"phase\":\"collect\",\"longrepr\":\"l\"}");
    char *text = write_xml(l, o);
    cr_assert_not_null(strstr(text, "<testcase classname=\"\" name=\"tests.a\" "), "%s", text);
    cr_assert_not_null(strstr(text, "errors=\"1\" failures=\"0\" skipped=\"0\" tests=\"1\" time=\"1.500\""));
    free(text);
    pt_ledger_close(l);
}

/* --- what came on top --- */

#define CASE(children)                                                                                       \
    "{\"nodeid\":\"a.py::x\",\"outcome\":\"passed\",\"counts\":{\"passed\":1},\"junit\":[[\"testcase\",{"    \
    "\"name\":\"x\"},"                                                                                       \
    "null,[" children "]]]}"

static char *with_extra(const char *own, const char *extra)
{
    struct pt_ledger *l = lab_open();
    struct pt_junit_options o = {0};
    lab_begin(l, own);
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, own);
    lab_report(l, 0, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, true, extra);
    char *text = write_xml(l, o);
    pt_ledger_close(l);
    return text;
}

Test(junit, an_error_while_fixtures_end_joins_the_test)
{
    static const char extra[] = "{\"nodeid\":\"a.py::x\",\"outcome\":\"error\",\"counts\":{\"error\":1},"
                                "\"junit\":[[\"testcase\",{\"name\":"
                                "\"x\"},null,[[\"error\",{\"message\":\"m\"},\"text\",[]]]]]}";
    char *text = with_extra(CASE("[\"system-out\",{},\"out\",[]]"), extra);
    cr_assert_not_null(strstr(text, "errors=\"1\" failures=\"0\" skipped=\"0\" tests=\"2\""), "%s", text);
    cr_assert_str_eq(body(text),
                     "<testcase name=\"x\"><error message=\"m\">text</error><system-out>out</system-out>"
                     "</testcase>");
    free(text);
    text = with_extra(CASE("[\"failure\",{},\"f\",[]]"), extra);
    cr_assert_str_eq(body(text), "<testcase name=\"x\"><failure>f</failure></testcase><testcase name=\"x\">"
                                 "<error message=\"m\">text</error></testcase>");
    free(text);
}

/* --- hostile input --- */

Test(junit, whatever_a_host_sends_parses)
{
    static const char *const bad[] = {
        CASE("[\"a b<c>\",{\"x "
             "y\":\"\\u001b\\u0000\\ufffe<\\\"\",\"xmlns\":\"u\",\"a:b\":\"1\",\"1\":\"2\"},\"]]>\\u0008\",[]"
             "]"),
        CASE("[\"t\",{\"a b\":\"1\",\"a_b\":\"2\",\"a\\u00e9\":\"3\",\"1\":\"4\",\"_1\":\"5\"},null,[]]"),
        CASE("[1,2,3]"),
        CASE("1"),
        CASE("[\"\",{},null,[]]"),
        CASE("[\"t\",[],[],{}]"),
        CASE("[\"t\",{\"a\":1,\"a\":\"x\",\"a\":\"y\"},null,[[[[]]]]]"),
        CASE("[\"properties\",{},null,[[\"property\",{\"name\":\"n\"},null,[]],7]]"),
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"junit\":[]}",
        "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"junit\":[7,[\"testcase\",{},null,[]]]}",
        "{\"nodeid\":\"\xff<&\\u0001\\\"\",\"outcome\":\"crashed\",\"message\":\"\xc3 \\u001b[31m <\"}",
        "{\"nodeid\":\"[\",\"outcome\":\"failed\",\"junit_counts\":{\"tests\":\"x\",\"errors\":-1}}",
        "not json",
    };
    struct pt_ledger *l = lab_open();
    struct pt_junit_options o = {.suite_name = "<&\"\x1b\xff", .prefix = "<\x01"};
    lab_begin(l, "r1");
    add_host(l, "h<\"\x07>");
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        lab_test(l, i, "a.py::x");
        lab_report(l, i, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, bad[i]);
    }
    cr_assert_eq(pt_ledger_add_note(l, 0, "suite",
                                    "{\"kind\":\"suite\",\"properties\":[[\"<\\u0001\",\"\xff\"],7,[]]}", 50,
                                    NULL),
                 0);
    char *text = write_xml(l, o);
    cr_assert_not_null(strstr(text, "name=\"&lt;&amp;&quot;#x1B#xFF\""), "%s", text);
    cr_assert_not_null(strstr(text, "#x01"));
    free(text);
    pt_ledger_close(l);
}

/* --- the file --- */

Test(junit, the_old_file_stays_until_the_new_one_is_whole)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, "a.py::x");
    struct pt_junit_options o = {.path = "/dev/full"};
    cr_assert_eq(pt_junit_write(&o, l, 0, &err), -1);
    cr_assert_not_null(strstr(err.msg, "/dev/full"), "%s", err.msg);
    o.path = lab_dir;
    cr_assert_eq(pt_junit_write(&o, l, 0, &err), -1);
    o.path = "/proc/nowhere/x.xml";
    cr_assert_eq(pt_junit_write(&o, l, 0, &err), -1);
    o.path = "/dev/null";
    cr_assert_eq(pt_junit_write(&o, l, 0, &err), 0, "%s", err.msg);
    struct stat st;
    cr_assert(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    pt_ledger_close(l);
}

Test(junit, a_link_to_the_file_stays_one_and_the_mode_is_the_users)
{
    struct stat st;
    struct pt_ledger *l = lab_open();
    char link_path[128];
    snprintf(link_path, sizeof(link_path), "%s/link.xml", lab_dir);
    FILE *f = fopen(lab_path("real.xml"), "w");
    fclose(f);
    cr_assert_eq(symlink("real.xml", link_path), 0);
    lab_begin(l, "r1");
    struct pt_junit_options o = {.path = link_path, .seconds = 1};
    umask(022);
    cr_assert_eq(pt_junit_write(&o, l, 0, NULL), 0);
    cr_assert(lstat(link_path, &st) == 0 && S_ISLNK(st.st_mode));
    cr_assert(stat(lab_path("real.xml"), &st) == 0 && st.st_size > 0 && (st.st_mode & 0777) == 0644);
    pt_ledger_close(l);
}
