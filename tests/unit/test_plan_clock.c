/* SPDX-License-Identifier: Apache-2.0 */
/* When does a run end? Slots run test after test in a time that is only thought; the plan is told what a
 * master would be told. */
#include "plan_lab.h"

#define HOSTS_MAX 4
#define SLOTS_MAX 8
#define TESTS_MAX 4000
#define LIVE_MAX  4096
#define DELAY     0.01 /* until a bundle is at its host */
#define IMPORT    0.05 /* of a file */

struct live {
    struct pt_plan_deal deal;
    uint32_t n, at;
    double ready;
    bool gone[TESTS_MAX];
    uint32_t wanted[TESTS_MAX], nwanted; /* asked for; answered between two tests */
    bool asked;
};

struct slot {
    struct live *live;
    double end; /* of the test that it is at */
};

struct clock {
    struct pt_plan *plan;
    double now;
    uint32_t hosts, slots[HOSTS_MAX], tests;
    double slow[HOSTS_MAX][SLOTS_MAX]; /* 0: as expected */
    double seconds[TESTS_MAX];
    bool told[TESTS_MAX];
    struct slot slot[HOSTS_MAX][SLOTS_MAX];
    struct live *waiting[LIVE_MAX]; /* at some host, not begun */
    uint32_t nwaiting, steals, copies, drops;
    char log[1 << 16]; /* what went where, in order */
    size_t logged;
};

/* --- slots --- */

static double time_of(const struct clock *c, const struct live *live, double slow)
{
    const struct pt_bundle *b = live->deal.bundle;
    double seconds = c->seconds[test_at(b, live->at)->test];
    for (uint32_t f = 0, first = 0; f < b->nfiles; first += b->files[f++].ntests)
        seconds += first == live->at ? IMPORT : 0;
    return slow > 0 ? seconds * slow : seconds;
}

/* Give back what was asked for, from that test on. */
static void give(struct clock *c, struct live *live, uint32_t from)
{
    static uint32_t given[TESTS_MAX];
    uint32_t n = 0;
    const struct pt_bundle *b = live->deal.bundle;
    for (uint32_t at = from; at < live->n; at++) {
        bool wanted = false;
        for (uint32_t i = 0; i < live->nwanted; i++)
            wanted = wanted || live->wanted[i] == test_at(b, at)->test;
        if (!wanted)
            continue;
        live->gone[at] = true;
        given[n++] = test_at(b, at)->test;
    }
    live->asked = false;
    c->steals += n > 0;
    cr_assert(pt_plan_stolen(c->plan, live->deal.host, b->bundle, b->attempt, given, n));
}

/* The next test of the slot's bundle, or DONE and a free slot. */
static void go_on(struct clock *c, uint32_t h, uint32_t s)
{
    struct slot *slot = &c->slot[h][s];
    struct live *live = slot->live;
    const struct pt_bundle *b = live->deal.bundle;
    if (live->asked)
        give(c, live, live->at + 1); /* what comes next was told to pytest */
    while (live->at < live->n && live->gone[live->at])
        live->at++;
    if (live->at < live->n) {
        slot->end = c->now + time_of(c, live, c->slow[h][s]);
        return;
    }
    cr_assert(pt_plan_done(c->plan, h, b->bundle, b->attempt, NULL, NULL));
    free(live);
    slot->live = NULL;
}

static void begin_waiting(struct clock *c)
{
    for (uint32_t i = 0; i < c->nwaiting;) {
        struct live *live = c->waiting[i];
        uint32_t h = live->deal.host;
        uint32_t s = 0;
        while (s < c->slots[h] &&
               (c->slot[h][s].live || (live->deal.bundle->rank != PT_NONE && live->deal.bundle->rank != s)))
            s++;
        if (s == c->slots[h] || live->ready > c->now) {
            i++;
            continue;
        }
        memmove(&c->waiting[i], &c->waiting[i + 1], (--c->nwaiting - i) * sizeof(*c->waiting));
        c->slot[h][s].live = live;
        go_on(c, h, s);
    }
}

