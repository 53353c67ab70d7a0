/* SPDX-License-Identifier: Apache-2.0 */
/* Runs that share a machine's slots, in all orders of what they do: no slot is had twice, none is left idle
 * that somebody could use, and who waits gets its turn, however quick the others are. */
#include "orders.h"
#include "remote/worker/fair.c"

TestSuite(worker_fair_orders, .fini = orders_show);

#define RUNS_MAX 4

enum kind { ASK, END, GO, STOP };

struct run {
    struct pt_fair fair;
    struct pt_fair_turn turn;
    uint32_t step; /* slots of each of its bundles, of which there is no end */
    bool works;    /* else it has none */
};

struct world {
    struct run runs[RUNS_MAX];
    uint32_t n, slots;
    int64_t now;
};

static uint32_t sum(const struct world *w)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < w->n; i++)
        held += w->runs[i].fair.held;
    return held;
}

static void rest(struct run *run)
{
    run->fair.step = run->fair.want = 0;
}

/* As sharing.c: what it may, if the locks are free. */
static bool take(struct world *w, uint32_t me)
{
    struct pt_fair all[RUNS_MAX];
    struct run *run = &w->runs[me];
    uint32_t n = run->step, want = n > 1 ? run->fair.held + n : w->slots;
    pt_fair_wish(&run->fair, &run->turn, n, want, ++w->now);
    for (uint32_t i = 0; i < w->n; i++)
        all[i] = w->runs[(me + i) % w->n].fair;
    uint32_t most = pt_fair_look(all, w->n, &run->turn);
    cr_assert_leq(most, w->slots);
    if (run->fair.held + n > most || sum(w) + n > w->slots)
        return false;
    all[0].held = run->fair.held += n;
    pt_fair_look(all, w->n, &run->turn);
    if (pt_fair_rests(&run->fair, n))
        rest(run);
    return true;
}

static void ask(struct world *w, uint32_t me)
{
    while (w->runs[me].works && w->runs[me].fair.held < w->slots && take(w, me))
        ;
}

/* Its hub deals at once: nobody else comes between. */
static void end_bundle(struct world *w, uint32_t me)
{
    struct run *run = &w->runs[me];
    pt_fair_keep(&run->fair, &run->turn, run->fair.held - run->step);
    run->fair.held -= run->step;
    ask(w, me);
}

static bool waits(const struct world *w, uint32_t i)
{
    return w->runs[i].works && w->runs[i].fair.held == 0;
}

/* Everyone looks again after a while: is a slot idle then that any of them could use? */
static void check(const struct world *now)
{
    struct world w = *now;
    for (uint32_t i = 0; i < w.n; i++)
        ask(&w, i);
    cr_assert_leq(sum(&w), w.slots);
    for (uint32_t i = 0; sum(&w) == 0 && i < w.n; i++)
        cr_assert_not(w.runs[i].works, "all slots are idle, and run %u waits", i);
}

/* How many bundles of others end before it gets a slot, where it always looks last. */
static uint32_t turns_until(struct world w, uint32_t me)
{
    for (uint32_t n = 0;; n++) {
        for (uint32_t i = 1; i <= w.n; i++)
            ask(&w, (me + i) % w.n);
        if (!waits(&w, me))
            return n;
        cr_assert_lt(n, 1000, "run %u waits for ever", me);
        for (uint32_t i = 0, next = n; i < w.n; i++, next++)
            if (w.runs[next % w.n].fair.held > 0) {
                end_bundle(&w, next % w.n);
                break;
            }
    }
}

static void happen(struct world *w)
{
    struct {
        enum kind kind;
        uint32_t run;
    } list[4 * RUNS_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        const struct run *run = &w->runs[i];
        list[n].kind = run->works ? STOP : GO;
        list[n++].run = i;
        if (run->works && run->fair.step) {
            list[n].kind = ASK;
            list[n++].run = i;
        }
        if (run->fair.held > 0) {
            list[n].kind = END;
            list[n++].run = i;
        }
    }
    n = choose(n);
    struct run *run = &w->runs[list[n].run];
    run->works = list[n].kind == GO || (list[n].kind != STOP && run->works);
    if (list[n].kind == STOP)
        rest(run);
    else if (list[n].kind == END)
        end_bundle(w, list[n].run);
    else
        ask(w, list[n].run);
}

/* bound: bundles of others that end while one waits. */
static void all_orders(uint32_t depth, uint32_t slots, uint32_t n, const uint32_t *steps, uint32_t bound)
{
    orders_begin(depth);
    do {
        struct world w = {.n = n, .slots = slots};
        for (uint32_t i = 0; i < n; i++)
            w.runs[i] = (struct run){.fair = {.slots = slots, .order = i}, .step = steps[i]};
        for (uint32_t i = 0; i < depth; i++) {
            happen(&w);
            check(&w);
        }
        for (uint32_t i = 0; i < n; i++)
            if (waits(&w, i))
                cr_assert_leq(turns_until(w, i), bound);
    } while (orders_next());
    cr_assert_gt(orders.n, 10000);
}

Test(worker_fair_orders, runs_of_one_slot_a_bundle)
{
    for (uint32_t slots = 2; slots <= 4; slots++)
        all_orders(8, slots, 2, (uint32_t[]){1, 1}, 1);
    all_orders(7, 4, 3, (uint32_t[]){1, 1, 1}, 4);
}

Test(worker_fair_orders, more_runs_than_slots)
{
    all_orders(9, 1, 2, (uint32_t[]){1, 1}, 1);
    all_orders(7, 1, 3, (uint32_t[]){1, 1, 1}, 2);
    all_orders(7, 2, 3, (uint32_t[]){1, 1, 1}, 3);
    all_orders(6, 2, 4, (uint32_t[]){1, 1, 1, 1}, 5);
}

Test(worker_fair_orders, runs_that_need_several_at_once)
{
    static const uint32_t two[][2] = {{1, 4}, {2, 4}, {4, 4}}, three[][3] = {{1, 2, 4}, {1, 3, 4}, {1, 1, 4}};
    for (int i = 0; i < 3; i++) {
        all_orders(9, 4, 2, two[i], 4);
        all_orders(7, 4, 3, three[i], 8);
    }
    all_orders(7, 2, 3, (uint32_t[]){1, 2, 2}, 4);
    all_orders(6, 2, 4, (uint32_t[]){1, 1, 1, 2}, 8);
}
