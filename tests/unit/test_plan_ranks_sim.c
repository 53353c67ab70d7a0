/* SPDX-License-Identifier: Apache-2.0 */
/* Whole runs of tests of 1 to 4 ranks, and of 6 that two hosts run together, that are only thought through:
 * bundles take time on their way to the host, and their end on its way back. */
#include "plan_lab.h"

#define HOSTS_MAX 2
#define SLOTS     4
#define TESTS     1000
#define LIVE_MAX  4096
#define IMPORT    0.01 /* of a file */

enum state { COMING, THERE, AT_WORK, LEAVING };

struct live {
    struct pt_plan_deal deal;
    enum state state;
    double at; /* when this state ends; of THERE never */
};

struct sim {
    struct pt_plan *plan;
    uint32_t hosts, tests, files;
    double now, delay, pace; /* pace: seconds between files that are found, 0 all at once */
    uint32_t wide;           /* every so many-th file has tests of 6 ranks instead of 4; 0: none */
    uint32_t ranks[TESTS], told;
    double seconds[TESTS];
    uint32_t used[HOSTS_MAX]; /* slots */
    struct live live[LIVE_MAX];
    size_t n;
    double idle, busy; /* slots times seconds, while anything waits */
    uint32_t begun[7]; /* bundles by ranks */
    uint32_t beside;   /* narrower ones, begun while one of 6 was at work */
    double waited;     /* the longest that a unit of 4 ranks waited once it was told of */
    double since;
};

/* --- the suite --- */

/* Files of 20 tests; those of a file with as many ranks are a unit. */
static void add_file(struct sim *sim, bool known)
{
    char path[32];
    uint32_t file = sim->files++, first = sim->tests, ranks[20], n = 20;
    snprintf(path, sizeof(path), "test_%u.py", file);
    for (uint32_t i = 0; i < n; i++)
        ranks[i] = 1 + pick(4);
    for (uint32_t r = 1; r <= 4; r++) {
        struct pt_plan_unit unit = plain_unit();
        uint32_t count = 0, many = r == 4 && sim->wide && file % sim->wide == 0 ? 6 : r;
        double sum = 0;
        unit.ranks = many;
        for (uint32_t i = 0; i < n; i++) {
            if (ranks[i] != r)
                continue;
            sim->ranks[first + count] = many;
            sum += sim->seconds[first + count] = 0.005 + pick(100) / 1000.0;
            count++;
        }
        if (count > 0)
            cr_assert_eq(add_unit(sim->plan, unit, path, first, count, known ? sum / count : -1, NULL), 0);
        first += count;
    }
    sim->tests += n;
}

static struct sim *sim_create(uint32_t hosts, double delay)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    struct pt_plan_spec spec = {.hosts = hosts, .bundles_per_worker = 10};
    sim->plan = pt_plan_create(&spec, NULL);
    cr_assert_not_null(sim->plan);
    sim->hosts = hosts;
    sim->delay = delay;
    return sim;
}

static void sim_destroy(struct sim *sim)
{
    pt_plan_destroy(sim->plan);
    free(sim);
}

/* --- hosts --- */

static double takes(const struct sim *sim, const struct pt_bundle *b)
{
    double seconds = b->nfiles * IMPORT;
    for (uint32_t i = 0; i < count_tests(b); i++)
        seconds += sim->seconds[test_at(b, i)->test];
    return seconds;
}

/* It takes its slots, or gives them back. */
static void use(struct sim *sim, const struct pt_plan_deal *d, bool back)
{
    struct pt_share one = {.host = d->host, .ranks = d->bundle->ranks};
    const struct pt_share *shares = d->bundle->nspread ? d->bundle->spread : &one;
    for (uint32_t i = 0; i == 0 || i < d->bundle->nspread; i++) {
        sim->used[shares[i].host] += back ? -shares[i].ranks : shares[i].ranks;
        cr_assert_leq(sim->used[shares[i].host], SLOTS, "more ranks than slots");
    }
}

static bool wide_at_work(const struct sim *sim)
{
    for (size_t i = 0; i < sim->n; i++)
        if (sim->live[i].state == AT_WORK && sim->live[i].deal.bundle->ranks == 6)
            return true;
    return false;
}

/* What is there begins, in order of arrival; of several ranks at once, as there is always room. */
static void begin(struct sim *sim)
{
    for (size_t i = 0; i < sim->n; i++) {
        struct live *live = &sim->live[i];
        uint32_t ranks = live->deal.bundle->ranks, host = live->deal.host;
        if (live->state != THERE)
            continue;
        if (ranks == 1 && sim->used[host] == SLOTS)
            continue;
        use(sim, &live->deal, false);
        sim->begun[ranks]++;
        sim->beside += ranks < 6 && wide_at_work(sim);
        live->state = AT_WORK;
        live->at = sim->now + takes(sim, live->deal.bundle);
    }
}