static bool step(struct clock *c)
{
    double next = INFINITY;
    for (uint32_t i = 0; i < c->nwaiting; i++)
        if (c->waiting[i]->ready > c->now)
            next = fmin(next, c->waiting[i]->ready);
    for (uint32_t h = 0; h < c->hosts; h++)
        for (uint32_t s = 0; s < c->slots[h]; s++)
            if (c->slot[h][s].live)
                next = fmin(next, c->slot[h][s].end);
    if (isinf(next))
        return false;
    c->now = next;
    for (uint32_t h = 0; h < c->hosts; h++) {
        for (uint32_t s = 0; s < c->slots[h]; s++) {
            struct slot *slot = &c->slot[h][s];
            if (!slot->live || slot->end > c->now)
                continue;
            uint32_t test = test_at(slot->live->deal.bundle, slot->live->at++)->test;
            cr_assert_neq(pt_plan_told(c->plan, test), c->told[test]);
            c->told[test] = true;
            go_on(c, h, s);
        }
    }
    return true;
}

/* --- what the plan wants --- */

static struct live *find(struct clock *c, uint32_t host, uint32_t bundle, bool *begun)
{
    for (uint32_t i = 0; i < c->nwaiting; i++)
        if (c->waiting[i]->deal.host == host && c->waiting[i]->deal.bundle->bundle == bundle) {
            *begun = false;
            return c->waiting[i];
        }
    *begun = true;
    for (uint32_t s = 0; s < c->slots[host]; s++)
        if (c->slot[host][s].live && c->slot[host][s].live->deal.bundle->bundle == bundle)
            return c->slot[host][s].live;
    cr_assert_fail("a bundle that nobody has");
    return NULL;
}

static void forget(struct clock *c, struct live *live)
{
    for (uint32_t i = 0; i < c->nwaiting; i++)
        if (c->waiting[i] == live)
            memmove(&c->waiting[i], &c->waiting[i + 1], (--c->nwaiting - i) * sizeof(*c->waiting));
    for (uint32_t s = 0; s < c->slots[live->deal.host]; s++)
        if (c->slot[live->deal.host][s].live == live)
            c->slot[live->deal.host][s].live = NULL;
    free(live);
}

static void steal_from(struct clock *c, const struct pt_plan_steal *steal)
{
    bool begun;
    struct live *live = find(c, steal->host, steal->bundle, &begun);
    cr_assert_not(live->asked);
    live->asked = true;
    live->nwanted = steal->n;
    memcpy(live->wanted, steal->tests, steal->n * sizeof(*live->wanted));
    if (!begun)
        give(c, live, 0);
}

static void take(struct clock *c, const struct pt_plan_deal *deal)
{
    struct live *live = calloc(1, sizeof(*live));
    const struct pt_bundle *b = deal->bundle;
    cr_assert_lt(c->nwaiting, LIVE_MAX);
    *live = (struct live){.deal = *deal, .n = count_tests(b), .ready = c->now + DELAY};
    c->waiting[c->nwaiting++] = live;
    c->copies += deal->copy;
    if (c->logged + 64 < sizeof(c->log))
        c->logged += (size_t)snprintf(c->log + c->logged, 64, "%u.%d: %u from %u\n", deal->host, (int)b->rank,
                                      live->n, test_at(b, 0)->test);
}

static bool ask(struct clock *c)
{
    struct pt_plan_deal deal;
    struct pt_plan_steal steal;
    uint32_t host, bundle;
    bool begun, any = false;
    for (; pt_plan_next(c->plan, &deal, NULL) > 0; any = true)
        take(c, &deal);
    for (; pt_plan_recall(c->plan, &host, &bundle); any = true) {
        struct live *live = find(c, host, bundle, &begun);
        cr_assert(pt_plan_returned(c->plan, host, bundle, !begun));
        if (!begun)
            forget(c, live);
    }
    for (; pt_plan_steal(c->plan, &steal); any = true)
        steal_from(c, &steal);
    for (; pt_plan_drop(c->plan, &host, &bundle); any = true) {
        struct live *live = find(c, host, bundle, &begun);
        uint32_t attempt = live->deal.bundle->attempt;
        c->drops++;
        forget(c, live);
        cr_assert(pt_plan_done(c->plan, host, bundle, attempt, NULL, NULL));
    }
    return any;
}

/* --- runs --- */

static struct clock *clock_create(uint32_t hosts, uint32_t slots, enum pt_schedule schedule, bool speculate)
{
    struct clock *c = calloc(1, sizeof(*c));
    struct pt_plan_spec spec = {
        .hosts = hosts, .bundles_per_worker = 10, .schedule = schedule, .speculate = speculate};
    c->plan = pt_plan_create(&spec, NULL);
    c->hosts = hosts;
    for (uint32_t h = 0; h < hosts; h++)
        c->slots[h] = slots;
    return c;
}

