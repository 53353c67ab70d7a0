/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that ran several times, in every output. */
#include "json.h"
#include "output/json_file.h"
#include "output/junit.h"
#include "report.h"
#include "terminal_lab.h"

TestSuite(tries, .init = lab_make, .fini = lab_remove);

static void start(struct lab *lab)
{
    static const char *const hosts[] = {"h1", "h2"};
    terminal_open(lab);
    struct pt_ledger_run run = {.name = "r1",
                                .hash_seed = "42",
                                .how = "{\"isolate\":\"session\",\"dist\":\"file\",\"hash_seed\":\"no\"}"};
    cr_assert_eq(pt_ledger_begin_run(lab->l, &run, NULL), 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct pt_ledger_host host = {.number = i, .name = hosts[i], .state = "ok", .slots = 2};
        cr_assert_eq(pt_ledger_add_host(lab->l, &host, NULL), 0);
        pt_terminal_add_host(lab->t, i, hosts[i], 2);
    }
}

/* One try of a test; `again`: it runs once more. */
static void try(struct lab *lab, uint32_t test, uint32_t host, bool again, const char *json)
{
    struct pt_report r;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_report_decode(json, strlen(json), &r, &err), 0, "%s", err.msg);
    if (test == pt_verdict_tests(lab->v)) {
        pt_verdict_add_test(lab->v);
        lab_test(lab->l, test, r.nodeid);
    }
    cr_assert_eq(pt_verdict_set(lab->v, test, 1, r.outcome, r.counts, r.ncounts), PT_COUNTED_FIRST);
    struct pt_ledger_report row = {.test = test,
                                   .counted = 1,
                                   .attempt = 1,
                                   .host = host,
                                   .worker = 1,
                                   .bundle = 7 + host,
                                   .try_ = pt_verdict_tries(lab->v, test),
                                   .outcome = r.outcome,
                                   .phase = r.phase,
                                   .started = 1700000000.5,
                                   .duration = r.duration,
                                   .setup = r.setup,
                                   .call = r.call,
                                   .teardown = r.teardown,
                                   .json = json,
                                   .json_len = strlen(json)};
    cr_assert_eq(pt_ledger_add_report(lab->l, &row, &err), 0, "%s", err.msg);
    if (again) {
        cr_assert_eq(pt_verdict_again(lab->v, test), 0);
        cr_assert_eq(pt_ledger_rerun(lab->l, test, &err), 0, "%s", err.msg);
        pt_terminal_rerun(lab->t, &r, host, lab->v);
    } else {
        pt_terminal_reported(lab->t, &r, host, lab->v);
    }
    pt_report_fini(&r);
}

#define X "\"nodeid\":\"t/a.py::x\",\"file\":\"t/a.py\""
#define Y "\"nodeid\":\"t/a.py::y\",\"file\":\"t/a.py\""
#define FAILED(id)                                                                                           \
    "{" id ",\"outcome\":\"failed\",\"counts\":{\"failed\":1},\"message\":\"assert <0>\",\"longrepr\":"      \
    "\"E   assert <0>\",\"stdout\":\"out\\u001b\",\"started\":1700000000.5,\"duration\":9,\"call\":9,"       \
    "\"problems\":[{\"phase\":\"call\",\"category\":\"failed\",\"headline\":\"x\",\"longrepr\":\"E   "       \
    "assert <0>\"}],\"junit\":[[\"testcase\",{\"name\":\"old\"},null,[[\"failure\",{},\"old\",[]]]]]}"
#define CRASHED(id)                                                                                          \
    "{" id ",\"outcome\":\"crashed\",\"counts\":{\"crashed\":1},\"message\":\"crashed in call\"}"
#define PASSED(id)                                                                                           \
    "{" id ",\"outcome\":\"passed\",\"counts\":{\"passed\":1},\"started\":1700000002,\"duration\":0.5,"      \
    "\"call\":0.5,\"junit\":[[\"testcase\",{\"name\":\"new\"},null,[[\"system-out\",{},\"o\",[]]]]]}"

/* x passes at its third try, y never. */
static void fill(struct lab *lab)
{
    start(lab);
    pt_terminal_collected(lab->t, 2, 0, 0, 0, true);
    try(lab, 0, 0, true, FAILED(X));
    try(lab, 0, 1, true, CRASHED(X));
    try(lab, 1, 0, true, FAILED(Y));
    try(lab, 0, 0, false, PASSED(X));
    try(lab, 1, 1, false, CRASHED(Y));
    cr_assert(pt_verdict_sum_ok(lab->v));
    cr_assert_eq(pt_ledger_finish_run(lab->l, 5, 1, PT_OUTCOME_NOTRUN, NULL), 0);
}