static void leave(struct sim *sim, size_t i)
{
    struct live live = sim->live[i];
    const struct pt_bundle *b = live.deal.bundle;
    memmove(&sim->live[i], &sim->live[i + 1], (--sim->n - i) * sizeof(live));
    for (uint32_t t = 0; t < count_tests(b); t++) {
        cr_assert_eq(b->ranks, sim->ranks[test_at(b, t)->test]);
        sim->told += pt_plan_told(sim->plan, test_at(b, t)->test);
    }
    cr_assert(pt_plan_done(sim->plan, live.deal.host, b->bundle, b->attempt, NULL, NULL));
}

static void deal(struct sim *sim)
{
    uint32_t host, bundle;
    struct pt_plan_deal d;
    for (;;) {
        while (pt_plan_next(sim->plan, &d, NULL) > 0) {
            cr_assert_lt(sim->n, LIVE_MAX);
            sim->live[sim->n++] = (struct live){.deal = d, .at = sim->now + sim->delay};
        }
        if (!pt_plan_recall(sim->plan, &host, &bundle))
            return;
        size_t i = 0;
        while (sim->live[i].deal.host != host || sim->live[i].deal.bundle->bundle != bundle)
            i++;
        bool back = sim->live[i].state < AT_WORK;
        cr_assert(pt_plan_returned(sim->plan, host, bundle, back));
        if (back)
            memmove(&sim->live[i], &sim->live[i + 1], (--sim->n - i) * sizeof(d));
    }
}

static void pass_time(struct sim *sim, double until)
{
    uint32_t used = 0;
    for (uint32_t h = 0; h < sim->hosts; h++)
        used += sim->used[h];
    if (pt_plan_waiting(sim->plan) > 0) {
        sim->idle += (until - sim->now) * (sim->hosts * SLOTS - used);
        sim->busy += (until - sim->now) * used;
    }
    sim->now = until;
}

static void happen(struct sim *sim, size_t i)
{
    struct live *live = &sim->live[i];
    switch (live->state) {
    case COMING:
        live->state = THERE;
        live->at = INFINITY;
        break;
    case AT_WORK:
        use(sim, &live->deal, true);
        live->state = LEAVING;
        live->at = sim->now + sim->delay;
        break;
    case LEAVING:
        leave(sim, i);
        break;
    case THERE:
        cr_assert_fail("it begins by itself");
    }
}

/* To the end: files come first, or one after the other. */
static void run(struct sim *sim, bool known)
{
    double next_file = 0;
    if (sim->pace > 0)
        for (uint32_t h = 0; h < sim->hosts; h++)
            pt_plan_host(sim->plan, h, SLOTS);
    while (!pt_plan_over(sim->plan)) {
        while (sim->tests < TESTS && next_file <= sim->now) {
            add_file(sim, known);
            next_file += sim->pace;
            if (sim->tests < TESTS)
                continue;
            pt_plan_collected(sim->plan);
            for (uint32_t h = 0; sim->pace <= 0 && h < sim->hosts; h++)
                pt_plan_host(sim->plan, h, SLOTS);
        }
        if (pt_plan_wants_together(sim->plan))
            pt_plan_together(sim->plan, (bool[]){true, true}, sim->hosts);
        deal(sim);
        begin(sim);
        size_t first = sim->n;
        double at = sim->tests < TESTS ? next_file : INFINITY;
        for (size_t i = 0; i < sim->n; i++)
            if (sim->live[i].at < at) {
                at = sim->live[i].at;
                first = i;
            }
        if (isinf(at))
            break;
        pass_time(sim, at);
        if (first < sim->n)
            happen(sim, first);
    }
    cr_assert(pt_plan_over(sim->plan));
    cr_assert_eq(sim->told, TESTS);
}

/* --- how well the slots are used --- */

static double idle_part(uint64_t round, uint32_t hosts, double delay, double pace, bool known)
{
    struct sim *sim = sim_create(hosts, delay);
    seed = 1000 + round;
    sim->pace = pace;
    run(sim, known);
    double part = sim->idle / (sim->idle + sim->busy);
    sim_destroy(sim);
    return part;
}

static void stays_below(uint32_t hosts, double delay, double pace, bool known, double most)
{
    double sum = 0;
    for (uint64_t round = 0; round < 10; round++) {
        double part = idle_part(round, hosts, delay, pace, known);
        sum += part;
        cr_expect_lt(part, most, "round %u, %u hosts, %s: %.3f idle", (unsigned)round, hosts,
                     known ? "known" : "unknown", part);
    }
    cr_log_info("%u hosts, delay %g, pace %g, %s: %.3f idle\n", hosts, delay, pace,
                known ? "known" : "unknown", sum / 10);
}

