/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "common/auto.h"
#include "common/err.h"
#include "plan_state.h"

#include <string.h>

#define SECONDS_MAX 1e9 /* more is taken as unknown */

struct given_up {
    void (*fn)(void *arg, uint32_t test);
    void *arg;
};

/* --- life --- */

struct pt_plan *pt_plan_create(const struct pt_plan_spec *spec, struct pt_err *err)
{
    struct pt_plan *plan = calloc(1, sizeof(*plan));
    if (!plan || !(plan->hosts = calloc(spec->hosts + 1, sizeof(*plan->hosts)))) {
        pt_err_set(err, "plan for %u hosts: out of memory", spec->hosts);
        pt_plan_destroy(plan);
        return NULL;
    }
    plan->spec = *spec;
    if (plan->spec.bundles_per_worker == 0)
        plan->spec.bundles_per_worker = 1;
    return plan;
}

static void task_destroy(struct task *task)
{
    while (task->last) {
        struct attempt *older = task->last->older;
        free(task->last);
        task->last = older;
    }
    free(task);
}

void pt_plan_destroy(struct pt_plan *plan)
{
    if (!plan)
        return;
    int saved = errno;
    for (uint32_t i = 0; i < plan->ntasks; i++)
        task_destroy(plan->tasks[i]);
    pt_plan_pool_fini(&plan->pool);
    free(plan->tasks);
    free(plan->tests);
    free(plan->hosts);
    free(plan);
    errno = saved;
}

/* --- what comes in --- */

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

static void forget(struct pt_plan *plan, const struct pt_bundle_test *tests, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        plan->tests[tests[i].test].added = false;
    plan->untold -= n;
}

static int note(struct pt_plan *plan, const char *path, const struct pt_bundle_test *test, struct pt_err *err)
{
    if (tests_reserve(plan, test->test, err))
        return -1;
    if (strlen(test->nodeid) > PT_MAX_NODEID)
        return pt_err_set(err, "%s: a node id is longer than %u bytes", path, PT_MAX_NODEID);
    if (plan->tests[test->test].added)
        return pt_err_set(err, "plan: test number %u (%s) was given twice", test->test, test->nodeid);
    plan->tests[test->test] = (struct test){.added = true, .bundle = PT_NONE};
    plan->untold++;
    return 0;
}

int pt_plan_add_file(struct pt_plan *plan, const char *path, const struct pt_bundle_test *tests, uint32_t n,
                     double seconds, struct pt_err *err)
{
    if (n == 0)
        return 0;
    if (strlen(path) > PT_MAX_PATH)
        return pt_err_set(err, "plan: a path is longer than %u bytes", PT_MAX_PATH);
    for (uint32_t i = 0; i < n; i++) {
        if (note(plan, path, &tests[i], err)) {
            forget(plan, tests, i);
            return -1;
        }
    }
    bool known = seconds >= 0 && seconds < SECONDS_MAX;
    if (pt_plan_pool_add(&plan->pool, path, tests, n, known ? seconds : -1)) {
        forget(plan, tests, n);
        return pt_err_set(err, "plan: out of memory for the %u tests of %s", n, path);
    }
    return 0;
}

void pt_plan_collected(struct pt_plan *plan)
{
    plan->collected = true;
}

void pt_plan_expect(struct pt_plan *plan, uint32_t host, uint32_t slots)
{
    if (host < plan->spec.hosts)
        plan->hosts[host].expect = slots;
}

void pt_plan_host(struct pt_plan *plan, uint32_t host, uint32_t slots)
{
    if (host >= plan->spec.hosts)
        return;
    plan->hosts[host].slots = slots;
    if (slots > 0)
        plan->hosts[host].runners = slots;
}

/* --- what happened --- */

struct task *pt_plan_held_task(const struct pt_plan *plan, uint32_t host, uint32_t bundle)
{
    if (host >= plan->spec.hosts || bundle >= plan->ntasks)
        return NULL;
    struct task *task = plan->tasks[bundle];
    return task->last->host == host && task->held ? task : NULL;
}

bool pt_plan_holds(const struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                   uint32_t test)
{
    if (bundle >= plan->ntasks)
        return false;
    const struct attempt *try = plan->tasks[bundle]->last;
    while (try && try->bundle.attempt != attempt)
        try = try->older;
    if (!try || try->host != host)
        return false;
    return test == PT_NONE ||
           (test < plan->ntests && plan->tests[test].added && plan->tests[test].bundle == bundle);
}

