/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger_lab.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

TestSuite(ledger, .init = lab_make, .fini = lab_remove);

/* What an iteration saw, as text: "0:a.py::x=passed(json)+error() 1:a.py::y=none". */
struct seen {
    char text[4096];
    size_t tests, entries, reports;
};

static int see(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *reports, size_t n)
{
    struct seen *s = arg;
    size_t at = strlen(s->text);
    s->tests += test != NULL;
    s->entries += test == NULL;
    s->reports += n;
    if (at > 3000)
        return 0;
    if (test)
        at += (size_t)sprintf(s->text + at, "%s%u:%s=", at ? " " : "", test->number, test->nodeid);
    else
        at += (size_t)sprintf(s->text + at, "%s-=", at ? " " : "");
    if (!n)
        sprintf(s->text + at, "none");
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(s->text + at, "%s%s(%.*s)", i ? "+" : "", pt_outcome_name(reports[i].outcome),
                              (int)reports[i].json_len, reports[i].json ? (const char *)reports[i].json : "");
    return 0;
}

static struct seen look(struct pt_ledger *l, int64_t run, uint32_t outcomes)
{
    struct pt_err err = PT_ERR_INIT;
    struct seen s = {0};
    cr_assert_eq(pt_ledger_each_result(l, run, outcomes, see, &s, &err), 0, "%s", err.msg);
    return s;
}

Test(ledger, keeps_what_it_was_given)
{
    struct pt_ledger *l = lab_open();
    int64_t run = lab_begin(l, "r1");
    lab_test(l, 1, "a.py::y");
    lab_test(l, 0, "a.py::x");
    lab_test(l, 2, "b.py::z");
    lab_report(l, 1, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{1}");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{0}");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_NOT, false, "{again}");
    lab_report(l, PT_NONE, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, false, "{file}");
    cr_assert(pt_ledger_dirty(l));
    cr_assert_eq(pt_ledger_commit(l, NULL), 0);
    cr_assert_not(pt_ledger_dirty(l));
    pt_ledger_close(l);
    l = lab_open();
    cr_assert_str_eq(pt_ledger_note(l), "");
    cr_assert_str_eq(look(l, run, ~0u).text,
                     "-=error({file}) 0:a.py::x=passed({0}) 1:a.py::y=failed({1}) 2:b.py::z=none");
    cr_assert_str_eq(look(l, run, 1u << PT_OUTCOME_FAILED).text, "1:a.py::y=failed({1})");
    cr_assert_str_eq(look(l, run + 1, ~0u).text, "");
    pt_ledger_close(l);
}

static int check_report(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *r,
                        size_t n)
{
    (void)arg;
    cr_assert(n == 1 && test && test->occurrence == 0);
    cr_assert(r->test == 0 && r->attempt == 1 && r->host == 0 && r->worker == 2 && r->counted == 1);
    cr_assert(r->outcome == PT_OUTCOME_PASSED && r->phase == PT_PHASE_CALL);
    cr_assert(r->started == 1700000001.5 && r->duration == 0.5 && r->setup == 0.125 && r->call == 0.25);
    cr_assert(r->json_len == 3 && memcmp(r->json, "a\0b", 3) == 0);
    return 7;
}

Test(ledger, gives_back_every_column_and_the_callers_value)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, "a.py::x");
    lab_test(l, 1, "a.py::y");
    struct pt_ledger_report r = {.counted = 1,
                                 .attempt = 1,
                                 .worker = 2,
                                 .outcome = PT_OUTCOME_PASSED,
                                 .phase = PT_PHASE_CALL,
                                 .started = 1700000001.5,
                                 .duration = 0.5,
                                 .setup = 0.125,
                                 .call = 0.25,
                                 .teardown = -1,
                                 .json = "a\0b",
                                 .json_len = 3};
    cr_assert_eq(pt_ledger_add_report(l, &r, NULL), 0);
    cr_assert_eq(pt_ledger_each_result(l, 0, ~0u, check_report, NULL, NULL), 7);
    pt_ledger_close(l);
}

Test(ledger, the_graver_report_takes_the_place)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, "a.py::x");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{p}");
    lab_report(l, 0, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, true, "{more}");
    cr_assert_str_eq(look(l, 0, ~0u).text, "0:a.py::x=passed({p})+error({more})");
    cr_assert_str_eq(look(l, 0, 1u << PT_OUTCOME_ERROR).text, "0:a.py::x=passed({p})+error({more})");
    lab_report(l, 0, PT_OUTCOME_CRASHED, PT_COUNTED_INSTEAD, false, "{c}");
    cr_assert_str_eq(look(l, 0, ~0u).text, "0:a.py::x=crashed({c})+error({more})");
    pt_ledger_close(l);
}

