/* SPDX-License-Identifier: Apache-2.0 */
#include "output/text.h"
#include "report.h"
#include "terminal_lab.h"

#include <fcntl.h>
#include <sys/stat.h>

TestSuite(terminal, .init = lab_make, .fini = lab_remove);

static void start(struct lab *lab)
{
    terminal_open(lab);
    lab_begin(lab->l, "r1");
    struct pt_ledger_host host = {.name = "h1",
                                  .state = "done",
                                  .slots = 8,
                                  .bytes_sent = 12000000,
                                  .connect = 0.25,
                                  .sync = 1,
                                  .launch = -1};
    pt_ledger_add_host(lab->l, &host, NULL);
    pt_terminal_add_host(lab->t, 0, "h1", 8);
}

/* A counted report of a new test (nodeid in it), or of none when `entry`. */
static void report(struct lab *lab, const char *json, bool entry)
{
    struct pt_report r;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_report_decode(json, strlen(json), &r, &err), 0, "%s", err.msg);
    uint32_t test = PT_NONE;
    if (entry) {
        pt_verdict_add_entry(lab->v, r.outcome, r.counts, r.ncounts);
    } else {
        test = pt_verdict_add_test(lab->v);
        lab_test(lab->l, test, r.nodeid);
        pt_verdict_set(lab->v, test, 1, r.outcome, r.counts, r.ncounts);
    }
    lab_report(lab->l, test, r.outcome, 1, false, json);
    pt_terminal_reported(lab->t, &r, 0, lab->v);
    pt_report_fini(&r);
}

static void warning(struct lab *lab, const char *json)
{
    pt_verdict_count(lab->v, "warnings", 1);
    cr_assert_eq(pt_ledger_add_note(lab->l, 0, "warning", json, strlen(json), NULL), 0);
}

static void finish(struct lab *lab, struct pt_terminal_end end)
{
    struct pt_err err = PT_ERR_INIT;
    end.ledger = lab->l;
    end.verdict = lab->v;
    end.seconds = end.seconds > 0 ? end.seconds : 0.12;
    cr_assert_eq(pt_terminal_finish(lab->t, &end, &err), 0, "%s", err.msg);
}

#define FAILED_X                                                                                             \
    "{\"nodeid\":\"t/a.py::test_x\",\"outcome\":\"failed\",\"counts\":{\"failed\":1},\"message\":\"assert "  \
    "1 == 2\","                                                                                              \
    "\"problems\":[{\"phase\":\"call\",\"category\":\"failed\",\"headline\":\"test_x\",\"longrepr\":"        \
    "\"    def test_x():\\n>       assert 1 == 2\\nE       assert 1 == 2\\n\\nt/a.py:2: AssertionError\","   \
    "\"sections\":[[\"Captured stdout call\",\"hello\\n\"]]}]}"
#define ERROR_Y                                                                                              \
    "{\"nodeid\":\"t/"                                                                                       \
    "a.py::test_y\",\"outcome\":\"error\",\"phase\":\"teardown\",\"counts\":{\"passed\":1,\"error\":1},"     \
    "\"message\":\"boom\",\"problems\":[{\"phase\":\"teardown\",\"category\":\"error\",\"headline\":"        \
    "\"ERROR at teardown of test_y\",\"longrepr\":\"E   boom\"}]}"
#define CRASHED_Z                                                                                            \
    "{\"nodeid\":\"t/b.py::test_z\",\"outcome\":\"crashed\",\"message\":\"crashed in call: killed by "       \
    "signal 11 (SIGSEGV)\","                                                                                 \
    "\"problems\":[{\"phase\":\"call\",\"category\":\"crashed\",\"headline\":\"test_z\",\"longrepr\":"       \
    "\"stack\"}]}"
#define PASSED(id) "{\"nodeid\":\"" id "\",\"outcome\":\"passed\",\"counts\":{\"passed\":1}}"

