/* SPDX-License-Identifier: Apache-2.0 */
/* A group of two ranks with a bundle of five tests, in all orders of what the ranks do: each goes on by
 * itself, fails, waits for the other, dies or vanishes. Each test is told once, or is left for another group.
 */
#include "orders.h"
#include "worker_group_lab.h"

TestSuite(worker_group_orders, .fini = orders_show);

#define RANKS 2
#define TESTS 5
#define GRACE 5 /* ms, from a failure to the other's end */

enum kind { NEXT, DIE, VANISH, FAIL, TIME };

static const uint32_t numbers[TESTS] = {10, 11, 12, 20, 21};

struct rank {
    uint32_t at; /* index of the test that it is at, or comes to */
    bool begun, failed, gone, done;
};

struct world {
    struct pt_group group;
    struct rank ranks[RANKS];
    uint32_t told[TESTS], hung;
    int64_t now;
    bool over;
};

struct event {
    enum kind kind;
    uint32_t rank;
};

static uint32_t index_of(uint32_t test)
{
    uint32_t i = 0;
    while (i < TESTS && numbers[i] != test)
        i++;
    cr_assert_lt(i, TESTS, "test %u is none of the bundle", test);
    return i;
}

static void tell_test(struct world *w, uint32_t test)
{
    struct pt_buf msg = {0};
    struct pt_ranks ranks;
    pt_group_tell(&w->group, test, &msg);
    struct pt_reader r = body_of(&msg, PT_L_RANKS);
    pt_get_u64(&r);
    cr_assert_eq(pt_ranks_decode(&r, &ranks, NULL), 0);
    cr_assert(ranks.test == test && ranks.of == RANKS);
    w->told[index_of(test)]++;
    pt_ranks_fini(&ranks);
    pt_buf_fini(&msg);
}

static void all_done(struct world *w)
{
    uint32_t test;
    while ((test = pt_group_untold(&w->group)) != PT_NONE)
        tell_test(w, test);
    cr_assert_eq(w->group.work.left, 0);
    pt_group_finish(&w->group);
    cr_assert_eq(w->group.state, PT_GROUP_IDLE);
    w->over = true;
}

/* --- a rank goes on --- */

static void next(struct world *w, uint32_t rank)
{
    struct rank *r = &w->ranks[rank];
    if (r->at == TESTS) {
        r->done = true;
        if (pt_group_done(&w->group, rank) && w->group.state == PT_GROUP_BUSY)
            all_done(w);
    } else if (!r->begun) {
        cr_assert_eq(pt_group_started(&w->group, rank, numbers[r->at]), 0);
        r->begun = true;
    } else {
        int rc = report(&w->group, rank, numbers[r->at], 2);
        bool last = w->ranks[!rank].at > r->at;
        cr_assert_eq(rc, last, "all ranks have told test %u: %d", numbers[r->at], rc);
        if (rc == 1)
            tell_test(w, numbers[r->at]);
        r->at++;
        r->begun = r->failed = false;
    }
}

/* --- it ends --- */

static void fallen(struct world *w)
{
    struct pt_buf frame = {0};
    struct pt_fall m;
    struct pt_bundle rest;
    uint32_t left[TESTS] = {0}, before = 0;
    for (uint32_t i = 0; i < TESTS; i++)
        before += w->told[i];
    uint32_t told = fall(&w->group, &frame, &m);
    cr_assert(told <= 1 && told == (m.test != PT_NONE));
    if (told)
        w->told[index_of(m.test)]++;
    cr_assert_eq(pt_group_rest(&w->group, &rest), 0);
    for (uint32_t f = 0; f < rest.nfiles; f++)
        for (uint32_t t = 0; t < rest.files[f].ntests; t++)
            left[index_of(rest.files[f].tests[t].test)]++;
    for (uint32_t i = 0; i < TESTS; i++)
        cr_assert_eq(w->told[i] + left[i], 1, "test %u is told %u times, and %u left", numbers[i], w->told[i],
                     left[i]);
    cr_assert_eq(w->group.work.left + told + before, TESTS);
    pt_bundle_fini(&rest);
    pt_fall_fini(&m);
    pt_buf_fini(&frame);
    w->over = true;
}

