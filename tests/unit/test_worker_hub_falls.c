/* SPDX-License-Identifier: Apache-2.0 */
/* Groups that come to their end, or never come up. */
#include "hub_lab.h"

#include "remote/worker/tell.c"

static const struct pt_limits patient = {.mpi_grace_ms = 60000};

struct fallen {
    struct lab *lab;
    struct agent agent;
    struct group group;
};

/* A group of so many ranks that has got bundle 1: tests 10, 11 ... */
static struct fallen start_with(uint32_t ranks, uint32_t count, struct pt_limits limits)
{
    uint32_t tests[64], n;
    struct fallen f = {.lab = hub_open(ranks, limits)};
    f.agent = agent_open(f.lab);
    hub_bundle(f.lab, 1, ranks, 0, 10, count);
    f.group = group_up(&f.agent, ranks);
    cr_assert_eq(group_bundle(f.lab, &f.group, tests, &n), 1);
    cr_assert_eq(n, count);
    return f;
}

static struct fallen start_bundle(uint32_t ranks, struct pt_limits limits)
{
    return start_with(ranks, 3, limits);
}

/* END comes; another group runs the other tests. */
static void end_with_rest(struct fallen *f, uint32_t from, uint32_t count)
{
    uint32_t tests[64], n;
    agent_obey_end(&f->agent, f->group.id);
    group_close(&f->group);
    f->group = group_up(&f->agent, f->group.ranks);
    cr_assert_eq(group_bundle(f->lab, &f->group, tests, &n), 1);
    cr_assert_eq(n, count);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_eq(tests[i], from + i);
        group_report(&f->group, 1, tests[i]);
    }
    group_done(&f->group, 1);
    cr_assert_eq(lab_wait(f->lab, PT_L_DONE, 0)->bundle, 1);
    lab_say(f->lab, PT_L_QUIT, 1, 10000);
    group_leave(f->lab, &f->group);
    agent_end(&f->agent, f->group.id);
    cr_assert_eq(lab_wait(f->lab, PT_L_BYE, f->lab->slots)->rank, PT_NONE);
    cr_assert_eq(lab_join(f->lab), 0);
    agent_close(&f->agent);
    lab_destroy(f->lab);
}

Test(worker_falls, a_crash_costs_its_test, .timeout = 110)
{
    struct fallen f = start_bundle(3, patient);
    group_report(&f.group, 1, 10);
    member_report(&f.group, 2, 1, 11);
    member_dies(&f.group, 1, 1, 11, PT_CAUSE_DIED);
    member_falls(f.lab, &f.group, 0);
    member_falls(f.lab, &f.group, 2);
    member_dies(&f.group, 0, 1, 11, PT_CAUSE_FALL);
    member_dies(&f.group, 2, 1, PT_NONE, PT_CAUSE_FALL);
    struct event *e = hub_fall(f.lab, 0, 11, PT_CAUSE_DIED, 1);
    cr_assert(e->fall.words[0].kind == PT_WORD_DEATH && e->fall.words[1].kind == PT_WORD_DEATH &&
              e->fall.words[2].kind == PT_WORD_REPORT);
    cr_assert(e->fall.bundle == 1 && e->fall.attempt == 1 && e->fall.of == 3);
    cr_assert_eq(lab_count(f.lab, PT_L_DEATH), 0);
    end_with_rest(&f, 12, 1);
}

Test(worker_falls, who_does_not_answer_is_not_waited_for_long, .timeout = 110)
{
    struct fallen f = start_bundle(2, patient);
    member_dies(&f.group, 0, 1, 10, PT_CAUSE_TIMEOUT);
    member_falls(f.lab, &f.group, 1);
    struct event *e = hub_fall(f.lab, 0, 10, PT_CAUSE_TIMEOUT, 0);
    cr_assert_eq(e->fall.words[1].kind, PT_WORD_NONE);
    end_with_rest(&f, 11, 2);
}

