/* SPDX-License-Identifier: Apache-2.0 */
/* Which rank gets what, and what is taken back: pins, limits, STEAL, DROP. */
#include "worker_lab.h"

/* A conftest that leaves a trace of each session, and a test that waits for a file. */
static const char traces[] = "import os\nopen('session.' + os.environ['PTREMOTE_RANK'], 'w').close()\n";
static const char waits[] = "import os, time, pytest\n"
                            "def wait(*names):\n"
                            "    while not all(map(os.path.exists, names)): time.sleep(0.01)\n"
                            "def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n"
                            "def test_go(): wait('go')\n"
                            "def test_all(): wait('session.0', 'session.1', 'session.2')\n"
                            "def test_hang(): time.sleep(1000)\n";

static bool exists(const struct lab *lab, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", lab->workspace, name);
    return access(path, F_OK) == 0;
}

static struct lab *open_lab(uint32_t slots)
{
    struct lab *lab = lab_open(slots);
    write_file(lab, "conftest.py", traces);
    write_file(lab, "test_w.py", waits);
    return lab;
}

Test(worker_deal, a_pinned_bundle_runs_on_its_rank, .timeout = 110)
{
    struct lab *lab = open_lab(3);
    const uint32_t ranks[] = {2, 2, 0, 1, 2, 1, 0, PT_NONE, 2};
    lab_session(lab);
    for (uint32_t i = 0; i < PT_COUNT(ranks); i++)
        lab_bundle_for(lab, ranks[i], i, 0, "test_w.py", "test_a test_b", i * 2);
    lab_wait(lab, PT_L_DONE, PT_COUNT(ranks) - 1);
    uint32_t last[3] = {0};
    for (size_t i = 0; i < lab->nevents; i++) {
        struct event *e = &lab->events[i];
        if (e->type != PT_L_REPORT)
            continue;
        uint32_t pin = ranks[e->bundle];
        cr_assert(pin == PT_NONE || e->rank == pin, "bundle %u on rank %u", e->bundle, e->rank);
        cr_assert(pin == PT_NONE || e->test >= last[pin], "in the order they came");
        last[e->rank] = e->test;
    }
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 2 * PT_COUNT(ranks));
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker_deal, a_rank_that_is_none_is_refused, .timeout = 110)
{
    struct lab *lab = open_lab(2);
    lab_bundle_for(lab, 2, 1, 0, "test_w.py", "test_a", 0);
    cr_assert_neq(lab_join(lab), 0);
    cr_assert(strstr(read_log(lab, "mpirun.log"), "the master sent: a bundle for rank 2, of 2"));
    lab_destroy(lab);
}

Test(worker_deal, so_many_sessions_and_later_more, .timeout = 110)
{
    struct lab *lab = open_lab(3);
    lab_limits(lab, (struct pt_limits){.runners = 1});
    lab_session(lab);
    for (uint32_t i = 0; i < 4; i++)
        lab_bundle(lab, i, 0, "test_w.py", "test_a test_b", i * 2);
    lab_wait(lab, PT_L_DONE, 3);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(lab_wait(lab, PT_L_REPORT, i)->rank, 0);
    cr_assert(exists(lab, "session.0") && !exists(lab, "session.1") && !exists(lab, "session.2"));
    lab_bundle_for(lab, 2, 4, 0, "test_w.py", "test_c", 20);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 4)->rank, 2, "it was asked for by name");
    cr_assert_not(exists(lab, "session.1"));
    lab_limits(lab, (struct pt_limits){.runners = PT_NONE});
    for (uint32_t i = 0; i < 3; i++)
        lab_bundle(lab, 5 + i, 0, "test_w.py", "test_all", 30 + i);
    lab_wait(lab, PT_L_DONE, 7);
    cr_assert(exists(lab, "session.1"));
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker_deal, no_session_until_something_waits, .timeout = 110)
{
    struct lab *lab = open_lab(2);
    lab_limits(lab, (struct pt_limits){.runners = 0});
    lab_session(lab);
    lab_bundle_for(lab, 1, 0, 0, "test_w.py", "test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_not(exists(lab, "session.0"));
    lab_bundle(lab, 1, 0, "test_w.py", "test_b", 1);
    lab_wait(lab, PT_L_DONE, 1);
    cr_assert_eq(lab_told(lab, 1), 1, "a bundle that waits reaches a rank");
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker_deal, another_rank_stands_in_for_a_broken_one, .timeout = 110)
{
    struct lab *lab = open_lab(3);
    write_file(lab, "conftest.py", "import os\nassert os.environ['PTREMOTE_RANK'] != '0'\n");
    lab_limits(lab, (struct pt_limits){.runners = 1});
    lab_bundle_for(lab, 0, 1, 0, "test_w.py", "test_a", 0);
    lab_bundle_for(lab, 0, 2, 0, "test_w.py", "test_a", 1);
    lab_bundle(lab, 3, 0, "test_w.py", "test_a test_b", 2);
    lab_session(lab);
    for (uint32_t i = 0; i < 2; i++) {
        struct event *back = lab_wait(lab, PT_L_RECALLED, i);
        cr_assert(back->bundle == 1 + i && back->outcome == 1, "only that rank could run it");
    }
    lab_bundle_for(lab, 0, 4, 0, "test_w.py", "test_a", 9);
    cr_assert_eq(lab_wait(lab, PT_L_RECALLED, 2)->bundle, 4);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 0)->rank, 1);
    cr_assert_eq(lab_wait(lab, PT_L_BROKEN, 0)->rank, 0);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_BROKEN), 1);
    lab_destroy(lab);
}