/* n tests that really take so long, in a unit; known: as history has it. */
static void add_tests(struct clock *c, const char *path, uint32_t n, double seconds, bool known)
{
    for (uint32_t i = 0; i < n; i++)
        c->seconds[c->tests + i] = seconds;
    cr_assert_eq(add_unit(c->plan, plain_unit(), path, c->tests, n, known ? seconds : -1, NULL), 0);
    c->tests += n;
}

/* When the last test was told. */
static double run(struct clock *c)
{
    double end = 0;
    pt_plan_collected(c->plan);
    for (uint32_t h = 0; h < c->hosts; h++)
        pt_plan_host(c->plan, h, c->slots[h]);
    do {
        while (ask(c))
            ;
        begin_waiting(c);
        if (end <= 0 && pt_plan_over(c->plan))
            end = c->now;
    } while (step(c));
    cr_assert(pt_plan_over(c->plan));
    for (uint32_t t = 0; t < c->tests; t++)
        cr_assert(c->told[t]);
    for (uint32_t h = 0; h < c->hosts; h++)
        cr_assert_eq(pt_plan_held(c->plan, h), 0);
    return end;
}

static void clock_destroy(struct clock *c)
{
    pt_plan_destroy(c->plan);
    free(c);
}

/* One file of a minute in so many parts, and a hundred short ones; against total/slots. */
static double of_ideal(uint32_t parts, bool known)
{
    struct clock *c = clock_create(2, 2, PT_SCHEDULE_DYNAMIC, false);
    double total = 60 + IMPORT;
    for (uint32_t p = 0; p < parts; p++)
        add_tests(c, "long.py", 60 / parts, 1.0, known);
    for (uint32_t f = 0; f < 100; f++) {
        char path[32];
        snprintf(path, sizeof(path), "short_%u.py", f);
        add_tests(c, path, 3, 0.1, known);
        total += 0.3 + IMPORT;
    }
    double ratio = run(c) / (total / 4);
    clock_destroy(c);
    return ratio;
}

Test(plan_clock, a_long_file_does_not_end_the_run_late)
{
    cr_expect_leq(of_ideal(1, true), 1.1, "%g", of_ideal(1, true));
    cr_expect_leq(of_ideal(4, true), 1.1, "%g", of_ideal(4, true));
    cr_expect_leq(of_ideal(6, true), 1.1, "%g", of_ideal(6, true));
    cr_expect_leq(of_ideal(60, true), 1.1, "%g", of_ideal(60, true));
    cr_expect_leq(of_ideal(1, false), 1.1, "%g", of_ideal(1, false));
    cr_expect_leq(of_ideal(6, false), 1.1, "%g", of_ideal(6, false));
}

/* Wrong durations are made good by stealing: every slot ends within a few tests of the others. */
Test(plan_clock, slots_end_together_whatever_history_says)
{
    for (uint64_t round = 0; round < 20; round++) {
        struct clock *c = clock_create(2, 4, PT_SCHEDULE_DYNAMIC, false);
        double total = 0;
        seed = round;
        for (uint32_t f = 0; f < 60; f++) {
            char path[32];
            snprintf(path, sizeof(path), "f_%u.py", f);
            uint32_t n = 5 + pick(50);
            double seconds = 0.05 + pick(20) / 40.0;
            add_tests(c, path, n, seconds, pick(3) > 0);
            total += n * seconds + IMPORT;
        }
        for (uint32_t t = 0; t < c->tests; t++) {
            double really = c->seconds[t] * (0.3 + pick(20) / 10.0);
            total += really - c->seconds[t];
            c->seconds[t] = really;
        }
        double end = run(c);
        cr_assert_leq(end, 1.1 * total / 8, "%g of the best", end * 8 / total);
        clock_destroy(c);
    }
}

static double with_a_slow_slot(bool speculate, uint32_t *copies)
{
    struct clock *c = clock_create(2, 2, PT_SCHEDULE_DYNAMIC, speculate);
    c->slow[1][1] = 30;
    for (uint32_t f = 0; f < 40; f++) {
        char path[32];
        snprintf(path, sizeof(path), "f_%u.py", f);
        add_tests(c, path, 4, 0.5, true);
    }
    double end = run(c);
    *copies = c->copies;
    cr_assert_eq(c->copies > 0, c->drops > 0);
    clock_destroy(c);
    return end;
}

