/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails in turn in what tells of a run at its end: terminal, JUnit and JSON files, the run's
 * words for
 * --resume and --last-failed. What was not told whole says so; no file that is not whole is left. */
#include "allocations.h"
#include "ledger_lab.h"

#include "failures.h"
#include "gather_reports.h"
#include "json.h"
#include "output/json_file.h"
#include "output/junit.h"
#include "output/terminal.h"
#include "recorded.h"
#include "report.h"
#include "rerun.h"
#include "resume.h"
#include "sync/manifest.h"

#include <unistd.h>

#define REPORT(id, outcome, more)                                                                            \
    "{\"nodeid\":\"" id "\",\"outcome\":\"" outcome "\",\"counts\":{\"" outcome "\":1}" more "}"
#define PROBLEM(phase, category)                                                                             \
    ",\"message\":\"assert 0\",\"problems\":[{\"phase\":\"" phase "\",\"category\":\"" category              \
    "\",\"headline\":\"x\",\"longrepr\":\"E   assert 0\",\"sections\":[[\"Captured stdout "                  \
    "call\",\"hello\\n\"]]}]"
#define JUNIT                                                                                                \
    ",\"junit\":[{\"tag\":\"testcase\",\"attributes\":[[\"classname\",\"a\"],[\"name\",\"p\"]],"             \
    "\"children\":[]}]"

static const char again[] = REPORT("a.py::again", "failed", PROBLEM("call", "failed"));

static struct pt_manifest *tree(const char *path)
{
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    struct pt_entry file = {.path = path, .type = PT_ENTRY_FILE, .mode = 0644, .size = 3, .digest = {1}};
    cr_assert(pt_manifest_add(m, &file, NULL) == 0 && pt_manifest_seal(m, NULL) == 0);
    return m;
}

static void put_tree(struct pt_ledger *l)
{
    struct pt_manifest *m = tree("a.py");
    struct pt_buf b = {0};
    pt_manifest_encode(m, &b);
    cr_assert_eq(pt_ledger_put_tree(l, pt_manifest_root(m), PT_DIGEST, b.data, b.len, NULL), 0);
    pt_buf_fini(&b);
    pt_manifest_destroy(m);
}

static void fill(void)
{
    static const char note[] = "{\"kind\":\"suite\",\"properties\":[[\"a\",\"b\"]]}";
    static const char warning[] =
        "{\"message\":\"w\",\"category\":\"W\",\"filename\":\"/t/a.py\",\"lineno\":3,\"when\":\"runtest\"}";
    static const char run[] = "{\"rootdir\":\"/t\"}";
    lab_make();
    struct pt_ledger *l = lab_open();
    struct pt_ledger_run row = {.name = "r1",
                                .command = "ptremote",
                                .rootdir = "/t",
                                .hash_seed = "7",
                                .how = "{\"seed\":\"s\",\"dist\":\"file\"}",
                                .argv = "[]",
                                .cwd = "/t"};
    cr_assert_eq(pt_ledger_begin_run(l, &row, NULL), 0);
    struct pt_ledger_host host = {.name = "h1", .state = "done", .slots = 8, .connect = 0.25, .launch = -1};
    cr_assert_eq(pt_ledger_add_host(l, &host, NULL), 0);
    put_tree(l);
    lab_test(l, 0, "a.py::p");
    lab_test(l, 1, "a.py::f");
    lab_test(l, 2, "b.py::s[1]");
    lab_test(l, 3, "a.py::again");
    lab_test(l, 4, "a.py::left");
    lab_report(l, 0, PT_OUTCOME_PASSED, 1, false, REPORT("a.py::p", "passed", JUNIT));
    lab_report(l, 1, PT_OUTCOME_FAILED, 1, false, REPORT("a.py::f", "failed", PROBLEM("call", "failed")));
    lab_report(l, 1, PT_OUTCOME_ERROR, 1, true, REPORT("a.py::f", "error", PROBLEM("teardown", "error")));
    lab_report(l, 2, PT_OUTCOME_SKIPPED, 1, false,
               REPORT("b.py::s[1]", "skipped", ",\"skip\":[\"b.py\",3,\"no numpy\"]"));
    lab_report(l, 3, PT_OUTCOME_FAILED, 1, false, again);
    cr_assert_eq(pt_ledger_rerun(l, 3, NULL), 0);
    struct pt_ledger_report second = {
        .test = 3, .counted = 1, .attempt = 2, .try_ = 2, .outcome = PT_OUTCOME_PASSED};
    cr_assert_eq(pt_ledger_add_report(l, &second, NULL), 0);
    lab_report(l, PT_NONE, PT_OUTCOME_ERROR, 1, false,
               REPORT("c.py", "error", ",\"phase\":\"collect\"" PROBLEM("collect", "error")));
    cr_assert_eq(pt_ledger_add_note(l, 0, "suite", note, strlen(note), NULL), 0);
    cr_assert_eq(pt_ledger_add_note(l, 0, "warning", warning, strlen(warning), NULL), 0);
    cr_assert_eq(pt_ledger_add_note(l, PT_NONE, PT_RECORDED_NOTE, run, strlen(run), NULL), 0);
    cr_assert_eq(pt_ledger_commit(l, NULL), 0);
    pt_ledger_close(l);
}

