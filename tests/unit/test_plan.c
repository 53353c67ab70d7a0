/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "plan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOSTS_MAX 16
#define TESTS_MAX 20000
#define LIVE_MAX  4096

static struct pt_plan *plan_of(uint32_t hosts, uint32_t bundles_per_worker)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_plan_spec spec = {.hosts = hosts, .bundles_per_worker = bundles_per_worker, .timeout_ms = 1234};
    struct pt_plan *plan = pt_plan_create(&spec, &err);
    cr_assert_not_null(plan, "%s", err.msg);
    return plan;
}

/* A file of n tests, numbered from first on. */
static void add(struct pt_plan *plan, const char *path, uint32_t first, uint32_t n, double seconds)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_bundle_test *tests = calloc(n, sizeof(*tests));
    char(*ids)[64] = calloc(n, sizeof(*ids));
    for (uint32_t i = 0; i < n; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%.40s::test_%u", path, first + i);
        tests[i] = (struct pt_bundle_test){.test = first + i, .nodeid = ids[i]};
    }
    cr_assert_eq(pt_plan_add_file(plan, path, tests, n, seconds, &err), 0, "%s", err.msg);
    free(ids);
    free(tests);
}

static const struct pt_bundle *next(struct pt_plan *plan, uint32_t *host)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_plan_deal deal;
    int rc = pt_plan_next(plan, &deal, &err);
    cr_assert_geq(rc, 0, "%s", err.msg);
    if (rc == 0)
        return NULL;
    if (host)
        *host = deal.host;
    return deal.bundle;
}

static void tell_all(struct pt_plan *plan, const struct pt_bundle *bundle)
{
    for (uint32_t f = 0; f < bundle->nfiles; f++)
        for (uint32_t t = 0; t < bundle->files[f].ntests; t++)
            cr_assert(pt_plan_told(plan, bundle->files[f].tests[t].test));
}

static void finish(struct pt_plan *plan, uint32_t host, const struct pt_bundle *bundle)
{
    tell_all(plan, bundle);
    cr_assert(pt_plan_done(plan, host, bundle->bundle, bundle->attempt, NULL, NULL));
}

static uint32_t count_tests(const struct pt_bundle *bundle)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < bundle->nfiles; f++)
        n += bundle->files[f].ntests;
    return n;
}

static void count_up(void *arg, uint32_t test)
{
    (void)test;
    ++*(uint32_t *)arg;
}

/* --- single properties --- */

Test(plan, empty_run_is_over_once_collected)
{
    struct pt_plan *plan = plan_of(1, 10);
    pt_plan_host(plan, 0, 4);
    cr_assert_not(pt_plan_over(plan));
    add(plan, "none.py", 0, 0, -1);
    cr_assert_null(next(plan, NULL));
    pt_plan_collected(plan);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
    pt_plan_destroy(NULL);
}

Test(plan, bundle_carries_what_was_added)
{
    struct pt_plan *plan = plan_of(2, 10);
    struct pt_bundle_test tests[] = {{.test = 7, .occurrence = 1, .nodeid = (char[]){"a.py::t[x]"}},
                                     {.test = 3, .occurrence = 0, .nodeid = (char[]){"a.py::u"}}};
    cr_assert_eq(pt_plan_add_file(plan, "a.py", tests, 2, 1.0, NULL), 0);
    tests[0].nodeid[0] = '!';
    pt_plan_host(plan, 1, 1);
    uint32_t host;
    const struct pt_bundle *bundle = next(plan, &host);
    cr_assert_not_null(bundle);
    cr_assert_eq(host, 1);
    cr_assert_eq(bundle->attempt, 1);
    cr_assert_eq(bundle->timeout_ms, 1234);
    cr_assert_eq(bundle->nfiles, 1);
    cr_assert_str_eq(bundle->files[0].path, "a.py");
    cr_assert_eq(bundle->files[0].ntests, 2);
    cr_assert_str_eq(bundle->files[0].tests[0].nodeid, "a.py::t[x]");
    cr_assert_eq(bundle->files[0].tests[0].test, 7);
    cr_assert_eq(bundle->files[0].tests[0].occurrence, 1);
    cr_assert_eq(bundle->files[0].tests[1].test, 3);
    pt_plan_destroy(plan);
}