Test(ledger, bytes_of_any_kind)
{
    static const char odd[] = "a.py::x[\xff\xc3 \x1b\n'\"%s]";
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, odd);
    char want[128];
    snprintf(want, sizeof(want), "0:%s=none", odd);
    cr_assert_str_eq(look(l, 0, ~0u).text, want);
    pt_ledger_close(l);
}

static int take_host(void *arg, const struct pt_ledger_host *h)
{
    struct pt_ledger_host *out = arg;
    cr_assert_str_eq(h->name, "h1");
    cr_assert_str_eq(h->state, "ready");
    *out = *h;
    return 0;
}

static int count_note(void *arg, uint32_t host, const void *json, size_t n)
{
    cr_assert(host == 3 && n == 2 && memcmp(json, "{}", 2) == 0);
    ++*(int *)arg;
    return 0;
}

Test(ledger, runs_hosts_attempts_and_notes)
{
    struct pt_ledger *l = lab_open();
    struct pt_ledger_run run;
    struct pt_ledger_host got;
    int notes = 0;
    int64_t id = lab_begin(l, "r1");
    struct pt_ledger_host host = {.name = "h1",
                                  .state = "connecting",
                                  .slots = 4,
                                  .bytes_sent = 5e9,
                                  .connect = 0.5,
                                  .sync = -1,
                                  .launch = -1,
                                  .tree = {.files_sent = 1,
                                           .bytes_raw = 2,
                                           .files_reused = 3,
                                           .bytes_reused = 4,
                                           .removed = 5,
                                           .rate = 6,
                                           .offer = 7.5,
                                           .send = -1,
                                           .finish = 9.5}};
    cr_assert_eq(pt_ledger_add_host(l, &host, NULL), 0);
    host.state = "ready";
    cr_assert_eq(pt_ledger_add_host(l, &host, NULL), 0);
    struct pt_ledger_attempt a = {.bundle = 1, .attempt = 1, .started = 5};
    cr_assert_eq(pt_ledger_add_attempt(l, &a, NULL), 0);
    a.ended = 6;
    a.end = "done";
    cr_assert_eq(pt_ledger_add_attempt(l, &a, NULL), 0);
    cr_assert_eq(pt_ledger_add_note(l, 3, "warning", "{}", 2, NULL), 0);
    cr_assert_eq(pt_ledger_add_note(l, 3, "suite", "{}", 2, NULL), 0);
    cr_assert_eq(pt_ledger_each_host(l, id, take_host, &got, NULL), 0);
    cr_assert(got.slots == 4 && got.bytes_sent == 5000000000u && got.connect == 0.5 && got.sync < 0);
    cr_assert(got.tree.files_sent == 1 && got.tree.bytes_raw == 2 && got.tree.files_reused == 3);
    cr_assert(got.tree.bytes_reused == 4 && got.tree.removed == 5 && got.tree.rate == 6);
    cr_assert(got.tree.offer == 7.5 && got.tree.send < 0 && got.tree.finish == 9.5);
    cr_assert_eq(pt_ledger_each_note(l, id, "warning", count_note, &notes, NULL), 0);
    cr_assert_eq(notes, 1);
    cr_assert_eq(pt_ledger_get_run(l, id, &run, NULL), 0);
    cr_assert(strcmp(run.name, "r1") == 0 && run.started == 1700000000.25 && run.finished == 0);
    cr_assert_eq(pt_ledger_finish_run(l, 1700000009.5, 6, PT_OUTCOME_LOST, NULL), 0);
    cr_assert_eq(pt_ledger_get_run(l, 0, &run, NULL), 0);
    cr_assert(run.finished == 1700000009.5 && run.exitcode == 6);
    cr_assert_eq(pt_ledger_get_run(l, 99, &run, NULL), 1);
    pt_ledger_close(l);
}

Test(ledger, finishing_tells_what_is_missing)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, "a.py::x");
    lab_test(l, 1, "a.py::y");
    lab_test(l, 2, "b.py::z");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    lab_report(l, 1, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{}");
    lab_report(l, 1, PT_OUTCOME_FAILED, PT_COUNTED_NOT, false, "{}");
    cr_assert_eq(pt_ledger_finish_run(l, 5, 1, PT_OUTCOME_NOTRUN, NULL), 0);
    cr_assert_str_eq(look(l, 0, ~0u).text, "0:a.py::x=passed({}) 1:a.py::y=failed({}) 2:b.py::z=notrun()");
    pt_ledger_close(l);
}

