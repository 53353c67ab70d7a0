/* SPDX-License-Identifier: Apache-2.0 */
#include "worker_lab.h"

#include <arpa/inet.h>
#include <netinet/in.h>

Test(worker, forty_bundles_on_four_ranks, .timeout = 110)
{
    struct lab *lab = lab_open(4);
    char file[32];
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(file, sizeof(file), "test_%u.py", i);
        write_file(lab, file, "def test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\n");
    }
    lab_session(lab);
    for (uint32_t i = 0; i < 40; i++) {
        snprintf(file, sizeof(file), "test_%u.py", i);
        lab_bundle(lab, i, 0, file, "test_a test_b test_c", i * 3);
    }
    lab_wait(lab, PT_L_DONE, 39);
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 120);
    lab_expect_told(lab, 120);
    bool worked[4] = {0};
    for (size_t i = 0; i < lab->nevents; i++)
        if (lab->events[i].type == PT_L_REPORT) {
            cr_assert_eq(lab->events[i].bundle, lab->events[i].test / 3);
            cr_assert_eq(lab->events[i].outcome, PT_OUTCOME_PASSED);
            worked[lab->events[i].rank] = true;
        }
    cr_assert(worked[0] + worked[1] + worked[2] + worked[3] >= 2, "more than one rank got something");
    lab_quit(lab);
    lab_destroy(lab);
}

static const char crashes[] =
    "import os, signal, sys, pytest\n"
    "@pytest.fixture\n"
    "def dies(): print('in setup', flush=True); os._exit(3)\n"
    "def test_a(): pass\n"
    "def test_segv(): print('last words', flush=True); os.kill(os.getpid(), signal.SIGSEGV)\n"
    "def test_b(): pass\n"
    "def test_exit_setup(dies): pass\n"
    "def test_c(): pass\n";

