/* SPDX-License-Identifier: Apache-2.0 */
/* Groups over several hosts: what one host has started on another, and how it ends. */
#include "across_lab.h"

TestSuite(agent_across, .init = set_up_groups, .fini = tear_down, .timeout = 100);

/* --- what other hosts ask of this one --- */

Test(agent_across, hub_of_this_host)
{
    start_peers();
    tell_hub('h', NULL, 0);
    int64_t until = pt_now_ms() + PATIENCE;
    while (count_folders(w.runtime, "ptremote-*/rank.sock") == 0 && pt_now_ms() < until)
        turn(pt_now_ms() + 10);
    ask_relay(FAR_HOST, 77, PT_RELAY_HUB, NULL, 0);
    struct relayed *s = wait_relayed(0);
    cr_expect_eq(expect_u32(s, PT_Y_HERE), 77);
    struct pt_buf frame = {0};
    size_t mark = pt_frame_begin(&frame, 'A');
    pt_put_str(&frame, "said by a member");
    pt_frame_end(&frame, mark);
    pt_mux_send(m.mux, s->stream, frame.data, frame.len);
    pt_buf_fini(&frame);
    pt_auto_free char *back = expect_words(s, 'A');
    cr_expect_str_eq(back, "SAID BY A MEMBER");
    pt_mux_close(m.mux, s->stream);
    wait_closed(s);
    stop();
}

static void expect_refused(size_t index, uint32_t id, const char *why)
{
    struct relayed *s = wait_relayed(index);
    cr_expect_eq(expect_u32(s, PT_Y_HERE), id);
    pt_auto_free char *text = expect_words(s, PT_Y_REFUSED);
    cr_expect(strstr(text, why) != NULL, "%s", text);
    wait_closed(s);
    pt_mux_close(m.mux, s->stream);
}

Test(agent_across, what_is_refused)
{
    char *shell[] = {(char *)"/bin/sh", (char *)"-c", (char *)"reboot"};
    char *named[] = {(char *)"orted.sh"};
    start_all();
    ask_relay(FAR_HOST, 1, PT_RELAY_HUB, NULL, 0);
    expect_refused(0, 1, "host 4 is none of those");
    make_peers();
    ask_relay(9, 2, PT_RELAY_ORTED, shell, 3);
    expect_refused(1, 2, "host 9 is none of those");
    ask_relay(FAR_HOST, 3, PT_RELAY_ORTED, shell, 3);
    expect_refused(2, 3, "only orted is started for other hosts, not '/bin/sh'");
    ask_relay(FAR_HOST, 4, PT_RELAY_ORTED, named, 1);
    expect_refused(3, 4, "only orted");
    ask_relay(FAR_HOST, 5, PT_RELAY_ORTED, NULL, 0);
    expect_refused(4, 5, "only orted");
    ask_relay(FAR_HOST, 6, PT_RELAY_HUB, NULL, 0);
    expect_refused(5, 6, "its hub cannot be reached");
    send_u32(PT_C_END_WORKERS, 100);
    expect_exited(PT_PROGRAM_WORKERS, NULL);
    ask_relay(FAR_HOST, 7, PT_RELAY_HUB, NULL, 0);
    expect_refused(6, 7, "no workers run");
    expect_no_groups();
    stop();
}

/* --- a daemon for another host; ours tells what it got --- */

static struct relayed *start_daemon(const char *body)
{
    static char path[128], orted[128], text[1024];
    char *words[] = {(char *)"/elsewhere/bin/orted",
                     (char *)"-mca",
                     (char *)"plm_rsh_agent",
                     (char *)"/there/rsh rsh",
                     (char *)"-mca",
                     (char *)"orte_tmpdir_base",
                     (char *)"/there/tmp",
                     (char *)"-mca",
                     (char *)"ess_base_vpid",
                     (char *)"1",
                     (char *)"$(reboot) 'x'",
                     (char *)"--mca",
                     (char *)"btl_vader_backing_directory",
                     (char *)"/there/seg"};
    start_with_mpirun(path, "echo 'mpirun (Open MPI) 4.1.4'");
    snprintf(orted, sizeof(orted), "%s/orted", w.dir);
    snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
    write_file(orted, text, 0700);
    make_peers();
    ask_relay(FAR_HOST, 5, PT_RELAY_ORTED, words, PT_COUNT(words));
    struct relayed *s = wait_relayed(0);
    cr_expect_eq(expect_u32(s, PT_Y_HERE), 5);
    return s;
}

