/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a group: real mpirun, real fork server, real MPI in the runners. */
#include "member_lab.h"

#include <sched.h>
#include <time.h>

static const char mpi[] = "import os, signal, sys, time\n"
                          "from mpi4py import MPI\n"
                          "world = MPI.COMM_WORLD\n"
                          "def test_first(): assert world.allreduce(1) == world.size\n"
                          "def test_last(): assert world.allreduce(2) == 2 * world.size\n"
                          "def test_segv():\n"
                          "    world.Barrier()\n"
                          "    if world.rank == 1: os.kill(os.getpid(), signal.SIGSEGV)\n"
                          "    world.Barrier()\n"
                          "def test_exit():\n"
                          "    world.Barrier()\n"
                          "    if world.rank == 1: os._exit(3)\n"
                          "    world.Barrier()\n"
                          "def test_abort():\n"
                          "    world.Barrier()\n"
                          "    if world.rank == 1: world.Abort(5)\n"
                          "    world.Barrier()\n"
                          "def test_raise():\n"
                          "    world.Barrier()\n"
                          "    if world.rank == 1: raise ValueError('one left')\n"
                          "    world.Barrier()\n"
                          "def test_hang(): world.recv(source=(world.rank + 1) % world.size, tag=9)\n";

/* All members said DONE of the n-th bundle, and were ready before. */
static void wait_done(struct group *group, size_t n)
{
    for (uint32_t rank = 0; rank < group->size; rank++)
        mate_wait(group, rank, PT_L_DONE, n);
}

/* QUIT, a BYE of each, and the end of mpirun. */
static void quit(struct group *group)
{
    group_say(group, PT_NONE, PT_L_QUIT, 1, 10000, 0, -1);
    for (uint32_t rank = 0; rank < group->size; rank++) {
        mate_wait(group, rank, PT_L_BYE, 0);
        cr_assert_eq(mate_count(group, rank, PT_L_DEATH), 0);
        cr_assert_eq(mate_count(group, rank, PT_L_BROKEN), 0);
    }
    group_close(group);
}

static void check_passed(struct group *group, uint32_t rank, size_t n, uint32_t test)
{
    struct event *e = mate_wait(group, rank, PT_L_REPORT, n);
    cr_assert_eq(e->rank, rank);
    cr_assert_eq(e->test, test);
    cr_assert_eq(e->outcome, PT_OUTCOME_PASSED, "rank %u: %s", rank, e->text);
}

Test(worker_member, members_are_the_ranks_of_a_world, .timeout = 110)
{
    unsetenv("OMP_NUM_THREADS");
    struct group *group =
        group_open(2, "import os\n"
                      "from mpi4py import MPI\n"
                      "def test_world():\n"
                      "    world, env = MPI.COMM_WORLD, os.environ\n"
                      "    assert world.size == 2 == int(env['PTREMOTE_RANKS'])\n"
                      "    assert world.rank == int(env['PTREMOTE_GROUP_RANK'])\n"
                      "    assert sorted(world.allgather(world.rank)) == [0, 1]\n"
                      "    assert env['PTREMOTE_WORKER'] == 'h4.%d' % (8 + world.rank)\n"
                      "    assert env['PTREMOTE_RANK'] == str(8 + world.rank)\n"
                      "    assert env['PTREMOTE_SLOTS'] == '4'\n"
                      "    with open('/proc/%s/comm' % env['PTREMOTE_SUPERVISOR']) as file:\n"
                      "        assert file.read() == 'ptremote-worker\\n'\n"
                      "    assert env['OMP_NUM_THREADS'] == '1'\n"
                      "    assert env['PTREMOTE_RUN'] == 'run-1'\n"
                      "    assert os.getcwd() == env['PTREMOTE_WORKSPACE']\n"
                      "def test_again(): MPI.COMM_WORLD.Barrier()\n");
    for (uint32_t rank = 0; rank < 2; rank++)
        mate_wait(group, rank, PT_RANK_READY, 0);
    group_bundle(group, 1, 0, "test_world test_again", 10);
    wait_done(group, 0);
    group_bundle(group, 2, 0, "test_again", 20);
    wait_done(group, 1);
    for (uint32_t rank = 0; rank < 2; rank++) {
        check_passed(group, rank, 0, 10);
        check_passed(group, rank, 1, 11);
        check_passed(group, rank, 2, 20);
        mate_wait(group, rank, PT_RANK_READY, 2);
        cr_assert_eq(mate_count(group, rank, PT_RANK_READY), 3);
    }
    quit(group);
}

