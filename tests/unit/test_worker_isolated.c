/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that run tests in children, stealing from what runs, and runners that want to be replaced. */
#include "worker_lab.h"

static const char *const modes[] = {"", ",\"isolate\":\"bundle\"", ",\"isolate\":\"test\""};

/* Each session leaves a line. */
static const char sessions[] = "import os\n"
                               "def pytest_sessionstart(session):\n"
                               "    with open('sessions', 'a') as f: f.write('%d\\n' % os.getpid())\n";

static size_t count_sessions(struct lab *lab)
{
    char path[256], line[64];
    size_t n = 0;
    snprintf(path, sizeof(path), "%s/sessions", lab->workspace);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        n++;
    if (f)
        fclose(f);
    return n;
}

static struct lab *open_lab(size_t mode, const char *tests)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "conftest.py", sessions);
    write_file(lab, "test_i.py", tests);
    lab->session = modes[mode];
    lab_session(lab);
    return lab;
}

static void close_lab(struct lab *lab, size_t nsessions)
{
    lab_quit(lab);
    cr_assert_eq(count_sessions(lab), nsessions);
    cr_assert_eq(lab_count(lab, PT_L_BROKEN), 0);
    lab_destroy(lab);
}

static const char ways_to_die[] =
    "import os, signal, time, sys, subprocess\n"
    "def test_a(): pass\n"
    "def test_segv(): print('last words', flush=True); os.kill(os.getpid(), signal.SIGSEGV)\n"
    "def test_exit(): os._exit(3)\n"
    "def test_zero(): os._exit(0)\n"
    "def test_kill(): os.kill(os.getpid(), signal.SIGKILL)\n"
    "def test_hang():\n    print('hanging', flush=True)\n    time.sleep(1000)\n"
    "def test_child():\n"
    "    subprocess.run([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
    "def test_b(): pass\n";

static void session_outlives_crashes(size_t mode)
{
    static const uint32_t status[] = {SIGSEGV, 3 << 8, 0, SIGKILL};
    struct lab *lab = open_lab(mode, ways_to_die);
    lab_bundle(lab, 1, 0, "test_i.py", "test_a test_segv test_exit test_zero test_kill test_b", 0);
    lab_bundle(lab, 2, 0, "test_i.py", "test_a test_kill", 10);
    lab_bundle(lab, 3, 0, "test_i.py", "test_b", 20);
    lab_wait(lab, PT_L_DONE, 2);
    lab_expect_told(lab, 6);
    cr_assert(lab_told(lab, 10) == 1 && lab_told(lab, 11) == 1 && lab_told(lab, 20) == 1);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 5);
    for (uint32_t i = 0; i < 4; i++) {
        struct pt_death *death = &lab_wait(lab, PT_L_DEATH, i)->death;
        cr_assert(death->test == 1 + i && death->cause == PT_CAUSE_DIED && death->phase == PT_PHASE_CALL);
        cr_assert_eq(death->status & 0xff7f, status[i], "test %u: 0x%x", 1 + i, death->status);
    }
    struct pt_death *segv = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(strstr(segv->stack, "test_segv"), "stack: %s", segv->stack);
    cr_assert(strstr(segv->output, "last words"), "output: %s", segv->output);
    close_lab(lab, 1);
}

Test(worker_isolated, a_session_outlives_crashes_of_bundles, .timeout = 110)
{
    session_outlives_crashes(1);
}

Test(worker_isolated, a_session_outlives_crashes_of_tests, .timeout = 110)
{
    session_outlives_crashes(2);
}

static void session_outlives_hangs(size_t mode)
{
    struct lab *lab = open_lab(mode, ways_to_die);
    lab_bundle(lab, 1, 2000, "test_i.py", "test_a test_hang test_child test_b", 0);
    lab_wait(lab, PT_L_DONE, 0);
    lab_expect_told(lab, 4);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct pt_death *death = &lab_wait(lab, PT_L_DEATH, i)->death;
        cr_assert(death->test == 1 + i && death->cause == PT_CAUSE_TIMEOUT);
        cr_assert_eq(WTERMSIG(death->status), SIGABRT, "0x%x", death->status);
        cr_assert(strstr(death->stack, i ? "test_child" : "test_hang"), "stack: %s", death->stack);
    }
    cr_assert(strstr(lab_wait(lab, PT_L_DEATH, 0)->death.output, "hanging"));
    close_lab(lab, 1);
}

