/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of ranks: started, ended, and refused. */
#include "group_lab.h"

TestSuite(agent_groups, .init = set_up_groups, .fini = tear_down, .timeout = 100);

/* --- starting and ending --- */

Test(agent_groups, start_and_end)
{
    start_all();
    start_group(7, 3, 0);
    for (uint32_t i = 0; i < 3; i++) {
        pt_auto_free char *text = wait_member(7, i);
        cr_expect(strstr(text, "--host 3 --launch 1 --group 7\n") != NULL, "%s", text);
        cr_expect(strstr(text, "\nOMPI_COMM_WORLD_SIZE=3\n") && strstr(text, "\nPTREMOTE_SLOTS=2\n") &&
                  strstr(text, "\nPTREMOTE_RUN=run1\n") && strstr(text, "\nPTREMOTE_WORKSPACE=/"));
        cr_expect(!strstr(text, "SLURM_") && !strstr(text, "yield_when_idle"), "%s", text);
    }
    cr_expect(count_session_folders() == 1 && count_segment_folders() == 1);
    end_group(7);
    pt_auto_free char *words = NULL;
    cr_expect_neq(expect_group_ended(7, &words), 0);
    cr_expect(strstr(words, "member 0 is up") && strstr(words, "member 2 is up"), "%s", words);
    expect_no_groups();
    end_group(7); /* crossed with ENDED */
    start_group(7, 1, 1);
    pt_auto_free char *text = wait_member(7, 0);
    cr_expect(strstr(text, "\nOMPI_MCA_mpi_yield_when_idle=1\n") != NULL, "%s", text);
    stop();
}

Test(agent_groups, ranks_speak_mpi)
{
    if (system("/usr/bin/python3 -c 'import mpi4py.MPI' 2>/dev/null") != 0)
        cr_skip_test("mpi4py is not here");
    tell_members("speak");
    start_all();
    start_group(1, 3, 1);
    start_group(2, 2, 1);
    for (uint32_t i = 0; i < 5; i++) {
        pt_auto_free char *text = wait_member(i < 3 ? 1 : 2, i % 3);
        cr_expect(strncmp(text, i < 3 ? "3 of 3\n" : "2 of 2\n", 7) == 0, "%s", text);
    }
    end_group(1);
    expect_group_ended(1, NULL);
    cr_expect_eq(count_members("mpirun", NULL), 1, "the other group must live");
    end_group(2);
    expect_group_ended(2, NULL);
    expect_no_groups();
    stop();
}

Test(agent_groups, twenty_one_after_the_other)
{
    pid_t agent = 0;
    char fds[64];
    start_all();
    agent = wait_marked(w.mark, "ptremote-agent");
    snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)agent);
    int before = 0;
    for (uint32_t i = 0; i < 20; i++) {
        start_group(i % 3, 1 + i % 3, i % 2);
        if (i % 4)
            wait_members(i % 3, 1 + i % 3);
        end_group(i % 3);
        expect_group_ended(i % 3, NULL);
        expect_no_groups();
        char command[160];
        snprintf(command, sizeof(command), "rm -f %s/up.*", w.dir);
        cr_assert_eq(system(command), 0);
        if (i == 0)
            before = count_entries(fds);
    }
    expect_descriptors(fds, before);
    stop();
}

Test(agent_groups, members_do_not_care_for_sigterm)
{
    tell_members("stay");
    start_all();
    start_group(1, 3, 0);
    wait_members(1, 3);
    end_group(1);
    cr_expect_neq(expect_group_ended(1, NULL), 0);
    expect_no_groups();
    stop();
}

Test(agent_groups, mpirun_does_not_care_for_sigterm)
{
    char path[128], up[128], body[300];
    snprintf(up, sizeof(up), "%s/trapped", w.dir);
    snprintf(body, sizeof(body), "trap '' TERM; : >%s; while :; do sleep 1; done", up);
    start_with_mpirun(path, body);
    start_group(1, 2, 0);
    wait_file(up);
    end_group(1);
    int status = expect_group_ended(1, NULL);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    expect_no_groups();
    stop();
}

/* --- what is not taken --- */

static void expect_refused(const struct pt_buf *bytes, const char *what)
{
    struct pt_buf body = {0};
    tell_hub('s', bytes->data, bytes->len);
    cr_expect_eq(hub_says(&body), HUB_LOST, "%s was taken", what);
    pt_buf_fini(&body);
    expect(PT_C_LOG);
    tell_hub('o', NULL, 0);
}

static void refuse_start(uint32_t group, uint32_t ranks, uint8_t yield, const char *what)
{
    struct pt_buf b = {0};
    put_start(&b, group, ranks, yield);
    expect_refused(&b, what);
    pt_buf_fini(&b);
}

Test(agent_groups, bad_numbers_end_the_connection_only)
{
    start_all();
    refuse_start(1, 0, 0, "a group of none");
    refuse_start(1, PT_RANKS_MAX + 1, 0, "a group of too many");
    refuse_start(PT_NONE, 1, 0, "no number");
    refuse_start(1, 1, 2, "a yield of 2");
    start_group(1, 1, 0);
    wait_members(1, 1);
    refuse_start(1, 1, 0, "a number that is there");
    wait_no_groups();
    start_group(1, 1, 0);
    wait_members(1, 1);
    stop();
}

