/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever of a group is killed, and whoever that asked for it ends: nothing of the group is left. */
#include "group_lab.h"

TestSuite(agent_groups_end, .init = set_up_groups, .fini = tear_down, .timeout = 100);

/* --- kill -9 --- */

Test(agent_groups_end, mpirun_is_killed)
{
    pid_t pid = 0;
    start_all();
    start_group(4, 2, 0);
    wait_members(4, 2);
    cr_assert_eq(count_members("mpirun", &pid), 1);
    kill(pid, SIGKILL);
    int status = expect_group_ended(4, NULL);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    expect_no_groups();
    stop();
}

Test(agent_groups_end, member_is_killed)
{
    pid_t pid = 0;
    start_all();
    start_group(4, 2, 0);
    wait_members(4, 2);
    cr_assert(count_members("ptremote-worker", &pid) >= 2);
    kill(pid, SIGKILL);
    cr_expect_neq(expect_group_ended(4, NULL), 0);
    expect_no_groups();
    start_group(4, 2, 0);
    wait_members(4, 2);
    stop();
}

Test(agent_groups_end, guard_is_killed)
{
    pid_t pid = 0;
    start_all();
    start_group(4, 2, 0);
    wait_members(4, 2);
    pid = wait_marked(w.mark, "ptremote-group");
    kill(pid, SIGKILL);
    int status = expect_group_ended(4, NULL);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    cr_expect_eq(count_members("mpirun", NULL), 0);
    cr_expect(count_session_folders() == 0 && count_segment_folders() == 0);
    stop();
}

/* The workers end with their hub, and the groups with them. */
Test(agent_groups_end, hub_is_killed)
{
    start_all();
    start_group(1, 2, 0);
    start_group(2, 1, 0);
    wait_members(1, 2);
    wait_members(2, 1);
    tell_hub('k', NULL, 0);
    cr_expect_neq(expect_exited(PT_PROGRAM_WORKERS, NULL), 0);
    expect_no_groups();
    pt_buf_clear(&m.link);
    launch(2);
    expect_hub(HUB_UP);
    tell_hub('o', NULL, 0);
    start_group(1, 1, 0);
    wait_members(1, 1);
    stop();
}

Test(agent_groups_end, agent_is_killed)
{
    pid_t agent = 0;
    start_all();
    start_group(1, 2, 0);
    wait_members(1, 2);
    agent = wait_marked(w.mark, "ptremote-agent");
    kill(agent, SIGKILL);
    turn_until(is_ended, "the end of the channel");
}

/* --- the end of those who asked --- */

Test(agent_groups_end, socket_ends)
{
    start_all();
    start_group(1, 2, 0);
    start_group(2, 1, 0);
    wait_members(1, 2);
    wait_members(2, 1);
    tell_hub('c', NULL, 0);
    tell_hub('o', NULL, 0);
    start_group(1, 1, 0); /* though the other 1 may not have ended */
    wait_members(1, 1);
    end_group(1);
    expect_group_ended(1, NULL);
    wait_no_groups();
    stop();
}

Test(agent_groups_end, workers_are_ended)
{
    start_all();
    start_group(1, 2, 0);
    wait_members(1, 2);
    send_u32(PT_C_END_WORKERS, 3000);
    expect_exited(PT_PROGRAM_WORKERS, NULL);
    expect_no_groups();
    stop();
}

Test(agent_groups_end, stopped_while_one_starts)
{
    start_all();
    start_group(1, 2, 0);
    stop();
}