Test(worker_member, the_suites_own_number_of_threads_stays, .timeout = 110)
{
    setenv("OMP_NUM_THREADS", "3", 1);
    struct group *group =
        group_open(1, "import os\ndef test_threads(): assert os.environ['OMP_NUM_THREADS'] == '3'\n");
    group_bundle(group, 1, 0, "test_threads", 0);
    check_passed(group, 0, 0, 0);
    quit(group);
}

/* --- deaths --- */

/* Rank 0 was in that test when it was ended, or had told it. */
static void check_fallen(struct group *group, uint32_t test, const char *name)
{
    struct pt_death *death = &mate_wait(group, 0, PT_L_DEATH, 0)->death;
    cr_assert_eq(death->cause, PT_CAUSE_FALL);
    cr_assert_eq(death->rank, 0);
    cr_assert(death->test == test && death->phase == PT_PHASE_CALL, "test %u, phase %u", death->test,
              death->phase);
    cr_assert_eq(WTERMSIG(death->status), SIGKILL);
    cr_assert(death->began_us / 1000000 + 3600 > (uint64_t)time(NULL) && death->lasted_us < 3600000000u);
    cr_assert(strstr(death->stack, name), "stack: %s", death->stack);
    cr_assert(strstr(death->stack, "\nNative frames:\n#0 0x1 of a tool"), "stack: %s", death->stack);
}

/* Nothing comes after a DEATH, whatever is asked. */
static void check_silence(struct group *group)
{
    size_t before[MATES];
    for (uint32_t rank = 0; rank < group->size; rank++)
        before[rank] = group->mates[rank].nevents;
    group_say(group, PT_NONE, PT_RANK_HUNG, 1, 1, 0, PT_PHASE_CALL);
    group_say(group, PT_NONE, PT_RANK_FALL, 0, 0, 0, -1);
    group_bundle(group, 9, 0, "test_first", 90);
    group_say(group, PT_NONE, PT_L_STEAL, 2, 9, 0, -1);
    group_say(group, PT_NONE, PT_L_QUIT, 1, 1000, 0, -1);
    for (uint32_t rank = 0; rank < group->size; rank++) {
        mate_wait(group, rank, PT_L_BYE, 0);
        cr_assert_eq(group->mates[rank].nevents, before[rank] + 1, "message %u",
                     group->mates[rank].events[before[rank]].type);
    }
    group_close(group);
}

static void rank_1_dies(const char *name, uint32_t status)
{
    char tests[64];
    struct group *group = group_open(2, mpi);
    snprintf(tests, sizeof(tests), "test_first %s test_last", name);
    group_bundle(group, 1, 0, tests, 0);
    struct pt_death *death = &mate_wait(group, 1, PT_L_DEATH, 0)->death;
    cr_assert(death->cause == PT_CAUSE_DIED && death->test == 1 && death->phase == PT_PHASE_CALL);
    cr_assert_eq(death->rank, 1);
    cr_assert_eq(death->status & 0xff7f, status, "0x%x", death->status);
    cr_assert_eq(mate_count(group, 0, PT_L_DEATH), 0, "0x%x",
                 mate_wait(group, 0, PT_L_DEATH, 0)->death.status);
    group_say(group, 0, PT_RANK_FALL, 0, 0, 0, -1);
    check_fallen(group, 1, name);
    for (uint32_t rank = 0; rank < 2; rank++) {
        check_passed(group, rank, 0, 0);
        cr_assert_eq(mate_count(group, rank, PT_L_REPORT), 1);
        cr_assert_eq(mate_count(group, rank, PT_L_DONE), 0);
    }
    check_silence(group);
}

Test(worker_member, a_rank_that_crashes_is_told_and_the_others_fall, .timeout = 110)
{
    rank_1_dies("test_segv", SIGSEGV);
}