/* Every length of a START and an END but the right one. */
Test(agent_groups, malformed_frames)
{
    static const uint8_t types[] = {0, PT_G_START, PT_G_END, PT_G_ENDED, 255};
    start_all();
    for (size_t i = 0; i < PT_COUNT(types); i++)
        for (size_t n = 0; n <= 16; n += types[i] == PT_G_START || types[i] == PT_G_END ? 1 : 6) {
            struct pt_buf b = {0};
            char what[48];
            if ((types[i] == PT_G_START && n == 13) || (types[i] == PT_G_END && n == 4))
                continue;
            size_t mark = pt_frame_begin(&b, types[i]);
            pt_buf_append(&b, "\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\0", n);
            pt_frame_end(&b, mark);
            snprintf(what, sizeof(what), "message %u of %zu bytes", types[i], n);
            expect_refused(&b, what);
            pt_buf_fini(&b);
        }
    struct pt_buf b = {0};
    pt_buf_append(&b, "\0\0\0\0\1", 5);
    expect_refused(&b, "a frame of no length");
    pt_buf_clear(&b);
    pt_buf_append(&b, "\0\0\5\0\1", 5);
    expect_refused(&b, "a long frame");
    pt_buf_fini(&b);
    stop();
}

Test(agent_groups, one_hub_at_a_time)
{
    struct pt_buf body = {0};
    start_all();
    start_group(1, 1, 0);
    wait_members(1, 1);
    tell_hub('2', NULL, 0);
    cr_assert_eq(hub_says(&body), HUB_SECOND);
    cr_expect_eq(body.data[0], 0);
    pt_buf_fini(&body);
    end_group(1);
    expect_group_ended(1, NULL);
    stop();
}

/* Neither a process of the user nor a member. */
Test(agent_groups, stranger_at_the_socket)
{
    char command[400];
    start_all();
    snprintf(command, sizeof(command),
             "/usr/bin/python3 -c \"import socket,glob; s=socket.socket(socket.AF_UNIX); "
             "s.connect(glob.glob('%s/*/group.sock')[0]); assert s.recv(100) == b''\"",
             w.runtime);
    cr_expect_eq(system(command), 0, "a stranger was served");
    expect(PT_C_LOG);
    stop();
}

/* --- mpirun that does not do its work --- */

Test(agent_groups, more_than_there_may_be)
{
    char path[128];
    struct pt_buf b = {0};
    start_with_mpirun(path, "exec sleep 1000");
    for (uint32_t i = 0; i <= PT_GROUPS_MAX; i++)
        put_start(&b, i, 1, 0);
    tell_hub('s', b.data, b.len);
    pt_buf_fini(&b);
    pt_auto_free char *words = NULL;
    cr_expect_eq(expect_group_ended(PT_GROUPS_MAX, &words), (int)PT_GROUP_FAILED);
    cr_expect_str_eq(words, "256 groups of ranks are there already");
    end_group(3);
    expect_group_ended(3, NULL);
    start_group(1000, 1, 0);
    end_group(1000);
    expect_group_ended(1000, NULL);
    int64_t until = pt_now_ms() + PATIENCE; /* who was started last may still be the shell */
    while (count_marked(w.mark, "sleep", NULL) < (int)PT_GROUPS_MAX - 1 && pt_now_ms() < until)
        turn(pt_now_ms() + 20);
    cr_expect_eq(count_marked(w.mark, "sleep", NULL), PT_GROUPS_MAX - 1);
    tell_hub('c', NULL, 0);
    wait_no_groups();
    cr_expect_eq(count_marked(w.mark, "sleep", NULL), 0);
    stop();
}

Test(agent_groups, mpirun_cannot_be_started)
{
    char path[128];
    pt_auto_free char *gone = NULL, *broken = NULL;
    start_with_mpirun(path, "exit 0");
    write_file(path, "no program", 0700);
    start_group(1, 2, 0);
    cr_expect_eq(expect_group_ended(1, &broken), (int)PT_GROUP_FAILED);
    cr_expect(strstr(broken, "Exec format error") != NULL, "%s", broken);
    unlink(path);
    start_group(1, 2, 0);
    cr_expect_eq(expect_group_ended(1, &gone), (int)PT_GROUP_FAILED);
    cr_expect(strncmp(gone, "no mpirun", 9) == 0, "%s", gone);
    expect_no_groups();
    stop();
}

Test(agent_groups, ends_at_once_with_too_many_words)
{
    char path[128];
    start_with_mpirun(path, "seq 100000; exit 5");
    for (uint32_t i = 0; i < 10; i++) {
        pt_auto_free char *words = NULL;
        start_group(i, 2, 0);
        cr_expect_eq(expect_group_ended(i, &words), 5 << 8);
        size_t n = strlen(words);
        cr_expect(n == PT_GROUP_OUTPUT && strcmp(words + n - 13, "99999\n100000\n") == 0, "%zu", n);
        expect_no_groups();
    }
    stop();
}
