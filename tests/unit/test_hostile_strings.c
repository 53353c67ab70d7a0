/* SPDX-License-Identifier: Apache-2.0 */
/* Every writer gets every string of hostile_strings.h, and one of 1 MiB, wherever it takes a text: what comes
 * out parses, or is safe for a terminal. */
#include "common/auto.h"
#include "common/log.h"
#include "common/quote.h"
#include "json.h"
#include "ledger_lab.h"
#include "logs.h"
#include "output/json_file.h"
#include "output/junit.h"
#include "output/terminal.h"
#include "report.h"
#include "status.h"

TestSuite(hostile_strings, .init = lab_make, .fini = lab_remove);

#define LONG (1u << 20)

static const struct {
    const char *name, *text;
    size_t n;
} table[] = {
#define HOSTILE(name, text) {#name, text, sizeof(text) - 1},
#include "hostile_strings.h"
};

/* Nothing that a terminal obeys, hides or cannot show. `ours`: but for our colours. */
static void check_safe(const char *what, const char *s, size_t n, bool ours)
{
    for (size_t at = 0, len; at < n; at += len) {
        uint32_t cp = 0;
        len = pt_utf8_next(s + at, n - at, &cp);
        cr_assert(len > 0, "%s: broken UTF-8 at %zu", what, at);
        if (ours && cp == 0x1b && s[at + 1] == '[') {
            size_t digits = strspn(s + at + 2, "0123456789");
            cr_assert_eq(s[at + 2 + digits], 'm', "%s: a sequence that is no colour at %zu", what, at);
            continue;
        }
        bool line = cp == '\n' || cp == '\t';
        bool control = (cp < 0x20 && !line) || (cp >= 0x7f && cp < 0xa0);
        bool turns = cp == 0x61c || cp == 0x200e || cp == 0x200f || (cp >= 0x202a && cp <= 0x202e) ||
                     (cp >= 0x2066 && cp <= 0x2069);
        cr_assert(!control && !turns, "%s: U+%04X at %zu", what, (unsigned)cp, at);
    }
}

static char *lengthy(void)
{
    char *s = malloc(LONG + 1);
    memset(s, 'x', LONG);
    s[LONG] = '\0';
    return s;
}

/* --- one line --- */

Test(hostile_strings, fit_into_any_room_and_stay_as_they_are_then)
{
    for (size_t i = 0; i < PT_COUNT(table); i++) {
        struct pt_buf whole = {0};
        char out[256], again[256];
        pt_quote_print(&whole, table[i].text, strlen(table[i].text), 0);
        for (size_t size = 1; size <= sizeof(out); size++) {
            memset(out, 'z', sizeof(out));
            pt_quote_fit(out, size, table[i].text);
            size_t n = strnlen(out, size);
            cr_assert(n < size && n <= whole.len && memcmp(out, whole.data, n) == 0, "%s", table[i].name);
            cr_assert(n == whole.len || n + 10 >= size, "%s: %zu of %zu", table[i].name, n, size);
            check_safe(table[i].name, out, n, false);
        }
        pt_quote_fit(again, sizeof(again), out);
        cr_expect_str_eq(again, out);
        pt_buf_fini(&whole);
    }
}

Test(hostile_strings, are_safe_in_errors)
{
    for (size_t i = 0; i < PT_COUNT(table); i++) {
        struct pt_err err = PT_ERR_INIT;
        pt_err_set(&err, "%s", table[i].text);
        for (int k = 0; k < 20; k++) /* until it is cut somewhere */
            pt_err_wrap(&err, "%.*s%s", k, "xxxxxxxxxxxxxxxxxxxx", table[i].text);
        pt_err_hint(&err, "%s", table[i].text);
        check_safe(table[i].name, err.msg, strlen(err.msg), false);
        check_safe(table[i].name, err.hint, strlen(err.hint), false);
        cr_assert_null(strpbrk(err.msg, "\n\t"));
    }
}

static char logged[4096];

static void take_line(void *arg, enum pt_log_level level, const char *line)
{
    (void)arg, (void)level;
    snprintf(logged, sizeof(logged), "%s", line);
}