static void end_rank(struct world *w, uint32_t rank, bool silent, uint8_t cause)
{
    struct rank *r = &w->ranks[rank];
    uint32_t test = r->begun ? numbers[r->at] : PT_NONE;
    r->gone = true;
    if (silent)
        cr_assert_eq(pt_group_died(&w->group, rank, NULL, 0), 0);
    else
        die(&w->group, rank, test, cause);
    if (pt_group_fallen(&w->group))
        fallen(w);
}

/* Who is still at what failed elsewhere dies of it. */
static void pass_time(struct world *w)
{
    uint32_t test;
    uint8_t phase;
    w->now += 2 * (int64_t)GRACE;
    while (!w->over && pt_group_hung(&w->group, w->now, &test, &phase)) {
        w->hung++;
        cr_assert_eq(w->told[index_of(test)], 0, "a test that is told hangs");
        for (uint32_t i = 0; i < RANKS && !w->over; i++) {
            const struct rank *r = &w->ranks[i];
            if (!r->gone && r->begun && !r->failed && numbers[r->at] == test)
                end_rank(w, i, false, PT_CAUSE_DEADLOCK);
        }
    }
    if (!w->over)
        cr_assert_eq(pt_group_due(&w->group), -1);
}

/* --- orders --- */

static uint32_t list_events(const struct world *w, struct event *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < RANKS; i++)
        if (!w->ranks[i].gone && !w->ranks[i].done)
            list[n++] = (struct event){NEXT, i};
    for (uint32_t i = 0; i < RANKS; i++) {
        if (w->ranks[i].gone)
            continue;
        list[n++] = (struct event){DIE, i};
        list[n++] = (struct event){VANISH, i};
        if (w->ranks[i].begun && !w->ranks[i].failed)
            list[n++] = (struct event){FAIL, i};
    }
    if (pt_group_due(&w->group) >= 0)
        list[n++] = (struct event){TIME, 0};
    return n;
}

static void happen(struct world *w, struct event e)
{
    struct rank *r = &w->ranks[e.rank];
    if (e.kind == NEXT) {
        next(w, e.rank);
    } else if (e.kind == DIE || e.kind == VANISH) {
        end_rank(w, e.rank, e.kind == VANISH, PT_CAUSE_DIED);
    } else if (e.kind == TIME) {
        pass_time(w);
    } else {
        r->failed = true;
        cr_assert_eq(pt_group_failed(&w->group, e.rank, numbers[r->at], PT_PHASE_CALL, w->now + GRACE), 0);
    }
}

/* Some steps that go well; then anything; then all that is left goes well. */
static uint32_t run_order(uint32_t from, uint32_t depth)
{
    struct world w = {.now = 1000};
    struct event list[16];
    open_group(&w.group, RANKS, false);
    for (uint32_t i = 0; i < 100 && !w.over; i++) {
        uint32_t n = list_events(&w, list);
        cr_assert_gt(n, 0);
        happen(&w, list[i >= from && i < from + depth ? choose(n) : i % 2 && n > 1 && list[1].kind == NEXT]);
    }
    cr_assert(w.over);
    pt_group_fini(&w.group);
    return w.hung;
}

Test(worker_group_orders, each_test_is_told_once_or_left)
{
    uint64_t n = 0;
    uint32_t hung = 0;
    for (uint32_t from = 0; from <= 20; from += 2) {
        orders_begin(6);
        do
            hung += run_order(from, 6);
        while (orders_next());
        n += orders.n;
    }
    cr_assert_gt(n, 30000, "%llu", (unsigned long long)n);
    cr_assert_gt(hung, 1000);
}