static struct pt_ledger *ledger;
static struct pt_verdict *of_run;
static int64_t run;

static void begin(void)
{
    fill();
    ledger = pt_ledger_look(lab_dir, NULL);
    run = pt_ledger_find_run(ledger, "r1", NULL);
    of_run = pt_recorded_verdict(ledger, run, NULL);
    cr_assert(run && of_run);
}

static void finish(void)
{
    pt_verdict_destroy(of_run);
    pt_ledger_close(ledger);
    lab_remove();
}

TestSuite(allocations_output, .init = begin, .fini = finish, .timeout = 110);

/* One that keeps what it gave until it is asked again is the scenario's own. */
static struct pt_ledger *look(void)
{
    allocations_pause();
    struct pt_ledger *l = pt_ledger_look(lab_dir, NULL);
    allocations_resume();
    return l;
}

static bool same_file(const char *a, const char *b)
{
    static char one[64 << 10], two[64 << 10];
    size_t n = 0, m = 1;
    FILE *f = fopen(a, "r"), *g = fopen(b, "r");
    if (f && g) {
        n = fread(one, 1, sizeof(one), f);
        m = fread(two, 1, sizeof(two), g);
    }
    if (f)
        fclose(f);
    if (g)
        fclose(g);
    return n == m && memcmp(one, two, n) == 0;
}

/* A file is as it should be, or not there and no other file in its place. */
static void check_file(bool ok, const char *path, const char *want)
{
    char pattern[192];
    glob_t found;
    allocations_pause();
    snprintf(pattern, sizeof(pattern), "%s*", path);
    int rc = glob(pattern, 0, NULL, &found);
    cr_assert(ok ? rc == 0 && found.gl_pathc == 1 : rc == GLOB_NOMATCH, "%s", path);
    cr_assert(!ok || !want || same_file(path, want));
    globfree(&found);
    unlink(path);
    allocations_resume();
}

static bool write_junit(const char *path)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_junit_options o = {.path = path, .family = "xunit1", .prefix = "pre", .started = 1700000000};
    bool ok = allocations_told(pt_junit_write(&o, ledger, run, &err), &err);
    return ok;
}

static bool write_json(const char *path)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_json_file o = {
        .path = path, .run_name = "r1", .exitcode = 1, .started = 1700000000, .seconds = 2};
    struct pt_ledger *l = look();
    bool ok = allocations_told(pt_json_file_write(&o, l, run, of_run, &err), &err);
    pt_ledger_close(l);
    return ok;
}

static char want[64], made[64];

static bool junit(void *arg)
{
    (void)arg;
    bool ok = write_junit(made);
    check_file(ok, made, want);
    return ok;
}

static bool json(void *arg)
{
    (void)arg;
    bool ok = write_json(made);
    check_file(ok, made, want);
    return ok;
}

Test(allocations_output, files)
{
    snprintf(want, sizeof(want), "%s", lab_path("want"));
    snprintf(made, sizeof(made), "%s", lab_path("made"));
    cr_assert(write_junit(want));
    ALLOCATIONS_CHECK("junit", junit, 60);
    cr_assert(write_json(want));
    ALLOCATIONS_CHECK("json_file", json, 60);
}

/* --- the terminal --- */

static struct pt_report fixed = {
    .nodeid = (char *)(uintptr_t) "a.py::f", .outcome = PT_OUTCOME_FAILED, .skip_line = PT_NONE};