Test(worker, a_crash_is_told_once_and_the_rest_runs, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_x.py", crashes);
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_x.py", "test_a test_segv test_b test_exit_setup test_c", 0);
    lab_wait(lab, PT_L_DONE, 0);
    lab_expect_told(lab, 5);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 2);
    struct pt_death *segv = &lab_wait(lab, PT_L_DEATH, 0)->death,
                    *left = &lab_wait(lab, PT_L_DEATH, 1)->death;
    cr_assert(segv->test == 1 && segv->phase == PT_PHASE_CALL && segv->cause == PT_CAUSE_DIED);
    cr_assert(WIFSIGNALED(segv->status) && WTERMSIG(segv->status) == SIGSEGV);
    cr_assert(strstr(segv->output, "last words"), "output: %s", segv->output);
    cr_assert(strstr(segv->stack, "Segmentation fault") && strstr(segv->stack, "most recent call first"),
              "stack: %s", segv->stack);
    cr_assert(left->test == 3 && left->phase == PT_PHASE_SETUP);
    cr_assert(WIFEXITED(left->status) && WEXITSTATUS(left->status) == 3);
    cr_assert(strstr(left->output, "in setup"), "output: %s", left->output);
    cr_assert_str_eq(left->stack, "");
    lab_bundle(lab, 2, 0, "test_x.py", "test_a", 10);
    lab_wait(lab, PT_L_DONE, 1);
    cr_assert_eq(lab_told(lab, 10), 1);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker, a_file_that_dies_at_import_is_given_up, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    struct pt_bundle_test tests[] = {{.test = 0, .nodeid = (char *)"test_a.py::test_a"},
                                     {.test = 1, .nodeid = (char *)"test_import_crash.py::test_x"},
                                     {.test = 2, .nodeid = (char *)"test_import_crash.py::test_y"},
                                     {.test = 3, .nodeid = (char *)"test_b.py::test_a"}};
    struct pt_bundle_file files[] = {{(char *)"test_a.py", tests, 1},
                                     {(char *)"test_import_crash.py", tests + 1, 2},
                                     {(char *)"test_b.py", tests + 3, 1}};
    struct pt_bundle bundle = {.bundle = 9, .attempt = 3, .files = files, .nfiles = 3};
    struct pt_buf msg = {0};
    write_file(lab, "test_a.py", "def test_a(): pass\n");
    write_file(lab, "test_b.py", "def test_a(): pass\n");
    write_file(lab, "test_import_crash.py",
               "import os, signal\nprint('importing now', flush=True)\n"
               "os.kill(os.getpid(), signal.SIGSEGV)\n");
    lab_session(lab);
    pt_bundle_encode(&bundle, PT_L_BUNDLE, &msg);
    lab_send(lab, &msg);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 0)->attempt, 3);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    struct pt_death *death = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(death->test == PT_NONE && death->file == 1 && death->phase == PT_PHASE_COLLECT &&
              death->bundle == 9);
    cr_assert_str_eq(death->path, "test_import_crash.py");
    cr_assert_eq(WTERMSIG(death->status), SIGSEGV);
    cr_assert(strstr(death->output, "importing now"), "output: %s", death->output);
    cr_assert(lab_told(lab, 0) == 1 && lab_told(lab, 3) == 1 && lab_told(lab, 1) == 0 &&
              lab_told(lab, 2) == 0);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker, a_test_over_its_time_is_killed_with_its_stack, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_t.py",
               "import time\ndef test_a(): pass\n"
               "def test_hang():\n    print('hanging', flush=True)\n    time.sleep(1000)\n"
               "def test_b(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 2000, "test_t.py", "test_a test_hang test_b", 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    struct pt_death *death = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(death->test == 1 && death->cause == PT_CAUSE_TIMEOUT && death->phase == PT_PHASE_CALL);
    cr_assert(strstr(death->stack, "most recent call first"), "stack: %s", death->stack);
    cr_assert(strstr(death->output, "hanging"), "output: %s", death->output);
    cr_assert(lab_told(lab, 0) == 1 && lab_told(lab, 1) == 1 && lab_told(lab, 2) == 1);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker, a_runner_that_dies_between_tests_takes_nothing_with_it, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "conftest.py",
               "import os, signal, pytest\n"
               "@pytest.hookimpl(trylast=True)\n"
               "def pytest_runtest_logfinish(nodeid):\n"
               "    if 'leak' in nodeid: os.kill(os.getpid(), signal.SIGKILL)\n");
    write_file(lab, "test_l.py", "def test_leak(): pass\ndef test_b(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_l.py", "test_leak test_b", 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert(lab_told(lab, 0) == 1 && lab_told(lab, 1) == 1);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker, a_broken_conftest_is_told_once_by_each_rank, .timeout = 110)
{
    struct lab *lab = lab_open(2);
    write_file(lab, "conftest.py", "raise RuntimeError('broken conftest')\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_a.py", "test_a", 0);
    lab_wait(lab, PT_L_BROKEN, 1);
    cr_assert(strstr(lab_wait(lab, PT_L_BROKEN, 0)->text, "broken conftest"));
    cr_assert_neq(lab_wait(lab, PT_L_BROKEN, 0)->rank, lab_wait(lab, PT_L_BROKEN, 1)->rank);
    lab_say(lab, PT_L_RECALL, 1, 1);
    cr_assert_eq(lab_wait(lab, PT_L_RECALLED, 0)->outcome, 1, "no runner had it");
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_BROKEN), 2);
    lab_destroy(lab);
}

Test(worker, a_runner_that_never_comes_up_is_not_started_for_ever, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "conftest.py", "import os\nos._exit(5)\n");
    lab_session(lab);
    struct event *broken = lab_wait(lab, PT_L_BROKEN, 0);
    cr_assert(strstr(broken->text, "the last ended with status 5"), "%s", broken->text);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 0);
    lab_destroy(lab);
}

