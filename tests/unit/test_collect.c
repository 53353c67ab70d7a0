/* SPDX-License-Identifier: Apache-2.0 */
/* The real collector, on small suites in folders of their own. */
#include "collect.h"
#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "json.h"
#include "remove_tree.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DEADLINE_MS 60000

enum act { NOTHING, DESTROY };

struct lab {
    struct pt_loop *loop;
    struct pt_collect *collect;
    struct pt_options opts;
    struct pt_collect_spec spec;
    struct pt_buf told; /* "what[:path];" of every line */
    int sessions, finals, fails, crashes, ends;
    size_t files, tests;
    char crashed[256], output[8192], text[8192];
    uint32_t status;
    struct pt_err err;
    enum act on_crashed;
    const char *until; /* DESTROY at the first line of that kind */
};

static char top[64], package[PATH_MAX];

static void setup(void)
{
    char name[] = "/tmp/pt-collect-XXXXXX";
    const char *source = getenv("PTREMOTE_SOURCE"), *at = strstr(__FILE__, "/tests/unit/");
    cr_assert_not_null(mkdtemp(name));
    snprintf(top, sizeof(top), "%s", name);
    cr_assert_eq(chdir(top), 0);
    cr_assert(source || at);
    if (source)
        snprintf(package, sizeof(package), "%s/remote/python", source);
    else
        snprintf(package, sizeof(package), "%.*s/remote/python", (int)(at - __FILE__), __FILE__);
    unsetenv("PYTEST_ADDOPTS");
    setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
}

static void teardown(void)
{
    cr_assert_eq(chdir("/"), 0);
    remove_tree(top);
}

TestSuite(collect, .init = setup, .fini = teardown, .timeout = 100);

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

static void append(struct pt_buf *b, const char *s)
{
    pt_buf_append(b, s, strlen(s));
}

static void on_line(void *arg, const char *what, const struct pt_json *o)
{
    struct lab *lab = arg;
    cr_assert_eq(lab->ends, 0, "nothing comes after the end");
    const char *path = pt_json_text(pt_json_get(o, "path")), *text = pt_json_text(pt_json_get(o, "text"));
    lab->sessions += strcmp(what, "session") == 0;
    lab->finals += strcmp(what, "final") == 0;
    lab->fails += strcmp(what, "fail") == 0;
    if (strcmp(what, "file") == 0) {
        lab->files++;
        lab->tests += pt_json_count(pt_json_get(o, "tests"));
    }
    if (strcmp(what, "fail") == 0)
        snprintf(lab->text, sizeof(lab->text), "%s", text ? text : "");
    append(&lab->told, what);
    append(&lab->told, path ? ":" : "");
    append(&lab->told, path ? path : "");
    append(&lab->told, ";");
    if (lab->until && strcmp(lab->until, what) == 0) {
        pt_collect_destroy(lab->collect);
        lab->collect = NULL;
    }
}

static void on_crashed(void *arg, const char *path, uint32_t status, const char *output)
{
    struct lab *lab = arg;
    lab->crashes++;
    lab->status = status;
    snprintf(lab->crashed, sizeof(lab->crashed), "%s", path);
    snprintf(lab->output, sizeof(lab->output), "%s", output);
    if (lab->on_crashed == DESTROY) {
        pt_collect_destroy(lab->collect);
        lab->collect = NULL;
    }
}

static void on_ended(void *arg, const struct pt_err *err)
{
    struct lab *lab = arg;
    lab->ends++;
    lab->err = *err;
}

static const struct pt_collect_callbacks callbacks = {
    .line = on_line, .crashed = on_crashed, .ended = on_ended};

static struct lab *lab_create(void)
{
    struct lab *lab = calloc(1, sizeof(*lab));
    lab->loop = pt_loop_create(NULL);
    lab->opts.python = strdup("/usr/bin/python3");
    lab->spec =
        (struct pt_collect_spec){.opts = &lab->opts, .project = top, .package = package, .hash_seed = "0"};
    return lab;
}

static void start(struct lab *lab)
{
    lab->collect = pt_collect_create(lab->loop, &lab->spec, &callbacks, lab, &lab->err);
    cr_assert_not_null(lab->collect, "%s", lab->err.msg);
}