Test(terminal, a_whole_run_not_on_a_terminal)
{
    struct lab lab = {0};
    start(&lab);
    pt_terminal_header(lab.t, "0.1.0", "20261121-1");
    pt_terminal_line(lab.t, "rootdir: /home/me/suite");
    pt_terminal_host(lab.t, 0, "connecting", 0, false);
    pt_terminal_host(lab.t, 0, "sending 1.0 MB", 0, false);
    pt_terminal_host(lab.t, 0, "sending 2.0 MB", 0, false);
    pt_terminal_host(lab.t, 0, "ready", 8, false);
    pt_terminal_collected(lab.t, 2, 0, 0, 0, false);
    pt_terminal_collected(lab.t, 4, 1, 0, 0, true);
    report(&lab, PASSED("t/a.py::test_w"), false);
    report(&lab, FAILED_X, false);
    report(&lab, ERROR_Y, false);
    report(&lab, CRASHED_Z, false);
    pt_verdict_count(lab.v, "deselected", 1);
    finish(&lab, (struct pt_terminal_end){.junit = "out.xml", .stopped = "stopping after 3 failures"});
    stop(&lab, "============================= test session starts ==============================\n"
               "ptremote 0.1.0 -- run 20261121-1\n"
               "rootdir: /home/me/suite\n"
               "h1: connecting\n"
               "h1: sending 1.0 MB\n"
               "h1: ready, 8 slots\n"
               "collected 5 items / 1 deselected / 4 selected\n"
               "FAILED t/a.py::test_x - assert 1 == 2 [h1]\n"
               "ERROR t/a.py::test_y - boom [h1]\n"
               "CRASHED t/b.py::test_z - crashed in call: killed by signal 11 (SIGSEGV) [h1]\n"
               "[100%] 4/4 failed 1 passed 2 error 1 crashed 1\n"
               "\n"
               "==================================== ERRORS ====================================\n"
               "_________________________ ERROR at teardown of test_y __________________________\n"
               "E   boom\n"
               "=================================== FAILURES ===================================\n"
               "____________________________________ test_x ____________________________________\n"
               "    def test_x():\n"
               ">       assert 1 == 2\n"
               "E       assert 1 == 2\n"
               "\n"
               "t/a.py:2: AssertionError\n"
               "----------------------------- Captured stdout call -----------------------------\n"
               "hello\n"
               "____________________________________ test_z ____________________________________\n"
               "stack\n"
               "------------------------- generated xml file: out.xml --------------------------\n"
               "=========================== short test summary info ============================\n"
               "FAILED t/a.py::test_x - assert 1 == 2\n"
               "ERROR t/a.py::test_y - boom\n"
               "CRASHED t/b.py::test_z - crashed in call: killed by signal 11 (SIGSEGV)\n"
               "!!!!!!!!!!!!!!!!!!!!!!!!!! stopping after 3 failures !!!!!!!!!!!!!!!!!!!!!!!!!!!\n"
               "======== 1 failed, 2 passed, 1 deselected, 1 error, 1 crashed in 0.12s =========\n");
}

Test(terminal, verbose_lines)
{
    struct lab lab = {.o = {.verbosity = 1}};
    start(&lab);
    pt_terminal_collected(lab.t, 3, 0, 0, 0, true);
    report(&lab, PASSED("t/a.py::test_w"), false);
    report(&lab, "{\"nodeid\":\"t/a.py::s\",\"outcome\":\"skipped\",\"skip\":[\"t/a.py\",3,\"no numpy\"]}",
           false);
    report(&lab, FAILED_X, false);
    finish(&lab, (struct pt_terminal_end){.seconds = 75.5});
    cr_assert_not_null(strstr(lab.text, "t/a.py::test_w PASSED [ 33%] h1\n"
                                        "t/a.py::s SKIPPED (no numpy) [ 66%] h1\n"
                                        "t/a.py::test_x FAILED [100%] h1\n"));
    cr_assert_not_null(strstr(lab.text, "h1: 8 slots, done, 12.0 MB sent, connect 0.25s, sync 1.00s\n"));
    cr_assert_not_null(strstr(lab.text, "= 1 failed, 1 passed, 1 skipped in 75.50s (0:01:15) ="), "%s",
                       lab.text);
    stop(&lab, NULL);
}

Test(terminal, hosts_that_ran_a_test_together)
{
    struct lab lab = {.o = {.verbosity = 1}};
    start(&lab);
    pt_terminal_collected(lab.t, 2, 0, 0, 0, true);
    report(&lab, "{\"nodeid\":\"t/a.py::x\",\"outcome\":\"passed\",\"ranks\":6,\"hosts\":[\"h1\",\"h2\"]}",
           false);
    report(&lab, "{\"nodeid\":\"t/a.py::y\",\"outcome\":\"passed\",\"ranks\":6,\"hosts\":[\"\\u001b\",4]}",
           false);
    fflush(lab.o.out);
    cr_expect_not_null(strstr(lab.text, "t/a.py::x PASSED [ 50%] h1+h2\n"), "%s", lab.text);
    cr_expect_null(strchr(lab.text, '\x1b'));
    finish(&lab, (struct pt_terminal_end){0});
    stop(&lab, NULL);
}