Test(worker_member, a_rank_that_exits_is_told_and_the_others_fall, .timeout = 110)
{
    rank_1_dies("test_exit", 3 << 8);
}

Test(worker_member, an_abort_is_told_as_that_of_the_rank_that_called_it, .timeout = 110)
{
    rank_1_dies("test_abort", 5 << 8);
}

/* mpirun is about to kill them all. */
Test(worker_member, after_an_abort_there_is_time_to_tell, .timeout = 110)
{
    struct group *group = group_create(2);
    group->slow = true;
    write_file(&group->lab, "test_g.py", mpi);
    group_start(group);
    group_bundle(group, 1, 0, "test_abort", 0);
    mate_wait(group, 1, PT_L_DEATH, 0);
    group_say(group, 0, PT_RANK_FALL, 0, 0, 0, -1);
    struct pt_death *death = &mate_wait(group, 0, PT_L_DEATH, 0)->death;
    cr_assert(death->cause == PT_CAUSE_FALL && strstr(death->stack, "test_abort"), "%s", death->stack);
    group_close(group);
}

Test(worker_member, a_crash_tells_the_stack_as_ever, .timeout = 110)
{
    struct group *group = group_open(2, mpi);
    group_bundle(group, 1, 0, "test_segv", 0);
    struct pt_death *death = &mate_wait(group, 1, PT_L_DEATH, 0)->death;
    cr_assert(strstr(death->stack, "Fatal Python error") && strstr(death->stack, "test_segv"), "stack: %s",
              death->stack);
    group_close(group);
}

Test(worker_member, who_is_over_its_time_is_dumped_and_told, .timeout = 110)
{
    struct group *group = group_open(2, mpi);
    group_bundle(group, 1, 5000, "test_first test_hang test_last", 0);
    for (uint32_t rank = 0; rank < 2; rank++) {
        struct pt_death *death = &mate_wait(group, rank, PT_L_DEATH, 0)->death;
        cr_assert(death->cause == PT_CAUSE_TIMEOUT && death->test == 1 && death->phase == PT_PHASE_CALL);
        cr_assert_eq(WTERMSIG(death->status), SIGKILL);
        cr_assert(strstr(death->stack, "test_hang"), "stack: %s", death->stack);
    }
    check_silence(group);
}

/* --- deadlocks --- */

Test(worker_member, who_waits_for_a_rank_that_failed_is_hung, .timeout = 110)
{
    struct group *group = group_open(2, mpi);
    group_bundle(group, 1, 0, "test_first test_raise test_last", 0);
    struct event *failed = mate_wait(group, 1, PT_RANK_FAILED, 0);
    cr_assert(failed->rank == 1 && failed->test == 1 && failed->outcome == PT_PHASE_CALL);
    /* another test, a phase that is over: nobody is hung */
    group_say(group, PT_NONE, PT_RANK_HUNG, 1, 0, 0, PT_PHASE_TEARDOWN);
    group_say(group, PT_NONE, PT_RANK_HUNG, 1, 1, 0, PT_PHASE_SETUP);
    group_say(group, PT_NONE, PT_RANK_HUNG, 1, 1, 0, PT_PHASE_CALL);
    struct pt_death *death = &mate_wait(group, 0, PT_L_DEATH, 0)->death;
    cr_assert(death->cause == PT_CAUSE_DEADLOCK && death->test == 1 && death->phase == PT_PHASE_CALL);
    cr_assert(strstr(death->stack, "test_raise"), "stack: %s", death->stack);
    cr_assert_eq(mate_count(group, 1, PT_L_DEATH), 0);
    struct event *report = mate_wait(group, 1, PT_L_REPORT, 1);
    cr_assert(report->test == 1 && report->outcome == PT_OUTCOME_FAILED, "%s", report->text);
    group_say(group, PT_NONE, PT_RANK_FALL, 0, 0, 0, -1);
    death = &mate_wait(group, 1, PT_L_DEATH, 0)->death;
    cr_assert(death->cause == PT_CAUSE_FALL && death->test == PT_NONE);
    check_silence(group);
}

/* --- a fall at any time --- */