#define RUN_UNTIL(lab, cond)                                                                                 \
    do {                                                                                                     \
        int64_t until_ms = pt_now_ms() + DEADLINE_MS;                                                        \
        while (!(cond) && pt_now_ms() < until_ms)                                                            \
            cr_assert_eq(pt_loop_step((lab)->loop, 100), 0);                                                 \
        cr_assert(cond);                                                                                     \
    } while (0)

static void run(struct lab *lab)
{
    start(lab);
    RUN_UNTIL(lab, lab->ends > 0);
    pt_buf_append(&lab->told, "", 1);
}

static void lab_destroy(struct lab *lab)
{
    pt_collect_destroy(lab->collect);
    pt_loop_destroy(lab->loop);
    pt_options_fini(&lab->opts);
    pt_buf_fini(&lab->told);
    free(lab);
    cr_expect(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "a child was left");
}

static size_t count(const struct lab *lab, const char *word)
{
    size_t n = 0;
    for (const char *p = (const char *)lab->told.data; (p = strstr(p, word)); p += strlen(word))
        n++;
    return n;
}

static void ended_well(const struct lab *lab)
{
    cr_expect(lab->ends == 1 && !lab->err.msg[0], "%s", lab->err.msg);
    cr_expect_eq(lab->sessions, 1);
    cr_expect_eq(lab->finals, 1);
    cr_expect_eq(lab->fails, 0, "%s", lab->text);
}

/* A process that was there is gone: killed, though perhaps not yet waited for by whoever inherited it. */
static bool is_gone(pid_t pid)
{
    char path[64], state = 'Z', line[512] = "";
    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return true;
    if (fgets(line, sizeof(line), f) && strrchr(line, ')'))
        state = strrchr(line, ')')[2];
    fclose(f);
    return state == 'Z' || state == 'X';
}

/* The number that a test suite wrote to a file. */
static pid_t read_pid(const char *name)
{
    long pid = 0;
    FILE *f = fopen(name, "r");
    if (f) {
        if (fscanf(f, "%ld;", &pid) != 1)
            pid = 0;
        fclose(f);
    }
    return (pid_t)pid;
}

Test(collect, a_suite_is_told_file_by_file)
{
    struct lab *lab = lab_create();
    write_file("test_a.py", "def test_1(): pass\ndef test_2(): pass\n");
    write_file("test_b.py", "import pytest\n@pytest.mark.parametrize('x', [1, 2, 3])\ndef test_p(x): pass\n");
    write_file("test_none.py", "x = 1\n");
    run(lab);
    ended_well(lab);
    cr_expect_str_eq((char *)lab->told.data, "session;file:test_a.py;file:test_b.py;final;");
    cr_expect_eq(lab->tests, 5);
    cr_expect_eq(lab->crashes, 0);
    lab_destroy(lab);
}

Test(collect, what_was_asked_for_reaches_pytest)
{
    struct lab *lab = lab_create();
    char *paths[] = {(char *)"test_a.py", NULL},
         *args[] = {(char *)"--deselect", (char *)"test_a.py::test_3", NULL};
    struct pt_words none = {0};
    write_file("test_a.py", "def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass\n");
    write_file("test_b.py", "def test_1(): pass\n");
    lab->opts.paths = (struct pt_words){.item = paths, .n = 1};
    lab->opts.pytest_args = (struct pt_words){.item = args, .n = 2};
    lab->opts.keyword = strdup("not test_1");
    run(lab);
    ended_well(lab);
    cr_expect_eq(lab->tests, 1);
    lab->opts.paths = lab->opts.pytest_args = none;
    lab_destroy(lab);
}

Test(collect, an_empty_suite_ends_well)
{
    struct lab *lab = lab_create();
    run(lab);
    cr_expect(lab->ends == 1 && !lab->err.msg[0], "%s", lab->err.msg);
    cr_expect_eq(lab->files, 0);
    cr_expect_eq(lab->finals, 1);
    lab_destroy(lab);
}

Test(collect, a_usage_error_is_told_in_pytests_words)
{
    struct lab *lab = lab_create();
    char *args[] = {(char *)"--no-such-option", NULL};
    struct pt_words none = {0};
    lab->opts.pytest_args = (struct pt_words){.item = args, .n = 1};
    run(lab);
    cr_expect(lab->ends == 1 && !lab->err.msg[0], "%s", lab->err.msg);
    cr_expect_eq(lab->fails, 1);
    cr_expect_not_null(strstr(lab->text, "--no-such-option"), "%s", lab->text);
    lab->opts.pytest_args = none;
    lab_destroy(lab);
}