Test(plan, refuses_a_number_given_twice_and_keeps_nothing_of_it)
{
    struct pt_plan *plan = plan_of(1, 10);
    struct pt_err err = PT_ERR_INIT;
    char id[] = "b.py::t";
    struct pt_bundle_test twice[] = {
        {.test = 1, .nodeid = id}, {.test = 2, .nodeid = id}, {.test = 1, .nodeid = id}};
    add(plan, "a.py", 0, 1, -1);
    cr_assert_eq(pt_plan_add_file(plan, "b.py", twice, 3, -1, &err), -1);
    cr_assert(strstr(err.msg, "given twice"));
    cr_assert_eq(pt_plan_untold(plan), 1);
    cr_assert_eq(pt_plan_add_file(plan, "b.py", twice, 2, -1, &err), 0);
    struct pt_bundle_test far = {.test = PT_MAX_TESTS, .nodeid = id};
    cr_assert_eq(pt_plan_add_file(plan, "c.py", &far, 1, -1, &err), -1);
    cr_assert_eq(pt_plan_untold(plan), 3);
    pt_plan_destroy(plan);
}

Test(plan, unknown_files_come_first_then_the_longest)
{
    struct pt_plan *plan = plan_of(1, 1000);
    add(plan, "short.py", 0, 1, 1);
    add(plan, "long.py", 1, 1, 60);
    add(plan, "new_small.py", 2, 2, -1);
    add(plan, "new_big.py", 4, 9, NAN);
    add(plan, "middle.py", 13, 5, 30);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    const char *want[] = {"new_big.py", "new_small.py", "long.py", "middle.py", "short.py"};
    for (size_t i = 0; i < 5; i++) {
        const struct pt_bundle *bundle = next(plan, NULL);
        cr_assert_not_null(bundle);
        cr_assert_str_eq(bundle->files[0].path, want[i]);
        finish(plan, 0, bundle);
    }
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

/* Deals everything at once, one bundle finished after the other; returns how many bundles there were. */
static uint32_t deal_through(struct pt_plan *plan)
{
    uint32_t n = 0;
    uint32_t host;
    const struct pt_bundle *bundle;
    while ((bundle = next(plan, &host))) {
        finish(plan, host, bundle);
        n++;
    }
    cr_assert(pt_plan_over(plan));
    return n;
}

Test(plan, an_order_that_is_kept_goes_before_how_long_files_take)
{
    static const char *const paths[] = {"b.py", "a.py", "c.py"};
    struct pt_plan *plan = plan_of(1, 1000);
    pt_plan_keep_order(plan);
    for (uint32_t i = 0; i < 3; i++)
        add(plan, paths[i], 2 * i, 2, (double[]){1, 30, -1}[i]);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 3);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t host;
        const struct pt_bundle *bundle = next(plan, &host);
        cr_assert_not_null(bundle);
        cr_assert_str_eq(bundle->files[0].path, paths[i]);
    }
    pt_plan_destroy(plan);
}

Test(plan, a_slot_gets_about_as_many_bundles_as_asked_for)
{
    static const uint32_t per_worker[] = {1, 2, 10, 40};
    for (size_t i = 0; i < 4; i++) {
        for (int known = 0; known < 2; known++) {
            struct pt_plan *plan = plan_of(2, per_worker[i]);
            for (uint32_t f = 0; f < 2000; f++) {
                char path[32];
                snprintf(path, sizeof(path), "t/test_%u.py", f);
                add(plan, path, 3 * f, 3, known ? 0.1 + f % 7 : -1);
            }
            pt_plan_collected(plan);
            pt_plan_host(plan, 0, 3);
            pt_plan_host(plan, 1, 5);
            double n = deal_through(plan);
            double want = 8.0 * per_worker[i];
            cr_assert(n >= 0.9 * want && n <= 1.3 * want + 16, "%g bundles, wanted about %g", n, want);
            pt_plan_destroy(plan);
        }
    }
}