Test(hostile_strings, are_safe_in_diagnostics)
{
    char *s = lengthy();
    pt_log_redirect(take_line, NULL);
    for (size_t i = 0; i < PT_COUNT(table); i++) {
        pt_warn("%s", table[i].text);
        check_safe(table[i].name, logged, strlen(logged), false);
        cr_assert_null(strpbrk(logged, "\n\t"));
    }
    pt_warn("%s", s);
    cr_assert_gt(strlen(logged), 2000);
    pt_log_redirect(NULL, NULL);
    free(s);
}

Test(hostile_strings, are_one_word_of_a_command_to_copy)
{
    static const char *const bare[] = {"a", "/a/b-c.d", "user@host:22", "--x"};
    for (size_t i = 0; i < PT_COUNT(table); i++) {
        char *word = pt_quoted(table[i].text, true), script[512], path[160];
        snprintf(path, sizeof(path), "%s/word", lab_dir);
        snprintf(script, sizeof(script), "cd %s && printf %%s %s >word", lab_dir, word);
        cr_assert_eq(system(script), 0, "%s", word);
        FILE *f = fopen(path, "r");
        char got[256];
        size_t n = fread(got, 1, sizeof(got), f);
        fclose(f);
        cr_assert(n == strlen(table[i].text) && memcmp(got, table[i].text, n) == 0, "%s", word);
        free(word);
    }
    cr_assert_neq(access(lab_path("pwned"), F_OK), 0);
    for (size_t i = 0; i < PT_COUNT(bare); i++) {
        char *word = pt_quoted(bare[i], true);
        cr_expect_eq(strcmp(word, bare[i]) == 0, bare[i][0] != '-');
        free(word);
    }
}

/* --- JSON --- */

/* As pt_json_parse gives back what was put: UTF-8 with visible bytes and NULs. */
static void put_visible(struct pt_buf *out, const char *s, size_t n)
{
    char esc[8];
    uint32_t cp = 0;
    for (size_t len; n; s += len, n -= len) {
        len = pt_utf8_next(s, n, &cp);
        snprintf(esc, sizeof(esc), "\\x%02x", (unsigned char)*s);
        pt_buf_append(out, len && cp ? s : esc, len && cp ? len : 4);
        len = len ? len : 1;
    }
    pt_buf_append(out, "", 1);
}

Test(hostile_strings, come_back_from_json)
{
    for (size_t i = 0; i < PT_COUNT(table); i++) {
        struct pt_json_out o;
        struct pt_err err = PT_ERR_INIT;
        struct pt_buf want = {0};
        pt_json_out_init(&o, NULL);
        pt_json_open_object(&o, NULL);
        pt_json_put_strn(&o, "key", table[i].text, table[i].n);
        pt_json_put_str(&o, table[i].text, "value");
        pt_json_close(&o);
        cr_assert_eq(pt_json_out_end(&o), 0);
        struct pt_json *root = pt_json_parse(o.buf.data, o.buf.len, &err);
        cr_assert_not_null(root, "%s: %s", table[i].name, err.msg);
        put_visible(&want, table[i].text, table[i].n);
        cr_expect_str_eq(pt_json_text(pt_json_get(root, "key")), (char *)want.data, "%s", table[i].name);
        pt_json_destroy(root);
        pt_buf_fini(&o.buf);
        pt_buf_fini(&want);
    }
}

/* --- a run whose every text is one of them --- */

static void put_element(struct pt_json_out *o, const char *s, size_t n)
{
    pt_json_open_array(o, "junit");
    pt_json_open_array(o, NULL);
    pt_json_put_str(o, NULL, "testcase");
    pt_json_open_object(o, NULL);
    pt_json_put_strn(o, "classname", s, n);
    pt_json_put_strn(o, "name", s, n);
    if (n < 256)
        pt_json_put_strn(o, s, s, n);
    pt_json_close(o);
    pt_json_put_str(o, NULL, NULL);
    pt_json_open_array(o, NULL);
    pt_json_open_array(o, NULL);
    pt_json_put_str(o, NULL, "system-out");
    pt_json_open_object(o, NULL);
    pt_json_close(o);
    pt_json_put_strn(o, NULL, s, n);
    pt_json_open_array(o, NULL);
    for (int i = 0; i < 4; i++)
        pt_json_close(o);
    pt_json_close(o);
}