Test(worker_falls, members_that_are_killed, .timeout = 110)
{
    struct fallen f = start_bundle(2, patient);
    struct pt_death death;
    member_started(&f.group, 0, 1, 10);
    member_started(&f.group, 1, 1, 10);
    lab_wait(f.lab, PT_L_STARTED, 0);
    side_close(&f.group.members[1]);
    member_falls(f.lab, &f.group, 0);
    side_close(&f.group.members[0]);
    agent_ended(&f.agent, f.group.id, 0x4d00, "MPI_ABORT was invoked on rank 1");
    struct event *e = hub_fall(f.lab, 0, 10, PT_CAUSE_DIED, 1);
    cr_assert_eq(pt_word_death(&e->fall.words[1], &death, NULL), 0);
    cr_assert_eq(death.status, 0x4d00);
    cr_assert_str_eq(death.output, "MPI_ABORT was invoked on rank 1");
    pt_death_fini(&death);
    struct group next = group_up(&f.agent, 2);
    group_run(f.lab, &next, 1);
    cr_assert_eq(lab_wait(f.lab, PT_L_DONE, 0)->bundle, 1);
    cr_assert_eq(next.index, 0, "its number is free again");
    group_close(&next);
    agent_close(&f.agent);
    lab_destroy(f.lab);
}

Test(worker_falls, who_hangs_after_a_failure, .timeout = 110)
{
    struct fallen f = start_bundle(2, (struct pt_limits){.mpi_grace_ms = 50});
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_RANK_FAILED);
    pt_put_u32(&msg, 1);
    pt_put_u32(&msg, 10);
    pt_put_u8(&msg, PT_PHASE_CALL);
    pt_frame_end(&msg, mark);
    side_send(&f.group.members[1], &msg);
    member_report(&f.group, 1, 1, 10);
    for (uint32_t i = 0; i < 2; i++) {
        struct pt_reader *r = side_want(&f.group.members[i], f.lab, PT_RANK_HUNG);
        cr_assert(pt_get_u32(r) == 10 && pt_get_u8(r) == PT_PHASE_CALL && pt_get_end(r));
    }
    member_dies(&f.group, 0, 1, 10, PT_CAUSE_DEADLOCK);
    member_falls(f.lab, &f.group, 1);
    member_dies(&f.group, 1, 1, PT_NONE, PT_CAUSE_FALL);
    struct event *e = hub_fall(f.lab, 0, 10, PT_CAUSE_DEADLOCK, 1);
    cr_assert(e->fall.phase == PT_PHASE_CALL && e->fall.words[1].kind == PT_WORD_REPORT &&
              e->fall.words[0].kind == PT_WORD_DEATH);
    end_with_rest(&f, 11, 2);
}

Test(worker_falls, dropped_while_it_falls, .timeout = 110)
{
    struct fallen f = start_bundle(2, patient);
    member_dies(&f.group, 0, 1, 10, PT_CAUSE_DIED);
    member_falls(f.lab, &f.group, 1);
    lab_say(f.lab, PT_L_DROP, 1, 1);
    cr_assert_eq(lab_wait(f.lab, PT_L_DONE, 0)->bundle, 1);
    agent_obey_end(&f.agent, f.group.id);
    group_close(&f.group);
    cr_assert_eq(lab_count(f.lab, PT_L_FALL), 0);
    hub_quit(f.lab, &f.agent);
}

Test(worker_falls, between_tests_twice, .timeout = 110)
{
    struct fallen f = start_bundle(2, patient);
    for (size_t i = 0; i < 2; i++) {
        uint32_t tests[64], n;
        for (uint32_t rank = 0; rank < 2; rank++)
            member_dies(&f.group, rank, 1, PT_NONE, PT_CAUSE_DIED);
        struct event *e = lab_wait(f.lab, PT_L_FALL, i);
        cr_assert(e->test == PT_NONE && e->fall.path[0] == '\0' && e->bundle == 1);
        agent_obey_end(&f.agent, f.group.id);
        group_close(&f.group);
        if (i == 1)
            break;
        f.group = group_up(&f.agent, 2);
        group_bundle(f.lab, &f.group, tests, &n);
        cr_assert_eq(n, 3, "nothing was told");
    }
    for (size_t i = 0; i < 3; i++)
        hub_fall(f.lab, 2 + i, 10 + (uint32_t)i, PT_CAUSE_NO_GROUP, PT_NONE);
    cr_assert_eq(lab_wait(f.lab, PT_L_DONE, 0)->bundle, 1);
    hub_quit(f.lab, &f.agent);
}

