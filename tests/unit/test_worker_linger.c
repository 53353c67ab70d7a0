/* SPDX-License-Identifier: Apache-2.0 */
/* The link breaks and comes again: the ranks go on, and everything arrives once and in order. */
#include "worker_lab.h"

#define LINGER_MS 60000

static struct lab *open_lingering(uint32_t slots)
{
    struct lab *lab = lab_create(slots);
    lab->linger_ms = LINGER_MS;
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, lab->ca, "master");
    lab_welcome(lab);
    start_server(lab);
    return lab;
}

/* As when the agent loses its channel. */
static void cut(struct lab *lab)
{
    close(lab->fd);
    lab->fd = -1;
    pt_tls_destroy(lab->tls);
    lab->tls = NULL;
    pt_buf_clear(&lab->plain);
    lab->cut = lab->closed = false;
}

/* The next link, with everything above acked still to be told; what its HELLO says was got. */
static uint64_t come_again(struct lab *lab, uint64_t acked)
{
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, lab->ca, "master");
    return lab_welcome_at(lab, acked);
}

static void wait_for_file(struct lab *lab, const char *name)
{
    char path[256];
    int64_t deadline = pt_now_ms() + PATIENCE_MS;
    snprintf(path, sizeof(path), "%s/%s", lab->workspace, name);
    while (access(path, F_OK) < 0) {
        cr_assert_lt(pt_now_ms(), deadline, "%s did not come; %s", path, read_log(lab, "mpirun.log"));
        poll(NULL, 0, 10);
    }
}

static const char two_files[] = "import os, time\n"
                                "def test_a(): pass\n"
                                "def test_b():\n"
                                "    open('b-began', 'w').close()\n"
                                "    while not os.path.exists('go'): time.sleep(0.01)\n"
                                "def test_c(): pass\n"
                                "def test_d(): open('d-ran', 'w').close()\n";

Test(worker_linger, what_is_not_acknowledged_is_told_again, .timeout = 110)
{
    struct lab *lab = open_lingering(1);
    write_file(lab, "test_l.py", two_files);
    lab->hold_acks = true;
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_l.py", "test_a test_b", 0);
    lab_bundle(lab, 2, 0, "test_l.py", "test_c test_d", 2);
    wait_for_file(lab, "b-began");
    lab_wait(lab, PT_L_REPORT, 0);
    uint64_t acked = lab->last_seq;
    lab_ack(lab, acked);
    cut(lab);
    write_file(lab, "go", "");
    wait_for_file(lab, "d-ran"); /* the second bundle waited at the host */
    lab->hold_acks = false;
    /* SESSION and two bundles */
    cr_expect_eq(come_again(lab, acked), 3);
    lab_wait(lab, PT_L_DONE, 1);
    lab_expect_told(lab, 4);
    lab_quit(lab);
    lab_destroy(lab);
}

/* The acknowledgement was lost with the link; the master knows better, or knows less. */
Test(worker_linger, the_master_says_where_to_go_on, .timeout = 110)
{
    struct lab *lab = open_lingering(1);
    write_file(lab, "test_l.py", "def test_a(): pass\n\ndef test_b(): pass\n");
    lab->hold_acks = true;
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_l.py", "test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    uint64_t last = lab->last_seq;
    cut(lab);
    cr_expect_eq(come_again(lab, last), 2); /* all is there */
    lab_bundle(lab, 2, 0, "test_l.py", "test_b", 1);
    lab_wait(lab, PT_L_DONE, 1);
    cr_expect_eq(lab_told(lab, 0), 1);
    uint64_t later = lab->last_seq;
    cut(lab);
    cr_expect_eq(come_again(lab, last), 3); /* of the second bundle nothing is there */
    lab_wait(lab, PT_L_DONE, 2);
    cr_expect_eq(lab->last_seq, later);
    cr_expect_eq(lab_told(lab, 0), 1);
    cr_expect_eq(lab_told(lab, 1), 2);
    lab->hold_acks = false;
    lab_ack(lab, lab->last_seq);
    lab_quit(lab);
    lab_destroy(lab);
}

/* Before HELLO, after HELLO, and before anything was acknowledged. */
Test(worker_linger, many_cuts_in_a_row, .timeout = 110)
{
    struct lab *lab = open_lingering(2);
    write_file(lab, "test_l.py", two_files);
    lab->hold_acks = true;
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_l.py", "test_a test_b", 0);
    wait_for_file(lab, "b-began");
    for (int i = 0; i < 3; i++) {
        cut(lab);
        lab_accept(lab);
        lab_send_key(lab, "host/4/worker", 4, "");
        if (i == 0)
            continue;
        lab_use_tls(lab, lab->ca, "master");
        if (i == 1)
            lab_wait(lab, PT_L_HELLO, lab->nlinks++);
        else
            lab_welcome_at(lab, 0);
    }
    cut(lab);
    write_file(lab, "go", "");
    lab->hold_acks = false;
    size_t done = lab_count(lab, PT_L_DONE);
    cr_expect_eq(come_again(lab, 0), 2);
    lab_wait(lab, PT_L_DONE, done);
    cr_expect_geq(lab_told(lab, 0), 1);
    cr_expect_eq(lab_told(lab, 1), 1);
    lab_quit(lab);
    lab_destroy(lab);
}

