/* SPDX-License-Identifier: Apache-2.0 */
/* The hub and its groups: which are started, what goes to them, what is told of them. */
#include "hub_lab.h"

#include "remote/worker/tell.c"

#include <sched.h>

static const struct pt_limits plain = {.mpi_grace_ms = 60000};

static void expect_done(struct lab *lab, size_t n, uint32_t bundle)
{
    struct event *e = lab_wait(lab, PT_L_DONE, n);
    cr_assert(e->bundle == bundle && e->rank == PT_NONE && e->attempt == 1, "bundle %u, rank %u", e->bundle,
              e->rank);
}

/* QUIT, with one group that is up. */
static void quit_with(struct lab *lab, struct agent *agent, struct group *group)
{
    group_heard(lab, group);
    lab_say(lab, PT_L_QUIT, 1, 10000);
    group_leave(lab, group);
    agent_end(agent, group->id);
    cr_assert_eq(lab_wait(lab, PT_L_BYE, lab->slots)->rank, PT_NONE);
    cr_assert_eq(lab_join(lab), 0, "%s", read_log(lab, "mpirun.log"));
    agent_close(agent);
    lab_destroy(lab);
}

Test(worker_groups, a_bundle_is_told_as_one, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    hub_bundle(lab, 5, 2, 0, 30, 2);
    struct group group = group_up(&agent, 2);
    cr_assert_eq(group_bundle(lab, &group, tests, &n), 5);
    cr_assert(n == 2 && tests[0] == 30 && tests[1] == 31);
    member_started(&group, 1, 5, 30);
    member_started(&group, 0, 5, 30);
    member_report(&group, 1, 5, 30);
    cr_assert_eq(lab_wait(lab, PT_L_STARTED, 0)->rank, PT_MEMBER(0, 0));
    cr_assert_eq(lab_count(lab, PT_L_RANKS), 0);
    member_report(&group, 0, 5, 30);
    struct event *e = lab_wait(lab, PT_L_RANKS, 0);
    cr_assert(e->bundle == 5 && e->test == 30 && e->ranks.of == 2 && e->ranks.group == 0);
    for (uint32_t i = 0; i < 2; i++) {
        const void *json;
        size_t len;
        uint8_t outcome;
        char want[32];
        snprintf(want, sizeof(want), "{\"rank\":%u}", i);
        cr_assert(pt_word_report(&e->ranks.words[i], &outcome, &json, &len));
        cr_assert(len == strlen(want) && memcmp(json, want, len) == 0);
    }
    group_report(&group, 5, 31);
    group_done(&group, 5);
    expect_done(lab, 0, 5);
    cr_assert_eq(lab_count(lab, PT_L_RANKS), 2);
    cr_assert_eq(lab_count(lab, PT_L_STARTED), 1, "once a test");
    hub_bundle(lab, 6, 2, 0, 40, 1);
    group_run(lab, &group, 6);
    expect_done(lab, 1, 6);
    cr_assert(side_is_silent(&agent.side, 0), "the same group runs it");
    cr_assert_eq(lab_count(lab, PT_L_REPORT), 0);
    quit_with(lab, &agent, &group);
}

Test(worker_groups, what_one_rank_did_not_report_is_left_out, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    hub_bundle(lab, 5, 2, 0, 30, 2);
    struct group group = group_up(&agent, 2);
    group_bundle(lab, &group, tests, &n);
    member_report(&group, 1, 5, 30);
    group_done(&group, 5);
    struct event *e = lab_wait(lab, PT_L_RANKS, 0);
    cr_assert(e->test == 30 && e->ranks.words[0].kind == PT_WORD_NONE &&
              e->ranks.words[1].kind == PT_WORD_REPORT);
    e = lab_wait(lab, PT_L_RANKS, 1);
    cr_assert(e->test == 31 && e->ranks.words[0].kind == PT_WORD_NONE &&
              e->ranks.words[1].kind == PT_WORD_NONE);
    expect_done(lab, 0, 5);
    quit_with(lab, &agent, &group);
}

Test(worker_groups, notes_and_output_of_all_ranks, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    hub_sizes(lab, 1, (uint32_t[]){2});
    struct group group = group_up(&agent, 2);
    for (uint32_t i = 2; i-- > 0;) {
        struct pt_buf msg = {0};
        pt_tell_note(&msg, i, NULL, "{}", 2);
        pt_tell_output(&msg, i, PT_NONE, PT_NONE, i ? "one" : "zero", i ? 3 : 4);
        side_send(&group.members[i], &msg);
    }
    for (size_t i = 0; i < 2; i++) {
        struct event *e = lab_wait(lab, PT_L_OUTPUT, i);
        cr_assert_eq(e->rank, PT_MEMBER(0, strcmp(e->text, "one") == 0));
    }
    uint32_t first = lab_wait(lab, PT_L_NOTE, 0)->rank, second = lab_wait(lab, PT_L_NOTE, 1)->rank;
    cr_assert_eq(first + second, PT_MEMBER(0, 0) + PT_MEMBER(0, 1));
    cr_assert(first == PT_MEMBER(0, 0) || first == PT_MEMBER(0, 1));
    quit_with(lab, &agent, &group);
}

