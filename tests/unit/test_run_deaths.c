/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that lose their workers, with the run around them played here: who is to blame, and how often. */
#include "run_lab.h"

TestSuite(run_deaths, .init = lab_make, .fini = lab_remove);

static void started(uint32_t test)
{
    struct pt_run_host *h = NULL;
    struct pt_buf m = {0};
    const struct pt_bundle *b = bundle_of(test, &h);
    pt_put_u32(&m, 0);
    pt_put_u32(&m, b->bundle);
    pt_put_u32(&m, b->attempt);
    pt_put_u32(&m, test);
    cr_assert_eq(send(h, PT_L_STARTED, &m), 0);
}

static void begin(void)
{
    start(0, 0);
    for (uint32_t i = 0; i < 2; i++)
        at[i].launches = 1;
}

/* Its workers die while it runs that test, and are started again unless they are not to be. */
static bool die_at(uint32_t test)
{
    struct pt_run_host *h = NULL;
    started(test);
    bundle_of(test, &h);
    snprintf(h->died, sizeof(h->died), "mpirun killed by signal 9 (SIGKILL)");
    pt_plan_lost(run.plan, h->number, pt_run_lost_test, &run);
    if (pt_run_host_spent(h))
        return false;
    char words[96];
    pt_run_host_starts(h, words, sizeof(words));
    say("%s again (%s)\n", h->host->name, words);
    h->launches++;
    h->seq = 0;
    pt_plan_host(run.plan, h->number, 1);
    pt_run_deal(&run);
    return true;
}

Test(run_deaths, a_test_that_kills_is_crashed_once_and_its_hosts_go_on)
{
    begin();
    add_file("a.py", 2);
    add_file("b.py", 2);
    collected();
    for (int i = 0; i < PT_PLAN_DEATHS + PT_PLAN_ALONE; i++) {
        cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_NONE);
        cr_assert(die_at(0));
        if (i == 1) { /* what was beside it ends */
            report(2, "passed");
            report(3, "passed");
            done_with(3);
            pt_run_deal(&run);
        }
    }
    cr_assert_eq(pt_verdict_outcome(run.verdict, 0), PT_OUTCOME_CRASHED);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "crashed"), 1);
    check_shown("a.py::0 CRASHED");
    report(1, "passed");
    done_with(1);
    cr_assert(pt_plan_over(run.plan));
    cr_assert_not_null(strstr(said, "(1 of 3)"), "%s", said);
    cr_assert_not_null(strstr(said, "(a test is the likely cause; "), "%s", said);
    cr_assert_eq(pt_plan_excused(run.plan, 0) + pt_plan_excused(run.plan, 1), 4);
    stop();
}

Test(run_deaths, the_words_name_each_host)
{
    struct pt_plan_deaths deaths = {.n = 4, .alone = 2, .hosts = {0, 1, 0, 1}};
    struct pt_buf b = {0};
    begin();
    snprintf(at[1].died, sizeof(at[1].died), "mpirun killed by signal 9 (SIGKILL)");
    pt_run_killed_words(&run, &deaths, &b);
    cr_assert_str_eq((char *)b.data,
                     "hosts lost their workers 4 times while it ran (h1, h2, h1, h2), the last 2 "
                     "times with no other test there: mpirun killed by signal 9 (SIGKILL)");
    pt_buf_fini(&b);
    stop();
}

Test(run_deaths, a_host_that_dies_by_itself_is_started_three_times_again)
{
    begin();
    add_file("a.py", 1);
    collected();
    for (uint32_t i = 1; i < PT_RUN_LAUNCHES; i++) {
        cr_assert_not(pt_run_host_spent(&at[0]));
        at[0].launches++;
    }
    cr_assert(pt_run_host_spent(&at[0]));
    cr_assert_not(pt_run_host_spent(&at[1]));
    pt_plan_stop(run.plan);
    cr_assert_eq(pt_verdict_finish(run.verdict, PT_OUTCOME_NOTRUN), 1);
    stop();
}

/* Everything kills: each costs some starts, until there are no more. */
Test(run_deaths, killers_without_end_come_to_an_end)
{
    begin();
    pt_plan_host(run.plan, 1, 0);
    pt_plan_never(run.plan, 1);
    for (uint32_t f = 0; f < 12; f++)
        add_file((char[]){(char)('a' + f), '.', 'p', 'y', 0}, 1);
    collected();
    while (at[0].launches < 2 * PT_RUN_STARTS) {
        uint32_t test = dealt[0]->files[0].tests[0].test; /* the first dealt since the start runs */
        struct pt_run_host *h = NULL;
        cr_assert_not_null(bundle_of(test, &h));
        started(test);
        ndealt = 0;
        pt_plan_lost(run.plan, 0, pt_run_lost_test, &run);
        if (pt_run_host_spent(&at[0]))
            break;
        at[0].launches++;
        at[0].seq = 0;
        pt_plan_host(run.plan, 0, 1);
        pt_run_deal(&run);
    }
    cr_assert_eq(at[0].launches, PT_RUN_STARTS);
    cr_assert_eq(pt_verdict_count_of(run.verdict, "crashed"), PT_RUN_STARTS / 4);
    pt_plan_stop(run.plan);
    cr_assert_eq(pt_verdict_finish(run.verdict, PT_OUTCOME_LOST), 12 - PT_RUN_STARTS / 4);
    stop();
}