Test(worker_falls, an_idle_group_that_dies, .timeout = 110)
{
    struct fallen f = start_bundle(2, patient);
    for (uint32_t i = 10; i < 13; i++)
        group_report(&f.group, 1, i);
    group_done(&f.group, 1);
    lab_wait(f.lab, PT_L_DONE, 0);
    member_dies(&f.group, 0, PT_NONE, PT_NONE, PT_CAUSE_DIED);
    member_falls(f.lab, &f.group, 1);
    member_dies(&f.group, 1, PT_NONE, PT_NONE, PT_CAUSE_FALL);
    cr_assert_eq(lab_wait(f.lab, PT_L_FALL, 0)->bundle, PT_NONE);
    agent_obey_end(&f.agent, f.group.id);
    group_close(&f.group);
    hub_bundle(f.lab, 2, 2, 0, 20, 1);
    struct group next = group_up(&f.agent, 2);
    group_run(f.lab, &next, 2);
    cr_assert_eq(lab_wait(f.lab, PT_L_DONE, 1)->bundle, 2);
    lab_say(f.lab, PT_L_QUIT, 1, 10000);
    for (uint32_t i = 0; i < 2; i++) {
        side_want(&next.members[i], f.lab, PT_L_QUIT);
        member_dies(&next, i, PT_NONE, PT_NONE, PT_CAUSE_DIED);
    }
    lab_wait(f.lab, PT_L_FALL, 1);
    cr_assert_eq(lab_wait(f.lab, PT_L_BYE, 2)->rank, PT_NONE, "a session that crashes at its end");
    cr_assert_eq(lab_join(f.lab), 0);
    group_close(&next);
    agent_close(&f.agent);
    lab_destroy(f.lab);
}

/* --- groups that do not come up --- */

static void expect_none(struct lab *lab, size_t at, uint32_t test, const char *why)
{
    struct event *e = hub_fall(lab, at, test, PT_CAUSE_NO_GROUP, PT_NONE);
    cr_assert(strstr(e->fall.text, why), "%s", e->fall.text);
    cr_assert_eq(e->fall.words[0].kind, PT_WORD_NONE);
}

Test(worker_falls, two_that_do_not_come_up, .timeout = 110)
{
    struct lab *lab = hub_open(2, patient);
    struct agent agent = agent_open(lab);
    hub_bundle(lab, 1, 2, 0, 10, 2);
    agent_ended(&agent, agent_start(&agent, 2), 0x100, "no such file: mpirun");
    agent_ended(&agent, agent_start(&agent, 2), 0x100, "no such file: mpirun");
    expect_none(lab, 0, 10, "mpirun ended with status 1 before all 2 ranks were there\nno such file: mpirun");
    expect_none(lab, 1, 11, "no such file: mpirun");
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 0)->bundle, 1);
    hub_sizes(lab, 1, (uint32_t[]){2});
    cr_assert(side_is_silent(&agent.side, 200), "not ahead any more");
    hub_bundle(lab, 2, 2, 0, 20, 1);
    agent_ended(&agent, agent_start(&agent, 2), 9, "");
    expect_none(lab, 2, 20, "mpirun was killed by signal 9");
    hub_bundle(lab, 3, 2, 0, 30, 1);
    struct group group = group_up(&agent, 2);
    group_run(lab, &group, 3);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 2)->bundle, 3, "it works again");
    group_close(&group);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_falls, pytest_cannot_start, .timeout = 110)
{
    struct lab *lab = hub_open(2, patient);
    struct agent agent = agent_open(lab);
    hub_bundle(lab, 1, 2, 0, 10, 1);
    for (int i = 0; i < 2; i++) {
        struct pt_buf msg = {0};
        struct group group = group_join(lab, agent_start(&agent, 2), 2);
        pt_tell_broken(&msg, 1, "No module named mpi4py", 22);
        side_send(&group.members[1], &msg);
        agent_obey_end(&agent, group.id);
        group_close(&group);
    }
    expect_none(lab, 0, 10, "rank 1 cannot start pytest:\nNo module named mpi4py");
    hub_quit(lab, &agent);
}

Test(worker_falls, ranks_that_go_before_their_group_is_up, .timeout = 110)
{
    struct lab *lab = hub_open(2, patient);
    struct agent agent = agent_open(lab);
    hub_bundle(lab, 1, 2, 0, 10, 1);
    struct group group = group_join(lab, agent_start(&agent, 2), 2);
    group_close(&group);
    agent_ended(&agent, group.id, 0x100, "rank 0 had no luck");
    group = group_join(lab, agent_start(&agent, 2), 2);
    SAY(&group.members[0], PT_RANK_READY, 0);
    member_dies(&group, 0, PT_NONE, PT_NONE, PT_CAUSE_DIED);
    agent_obey_end(&agent, group.id);
    expect_none(lab, 0, 10, "rank 0 died:\nits stack");
    group_close(&group);
    hub_quit(lab, &agent);
}