/* Earlier tries come first, then what counts, then what came on top of that. */
Test(ledger, a_rerun_takes_the_place_and_the_try_is_kept)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    lab_test(l, 0, "a.py::x");
    lab_test(l, 1, "a.py::y");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{1}");
    lab_report(l, 0, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, true, "{1+}");
    lab_report(l, 1, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{y}");
    cr_assert_eq(pt_ledger_rerun(l, 0, NULL), 0);
    cr_assert_str_eq(look(l, 0, ~0u).text, "0:a.py::x=failed({1})+error({1+}) 1:a.py::y=failed({y})");
    cr_assert_str_eq(look(l, 0, 1u << PT_OUTCOME_FAILED).text, "1:a.py::y=failed({y})");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_FIRST, false, "{2}");
    cr_assert_eq(pt_ledger_rerun(l, 0, NULL), 0);
    lab_report(l, 0, PT_OUTCOME_ERROR, PT_COUNTED_FIRST, true, "{3+}");
    lab_report(l, 0, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{3}");
    lab_report(l, 0, PT_OUTCOME_FAILED, PT_COUNTED_NOT, false, "{late}");
    cr_assert_str_eq(look(l, 0, 1u << PT_OUTCOME_PASSED).text,
                     "0:a.py::x=failed({1})+error({1+})+failed({2})+passed({3})+error({3+})");
    cr_assert_eq(pt_ledger_rerun(l, 1, NULL), 0);
    cr_assert_eq(pt_ledger_finish_run(l, 5, 1, PT_OUTCOME_NOTRUN, NULL), 0);
    cr_assert_str_eq(look(l, 0, 1u << PT_OUTCOME_NOTRUN).text, "1:a.py::y=failed({y})+notrun()");
    pt_ledger_close(l);
}

static int check_tries(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *r,
                       size_t n)
{
    (void)test, (void)arg;
    cr_assert_eq(n, 2);
    cr_assert(r[0].rerun && r[0].counted == 0 && r[0].bundle == PT_NONE && r[0].try_ == 1);
    cr_assert(!r[1].rerun && r[1].counted == 1 && r[1].bundle == 9 && r[1].try_ == 2);
    return 0;
}

Test(ledger, bundle_try_and_how)
{
    struct pt_ledger *l = lab_open();
    struct pt_ledger_run run = {.name = "r1", .hash_seed = "7", .how = "{\"dist\":\"file\"}"};
    cr_assert_eq(pt_ledger_begin_run(l, &run, NULL), 0);
    cr_assert_eq(pt_ledger_run_id(l), run.id);
    lab_test(l, 0, "a.py::x");
    struct pt_ledger_report r = {.counted = 1, .bundle = PT_NONE, .outcome = PT_OUTCOME_FAILED};
    cr_assert_eq(pt_ledger_add_report(l, &r, NULL), 0);
    cr_assert_eq(pt_ledger_rerun(l, 0, NULL), 0);
    r.bundle = 9;
    r.try_ = 2;
    cr_assert_eq(pt_ledger_add_report(l, &r, NULL), 0);
    cr_assert_eq(pt_ledger_each_result(l, 0, ~0u, check_tries, NULL, NULL), 0);
    cr_assert_eq(pt_ledger_get_run(l, 0, &run, NULL), 0);
    cr_assert_str_eq(run.how, "{\"dist\":\"file\"}");
    run.how = NULL;
    run.name = "r2";
    cr_assert_eq(pt_ledger_begin_run(l, &run, NULL), 0);
    cr_assert_eq(pt_ledger_get_run(l, 0, &run, NULL), 0);
    cr_assert_null(run.how);
    pt_ledger_close(l);
}

Test(ledger, a_run_needs_a_name_of_its_own)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger *l = lab_open();
    struct pt_ledger_run run = {.name = "r1"};
    lab_begin(l, "r1");
    cr_assert_eq(pt_ledger_begin_run(l, &run, &err), -1);
    cr_assert_not_null(strstr(err.msg, "UNIQUE"), "%s", err.msg);
    pt_ledger_close(l);
}

