/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "plan_state.h"

#include <stdlib.h>
#include <string.h>

int pt_plan_no_memory(struct pt_err *err)
{
    return pt_err_set(err, "plan: out of memory for a bundle");
}

/* --- tasks --- */

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

struct task *pt_plan_task_create(struct pt_plan *plan)
{
    struct task *task = plan->spare.head;
    uint32_t number = plan->ntasks;
    if (task) {
        number = task->number;
        queue_remove(&plan->spare, task);
    } else {
        if (tasks_reserve(plan) || !(task = malloc(sizeof(*task))))
            return NULL;
        plan->tasks[plan->ntasks++] = task;
    }
    *task = (struct task){.number = number,
                          .family = number,
                          .place = number,
                          .rank = PT_NONE,
                          .host = PT_NONE,
                          .avoid = PT_NONE,
                          .step = PT_NONE};
    return task;
}

void pt_plan_task_spare(struct pt_plan *plan, struct task *task)
{
    task->pieces = NULL;
    queue_add_first(&plan->spare, task);
}

void pt_plan_task_fill(struct pt_plan *plan, struct task *task, struct pt_plan_piece *pieces)
{
    task->pieces = pieces;
    task->line = pieces->line;
    task->firm = pieces->alone;
    for (const struct pt_plan_piece *p = pieces; p; p = p->next) {
        task->expected += pt_plan_pool_weight(&p->line->pool, p);
        for (uint32_t i = 0; i < p->ntests; i++) {
            struct test *test = &plan->tests[p->tests[i].test];
            if (test->piece != p) /* it waits to run again */
                continue;
            test->bundle = task->number;
            task->untold += !test->told;
        }
    }
}

double pt_plan_test_work(const struct pt_plan *plan, uint32_t test)
{
    double seconds = plan->tests[test].seconds;
    if (seconds < 0)
        return pt_plan_known_mean(&plan->known);
    return seconds > 0.001 ? seconds : 0.001;
}

int pt_plan_scratch(struct pt_plan *plan, uint32_t n)
{
    if (n <= plan->scratch_cap)
        return 0;
    uint32_t *scratch = realloc(plan->scratch, n * sizeof(*scratch));
    if (!scratch)
        return -1;
    plan->scratch = scratch;
    plan->scratch_cap = n;
    return 0;
}

/* --- attempts --- */

/* What the task owes, as files with tests; only counts while files is NULL. */
struct layout {
    struct pt_bundle_file *files;
    struct pt_bundle_test *tests;
    uint32_t nfiles, ntests;
    const char *path; /* of the last file */
};

/* A file that goes on in the next piece is one. */
static void lay(struct layout *l, const struct pt_bundle_file *file, const struct pt_bundle_test *test)
{
    if (!l->path || (l->path != file->path && strcmp(l->path, file->path) != 0)) {
        if (l->files)
            l->files[l->nfiles] = (struct pt_bundle_file){.path = file->path, .tests = l->tests + l->ntests};
        l->nfiles++;
        l->path = file->path;
    }
    if (l->files) {
        l->tests[l->ntests] = *test;
        l->files[l->nfiles - 1].ntests++;
    }
    l->ntests++;
}

static bool lay_out(const struct pt_plan *plan, const struct task *task, bool last, struct layout *l)
{
    bool any_last = false;
    for (const struct pt_plan_piece *p = task->pieces; p; p = p->next) {
        for (uint32_t f = 0; f < p->nfiles; f++) {
            const struct pt_bundle_file *file = &p->files[f];
            for (uint32_t i = 0; i < file->ntests; i++) {
                uint32_t number = file->tests[i].test;
                if (!pt_plan_owes(plan, task, number))
                    continue;
                any_last = any_last || plan->tests[number].last;
                if (plan->tests[number].last == last)
                    lay(l, file, &file->tests[i]);
            }
        }
    }
    return any_last;
}

static void lay_out_all(const struct pt_plan *plan, const struct task *task, struct layout *l)
{
    if (lay_out(plan, task, false, l))
        lay_out(plan, task, true, l);
}

static struct attempt *attempt_create(const struct pt_plan *plan, const struct task *task, uint32_t host,
                                      const struct pt_plan_spread *spread)
{
    struct layout l = {0};
    const struct pt_plan_line *line = task->line;
    uint32_t shares = spread ? spread->n : 0;
    lay_out_all(plan, task, &l);
    struct attempt *try = malloc(sizeof(*try) + l.nfiles * sizeof(struct pt_bundle_file) +
                                 l.ntests * sizeof(struct pt_bundle_test) + shares * sizeof(struct pt_share));
    if (!try)
        return NULL;
    *try = (struct attempt){.host = host, .ntests = l.ntests, .begun = PT_NONE, .older = task->last};
    try->bundle =
        (struct pt_bundle){.bundle = task->number,
                           .attempt = task->last ? task->last->bundle.attempt + 1 : 1,
                           .timeout_ms = plan->spec.timeout_ms,
                           .rank = pt_plan_is_group(line) ? PT_NONE : task->rank,
                           .ranks = line->ranks == PT_PLAN_ALL ? plan->hosts[host].slots : line->ranks,
                           .flags = line->numa ? PT_BUNDLE_NUMA : 0,
                           .files = (struct pt_bundle_file *)(try + 1),
                           .nfiles = l.nfiles};
    l = (struct layout){.files = try->bundle.files,
                        .tests = (struct pt_bundle_test *)(try->bundle.files + l.nfiles)};
    lay_out_all(plan, task, &l);
    if (spread) {
        try->bundle.spread = (struct pt_share *)(l.tests + l.ntests);
        try->bundle.nspread = shares;
        memcpy(try->bundle.spread, spread->shares, shares * sizeof(struct pt_share));
    }
    return try;
}