/* --- which are started --- */

Test(worker_groups, ahead_of_need_two_at_a_time, .timeout = 110)
{
    struct lab *lab = hub_open(4, plain);
    struct agent agent = agent_open(lab);
    hub_sizes(lab, 4, (uint32_t[]){3, 2, 4, 5});
    uint32_t id = agent_start(&agent, 3);
    struct group two = group_join(lab, agent_start(&agent, 2), 2);
    struct group three = group_join(lab, id, 3);
    cr_assert(two.index != three.index && two.index < 2 && three.index < 2);
    cr_assert(side_is_silent(&agent.side, 200));
    group_ready(&two);
    struct group four = group_up(&agent, 4);
    group_ready(&three);
    cr_assert(side_is_silent(&agent.side, 200), "5 is more than the slots");
    hub_sizes(lab, 0, NULL);
    hub_bundle(lab, 1, 2, 0, 0, 1);
    group_run(lab, &two, 1);
    expect_done(lab, 0, 1);
    group_heard(lab, &three);
    group_heard(lab, &four);
    lab_say(lab, PT_L_QUIT, 1, 10000);
    group_leave(lab, &two);
    group_leave(lab, &three);
    group_leave(lab, &four);
    cr_assert_eq(lab_wait(lab, PT_L_BYE, 4)->rank, PT_NONE);
    cr_assert_eq(lab_join(lab), 0);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_groups, as_many_of_a_size_as_fit, .timeout = 110)
{
    struct lab *lab = hub_open(4, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    for (uint32_t i = 0; i < 3; i++)
        hub_bundle(lab, i, 2, 0, i, 1);
    uint32_t id = agent_start(&agent, 2);
    struct group a = group_join(lab, id, 2), b = group_join(lab, agent_start(&agent, 2), 2);
    group_ready(&a);
    cr_assert_eq(group_bundle(lab, &a, tests, &n), 0);
    group_ready(&b);
    cr_assert_eq(group_bundle(lab, &b, tests, &n), 1);
    cr_assert(side_is_silent(&agent.side, 200), "no third one");
    group_report(&b, 1, 1);
    group_done(&b, 1);
    group_run(lab, &b, 2);
    group_report(&a, 0, 0);
    group_done(&a, 0);
    for (size_t i = 0; i < 3; i++)
        lab_wait(lab, PT_L_DONE, i);
    lab_say(lab, PT_L_QUIT, 1, 10000);
    group_leave(lab, &a);
    group_leave(lab, &b);
    cr_assert_eq(lab_wait(lab, PT_L_BYE, 4)->rank, PT_NONE);
    cr_assert_eq(lab_join(lab), 0);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_groups, idle_ones_make_room, .timeout = 110)
{
    static const uint32_t sizes[] = {8, 7, 6, 5, 4, 3};
    struct lab *lab = hub_open(8, plain);
    struct agent agent = agent_open(lab);
    struct group groups[PT_COUNT(sizes)], two;
    hub_sizes(lab, PT_COUNT(sizes), sizes);
    for (size_t i = 0; i < PT_COUNT(sizes); i++)
        groups[i] = group_up(&agent, sizes[i]);
    for (size_t i = 0; i < PT_COUNT(sizes); i++) {
        hub_bundle(lab, (uint32_t)i, sizes[i], 0, (uint32_t)i, 1);
        if (i != 2)
            group_run(lab, &groups[i], (uint32_t)i);
        if (i != 2)
            lab_wait(lab, PT_L_DONE, i < 2 ? i : i - 1);
    }
    hub_bundle(lab, 20, 2, 0, 20, 1);
    group_leave(lab, &groups[0]);
    agent_end(&agent, groups[0].id);
    cr_assert(side_is_silent(&agent.side, 100), "not before it has ended");
    agent_ended(&agent, groups[0].id, 0, "");
    two = group_up(&agent, 2);
    group_run(lab, &two, 20);
    cr_assert_eq(two.index, groups[0].index, "its number is free again");
    lab_wait(lab, PT_L_DONE, 5);
    group_run(lab, &groups[2], 2);
    lab_wait(lab, PT_L_DONE, 6);
    for (size_t i = 1; i < PT_COUNT(sizes); i++)
        group_close(&groups[i]);
    group_close(&two);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_groups, fresh_for_each_bundle, .timeout = 110)
{
    struct lab *lab = hub_open(2, (struct pt_limits){.fresh = PT_FRESH_BUNDLE});
    struct agent agent = agent_open(lab);
    hub_sizes(lab, 1, (uint32_t[]){2});
    struct group first = group_up(&agent, 2);
    hub_bundle(lab, 1, 2, 0, 10, 2);
    struct group spare = group_up(&agent, 2);
    group_run(lab, &first, 1);
    expect_done(lab, 0, 1);
    group_leave(lab, &first);
    agent_obey_end(&agent, first.id);
    hub_bundle(lab, 2, 2, 0, 20, 1);
    group_run(lab, &spare, 2);
    uint32_t id = agent_start(&agent, 2);
    expect_done(lab, 1, 2);
    group_leave(lab, &spare);
    agent_obey_end(&agent, spare.id);
    lab_say(lab, PT_L_QUIT, 1, 10000);
    agent_end(&agent, id);
    cr_assert_eq(lab_wait(lab, PT_L_BYE, 2)->rank, PT_NONE);
    cr_assert_eq(lab_join(lab), 0);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_groups, fresh_for_each_test, .timeout = 110)
{
    struct lab *lab = hub_open(2, (struct pt_limits){.fresh = PT_FRESH_TEST});
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n, id = 0;
    hub_bundle(lab, 1, 2, 0, 10, 3);
    id = agent_start(&agent, 2);
    struct group group = group_join(lab, id, 2), next = group_join(lab, agent_start(&agent, 2), 2);
    group_ready(&group);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(group_bundle(lab, &group, tests, &n), 1);
        cr_assert(n == 1 && tests[0] == 10 + i);
        group_report(&group, 1, tests[0]);
        group_done(&group, 1);
        id = i < 2 ? agent_start(&agent, 2) : 0;
        group_leave(lab, &group);
        agent_obey_end(&agent, group.id);
        group_ready(&next);
        group = next;
        if (id)
            next = group_join(lab, id, 2);
    }
    expect_done(lab, 0, 1);
    cr_assert(lab_count(lab, PT_L_RANKS) == 3 && lab_count(lab, PT_L_DONE) == 1);
    quit_with(lab, &agent, &next);
}

