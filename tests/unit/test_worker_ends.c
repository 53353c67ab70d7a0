/* SPDX-License-Identifier: Apache-2.0 */
/* How runners end, and what they wrote: memory, QUIT while a test runs, tear-downs, output in order. */
#include "worker_lab.h"

/* All that was written, in the order it came; heap. */
static char *all_output(const struct lab *lab)
{
    struct pt_buf all = {0};
    for (size_t i = 0; i < lab->nevents; i++)
        if (lab->events[i].type == PT_L_OUTPUT)
            pt_buf_append(&all, lab->events[i].text, strlen(lab->events[i].text));
    pt_buf_append(&all, "", 1);
    cr_assert_not(all.bad);
    return (char *)all.data;
}

Test(worker_ends, a_runner_above_its_memory_is_ended, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_m.py",
               "import os, subprocess, sys, time\n"
               "def test_a(): pass\n"
               "def test_eats():\n    x = bytearray(600 << 20)\n    time.sleep(1000)\n"
               "def test_feeds():\n    subprocess.run([sys.executable, '-c',\n"
               "        'x = bytearray(600 << 20); import time; time.sleep(1000)'])\n"
               "def test_b(): pass\n");
    lab_limits(lab, (struct pt_limits){.runners = PT_NONE, .memory = 400u << 20});
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_m.py", "test_a test_eats test_feeds test_b", 0);
    lab_wait(lab, PT_L_DONE, 0);
    lab_expect_told(lab, 4);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 2);
    for (uint32_t i = 0; i < 2; i++) {
        struct pt_death *death = &lab_wait(lab, PT_L_DEATH, i)->death;
        unsigned had = 0, limit = 0;
        cr_assert(death->test == 1 + i && death->cause == PT_CAUSE_MEMORY && death->phase == PT_PHASE_CALL);
        cr_assert_eq(sscanf(death->output, "%u MiB, limit %u MiB\n", &had, &limit), 2, "%s", death->output);
        cr_assert(limit == 400 && had >= 400 && had < 2000, "%u, %u", had, limit);
    }
    lab_quit(lab);
    lab_destroy(lab);
}

