/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "common/auto.h"
#include "common/err.h"
#include "plan_state.h"

#include <string.h>

struct given_up {
    void (*fn)(void *arg, uint32_t test);
    void *arg;
};

/* --- life --- */

struct pt_plan *pt_plan_create(const struct pt_plan_spec *spec, struct pt_err *err)
{
    struct pt_plan *plan = calloc(1, sizeof(*plan));
    if (!plan || !(plan->hosts = calloc((size_t)spec->hosts + spec->more + 1, sizeof(*plan->hosts)))) {
        pt_err_set(err, "plan for %u hosts: out of memory", spec->hosts);
        pt_plan_destroy(plan);
        return NULL;
    }
    plan->spec = *spec;
    if (plan->spec.bundles_per_worker == 0)
        plan->spec.bundles_per_worker = 1;
    for (uint32_t i = 0; spec->apart && i < spec->hosts + spec->more; i++)
        plan->hosts[i].judged = true; /* none may */
    plan->sequence = (struct pt_plan_line){
        .weight = 1, .ranks = 1, .host = PT_NONE, .pool = {.known = &plan->known, .in_order = true}};
    return plan;
}

static void task_destroy(struct task *task)
{
    while (task->last) {
        struct attempt *older = task->last->older;
        free(task->last);
        task->last = older;
    }
    free(task->asked);
    free(task);
}

static void lines_destroy(struct pt_plan_line *lines)
{
    while (lines) {
        struct pt_plan_line *next = lines->next;
        pt_plan_pool_fini(&lines->pool);
        free(lines);
        lines = next;
    }
}

void pt_plan_destroy(struct pt_plan *plan)
{
    if (!plan)
        return;
    int saved = errno;
    for (uint32_t i = 0; i < plan->ntasks; i++)
        task_destroy(plan->tasks[i]);
    for (uint32_t i = 0; plan->hosts && i < plan->spec.hosts; i++)
        free(plan->hosts[i].ranks);
    lines_destroy(plan->lines);
    pt_plan_pool_fini(&plan->sequence.pool);
    while (plan->pieces) {
        struct pt_plan_piece *all = plan->pieces->all;
        free(plan->pieces);
        plan->pieces = all;
    }
    free(plan->scratch);
    free(plan->deaths);
    free(plan->tasks);
    free(plan->tests);
    free(plan->hosts);
    free(plan);
    errno = saved;
}

/* --- hosts --- */

void pt_plan_hosts_changed(struct pt_plan *plan)
{
    plan->version++;
    plan->unsure = true;
}

void pt_plan_expect(struct pt_plan *plan, uint32_t host, uint32_t slots)
{
    if (host >= plan->spec.hosts)
        return;
    plan->hosts[host].expect = slots;
    if (slots > plan->hosts[host].most)
        plan->hosts[host].most = slots;
    plan->hosts[host].told_expect = true;
    pt_plan_hosts_changed(plan);
}

void pt_plan_host(struct pt_plan *plan, uint32_t number, uint32_t slots)
{
    if (number >= plan->spec.hosts || (slots > 0 && plan->hosts[number].leaves))
        return;
    struct host *host = &plan->hosts[number];
    host->slots = slots;
    if (slots > 0) {
        host->runners = slots;
        host->most = slots > host->most ? slots : host->most;
        host->never = false;
        pt_plan_ranks_free(plan, number);
    }
    pt_plan_hosts_changed(plan);
}

void pt_plan_labels(struct pt_plan *plan, uint32_t host, uint64_t labels)
{
    if (host >= plan->spec.hosts)
        return;
    plan->hosts[host].labels = labels;
    pt_plan_hosts_changed(plan);
}

void pt_plan_never(struct pt_plan *plan, uint32_t host)
{
    if (host >= plan->spec.hosts)
        return;
    plan->hosts[host].never = true;
    pt_plan_ranks_free(plan, host);
    pt_plan_hosts_changed(plan);
}

/* --- what happened --- */