Test(ledger, the_folder_is_private_and_ignored_by_git)
{
    struct stat st;
    char text[8] = "";
    snprintf(lab_dir + strlen(lab_dir), 8, "/state");
    struct pt_ledger *l = lab_open();
    cr_assert(stat(lab_dir, &st) == 0 && (st.st_mode & 0777) == 0700);
    FILE *f = fopen(lab_path(".gitignore"), "r");
    cr_assert_not_null(fgets(text, sizeof(text), f));
    cr_assert_str_eq(text, "*\n");
    fclose(f);
    pt_ledger_close(l);
    lab_remove();
    *strrchr(lab_dir, '/') = '\0';
}

/* --- what is committed survives --- */

static void fill_until_killed(int fd)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    for (uint32_t i = 0; i < 200; i++)
        lab_test(l, i, "a.py::x");
    for (uint32_t i = 0; i < 100; i++)
        lab_report(l, i, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    if (pt_ledger_commit(l, NULL) < 0)
        _exit(1);
    for (uint32_t i = 100; i < 150; i++)
        lab_report(l, i, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    if (write(fd, "x", 1) != 1)
        _exit(1);
    pause();
    _exit(1);
}

Test(ledger, kill_9_between_insert_and_commit)
{
    int fds[2];
    char c;
    int status;
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0)
        fill_until_killed(fds[1]);
    close(fds[1]);
    cr_assert_eq(read(fds[0], &c, 1), 1);
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status));
    struct pt_ledger *l = lab_open();
    cr_assert_str_eq(pt_ledger_note(l), "", "a killed master is no damage");
    struct seen s = look(l, 1, ~0u);
    cr_assert_eq(s.tests, 200);
    cr_assert_eq(s.reports, 100);
    int64_t next = lab_begin(l, "r2");
    cr_assert_eq(look(l, next, ~0u).tests, 0);
    pt_ledger_close(l);
    close(fds[0]);
}

Test(ledger, twenty_thousand_reports)
{
    struct pt_ledger *l = lab_open();
    char nodeid[64];
    char json[600];
    memset(json, 'x', sizeof(json) - 1);
    json[sizeof(json) - 1] = '\0';
    lab_begin(l, "r1");
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(nodeid, sizeof(nodeid), "tests/t%u.py::test_%u", i / 100, i);
        lab_test(l, i, nodeid);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        lab_report(l, 19999 - i, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, json);
        if (i % 200 == 0)
            cr_assert_eq(pt_ledger_commit(l, NULL), 0);
    }
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    struct seen s = look(l, 0, ~0u);
    cr_assert(s.tests == 20000 && s.reports == 20000);
    cr_assert_eq(look(l, 0, 1u << PT_OUTCOME_FAILED).tests, 0);
    pt_ledger_close(l);
}

Test(ledger, two_runs_at_once)
{
    pid_t pids[4];
    int status;
    for (int i = 0; i < 4; i++) {
        if ((pids[i] = fork()) == 0) {
            char name[16];
            struct pt_ledger *l = lab_open();
            snprintf(name, sizeof(name), "r%d", i);
            int64_t id = lab_begin(l, name);
            for (uint32_t k = 0; k < 100; k++) {
                lab_test(l, k, "a.py::x");
                lab_report(l, k, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
                if (pt_ledger_commit(l, NULL) < 0)
                    _exit(1);
            }
            bool ok = look(l, id, ~0u).reports == 100 && !*pt_ledger_note(l);
            pt_ledger_close(l);
            _exit(ok ? 0 : 1);
        }
    }
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_assert_eq(status, 0, "process %d", i);
    }
}

/* --- what goes wrong --- */

Test(ledger, after_a_failed_write_nothing_counts_as_stored)
{
    pid_t pid = fork();
    int status;
    if (pid == 0) {
        struct pt_ledger *l = lab_open();
        struct pt_err err = PT_ERR_INIT;
        char json[4096];
        memset(json, 'x', sizeof(json));
        lab_begin(l, "r1");
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){200 << 10, 200 << 10}); /* the disk is full from here on */
        struct pt_ledger_report r = {.counted = 1, .outcome = 1, .json = json, .json_len = sizeof(json)};
        int rc = 0;
        for (int i = 0; i < 1000 && rc == 0; i++)
            rc = pt_ledger_add_report(l, &r, &err) < 0 || pt_ledger_commit(l, &err) < 0;
        bool ok = rc && err.kind == PT_ERR_INFRA && strstr(err.msg, "ledger.sqlite");
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
        ok = ok && pt_ledger_add_report(l, &r, &err) < 0 && pt_ledger_commit(l, &err) < 0;
        pt_ledger_close(l);
        _exit(ok ? 0 : 1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0);
}