/* --- who is bound to what --- */

Test(worker_groups, ranks_have_cores_of_their_own, .timeout = 110)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    uint32_t cores = (uint32_t)CPU_COUNT(&set), slots = cores < 2 ? 2 : cores > 8 ? 8 : cores;
    struct lab *lab = hub_open(slots, plain);
    struct agent agent = agent_open(lab);
    hub_bundle(lab, 1, 2, PT_BUNDLE_NUMA, 10, 1);
    struct group group = group_up(&agent, 2);
    uint32_t cpu[2] = {0};
    for (uint32_t i = 0; i < 2 && cores >= slots; i++) {
        struct pt_reader *r = side_want(&group.members[i], lab, PT_RANK_BIND);
        cr_assert_eq(pt_get_u32(r), 1);
        cpu[i] = pt_get_u32(r);
        cr_assert(pt_get_end(r) && CPU_ISSET(cpu[i], &set));
    }
    cr_assert(cores < slots || cpu[0] != cpu[1]);
    group_run(lab, &group, 1);
    expect_done(lab, 0, 1);
    quit_with(lab, &agent, &group);
}

Test(worker_groups, more_slots_than_cores_bind_nobody, .timeout = 110)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    uint32_t slots = (uint32_t)CPU_COUNT(&set) + 1;
    if (slots > 16 || slots < 2)
        return;
    struct lab *lab = hub_open(slots, plain);
    struct agent agent = agent_open(lab);
    hub_bundle(lab, 1, 2, 0, 10, 1);
    agent_accept(&agent);
    struct pt_reader *r = side_want(&agent.side, lab, PT_G_START);
    uint32_t id = pt_get_u32(r);
    pt_get_u32(r);
    cr_assert_eq(pt_get_u8(r), 1, "its ranks yield");
    struct group group = group_join(lab, id, 2);
    group_ready(&group);
    side_want(&group.members[0], lab, PT_L_BUNDLE);
    group_close(&group);
    agent_close(&agent);
    lab_destroy(lab);
}

/* --- what is taken back --- */