Test(terminal, quiet)
{
    struct lab lab = {.o = {.verbosity = -1}};
    start(&lab);
    pt_terminal_header(lab.t, "1", "r");
    pt_terminal_host(lab.t, 0, "ready", 8, false);
    pt_terminal_collected(lab.t, 1, 0, 0, 0, true);
    report(&lab, FAILED_X, false);
    pt_terminal_tick(lab.t, lab.v, 0);
    pt_terminal_tick(lab.t, lab.v, 1000000);
    finish(&lab, (struct pt_terminal_end){0});
    cr_assert_eq(strncmp(lab.text, "=================================== FAILURES", 40), 0, "%s", lab.text);
    cr_assert_not_null(strstr(lab.text, "\n1 failed in 0.12s\n"));
    stop(&lab, NULL);
}

Test(terminal, nothing_ran_and_plurals)
{
    struct lab lab = {0};
    start(&lab);
    pt_terminal_collected(lab.t, 0, 0, 2, 0, true);
    finish(&lab, (struct pt_terminal_end){0});
    stop(&lab, "collected 0 items / 2 errors\n\n"
               "============================ no tests ran in 0.12s =============================\n");
    struct lab more = {0};
    lab_remove();
    lab_make();
    start(&more);
    pt_verdict_count(more.v, "error", 2);
    finish(&more, (struct pt_terminal_end){0});
    cr_assert_not_null(strstr(more.text, "= 2 errors in 0.12s ="));
    stop(&more, NULL);
}

Test(terminal, the_status_line_is_drawn_in_place)
{
    struct lab lab = {.o = {.tty = true, .width = 60}};
    start(&lab);
    pt_terminal_add_host(lab.t, 1, "h2", 8);
    pt_terminal_host(lab.t, 0, "sending 12 MB", 0, false);
    pt_terminal_tick(lab.t, lab.v, 0);
    pt_terminal_host(lab.t, 0, "ready", 8, false);
    pt_terminal_host(lab.t, 1, "ready", 8, false);
    pt_terminal_busy(lab.t, 0, 8);
    pt_terminal_busy(lab.t, 1, 7);
    pt_terminal_collected(lab.t, 200, 0, 0, 0, true);
    for (int i = 0; i < 3; i++)
        report(&lab, PASSED("t/a.py::test_w"), false);
    pt_terminal_tick(lab.t, lab.v, 200);
    pt_terminal_tick(lab.t, lab.v, 400);
    report(&lab, FAILED_X, false);
    pt_terminal_resize(lab.t, 30);
    pt_terminal_tick(lab.t, lab.v, 600);
    stop(&lab, "[collecting] 0/0 | h1 sending 12 MB, h2 waiting"
               "\r\033[Kcollected 200 items\n"
               "[  1%] 3/200 passed 3 | h1 8/8 h2 7/8"
               "\r\033[KFAILED t/a.py::test_x - assert 1 == 2 [h1]\n"
               "[  2%] 4/200 failed 1 pass..."
               "\r\033[K");
}

Test(terminal, the_status_line_without_tests_is_of_hosts_alone)
{
    struct lab lab = {.o = {.tty = true, .width = 60, .no_tests = true}};
    start(&lab);
    pt_terminal_host(lab.t, 0, "sending 3.0 of 12.0 MB", 0, false);
    pt_terminal_tick(lab.t, lab.v, 0);
    stop(&lab, "[syncing] | h1 sending 3.0 of 12.0 MB\r\033[K");
}

Test(terminal, plain_progress_now_and_then)
{
    struct lab lab = {0};
    start(&lab);
    pt_terminal_collected(lab.t, 1000, 0, 0, 0, true);
    pt_terminal_tick(lab.t, lab.v, 5000);
    report(&lab, PASSED("t/a.py::test_w"), false);
    pt_terminal_tick(lab.t, lab.v, 34000);
    pt_terminal_tick(lab.t, lab.v, 36000);
    pt_terminal_tick(lab.t, lab.v, 70000);
    stop(&lab, "collected 1000 items\n[  0%] 1/1000 passed 1\n");
}