static void put_problem(struct pt_json_out *o, const char *s, size_t n)
{
    pt_json_open_array(o, "problems");
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "phase", "call");
    pt_json_put_str(o, "category", "failed");
    pt_json_put_strn(o, "headline", s, n < 256 ? n : 256);
    pt_json_put_strn(o, "longrepr", s, n);
    pt_json_open_array(o, "sections");
    pt_json_open_array(o, NULL);
    pt_json_put_strn(o, NULL, s, n < 256 ? n : 256);
    pt_json_put_strn(o, NULL, s, n);
    for (int i = 0; i < 4; i++)
        pt_json_close(o);
}

/* A report as a host sends it; heap. */
static char *make_report(const char *s, size_t n, bool cases)
{
    static const char *const texts[] = {"file", "message", "longrepr", "stdout", "stderr"};
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put_strn(&o, "nodeid", s, n < 4096 ? n : 4096);
    pt_json_put_str(&o, "outcome", "failed");
    for (size_t i = 0; i < PT_COUNT(texts); i++)
        pt_json_put_strn(&o, texts[i], s, i ? n : n < 4096 ? n : 4096);
    if (cases)
        put_element(&o, s, n);
    else
        put_problem(&o, s, n);
    pt_json_close(&o);
    cr_assert_eq(pt_json_out_end(&o), 0);
    pt_buf_append(&o.buf, "", 1);
    return (char *)o.buf.data;
}

struct lab {
    struct pt_ledger *l;
    struct pt_verdict *v;
    struct pt_terminal *t;
    FILE *out;
    char *said;
    size_t len;
    uint32_t tests;
};

static void add(struct lab *lab, const char *s, size_t n, bool cases)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_report r;
    char *json = make_report(s, n, cases);
    cr_assert_eq(pt_report_decode(json, strlen(json), &r, &err), 0, "%s", err.msg);
    uint32_t test = pt_verdict_add_test(lab->v);
    struct pt_ledger_test row = {.number = test, .nodeid = r.nodeid, .file = r.file, .occurrence = test};
    cr_assert_eq(pt_ledger_add_test(lab->l, &row, NULL), 0);
    pt_verdict_set(lab->v, test, 1, r.outcome, r.counts, r.ncounts);
    lab_report(lab->l, test, r.outcome, 1, false, json);
    pt_terminal_reported(lab->t, &r, test % PT_COUNT(table), lab->v);
    pt_terminal_live(lab->t, test % PT_COUNT(table), "gw0", r.nodeid, s, n);
    lab->tests++;
    pt_report_fini(&r);
    free(json);
}

static void add_warning(struct lab *lab, const char *s, size_t n)
{
    static const char *const keys[] = {"message", "category", "filename", "nodeid", "text"};
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put_str(&o, "kind", "warning");
    for (size_t i = 0; i < PT_COUNT(keys); i++)
        pt_json_put_strn(&o, keys[i], s, n);
    pt_json_put_str(&o, "when", "runtest");
    pt_json_put_int(&o, "lineno", 1);
    pt_json_close(&o);
    cr_assert_eq(pt_json_out_end(&o), 0);
    pt_verdict_count(lab->v, "warnings", 1);
    cr_assert_eq(pt_ledger_add_note(lab->l, 0, "warning", o.buf.data, o.buf.len, NULL), 0);
    pt_buf_fini(&o.buf);
}

static void start(struct lab *lab, bool tty, int verbosity)
{
    lab->out = open_memstream(&lab->said, &lab->len);
    struct pt_terminal_options o = {
        .out = lab->out, .color = true, .tty = tty, .verbosity = verbosity, .reportchars = "A"};
    o.durations = 0;
    lab->t = pt_terminal_create(&o, NULL);
    lab->v = pt_verdict_create(NULL);
    lab->l = lab_open();
    lab_begin(lab->l, verbosity ? "r1" : "r0");
    for (uint32_t i = 0; i < PT_COUNT(table); i++) {
        struct pt_ledger_host host = {
            .number = i, .name = table[i].text, .state = table[i].text, .slots = 1, .connect = 1};
        cr_assert_eq(pt_ledger_add_host(lab->l, &host, NULL), 0);
        pt_terminal_add_host(lab->t, i, table[i].text, 1);
        pt_terminal_host(lab->t, i, table[i].text, 1, true);
        pt_terminal_note(lab->t, table[i].text);
        pt_terminal_line(lab->t, table[i].text);
    }
}