/* On the way a line may be missing; a terminal that could not be made is told of. */
static bool terminal(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    char *text = NULL;
    size_t n;
    (void)arg;
    allocations_pause();
    struct pt_terminal_options o = {.out = open_memstream(&text, &n),
                                    .tty = true,
                                    .color = true,
                                    .verbosity = 1,
                                    .width = 80,
                                    .reportchars = "a"};
    allocations_resume();
    struct pt_terminal *t = pt_terminal_create(&o, &err);
    bool ok = allocations_told(t ? 0 : -1, &err);
    if (t) {
        pt_terminal_root(t, "/t");
        pt_terminal_reportchars(t, "fE");
        pt_terminal_header(t, "1", "r1");
        pt_terminal_add_host(t, 0, "h1", 8);
        pt_terminal_host(t, 0, "ready", 8, true);
        pt_terminal_collected(t, 5, 1, 0, 0, true);
        pt_terminal_reported(t, &fixed, 0, of_run);
        pt_terminal_live(t, 0, "gw0", "a.py::f", "words", 5);
        pt_terminal_tick(t, of_run, 1000000);
        pt_terminal_destroy(t);
    }
    fclose(o.out);
    free(text);
    return ok;
}

static struct pt_terminal_end an_end = {.seconds = 1, .stopped = "why", .junit = "x"};

/* What stands at the end is whole, or says that it is not. */
static bool terminal_end(void *arg)
{
    static char whole[16 << 10];
    struct pt_err err = PT_ERR_INIT;
    char *text = NULL;
    size_t n;
    (void)arg;
    allocations_pause();
    struct pt_terminal_options o = {
        .out = open_memstream(&text, &n), .verbosity = 1, .reportchars = "fEsxXpPR", .durations = 0};
    struct pt_terminal *t = pt_terminal_create(&o, &err);
    pt_terminal_root(t, "/t");
    allocations_resume();
    int rc = pt_terminal_finish(t, &an_end, &err);
    pt_terminal_destroy(t);
    fclose(o.out);
    bool ok = allocations_told(rc, &err);
    if (ok && !whole[0])
        snprintf(whole, sizeof(whole), "%s", text);
    else if (ok)
        ok = !strstr(text, "out of memory");
    cr_assert(!ok || !strcmp(text, whole), "GOT\n%s\nWANTED\n%s", text, whole);
    free(text);
    return ok;
}

Test(allocations_output, terminal)
{
    an_end.ledger = ledger;
    an_end.run = run;
    an_end.verdict = of_run;
    cr_assert(terminal_end(NULL));
    allocations_check("terminal", terminal, NULL, ALLOCATIONS_BORNE, 20);
    allocations_check("terminal (end)", terminal_end, NULL, ALLOCATIONS_BORNE, 100);
}

/* --- what is taken from the ledger --- */

static bool verdict(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_recorded r;
    struct pt_ledger *l = look();
    (void)arg;
    bool ok = allocations_told(pt_recorded_init(&r, l, run, &err), &err);
    cr_assert(!ok || pt_verdict_count_of(r.verdict, "error") == 2);
    pt_recorded_fini(&r);
    pt_ledger_close(l);
    return ok;
}

static bool failures(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = look();
    (void)arg;
    struct pt_json *all = pt_failures_load(l, 0, "/now", &err);
    bool ok = allocations_told(all ? 0 : -1, &err);
    const struct pt_json *ids = pt_json_first(all);
    cr_assert(!ok || (!strcmp(pt_json_name(ids), "/now") && pt_json_count(ids) == 2), "%zu",
              pt_json_count(ids));
    pt_json_destroy(all);
    pt_ledger_close(l);
    return ok;
}

