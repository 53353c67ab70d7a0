/* SPDX-License-Identifier: Apache-2.0 */
/* How much is dealt ahead: work to be left with hosts that may have to go on alone. */
#include "common/auto.h"
#include "plan_lab.h"

#define FILES   40
#define SECONDS 10 /* each file, of five tests */

static struct pt_plan *plan_of(double leave)
{
    struct pt_plan_spec spec = {.hosts = 2, .bundles_per_worker = 10, .leave = leave};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    cr_assert_not_null(plan);
    for (uint32_t i = 0; i < FILES; i++) {
        char path[32];
        struct pt_err err = PT_ERR_INIT;
        snprintf(path, sizeof(path), "test_%u.py", i);
        cr_assert_eq(add_unit(plan, plain_unit(), path, 5 * i, 5, SECONDS / 5.0, &err), 0, "%s", err.msg);
    }
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 2);
    pt_plan_host(plan, 1, 2);
    return plan;
}

/* Deals all that can be dealt now: seconds of work that each host has then. */
static void deal(struct pt_plan *plan, double held[2])
{
    struct pt_plan_deal deal;
    while (pt_plan_next(plan, &deal, NULL) == 1)
        held[deal.host] += count_tests(deal.bundle) * (SECONDS / 5.0);
}

Test(plan_leave, each_slot_holds_as_much_as_is_to_be_left_with_it)
{
    double held[2] = {0};
    struct pt_plan *plan = plan_of(60);
    deal(plan, held);
    for (int i = 0; i < 2; i++)
        cr_expect(held[i] >= 2 * 60 && held[i] < 2 * 60 + 2 * SECONDS, "host %d holds %g s", i, held[i]);
    pt_plan_destroy(plan);
}

Test(plan_leave, all_there_is_goes_out_when_there_is_not_enough)
{
    double held[2] = {0};
    struct pt_plan *plan = plan_of(1e6);
    deal(plan, held);
    cr_expect_float_eq(held[0] + held[1], FILES * SECONDS, 0.1);
    cr_expect(held[0] >= 0.4 * FILES * SECONDS && held[1] >= 0.4 * FILES * SECONDS, "%g and %g s", held[0],
              held[1]);
    pt_plan_destroy(plan);
}

Test(plan_leave, no_more_than_keeps_it_busy_otherwise)
{
    double held[2] = {0};
    struct pt_plan *plan = plan_of(0);
    deal(plan, held);
    cr_expect(held[0] <= 4 * SECONDS && held[1] <= 4 * SECONDS, "%g and %g s", held[0], held[1]);
    pt_plan_destroy(plan);
}

/* What was left with one host and waits there is called back once another idles. */
Test(plan_leave, what_waits_goes_to_who_idles)
{
    struct pt_plan *plan = plan_of(1e6);
    struct pt_plan_deal deals[4 * FILES];
    size_t n = 0;
    uint32_t host, bundle;
    while (n < PT_COUNT(deals) && pt_plan_next(plan, &deals[n], NULL) == 1)
        n++;
    cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 0, "nobody is idle");
    for (size_t i = 0; i < n; i++) {
        const struct pt_bundle *b = deals[i].bundle;
        if (deals[i].host != 0)
            continue;
        for (uint32_t t = 0; t < count_tests(b); t++)
            pt_plan_told(plan, test_at(b, t)->test);
        cr_assert(pt_plan_done(plan, 0, b->bundle, b->attempt, NULL, NULL));
    }
    cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 1);
    cr_expect_eq(host, 1);
    pt_plan_destroy(plan);
}
