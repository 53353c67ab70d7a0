/* SPDX-License-Identifier: Apache-2.0 */
/* How many slots each of several runs may hold. */
#include "remote/worker/fair.c"

#include <criterion/criterion.h>
#include <stdlib.h>

#define RUNS 4

static uint32_t most(const struct pt_fair *runs, size_t n, size_t me)
{
    return pt_fair_most(runs, n, me);
}

Test(worker_fair, alone_it_may_have_all)
{
    struct pt_fair runs[] = {{.slots = 8, .held = 3, .step = 1, .want = 8}, {.slots = 8}};
    cr_expect_eq(most(runs, 1, 0), 8);
    cr_expect_eq(most(runs, 2, 0), 8, "one that neither has nor wishes any is in nobody's way");
    runs[1].held = 5;
    cr_expect_eq(most(runs, 2, 0), 8, "what it has is told by locks");
}

Test(worker_fair, half_each)
{
    struct pt_fair runs[] = {{.slots = 8, .held = 8}, {.slots = 8, .step = 1, .want = 8, .since = 1}};
    cr_expect_eq(most(runs, 2, 0), 4);
    cr_expect_eq(most(runs, 2, 1), 8, "the first wishes for no more");
    runs[1].want = 2;
    cr_expect_eq(most(runs, 2, 0), 6, "what nobody wants is not left idle");
}

Test(worker_fair, what_does_not_divide)
{
    struct pt_fair runs[3];
    for (int i = 0; i < 3; i++)
        runs[i] = (struct pt_fair){.slots = 4, .held = 1, .step = 1, .want = 4, .since = i};
    cr_expect_eq(pt_fair_part(runs, 3), 1);
    for (size_t i = 0; i < 3; i++)
        cr_expect_eq(most(runs, 3, i), 2, "the fourth is whose lock is first");
    runs[0].held = 2;
    cr_expect_eq(most(runs, 3, 1), 1);
}

Test(worker_fair, more_runs_than_slots)
{
    struct pt_fair runs[3];
    for (int i = 0; i < 3; i++)
        runs[i] = (struct pt_fair){.slots = 2, .step = 1, .want = 2, .since = i};
    cr_expect_eq(most(runs, 3, 0), 1);
    cr_expect_eq(most(runs, 3, 1), 1);
    cr_expect_eq(most(runs, 3, 2), 0, "two waited before");
    runs[0] = (struct pt_fair){.slots = 2, .step = 1, .want = 2, .since = 3};
    runs[1].held = 1;
    cr_expect_eq(most(runs, 3, 0), 0, "it had a slot until now");
    cr_expect_eq(most(runs, 3, 1), 1);
    cr_expect_eq(most(runs, 3, 2), 1);
}

Test(worker_fair, runs_of_other_sizes)
{
    struct pt_fair runs[] = {{.slots = 2, .step = 1, .want = 2, .since = 2},
                             {.slots = 8, .held = 8, .step = 1, .want = 8, .since = 1}};
    cr_expect_eq(pt_fair_part(runs, 2), 4);
    cr_expect_eq(most(runs, 2, 0), 2, "no more than its own");
    cr_expect_eq(most(runs, 2, 1), 6, "what the small one cannot use");
    runs[0].want = 900;
    cr_expect_eq(most(runs, 2, 1), 6, "whatever it says");
}

Test(worker_fair, one_that_needs_all)
{
    struct pt_fair runs[] = {{.slots = 4, .held = 3, .step = 1, .want = 4, .since = 20},
                             {.slots = 4, .step = 4, .want = 4, .since = 10}};
    cr_expect_eq(most(runs, 2, 0), 0, "it takes no more until the other has run");
    cr_expect_eq(most(runs, 2, 1), 4);
    runs[0].since = 5;
    cr_expect_eq(most(runs, 2, 0), 4, "in its turn it may have all, as the other has no use for a part");
    runs[0].held = 1;
    cr_expect_eq(most(runs, 2, 1), 2, "the other waited before");
    cr_expect_eq(most(runs, 2, 0), 4);
    runs[1].step = 3; /* leaves one */
    runs[0] = (struct pt_fair){.slots = 4, .step = 1, .want = 4, .since = 20};
    cr_expect_eq(most(runs, 2, 0), 1);
}

