/* SPDX-License-Identifier: Apache-2.0 */
/* Groups over several hosts, as the hub of their first host has them. */
#include "hub_lab.h"

#include "remote/worker/tell.c"

#define HERE 4 /* the lab's host */

static const struct pt_limits plain = {.mpi_grace_ms = 60000};
static const struct pt_share two_and_one[] = {{HERE, 2}, {7, 1}}, one_and_one[] = {{HERE, 1}, {7, 1}};

static void spread_bundle(struct lab *lab, uint32_t number, const struct pt_share *shares, uint32_t nshares,
                          uint32_t first, uint32_t n)
{
    static char path[] = "test_m.py", nodeid[] = "test_m.py::test_x";
    struct pt_bundle_test tests[8];
    struct pt_bundle_file file = {.path = path, .tests = tests, .ntests = n};
    struct pt_bundle bundle = {.bundle = number,
                               .attempt = 1,
                               .rank = PT_NONE,
                               .spread = (struct pt_share *)(uintptr_t)shares,
                               .nspread = nshares,
                               .files = &file,
                               .nfiles = 1};
    struct pt_buf msg = {0};
    for (uint32_t i = 0; i < nshares; i++)
        bundle.ranks += shares[i].ranks;
    for (uint32_t i = 0; i < n; i++)
        tests[i] = (struct pt_bundle_test){.test = first + i, .occurrence = i, .nodeid = nodeid};
    pt_bundle_encode(&bundle, PT_L_BUNDLE, &msg);
    lab_send(lab, &msg);
}

static struct group join_spread(struct lab *lab, uint32_t id, uint32_t ranks)
{
    struct group group = {.id = id, .ranks = ranks, .spread = true};
    for (uint32_t i = 0; i < ranks; i++)
        member_join(lab, &group, i);
    return group;
}

static struct group spread_up(struct agent *agent, uint32_t ranks, const struct pt_share *shares, uint32_t n)
{
    struct group group = join_spread(agent->lab, agent_start_spread(agent, ranks, n, shares), ranks);
    group_ready(&group);
    return group;
}

static void expect_done(struct lab *lab, size_t n, uint32_t bundle)
{
    struct event *e = lab_wait(lab, PT_L_DONE, n);
    cr_assert(e->bundle == bundle && e->rank == PT_NONE && e->attempt == 1, "bundle %u", e->bundle);
}

/* It leaves after its bundle. */
static void expect_end(struct lab *lab, struct agent *agent, struct group *group)
{
    group_leave(lab, group);
    agent_obey_end(agent, group->id);
}

Test(worker_spread, each_bundle_has_a_group_of_its_own, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    for (uint32_t i = 0; i < 2; i++) {
        spread_bundle(lab, 5 + i, two_and_one, 2, 30 + 10 * i, 2);
        struct group group = spread_up(&agent, 3, two_and_one, 2);
        struct pt_bundle bundle;
        struct pt_reader *r = side_want(&group.members[2], lab, PT_L_BUNDLE); /* and no BIND before */
        cr_assert_eq(pt_bundle_decode(r, &bundle, NULL), 0);
        cr_assert(bundle.bundle == 5 + i && bundle.nspread == 2 && bundle.spread[1].host == 7);
        pt_bundle_fini(&bundle);
        for (uint32_t rank = 0; rank < 2; rank++)
            side_want(&group.members[rank], lab, PT_L_BUNDLE);
        group_report(&group, 5 + i, 30 + 10 * i);
        group_report(&group, 5 + i, 31 + 10 * i);
        group_done(&group, 5 + i);
        expect_done(lab, i, 5 + i);
        expect_end(lab, &agent, &group);
    }
    cr_assert(lab_count(lab, PT_L_RANKS) == 4 && lab_count(lab, PT_L_FALL) == 0);
    hub_quit(lab, &agent);
}