Test(terminal, no_escape_of_a_test_reaches_the_terminal)
{
    struct lab lab = {.o = {.tty = true, .verbosity = 1, .width = 80, .reportchars = "A", .durations = 3}};
    static const char evil[] =
        "{\"nodeid\":\"t/"
        "\\u001b]0;x\\u0007a.py::\\u202e\xff\\n\",\"outcome\":\"failed\",\"message\":\"\\u001b[2J\\r\","
        "\"setup\":1,\"skip\":[\"\\u001b\",1,\"\\u001b\"],\"counts\":{\"failed\":1,\"skipped\":1,\"\\u001b["
        "1m\":2},"
        "\"problems\":[{\"category\":\"failed\",\"headline\":\"\\u001b\\n\",\"longrepr\":"
        "\"\\u009b1m\\r\\u001b\\nE \\u001b\","
        "\"sections\":[[\"\\u001b\",\"\\u001b\\b\"]]}]}";
    start(&lab);
    pt_terminal_add_host(lab.t, 0, "h\x1b", 1);
    pt_terminal_host(lab.t, 0, "\x1b lost", 1, true);
    pt_terminal_note(lab.t, "\x1b[31m note");
    pt_terminal_line(lab.t, "\x1b[31m line");
    pt_terminal_header(lab.t, "\x1b", "\x1b");
    pt_terminal_collected(lab.t, 1, 0, 0, 0, true);
    report(&lab, evil, false);
    lab.o.verbosity = 0;
    warning(&lab, "{\"message\":\"\\u001b\",\"text\":\"\\u001b\\n\\r\",\"nodeid\":\"\\u001b\"}");
    finish(&lab, (struct pt_terminal_end){.stopped = "\x1b", .junit = "\x1b"});
    cr_assert_null(strchr(lab.text, '\x1b'), "%s", lab.text);
    cr_assert_null(strchr(lab.text, '\r'));
    cr_assert_null(strstr(lab.text, "\xff"));
    cr_assert_null(strstr(lab.text, "\xc2\x9b"));
    cr_assert_null(strstr(lab.text, "\xe2\x80\xae"));
    stop(&lab, NULL);
}

/* --- colours --- */

Test(terminal, colours_as_pytest_gives_them)
{
    struct lab lab = {.o = {.color = true, .width = 40}};
    start(&lab);
    report(&lab, PASSED("t/a.py::test_w"), false);
    report(&lab, FAILED_X, false);
    finish(&lab, (struct pt_terminal_end){0});
    cr_assert_not_null(strstr(lab.text, "\033[31mFAILED\033[0m t/a.py::\033[1mtest_x\033[0m"), "%s",
                       lab.text);
    cr_assert_not_null(strstr(lab.text, "\033[31m\033[1mE       assert 1 == 2\033[0m\n"));
    cr_assert_not_null(strstr(lab.text, "\033[31m===== \033[31m\033[1m1 failed\033[0m, \033[32m1 "
                                        "passed\033[0m\033[31m in 0.12s\033[0m\033[31m ======\033[0m"),
                       "%s", lab.text);
    stop(&lab, NULL);
}

Test(terminal, when_to_colour)
{
    unsetenv("PY_COLORS");
    unsetenv("NO_COLOR");
    unsetenv("FORCE_COLOR");
    int fd = open("/dev/null", 0);
    cr_assert(pt_terminal_colors(PT_COLOR_YES, fd));
    cr_assert_not(pt_terminal_colors(PT_COLOR_AUTO, fd));
    setenv("FORCE_COLOR", "1", 1);
    cr_assert(pt_terminal_colors(PT_COLOR_AUTO, fd));
    cr_assert_not(pt_terminal_colors(PT_COLOR_NO, fd));
    setenv("NO_COLOR", "1", 1);
    cr_assert_not(pt_terminal_colors(PT_COLOR_AUTO, fd));
    setenv("COLUMNS", "123", 1);
    cr_assert_eq(pt_terminal_width(fd), 123);
    setenv("COLUMNS", "wide", 1);
    cr_assert_eq(pt_terminal_width(fd), 80);
    close(fd);
}

/* --- the parts of the end --- */

