/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on while nobody is there, and what ends: groups of this host live, what other hosts have here, or
 * the collector tells, falls with the channel. */
#include "across_lab.h"

#define SECRET "0123456789abcdef0123456789abcdef"

static char tree[128], mpirun[160], run_dir[256];

static void set_up_linger(void)
{
    char path[256];
    set_up_groups();
    snprintf(tree, sizeof(tree), "%s/shared", w.dir);
    snprintf(path, sizeof(path), "%s/.ptremote", tree);
    cr_assert(mkdir(tree, 0755) == 0 && mkdir(path, 0700) == 0);
    snprintf(path, sizeof(path), "%s/.ptremote/shared-1", tree);
    write_file(path, SECRET, 0600);
    snprintf(mpirun, sizeof(mpirun), "%s/mpirun", w.dir);
    write_file(mpirun, "#!/bin/sh\nexec mpirun \"$@\"\n", 0700);
    snprintf(path, sizeof(path), "%s/orted", w.dir);
    write_file(path, "#!/bin/sh\n: >\"$HOME/staying\"\nwhile :; do sleep 1; done\n", 0700);
}

TestSuite(agent_linger_groups, .init = set_up_linger, .fini = tear_down, .timeout = 100);

static void start_lingering(void)
{
    struct pt_setup setup = default_setup();
    setup.shared = tree;
    setup.proof = (char *)".ptremote/shared-1";
    setup.secret = (char *)SECRET;
    setup.mpirun = mpirun;
    setup.linger_ms = 60000;
    start_launch(&setup);
    send_linger();
    glob_t g;
    char pattern[128];
    snprintf(pattern, sizeof(pattern), "%s/ptremote-*", w.runtime);
    cr_assert(glob(pattern, 0, NULL, &g) == 0 && g.gl_pathc == 1);
    snprintf(run_dir, sizeof(run_dir), "%s", g.gl_pathv[0]);
    globfree(&g);
}

/* Up to the workers' link. */
static void attach(void)
{
    struct pt_attach want = {.protocol = PT_PROTOCOL, .run = (char *)"run1", .host = 3, .dir = run_dir};
    struct pt_launch keys = {.launch = 1,
                             .slots = 2,
                             .cert = (char *)"CERT",
                             .key = (char *)"KEY-2",
                             .ca = (char *)"CA",
                             .address = (char *)""};
    struct pt_buf b = {0};
    start_agent();
    pt_attach_encode(&want, &b);
    send_frame(&b);
    expect(PT_C_ATTACHED);
    pt_launch_encode(&keys, PT_C_RELINK, &b);
    send_frame(&b);
    expect_hub(HUB_UP);
}

Test(agent_linger_groups, groups_of_this_host_go_on)
{
    start_lingering();
    start_group(1, 2, 0);
    wait_members(1, 2);
    hang_up();
    attach();
    cr_expect_geq(count_members(NULL, NULL), 2, "the group is gone");
    start_group(2, 1, 0);
    wait_members(2, 1);
    end_group(1);
    expect_group_ended(1, NULL);
    end_group(2);
    expect_group_ended(2, NULL);
    expect_no_groups();
    stop();
}

Test(agent_linger_groups, daemon_of_another_host_falls)
{
    char path[160];
    char *words[] = {(char *)"/elsewhere/bin/orted"};
    snprintf(path, sizeof(path), "%s/staying", w.dir);
    start_lingering();
    make_peers();
    ask_relay(FAR_HOST, 5, PT_RELAY_ORTED, words, 1);
    wait_relayed(0);
    wait_file(path);
    hang_up();
    m.ended = true; /* nobody to talk to */
    wait_no_groups();
    m.ended = false;
    attach();
    cr_expect_eq(m.nrelays, 0, "a stream of before");
    cr_assert_eq(unlink(path), 0);
    ask_relay(FAR_HOST, 6, PT_RELAY_ORTED, words, 1);
    cr_expect_eq(expect_u32(wait_relayed(0), PT_Y_HERE), 6);
    wait_file(path);
    stop();
}

Test(agent_linger_groups, the_way_to_other_hosts_is_open_again)
{
    start_lingering();
    start_group(2, 1, 0);
    wait_members(2, 1);
    tell_members("ask");
    hang_up();
    attach();
    start_group(1, 1, 0);
    int64_t until = pt_now_ms() + PATIENCE;
    while (m.nrelays == 0 && turn(until))
        ;
    cr_assert_eq(m.nrelays, 1, "the way is not open again");
    stop();
}

Test(agent_linger_groups, collector_falls)
{
    static const char python[] =
        "#!/bin/sh\n"
        "case $2 in *collector*) echo $$ >\"$HOME/collector\"; exec sleep 1000;; esac\n"
        "printf 'READY 3.99.0\\t7.99\\t%s\\n' \"$0\"\n"
        "exec cat >/dev/null\n";
    char path[160];
    struct pt_buf b = {0}, text = {0};
    snprintf(path, sizeof(path), "%s/python", w.dir);
    write_file(path, python, 0700);
    start_lingering();
    size_t mark = pt_frame_begin(&b, PT_C_COLLECT);
    pt_put_str(&b, "{}");
    pt_frame_end(&b, mark);
    send_frame(&b);
    snprintf(path, sizeof(path), "%s/collector", w.dir);
    for (int64_t until = pt_now_ms() + PATIENCE; text.len == 0 && pt_now_ms() < until;) {
        wait_file(path);
        read_file(path, &text);
    }
    pt_buf_append(&text, "", 1);
    pid_t collector = atoi((char *)text.data);
    pt_buf_fini(&text);
    cr_assert(collector > 1 && kill(collector, 0) == 0);
    hang_up();
    int64_t until = pt_now_ms() + PATIENCE;
    while (kill(collector, 0) == 0 && pt_now_ms() < until)
        poll(NULL, 0, 10);
    cr_expect(kill(collector, 0) < 0, "the collector is there still");
    attach();
    for (size_t i = 0; i < m.nframes; i++)
        cr_expect_neq(m.frames[i].type, PT_C_EXITED);
    stop();
}