Test(worker_isolated, a_session_outlives_hangs_of_bundles, .timeout = 110)
{
    session_outlives_hangs(1);
}

Test(worker_isolated, a_session_outlives_hangs_of_tests, .timeout = 110)
{
    session_outlives_hangs(2);
}

/* It cannot die of SIGABRT, so the whole runner goes. */
Test(worker_isolated, a_child_that_stops_takes_its_session, .timeout = 110)
{
    struct lab *lab = open_lab(1, "import os, signal\n"
                                  "def test_stop(): os.kill(os.getpid(), signal.SIGSTOP)\n"
                                  "def test_b(): pass\n");
    lab_bundle(lab, 1, 2000, "test_i.py", "test_stop test_b", 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_wait(lab, PT_L_DEATH, 0)->death.cause, PT_CAUSE_TIMEOUT);
    cr_assert(lab_told(lab, 0) == 1 && lab_told(lab, 1) == 1);
    close_lab(lab, 2);
}

Test(worker_isolated, a_crash_after_the_last_test_is_told, .timeout = 110)
{
    struct lab *lab = open_lab(1, "import atexit, os, signal\n"
                                  "def test_a(): atexit.register(os.kill, os.getpid(), signal.SIGSEGV)\n");
    lab_bundle(lab, 1, 0, "test_i.py", "test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_told(lab, 0), 1);
    struct pt_death *death = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(death->test == PT_NONE && death->phase == PT_PHASE_SESSION);
    lab_bundle(lab, 2, 0, "test_i.py", "test_a", 1);
    lab_wait(lab, PT_L_DONE, 1);
    close_lab(lab, 1);
}

/* Once it has a thread of its own a process is not forked: it runs what it may, and another follows. */
Test(worker_isolated, where_forking_is_not_safe_runners_follow_each_other, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "conftest.py",
               "import os, threading\n"
               "def pytest_sessionstart(session):\n"
               "    with open('sessions', 'a') as f: f.write('x\\n')\n"
               "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n");
    write_file(lab, "test_i.py", ways_to_die);
    lab->session = modes[2];
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_i.py", "test_a test_b test_segv test_a test_b", 0);
    lab_bundle(lab, 2, 0, "test_i.py", "test_a", 10);
    lab_wait(lab, PT_L_DONE, 1);
    lab_expect_told(lab, 5);
    cr_assert_eq(lab_told(lab, 10), 1);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    cr_assert_eq(lab_wait(lab, PT_L_DEATH, 0)->test, 2);
    lab_quit(lab);
    cr_assert_geq(count_sessions(lab), 6, "each test had its own");
    cr_assert_eq(lab_count(lab, PT_L_BROKEN), 0);
    lab_destroy(lab);
}

static const char waits[] = "import os, time\n"
                            "def test_go():\n    while not os.path.exists('go'): time.sleep(0.01)\n"
                            "def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\ndef test_d(): pass\n"
                            "def test_e(): pass\n"
                            "def test_die():\n    while not os.path.exists('go'): time.sleep(0.01)\n"
                            "    os._exit(1)\n";

static bool was_stolen(const struct lab *lab, uint32_t test)
{
    for (size_t i = 0; i < lab->nevents; i++)
        for (uint32_t k = 0; lab->events[i].type == PT_L_STOLEN && k < lab->events[i].n; k++)
            if (lab->events[i].tests[k] == test)
                return true;
    return false;
}

static void told_or_given_back(struct lab *lab, uint32_t n)
{
    for (uint32_t test = 0; test < n; test++)
        cr_assert_eq(lab_told(lab, test) + was_stolen(lab, test), 1, "test %u", test);
}