static double work_of(const struct pt_plan *plan, const struct attempt *try)
{
    double work = 0;
    for (uint32_t f = 0; f < try->bundle.nfiles; f++)
        for (uint32_t i = 0; i < try->bundle.files[f].ntests; i++)
            work += pt_plan_test_work(plan, try->bundle.files[f].tests[i].test);
    return work;
}

/* --- holding --- */

/* Slots of the host that holds it. */
static uint32_t load_of(const struct task *task)
{
    const struct pt_bundle *bundle = &task->last->bundle;
    return bundle->nspread ? bundle->spread[0].ranks : task->line->weight;
}

static void take_load(struct pt_plan *plan, struct host *host, const struct task *task)
{
    struct rank *rank = task->rank != PT_NONE ? pt_plan_rank(host, task->rank) : NULL;
    host->held++;
    plan->held++;
    host->load += load_of(task);
    host->heavy += task->line->weight > 1;
    host->groups += pt_plan_is_group(task->line);
    if (rank && rank->held++ > 0)
        host->queued++;
    if (task->line->exclusive != PT_EXCLUSIVE_NOT)
        host->alone = true;
    if (task->line->exclusive == PT_EXCLUSIVE_RUN)
        plan->hush = true;
}

static void drop_load(struct pt_plan *plan, struct host *host, const struct task *task)
{
    struct rank *rank = task->rank != PT_NONE ? pt_plan_rank(host, task->rank) : NULL;
    host->held--;
    plan->held--;
    host->load -= load_of(task);
    host->heavy -= task->line->weight > 1;
    host->groups -= pt_plan_is_group(task->line);
    if (rank && --rank->held > 0)
        host->queued--;
    if (host->load == 0)
        host->alone = false;
    if (task->line->exclusive == PT_EXCLUSIVE_RUN)
        plan->hush = false;
}

static int hold(struct pt_plan *plan, uint32_t number, const struct pt_plan_spread *spread, struct task *task,
                struct pt_plan_deal *deal, struct pt_err *err)
{
    struct attempt *try = attempt_create(plan, task, number, spread);
    if (!try)
        return pt_plan_no_memory(err);
    struct host *host = &plan->hosts[number];
    task->last = try;
    task->recalled = task->surplus = task->isolated = false;
    task->kept = task->unanswered;
    task->firm = task->pieces->alone;
    task->held = true;
    task->left = work_of(plan, try);
    task->since = ++plan->events;
    queue_add(&host->holds, task);
    take_load(plan, host, task);
    if (spread)
        pt_plan_spread_load(plan, task, false);
    *deal = (struct pt_plan_deal){.host = number,
                                  .bundle = &try->bundle,
                                  .step = task->step,
                                  .slot = task->step == PT_NONE ? 0 : task->rank - GROUP_RANK,
                                  .width = spread ? load_of(task) : pt_plan_width(task->line, host)};
    return 1;
}

int pt_plan_hold(struct pt_plan *plan, uint32_t host, struct task *task, struct pt_plan_deal *deal,
                 struct pt_err *err)
{
    return hold(plan, host, NULL, task, deal, err);
}

int pt_plan_hold_spread(struct pt_plan *plan, const struct pt_plan_spread *spread, struct task *task,
                        struct pt_plan_deal *deal, struct pt_err *err)
{
    return hold(plan, spread->shares[0].host, spread, task, deal, err);
}

struct task *pt_plan_held_task(const struct pt_plan *plan, uint32_t host, uint32_t bundle)
{
    if (host >= plan->spec.hosts || bundle >= plan->ntasks)
        return NULL;
    struct task *task = plan->tasks[bundle];
    return task->held && task->last->host == host ? task : NULL;
}

void pt_plan_end_steal(struct pt_plan *plan, struct task *task)
{
    struct task *loot = task->loot;
    free(task->asked);
    task->asked = NULL;
    task->loot = NULL;
    plan->asked -= !task->overdue;
    if (loot->untold > 0)
        pt_plan_put_back(plan, loot, true);
    else
        pt_plan_task_spare(plan, loot);
}

void pt_plan_unhold(struct pt_plan *plan, struct task *task)
{
    struct host *host = &plan->hosts[task->last->host];
    queue_remove(&host->holds, task);
    drop_load(plan, host, task);
    if (task->last->bundle.nspread)
        pt_plan_spread_load(plan, task, true);
    if (task->recalled) {
        host->asked--;
        plan->asked--;
    }
    if (task->loot)
        pt_plan_end_steal(plan, task);
    if (task->surplus)
        plan->surplus--;
    task->recalled = task->held = task->surplus = false;
}

/* --- going back --- */

void pt_plan_put_back(struct pt_plan *plan, struct task *task, bool first)
{
    if (task->untold == 0)
        return;
    plan->unsure = true;
    bool suspect = pt_plan_is_suspect(plan, task);
    if (task->packed && (suspect || !pt_plan_rank_stands(plan, task)))
        pt_plan_unpack(task);
    struct queue *line = &task->line->back;
    if (suspect)
        pt_plan_suspect_add(plan, task);
    else if (plan->spec.schedule == PT_SCHEDULE_SEQUENTIAL)
        queue_add_first(&plan->sequence.back, task);
    else if (task->rank != PT_NONE)
        pt_plan_rank_add(plan, task, false);
    else
        queue_add_before(line, task, first ? line->head : NULL);
}

struct task *pt_plan_head(struct queue *q)
{
    while (q->head && q->head->untold == 0)
        queue_remove(q, q->head);
    return q->head;
}