/* More than is kept in memory, and than made ranks wait: the file at the end runs all the same. */
Test(worker_linger, much_that_is_told_while_nobody_is_there, .timeout = 110)
{
    enum { TESTS = 60 };
    struct lab *lab = open_lingering(1);
    struct pt_buf names = {0};
    size_t bytes = 0;
    char name[32];
    write_file(lab, "test_m.py",
               "import os, pytest\n"
               "@pytest.mark.parametrize('i', range(60))\n"
               "def test_m(i):\n"
               "    if i == 59: open('last', 'w').close()\n"
               "    assert False, os.urandom(400000).hex()\n");
    lab_session(lab);
    for (int i = 0; i < TESTS; i++) {
        snprintf(name, sizeof(name), "%stest_m[%d]", i ? " " : "", i);
        pt_buf_append(&names, name, strlen(name));
    }
    pt_buf_append(&names, "", 1);
    cut(lab);
    cr_expect_eq(come_again(lab, 0), 1);
    lab_bundle(lab, 1, 0, "test_m.py", (char *)names.data, 0);
    pt_buf_fini(&names);
    lab_wait(lab, PT_L_GOT, 0);
    uint64_t acked = lab->last_seq;
    cut(lab);
    wait_for_file(lab, "last");
    cr_expect_eq(come_again(lab, acked), 2);
    lab_wait(lab, PT_L_DONE, 0);
    for (size_t i = 0; i < lab->nevents; i++)
        bytes += lab->events[i].type == PT_L_REPORT ? strlen(lab->events[i].text) : 0;
    cr_expect_gt(bytes, 30u << 20, "%zu bytes are not too much", bytes);
    lab_expect_told(lab, TESTS);
    lab_quit(lab);
    lab_destroy(lab);
}

/* The good end waits for who is to acknowledge it. */
Test(worker_linger, link_breaks_while_it_ends, .timeout = 110)
{
    struct lab *lab = open_lingering(2);
    write_file(lab, "test_l.py", "def test_a(): pass\n");
    lab->hold_acks = true;
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_l.py", "test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    lab_say(lab, PT_L_QUIT, 1, 10000);
    lab_wait(lab, PT_L_BYE, 2);
    cut(lab);
    lab->hold_acks = false;
    cr_expect_eq(come_again(lab, 0), 3);
    lab_wait(lab, PT_L_BYE, 5);
    while (!lab->closed && !lab->cut)
        lab_pump(lab, 100);
    cr_expect(lab->closed, "the link was closed, not cut");
    cr_expect_eq(lab_join(lab), 0, "%s", read_log(lab, "mpirun.log"));
    lab_destroy(lab);
}

static const char *join_and_read(struct lab *lab)
{
    cr_expect_neq(lab_join(lab), 0);
    return read_log(lab, "mpirun.log");
}

/* The agent ended what lingered, or is gone. */
Test(worker_linger, agent_closes_the_door, .timeout = 110)
{
    struct lab *lab = open_lingering(1);
    lab_session(lab);
    cut(lab);
    lab_accept(lab);
    cut(lab);
    const char *log = join_and_read(lab);
    cr_expect(strstr(log, "the agent closed the link") != NULL, "%s", log);
    lab_destroy(lab);
}

Test(worker_linger, a_refusal_is_final, .timeout = 110)
{
    struct pt_buf msg = {0};
    struct lab *lab = open_lingering(1);
    lab_session(lab);
    cut(lab);
    lab_accept(lab);
    lab_send_key(lab, "host/4/worker", 4, "");
    lab_use_tls(lab, lab->ca, "master");
    lab_wait(lab, PT_L_HELLO, 1);
    size_t mark = pt_frame_begin(&msg, PT_L_REFUSED);
    pt_put_str(&msg, "not any more");
    pt_frame_end(&msg, mark);
    lab_send(lab, &msg);
    const char *log = join_and_read(lab);
    cr_expect(strstr(log, "the master refused this worker: not any more") != NULL, "%s", log);
    lab_destroy(lab);
}

Test(worker_linger, a_master_that_lost_acknowledged_reports_is_no_master, .timeout = 110)
{
    struct lab *lab = open_lingering(1);
    write_file(lab, "test_l.py", "def test_a(): pass\n");
    lab_session(lab);
    lab_bundle(lab, 1, 0, "test_l.py", "test_a", 0);
    lab_wait(lab, PT_L_DONE, 0);
    lab_wait(lab, PT_L_GOT, 0); /* so the acknowledgements before it were taken */
    cut(lab);
    come_again(lab, 0);
    const char *log = join_and_read(lab);
    cr_expect(strstr(log, "the master has messages of this launch that were never sent, or lost some") !=
                  NULL,
              "%s", log);
    lab_destroy(lab);
}

Test(worker_linger, not_where_the_run_does_not, .timeout = 110)
{
    struct lab *lab = lab_open(1);
    lab_session(lab);
    cut(lab);
    const char *log = join_and_read(lab);
    cr_expect(strstr(log, "link: ") != NULL, "%s", log);
    lab_destroy(lab);
}