static void steal_what_has_not_begun(size_t mode)
{
    struct lab *lab = open_lab(mode, waits);
    lab_bundle(lab, 1, 0, "test_i.py", "test_go test_a test_b test_c test_d", 0);
    lab_wait(lab, PT_L_STARTED, 0);
    lab_steal(lab, 1, 0, 2);
    lab_steal(lab, 1, 3, 9);
    for (size_t i = 0; i < 2; i++) { /* the hub answers this itself, after it has passed on those before */
        lab_steal(lab, 2, 0, 1);
        lab_wait(lab, PT_L_STOLEN, i);
    }
    write_file(lab, "go", "");
    lab_wait(lab, PT_L_DONE, 0);
    lab_wait(lab, PT_L_STOLEN, 3);
    cr_assert_not(was_stolen(lab, 0), "it runs");
    cr_assert(mode != 0 || !was_stolen(lab, 1), "the next one is prepared for");
    cr_assert(was_stolen(lab, 3) && was_stolen(lab, 4));
    told_or_given_back(lab, 5);
    for (size_t i = 0; i < 4; i++) {
        struct event *e = lab_wait(lab, PT_L_STOLEN, i);
        cr_assert(e->bundle == 2 || (e->rank == 0 && e->attempt == 1));
    }
    lab_bundle(lab, 2, 0, "test_i.py", "test_a", 10);
    lab_wait(lab, PT_L_DONE, 1);
    close_lab(lab, 1);
}

Test(worker_isolated, stealing_from_a_session, .timeout = 110)
{
    steal_what_has_not_begun(0);
}

Test(worker_isolated, stealing_from_a_child, .timeout = 110)
{
    steal_what_has_not_begun(1);
}

Test(worker_isolated, stealing_between_children, .timeout = 110)
{
    steal_what_has_not_begun(2);
}

/* What dies meanwhile cannot keep what was asked for. */
static void steal_while_it_dies(size_t mode)
{
    struct lab *lab = open_lab(mode, waits);
    lab_bundle(lab, 1, 0, "test_i.py", "test_die test_a test_b test_c test_d", 0);
    lab_wait(lab, PT_L_STARTED, 0);
    lab_steal(lab, 1, 0, 2);
    lab_steal(lab, 1, 4, 5);
    write_file(lab, "go", "");
    lab_wait(lab, PT_L_DONE, 0);
    lab_wait(lab, PT_L_STOLEN, 1);
    cr_assert(!was_stolen(lab, 0) && was_stolen(lab, 1) && was_stolen(lab, 4));
    told_or_given_back(lab, 5);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    close_lab(lab, mode ? 1 : 2);
}

Test(worker_isolated, stealing_while_a_session_dies, .timeout = 110)
{
    steal_while_it_dies(0);
}

Test(worker_isolated, stealing_while_a_child_dies, .timeout = 110)
{
    steal_while_it_dies(1);
}

Test(worker_isolated, stealing_while_the_child_of_a_test_dies, .timeout = 110)
{
    steal_while_it_dies(2);
}

/* Thefts at any moment, most of them too late: every one answered once, every test told or given back once.
 */
static void steal_at_any_moment(size_t mode)
{
    enum { BUNDLES = 40, TESTS = 6 };
    struct lab *lab = open_lab(mode, "def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n"
                                     "def test_d(): pass\ndef test_e(): pass\ndef test_f(): pass\n");
    size_t asked = 0, reports = 0;
    for (uint32_t i = 0; i < BUNDLES; i++)
        lab_bundle(lab, i, 0, "test_i.py", "test_a test_b test_c test_d test_e test_f", i * TESTS);
    while (lab_count(lab, PT_L_DONE) < BUNDLES) {
        lab_wait(lab, PT_L_DONE, lab_count(lab, PT_L_DONE));
        size_t now = lab_count(lab, PT_L_REPORT);
        uint32_t bundle = (uint32_t)lab_count(lab, PT_L_DONE);
        if (now == reports || bundle == BUNDLES)
            continue;
        reports = now;
        for (uint32_t k = 0; k < 3; k++, asked++)
            lab_steal(lab, bundle - k % 2, (bundle - k % 2) * TESTS + 2 * k,
                      (bundle - k % 2) * TESTS + 2 * k + 2);
    }
    while (lab_count(lab, PT_L_STOLEN) < asked)
        lab_wait(lab, PT_L_STOLEN, lab_count(lab, PT_L_STOLEN));
    told_or_given_back(lab, BUNDLES * TESTS);
    close_lab(lab, 1);
}

Test(worker_isolated, stealing_from_a_session_at_any_moment, .timeout = 110)
{
    steal_at_any_moment(0);
}

Test(worker_isolated, stealing_from_a_child_at_any_moment, .timeout = 110)
{
    steal_at_any_moment(1);
}

Test(worker_isolated, stealing_between_children_at_any_moment, .timeout = 110)
{
    steal_at_any_moment(2);
}
