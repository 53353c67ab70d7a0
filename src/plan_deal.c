/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "plan_state.h"

#include <stdlib.h>

static uint32_t untold_of(const struct pt_plan *plan, const struct pt_plan_file *file)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < file->n; i++)
        n += is_untold(plan, &file->tests[i]);
    return n;
}

/* How much one bundle should be: near the end smaller, so that the slots end together. */
static double bundle_size(const struct pt_plan *plan)
{
    double slots = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        slots += host->slots > host->expect ? host->slots : host->expect;
    }
    if (slots < 1)
        slots = 1;
    double size = pt_plan_pool_total(&plan->pool) / (slots * plan->spec.bundles_per_worker);
    double share = pt_plan_pool_left(&plan->pool) / (2 * slots);
    if (share >= size)
        return size;
    return share > size / 2 ? share : size / 2;
}

static struct attempt *attempt_create(const struct pt_plan *plan, const struct pt_plan_file *files)
{
    uint32_t ntests = 0;
    uint32_t nfiles = 0;
    for (const struct pt_plan_file *f = files; f; f = f->next) {
        uint32_t n = untold_of(plan, f);
        ntests += n;
        nfiles += n > 0;
    }
    struct attempt *try = malloc(sizeof(*try) + nfiles * sizeof(struct pt_bundle_file) +
                                 ntests * sizeof(struct pt_bundle_test));
    if (!try)
        return NULL;
    *try = (struct attempt){.bundle = {.timeout_ms = plan->spec.timeout_ms, .rank = PT_NONE}};
    try->bundle.files = (struct pt_bundle_file *)(try + 1);
    struct pt_bundle_test *test = (struct pt_bundle_test *)(try->bundle.files + nfiles);
    for (const struct pt_plan_file *f = files; f; f = f->next) {
        struct pt_bundle_file file = {.path = f->path, .tests = test};
        for (uint32_t i = 0; i < f->n; i++)
            if (is_untold(plan, &f->tests[i]))
                file.tests[file.ntests++] = f->tests[i];
        test += file.ntests;
        if (file.ntests > 0)
            try->bundle.files[try->bundle.nfiles++] = file;
    }
    return try;
}

static int tasks_reserve(struct pt_plan *plan)
{
    if (plan->ntasks < plan->cap)
        return 0;
    uint32_t cap = plan->cap ? 2 * plan->cap : 64;
    struct task **tasks = realloc(plan->tasks, cap * sizeof(struct task *));
    if (!tasks)
        return -1;
    plan->tasks = tasks;
    plan->cap = cap;
    return 0;
}

/* Steals files. */
static struct task *task_create(struct pt_plan *plan, struct pt_plan_file *files)
{
    struct task *task = tasks_reserve(plan) ? NULL : calloc(1, sizeof(*task));
    if (!task)
        return NULL;
    task->number = plan->ntasks;
    task->files = files;
    for (struct pt_plan_file *f = files; f; f = f->next) {
        task->expected += pt_plan_pool_weight(&plan->pool, f);
        for (uint32_t i = 0; i < f->n; i++) {
            struct test *test = &plan->tests[f->tests[i].test];
            test->bundle = task->number;
            task->untold += !test->told;
        }
    }
    plan->tasks[plan->ntasks++] = task;
    return task;
}

static void hold(struct pt_plan *plan, uint32_t number, struct task *task, struct attempt *try)
{
    struct host *host = &plan->hosts[number];
    try->host = number;
    try->bundle.bundle = task->number;
    try->bundle.attempt = task->last ? task->last->bundle.attempt + 1 : 1;
    try->older = task->last;
    task->last = try;
    task->recalled = task->kept = false;
    task->held = true;
    queue_add(&host->holds, task);
    host->held++;
}

void pt_plan_unhold(struct pt_plan *plan, struct task *task)
{
    struct host *host = &plan->hosts[task->last->host];
    queue_remove(&host->holds, task);
    host->held--;
    if (host->held == 0)
        host->alone = false;
    if (task->recalled) {
        host->asked--;
        plan->asked--;
    }
    task->recalled = task->held = false;
}

/* How many bundles a host may hold beyond its slots. */
static uint32_t ahead(const struct pt_plan *plan, const struct host *host)
{
    double slots = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        slots += plan->hosts[i].slots;
    bool plenty =
        (double)plan->pool.n >= 2 * slots && pt_plan_pool_left(&plan->pool) >= 2 * slots * bundle_size(plan);
    if (plenty)
        return host->slots;
    return host->slots >= 8 ? host->slots / 4 : 1;
}

/* The host with the least to do for its size among those with room, or PT_NONE. */
static uint32_t pick_host(const struct pt_plan *plan)
{
    uint32_t best = PT_NONE;
    double least = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        if (host->slots == 0 || host->alone)
            continue;
        double load = (double)host->held / host->slots;
        if (best == PT_NONE || load < least) {
            best = i;
            least = load;
        }
    }
    if (best == PT_NONE)
        return PT_NONE;
    const struct host *host = &plan->hosts[best];
    return host->held < host->slots || host->held - host->slots < ahead(plan, host) ? best : PT_NONE;
}