static void fill(struct lab *lab)
{
    char *s = lengthy();
    for (size_t i = 0; i < PT_COUNT(table); i++) {
        add(lab, table[i].text, table[i].n, true);
        add(lab, table[i].text, table[i].n, false);
        add_warning(lab, table[i].text, table[i].n);
    }
    add(lab, s, LONG / 2, true);
    add(lab, s, LONG / 2, false);
    add_warning(lab, s, LONG / 8);
    free(s);
}

static void finish(struct lab *lab)
{
    pt_terminal_destroy(lab->t);
    fclose(lab->out);
    pt_verdict_destroy(lab->v);
    pt_ledger_close(lab->l);
    free(lab->said);
}

static int run_program(const char *const argv[])
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* What another JSON parser finds: as many tests, each text what was put in. */
static const char reader[] =
    "import json, sys\n"
    "told = json.load(open(sys.argv[1], encoding='utf-8'))\n"
    "tests = told['tests']\n"
    "assert len(tests) == int(sys.argv[2]) and len(told['hosts']) == int(sys.argv[3])\n"
    "for test in tests:\n"
    "    assert test['nodeid'] == test['file']\n"
    "    assert test['message'] == test['longrepr'] == test['stdout'] == test['stderr']\n"
    "    assert test['message'] == test['nodeid'] or len(test['message']) == 1 << 19\n";

Test(hostile_strings, are_told_by_files_that_parse, .timeout = 100)
{
    struct lab lab = {0};
    struct pt_err err = PT_ERR_INIT;
    char xml[128], json[128], tests[16], hosts[16];
    start(&lab, false, 1);
    fill(&lab);
    snprintf(xml, sizeof(xml), "%s/out.xml", lab_dir);
    snprintf(json, sizeof(json), "%s/out.json", lab_dir);
    snprintf(tests, sizeof(tests), "%u", lab.tests);
    snprintf(hosts, sizeof(hosts), "%zu", PT_COUNT(table));
    struct pt_junit_options x = {.path = xml, .suite_name = table[0].text, .prefix = table[1].text};
    cr_assert_eq(pt_junit_write(&x, lab.l, 0, &err), 0, "%s", err.msg);
    struct pt_json_file j = {.path = json, .run_name = table[0].text};
    cr_assert_eq(pt_json_file_write(&j, lab.l, 0, lab.v, &err), 0, "%s", err.msg);
    cr_assert_eq(run_program((const char *const[]){"xmllint", "--noout", xml, NULL}), 0);
    const char *python = getenv("PTREMOTE_PYTHON");
    cr_assert_eq(run_program((const char *const[]){python ? python : "/usr/bin/python3", "-c", reader, json,
                                                   tests, hosts, NULL}),
                 0);
    finish(&lab);
}

Test(hostile_strings, are_safe_on_a_terminal, .timeout = 100)
{
    for (int tty = 0; tty < 2; tty++) {
        struct lab lab = {0};
        struct pt_err err = PT_ERR_INIT;
        start(&lab, false, tty);
        fill(&lab);
        struct pt_terminal_end end = {
            .ledger = lab.l, .verdict = lab.v, .seconds = 1, .stopped = table[5].text};
        cr_assert_eq(pt_terminal_finish(lab.t, &end, &err), 0, "%s", err.msg);
        fflush(lab.out);
        cr_assert_gt(lab.len, LONG);
        check_safe("terminal", lab.said, lab.len, true);
        finish(&lab);
    }
}

/* --- the ledger --- */

static int check_host(void *arg, const struct pt_ledger_host *host)
{
    size_t *i = arg;
    cr_expect_str_eq(host->name, table[*i].text);
    cr_expect_str_eq(host->state, table[*i].text);
    (*i)++;
    return 0;
}