static void fall(struct group *group)
{
    group_say(group, PT_NONE, PT_RANK_FALL, 0, 0, 0, -1);
    for (uint32_t rank = 0; rank < group->size; rank++) {
        struct pt_death *death = &mate_wait(group, rank, PT_L_DEATH, 0)->death;
        cr_assert(death->cause == PT_CAUSE_FALL && death->test == PT_NONE && death->file == PT_NONE);
        cr_assert_eq(death->bundle, PT_NONE);
        cr_assert_eq(death->phase, PT_PHASE_SESSION);
        cr_assert_eq(mate_count(group, rank, PT_L_BROKEN), 0);
    }
    check_silence(group);
}

Test(worker_member, a_fall_before_there_is_a_session, .timeout = 110)
{
    struct group *group = group_create(2);
    group->unwelcome = true;
    group_start(group);
    fall(group);
}

Test(worker_member, a_fall_while_runners_come_up, .timeout = 110)
{
    struct group *group = group_create(2);
    write_file(&group->lab, "conftest.py", "import time\ntime.sleep(1000)\n");
    group_start(group);
    fall(group);
}

Test(worker_member, a_fall_between_bundles, .timeout = 110)
{
    struct group *group = group_open(2, mpi);
    group_bundle(group, 1, 0, "test_first", 0);
    wait_done(group, 0);
    fall(group);
}

Test(worker_member, a_fall_while_files_are_imported, .timeout = 110)
{
    struct group *group = group_open(1, "import time\n"
                                        "open('here', 'w').close()\n"
                                        "def wait(): time.sleep(1000)\n"
                                        "wait()\n"
                                        "def test_a(): pass\n");
    char path[128];
    snprintf(path, sizeof(path), "%s/here", group->lab.workspace);
    group_bundle(group, 1, 0, "test_a", 0);
    for (int64_t deadline = pt_now_ms() + PATIENCE_MS; access(path, F_OK) < 0; group_pump(group, 20))
        cr_assert_lt(pt_now_ms(), deadline);
    group_say(group, PT_NONE, PT_RANK_FALL, 0, 0, 0, -1);
    struct pt_death *death = &mate_wait(group, 0, PT_L_DEATH, 0)->death;
    cr_assert(death->cause == PT_CAUSE_FALL && death->test == PT_NONE && death->file == 0);
    cr_assert_str_eq(death->path, "test_g.py");
    group_close(group);
}

/* --- no second runner --- */

Test(worker_member, a_session_that_cannot_start_is_broken_once, .timeout = 110)
{
    struct group *group = group_create(2);
    write_file(&group->lab, "conftest.py", "raise RuntimeError('not here')\n");
    group_start(group);
    for (uint32_t rank = 0; rank < 2; rank++) {
        struct event *e = mate_wait(group, rank, PT_L_BROKEN, 0);
        cr_assert(strstr(e->text, "not here"), "%s", e->text);
    }
    check_silence(group);
}

Test(worker_member, a_runner_that_dies_before_it_is_up_is_broken, .timeout = 110)
{
    struct group *group = group_create(1);
    write_file(&group->lab, "conftest.py", "import os\nos.kill(os.getpid(), 9)\n");
    group_start(group);
    struct event *e = mate_wait(group, 0, PT_L_BROKEN, 0);
    cr_assert(strstr(e->text, "the runner was killed by signal 9"), "%s", e->text);
    check_silence(group);
}

/* --- cores --- */

static void bind_to(struct group *group, const uint32_t *cpus, uint32_t n)
{
    for (uint32_t rank = 0; rank < group->size; rank++) {
        struct pt_buf msg = {0};
        size_t mark = pt_frame_begin(&msg, PT_RANK_BIND);
        pt_put_u32(&msg, n);
        for (uint32_t i = 0; i < n; i++)
            pt_put_u32(&msg, cpus[i]);
        pt_frame_end(&msg, mark);
        mate_send(&group->mates[rank], &msg);
    }
}