Test(worker, recall_gives_back_what_no_runner_has, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_h.py", "import time\ndef test_hang(): time.sleep(1000)\n");
    lab_session(lab);
    for (uint32_t i = 1; i <= 3; i++)
        lab_bundle(lab, i, i == 1 ? 2000 : 0, "test_h.py", "test_hang", i);
    lab_wait(lab, PT_L_STARTED, 0);
    lab_say(lab, PT_L_RECALL, 1, 1);
    lab_say(lab, PT_L_RECALL, 1, 3);
    lab_say(lab, PT_L_RECALL, 1, 2);
    lab_say(lab, PT_L_RECALL, 1, 77);
    lab_wait(lab, PT_L_RECALLED, 3);
    for (size_t i = 0; i < 4; i++) {
        struct event *e = lab_wait(lab, PT_L_RECALLED, i);
        cr_assert_eq(e->outcome, e->bundle == 2 || e->bundle == 3, "bundle %u", e->bundle);
    }
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_DONE), 1);
    lab_destroy(lab);
}

Test(worker, cancel_kills_what_runs_and_drops_what_waits, .timeout = 110)
{
    struct lab *lab = lab_open(2);
    write_file(lab, "test_h.py", "import time\ndef test_hang(): time.sleep(1000)\n");
    lab_session(lab);
    for (uint32_t i = 0; i < 6; i++)
        lab_bundle(lab, i, 0, "test_h.py", "test_hang", i);
    lab_wait(lab, PT_L_STARTED, 1);
    lab_say(lab, PT_L_CANCEL, 0, 0);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_STARTED), 2);
    cr_assert_eq(lab_count(lab, PT_L_DEATH) + lab_count(lab, PT_L_REPORT) + lab_count(lab, PT_L_DONE), 0);
    lab_destroy(lab);
}

Test(worker, a_crash_in_the_sessions_end_is_told, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "conftest.py", "import os\ndef pytest_sessionfinish(session): os._exit(9)\n");
    write_file(lab, "test_a.py", "def test_a(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_a.py", "test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 1);
    struct pt_death *death = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(death->test == PT_NONE && death->file == PT_NONE && death->phase == PT_PHASE_SESSION);
    cr_assert_eq(WEXITSTATUS(death->status), 9);
    lab_destroy(lab);
}

Test(worker, a_session_that_does_not_end_is_ended, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "conftest.py",
               "import time\nslowend = 1\ndef pytest_sessionfinish(session): time.sleep(1000)\n");
    write_file(lab, "test_a.py", "def test_a(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_a.py", "test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    lab_say(lab, PT_L_QUIT, 1, 300);
    lab_wait(lab, PT_L_BYE, 1);
    struct pt_death *death = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(death->phase == PT_PHASE_SESSION && death->cause == PT_CAUSE_TIMEOUT);
    cr_assert_eq(lab_join(lab), 0);
    lab_destroy(lab);
}

Test(worker, reports_wait_when_nothing_is_acknowledged, .timeout = 110)
{
    struct lab *lab = lab_open(2);
    const char *tests =
        "test_big0 test_big1 test_big2 test_big3 test_big4 test_big5 test_big6 test_big7 test_big8 test_big9";
    write_file(lab, "test_big.py",
               "import pytest\n"
               "def big(): print('x' * 1000000)\n"
               "for i in range(10): globals()['test_big%d' % i] = lambda: big()\n");
    lab->hold_acks = true;
    lab_session(lab);
    for (uint32_t i = 0; i < 6; i++)
        lab_bundle(lab, i, 20000, "test_big.py", tests, i * 10);
    lab_wait(lab, PT_L_REPORT, 12);
    lab_pump_until_silent(lab);
    cr_assert_lt(lab_count(lab, PT_L_REPORT), 60, "they wait");
    lab->hold_acks = false;
    lab_ack(lab, lab->last_seq);
    lab_wait(lab, PT_L_DONE, 5);
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 60);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 0);
    lab_quit(lab);
    lab_destroy(lab);
}