Test(worker_fair, of_two_that_need_all_the_older)
{
    struct pt_fair runs[] = {{.slots = 4, .step = 4, .want = 4, .since = 10, .order = 2},
                             {.slots = 4, .step = 4, .want = 4, .since = 10, .order = 1}};
    cr_expect_eq(most(runs, 2, 0), 0);
    cr_expect_eq(most(runs, 2, 1), 4);
    runs[0].since = 9;
    cr_expect_eq(most(runs, 2, 0), 4);
    cr_expect_eq(most(runs, 2, 1), 0);
}

/* Runs of bundles that take some steps: each is served, none has what another has, and nobody waits for ever.
 */
struct sim {
    struct pt_fair run;
    uint32_t step;     /* slots of each of its bundles */
    uint32_t left[64]; /* by bundle at work: steps to go */
    uint32_t bundles;  /* still to run */
    struct pt_fair_turn turn;
};

static uint32_t sum(const struct sim *sims)
{
    uint32_t n = 0;
    for (int i = 0; i < RUNS; i++)
        n += sims[i].run.held;
    return n;
}

static bool may(struct sim *sims, int me, uint32_t slots, int64_t now)
{
    struct pt_fair runs[RUNS], *run = &sims[me].run;
    pt_fair_wish(run, &sims[me].turn, sims[me].step, run->held + sims[me].bundles * sims[me].step, now);
    for (int i = 0; i < RUNS; i++)
        runs[i] = sims[(me + i) % RUNS].run;
    uint32_t allowed = pt_fair_look(runs, RUNS, &sims[me].turn);
    bool ok = run->held + run->step <= allowed && sum(sims) + run->step <= slots;
    if (!ok)
        return false;
    runs[0].held = run->held += run->step;
    pt_fair_look(runs, RUNS, &sims[me].turn);
    if (pt_fair_rests(run, run->step))
        run->step = run->want = 0;
    return true;
}

static void play(struct sim *sims, int me, uint32_t slots, int64_t now)
{
    struct sim *sim = &sims[me];
    for (int i = 0; i < 64; i++)
        if (sim->left[i] && --sim->left[i] == 0) {
            pt_fair_keep(&sim->run, &sim->turn, sim->run.held - sim->step);
            sim->run.held -= sim->step;
        }
    for (int i = 0; i < 64 && sim->bundles; i++)
        if (!sim->left[i]) {
            if (!may(sims, me, slots, now))
                break;
            sim->left[i] = 1 + (uint32_t)rand() % 5;
            sim->bundles--;
        }
    if (!sim->bundles)
        sim->run.step = sim->run.want = 0;
}

Test(worker_fair, nobody_waits_for_ever)
{
    for (unsigned seed = 0; seed < 300; seed++) {
        struct sim sims[RUNS] = {0};
        srand(seed);
        uint32_t slots = 2 + (uint32_t)rand() % 7;
        for (int i = 0; i < RUNS; i++) {
            sims[i].run = (struct pt_fair){.slots = slots, .order = (uint32_t)i};
            sims[i].step = rand() % 2 ? 1 : 1 + (uint32_t)rand() % slots;
            sims[i].bundles = i ? 1 + (uint32_t)rand() % 20 : 1000000; /* the first never ends */
        }
        int64_t now = 1, done = 0;
        for (; now < 20000 && done < RUNS - 1; now++) {
            int from = rand() % RUNS;
            for (int i = 0; i < RUNS; i++)
                play(sims, (from + i) % RUNS, slots, now * 100 + i);
            cr_assert_leq(sum(sims), slots);
            done = 0;
            for (int i = 1; i < RUNS; i++)
                done += !sims[i].bundles;
        }
        cr_assert_eq(done, RUNS - 1, "seed %u: %u, %u and %u bundles of %u, %u and %u slots were not served",
                     seed, sims[1].bundles, sims[2].bundles, sims[3].bundles, sims[1].step, sims[2].step,
                     sims[3].step);
    }
}