Test(plan, files_are_never_split_and_big_ones_go_alone)
{
    struct pt_plan *plan = plan_of(1, 2);
    add(plan, "big.py", 0, 500, -1);
    for (uint32_t f = 0; f < 100; f++)
        add(plan, "small.py", 500 + f, 1, -1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    const struct pt_bundle *bundle = next(plan, NULL);
    cr_assert_eq(bundle->nfiles, 1);
    cr_assert_eq(bundle->files[0].ntests, 500);
    bundle = next(plan, NULL);
    cr_assert_gt(count_tests(bundle), 10);
    pt_plan_destroy(plan);
}

Test(plan, no_slot_waits_while_files_are_still_being_collected)
{
    struct pt_plan *plan = plan_of(2, 10);
    uint32_t dealt[2] = {0, 0};
    uint32_t host;
    pt_plan_expect(plan, 0, 4);
    pt_plan_expect(plan, 1, 4);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    for (uint32_t f = 0; f < 8; f++) {
        add(plan, "f.py", f, 1, -1);
        const struct pt_bundle *bundle = next(plan, &host);
        cr_assert_not_null(bundle);
        cr_assert_eq(count_tests(bundle), 1);
        dealt[host]++;
    }
    cr_assert_eq(dealt[0], 4);
    cr_assert_eq(dealt[1], 4);
    cr_assert_not(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan, a_file_too_big_for_one_message_goes_in_parts)
{
    struct pt_plan *plan = plan_of(1, 1);
    enum { N = 40 };
    struct pt_bundle_test tests[N];
    for (uint32_t i = 0; i < N; i++) {
        tests[i] = (struct pt_bundle_test){.test = i, .nodeid = malloc(PT_MAX_NODEID + 1)};
        memset(tests[i].nodeid, 'x', PT_MAX_NODEID);
        tests[i].nodeid[PT_MAX_NODEID] = '\0';
    }
    cr_assert_eq(pt_plan_add_file(plan, "huge.py", tests, N, 8.0, NULL), 0);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    uint32_t expect = 0;
    const struct pt_bundle *bundle;
    while ((bundle = next(plan, NULL))) {
        struct pt_buf out = {0};
        pt_bundle_encode(bundle, PT_L_BUNDLE, &out);
        cr_assert_leq(out.len, PT_MAX_FRAME);
        pt_buf_fini(&out);
        for (uint32_t i = 0; i < bundle->files[0].ntests; i++)
            cr_assert_eq(bundle->files[0].tests[i].test, expect++);
        finish(plan, 0, bundle);
    }
    cr_assert_eq(expect, N);
    for (uint32_t i = 0; i < N; i++)
        free(tests[i].nodeid);
    pt_plan_destroy(plan);
}

Test(plan, tests_told_before_they_were_dealt_are_not_dealt)
{
    struct pt_plan *plan = plan_of(1, 10);
    add(plan, "a.py", 0, 3, -1);
    add(plan, "b.py", 3, 2, -1);
    cr_assert(pt_plan_told(plan, 1));
    cr_assert_not(pt_plan_told(plan, 1));
    cr_assert(pt_plan_told(plan, 3));
    cr_assert(pt_plan_told(plan, 4));
    cr_assert_not(pt_plan_told(plan, 99));
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *bundle = next(plan, NULL);
    cr_assert_eq(count_tests(bundle), 2);
    finish(plan, 0, bundle);
    cr_assert_null(next(plan, NULL));
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan, what_a_host_says_is_believed_only_of_what_it_holds)
{
    struct pt_plan *plan = plan_of(2, 10);
    add(plan, "a.py", 0, 3, -1);
    add(plan, "b.py", 3, 3, -1);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *bundle = next(plan, NULL);
    uint32_t mine = bundle->files[0].tests[0].test;
    cr_assert(pt_plan_holds(plan, 0, bundle->bundle, 1, mine));
    cr_assert(pt_plan_holds(plan, 0, bundle->bundle, 1, PT_NONE));
    cr_assert_not(pt_plan_holds(plan, 1, bundle->bundle, 1, mine));
    cr_assert_not(pt_plan_holds(plan, 0, bundle->bundle, 2, mine));
    cr_assert_not(pt_plan_holds(plan, 0, bundle->bundle, 0, mine));
    cr_assert_not(pt_plan_holds(plan, 0, bundle->bundle + 1, 1, mine));
    cr_assert_not(pt_plan_holds(plan, 0, bundle->bundle, 1, 5));
    cr_assert_not(pt_plan_holds(plan, 0, bundle->bundle, 1, 1000000));
    cr_assert_not(pt_plan_done(plan, 1, bundle->bundle, 1, NULL, NULL));
    cr_assert_not(pt_plan_done(plan, 0, bundle->bundle, 2, NULL, NULL));
    cr_assert_not(pt_plan_done(plan, 77, bundle->bundle, 1, NULL, NULL));
    cr_assert_not(pt_plan_returned(plan, 0, bundle->bundle, true));
    finish(plan, 0, bundle);
    cr_assert_not(pt_plan_done(plan, 0, bundle->bundle, 1, NULL, NULL));
    pt_plan_host(plan, 99, 4);
    pt_plan_expect(plan, 99, 4);
    pt_plan_lost(plan, 99, NULL, NULL);
    cr_assert_eq(pt_plan_held(plan, 99), 0);
    pt_plan_destroy(plan);
}

/* --- losses --- */

Test(plan, what_a_lost_host_held_goes_first_in_order_without_what_was_told)
{
    struct pt_plan *plan = plan_of(2, 1000);
    for (uint32_t f = 0; f < 10; f++)
        add(plan, "f.py", 3 * f, 3, 100 - f);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    const struct pt_bundle *first = next(plan, NULL);
    const struct pt_bundle *second = next(plan, NULL);
    const struct pt_bundle *third = next(plan, NULL);
    cr_assert(pt_plan_told(plan, first->files[0].tests[0].test));
    uint32_t given_up = 0;
    pt_plan_lost(plan, 0, count_up, &given_up);
    cr_assert_eq(given_up, 0);
    cr_assert_eq(pt_plan_held(plan, 0), 0);
    cr_assert_null(next(plan, NULL));
    pt_plan_host(plan, 1, 3);
    const struct pt_bundle *again = next(plan, NULL);
    cr_assert_eq(again->bundle, first->bundle);
    cr_assert_eq(again->attempt, 2);
    cr_assert_eq(again->files[0].ntests, 2);
    cr_assert_eq(again->files[0].tests[0].test, first->files[0].tests[1].test);
    cr_assert_eq(next(plan, NULL)->bundle, second->bundle);
    cr_assert_eq(next(plan, NULL)->bundle, third->bundle);
    cr_assert_eq(first->files[0].ntests, 3);
    cr_assert(pt_plan_holds(plan, 0, first->bundle, 1, 1), "a late report of the lost host");
    pt_plan_destroy(plan);
}

/* A test that takes its host down: it alone is given up, after four deaths, in the last two of which nothing
 * was beside it. */
Test(plan, a_test_that_kills_hosts_is_given_up_and_takes_no_other_along)
{
    enum { HOSTS = 4, TESTS = 40, KILLER = 17 };
    struct pt_plan *plan = plan_of(HOSTS, 10);
    uint32_t given_up = 0;
    uint32_t kills = 0;
    for (uint32_t f = 0; f < TESTS / 4; f++)
        add(plan, "f.py", 4 * f, 4, -1);
    pt_plan_collected(plan);
    for (uint32_t h = 0; h < HOSTS; h++)
        pt_plan_host(plan, h, 2);
    struct pt_plan_deal held[64];
    size_t n = 0;
    while (!pt_plan_over(plan)) {
        while (n < 64 && pt_plan_next(plan, &held[n], NULL) > 0)
            n++;
        cr_assert_gt(n, 0, "stuck");
        struct pt_plan_deal deal = held[--n];
        const struct pt_bundle *bundle = deal.bundle;
        bool killed = false;
        for (uint32_t t = 0; !killed && t < bundle->files[0].ntests; t++) {
            killed = bundle->files[0].tests[t].test == KILLER;
            if (!killed)
                pt_plan_told(plan, bundle->files[0].tests[t].test);
        }
        if (!killed) {
            cr_assert(pt_plan_done(plan, deal.host, bundle->bundle, bundle->attempt, NULL, NULL));
            continue;
        }
        kills++;
        if (kills > PT_PLAN_DEATHS)
            cr_assert(deal.alone && pt_plan_held(plan, deal.host) == 1, "it is alone on its host");
        pt_plan_lost(plan, deal.host, count_up, &given_up);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (held[i].host != deal.host)
                held[kept++] = held[i];
        n = kept;
        pt_plan_host(plan, deal.host, 2);
    }
    cr_assert_eq(kills, PT_PLAN_DEATHS + PT_PLAN_ALONE);
    cr_assert_eq(given_up, 1);
    cr_assert(pt_plan_is_told(plan, KILLER));
    pt_plan_destroy(plan);
}

Test(plan, bundles_in_line_on_a_lost_host_do_not_count_as_lost)
{
    struct pt_plan *plan = plan_of(1, 1000);
    for (uint32_t f = 0; f < 100; f++)
        add(plan, "f.py", f, 1, -1);
    pt_plan_collected(plan);
    uint32_t given_up = 0;
    for (int i = 0; i < PT_PLAN_LOSSES; i++) {
        pt_plan_host(plan, 0, 1);
        while (next(plan, NULL))
            ;
        cr_assert_gt(pt_plan_held(plan, 0), 1);
        pt_plan_lost(plan, 0, count_up, &given_up);
    }
    cr_assert_leq(given_up, 1);
    pt_plan_destroy(plan);
}

Test(plan, a_bundle_said_to_be_done_with_tests_untold_is_tried_again_and_ends)
{
    struct pt_plan *plan = plan_of(1, 10);
    add(plan, "a.py", 0, 3, -1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    uint32_t given_up = 0;
    for (uint32_t i = 1; i <= PT_PLAN_LOSSES; i++) {
        const struct pt_bundle *bundle = next(plan, NULL);
        cr_assert_not_null(bundle);
        cr_assert_eq(bundle->attempt, i);
        cr_assert(pt_plan_done(plan, 0, bundle->bundle, i, count_up, &given_up));
    }
    cr_assert_eq(given_up, 3);
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan, a_late_report_of_a_lost_host_saves_the_next_attempt)
{
    struct pt_plan *plan = plan_of(1, 10);
    add(plan, "a.py", 0, 2, -1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    cr_assert_not_null(next(plan, NULL));
    pt_plan_lost(plan, 0, NULL, NULL);
    cr_assert(pt_plan_told(plan, 0));
    cr_assert(pt_plan_told(plan, 1));
    pt_plan_host(plan, 0, 1);
    cr_assert_null(next(plan, NULL));
    cr_assert(pt_plan_over(plan));
    pt_plan_destroy(plan);
}

Test(plan, stopped_plan_deals_no_more_and_is_over_when_nothing_is_held)
{
    struct pt_plan *plan = plan_of(1, 10);
    for (uint32_t f = 0; f < 50; f++)
        add(plan, "f.py", f, 1, -1);
    pt_plan_host(plan, 0, 1);
    const struct pt_bundle *bundle = next(plan, NULL);
    pt_plan_stop(plan);
    cr_assert_null(next(plan, NULL));
    cr_assert_not(pt_plan_over(plan));
    finish(plan, 0, bundle);
    cr_assert(pt_plan_over(plan));
    cr_assert_gt(pt_plan_untold(plan), 0);
    pt_plan_destroy(plan);
}

/* --- calling back --- */

Test(plan, what_waits_on_one_host_is_called_back_for_an_idle_one)
{
    struct pt_plan *plan = plan_of(2, 10);
    uint32_t host, bundle;
    for (uint32_t f = 0; f < 4; f++)
        add(plan, "f.py", f, 1, 10);
    pt_plan_expect(plan, 0, 2);
    pt_plan_expect(plan, 1, 2);
    pt_plan_host(plan, 0, 2);
    while (next(plan, NULL))
        ;
    cr_assert_eq(pt_plan_held(plan, 0), 3, "one ahead");
    cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 0, "nobody is idle");
    cr_assert_not_null(next(plan, NULL) ? NULL : plan);
    pt_plan_host(plan, 1, 2);
    uint32_t to;
    cr_assert_not_null(next(plan, &to));
    cr_assert_eq(to, 1);
    cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 1);
    cr_assert_eq(host, 0);
    uint32_t host2, bundle2;
    cr_assert_eq(pt_plan_recall(plan, &host2, &bundle2), 0, "only one waits");
    cr_assert(pt_plan_returned(plan, host, bundle, true));
    cr_assert_not(pt_plan_returned(plan, host, bundle, true));
    const struct pt_bundle *again = next(plan, &to);
    cr_assert_eq(to, 1);
    cr_assert_eq(again->bundle, bundle);
    cr_assert_eq(again->attempt, 2);
    cr_assert_eq(pt_plan_held(plan, 0), 2);
    pt_plan_destroy(plan);
}

Test(plan, a_recall_that_came_too_late_is_not_repeated)
{
    struct pt_plan *plan = plan_of(2, 10);
    uint32_t host, bundle;
    add(plan, "a.py", 0, 1, 10);
    add(plan, "b.py", 1, 1, 10);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 1);
    while (next(plan, NULL))
        ;
    pt_plan_host(plan, 1, 1);
    cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 1);
    cr_assert(pt_plan_returned(plan, host, bundle, false));
    cr_assert_eq(pt_plan_held(plan, 0), 2);
    uint32_t other;
    if (pt_plan_recall(plan, &host, &other))
        cr_assert_neq(other, bundle);
    pt_plan_lost(plan, 0, NULL, NULL);
    cr_assert_not(pt_plan_returned(plan, 0, bundle, true), "an answer after the loss");
    pt_plan_destroy(plan);
}

Test(plan, a_host_that_lost_its_last_runner_gives_everything_back)
{
    struct pt_plan *plan = plan_of(2, 10);
    uint32_t host, bundle;
    for (uint32_t f = 0; f < 3; f++)
        add(plan, "f.py", f, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    while (next(plan, NULL))
        ;
    pt_plan_host(plan, 0, 0);
    pt_plan_host(plan, 1, 8);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 1);
        cr_assert_eq(host, 0);
        cr_assert(pt_plan_returned(plan, host, bundle, true));
        cr_assert_not_null(next(plan, &host));
        cr_assert_eq(host, 1);
    }
    cr_assert_eq(pt_plan_held(plan, 0), 0);
    pt_plan_destroy(plan);
}