Test(hostile_strings, come_back_from_the_ledger)
{
    static const char other[] = "import sqlite3, sys\n"
                                "db = sqlite3.connect(sys.argv[1])\n"
                                "assert db.execute('PRAGMA integrity_check').fetchall() == [('ok',)]\n"
                                "rows = db.execute('SELECT name, state FROM hosts').fetchall()\n"
                                "assert len(rows) == int(sys.argv[2])\n"
                                "assert sum(isinstance(row[0], bytes) for row in rows) == 1\n";
    struct lab lab = {0};
    char count[16];
    size_t n = 0;
    start(&lab, false, 0);
    cr_assert_eq(pt_ledger_each_host(lab.l, 0, check_host, &n, NULL), 0);
    cr_assert_eq(n, PT_COUNT(table));
    for (size_t i = 0; i < PT_COUNT(table); i++)
        cr_assert_eq(pt_ledger_put_speed(lab.l, table[i].text, 1 + (double)i, NULL), 0);
    cr_assert_eq(pt_ledger_finish_run(lab.l, 5, 1, PT_OUTCOME_NOTRUN, NULL), 0);
    finish(&lab);
    snprintf(count, sizeof(count), "%zu", PT_COUNT(table));
    cr_assert_eq(run_program((const char *const[]){"/usr/bin/python3", "-c", other, lab_path("ledger.sqlite"),
                                                   count, NULL}),
                 0);
}

/* --- what else is printed --- */

static void take_piece(void *arg, uint32_t node, const char *nodeid, const char *line, size_t n)
{
    (void)node, (void)nodeid;
    check_safe("line", line, n, false);
    *(size_t *)arg += n;
}

Test(hostile_strings, are_as_they_are_in_logs_below_safe_headings)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_logs *l = pt_logs_create(lab_dir, "r1", &err);
    char *s = lengthy(), path[192];
    size_t shown = 0;
    cr_assert_not_null(l, "%s", err.msg);
    for (uint32_t i = 0; i < PT_COUNT(table); i++) {
        uint32_t node = pt_logs_member(l, table[i].text, i, 0);
        cr_assert_neq(node, PT_NONE);
        cr_assert_eq(pt_logs_add(l, node, table[i].text, table[i].text, table[i].text, table[i].n, &err), 0);
        cr_assert_eq(pt_logs_add(l, i, table[i].text, table[i].text, table[i].text, table[i].n, &err), 0);
        pt_logs_lines(l, i, table[i].text, table[i].text, table[i].n, take_piece, &shown);
        pt_logs_lines(l, i, table[i].text, s, LONG, take_piece, &shown);
        pt_logs_flush(l, i, take_piece, &shown);
        snprintf(path, sizeof(path), "%s/gw%u.log", pt_logs_folder(l), i);
        FILE *f = fopen(path, "r");
        char text[1024];
        size_t n = fread(text, 1, sizeof(text), f);
        fclose(f);
        cr_assert_gt(n, table[i].n);
        check_safe("heading", text, n - table[i].n, false);
        cr_expect_eq(memcmp(text + n - table[i].n, table[i].text, table[i].n), 0, "%s", table[i].name);
    }
    cr_expect_gt(shown, PT_COUNT(table) * LONG);
    pt_logs_destroy(l);
    free(s);
    glob_t found; /* and in no other folder */
    snprintf(path, sizeof(path), "%s/*", lab_dir);
    cr_assert_eq(glob(path, 0, NULL, &found), 0);
    cr_expect_eq(found.gl_pathc, 1);
    globfree(&found);
}

Test(hostile_strings, are_safe_in_the_status)
{
    struct pt_status *s = pt_status_create();
    char *said = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&said, &len);
    for (uint32_t i = 0; i < PT_COUNT(table); i++) {
        struct pt_status_host host = {.name = table[i].text, .state = table[i].text, .slots = 1};
        pt_status_set(s, 0, 0, table[i].text, i);
        pt_status_print(s, &host, 1, 1, 100, out);
    }
    fclose(out);
    check_safe("status", said, len, false);
    pt_status_destroy(s);
    free(said);
}