Test(worker_member, all_threads_run_where_they_should, .timeout = 110)
{
    cpu_set_t own;
    cr_assert_eq(sched_getaffinity(0, sizeof(own), &own), 0);
    uint32_t cpu = 0, none = 8191;
    while (!CPU_ISSET(cpu, &own))
        cpu++;
    char text[1024];
    snprintf(text, sizeof(text),
             "import os, threading, time\n"
             "def where():\n"
             "    tasks = [int(t) for t in os.listdir('/proc/self/task')]\n"
             "    return len(tasks), set().union(*map(os.sched_getaffinity, tasks))\n"
             "def test_here():\n"
             "    assert where()[1] == {%u}\n"
             "    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
             "def test_all():\n"
             "    assert where()[0] > 1 and len(where()[1]) == %d\n"
             "def test_again():\n"
             "    assert where()[0] > 1 and where()[1] == {%u}\n",
             cpu, CPU_COUNT(&own), cpu);
    struct group *group = group_open(1, text);
    bind_to(group, &cpu, 1); /* the runner may not be there yet */
    group_bundle(group, 1, 0, "test_here", 0);
    wait_done(group, 0);
    bind_to(group, NULL, 0);
    group_bundle(group, 2, 0, "test_all", 1);
    wait_done(group, 1);
    bind_to(group, &cpu, 1);
    bind_to(group, &none, 1); /* no machine has it: all stays */
    group_bundle(group, 3, 0, "test_again", 2);
    wait_done(group, 2);
    for (uint32_t i = 0; i < 3; i++)
        check_passed(group, 0, i, i);
    quit(group);
}

/* --- the other end --- */

/* Each order cut short, and too long: it is no order. */
Test(worker_member, orders_that_make_no_sense_are_ignored, .timeout = 110)
{
    static const unsigned char body[13] = {0, 0, 0, 1};
    static const struct {
        uint8_t type;
        size_t right;
    } orders[] = {{PT_RANK_WELCOME, 12}, {PT_RANK_BIND, 8}, {PT_RANK_HUNG, 5}, {PT_RANK_FALL, 0}};
    struct group *group = group_open(1, "def test_a(): pass\n");
    for (size_t i = 0; i < PT_COUNT(orders); i++)
        for (size_t n = 0; n <= sizeof(body); n++) {
            struct pt_buf msg = {0};
            if (n == orders[i].right && orders[i].type != PT_RANK_WELCOME) /* a second WELCOME is none */
                continue;
            size_t mark = pt_frame_begin(&msg, orders[i].type);
            pt_buf_append(&msg, body, n);
            pt_frame_end(&msg, mark);
            mate_send(&group->mates[0], &msg);
        }
    group_bundle(group, 1, 0, "test_a", 0);
    wait_done(group, 0);
    check_passed(group, 0, 0, 0);
    quit(group);
}

Test(worker_member, members_and_runners_go_with_their_hub, .timeout = 110)
{
    struct group *group = group_open(2, "import os, time\n"
                                        "def test_a():\n"
                                        "    with open('pids', 'a') as f: f.write('%d\\n' % os.getpid())\n"
                                        "    time.sleep(1000)\n");
    char path[128];
    int pids[2] = {0}, n = 0;
    snprintf(path, sizeof(path), "%s/pids", group->lab.workspace);
    group_bundle(group, 1, 0, "test_a", 0);
    for (int64_t deadline = pt_now_ms() + PATIENCE_MS; n < 2; group_pump(group, 20)) {
        FILE *f = fopen(path, "r");
        n = f ? fscanf(f, "%d\n%d\n", &pids[0], &pids[1]) : 0;
        if (f)
            fclose(f);
        cr_assert_lt(pt_now_ms(), deadline);
    }
    for (uint32_t rank = 0; rank < 2; rank++) {
        close(group->mates[rank].fd);
        group->mates[rank].fd = -1;
    }
    lab_join(&group->lab);
    for (int64_t deadline = pt_now_ms() + PATIENCE_MS; kill(pids[0], 0) == 0 || kill(pids[1], 0) == 0;
         poll(NULL, 0, 20))
        cr_assert_lt(pt_now_ms(), deadline, "a runner is left");
    group_close(group);
}