/* The process that a test wrote the number of, once it has. */
static pid_t running_test(struct lab *lab)
{
    char path[128];
    int pid = 0;
    snprintf(path, sizeof(path), "%s/pid", lab->workspace);
    for (int64_t deadline = pt_now_ms() + PATIENCE_MS; pid == 0 && pt_now_ms() < deadline;
         lab_pump(lab, 50)) {
        FILE *f = fopen(path, "r");
        if (f && fscanf(f, "%d.", &pid) != 1)
            pid = 0;
        if (f)
            fclose(f);
    }
    cr_assert_gt(pid, 1);
    return pid;
}

static void wait_gone(pid_t pid)
{
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    while (kill(pid, 0) == 0 && pt_now_ms() < deadline)
        poll(NULL, 0, 20);
    cr_assert_eq(kill(pid, 0), -1, "process %d is still there", pid);
}

static const char hangs[] = "import os, time\n"
                            "def test_hang():\n"
                            "    with open('pid', 'w') as f: f.write('%d.' % os.getpid())\n"
                            "    time.sleep(1000)\n";

Test(worker, a_cut_link_ends_everything, .timeout = 110)
{
    struct lab *lab = lab_open(2);
    write_file(lab, "test_h.py", hangs);
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_h.py", "test_hang", 0);
    lab_wait(lab, PT_L_STARTED, 0);
    pid_t test = running_test(lab);
    shutdown(lab->fd, SHUT_RDWR);
    cr_assert_neq(lab_join(lab), 0);
    cr_assert(strstr(read_log(lab, "mpirun.log"), "link: the link was cut"), "%s",
              read_log(lab, "mpirun.log"));
    wait_gone(test);
    lab_destroy(lab);
}

Test(worker, a_killed_rank_ends_everything, .timeout = 110)
{
    struct lab *lab = lab_open(2);
    write_file(lab, "test_h.py", hangs);
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_h.py", "test_hang", 0);
    lab_wait(lab, PT_L_STARTED, 0);
    pid_t test = running_test(lab);
    kill(lab->mpirun, SIGKILL);
    lab_join(lab);
    wait_gone(test);
    lab_destroy(lab);
}

Test(worker, a_fork_server_that_comes_late_is_waited_for, .timeout = 110)
{
    struct lab *lab = lab_open_alone(2);
    write_file(lab, "test_a.py", "def test_a(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_a.py", "test_a", 0);
    for (int i = 0; i < 3; i++)
        lab_pump(lab, 100);
    start_server(lab);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_told(lab, 0), 1);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker, a_fork_server_that_dies_takes_the_test_with_it, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_h.py", hangs);
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_h.py", "test_hang", 0);
    pid_t test = running_test(lab);
    end_server(lab, SIGKILL);
    cr_assert_eq(lab_wait(lab, PT_L_DEATH, 0)->test, 0);
    lab_wait(lab, PT_L_STARTED, 0);
    wait_gone(test);
    start_server(lab);
    lab_wait(lab, PT_L_DONE, 0);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker, a_stopped_test_is_over_its_time, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_s.py",
               "import os, signal\ndef test_stop(): os.kill(0, signal.SIGSTOP)\n"
               "def test_child():\n    if os.fork() == 0: os.kill(os.getppid(), signal.SIGKILL)\n"
               "    signal.pause()\n"
               "def test_a(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 2000, "test_s.py", "test_stop test_child test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    struct pt_death *stop = &lab_wait(lab, PT_L_DEATH, 0)->death,
                    *child = &lab_wait(lab, PT_L_DEATH, 1)->death;
    cr_assert(stop->test == 0 && stop->cause == PT_CAUSE_TIMEOUT && WTERMSIG(stop->status) == SIGKILL);
    cr_assert(child->test == 1 && child->cause == PT_CAUSE_DIED && WTERMSIG(child->status) == SIGKILL);
    cr_assert_eq(lab_told(lab, 2), 1);
    lab_quit(lab);
    lab_destroy(lab);
}