Test(plan_ranks_sim, slots_are_idle_less_than_a_tenth_of_the_time)
{
    for (uint32_t hosts = 1; hosts <= 2; hosts++) {
        stays_below(hosts, 0.005, 0, true, 0.1);
        stays_below(hosts, 0.005, 0, false, 0.1);
    }
}

/* Wide ones that come late find hosts full of light ones. */
Test(plan_ranks_sim, also_while_files_are_still_found)
{
    for (uint32_t hosts = 1; hosts <= 2; hosts++) {
        stays_below(hosts, 0.005, 0.02, true, 0.1);
        stays_below(hosts, 0.005, 0.02, false, 0.1);
    }
}

/* --- over two hosts --- */

/* Light ones fill what those of 6 ranks leave: the slots stay in use. */
Test(plan_ranks_sim, tests_of_both_hosts_leave_few_slots_idle)
{
    double idle = 0, busy = 0;
    for (uint64_t round = 0; round < 20; round++) {
        struct sim *sim = sim_create(2, 0.005);
        seed = 2000 + round;
        sim->wide = 2;
        sim->pace = round % 2 ? 0.02 : 0;
        run(sim, round % 4 < 2);
        idle += sim->idle;
        busy += sim->busy;
        cr_assert_gt(sim->begun[6], 2);
        cr_assert_gt(sim->beside, 10, "narrower ones go on beside");
        sim_destroy(sim);
    }
    cr_log_info("with tests of 6 ranks: %.3f idle\n", idle / (idle + busy));
    cr_assert_lt(idle / (idle + busy), 0.1);
}

/* --- nobody starves --- */

/* Units of one test come in all the time; one of the others comes once. How many of the former begin before
 * it. */
static uint32_t begin_before(uint32_t hosts, uint32_t many, uint32_t one)
{
    struct pt_plan_spec spec = {.hosts = hosts, .bundles_per_worker = 10};
    struct pt_plan *plan = pt_plan_create(&spec, NULL);
    struct pt_plan_deal held[64], deal;
    struct pt_plan_unit unit = plain_unit();
    uint32_t n = 0, next = 0, before = 0;
    for (uint32_t h = 0; h < hosts; h++)
        pt_plan_host(plan, h, SLOTS);
    pt_plan_together(plan, (bool[]){true, true}, hosts);
    for (uint32_t round = 0; round < 500; round++) {
        unit.alone = true;
        unit.ranks = many;
        for (uint32_t i = 0; i < 4 * hosts; i++)
            cr_assert_eq(add_unit(plan, unit, "many.py", next++, 1, 1, NULL), 0);
        unit.ranks = one;
        if (round == 10)
            cr_assert_eq(add_unit(plan, unit, "one.py", next++, 1, 1, NULL), 0);
        while (pt_plan_next(plan, &deal, NULL) > 0) {
            held[n++] = deal;
            if (deal.bundle->ranks == one) {
                pt_plan_destroy(plan);
                return before;
            }
            before += round > 10;
        }
        struct pt_plan_deal first = held[0];
        memmove(&held[0], &held[1], --n * sizeof(first));
        pt_plan_told(plan, test_at(first.bundle, 0)->test);
        pt_plan_done(plan, first.host, first.bundle->bundle, first.bundle->attempt, NULL, NULL);
    }
    pt_plan_destroy(plan);
    return UINT32_MAX;
}

Test(plan_ranks_sim, no_size_keeps_a_wider_one_waiting)
{
    for (uint32_t many = 1; many < 4; many++)
        for (uint32_t one = many + 1; one <= 4; one++)
            cr_expect_leq(begin_before(1, many, one), 2, "%u of %u ranks before one of %u",
                          begin_before(1, many, one), many, one);
}

/* On the host of which it takes a part some may begin meanwhile. */
Test(plan_ranks_sim, nor_one_that_both_hosts_run_together)
{
    for (uint32_t many = 1; many <= 4; many++)
        for (uint32_t one = 5; one <= 8; one++)
            cr_expect_leq(begin_before(2, many, one), 8, "%u of %u ranks before one of %u",
                          begin_before(2, many, one), many, one);
}

/* The narrow ones come when what is wider is over, or beside it. */
Test(plan_ranks_sim, every_size_gets_its_turn)
{
    struct sim *sim = sim_create(1, 0.001);
    seed = 5;
    run(sim, true);
    for (uint32_t r = 1; r <= 4; r++)
        cr_assert_gt(sim->begun[r], 5);
    sim_destroy(sim);
}