/* A test for which there is no memory runs again, and others are still taken. */
static bool resume(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = look();
    (void)arg;
    struct pt_resume *r = pt_resume_load(l, run, &err);
    bool ok = r != NULL;
    cr_assert(ok || strstr(err.msg, "memory") || !strncmp(err.msg, "manifest: ", 10), "'%s'", err.msg);
    allocations_pause();
    struct pt_manifest *now = tree("b.py");
    allocations_resume();
    cr_assert(!r || (!strcmp(pt_resume_seed(r), "s") && !strcmp(pt_resume_host(r, 0), "h1")));
    ok = ok && allocations_told(pt_resume_tree(r, now, true, &err), &err);
    ok = ok && pt_resume_below(r, "") == 0;
    if (ok) {
        uint32_t taken = pt_resume_taken(r);
        ok = pt_resume_take(r, "d.py", "a.py::p", 0) == 0;
        cr_assert_eq(pt_resume_taken(r), taken + ok);
        cr_assert_eq(pt_resume_took(r, "a.py::p"), ok);
    }
    pt_resume_destroy(r);
    pt_ledger_close(l);
    pt_manifest_destroy(now);
    return ok;
}

/* What a host tells of a run whose master died; nothing is committed. */
static bool gather(void *arg)
{
    static const char json[] = REPORT("a.py::left", "passed", "");
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf report = {0}, died = {0};
    char text[] = "words";
    struct pt_death death = {.bundle = 1,
                             .attempt = 1,
                             .test = 4,
                             .file = PT_NONE,
                             .path = text,
                             .stack = text,
                             .output = text,
                             .phase = PT_PHASE_CALL,
                             .cause = PT_CAUSE_DIED};
    allocations_pause();
    struct pt_ledger *l = pt_ledger_open(lab_dir, NULL);
    pt_ledger_continue(l, run);
    pt_death_encode(&death, 1, &died);
    for (uint32_t i = 0; i < 4; i++) /* rank, bundle, attempt, test */
        pt_put_u32(&report, i == 3 ? 4 : 1);
    pt_put_u8(&report, 1);
    pt_put_bytes(&report, json, strlen(json));
    allocations_resume();
    struct pt_gather_from from = {.ledger = l, .run = run};
    struct pt_reader r = {.p = report.data, .left = report.len};
    struct pt_reader d = {.p = died.data + PT_FRAME_HEAD + 8, .left = died.len - PT_FRAME_HEAD - 8};
    int rc = *(bool *)arg ? pt_gather_death(&from, &d, &err) : pt_gather_report(&from, &r, &err);
    cr_assert(rc == 0 || err.msg[0]);
    cr_assert_eq(from.reports, rc == 0, "%s", err.msg);
    pt_buf_fini(&report);
    pt_buf_fini(&died);
    pt_ledger_close(l);
    return rc == 0;
}

static bool reruns(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    char one[] = "assert", two[] = "a|b";
    char *only[] = {one, two};
    (void)arg;
    struct pt_rerun *r = pt_rerun_create(2, only, 2, &err);
    bool ok = allocations_told(r ? 0 : -1, &err);
    pt_rerun_destroy(r);
    return ok;
}

static int see_run(void *arg, const struct pt_ledger_run *row, const uint32_t *counts)
{
    (void)counts;
    cr_assert(!strcmp(row->name, "r1") && !strcmp(row->argv, "[]"));
    ++*(int *)arg;
    return 0;
}

static bool reading(void *arg)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_run row;
    struct pt_buf kept = {0};
    int seen = 0;
    (void)arg;
    struct pt_ledger *l = pt_ledger_look(lab_dir, &err);
    bool ok = allocations_told(l ? 0 : -1, &err);
    ok = ok && allocations_told(pt_ledger_each_run(l, see_run, &seen, &err), &err);
    ok = ok && allocations_told(pt_ledger_get_run(l, run, &row, &err), &err);
    ok = ok && allocations_told(pt_ledger_get_tree(l, run, &kept, &err), &err);
    cr_assert(!ok || (seen == 1 && !strcmp(row.hash_seed, "7") && kept.len > 0));
    pt_buf_fini(&kept);
    pt_ledger_close(l);
    return ok;
}

Test(allocations_output, what_was_recorded)
{
    ALLOCATIONS_CHECK("ledger (reading)", reading, 10);
    allocations_check("recorded", verdict, NULL, ALLOCATIONS_BORNE,
                      100); /* what it counts for a rerun alone */
    ALLOCATIONS_CHECK("failures", failures, 30);
    ALLOCATIONS_CHECK("resume", resume, 25);
    ALLOCATIONS_CHECK("rerun", reruns, 1);
    allocations_check("gather_reports", gather, &(bool){false}, ALLOCATIONS_TOLD, 15);
    allocations_check("gather_reports (death)", gather, &(bool){true}, ALLOCATIONS_TOLD, 15);
}