Test(worker_groups, what_waits_comes_back_and_what_runs_does_not, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    for (uint32_t i = 1; i <= 4; i++)
        hub_bundle(lab, i, 2, 0, 10 * i, 3);
    lab_say(lab, PT_L_RECALL, 1, 2);
    cr_assert(lab_wait(lab, PT_L_RECALLED, 0)->outcome == 1);
    lab_steal(lab, 3, 31, 33);
    struct event *e = lab_wait(lab, PT_L_STOLEN, 0);
    cr_assert(e->n == 2 && e->bundle == 3 && e->rank == PT_NONE && e->attempt == 1);
    lab_say(lab, PT_L_DROP, 1, 4);
    expect_done(lab, 0, 4);
    struct group group = group_up(&agent, 2);
    cr_assert_eq(group_bundle(lab, &group, tests, &n), 1);
    lab_say(lab, PT_L_RECALL, 1, 1);
    cr_assert(lab_wait(lab, PT_L_RECALLED, 1)->outcome == 0);
    lab_steal(lab, 1, 10, 13);
    e = lab_wait(lab, PT_L_STOLEN, 1);
    cr_assert(e->n == 0 && e->bundle == 1 && e->rank == PT_NONE && e->attempt == 1);
    member_report(&group, 0, 1, 10);
    lab_say(lab, PT_L_DROP, 1, 1);
    expect_done(lab, 1, 1);
    agent_obey_end(&agent, group.id);
    group_close(&group);
    group = group_up(&agent, 2);
    group_run(lab, &group, 3);
    expect_done(lab, 2, 3);
    cr_assert(lab_count(lab, PT_L_RANKS) == 1 && lab_count(lab, PT_L_FALL) == 0);
    quit_with(lab, &agent, &group);
}

Test(worker_groups, plain_ranks_leave_them_alone, .timeout = 110)
{
    struct lab *lab = lab_open(2);
    struct agent agent = agent_open(lab);
    write_file(lab, "test_w.py", "def test_a(): pass\n");
    hub_bundle(lab, 1, 2, 0, 10, 1);
    lab_limits(lab, (struct pt_limits){.runners = PT_NONE});
    lab_session(lab);
    lab_bundle(lab, 2, 0, "test_w.py", "test_a", 20);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 0)->bundle, 2, "it does not wait behind the other");
    struct group group = group_up(&agent, 2);
    group_run(lab, &group, 1);
    expect_done(lab, 1, 1);
    quit_with(lab, &agent, &group);
}

Test(worker_groups, more_ranks_than_slots_are_refused, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    hub_bundle(lab, 1, 3, 0, 10, 1);
    cr_assert_neq(lab_join(lab), 0);
    cr_assert(strstr(read_log(lab, "mpirun.log"), "a bundle for 3 ranks, with 2 slots"));
    lab_destroy(lab);
}

/* --- the end --- */

Test(worker_groups, cancelled_and_quit, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    hub_bundle(lab, 1, 2, 0, 10, 2);
    struct group group = group_up(&agent, 2);
    group_bundle(lab, &group, tests, &n);
    member_report(&group, 0, 1, 10);
    lab_say(lab, PT_L_CANCEL, 0, 0);
    for (uint32_t i = 0; i < 2; i++)
        side_want(&group.members[i], lab, PT_L_CANCEL);
    member_report(&group, 1, 1, 10);
    side_close(&group.members[0]);
    lab_say(lab, PT_L_QUIT, 1, 1000);
    agent_end(&agent, group.id);
    cr_assert_eq(lab_wait(lab, PT_L_BYE, 2)->rank, PT_NONE);
    cr_assert(lab_count(lab, PT_L_RANKS) == 0 && lab_count(lab, PT_L_FALL) == 0);
    cr_assert_eq(lab_join(lab), 0);
    group_close(&group);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_groups, the_test_that_runs_at_quit_is_told, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    hub_bundle(lab, 1, 2, 0, 10, 2);
    struct group group = group_up(&agent, 2);
    group_bundle(lab, &group, tests, &n);
    member_report(&group, 0, 1, 10);
    lab_say(lab, PT_L_QUIT, 1, 10000);
    side_want(&group.members[0], lab, PT_L_QUIT);
    side_want(&group.members[1], lab, PT_L_QUIT);
    member_report(&group, 1, 1, 10);
    lab_wait(lab, PT_L_RANKS, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct pt_buf msg = {0};
        pt_tell_bye(&msg, i);
        side_send(&group.members[i], &msg);
    }
    agent_end(&agent, group.id);
    cr_assert_eq(lab_wait(lab, PT_L_BYE, 2)->rank, PT_NONE);
    cr_assert(lab_count(lab, PT_L_DONE) == 0 && lab_count(lab, PT_L_FALL) == 0);
    cr_assert_eq(lab_join(lab), 0);
    group_close(&group);
    agent_close(&agent);
    lab_destroy(lab);
}