Test(ledger, a_folder_that_cannot_be_made)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(pt_ledger_open("/proc/nowhere", &err));
    cr_assert_not_null(strstr(err.msg, "/proc/nowhere"), "%s", err.msg);
    cr_assert_null(pt_ledger_open("/dev/null", &err));
}

static void fill_some(void)
{
    struct pt_ledger *l = lab_open();
    char nodeid[64];
    lab_begin(l, "r1");
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(nodeid, sizeof(nodeid), "a.py::test_%u", i);
        lab_test(l, i, nodeid);
        lab_report(l, i, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{\"some\":\"json\"}");
    }
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, NULL), 0);
    pt_ledger_close(l);
}

static void overwrite(off_t at, const void *bytes, size_t n)
{
    int fd = open(lab_path("ledger.sqlite"), O_WRONLY);
    cr_assert_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
    close(fd);
}

/* A whole run on whatever is in the folder. */
static void use(const char *name)
{
    struct pt_ledger *l = lab_open();
    char nodeid[64];
    int64_t id = lab_begin(l, name);
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(nodeid, sizeof(nodeid), "a.py::test_%u", i);
        lab_test(l, i, nodeid);
        lab_report(l, i, PT_OUTCOME_PASSED, PT_COUNTED_FIRST, false, "{}");
    }
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_ledger_finish_run(l, 5, 0, PT_OUTCOME_NOTRUN, &err), 0, "%s", err.msg);
    cr_assert_eq(look(l, id, ~0u).reports, 300);
    pt_ledger_close(l);
}

Test(ledger, a_file_that_is_no_database_is_set_aside)
{
    char text[8192];
    memset(text, 'z', sizeof(text));
    fill_some();
    overwrite(0, text, sizeof(text));
    struct pt_ledger *l = lab_open();
    cr_assert_not_null(strstr(pt_ledger_note(l), "was damaged: set aside as"), "%s", pt_ledger_note(l));
    cr_assert_eq(lab_aside(""), 1);
    cr_assert_eq(look(l, 1, ~0u).tests, 0);
    pt_ledger_close(l);
    overwrite(0, text, sizeof(text));
    use("r2");
    cr_assert_eq(lab_aside(""), 2);
}

Test(ledger, another_programs_database_is_set_aside)
{
    fill_some();
    lab_alter("DROP TABLE reports");
    use("r2");
    cr_assert_eq(lab_aside(""), 1);
}

Test(ledger, a_newer_layout_is_refused)
{
    struct pt_err err = PT_ERR_INIT;
    fill_some();
    overwrite(60, "\0\0\0\7", 4); /* user_version in the file's head */
    cr_assert_null(pt_ledger_open(lab_dir, &err));
    cr_assert_not_null(strstr(err.msg, "newer ptremote"), "%s", err.msg);
    cr_assert_not_null(strstr(err.hint, "--state-dir"), "%s", err.hint);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_eq(lab_aside(""), 0, "nothing is thrown away");
}

/* Whatever page was hit, a run goes through: the damage is found when the run begins. */
Test(ledger, damage_anywhere_does_not_stop_a_run)
{
    char page[4096];
    struct stat st;
    memset(page, 0xa5, sizeof(page));
    fill_some();
    cr_assert_eq(stat(lab_path("ledger.sqlite"), &st), 0);
    long pages = st.st_size / 4096;
    cr_assert_gt(pages, 8);
    int found = 0;
    for (long i = 0; i < pages; i++) {
        lab_remove();
        lab_make();
        fill_some();
        overwrite(i * 4096, page, sizeof(page));
        use("r2");
        found += lab_aside("") == 1;
    }
    cr_assert_gt(found, pages / 3);
}

Test(ledger, every_truncation_of_the_file)
{
    struct stat st;
    fill_some();
    cr_assert_eq(stat(lab_path("ledger.sqlite"), &st), 0);
    for (long i = 0; i < st.st_size; i += 4096 + 333) {
        lab_remove();
        lab_make();
        fill_some();
        cr_assert_eq(truncate(lab_path("ledger.sqlite"), i), 0);
        use("r2");
    }
}

Test(ledger, a_folder_that_cannot_be_written_is_told)
{
    if (geteuid() == 0) {
        lab_remove(); /* nobody tears down what is skipped */
        cr_skip_test("root writes anywhere");
    }
    struct pt_err err = PT_ERR_INIT;
    fill_some();
    chmod(lab_path("ledger.sqlite"), 0400);
    cr_assert_null(pt_ledger_open(lab_dir, &err));
}
