/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "plan_state.h"

#include <stdlib.h>
#include <string.h>

#define SECONDS_MAX 1e9 /* more is taken as unknown */

static bool is_known(double seconds)
{
    return seconds >= 0 && seconds < SECONDS_MAX;
}

static int tests_reserve(struct pt_plan *plan, uint32_t number, struct pt_err *err)
{
    if (number >= PT_MAX_TESTS)
        return pt_err_set(err, "plan: test number %u is above the limit of %u tests", number, PT_MAX_TESTS);
    if (number < plan->ntests)
        return 0;
    uint32_t old = plan->ntests;
    uint32_t n = number + 1 > 2 * old ? number + 1 : 2 * old;
    struct test *tests = realloc(plan->tests, n * sizeof(*tests));
    if (!tests)
        return pt_err_set(err, "plan: out of memory for %u tests", n);
    memset(tests + old, 0, (n - old) * sizeof(*tests));
    plan->tests = tests;
    plan->ntests = n;
    return 0;
}

/* --- the tests --- */

static int note(struct pt_plan *plan, const char *path, const struct pt_bundle_test *test, struct pt_err *err)
{
    if (tests_reserve(plan, test->test, err))
        return -1;
    if (strlen(test->nodeid) > PT_MAX_NODEID)
        return pt_err_set(err, "%s: a node id is longer than %u bytes", path, PT_MAX_NODEID);
    if (plan->tests[test->test].added)
        return pt_err_set(err, "plan: test number %u (%s) was given twice", test->test, test->nodeid);
    plan->tests[test->test] = (struct test){.added = true, .bundle = PT_NONE, .seconds = -1};
    plan->untold++;
    return 0;
}

/* Forget the first n tests of the unit. */
static void forget(struct pt_plan *plan, const struct pt_plan_unit *unit, uint32_t n)
{
    plan->untold -= n;
    for (uint32_t f = 0; n > 0; f++)
        for (uint32_t i = 0; i < unit->files[f].ntests && n > 0; i++, n--)
            plan->tests[unit->files[f].tests[i].test].added = false;
}

/* How many tests there are; -1: they cannot be taken, and none was. */
static int64_t note_all(struct pt_plan *plan, const struct pt_plan_unit *unit, struct pt_err *err)
{
    uint32_t n = 0;
    for (uint32_t f = 0; f < unit->nfiles; f++) {
        const struct pt_bundle_file *file = &unit->files[f];
        if (strlen(file->path) > PT_MAX_PATH) {
            forget(plan, unit, n);
            return pt_err_set(err, "plan: a path is longer than %u bytes", PT_MAX_PATH);
        }
        for (uint32_t i = 0; i < file->ntests; i++, n++) {
            if (note(plan, file->path, &file->tests[i], err)) {
                forget(plan, unit, n);
                return -1;
            }
        }
    }
    return n;
}

/* --- the unit --- */

struct adding {
    struct pt_plan *plan;
    const struct pt_plan_unit *unit;
    struct pt_plan_line *line;
    bool loose; /* every test is an atom */
    uint32_t n;
    double seconds; /* of all, < 0: not known */
    struct pt_plan_piece *pieces;
    size_t npieces;
    struct queue tasks; /* one for each, when pinned */
};

static double seconds_of_all(const struct pt_plan_unit *unit, uint32_t n)
{
    double sum = 0;
    if (is_known(unit->seconds))
        return unit->seconds;
    for (uint32_t i = 0; unit->seconds_of && i < n; i++) {
        if (!is_known((double)unit->seconds_of[i]))
            return -1;
        sum += (double)unit->seconds_of[i];
    }
    return unit->seconds_of && is_known(sum) ? sum : -1;
}

static bool is_pinned(const struct adding *a)
{
    return a->unit->rank != PT_NONE && a->plan->spec.schedule != PT_SCHEDULE_SEQUENTIAL;
}

static struct pt_plan_pool *pool_of(const struct adding *a)
{
    return a->plan->spec.schedule == PT_SCHEDULE_SEQUENTIAL ? &a->plan->sequence.pool : &a->line->pool;
}

static int make_pieces(struct adding *a)
{
    const struct pt_plan_piece *older = a->plan->pieces;
    struct pt_plan_piece **end = &a->pieces;
    for (uint32_t from = 0; from < a->n; from += (*end)->ntests, end = &(*end)->next) {
        uint32_t n = pt_plan_piece_fits(a->unit, from, a->loose);
        if (!(*end = pt_plan_piece_create(a->unit, from, n, older)))
            return -1;
        older = *end;
        a->npieces++;
    }
    return 0;
}

/* Everything that can fail, and nothing that shows. */
static int prepare(struct adding *a)
{
    struct pt_plan *plan = a->plan;
    if (!(a->line = pt_plan_line_get(plan, a->unit)) || make_pieces(a))
        return -1;
    if (!is_pinned(a))
        return pt_plan_pool_reserve(pool_of(a), a->npieces);
    if (!pt_plan_rank_get(&plan->hosts[a->unit->host], a->unit->rank))
        return -1;
    for (size_t i = 0; i < a->npieces; i++) {
        struct task *task = pt_plan_task_create(plan);
        if (!task)
            return -1;
        queue_add(&a->tasks, task);
    }
    return 0;
}

static void give_up(struct adding *a)
{
    for (struct task *task; (task = a->tasks.head);) {
        queue_remove(&a->tasks, task);
        pt_plan_task_spare(a->plan, task);
    }
    while (a->pieces) {
        struct pt_plan_piece *next = a->pieces->next;
        free(a->pieces);
        a->pieces = next;
    }
}