Test(worker_member, a_process_that_no_launcher_started_is_no_member)
{
    struct lab lab = {.slots = 1};
    char worker[512];
    unsetenv("OMPI_COMM_WORLD_RANK");
    snprintf(lab.dir, sizeof(lab.dir), "/tmp/pt-member-XXXXXX");
    cr_assert(mkdtemp(lab.dir));
    snprintf(worker, sizeof(worker), "%s/bin/ptremote-worker", need_env("PTREMOTE_BUILD"));
    const char *const argv[] = {worker,     "--run-dir", lab.dir,   "--host", "4",
                                "--launch", "2",         "--group", "7",      NULL};
    int status = wait_child(spawn(&lab, "worker", argv), PATIENCE_MS);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "0x%x", status);
    cr_assert(strstr(read_log(&lab, "worker.log"), "OMPI_COMM_WORLD_RANK is not set"), "%s",
              read_log(&lab, "worker.log"));
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", lab.dir);
    cr_expect_eq(system(command), 0);
}

/* --- over several hosts --- */

static const char spread[] = "import os\n"
                             "from mpi4py import MPI\n"
                             "def test_spread():\n"
                             "    assert os.environ['PTREMOTE_SPREAD'] == '1'\n"
                             "    assert MPI.COMM_WORLD.allreduce(1) == 3\n";

static struct group *open_far(uint32_t size, uint32_t far, bool unwelcome)
{
    struct group *group = group_create(size);
    group->spread = 1;
    group->far = far;
    group->unwelcome = unwelcome;
    write_file(&group->lab, "test_g.py", spread);
    group_start(group);
    return group;
}

Test(worker_member, ranks_of_several_hosts, .timeout = 110)
{
    struct group *group = open_far(3, 2, false);
    group_bundle(group, 1, 0, "test_spread", 10);
    wait_done(group, 0);
    for (uint32_t rank = 0; rank < 3; rank++)
        check_passed(group, rank, 0, 10);
    quit(group);
}

Test(worker_member, others_are_not_told_of_several_hosts, .timeout = 110)
{
    struct group *group = group_open(1, "import os\n"
                                        "def test_here(): assert 'PTREMOTE_SPREAD' not in os.environ\n");
    group_bundle(group, 1, 0, "test_here", 0);
    check_passed(group, 0, 0, 0);
    quit(group);
}

static void expect_failure(struct group *group, const char *why)
{
    int status = lab_join(&group->lab);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1, "0x%x", status);
    cr_assert(strstr(read_log(&group->lab, "mpirun.log"), why), "%s", read_log(&group->lab, "mpirun.log"));
    group_close(group);
}

/* Not before the hub welcomed it; what has that number then is of the hub. */
Test(worker_member, a_hub_that_cannot_be_reached, .timeout = 110)
{
    struct group *group = open_far(1, 1, true);
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_Y_REFUSED);
    pt_put_str(&msg, "h9 is not up");
    pt_frame_end(&msg, mark);
    mate_send(&group->mates[0], &msg);
    expect_failure(group, "the hub of host 9 was not reached: h9 is not up");
}

Test(worker_member, a_hub_that_goes_before_it_answers, .timeout = 110)
{
    struct group *group = open_far(1, 1, true);
    close(group->mates[0].fd);
    group->mates[0].fd = -1;
    expect_failure(group, "the hub of host 9 was not reached: closed by the other end");
}

Test(worker_member, a_far_member_goes_with_its_hub, .timeout = 110)
{
    struct group *group = open_far(1, 1, false);
    mate_wait(group, 0, PT_RANK_READY, 0);
    close(group->mates[0].fd);
    group->mates[0].fd = -1;
    lab_join(&group->lab);
    cr_assert_str_eq(read_log(&group->lab, "mpirun.log"), "");
    group_close(group);
}

Test(worker_member, started_in_another_folder, .timeout = 110)
{
    struct group *group = group_create(1);
    group->astray = true;
    make_tool(&group->lab, false);
    spawn_group(group);
    expect_failure(group, "started in /, and not in the run's folder /tmp/pt-member-");
}

Test(worker_member, no_agent_that_passes_it_on, .timeout = 110)
{
    struct group *group = group_create(1);
    group->far = 1;
    make_tool(&group->lab, false);
    spawn_group(group);
    expect_failure(group, "the agent: ");
}
