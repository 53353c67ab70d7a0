/* SPDX-License-Identifier: Apache-2.0 */
/* Which hosts may run tests together: what is asked of whom and when, and what the plan is told. */
#include "across_run_lab.h"

#include "src/run_across.c"
#include "src/run_relays.c"

static void expect_spread(uint32_t leader, uint32_t far)
{
    cr_assert_not_null(lab.dealt, "nothing was dealt");
    cr_assert_eq(lab.dealt->nspread, 2);
    cr_expect(lab.dealt_to == leader && lab.dealt->spread[0].host == leader &&
              lab.dealt->spread[0].ranks == 4);
    cr_expect(lab.dealt->spread[1].host == far && lab.dealt->spread[1].ranks == 2);
}

static uint32_t impossible(void)
{
    uint32_t n = 0;
    while (pt_plan_impossible(lab.run.plan) != PT_NONE)
        n++;
    return n;
}

Test(run_across, nobody_is_asked_while_a_host_is_on_its_way)
{
    lab_start();
    lab.coming = true;
    for (uint32_t i = 0; i < HOSTS; i++)
        lab_up(i);
    lab_expect_none();
    lab.coming = false;
    pt_run_check(&lab.run);
    lab_expect_all(PT_C_LISTEN);
    pt_run_check(&lab.run);
    lab_expect_none();
    lab_stop();
}

Test(run_across, nobody_is_asked_when_no_test_needs_it)
{
    lab_start();
    for (uint32_t i = 0; i < HOSTS; i++)
        pt_plan_expect(lab.run.plan, i, 8);
    for (uint32_t i = 0; i < HOSTS; i++) {
        lab.at[i].state = PT_HOST_WORKING;
        pt_plan_host(lab.run.plan, i, 8);
    }
    pt_run_check(&lab.run);
    lab_expect_none();
    cr_expect_null(lab.run.across);
    lab_stop();
}

Test(run_across, a_round_tells_each_what_it_must_know)
{
    struct pt_probe probe;
    struct pt_peers peers;
    lab_start();
    lab_all_up();
    lab_expect_all(PT_C_LISTEN);
    say_listening(0);
    say_listening(1);
    lab_expect_none();
    say_listening(2);
    struct pt_reader r = lab_expect(0, PT_C_PROBE);
    cr_assert_eq(pt_probe_decode(&r, &probe, NULL), 0);
    cr_assert(probe.n == 2 && probe.hosts[0].host == 1 && probe.hosts[1].host == 2);
    cr_expect(probe.hosts[1].port == 1002 && probe.hosts[1].n == 1 &&
              probe.hosts[1].addresses[0] == ADDRESS(2));
    cr_expect_eq(probe.hosts[1].token[15], 2);
    pt_probe_fini(&probe);
    lab_expect(1, PT_C_PROBE);
    lab_expect(2, PT_C_PROBE);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_reached_but(i, PT_NONE);
    for (uint32_t i = 0; i < HOSTS; i++) {
        r = lab_expect(i, PT_C_PEERS);
        cr_assert_eq(pt_peers_decode(&r, &peers, NULL), 0);
        cr_assert_eq(peers.n, 3);
        cr_expect(peers.hosts[1].host == 1 && peers.hosts[1].launch == 1);
        cr_expect(peers.hosts[1].address.address == ADDRESS(1) && peers.hosts[1].address.prefix == 24);
        cr_expect_str_eq(peers.hosts[1].run_dir, "/run/x");
        cr_expect_str_eq(peers.hosts[1].worker, "/bin/w");
        pt_peers_fini(&peers);
    }
    say_peered(0);
    say_peered(1);
    cr_expect_null(lab.dealt, "before all have taken it");
    say_peered(2);
    expect_spread(0, 1);
    cr_expect_str_eq(lab.notes, "");
    lab_expect_none();
    lab_stop();
}

Test(run_across, who_cannot_be_reached_is_named_once)
{
    lab_start();
    lab_all_up();
    lab_expect_all(PT_C_LISTEN);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_listening(i);
    lab_expect_all(PT_C_PROBE);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_reached_but(i, i == 0 ? 1 : PT_NONE);
    lab_expect(0, PT_C_PEERS);
    lab_expect(2, PT_C_PEERS);
    lab_expect_none();
    static const char once[] =
        "h2: no tests over several hosts: h1 cannot reach it (10.0.0.2); open TCP between them\n";
    cr_expect_str_eq(lab.notes, once);
    say_peered(0);
    say_peered(2);
    expect_spread(0, 2);
    lab_lose(2);
    lab_up(2); /* all are asked anew */
    lab_expect_all(PT_C_LISTEN);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_listening(i);
    lab_expect_all(PT_C_PROBE);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_reached_but(i, i == 0 ? 1 : PT_NONE);
    cr_expect_str_eq(lab.notes, once);
    lab_stop();
}