Test(agent_across, daemon_gets_folders_of_its_own)
{
    struct relayed *s = start_daemon("for i in \"$0\" \"$@\"; do echo \"<$i>\"; done\n"
                                     "env; pwd; ls -d \"$TMPDIR\" >&2; exit 3");
    pt_auto_free char *text = expect_words(s, PT_Y_OUTPUT);
    char own[256];
    snprintf(own, sizeof(own), "<%s/orted>\n<-mca>\n<plm_rsh_agent>\n<%s/ptremote-", w.dir, w.runtime);
    cr_expect(strncmp(text, own, strlen(own)) == 0, "%s", text);
    cr_expect(strstr(text, "/ptremote-rsh rsh>\n<-mca>\n<orte_tmpdir_base>\n") != NULL, "%s", text);
    cr_expect(strstr(text, "<-mca>\n<ess_base_vpid>\n<1>\n<$(reboot) 'x'>\n<--mca>\n") != NULL, "%s", text);
    cr_expect(!strstr(text, "/there") && !strstr(text, "SLURM_") && !strstr(text, "OMPI_UNIVERSE"), "%s",
              text);
    cr_expect(strstr(text, "\nOMPI_MCA_btl_vader_backing_directory=/") && strstr(text, "\nTMPDIR=/") &&
                  strstr(text, "\nPTREMOTE_SLOTS=2\n") && strstr(text, "\nPTREMOTE_RUN=run1\n"),
              "%s", text);
    cr_expect_eq(expect_u32(s, PT_Y_EXIT), 3 << 8);
    wait_closed(s);
    pt_mux_close(m.mux, s->stream);
    wait_no_groups();
    stop();
}

static const char staying[] = "setsid sleep 1000 &\nsleep 1000 &\ntrap '' TERM\n: >\"$HOME/staying\"\n"
                              "while :; do sleep 1; done";

static struct relayed *start_staying(void)
{
    char path[128];
    struct relayed *s = start_daemon(staying);
    snprintf(path, sizeof(path), "%s/staying", w.dir);
    wait_file(path);
    cr_expect(count_session_folders() == 1 && count_segment_folders() == 1);
    return s;
}

Test(agent_across, daemon_ends_with_its_stream)
{
    struct relayed *s = start_staying();
    pt_mux_close(m.mux, s->stream);
    wait_no_groups();
    cr_expect_eq(count_marked(w.mark, "sleep", NULL), 0);
    wait_closed(s);
    stop();
}

Test(agent_across, daemon_ends_with_the_workers)
{
    struct relayed *s = start_staying();
    send_u32(PT_C_END_WORKERS, 2000);
    expect_exited(PT_PROGRAM_WORKERS, NULL);
    expect_no_groups();
    cr_expect_eq(count_marked(w.mark, "sleep", NULL), 0);
    cr_expect_neq(expect_u32(s, PT_Y_EXIT), 0);
    wait_closed(s);
    stop();
}

Test(agent_across, guard_of_a_daemon_is_killed)
{
    pid_t pid = 0;
    struct relayed *s = start_staying();
    pid = wait_marked(w.mark, "ptremote-group");
    kill(pid, SIGKILL);
    cr_expect_eq(expect_u32(s, PT_Y_EXIT), SIGKILL);
    wait_closed(s);
    wait_no_groups();
    stop();
}

Test(agent_across, no_daemon_there)
{
    char path[128];
    char *words[] = {(char *)"orted"};
    start_with_mpirun(path, "echo 'mpirun (Open MPI) 4.1.4'");
    make_peers();
    ask_relay(FAR_HOST, 5, PT_RELAY_ORTED, words, 1);
    expect_refused(0, 5, "no orted beside /tmp/");
    expect_no_groups();
    stop();
}

/* --- a group over two hosts, with the real mpirun --- */