static void settle_tests(const struct adding *a, struct pt_plan_piece *piece, uint32_t from)
{
    for (uint32_t i = 0; i < piece->ntests; i++) {
        struct test *test = &a->plan->tests[piece->tests[i].test];
        double own = a->unit->seconds_of ? (double)a->unit->seconds_of[from + i] : -1;
        test->piece = piece;
        test->at = i;
        test->joined = pt_plan_unit_joined(a->unit, from + i, a->loose);
        test->seconds = (float)(is_known(own) ? own : a->seconds < 0 ? -1 : a->seconds / a->n);
    }
}

static void settle(struct adding *a, struct pt_plan_piece *piece, uint32_t from)
{
    struct pt_plan *plan = a->plan;
    piece->next = NULL;
    piece->line = a->line;
    piece->joins = (pt_plan_is_plain(a->line) || pt_plan_is_group(a->line)) && !a->unit->alone &&
                   a->unit->rank == PT_NONE;
    piece->order = plan->npieces++;
    piece->seconds = a->seconds < 0 ? -1 : a->seconds * piece->ntests / a->n;
    piece->all = plan->pieces;
    plan->pieces = piece;
    if (a->seconds >= 0) {
        plan->known.seconds += pt_plan_piece_seconds(piece);
        plan->known.tests += piece->ntests;
    }
    settle_tests(a, piece, from);
}

static void line_up(struct adding *a, struct pt_plan_piece *piece)
{
    struct task *task = a->tasks.head;
    a->plan->unsure = true;
    if (!task) {
        pt_plan_pool_add(pool_of(a), piece);
        return;
    }
    queue_remove(&a->tasks, task);
    pt_plan_task_fill(a->plan, task, piece);
    task->rank = piece->rank;
    task->host = piece->line->host;
    task->place = piece->order + 1ull;
    queue_add(&pt_plan_rank(&a->plan->hosts[task->host], task->rank)->line, task);
    a->plan->version++;
}

static int check(const struct pt_plan *plan, const struct pt_plan_unit *unit, struct pt_err *err)
{
    if (unit->host != PT_NONE && unit->host >= plan->spec.hosts)
        return pt_err_set(err, "plan: tests for host %u, but there are %u hosts", unit->host,
                          plan->spec.hosts);
    if (unit->rank != PT_NONE && unit->host == PT_NONE)
        return pt_err_set(err, "plan: tests for slot %u of no host", unit->rank);
    return 0;
}

/* As the plan's files want it: a weight, never less than the ranks, which have lines of their own where they
 * are pinned. All slots of a host are that host alone. */
static struct pt_plan_unit completed(const struct pt_plan_unit *given)
{
    struct pt_plan_unit unit = *given;
    unit.weight = unit.weight ? unit.weight : 1;
    unit.ranks = unit.ranks ? unit.ranks : 1;
    if (unit.ranks == PT_PLAN_ALL)
        unit.exclusive = unit.exclusive == PT_EXCLUSIVE_NOT ? PT_EXCLUSIVE_HOST : unit.exclusive;
    else if (unit.weight < unit.ranks)
        unit.weight = unit.ranks;
    if (unit.ranks != 1 && unit.rank != PT_NONE)
        unit.rank = GROUP_RANK | (unit.rank & (GROUP_RANK / 2 - 1));
    return unit;
}

static int add(struct pt_plan *plan, const struct pt_plan_unit *given, bool loose, struct pt_err *err)
{
    struct pt_plan_unit whole = completed(given);
    const struct pt_plan_unit *unit = &whole;
    int64_t n = check(plan, unit, err) ? -1 : note_all(plan, unit, err);
    if (n <= 0)
        return n < 0 ? -1 : 0;
    struct adding a = {.plan = plan,
                       .unit = unit,
                       .loose = loose,
                       .n = (uint32_t)n,
                       .seconds = seconds_of_all(unit, (uint32_t)n)};
    if (prepare(&a)) {
        give_up(&a);
        forget(plan, unit, a.n);
        return pt_err_set(err, "plan: out of memory for the %u tests of %s", a.n, unit->files[0].path);
    }
    uint32_t from = 0;
    for (struct pt_plan_piece *next, *piece = a.pieces; piece; piece = next) {
        next = piece->next;
        settle(&a, piece, from);
        from += piece->ntests;
        line_up(&a, piece);
    }
    return 0;
}

int pt_plan_add(struct pt_plan *plan, const struct pt_plan_unit *unit, struct pt_err *err)
{
    return add(plan, unit, false, err);
}

int pt_plan_add_file(struct pt_plan *plan, const char *path, const struct pt_bundle_test *tests, uint32_t n,
                     double seconds, struct pt_err *err)
{
    /* Neither is written to. */
    struct pt_bundle_file file = {
        .path = (char *)(uintptr_t)path, .tests = (struct pt_bundle_test *)(uintptr_t)tests, .ntests = n};
    struct pt_plan_unit unit = {
        .files = &file, .nfiles = 1, .seconds = seconds, .host = PT_NONE, .rank = PT_NONE};
    return add(plan, &unit, true, err);
}

void pt_plan_keep_order(struct pt_plan *plan)
{
    plan->spec.in_order = true;
}

void pt_plan_collected(struct pt_plan *plan)
{
    plan->collected = true;
    plan->unsure = true;
    plan->version++;
}