/* Of the same size, one over two hosts and one that is all here: neither runs the other's bundle. */
Test(worker_spread, not_for_other_bundles, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    hub_sizes(lab, 1, (uint32_t[]){2});
    struct group here = group_up(&agent, 2);
    spread_bundle(lab, 1, one_and_one, 2, 10, 1);
    uint32_t id = agent_start_spread(&agent, 2, 2, one_and_one);
    hub_bundle(lab, 2, 2, 0, 20, 1);
    group_run(lab, &here, 2);
    expect_done(lab, 0, 2);
    hub_bundle(lab, 3, 2, 0, 30, 1);
    cr_assert_eq(group_bundle(lab, &here, tests, &n), 3);
    hub_bundle(lab, 4, 2, 0, 40, 1);
    struct group spread = join_spread(lab, id, 2);
    group_ready(&spread);
    group_run(lab, &spread, 1);
    expect_done(lab, 1, 1);
    expect_end(lab, &agent, &spread);
    group_report(&here, 3, 30);
    group_done(&here, 3);
    group_run(lab, &here, 4);
    expect_done(lab, 3, 4);
    cr_assert(side_is_silent(&agent.side, 0), "no other group was needed");
    group_close(&here);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_spread, what_waits_comes_back_and_its_group_ends, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    spread_bundle(lab, 1, two_and_one, 2, 10, 2);
    uint32_t id = agent_start_spread(&agent, 3, 2, two_and_one);
    lab_say(lab, PT_L_RECALL, 1, 1);
    cr_assert_eq(lab_wait(lab, PT_L_RECALLED, 0)->outcome, 1);
    agent_obey_end(&agent, id);
    spread_bundle(lab, 2, two_and_one, 2, 20, 2);
    id = agent_start_spread(&agent, 3, 2, two_and_one);
    lab_say(lab, PT_L_DROP, 1, 2);
    expect_done(lab, 0, 2);
    agent_obey_end(&agent, id);
    spread_bundle(lab, 3, two_and_one, 2, 30, 2);
    id = agent_start_spread(&agent, 3, 2, two_and_one);
    lab_steal(lab, 3, 30, 31);
    cr_assert_eq(lab_wait(lab, PT_L_STOLEN, 0)->n, 1);
    lab_steal(lab, 3, 31, 32);
    cr_assert_eq(lab_wait(lab, PT_L_STOLEN, 1)->n, 1);
    expect_done(lab, 1, 3);
    agent_obey_end(&agent, id);
    cr_assert_eq(lab_count(lab, PT_L_FALL), 0);
    hub_quit(lab, &agent);
}

Test(worker_spread, what_runs_is_dropped, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    spread_bundle(lab, 1, two_and_one, 2, 10, 2);
    struct group group = spread_up(&agent, 3, two_and_one, 2);
    cr_assert_eq(group_bundle(lab, &group, tests, &n), 1);
    lab_say(lab, PT_L_DROP, 1, 1);
    expect_done(lab, 0, 1);
    agent_obey_end(&agent, group.id);
    group_close(&group);
    cr_assert_eq(lab_count(lab, PT_L_FALL), 0);
    hub_quit(lab, &agent);
}

Test(worker_spread, a_far_rank_that_is_gone_costs_its_test, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    uint32_t tests[64], n;
    spread_bundle(lab, 1, two_and_one, 2, 10, 2);
    struct group group = spread_up(&agent, 3, two_and_one, 2);
    cr_assert_eq(group_bundle(lab, &group, tests, &n), 1);
    for (uint32_t i = 0; i < 3; i++)
        member_started(&group, 2 - i, 1, 10);
    lab_wait(lab, PT_L_STARTED, 0);
    side_close(&group.members[2]);
    for (uint32_t i = 0; i < 2; i++) {
        member_falls(lab, &group, i);
        member_dies(&group, i, 1, 10, PT_CAUSE_FALL);
    }
    agent_ended(&agent, group.id, 0x0100, "a host is gone");
    hub_fall(lab, 0, 10, PT_CAUSE_DIED, 2);
    group_close(&group);
    group = spread_up(&agent, 3, two_and_one, 2);
    cr_assert_eq(group_bundle(lab, &group, tests, &n), 1);
    cr_assert(n == 1 && tests[0] == 11);
    group_report(&group, 1, 11);
    group_done(&group, 1);
    expect_done(lab, 0, 1);
    expect_end(lab, &agent, &group);
    hub_quit(lab, &agent);
}