/* conftest.py writes down where Open MPI would have its folder, whether that is there, and fills it. */
static const char notes_folder[] = "import os\n"
                                   "place = os.environ.get('OMPI_MCA_orte_tmpdir_base', '')\n"
                                   "with open('place', 'a') as f:\n"
                                   "    print(place, os.path.isdir(place), file=f)\n"
                                   "if os.path.isdir(place):\n"
                                   "    os.makedirs(place + '/ompi.here.0/pid.1')\n";

/* The folders that are noted, each there while its collector ran, and not now. */
static size_t folders_that_were(void)
{
    char place[PATH_MAX], there[8], last[PATH_MAX] = "";
    size_t n = 0;
    FILE *f = fopen("place", "r");
    while (f && fscanf(f, "%4095s %7s", place, there) == 2) {
        cr_expect_str_eq(there, "True");
        cr_expect(access(place, F_OK) < 0 && errno == ENOENT, "%s was left", place);
        cr_expect_str_neq(place, last);
        snprintf(last, sizeof(last), "%s", place);
        n++;
    }
    if (f)
        fclose(f);
    return n;
}

Test(collect, each_collector_has_a_folder_of_its_own_for_open_mpi)
{
    struct lab *lab = lab_create();
    write_file("conftest.py", notes_folder);
    write_file("test_a.py", "import os\nos.abort()\n");
    write_file("test_b.py", "def test_1(): pass\n");
    run(lab);
    ended_well(lab);
    cr_expect_eq(lab->crashes, 1);
    cr_expect_eq(folders_that_were(), 2);
    lab_destroy(lab);
}

Test(collect, one_that_is_not_wanted_any_more_leaves_no_folder)
{
    struct lab *lab = lab_create();
    write_file("conftest.py", notes_folder);
    write_file("test_a.py", "import time\ntime.sleep(600)\n");
    lab->until = "session";
    start(lab);
    RUN_UNTIL(lab, !lab->collect);
    cr_expect_eq(folders_that_were(), 1);
    lab_destroy(lab);
}

Test(collect, a_folder_that_the_user_chose_stays)
{
    struct lab *lab = lab_create();
    char mine[128];
    snprintf(mine, sizeof(mine), "%s/mine", top);
    cr_assert_eq(mkdir(mine, 0700), 0);
    setenv("OMPI_MCA_orte_tmpdir_base", mine, 1);
    write_file("conftest.py", notes_folder);
    run(lab);
    unsetenv("OMPI_MCA_orte_tmpdir_base");
    cr_expect_eq(access("mine/ompi.here.0/pid.1", F_OK), 0);
    lab_destroy(lab);
}

Test(collect, a_conftest_that_ends_it_without_a_word)
{
    struct lab *lab = lab_create();
    write_file("conftest.py", "import os\nos.write(2, b'captured')\nos._exit(1)\n");
    run(lab);
    cr_expect_eq(lab->ends, 1);
    cr_expect_not_null(strstr(lab->err.msg, "the collector ended with status 1: it said nothing"), "%s",
                       lab->err.msg);
    cr_expect_not_null(strstr(lab->err.hint, "--collect-only -s"), "%s", lab->err.hint);
    lab_destroy(lab);
}

static void crashing_suite(void)
{
    write_file("test_a.py", "import warnings\nwarnings.warn('from a')\ndef test_1(): pass\n");
    write_file("test_b.py", "raise RuntimeError('broken')\n");
    write_file("test_c.py", "import os\nos.abort()\n");
    write_file("test_d.py", "import warnings\nwarnings.warn('from d')\ndef test_1(): pass\n");
    write_file("test_e.py", "import pytest\npytest.skip('no', allow_module_level=True)\n");
}

static void crash_told_once(struct lab *lab)
{
    ended_well(lab);
    cr_expect_eq(lab->crashes, 1);
    cr_expect_str_eq(lab->crashed, "test_c.py");
    cr_expect(WIFSIGNALED(lab->status) && WTERMSIG(lab->status) == SIGABRT);
    cr_expect_not_null(strstr(lab->output, "Fatal Python error"), "%s", lab->output);
    cr_expect_eq(count(lab, "file:test_a.py;"), 1);
    cr_expect_eq(count(lab, "file:test_c.py;"), 0);
    cr_expect_eq(count(lab, "file:test_d.py;"), 1);
    cr_expect_eq(count(lab, "report;"), 2, "%s", (char *)lab->told.data);
    cr_expect_eq(count(lab, "warning;"), 2, "%s", (char *)lab->told.data);
    cr_expect_eq(strncmp((char *)lab->told.data, "session;", 8), 0);
}