/* What mpirun of this host asks goes back to this host, which is the other one as well. */
static void pass_on(uint32_t id)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf body = {0};
    struct pt_relay want;
    struct relayed *asking = wait_relayed(0);
    cr_assert_eq(relayed_says(asking, &body), PT_Y_WANT);
    struct pt_reader r = {.p = body.data, .left = body.len};
    cr_assert(pt_relay_decode(&r, &want, &err) == 0, "%s", err.msg);
    cr_expect(want.host == PT_NONE && want.address == LOOPBACK + 1 && want.what == PT_RELAY_ORTED);
    ask_relay(HERE_HOST, id, PT_RELAY_ORTED, want.words, want.nwords);
    pt_relay_fini(&want);
    pt_buf_fini(&body);
    cr_expect_eq(expect_u32(wait_relayed(1), PT_Y_HERE), id);
}

static void expect_member(uint32_t rank, const char *words)
{
    char wanted[128], path[128];
    snprintf(path, sizeof(path), "%s/up.6.%u", w.dir, rank);
    pass_between(&m.relays[0], &m.relays[1], path);
    pt_auto_free char *text = wait_member(6, rank);
    snprintf(wanted, sizeof(wanted), "--host %s\n", words);
    cr_expect(strstr(text, wanted) != NULL, "rank %u: %s", rank, text);
    snprintf(wanted, sizeof(wanted), "\ncwd %s/ptremote-", w.runtime);
    cr_expect(strstr(text, wanted) && strstr(text, "\nOMPI_COMM_WORLD_SIZE=3\n") &&
                  strstr(text, "\nOMPI_MCA_btl=self,vader,tcp\n") && strstr(text, "\nPTREMOTE_SLOTS=2\n") &&
                  strstr(text, "\nOMPI_MCA_mpi_yield_when_idle=1\n"),
              "%s", text);
    const char *segments = strstr(text, "\nOMPI_MCA_btl_vader_backing_directory=/");
    cr_expect(segments && !strstr(segments + 1, "\nOMPI_MCA_btl_vader_backing_directory"), "%s", text);
    cr_expect((strstr(text, ".far1\n") != NULL) == (rank == 2), "rank %u has segments of another host", rank);
}

static void start_two_hosts(void)
{
    start_peers();
    start_spread(6, 2, 1);
    pass_on(9);
    for (uint32_t rank = 0; rank < 3; rank++)
        expect_member(rank, rank < 2 ? "3 --launch 1 --group 6" : "4 --launch 1 --group 6 --far 3");
}

Test(agent_across, a_group_over_two_hosts)
{
    start_two_hosts();
    cr_expect(count_session_folders() == 2 && count_segment_folders() == 2);
    end_group(6);
    pass_between(&m.relays[0], &m.relays[1], NULL);
    cr_expect_neq(expect_group_ended(6, NULL), 0);
    wait_no_groups();
    stop();
}

/* The words of the daemon's end are those of the group's. */
Test(agent_across, the_other_host_is_lost)
{
    start_two_hosts();
    pt_mux_close(m.mux, m.relays[1].stream);
    pt_mux_close(m.mux, m.relays[0].stream);
    pt_auto_free char *words = NULL;
    cr_expect_neq(expect_group_ended(6, &words), 0);
    cr_expect(strstr(words, "ptremote: 127.0.0.2: the connection ended") != NULL, "%s", words);
    wait_no_groups();
    stop();
}

Test(agent_across, the_other_host_refuses)
{
    struct pt_buf b = {0};
    pt_auto_free char *words = NULL;
    start_peers();
    start_spread(6, 1, 1);
    struct relayed *asking = wait_relayed(0);
    size_t mark = pt_frame_begin(&b, PT_Y_REFUSED);
    pt_put_str(&b, "h4 is not up");
    pt_frame_end(&b, mark);
    pt_mux_send(m.mux, asking->stream, b.data, b.len);
    pt_buf_fini(&b);
    cr_expect_neq(expect_group_ended(6, &words), 0);
    cr_expect(strstr(words, "ptremote: 127.0.0.2: refused: h4 is not up") != NULL, "%s", words);
    pt_mux_close(m.mux, asking->stream);
    wait_no_groups();
    stop();
}

Test(agent_across, unknown_hosts)
{
    pt_auto_free char *none = NULL, *other = NULL;
    start_all();
    start_spread(6, 2, 1);
    cr_expect_eq(expect_group_ended(6, &none), (int)PT_GROUP_FAILED);
    cr_expect_str_eq(none, "host 3 is none of those that run tests together");
    make_peers();
    struct pt_buf b = {0};
    const struct pt_share shares[] = {{FAR_HOST, 1}, {HERE_HOST, 1}};
    put_spread_start(&b, 6, shares, 2);
    tell_hub('s', b.data, b.len);
    pt_buf_fini(&b);
    cr_expect_eq(expect_group_ended(6, &other), (int)PT_GROUP_FAILED);
    cr_expect(strstr(other, "begins on host 4") != NULL, "%s", other);
    expect_no_groups();
    stop();
}