/* A folder of the kernel's in which 64 MiB is all there is; false where we may not make one. */
static bool make_group(char *path, size_t size)
{
    static const char *const ways[][2] = {{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                                          {"/sys/fs/cgroup", "memory.max"}};
    for (size_t i = 0; i < PT_COUNT(ways); i++) {
        char limit[256];
        snprintf(path, size, "%s/ptremote-test-%d", ways[i][0], (int)getpid());
        snprintf(limit, sizeof(limit), "%s/%s", path, ways[i][1]);
        bool made = mkdir(path, 0700) == 0;
        FILE *f = made ? fopen(limit, "we") : NULL;
        bool limited = f && fputs("67108864", f) >= 0;
        limited = f && fclose(f) == 0 && limited;
        if (limited)
            return true;
        if (made)
            rmdir(path);
    }
    return false;
}

static void who_the_kernel_killed_is_named(const char *session)
{
    char group[128], text[1024];
    if (!make_group(group, sizeof(group)))
        cr_skip_test("no control group can be made here");
    struct lab *lab = lab_open(1);
    snprintf(text, sizeof(text),
             "import os, signal\n"
             "def test_eats():\n"
             "    with open('%s/cgroup.procs', 'w') as f: f.write(str(os.getpid()))\n"
             "    x = bytearray(600 << 20)\n"
             "def test_kill(): os.kill(os.getpid(), signal.SIGKILL)\n",
             group);
    write_file(lab, "test_o.py", text);
    lab->session = session;
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_o.py", "test_eats test_kill", 0);
    lab_wait(lab, PT_L_DONE, 0);
    struct pt_death *oom = &lab_wait(lab, PT_L_DEATH, 0)->death, *own = &lab_wait(lab, PT_L_DEATH, 1)->death;
    cr_expect(oom->test == 0 && oom->cause == PT_CAUSE_OOM && WTERMSIG(oom->status) == SIGKILL, "cause %u",
              oom->cause);
    cr_expect(own->test == 1 && own->cause == PT_CAUSE_DIED, "cause %u", own->cause);
    cr_expect_eq(lab_count(lab, PT_L_DEATH), 2);
    lab_quit(lab);
    lab_destroy(lab);
    rmdir(group);
}

Test(worker_ends, who_the_kernel_killed_for_memory_is_named, .timeout = 110)
{
    who_the_kernel_killed_is_named("");
    who_the_kernel_killed_is_named(",\"isolate\":\"test\"");
}

static const char fixtures[] = "import os, pytest, time\n"
                               "@pytest.fixture(scope='session', autouse=True)\n"
                               "def whole():\n    yield\n    open('torn-down', 'w').close()\n";

static void quit_lets_the_test_end(const char *session)
{
    struct lab *lab = lab_open(1);
    char path[128];
    lab->session = session;
    write_file(lab, "conftest.py", fixtures);
    write_file(lab, "test_q.py",
               "import os, time\n"
               "def test_long():\n    while not os.path.exists('go'): time.sleep(0.01)\n"
               "def test_next(): pass\ndef test_b(): time.sleep(1000)\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_q.py", "test_long test_next test_b", 0);
    lab_bundle(lab, 2, 0, "test_q.py", "test_b", 10);
    lab_wait(lab, PT_L_STARTED, 0);
    lab_say(lab, PT_L_QUIT, 1, 20000);
    lab_steal(lab, 1, 2, 3);
    cr_assert_eq(lab_wait(lab, PT_L_STOLEN, 0)->n, 0, "too late");
    write_file(lab, "go", "");
    lab_wait(lab, PT_L_BYE, 1);
    cr_assert_eq(lab_join(lab), 0);
    cr_assert_eq(lab_told(lab, 0), 1);
    cr_assert(lab_told(lab, 2) == 0 && lab_told(lab, 10) == 0);
    cr_assert(lab_count(lab, PT_L_DEATH) == 0 && lab_count(lab, PT_L_DONE) == 0);
    snprintf(path, sizeof(path), "%s/torn-down", lab->workspace);
    cr_assert_eq(access(path, F_OK), 0, "session fixtures were torn down");
    lab_destroy(lab);
}

Test(worker_ends, quit_lets_the_test_end_and_tears_down, .timeout = 110)
{
    quit_lets_the_test_end("");
}

Test(worker_ends, quit_lets_the_test_of_a_bundles_child_end, .timeout = 110)
{
    quit_lets_the_test_end(",\"isolate\":\"bundle\"");
}

Test(worker_ends, quit_lets_the_child_of_a_test_end, .timeout = 110)
{
    quit_lets_the_test_end(",\"isolate\":\"test\"");
}

Test(worker_ends, quit_waits_no_longer_than_its_grace, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_q.py", "import time\ndef test_hang(): time.sleep(1000)\ndef test_b(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_q.py", "test_hang test_b", 0);
    lab_wait(lab, PT_L_STARTED, 0);
    lab_say(lab, PT_L_QUIT, 1, 300);
    lab_wait(lab, PT_L_BYE, 1);
    struct pt_death *death = &lab_wait(lab, PT_L_DEATH, 0)->death;
    cr_assert(death->test == 0 && death->cause == PT_CAUSE_TIMEOUT);
    cr_assert(lab_told(lab, 1) == 0 && lab_count(lab, PT_L_DONE) == 0);
    cr_assert_eq(lab_join(lab), 0);
    lab_destroy(lab);
}

Test(worker_ends, a_long_tear_down_has_its_grace, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_t.py",
               "import time, pytest\n"
               "@pytest.fixture\ndef slow():\n    yield\n    time.sleep(2.5)\n"
               "@pytest.fixture\ndef never():\n    yield\n    time.sleep(1000)\n"
               "def test_slow(slow): pass\ndef test_never(never): pass\ndef test_hang(): time.sleep(1000)\n");
    lab_limits(lab, (struct pt_limits){.runners = PT_NONE, .grace_ms = 6000});
    lab_session(lab);
    lab_bundle(lab, 1, 2000, "test_t.py", "test_slow test_never test_hang", 0);
    lab_wait(lab, PT_L_DONE, 0);
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 1);
    cr_assert_eq(lab_wait(lab, PT_L_REPORT, 0)->test, 0);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 2);
    cr_assert_eq(lab_wait(lab, PT_L_DEATH, 0)->death.phase, PT_PHASE_TEARDOWN);
    cr_assert_eq(lab_wait(lab, PT_L_DEATH, 1)->death.phase, PT_PHASE_CALL);
    lab_quit(lab);
    lab_destroy(lab);
}

/* A counter over all processes of the run, written past Python's own buffers. */
static const char counts[] = "import os, signal, time, pytest\n"
                             "def count(k=1):\n"
                             "    for _ in range(k):\n"
                             "        n = os.path.getsize('count')\n"
                             "        os.write(1, b'<%d>' % n)\n"
                             "        with open('count', 'a') as f: f.write('.')\n"
                             "@pytest.fixture(scope='session', autouse=True)\n"
                             "def whole():\n    count()\n    yield\n    count(5)\n"
                             "def test_a(): count(3)\n"
                             "def test_segv(): count(2); os.kill(os.getpid(), signal.SIGSEGV)\n"
                             "def test_exit(): count(2); os._exit(3)\n"
                             "def test_hang(): count(2); time.sleep(1000)\n"
                             "def test_b(): count(4)\n";