Test(collect, a_file_that_dies_is_told_once_and_the_rest_goes_on)
{
    struct lab *lab = lab_create();
    crashing_suite();
    run(lab);
    crash_told_once(lab);
    lab_destroy(lab);
}

/* Where nothing is told before the end, the first collector dies without a session line. */
Test(collect, so_it_is_when_files_are_told_at_the_end)
{
    struct lab *lab = lab_create();
    crashing_suite();
    lab->opts.strict_collection = true;
    run(lab);
    crash_told_once(lab);
    lab_destroy(lab);
}

Test(collect, every_file_may_die)
{
    static const char *const deaths[] = {"os._exit(0)", "os._exit(97)", "os.abort()",
                                         "os.kill(os.getpid(), 11)"};
    struct lab *lab = lab_create();
    for (size_t i = 0; i < PT_COUNT(deaths); i++) {
        char name[32], text[64];
        snprintf(name, sizeof(name), "test_%zu.py", i);
        snprintf(text, sizeof(text), "import os\n%s\n", deaths[i]);
        write_file(name, text);
    }
    write_file("test_z.py", "def test_1(): pass\n");
    run(lab);
    ended_well(lab);
    cr_expect_eq(lab->crashes, (int)PT_COUNT(deaths));
    cr_expect_eq(lab->files, 1);
    lab_destroy(lab);
}

/* A path in two places of the command line is two lines: none of them may be lost or told twice. */
Test(collect, a_path_that_comes_again_survives_a_crash)
{
    struct lab *lab = lab_create();
    char *paths[] = {(char *)"test_a.py::test_1", (char *)"test_b.py",         (char *)"test_c.py",
                     (char *)"test_a.py::test_2", (char *)"test_a.py::test_3", NULL};
    struct pt_words none = {0};
    write_file("test_a.py", "def test_1(): pass\ndef test_2(): pass\ndef test_3(): pass\n");
    write_file("test_b.py", "def test_1(): pass\n");
    write_file("test_c.py", "import os\nos._exit(1)\n");
    lab->opts.paths = (struct pt_words){.item = paths, .n = 5};
    lab->opts.stream_collection = true;
    run(lab);
    ended_well(lab);
    cr_expect_eq(lab->tests, 4, "%s", (char *)lab->told.data);
    cr_expect_eq(lab->crashes, 1);
    lab->opts.paths = none;
    lab_destroy(lab);
}

/* When it is not the files, they are not all blamed one after the other. */
Test(collect, what_always_dies_is_given_up)
{
    struct lab *lab = lab_create();
    char name[32];
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "test_%02d.py", i);
        write_file(name, "def test_1(): pass\n");
    }
    mkdir("z", 0700);
    write_file("z/conftest.py", "import os\nos._exit(7)\n");
    write_file("z/test_z.py", "def test_1(): pass\n");
    run(lab);
    cr_expect_eq(lab->ends, 1);
    cr_expect_not_null(strstr(lab->err.msg, "status 7"), "%s", lab->err.msg);
    cr_expect_leq(lab->crashes, 4);
    lab_destroy(lab);
}

/* A Python of our own making, first in the list. */
static void fake_python(struct lab *lab, const char *script)
{
    char path[128];
    write_file("fake-python", script);
    cr_assert_eq(chmod("fake-python", 0700), 0);
    snprintf(path, sizeof(path), "%s/fake-python", top);
    free(lab->opts.python);
    lab->opts.python = strdup(path);
}

Test(collect, dying_before_any_file_is_an_error_with_its_last_words)
{
    struct lab *lab = lab_create();
    fake_python(lab, "#!/bin/sh\necho one\necho the very last >&2\necho\nexit 5\n");
    run(lab);
    cr_expect(lab->ends == 1 && lab->crashes == 0);
    cr_expect_eq(lab->err.kind, PT_ERR_USAGE);
    cr_expect(strstr(lab->err.msg, "status 5") && strstr(lab->err.msg, "the very last"), "%s", lab->err.msg);
    lab_destroy(lab);
}