/* What mpirun is told of hosts of four networks, two of them in one; the paths are those of each. */
Test(agent_across, networks_and_paths)
{
    static const struct pt_address addresses[] = {
        {0x0a010203, 16}, {0x0a01ff01, 16}, {0x0a020304, 24}, {0xc0a80101, 32}, {0x05050505, 0}};
    struct pt_peer hosts[PT_COUNT(addresses)];
    struct pt_share shares[PT_COUNT(addresses)];
    struct pt_buf b = {0};
    char path[128];
    start_with_mpirun(path, "for i in \"$@\"; do echo \"<$i>\"; done");
    for (uint32_t i = 0; i < PT_COUNT(hosts); i++) {
        hosts[i] = (struct pt_peer){.host = HERE_HOST + i,
                                    .address = addresses[i],
                                    .run_dir = (char *)(i ? "/run dir" : "/not ours"),
                                    .worker = (char *)"/their worker",
                                    .launch = 10 + i};
        shares[i] = (struct pt_share){HERE_HOST + i, 1 + i};
    }
    pt_peers_encode(&(struct pt_peers){.n = PT_COUNT(hosts), .hosts = hosts}, &b);
    send_frame(&b);
    expect(PT_C_PEERED);
    put_spread_start(&b, 6, shares, PT_COUNT(shares));
    tell_hub('s', b.data, b.len);
    pt_buf_fini(&b);
    pt_auto_free char *words = NULL;
    cr_expect_eq(expect_group_ended(6, &words), 0);
    static const char networks[] = "tcp_if_include>\n<10.1.0.0/16,10.2.3.0/24,192.168.1.1/32,0.0.0.0/0>";
    const char *oob = strstr(words, networks);
    cr_expect(oob && strstr(oob + 1, networks), "%s", words);
    cr_expect(strstr(words, "<--host>\n<10.1.2.3:1>\n<-np>\n<1>\n<--wdir>\n</tmp/") != NULL, "%s", words);
    cr_expect(!strstr(words, "not ours"), "%s", words);
    cr_expect(strstr(words, "<:>\n<--host>\n<10.2.3.4:3>\n<-np>\n<3>\n<--wdir>\n</run dir>\n"
                            "</their worker>\n<--run-dir>\n</run dir>\n<--host>\n<5>\n<--launch>\n<12>\n"
                            "<--group>\n<6>\n<--far>\n<3>\n<:>\n") != NULL,
              "%s", words);
    cr_expect(strstr(words, "<5.5.5.5:5>") != NULL, "%s", words);
    expect_no_groups();
    stop();
}

/* --- relay.sock --- */

Test(agent_across, members_may_ask)
{
    struct pt_buf said = {0};
    tell_members("ask");
    start_peers();
    start_group(1, 1, 0);
    struct relayed *s = wait_relayed(0);
    int64_t until = pt_now_ms() + PATIENCE;
    while (s->data.len < 11 && turn(until))
        ;
    cr_expect(s->data.len == 11 && memcmp(s->data.data, "of member 0", 11) == 0, "it travels unread");
    pt_buf_append(&said, "heard", 5);
    pt_mux_send(m.mux, s->stream, said.data, said.len);
    pt_buf_fini(&said);
    pt_auto_free char *text = wait_member(1, 0);
    cr_expect(strncmp(text, "heard\n", 6) == 0, "%s", text);
    end_group(1);
    expect_group_ended(1, NULL);
    wait_closed(s);
    stop();
}

Test(agent_across, strangers_may_not)
{
    char command[400];
    start_peers();
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c \"import socket,glob; s=socket.socket(socket.AF_UNIX); "
             "s.connect(glob.glob('%s/*/relay.sock')[0]); assert s.recv(100) == b''\"",
             w.runtime);
    cr_expect_eq(system(command), 0, "a stranger was served");
    expect(PT_C_LOG);
    cr_expect_eq(m.nrelays, 0);
    stop();
}