/* The numbers 0, 1, 2 .. each once and in order, whatever else is there; how many there are. */
static size_t check_counter(const char *text)
{
    size_t n = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        char *end;
        unsigned long value = strtoul(at + 1, &end, 10);
        if (end == at + 1 || *end != '>')
            continue;
        cr_assert_eq(value, n, "%lu where %zu was due", value, n);
        n++;
    }
    return n;
}

static void count_through_crashes(uint32_t output_ms, const char *session)
{
    struct lab *lab = lab_open(1);
    struct stat st;
    char path[128];
    lab->session = session;
    write_file(lab, "count", "");
    write_file(lab, "test_c.py", counts);
    lab->uncaptured = true;
    lab_limits(lab, (struct pt_limits){.runners = PT_NONE, .output_ms = output_ms});
    lab_session(lab);
    lab_bundle(lab, 1, 2500, "test_c.py", "test_a test_segv test_b test_exit test_a test_hang test_b", 0);
    lab_bundle(lab, 2, 0, "test_c.py", "test_a test_b", 10);
    lab_wait(lab, PT_L_DONE, 1);
    lab_quit(lab);
    cr_assert_eq(lab_count(lab, PT_L_DEATH), 3);
    pt_auto_free char *text = all_output(lab);
    snprintf(path, sizeof(path), "%s/count", lab->workspace);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(check_counter(text), (size_t)st.st_size, "%s", text);
    cr_assert_gt(st.st_size, 30);
    cr_assert(strstr(text, "Segmentation fault"), "the stack is there too");
    size_t live = 0;
    for (size_t i = 0; i < lab->nevents; i++) {
        const struct event *e = &lab->events[i];
        live += e->type == PT_L_OUTPUT && e->test == 5 && e->bundle == 1 && strstr(e->text, "<") != NULL;
    }
    cr_assert(live > 0, "what a test wrote that hung is told as its");
    lab_destroy(lab);
}

Test(worker_ends, output_is_whole_and_in_order, .timeout = 110)
{
    count_through_crashes(0, NULL);
}

Test(worker_ends, output_of_children_is_whole_and_in_order, .timeout = 110)
{
    count_through_crashes(0, ",\"isolate\":\"bundle\"");
}

Test(worker_ends, live_output_of_children_is_whole_and_in_order, .timeout = 110)
{
    count_through_crashes(20, ",\"isolate\":\"test\"");
}

Test(worker_ends, live_output_is_whole_and_in_order, .timeout = 110)
{
    count_through_crashes(20, NULL);
}

Test(worker_ends, live_output_comes_while_a_test_runs, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "test_l.py",
               "import os, time\n"
               "def test_l():\n    os.write(1, b'now')\n"
               "    while not os.path.exists('go'): time.sleep(0.01)\n");
    lab->uncaptured = true;
    lab_limits(lab, (struct pt_limits){.runners = PT_NONE});
    lab_session(lab);
    lab_bundle(lab, 6, 0, "test_l.py", "test_l", 7);
    lab_wait(lab, PT_L_STARTED, 0);
    lab_limits(lab, (struct pt_limits){.runners = PT_NONE, .output_ms = 10});
    pt_auto_free char *text = NULL;
    for (size_t i = 0; !text || !strstr(text, "now"); i++) {
        struct event *e = lab_wait(lab, PT_L_OUTPUT, i);
        free(text);
        text = all_output(lab);
        if (strstr(text, "now"))
            cr_assert(e->bundle == 6 && e->test == 7);
    }
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 0);
    write_file(lab, "go", "");
    lab_wait(lab, PT_L_DONE, 0);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker_ends, much_output_waits_for_the_master, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    write_file(lab, "count", "");
    write_file(lab, "test_c.py",
               "import os\n"
               "def test_a():\n"
               "    line = b'.' * 1000\n"
               "    for i in range(50): os.write(1, b''.join(b'<%d>%s' % (i * 1000 + k, line) for k in "
               "range(1000)))\n"
               "def test_b(): os.write(1, b'<50000>')\n");
    lab->uncaptured = lab->hold_acks = true;
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_c.py", "test_a", 0);
    lab_bundle(lab, 2, 0, "test_c.py", "test_b", 1);
    lab_wait(lab, PT_L_OUTPUT, 30);
    lab_pump_until_silent(lab);
    cr_assert_lt(lab_count(lab, PT_L_OUTPUT), 120, "it waits");
    lab->hold_acks = false;
    lab_ack(lab, lab->last_seq);
    lab_wait(lab, PT_L_DONE, 1);
    lab_quit(lab);
    pt_auto_free char *text = all_output(lab);
    cr_assert_eq(check_counter(text), 50001);
    lab_destroy(lab);
}