static void only_good_pythons(void)
{
    mkdir("bin", 0700);
    cr_assert_eq(symlink("/usr/bin/python3", "bin/python3"), 0);
    char path[256];
    snprintf(path, sizeof(path), "%s/bin:/usr/bin:/bin", top);
    setenv("PATH", path, 1);
}

static void next_one_is_taken(const char *script)
{
    struct lab *lab = lab_create();
    only_good_pythons();
    write_file("test_a.py", "def test_1(): pass\n");
    if (script) {
        fake_python(lab, script);
    } else {
        free(lab->opts.python);
        lab->opts.python = strdup("/nonexistent/python3");
    }
    run(lab);
    ended_well(lab);
    cr_expect_eq(lab->tests, 1);
    lab_destroy(lab);
}

Test(collect, a_python_without_pytest_is_passed_over)
{
    next_one_is_taken("#!/bin/sh\nexec /usr/bin/python3 -I -S \"$@\"\n");
}

Test(collect, a_python_that_is_not_there_is_passed_over)
{
    next_one_is_taken(NULL);
}

Test(collect, a_python_that_cannot_be_started_is_passed_over)
{
    next_one_is_taken("#!/nonexistent/interpreter\n");
}

static void garbage(const char *words, const char *want)
{
    struct lab *lab = lab_create();
    char script[512];
    snprintf(script, sizeof(script),
             "#!/usr/bin/python3\nimport json, os, sys, time\n"
             "out = json.loads(os.read(int(sys.argv[-1]), 65536))['out_fd']\n"
             "open('pid', 'w').write('%%d;' %% os.getpid())\n"
             "os.write(out, %s)\ntime.sleep(600)\n",
             words);
    fake_python(lab, script);
    run(lab);
    cr_expect_eq(lab->ends, 1);
    cr_expect_not_null(strstr(lab->err.msg, want), "%s", lab->err.msg);
    cr_expect(is_gone(read_pid("pid")), "what talks nonsense is ended");
    for (int i = 0; i < 5; i++)
        pt_loop_step(lab->loop, 1);
    cr_expect_eq(lab->ends, 1);
    lab_destroy(lab);
}

Test(collect, a_collector_that_talks_nonsense_is_ended)
{
    garbage("b'garbage\\n'", "strange");
    garbage("b'\\xff\\x00\\n'", "strange");
    garbage("b'{}\\n'", "without its kind");
    garbage("b'[1, 2]\\n'", "without its kind");
    garbage("b'{\"t\": 7}\\n'", "without its kind");
    garbage("b'[' * 4000 + b'\\n'", "strange");
}

Test(collect, unknown_and_empty_lines_are_no_trouble)
{
    struct lab *lab = lab_create();
    fake_python(lab, "#!/usr/bin/python3\nimport json, os, sys\n"
                     "out = json.loads(os.read(int(sys.argv[-1]), 65536))['out_fd']\n"
                     "for c in b'\\n\\n{\"t\": \"new\"}\\n{\"t\": \"final\"}\\n{\"t\": \"late\"}\\n':\n"
                     "    os.write(out, bytes([c]))\n");
    run(lab);
    cr_expect(lab->ends == 1 && !lab->err.msg[0], "%s", lab->err.msg);
    cr_expect_str_eq((char *)lab->told.data, "new;final;");
    lab_destroy(lab);
}

Test(collect, half_a_line_is_no_line)
{
    struct lab *lab = lab_create();
    fake_python(lab, "#!/usr/bin/python3\nimport json, os, sys\n"
                     "out = json.loads(os.read(int(sys.argv[-1]), 65536))['out_fd']\n"
                     "os.write(out, b'{\"t\": \"final\"}')\n");
    run(lab);
    cr_expect_eq(lab->ends, 1);
    cr_expect_eq(lab->finals, 0);
    cr_expect_str_neq(lab->err.msg, "");
    lab_destroy(lab);
}