Test(run_across, hosts_that_reach_nobody_make_tests_impossible)
{
    lab_start();
    lab_all_up();
    lab_expect_all(PT_C_LISTEN);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_listening_of(i, i == 0 ? "4.1.4" : i == 1 ? "5.0.1" : "4.0.2", 1);
    lab_expect_all(PT_C_PROBE);
    cr_expect_eq(impossible(), 0);
    for (uint32_t i = 0; i < HOSTS; i++)
        say_reached_but(i, PT_NONE);
    lab_expect_none();
    cr_expect_str_eq(lab.notes, "h2: no tests over several hosts: Open MPI 5.0 there, 4.1 on h1\n"
                                "h3: no tests over several hosts: Open MPI 4.0 there, 4.1 on h1\n");
    cr_expect_eq(impossible(), 2);
    lab_stop();
}

Test(run_across, who_does_not_answer_is_none_of_them)
{
    for (int step = 0; step < 3; step++) {
        lab_start();
        lab_all_up();
        for (uint32_t i = 0; i < 2 + (step > 0); i++)
            say_listening(i);
        if (step == 0)
            lab_late();
        for (uint32_t i = 0; i < 2 + (step > 1); i++)
            say_reached_but(i, PT_NONE);
        if (step == 1)
            lab_late();
        say_peered(0);
        say_peered(1);
        cr_expect_eq(lab.dealt == NULL, step == 2, "step %d", step);
        if (step == 2)
            lab_late();
        expect_spread(0, 1);
        cr_expect_str_eq(lab.notes, step == 2 ? ""
                                              : "h3: no tests over several hosts: it did not say in time "
                                                "which hosts it reaches\n");
        cr_expect_eq(lab.run.across->at[2].in, false);
        lab_stop();
    }
}

Test(run_across, nobody_answers_anything)
{
    lab_start();
    lab_all_up();
    lab_late();
    cr_expect_null(lab.dealt);
    cr_expect_eq(impossible(), 2);
    lab_stop();
}

Test(run_across, an_answer_of_another_launch_is_none)
{
    lab_start();
    lab_all_up();
    say_listening(0);
    say_listening(1);
    say_listening_of(2, "4.1.4", 7);
    lab_expect_all(PT_C_LISTEN);
    lab_expect(0, PT_C_PROBE);
    lab_expect(1, PT_C_PROBE);
    lab_expect_none();
    say_reached_but(0, PT_NONE);
    say_reached_but(1, PT_NONE);
    say_peered(0);
    say_peered(1);
    expect_spread(0, 1);
    lab_stop();
}

Test(run_across, answers_to_no_question_do_no_harm)
{
    lab_start();
    say_peered(1);
    say_listening(1);
    lab_all_up();
    say_peered(1);
    say_reached_but(2, PT_NONE);
    lab_round();
    expect_spread(0, 1);
    say_listening(2);
    say_reached_but(0, 1);
    say_peered(0);
    lab_expect_none();
    lab_stop();
}

/* It is asked a second time before it has answered the first: that answer is of the launch before. */
Test(run_across, a_host_that_is_lost_while_it_is_asked_is_asked_again)
{
    lab_start();
    lab_all_up();
    lab_expect_all(PT_C_LISTEN);
    say_listening(0);
    say_listening(1);
    lab.coming = true;
    lab_lose(2);
    lab_expect(0, PT_C_PROBE);
    lab_expect(1, PT_C_PROBE);
    lab.coming = false;
    lab_up(2);
    say_reached_but(0, PT_NONE);
    say_reached_but(1, PT_NONE);
    lab_expect(0, PT_C_PEERS);
    lab_expect(1, PT_C_PEERS);
    say_peered(0);
    say_peered(1);
    cr_expect_null(lab.dealt, "the plan would take h3 for one that cannot");
    lab_expect_all(PT_C_LISTEN);
    say_listening_of(2, "1.0", 2);
    say_listening(0);
    say_listening(1);
    lab_expect_none();
    say_listening(2);
    lab_round_from_probe();
    expect_spread(0, 1);
    cr_expect_str_eq(lab.notes, "");
    lab_stop();
}

/* After a new connection nothing of the old one will be answered. */
Test(run_across, a_host_whose_connection_was_lost_owes_nothing)
{
    lab_start();
    lab_all_up();
    lab_expect_all(PT_C_LISTEN);
    say_listening(0);
    say_listening(1);
    lab.coming = true;
    lab_lose(2);
    pt_run_across_down(&lab.at[2]);
    say_reached_but(0, PT_NONE);
    say_reached_but(1, PT_NONE);
    say_peered(0);
    say_peered(1);
    expect_spread(0, 1);
    lab.taken = lab.nframes;
    lab_lose(1);
    lab_up(1);
    lab.coming = false;
    lab_up(2);
    lab_round();
    cr_expect(lab.run.across->at[2].in);
    lab_stop();
}

Test(run_across, a_single_host_is_not_asked)
{
    lab_start();
    lab_up(1);
    lab_expect_none();
    lab.at[0].state = lab.at[2].state = PT_HOST_DOWN;
    pt_plan_never(lab.run.plan, 0);
    pt_plan_never(lab.run.plan, 2);
    pt_run_check(&lab.run);
    lab_expect_none();
    cr_expect_eq(impossible(), 2);
    lab_stop();
}