Test(terminal, warnings_are_grouped)
{
    struct lab lab = {0};
    char json[256];
    cr_assert_eq(chdir("/usr"), 0);
    start(&lab);
    warning(&lab, "{\"message\":\"old\",\"text\":\"m.py:3: DeprecationWarning: old\\n  "
                  "call()\\n\",\"nodeid\":\"t/a.py::x\","
                  "\"when\":\"runtest\"}");
    warning(&lab, "{\"message\":\"old\",\"text\":\"m.py:3: DeprecationWarning: old\\n  "
                  "call()\\n\",\"nodeid\":\"t/a.py::y\","
                  "\"when\":\"runtest\"}");
    for (int worker = 0; worker < 3; worker++)
        warning(&lab, "{\"message\":\"import\",\"category\":\"UserWarning\",\"filename\":\"/usr/lib/"
                      "m.py\",\"lineno\":7,"
                      "\"when\":\"collect\",\"nodeid\":\"\"}");
    for (int i = 0; i < 12; i++) {
        snprintf(json, sizeof(json),
                 "{\"message\":\"many\",\"text\":\"many\",\"nodeid\":\"t/%c.py::t%d\",\"when\":\"runtest\"}",
                 i < 11 ? 'b' : 'c', i);
        warning(&lab, json);
    }
    finish(&lab, (struct pt_terminal_end){0});
    stop(&lab, "\n=============================== warnings summary ===============================\n"
               "t/a.py::x\n"
               "t/a.py::y\n"
               "  m.py:3: DeprecationWarning: old\n"
               "    call()\n"
               "\n"
               "lib/m.py:7\n"
               "  /usr/lib/m.py:7: UserWarning: import\n"
               "\n"
               "t/b.py: 11 warnings\n"
               "t/c.py: 1 warning\n"
               "  many\n"
               "\n"
               "-- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html\n"
               "============================= 15 warnings in 0.12s =============================\n");
}

Test(terminal, slowest_durations)
{
    struct lab lab = {.o = {.durations = 2, .durations_min = 0.005}};
    start(&lab);
    report(&lab, PASSED("t/a.py::test_w"), false);
    report(&lab, PASSED("t/a.py::test_v"), false);
    finish(&lab, (struct pt_terminal_end){0});
    cr_assert_not_null(
        strstr(lab.text, "============================= slowest 2 durations ==============================\n"
                         "0.25s call     t/a.py::test_w\n"
                         "0.25s call     t/a.py::test_v\n"),
        "%s", lab.text);
    stop(&lab, NULL);
    struct lab hidden = {.o = {.durations_min = 0.2}};
    lab_remove();
    lab_make();
    start(&hidden);
    pt_terminal_durations(hidden.t, 0, 0.2);
    report(&hidden, PASSED("t/a.py::test_w"), false);
    finish(&hidden, (struct pt_terminal_end){0});
    cr_assert_not_null(strstr(hidden.text, "0.25s call     t/a.py::test_w\n\n(2 durations < 0.2s hidden."),
                       "%s", hidden.text);
    stop(&hidden, NULL);
}

Test(terminal, reportchars)
{
    struct lab lab = {.o = {.reportchars = "sxXp"}};
    start(&lab);
    report(&lab, PASSED("t/a.py::test_w"), false);
    for (int i = 0; i < 2; i++)
        report(&lab,
               "{\"nodeid\":\"t/a.py::s\",\"outcome\":\"skipped\",\"skip\":[\"t/a.py\",3,\"no numpy\"]}",
               false);
    report(&lab, "{\"nodeid\":\"t/a.py::x\",\"outcome\":\"xfailed\",\"message\":\"known\"}", false);
    report(&lab, "{\"nodeid\":\"t/a.py::y\",\"outcome\":\"xpassed\",\"message\":\"why\"}", false);
    report(&lab, FAILED_X, false);
    finish(&lab, (struct pt_terminal_end){0});
    cr_assert_not_null(strstr(lab.text, "short test summary info ============================\n"
                                        "SKIPPED [2] t/a.py:3: no numpy\n"
                                        "XFAIL t/a.py::x - known\n"
                                        "XPASS t/a.py::y why\n"
                                        "PASSED t/a.py::test_w\n"
                                        "==="),
                       "%s", lab.text);
    stop(&lab, NULL);
}

Test(terminal, a_second_failure_is_told_from_its_traceback)
{
    struct lab lab = {.o = {.verbosity = -1}};
    start(&lab);
    report(&lab,
           "{\"nodeid\":\"t/"
           "a.py::x\",\"outcome\":\"failed\",\"message\":\"first\",\"counts\":{\"failed\":1,\"error\":1},"
           "\"problems\":[{\"category\":\"failed\"},{\"category\":\"error\",\"longrepr\":\"E   "
           "cause\\n\\nboth\\n"
           "E   RuntimeError: end\\nE   more\\n\\nt/a.py:3: RuntimeError\"}]}",
           false);
    finish(&lab, (struct pt_terminal_end){0});
    cr_assert_not_null(strstr(lab.text, "FAILED t/a.py::x - first\nERROR t/a.py::x - RuntimeError: end\n"),
                       "%s", lab.text);
    stop(&lab, NULL);
}