/* Whoever got the collector's pipe by a fork is not waited for, and does not stay. */
Test(collect, a_process_that_a_file_left_behind_holds_nothing_up)
{
    struct lab *lab = lab_create();
    write_file("test_a.py", "import os, time\n"
                            "pid = os.fork()\n"
                            "if pid == 0:\n"
                            "    time.sleep(600)\n"
                            "    os._exit(0)\n"
                            "open('pid', 'w').write('%d;' % pid)\n"
                            "def test_1(): pass\n");
    run(lab);
    ended_well(lab);
    cr_expect_eq(lab->tests, 1);
    pid_t pid = read_pid("pid");
    cr_assert_gt(pid, 0);
    RUN_UNTIL(lab, is_gone(pid));
    lab_destroy(lab);
}

Test(collect, a_collector_without_its_pipe_does_not_stop_the_loop)
{
    struct lab *lab = lab_create();
    fake_python(lab, "#!/usr/bin/python3\nimport json, os, sys, time\n"
                     "out = json.loads(os.read(int(sys.argv[-1]), 65536))['out_fd']\n"
                     "os.close(out)\nopen('pid', 'w').write('%d;' % os.getpid())\ntime.sleep(600)\n");
    start(lab);
    RUN_UNTIL(lab, read_pid("pid") > 0);
    pid_t pid = read_pid("pid");
    for (int i = 0; i < 20; i++)
        cr_assert_eq(pt_loop_step(lab->loop, 10), 0);
    cr_expect_eq(lab->ends, 0);
    kill(pid, SIGTERM);
    RUN_UNTIL(lab, lab->ends == 1);
    cr_expect_not_null(strstr(lab->err.msg, "signal 15"), "%s", lab->err.msg);
    lab_destroy(lab);
}

Test(collect, destroy_leaves_no_process)
{
    struct lab *lab = lab_create();
    write_file("test_a.py", "import os, subprocess, time\n"
                            "child = subprocess.Popen(['sleep', '600'])\n"
                            "open('pid', 'w').write('%d;' % os.getpid())\n"
                            "open('grandchild', 'w').write('%d;' % child.pid)\n"
                            "time.sleep(600)\n");
    start(lab);
    RUN_UNTIL(lab, read_pid("pid") > 0 && read_pid("grandchild") > 0);
    pid_t pid = read_pid("pid"), grandchild = read_pid("grandchild");
    pt_collect_destroy(lab->collect);
    lab->collect = NULL;
    cr_expect(is_gone(pid));
    RUN_UNTIL(lab, is_gone(grandchild));
    cr_expect_eq(lab->ends, 0);
    lab_destroy(lab);
    pt_collect_destroy(NULL);
}

Test(collect, destroy_at_once_leaves_no_process)
{
    struct lab *lab = lab_create();
    start(lab);
    lab_destroy(lab);
}

Test(collect, it_may_be_destroyed_from_any_callback)
{
    static const char *const kinds[] = {"session", "file", "final"};
    write_file("test_a.py", "def test_1(): pass\n");
    for (size_t i = 0; i < PT_COUNT(kinds); i++) {
        struct lab *lab = lab_create();
        lab->until = kinds[i];
        start(lab);
        RUN_UNTIL(lab, !lab->collect);
        cr_expect_eq(lab->ends, 0);
        lab_destroy(lab);
    }
    write_file("test_a.py", "import os\nos._exit(1)\n");
    struct lab *lab = lab_create();
    lab->on_crashed = DESTROY;
    start(lab);
    RUN_UNTIL(lab, !lab->collect);
    cr_expect(lab->crashes == 1 && lab->ends == 0);
    lab_destroy(lab);
}

Test(collect, two_thousand_tests)
{
    struct lab *lab = lab_create();
    char name[32];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof(name), "test_%02d.py", i);
        write_file(name, "import pytest\n@pytest.mark.parametrize('x', range(100))\ndef test_p(x): pass\n");
    }
    run(lab);
    ended_well(lab);
    cr_expect_eq(lab->files, 20);
    cr_expect_eq(lab->tests, 2000);
    lab_destroy(lab);
}

/* What a host's collector says comes over a socket; here the test is the host. */
static void says(int fd, const char *words)
{
    cr_assert_eq(send(fd, words, strlen(words), MSG_NOSIGNAL), (ssize_t)strlen(words));
}