static uint32_t pick_idle_host(const struct pt_plan *plan)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (plan->hosts[i].slots > 0 && plan->hosts[i].held == 0)
            return i;
    return PT_NONE;
}

static int out_of_memory(struct pt_err *err)
{
    return pt_err_set(err, "plan: out of memory for a bundle");
}

static int deal_again(struct pt_plan *plan, struct queue *from, uint32_t host, struct pt_plan_deal *deal,
                      struct pt_err *err)
{
    struct task *task = from->head;
    struct attempt *try = attempt_create(plan, task->files);
    if (!try)
        return out_of_memory(err);
    queue_remove(from, task);
    hold(plan, host, task, try);
    *deal = (struct pt_plan_deal){.host = host, .bundle = &try->bundle};
    return 1;
}

/* Files that were told of before they were dealt are passed over. */
static struct pt_plan_file *take_files(struct pt_plan *plan)
{
    struct pt_plan_file *files;
    while ((files = pt_plan_pool_take(&plan->pool, bundle_size(plan))))
        for (const struct pt_plan_file *f = files; f; f = f->next)
            if (untold_of(plan, f) > 0)
                return files;
    return NULL;
}

static int deal_new(struct pt_plan *plan, uint32_t host, struct pt_plan_deal *deal, struct pt_err *err)
{
    struct pt_plan_file *files = take_files(plan);
    if (!files)
        return 0;
    struct attempt *try = attempt_create(plan, files);
    struct task *task = try ? task_create(plan, files) : NULL;
    if (!task) {
        free(try);
        pt_plan_pool_put(&plan->pool, files);
        return out_of_memory(err);
    }
    hold(plan, host, task, try);
    *deal = (struct pt_plan_deal){.host = host, .bundle = &try->bundle};
    return 1;
}

/* Bundles whose tests were all told meanwhile, by a report that came late, need no further attempt. */
static void drop_told(struct queue *q)
{
    while (q->head && q->head->untold == 0)
        queue_remove(q, q->head);
}

int pt_plan_next(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    drop_told(&plan->back);
    drop_told(&plan->suspects);
    if (plan->stopped)
        return 0;
    if (plan->back.head || plan->pool.n > 0) {
        uint32_t host = pick_host(plan);
        if (host == PT_NONE)
            return 0;
        return plan->back.head ? deal_again(plan, &plan->back, host, deal, err)
                               : deal_new(plan, host, deal, err);
    }
    uint32_t host = plan->suspects.head && plan->collected ? pick_idle_host(plan) : PT_NONE;
    if (host == PT_NONE)
        return 0;
    if (deal_again(plan, &plan->suspects, host, deal, err) < 0)
        return -1;
    plan->hosts[host].alone = true;
    return 1;
}

/* --- calling back --- */

static uint32_t free_slots(const struct pt_plan *plan)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        if (!host->alone && host->held < host->slots)
            n += host->slots - host->held;
    }
    return n;
}

/* The last bundle in the host's line that no runner can have yet, as far as can be known here. */
static struct task *waiting_task(const struct pt_plan *plan, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    if (host->held - host->asked <= host->slots)
        return NULL;
    for (struct task *task = host->holds.tail; task; task = task->prev) {
        uint32_t dealt = 0;
        for (uint32_t i = 0; i < task->last->bundle.nfiles; i++)
            dealt += task->last->bundle.files[i].ntests;
        if (!task->recalled && !task->kept && task->untold == dealt)
            return task;
    }
    return NULL;
}

int pt_plan_recall(struct pt_plan *plan, uint32_t *host, uint32_t *bundle)
{
    if (plan->stopped || plan->back.head || plan->pool.n > 0 || plan->asked >= free_slots(plan))
        return 0;
    struct task *best = NULL;
    double most = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *h = &plan->hosts[i];
        double load = h->slots ? (double)(h->held - h->asked) / h->slots : h->held;
        struct task *task = load > most ? waiting_task(plan, i) : NULL;
        if (task) {
            best = task;
            most = load;
        }
    }
    if (!best)
        return 0;
    best->recalled = true;
    plan->asked++;
    *host = best->last->host;
    *bundle = best->number;
    plan->hosts[*host].asked++;
    return 1;
}

bool pt_plan_returned(struct pt_plan *plan, uint32_t host, uint32_t bundle, bool given_back)
{
    struct task *task = pt_plan_held_task(plan, host, bundle);
    if (!task || !task->recalled)
        return false;
    if (given_back) {
        pt_plan_unhold(plan, task);
        pt_plan_put_back(plan, task, true);
        return true;
    }
    plan->asked--;
    plan->hosts[host].asked--;
    task->recalled = false;
    task->kept = true;
    return true;
}