Test(terminal, a_broken_file_is_shown_once)
{
    struct lab lab = {.o = {.verbosity = -1}};
    static const char one[] =
        "{\"nodeid\":\"t/a.py::x\",\"outcome\":\"error\",\"phase\":\"collect\",\"problems\":[{\"phase\":"
        "\"collect\",\"category\":\"error\",\"headline\":\"ERROR collecting t/a.py on h1\","
        "\"longrepr\":\"ImportError\"}]}";
    start(&lab);
    for (int i = 0; i < 3; i++)
        report(&lab, one, false);
    finish(&lab, (struct pt_terminal_end){0});
    char *first = strstr(lab.text, "ImportError");
    cr_assert(first && !strstr(first + 1, "ImportError"), "%s", lab.text);
    stop(&lab, NULL);
}

Test(terminal, thousands_of_lost_tests_do_not_flood)
{
    struct lab lab = {.o = {.verbosity = -1}};
    start(&lab);
    for (int i = 0; i < 60; i++)
        report(&lab, "{\"nodeid\":\"t/a.py::x\",\"outcome\":\"lost\",\"message\":\"its host was lost\"}",
               false);
    finish(&lab, (struct pt_terminal_end){0});
    cr_assert_not_null(strstr(lab.text, "LOST and 10 more\n60 lost in"), "%s", lab.text);
    stop(&lab, NULL);
}

Test(terminal, node_ids_are_seen_from_the_working_directory)
{
    struct lab lab = {.o = {.verbosity = 1}};
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/t", lab_dir);
    cr_assert(mkdir(dir, 0700) == 0 && chdir(dir) == 0);
    start(&lab);
    pt_terminal_root(lab.t, lab_dir);
    report(&lab, FAILED_X, false);
    report(&lab, "{\"nodeid\":\"u/b.py::y[../z]\",\"outcome\":\"failed\"}", false);
    finish(&lab, (struct pt_terminal_end){0});
    cr_assert_not_null(strstr(lab.text, "a.py::test_x FAILED h1\n../u/b.py::y[../z] FAILED h1\n"), "%s",
                       lab.text);
    cr_assert_not_null(strstr(lab.text, "FAILED a.py::test_x - assert 1 == 2\nFAILED ../u/b.py::y[../z]\n"),
                       "%s", lab.text);
    stop(&lab, NULL);
    cr_assert_eq(chdir("/"), 0);
}

/* --- text --- */

Test(terminal, relative_paths)
{
    static const char *const cases[][3] = {
        {"/a/b", "/a/b/c.py", "c.py"},        {"/a/b", "/a/c.py", "../c.py"},
        {"/a/b", "/a/bc/d.py", "../bc/d.py"}, {"/", "/a/c.py", "a/c.py"},
        {"/a/b/c", "/x.py", "../../../x.py"}, {"/a", "/a", ""},
        {"/a/bc", "/a/b/d", "../b/d"},        {"/a/b/c", "/a/b", "../../b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pt_buf b = {0};
        pt_text_relative(&b, cases[i][0], cases[i][1]);
        cr_assert(b.len == strlen(cases[i][2]) && (!b.len || memcmp(b.data, cases[i][2], b.len) == 0),
                  "%s: %.*s", cases[i][1], (int)b.len, (char *)b.data);
        pt_buf_fini(&b);
    }
}

Test(terminal, columns_and_cuts)
{
    struct pt_buf b = {0};
    cr_assert_eq(pt_text_columns("a\xc3\xa9", 3), 2);
    cr_assert_eq(pt_text_columns("\xe6\xbc\xa2"
                                 "e\xcc\x81",
                                 6),
                 3);
    cr_assert(pt_text_cut(&b, "short\nnext", 10));
    cr_assert(b.len == 5 && memcmp(b.data, "short", 5) == 0);
    pt_buf_clear(&b);
    cr_assert(pt_text_cut(&b, "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2", 5));
    cr_assert(b.len == 6 && memcmp(b.data, "\xe6\xbc\xa2...", 6) == 0);
    pt_buf_clear(&b);
    cr_assert_not(pt_text_cut(&b, "long text", 2));
    cr_assert_eq(b.len, 0);
    pt_buf_fini(&b);
}