/* The worker must end by itself with these words in its log. */
static void expect_end(struct lab *lab, const char *words)
{
    cr_assert_neq(lab_join(lab), 0);
    cr_assert(strstr(read_log(lab, "mpirun.log"), words), "wanted '%s': %s", words,
              read_log(lab, "mpirun.log"));
    lab_destroy(lab);
}

static void pump_to_end(struct lab *lab)
{
    char chunk[4096];
    struct pt_err err = PT_ERR_INIT;
    ssize_t n;
    while ((n = recv(lab->fd, chunk, sizeof(chunk), 0)) > 0) {
        pt_tls_feed(lab->tls, chunk, (size_t)n, &lab->plain, &err);
        lab_flush(lab);
    }
}

Test(worker, a_master_of_another_run_is_refused, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    struct pt_err err = PT_ERR_INIT;
    struct pt_tls_ca *other = pt_tls_ca_create(RUN, 3600, &err);
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, other, "master");
    pump_to_end(lab);
    pt_tls_ca_destroy(other);
    expect_end(lab, "link: TLS: the peer's certificate");
}

Test(worker, a_worker_is_no_master, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, lab->ca, "host/5/worker");
    pump_to_end(lab);
    expect_end(lab, "link: TLS: the peer's certificate");
}

Test(worker, the_masters_refusal_is_passed_on, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    struct pt_buf msg = {0};
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, lab->ca, "master");
    lab_wait(lab, PT_L_HELLO, 0);
    size_t mark = pt_frame_begin(&msg, PT_L_REFUSED);
    pt_put_str(&msg, "launch 1 is over");
    pt_frame_end(&msg, mark);
    lab_send(lab, &msg);
    expect_end(lab, "link: the master refused this worker: launch 1 is over");
}

Test(worker, another_protocol_is_one_clear_line, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    struct pt_buf msg = {0};
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, lab->ca, "master");
    lab_wait(lab, PT_L_HELLO, 0);
    size_t mark = pt_frame_begin(&msg, PT_L_WELCOME);
    pt_put_u32(&msg, 77);
    pt_frame_end(&msg, mark);
    lab_send(lab, &msg);
    char want[64];
    snprintf(want, sizeof(want), "the master speaks protocol 77, this worker %u", PT_PROTOCOL);
    expect_end(lab, want);
}

Test(worker, an_agent_that_means_another_host_is_refused, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 5, "");
    expect_end(lab, "the agent means host 5, launch 2; this is host 4, launch 2");
}

Test(worker, garbage_from_the_agent_is_refused, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    lab_accept(lab);
    cr_assert_gt(send(lab->fd, "PTREMOTE-BOOT fail", 18, MSG_NOSIGNAL), 0);
    expect_end(lab, "link: the agent did not send a key");
}

Test(worker, garbage_inside_the_link_is_refused, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    lab_say(lab, 99, 1, 1);
    expect_end(lab, "the master sent: an unknown message (type 99)");
}

Test(worker, the_link_goes_to_an_address, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(sin);
    char address[64];
    int port = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(port, (struct sockaddr *)&sin, sizeof(sin)) | listen(port, 1), 0);
    getsockname(port, (struct sockaddr *)&sin, &n);
    snprintf(address, sizeof(address), "127.0.0.1:%d", ntohs(sin.sin_port));
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, address);
    close(lab->fd);
    lab->fd = accept4(port, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(lab->fd, 0);
    close(port);
    lab_use_tls(lab, lab->ca, "master");
    lab_welcome(lab);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker, an_address_where_nobody_listens, .timeout = 110)
{
    struct lab *lab = lab_create(1);
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "127.0.0.1:1");
    expect_end(lab, "link: 127.0.0.1:1: Connection refused");
}