static void finish(struct lab *lab)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_terminal_end end = {
        .ledger = lab->l, .verdict = lab->v, .seconds = 0.12, .logs = ".ptremote/logs/r1"};
    cr_assert_eq(pt_terminal_finish(lab->t, &end, &err), 0, "%s", err.msg);
    fflush(lab->o.out);
}

Test(tries, the_last_counts_and_flaky_tests_are_named)
{
    struct lab lab = {.o = {.durations = 10}};
    fill(&lab);
    finish(&lab);
    cr_assert_str_eq(lab.text,
                     "collected 2 items\n"
                     "CRASHED t/a.py::y - crashed in call [h2]\n"
                     "[100%] 2/2 passed 1 crashed 1 flaky 1 rerun 3\n"
                     "\n"
                     "------------------- output of the workers: .ptremote/logs/r1 -------------------\n"
                     "============================= slowest 10 durations =============================\n"
                     "0.50s call     t/a.py::x\n"
                     "=========================== short test summary info ============================\n"
                     "FLAKY t/a.py::x - passed at try 3: assert <0>\n"
                     "CRASHED t/a.py::y - crashed in call\n"
                     "================ 1 passed, 1 crashed, 1 flaky, 3 rerun in 0.12s ================\n",
                     "GOT\n%s", lab.text);
    stop(&lab, NULL);
}

Test(tries, each_is_told_when_asked)
{
    struct lab lab = {.o = {.verbosity = 1, .reportchars = "R"}};
    fill(&lab);
    finish(&lab);
    cr_assert_not_null(strstr(lab.text, "t/a.py::x RERUN (assert <0>) [  0%] h1\n"
                                        "t/a.py::x RERUN (crashed in call) [  0%] h2\n"
                                        "t/a.py::y RERUN (assert <0>) [  0%] h1\n"
                                        "t/a.py::x PASSED [ 50%] h1\n"
                                        "t/a.py::y CRASHED [100%] h2\n"),
                       "%s", lab.text);
    cr_assert_not_null(strstr(lab.text, "RERUN t/a.py::x - assert <0>\n"
                                        "RERUN t/a.py::x - crashed in call\n"
                                        "RERUN t/a.py::y - assert <0>\n"
                                        "FLAKY t/a.py::x - passed at try 3: assert <0>\n"),
                       "%s", lab.text);
    stop(&lab, NULL);
}

Test(tries, progress_may_go_back)
{
    struct lab lab = {0};
    start(&lab);
    pt_terminal_collected(lab.t, 1, 0, 0, 0, true);
    try(&lab, 0, 0, true, FAILED(X));
    for (int64_t now = 0; now <= 120000; now += 60000)
        pt_terminal_tick(lab.t, lab.v, now);
    try(&lab, 0, 0, false, PASSED(X));
    fflush(lab.o.out);
    cr_assert_str_eq(lab.text, "collected 1 item\n[100%] 1/1 passed 1 flaky 1 rerun 1\n");
    stop(&lab, NULL);
}

Test(tries, lines_that_tests_write_are_labelled)
{
    struct lab lab = {.o = {.tty = true, .width = 60}};
    start(&lab);
    pt_terminal_tick(lab.t, lab.v, 0);
    pt_terminal_live(lab.t, 1, "gw3", "t/a.py::x[\x1b]", "a\tb\x07", 4);
    pt_terminal_live(lab.t, 0, "group 1 rank 0", NULL, "", 0);
    pt_terminal_live(lab.t, 99, "gw4", NULL, "x", 1);
    fflush(lab.o.out);
    const char *lines = strstr(lab.text, "\r\033[K");
    cr_assert_not_null(lines);
    cr_assert_str_eq(lines + 4, "[h2 gw3 t/a.py::x[\\x1b]] a\tb\\x07\n[h1 group 1 rank 0] \n[? gw4] x\n");
    stop(&lab, NULL);
}

/* --- files --- */

static char *read_file(const char *name)
{
    static char text[1 << 16];
    FILE *f = fopen(lab_path(name), "r");
    cr_assert_not_null(f);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    return text;
}