Test(worker_falls, nobody_listens, .timeout = 110)
{
    struct lab *lab = hub_open(2, patient);
    hub_sizes(lab, 1, (uint32_t[]){2});
    hub_bundle(lab, 1, 2, 0, 10, 2);
    expect_none(lab, 0, 10, "the agent cannot be asked");
    expect_none(lab, 1, 11, "No such file or directory");
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 0)->bundle, 1);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker_falls, the_agent_goes, .timeout = 110)
{
    struct fallen f = start_bundle(2, patient);
    hub_bundle(f.lab, 2, 2, 0, 20, 1);
    group_report(&f.group, 1, 10);
    lab_wait(f.lab, PT_L_RANKS, 0);
    agent_close(&f.agent);
    static const uint32_t tests[] = {11, 12, 20};
    for (size_t i = 0; i < 3; i++)
        expect_none(f.lab, i, tests[i], "the agent is gone");
    lab_wait(f.lab, PT_L_DONE, 1);
    hub_bundle(f.lab, 3, 2, 0, 30, 1);
    expect_none(f.lab, 3, 30, "the agent is gone");
    cr_assert_not(side_read(&f.group.members[0], f.lab));
    group_close(&f.group);
    lab_quit(f.lab);
    lab_destroy(f.lab);
}

/* --- what is none of ours --- */

Test(worker_falls, strangers, .timeout = 110)
{
    struct lab *lab = hub_open(2, patient);
    struct agent agent = agent_open(lab);
    hub_bundle(lab, 1, 2, 0, 10, 1);
    struct group group = {.id = agent_start(&agent, 2), .ranks = 2};
    member_join(lab, &group, 1);
    const uint32_t wrong[][3] = {
        {group.id + 1, 0, 2}, {group.id, 0, 3}, {group.id, 2, 2}, {group.id, 1, 2}, {group.id, PT_NONE, 2}};
    for (size_t i = 0; i < PT_COUNT(wrong); i++) {
        struct side side = side_connect(lab);
        side_say(&side, PT_RANK_MEMBER, 3, wrong[i]);
        cr_assert_not(side_read(&side, lab), "case %zu", i);
        side_close(&side);
    }
    struct side side = side_connect(lab);
    SAY(&side, PT_RANK_MEMBER, group.id);
    cr_assert_not(side_read(&side, lab), "cut short");
    side_close(&side);
    side = side_connect(lab);
    SAY(&side, PT_L_JOIN, 0);
    cr_assert_not(side_read(&side, lab), "that rank is there");
    side_close(&side);
    member_join(lab, &group, 0);
    group_ready(&group);
    group_run(lab, &group, 1);
    cr_assert_eq(lab_wait(lab, PT_L_DONE, 0)->bundle, 1);
    group_close(&group);
    agent_close(&agent);
    lab_destroy(lab);
}

/* The group falls over it, the hub does not. */
Test(worker_falls, members_that_make_no_sense, .timeout = 110)
{
    struct fallen f = start_with(2, 5, patient);
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t tests[64], n;
        struct side *side = &f.group.members[0];
        member_started(&f.group, 0, 1, 10 + i);
        if (i == 0)
            SAY(side, PT_RANK_READY, 1); /* another's */
        else if (i == 1)
            SAY(side, PT_L_REPORT, 0, 0, 0, 1, 1, 10 + i); /* cut short */
        else if (i == 2)
            member_report(&f.group, 0, 1, 99);
        else if (i == 3)
            SAY(side, 200, 0, 0, 0);
        else
            SAY(side, PT_L_DEATH, 0, 0, 0);
        cr_assert_not(side_read(side, f.lab), "it is cut off");
        member_falls(f.lab, &f.group, 1);
        member_dies(&f.group, 1, 1, 10 + i, PT_CAUSE_FALL);
        agent_ended(&f.agent, f.group.id, 0, "");
        hub_fall(f.lab, i, 10 + i, PT_CAUSE_DIED, 0);
        group_close(&f.group);
        if (i == 4)
            break;
        f.group = group_up(&f.agent, 2);
        group_bundle(f.lab, &f.group, tests, &n);
        cr_assert_eq(n, 4 - i);
    }
    cr_assert_eq(lab_wait(f.lab, PT_L_DONE, 0)->bundle, 1);
    hub_quit(f.lab, &f.agent);
}