bool pt_plan_told(struct pt_plan *plan, uint32_t test)
{
    if (test >= plan->ntests || !plan->tests[test].added || plan->tests[test].told)
        return false;
    plan->tests[test].told = true;
    plan->untold--;
    if (plan->tests[test].bundle != PT_NONE)
        plan->tasks[plan->tests[test].bundle]->untold--;
    return true;
}

static void lose(struct pt_plan *plan, uint32_t test, const struct given_up *up)
{
    if (++plan->tests[test].losses < PT_PLAN_LOSSES)
        return;
    pt_plan_told(plan, test);
    if (up->fn)
        up->fn(up->arg, test);
}

/* Count untold tests of the task as lost once: all, or the first in order only. */
static void lose_tests(struct pt_plan *plan, const struct task *task, bool all, const struct given_up *up)
{
    for (const struct pt_plan_file *f = task->files; f; f = f->next) {
        for (uint32_t i = 0; i < f->n; i++) {
            if (!is_untold(plan, &f->tests[i]))
                continue;
            lose(plan, f->tests[i].test, up);
            if (!all)
                return;
        }
    }
}

static bool is_suspect(const struct pt_plan *plan, const struct task *task)
{
    for (const struct pt_plan_file *f = task->files; f; f = f->next)
        for (uint32_t i = 0; i < f->n; i++)
            if (is_untold(plan, &f->tests[i]) && plan->tests[f->tests[i].test].losses + 1 >= PT_PLAN_LOSSES)
                return true;
    return false;
}

void pt_plan_put_back(struct pt_plan *plan, struct task *task, bool first)
{
    if (task->untold == 0)
        return;
    if (is_suspect(plan, task))
        queue_add(&plan->suspects, task);
    else if (first)
        queue_add_first(&plan->back, task);
    else
        queue_add(&plan->back, task);
}

bool pt_plan_done(struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                  void (*given_up)(void *arg, uint32_t test), void *arg)
{
    struct task *task = pt_plan_held_task(plan, host, bundle);
    if (!task || task->last->bundle.attempt != attempt)
        return false;
    struct given_up up = {given_up, arg};
    pt_plan_unhold(plan, task);
    lose_tests(plan, task, true, &up);
    pt_plan_put_back(plan, task, false);
    return true;
}

void pt_plan_lost(struct pt_plan *plan, uint32_t number, void (*given_up)(void *arg, uint32_t test),
                  void *arg)
{
    if (number >= plan->spec.hosts)
        return;
    struct given_up up = {given_up, arg};
    struct host *host = &plan->hosts[number];
    host->slots = 0;
    for (uint32_t running = 0; host->holds.head;) {
        struct task *task = host->holds.head;
        pt_plan_unhold(plan, task);
        if (task->untold > 0 && running++ < host->runners)
            lose_tests(plan, task, false, &up);
        pt_plan_put_back(plan, task, false);
    }
}

/* --- how it stands --- */

void pt_plan_stop(struct pt_plan *plan)
{
    plan->stopped = true;
}

bool pt_plan_over(const struct pt_plan *plan)
{
    if (plan->collected && plan->untold == 0)
        return true;
    if (!plan->stopped)
        return false;
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (plan->hosts[i].held > 0)
            return false;
    return true;
}

uint32_t pt_plan_held(const struct pt_plan *plan, uint32_t host)
{
    return host < plan->spec.hosts ? plan->hosts[host].held : 0;
}

uint32_t pt_plan_untold(const struct pt_plan *plan)
{
    return plan->untold;
}

bool pt_plan_is_told(const struct pt_plan *plan, uint32_t test)
{
    return test < plan->ntests && plan->tests[test].added && plan->tests[test].told;
}

double pt_plan_expected(const struct pt_plan *plan, uint32_t bundle)
{
    return bundle < plan->ntasks ? plan->tasks[bundle]->expected : 0;
}

const struct pt_bundle *pt_plan_bundle(const struct pt_plan *plan, uint32_t bundle)
{
    return bundle < plan->ntasks && plan->tasks[bundle]->last ? &plan->tasks[bundle]->last->bundle : NULL;
}