bool pt_plan_holds(const struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                   uint32_t test)
{
    if (bundle >= plan->ntasks)
        return false;
    const struct task *task = plan->tasks[bundle];
    const struct attempt *try = task->last;
    while (try && try->bundle.attempt != attempt)
        try = try->older;
    if (!try || try->host != host || try->gone)
        return false;
    if (test == PT_NONE)
        return true;
    uint32_t owner = test < plan->ntests && plan->tests[test].added ? plan->tests[test].bundle : PT_NONE;
    return owner != PT_NONE && plan->tasks[owner]->family == task->family;
}

bool pt_plan_had(const struct pt_plan *plan, uint32_t host, uint32_t test)
{
    uint32_t owner = test < plan->ntests && plan->tests[test].added ? plan->tests[test].bundle : PT_NONE;
    for (uint32_t i = 0; owner != PT_NONE && i < plan->ntasks; i++) {
        if (plan->tasks[i]->family != plan->tasks[owner]->family)
            continue;
        for (const struct attempt *try = plan->tasks[i]->last; try; try = try->older)
            if (try->host == host)
                return true;
    }
    return false;
}

static void heard_of(struct pt_plan *plan, struct task *task, double work)
{
    task->left = task->left > work ? task->left - work : 0;
    task->since = ++plan->events;
}

bool pt_plan_told(struct pt_plan *plan, uint32_t number)
{
    struct test *test = number < plan->ntests ? &plan->tests[number] : NULL;
    if (!test || !test->added || test->told)
        return false;
    test->told = true;
    plan->untold--;
    if (test->bundle == PT_NONE)
        return true;
    struct task *task = plan->tasks[test->bundle];
    double work = pt_plan_test_work(plan, number);
    task->untold--;
    if (task->held)
        plan->hosts[task->last->host].proven = true;
    heard_of(plan, task, work);
    if (task->twin)
        heard_of(plan, task->twin, work);
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

/* Count the tests that the task owes as lost once. */
static void lose_tests(struct pt_plan *plan, const struct task *task, const struct given_up *up)
{
    for (const struct pt_plan_piece *p = task->pieces; p; p = p->next)
        for (uint32_t i = 0; i < p->ntests; i++)
            if (pt_plan_owes(plan, task, p->tests[i].test))
                lose(plan, p->tests[i].test, up);
}

static void go_back(struct pt_plan *plan, struct task *task)
{
    if (task->twin)
        pt_plan_leave_to_twin(plan, task);
    else
        pt_plan_put_back(plan, task, false);
}

bool pt_plan_done(struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                  void (*given_up)(void *arg, uint32_t test), void *arg)
{
    struct task *task = pt_plan_held_task(plan, host, bundle);
    if (!task || task->last->bundle.attempt != attempt)
        return false;
    struct given_up up = {given_up, arg};
    task->unanswered |= task->recalled;
    pt_plan_unhold(plan, task);
    if (!task->twin && !task->last->gone)
        lose_tests(plan, task, &up);
    go_back(plan, task);
    return true;
}

/* Those led by others wait until their leaders have ended what is left of them. */
static void lose_shares(struct pt_plan *plan, struct pt_plan_loss *loss)
{
    bool news;
    for (struct task *task; (task = pt_plan_break(plan, loss->host, &news));) {
        if (!news)
            continue;
        pt_plan_accuse_one(plan, loss, task);
        pt_plan_judge(plan, loss, task);
    }
}

void pt_plan_lost(struct pt_plan *plan, uint32_t number, void (*given_up)(void *arg, uint32_t test),
                  void *arg)
{
    if (number >= plan->spec.hosts)
        return;
    struct pt_plan_loss loss = {number, PT_NONE, given_up, arg};
    struct host *host = &plan->hosts[number];
    host->slots = 0;
    pt_plan_accuse(plan, &loss);
    while (host->holds.head) {
        struct task *task = host->holds.head;
        pt_plan_unhold(plan, task);
        pt_plan_judge(plan, &loss, task);
        go_back(plan, task);
    }
    lose_shares(plan, &loss);
    host->judged = plan->spec.apart;
    host->may = false;
    pt_plan_hosts_changed(plan);
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
    return plan->stopped && plan->held == 0;
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

const struct pt_bundle *pt_plan_bundle(const struct pt_plan *plan, uint32_t bundle)
{
    return bundle < plan->ntasks && plan->tasks[bundle]->last ? &plan->tasks[bundle]->last->bundle : NULL;
}