Test(worker_spread, two_starts_that_fail_are_told, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    spread_bundle(lab, 1, two_and_one, 2, 10, 2);
    for (uint32_t i = 0; i < 2; i++)
        agent_ended(&agent, agent_start_spread(&agent, 3, 2, two_and_one), 127 << 8, "host 7 is no peer");
    for (uint32_t i = 0; i < 2; i++) {
        struct event *e = hub_fall(lab, i, 10 + i, PT_CAUSE_NO_GROUP, PT_NONE);
        cr_assert(e->fall.of == 3 && strcmp(e->fall.text, "host 7 is no peer") == 0, "%s", e->fall.text);
    }
    expect_done(lab, 0, 1);
    spread_bundle(lab, 2, two_and_one, 2, 20, 1);
    agent_ended(&agent, agent_start_spread(&agent, 3, 2, two_and_one), 127 << 8, "nor now");
    hub_fall(lab, 2, 20, PT_CAUSE_NO_GROUP, PT_NONE);
    hub_bundle(lab, 3, 2, 0, 30, 1);
    agent_ended(&agent, agent_start(&agent, 2), 127 << 8, "groups that are all here count by themselves");
    struct group here = group_up(&agent, 2);
    group_run(lab, &here, 3);
    spread_bundle(lab, 4, two_and_one, 2, 40, 1);
    struct group group = spread_up(&agent, 3, two_and_one, 2);
    group_run(lab, &group, 4);
    expect_done(lab, 3, 4);
    expect_end(lab, &agent, &group);
    group_close(&here);
    agent_close(&agent);
    lab_destroy(lab);
}

Test(worker_spread, nobody_who_starts_groups, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    spread_bundle(lab, 1, two_and_one, 2, 10, 1);
    cr_assert(
        strstr(hub_fall(lab, 0, 10, PT_CAUSE_NO_GROUP, PT_NONE)->fall.text, "the agent cannot be asked"));
    expect_done(lab, 0, 1);
    lab_quit(lab);
    lab_destroy(lab);
}

Test(worker_spread, cancelled_before_it_is_up, .timeout = 110)
{
    struct lab *lab = hub_open(2, plain);
    struct agent agent = agent_open(lab);
    spread_bundle(lab, 1, two_and_one, 2, 10, 1);
    uint32_t id = agent_start_spread(&agent, 3, 2, two_and_one);
    lab_say(lab, PT_L_CANCEL, 0, 0);
    agent_obey_end(&agent, id);
    hub_quit(lab, &agent);
}

static void refused(const struct pt_share *shares, const char *why)
{
    struct lab *lab = hub_open(2, plain);
    spread_bundle(lab, 1, shares, 2, 10, 1);
    cr_assert_neq(lab_join(lab), 0);
    cr_assert(strstr(read_log(lab, "mpirun.log"), why), "%s", read_log(lab, "mpirun.log"));
    lab_destroy(lab);
}

Test(worker_spread, what_another_host_leads_is_refused, .timeout = 110)
{
    refused((const struct pt_share[]){{7, 1}, {HERE, 2}}, "a bundle of host 7");
}

Test(worker_spread, a_share_above_the_slots_is_refused, .timeout = 110)
{
    refused((const struct pt_share[]){{HERE, 3}, {7, 1}}, "a bundle for 3 ranks, with 2 slots");
}