static void expect_stolen(struct lab *lab, size_t n, uint32_t bundle, uint32_t rank, uint32_t tests,
                          uint32_t first)
{
    struct event *e = lab_wait(lab, PT_L_STOLEN, n);
    cr_assert(e->bundle == bundle && e->rank == rank && e->n == tests, "%u: %u tests of bundle %u, rank %u",
              (unsigned)n, e->n, e->bundle, e->rank);
    cr_assert_eq(e->attempt, rank == PT_NONE && !tests ? e->attempt : 1);
    for (uint32_t i = 0; i < tests; i++)
        cr_assert_eq(e->tests[i], first + i);
}

Test(worker_deal, tests_are_taken_from_what_waits, .timeout = 110)
{
    struct lab *lab = open_lab(1);
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_w.py", "test_go", 0);
    lab_bundle(lab, 2, 0, "test_w.py", "test_a test_b test_c", 10);
    lab_bundle_for(lab, 0, 3, 0, "test_w.py", "test_a test_b", 20);
    lab_wait(lab, PT_L_STARTED, 0);
    lab_steal(lab, 2, 11, 13);
    lab_steal(lab, 3, 20, 25);
    lab_steal(lab, 3, 20, 25);
    lab_steal(lab, 77, 0, 3);
    lab_steal(lab, PT_NONE, 0, 3);
    expect_stolen(lab, 0, 2, PT_NONE, 2, 11);
    expect_stolen(lab, 1, 3, 0, 2, 20);
    cr_assert(lab_wait(lab, PT_L_DONE, 0)->bundle == 3, "nothing is left of it");
    expect_stolen(lab, 2, 3, PT_NONE, 0, 0);
    expect_stolen(lab, 3, 77, PT_NONE, 0, 0);
    expect_stolen(lab, 4, PT_NONE, PT_NONE, 0, 0);
    cr_assert_eq(lab_wait(lab, PT_L_STOLEN, 3)->attempt, 0);
    write_file(lab, "go", "");
    lab_wait(lab, PT_L_DONE, 2);
    cr_assert(lab_told(lab, 0) == 1 && lab_told(lab, 10) == 1 && lab_count(lab, PT_L_REPORT) == 2);
    lab_quit(lab);
    cr_assert(lab_count(lab, PT_L_STOLEN) == 5 && lab_count(lab, PT_L_DONE) == 3);
    lab_destroy(lab);
}

static void drop(const char *session)
{
    struct lab *lab = open_lab(1);
    lab->session = session;
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_w.py", "test_a test_hang test_b", 0);
    lab_bundle(lab, 2, 0, "test_w.py", "test_a", 10);
    lab_bundle(lab, 3, 0, "test_w.py", "test_a", 20);
    lab_wait(lab, PT_L_STARTED, 1);
    lab_say(lab, PT_L_DROP, 1, 2);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 0)->bundle, 2);
    lab_say(lab, PT_L_DROP, 1, 77);
    lab_steal(lab, 1, 2, 3);
    lab_say(lab, PT_L_DROP, 1, 1);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 1)->bundle, 1);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 2)->bundle, 3, "a new runner goes on");
    lab_say(lab, PT_L_DROP, 1, 3);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_STOLEN), 1);
    cr_assert(lab_count(lab, PT_L_DEATH) == 0 && lab_count(lab, PT_L_DONE) == 3);
    cr_assert(lab_told(lab, 1) == 0 && lab_told(lab, 2) == 0 && lab_told(lab, 20) == 1);
    lab_destroy(lab);
}

Test(worker_deal, what_is_dropped_is_done, .timeout = 110)
{
    drop("");
}

Test(worker_deal, what_a_child_runs_is_dropped, .timeout = 110)
{
    drop(",\"isolate\":\"bundle\"");
}