Test(tries, junit_as_surefire_tells_them)
{
    struct lab lab = {0};
    struct pt_err err = PT_ERR_INIT;
    fill(&lab);
    struct pt_junit_options o = {.path = lab_path("out.xml")};
    cr_assert_eq(pt_junit_write(&o, lab.l, 0, &err), 0, "%s", err.msg);
    const char *text = strstr(read_file("out.xml"), "<testsuite ");
    cr_assert_not_null(strstr(text, "errors=\"1\" failures=\"0\" skipped=\"0\" tests=\"2\""), "%s", text);
    cr_assert_not_null(
        strstr(text, "<testcase name=\"new\"><properties><property name=\"host\" value=\"h1\" /></properties>"
                     "<flakyFailure message=\"assert &lt;0&gt;\" type=\"failed\">"
                     "<stackTrace>E   assert &lt;0&gt;</stackTrace><system-out>out#x1B</system-out>"
                     "</flakyFailure><flakyError message=\"crashed in call\" type=\"crashed\">"
                     "<stackTrace>crashed in call</stackTrace></flakyError>"
                     "<system-out>o</system-out></testcase>"),
        "%s", text);
    cr_assert_not_null(strstr(text,
                              "<error type=\"crashed\" message=\"crashed in call\">crashed in call</error>"
                              "<rerunFailure message=\"assert &lt;0&gt;\" type=\"failed\">"),
                       "%s", text);
    stop(&lab, NULL);
}

static const char *text_of(const struct pt_json *o, const char *key)
{
    const char *text = pt_json_text(pt_json_get(o, key));
    return text ? text : "";
}

static void check_try(const struct pt_json *t, int number, const char *outcome, const char *host, int bundle)
{
    cr_assert_eq(pt_json_number(pt_json_get(t, "try"), -1), number);
    cr_assert_str_eq(text_of(t, "outcome"), outcome);
    cr_assert_str_eq(text_of(t, "host"), host);
    cr_assert_eq(pt_json_number(pt_json_get(t, "worker"), -1), 1);
    cr_assert_eq(pt_json_number(pt_json_get(t, "bundle"), -1), bundle);
}

Test(tries, json_has_all_of_them_and_what_a_replay_needs)
{
    struct lab lab = {0};
    struct pt_err err = PT_ERR_INIT;
    fill(&lab);
    struct pt_json_file o = {.path = lab_path("out.json"), .run_name = "r1", .started = 5};
    cr_assert_eq(pt_json_file_write(&o, lab.l, 0, lab.v, &err), 0, "%s", err.msg);
    const char *text = read_file("out.json");
    struct pt_json *root = pt_json_parse(text, strlen(text), &err);
    cr_assert_not_null(root, "%s", err.msg);
    const struct pt_json *how = pt_json_get(root, "how");
    cr_assert_str_eq(text_of(how, "hash_seed"), "42");
    cr_assert_str_eq(text_of(how, "isolate"), "session");
    cr_assert_str_eq(text_of(how, "dist"), "file");
    cr_assert_eq(pt_json_count(how), 3);
    cr_assert_eq(pt_json_number(pt_json_get(root, "flaky"), -1), 1);
    cr_assert_eq(pt_json_number(pt_json_get(root, "reruns"), -1), 3);
    const struct pt_json *t = pt_json_first(pt_json_get(root, "tests"));
    check_try(t, 3, "passed", "h1", 7);
    const struct pt_json *tries = pt_json_get(t, "tries");
    cr_assert_eq(pt_json_count(tries), 2);
    check_try(pt_json_first(tries), 1, "failed", "h1", 7);
    cr_assert_str_eq(text_of(pt_json_first(tries), "longrepr"), "E   assert <0>");
    cr_assert_eq(pt_json_number(pt_json_get(pt_json_first(tries), "started"), -1), 1700000000.5);
    check_try(pt_json_next(pt_json_first(tries)), 2, "crashed", "h2", 8);
    t = pt_json_next(t);
    check_try(t, 2, "crashed", "h2", 8);
    cr_assert_eq(pt_json_count(pt_json_get(t, "tries")), 1);
    pt_json_destroy(root);
    stop(&lab, NULL);
}

Test(tries, a_try_that_counts_in_the_end_is_no_try)
{
    struct lab lab = {0};
    struct pt_err err = PT_ERR_INIT;
    start(&lab);
    try(&lab, 0, 0, true, FAILED(X));
    cr_assert_eq(pt_verdict_not_again(lab.v, 0), 0);
    try(&lab, 0, 0, false, FAILED(X));
    cr_assert_eq(pt_ledger_finish_run(lab.l, 5, 1, PT_OUTCOME_NOTRUN, NULL), 0);
    struct pt_json_file o = {.path = lab_path("out.json"), .run_name = "r1"};
    cr_assert_eq(pt_json_file_write(&o, lab.l, 0, lab.v, &err), 0, "%s", err.msg);
    cr_assert_null(strstr(read_file("out.json"), "\"tries\""));
    struct pt_junit_options j = {.path = lab_path("out.xml")};
    cr_assert_eq(pt_junit_write(&j, lab.l, 0, &err), 0, "%s", err.msg);
    cr_assert_null(strstr(read_file("out.xml"), "rerunFailure"));
    stop(&lab, NULL);
}