static int attach(struct lab *lab)
{
    int sv[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    pt_collect_attach(lab->collect, sv[0]);
    return sv[1];
}

Test(collect, a_collector_on_a_host_may_start_again)
{
    struct lab *lab = lab_create();
    lab->collect = pt_collect_create_remote(lab->loop, &lab->spec, -1, &callbacks, lab, &lab->err);
    cr_assert_not_null(lab->collect);
    int host = attach(lab);
    says(host,
         "{\"t\":\"session\",\"root\":\"/x\"}\n{\"t\":\"importing\",\"path\":\"a.py\"}\n"
         "{\"t\":\"file\",\"path\":\"a.py\",\"tests\":[]}\n{\"t\":\"importing\",\"path\":\"b.py\"}\n{\"t\":");
    close(host);
    pt_collect_exited(lab->collect, 9, "its last words"); /* may come before its last lines */
    RUN_UNTIL(lab, lab->crashes == 1);
    cr_expect_str_eq(lab->crashed, "b.py");
    cr_expect_eq(lab->ends, 0);

    struct pt_err err = PT_ERR_INIT;
    size_t n = 0;
    pt_auto_free char *orders = pt_collect_again(lab->collect, &n);
    struct pt_json *json = pt_json_parse(orders, n, &err);
    cr_assert_not_null(json, "%s", err.msg);
    const char *skipped = pt_json_text(pt_json_first(pt_json_get(json, "skip_files")));
    cr_expect(skipped && strcmp(skipped, "b.py") == 0);
    cr_expect_lt(pt_json_number(pt_json_get(json, "out_fd"), 0), 0);
    pt_json_destroy(json);

    host = attach(lab);
    says(host,
         "{\"t\":\"session\",\"root\":\"/x\"}\n{\"t\":\"importing\",\"path\":\"a.py\"}\n"
         "{\"t\":\"file\",\"path\":\"a.py\",\"tests\":[]}\n{\"t\":\"file\",\"path\":\"c.py\",\"tests\":[]}\n"
         "{\"t\":\"final\"}\n");
    close(host);
    RUN_UNTIL(lab, lab->ends == 1);
    pt_buf_append(&lab->told, "", 1);
    cr_expect_str_eq((char *)lab->told.data, "session;file:a.py;file:c.py;final;");
    cr_expect_str_eq(lab->err.msg, "");
    lab_destroy(lab);
}

Test(collect, a_host_that_says_nothing_is_an_error)
{
    struct lab *lab = lab_create();
    lab->collect = pt_collect_create_remote(lab->loop, &lab->spec, -1, &callbacks, lab, &lab->err);
    close(attach(lab));
    for (int i = 0; i < 5; i++)
        pt_loop_step(lab->loop, 20);
    cr_expect_eq(lab->ends, 0, "it ended before the host told why");
    pt_collect_exited(lab->collect, 3 << 8, "its last words\n");
    RUN_UNTIL(lab, lab->ends == 1);
    cr_expect_str_eq(lab->err.msg, "the collector ended with status 3: its last words");
    lab_destroy(lab);
}

/* No file is blamed, and nothing is told twice. */
Test(collect, a_host_whose_connection_breaks_collects_again)
{
    struct lab *lab = lab_create();
    lab->collect = pt_collect_create_remote(lab->loop, &lab->spec, -1, &callbacks, lab, &lab->err);
    for (int half = 0; half < 2; half++) {
        int host = attach(lab);
        says(host, "{\"t\":\"session\",\"root\":\"/x\"}\n{\"t\":\"file\",\"path\":\"a.py\",\"tests\":[]}\n"
                   "{\"t\":\"importing\",\"path\":\"b.py\"}\n{\"t\":");
        if (half)
            close(host);
        for (int i = 0; i < 5; i++)
            pt_loop_step(lab->loop, 20);
        pt_collect_lost(lab->collect);
        if (!half)
            close(host);
    }
    int host = attach(lab);
    says(host, "{\"t\":\"session\",\"root\":\"/x\"}\n{\"t\":\"file\",\"path\":\"a.py\",\"tests\":[]}\n"
               "{\"t\":\"file\",\"path\":\"b.py\",\"tests\":[]}\n{\"t\":\"final\"}\n");
    close(host);
    RUN_UNTIL(lab, lab->ends == 1);
    cr_expect_eq(lab->crashes, 0);
    pt_buf_append(&lab->told, "", 1);
    cr_expect_str_eq((char *)lab->told.data, "session;file:a.py;file:b.py;final;");
    cr_expect_str_eq(lab->err.msg, "");
    lab_destroy(lab);
}