Test(plan_clock, a_copy_ends_the_wait_for_a_slow_slot)
{
    uint32_t copies;
    double without = with_a_slow_slot(false, &copies);
    cr_assert_eq(copies, 0);
    double with = with_a_slow_slot(true, &copies);
    cr_assert_gt(copies, 0);
    cr_assert_lt(with, 0.9 * without, "%g with, %g without", with, without);
}

/* One test takes a minute, against what history says, and 40 come after it in its bundle; the other slots
 * have 30 each. */
static double with_a_long_test(bool speculate)
{
    struct clock *c = clock_create(2, 2, PT_SCHEDULE_DYNAMIC, speculate);
    add_tests(c, "stuck.py", 41, 1.0, true);
    c->seconds[0] = 60;
    for (uint32_t f = 0; f < 3; f++) {
        char path[32];
        snprintf(path, sizeof(path), "f_%u.py", f);
        add_tests(c, path, f ? 30 : 12, 1.0, true);
    }
    double end = run(c);
    clock_destroy(c);
    return end;
}

Test(plan_clock, a_slot_that_cannot_answer_holds_up_no_other)
{
    cr_expect_leq(with_a_long_test(true), 75, "%g", with_a_long_test(true));
    cr_expect_leq(with_a_long_test(false), 85, "%g", with_a_long_test(false));
}

/* --- static --- */

static struct clock *packed(double slow)
{
    struct clock *c = clock_create(2, 3, PT_SCHEDULE_STATIC, true);
    c->slow[0][1] = slow;
    seed = 5;
    for (uint32_t f = 0; f < 200; f++) {
        char path[32];
        snprintf(path, sizeof(path), "f_%u.py", f);
        add_tests(c, path, 1 + pick(8), 0.1 + pick(30) / 10.0, pick(5) > 0);
    }
    return c;
}

/* The log's lines by slot, in the order of each slot. */
static char *slot_log(const struct clock *c)
{
    char *out = calloc(1, sizeof(c->log) + 1);
    for (uint32_t h = 0; h < c->hosts; h++) {
        for (uint32_t s = 0; s < c->slots[h]; s++) {
            char head[32];
            size_t n = (size_t)snprintf(head, sizeof(head), "%u.%u:", h, s);
            for (const char *line = c->log; *line; line = strchr(line, '\n') + 1)
                if (strncmp(line, head, n) == 0)
                    strncat(out, line, (size_t)(strchr(line, '\n') + 1 - line));
        }
    }
    return out;
}

Test(plan_clock, a_static_run_is_the_same_each_time)
{
    struct clock *a = packed(1);
    struct clock *b = packed(7);
    double even = run(a);
    double uneven = run(b);
    cr_assert_lt(even, uneven);
    char *la = slot_log(a), *lb = slot_log(b);
    cr_assert_str_eq(la, lb);
    cr_assert_gt(strlen(la), 200);
    cr_assert_eq(a->steals + a->copies, 0);
    free(la);
    free(lb);
    clock_destroy(a);
    clock_destroy(b);
}

Test(plan_clock, a_static_run_packs_by_what_is_known)
{
    struct clock *c = clock_create(2, 4, PT_SCHEDULE_STATIC, false);
    double total = 0;
    seed = 3;
    for (uint32_t f = 0; f < 100; f++) {
        char path[32];
        snprintf(path, sizeof(path), "f_%u.py", f);
        double seconds = 0.2 + pick(100) / 25.0;
        add_tests(c, path, 2, seconds, true);
        total += 2 * seconds + IMPORT;
    }
    double end = run(c);
    cr_assert_leq(end, 1.1 * total / 8, "%g of the best", end * 8 / total);
    clock_destroy(c);
}

Test(plan_clock, a_sequential_run_takes_the_time_of_all)
{
    struct clock *c = clock_create(2, 4, PT_SCHEDULE_SEQUENTIAL, true);
    for (uint32_t f = 0; f < 30; f++)
        add_tests(c, f % 2 ? "a.py" : "b.py", 2, 0.5, f % 3 > 0);
    cr_assert_geq(run(c), 30);
    char *log = slot_log(c);
    cr_assert_eq(strstr(log, "0.1:"), NULL);
    free(log);
    clock_destroy(c);
}
