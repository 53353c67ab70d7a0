/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that take no time: their slot rests between looks at them, and nothing of them is lost, late or in
 * another order. */
#include "worker_lab.h"

#define TESTS 200
#define DIES  120
#define WAITS 160

/* Names of the tests, separated by spaces. */
static char *make_names(void)
{
    char *names = calloc(TESTS, 16);
    size_t n = 0;
    for (int i = 0; i < TESTS; i++)
        n += (size_t)snprintf(names + n, 16, "%stest_q[%d]", i ? " " : "", i);
    return names;
}

static bool is_started(const struct lab *lab, uint32_t test)
{
    for (size_t i = 0; i < lab->nevents; i++)
        if (lab->events[i].type == PT_L_STARTED && lab->events[i].test == test)
            return true;
    return false;
}

Test(worker_rest, a_crash_in_a_crowd_and_one_that_stays, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    pt_auto_free char *names = make_names();
    write_file(lab, "test_q.py",
               "import os, pytest, signal, time\n"
               "@pytest.mark.parametrize('n', range(200))\n"
               "def test_q(n):\n"
               "    if n == 120: os.kill(os.getpid(), signal.SIGKILL)\n"
               "    while n == 160 and not os.path.exists('go'): time.sleep(0.01)\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_q.py", names, 0);
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    while (!is_started(lab, WAITS) && pt_now_ms() < deadline)
        lab_pump(lab, 100);
    cr_assert(is_started(lab, WAITS));
    lab_expect_told(lab, WAITS);
    write_file(lab, "go", "");
    lab_wait(lab, PT_L_DONE, 0);
    uint32_t next = 0;
    for (size_t i = 0; i < lab->nevents; i++)
        if (lab->events[i].type == PT_L_REPORT || lab->events[i].type == PT_L_DEATH) {
            cr_assert_eq(lab->events[i].type == PT_L_DEATH, next == DIES);
            cr_assert_eq(next == DIES ? lab->events[i].death.test : lab->events[i].test, next);
            next++;
        }
    cr_assert_eq(next, TESTS);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker_rest, one_of_a_crowd_over_its_time, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    pt_auto_free char *names = make_names();
    write_file(lab, "test_q.py",
               "import pytest, time\n"
               "@pytest.mark.parametrize('n', range(200))\n"
               "def test_q(n): time.sleep(1000 if n == 120 else 0)\n");
    lab_session(lab);
    lab_bundle(lab, 1, 5000, "test_q.py", names, 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    struct pt_death *death = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(death->test == DIES && death->cause == PT_CAUSE_TIMEOUT && death->phase == PT_PHASE_CALL);
    lab_expect_told(lab, TESTS);
    lab_quit(lab);
    lab_destroy(lab);
}
