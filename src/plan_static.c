/* SPDX-License-Identifier: Apache-2.0 */
/* All bundles onto slots before the first is dealt: longest first onto the least loaded slot. The last slot
 * then ends at most 4/3 - 1/(3 slots) later than with the best packing (R. L. Graham, Bounds on
 * multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969). A heavy bundle takes its slots together;
 * it comes before the light ones. Those of several ranks are laid out in steps, first fit, the widest first
 * (as pytest_parallel's static scheduler does): a step holds as many beside each other as the host has slots.
 * The steps give the host and the order; a bundle does not wait for a whole step to end. What no host that is
 * here can take alone is left to be dealt on demand. */
#include "plan_state.h"

#include <math.h>
#include <stdlib.h>

struct step {
    uint32_t host, number; /* of the host's steps */
    uint32_t used;         /* slots */
    double length;
};

struct packing {
    struct pt_plan *plan;
    struct task **tasks;
    size_t ntasks;
    double **load;      /* by host and slot */
    double *sort;       /* room for the slots of one host */
    struct step *steps; /* in the order they were begun */
    size_t nsteps;
    uint32_t *begun; /* steps of each host, and how long they take */
    double *ends;
};

static bool is_due(const struct pt_plan *plan)
{
    bool any = false;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        bool refused = host->told_expect && host->expect == 0;
        if (host->slots == 0 && !host->never && !refused)
            return false;
        any = any || host->slots > 0;
    }
    return any && plan->collected;
}

/* Everything that waits becomes a bundle; those made before memory ended are kept for the next try. */
static int make_bundles(struct pt_plan *plan)
{
    int rc = 0;
    for (struct pt_plan_line *line = plan->lines; line; line = line->next) {
        double size = pt_plan_line_size(plan, line);
        struct task *task;
        while ((task = pt_plan_line_take(plan, line, size, &rc)))
            queue_add(&plan->packing, task);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static void packing_fini(struct packing *p)
{
    for (uint32_t i = 0; p->load && i < p->plan->spec.hosts; i++)
        free(p->load[i]);
    free(p->load);
    free(p->sort);
    free(p->tasks);
    free(p->steps);
    free(p->begun);
    free(p->ends);
}

static int init_steps(struct packing *p, bool groups)
{
    struct pt_plan *plan = p->plan;
    if (!groups)
        return 0;
    p->steps = calloc(p->ntasks, sizeof(*p->steps));
    p->begun = calloc(plan->spec.hosts, sizeof(*p->begun));
    p->ends = calloc(plan->spec.hosts, sizeof(*p->ends));
    if (!p->steps || !p->begun || !p->ends)
        return -1;
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        for (uint32_t r = 0; r < plan->hosts[i].slots; r++)
            if (!pt_plan_rank_get(&plan->hosts[i], GROUP_RANK | r))
                return -1;
    return 0;
}

static int packing_init(struct packing *p, struct pt_plan *plan)
{
    uint32_t most = 1;
    bool groups = false;
    *p = (struct packing){.plan = plan};
    for (const struct task *task = plan->packing.head; task; task = task->next) {
        p->ntasks++;
        groups = groups || pt_plan_is_group(task->line);
    }
    p->tasks = malloc((p->ntasks + 1) * sizeof(struct task *));
    p->load = calloc(plan->spec.hosts + 1, sizeof(*p->load));
    if (!p->tasks || !p->load)
        return -1;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        struct host *host = &plan->hosts[i];
        most = host->slots > most ? host->slots : most;
        if (!(p->load[i] = calloc(host->slots + 1, sizeof(double))))
            return -1;
        for (uint32_t r = 0; r < host->slots; r++)
            if (!pt_plan_rank_get(host, r))
                return -1;
    }
    return (p->sort = malloc(most * sizeof(double))) ? init_steps(p, groups) : -1;
}

/* Rank of difficulty: those that take a host, heavy ones, plain ones, those that take the run. */
static uint64_t bulk(const struct task *task)
{
    if (task->line->exclusive == PT_EXCLUSIVE_RUN)
        return 0;
    return task->line->exclusive == PT_EXCLUSIVE_HOST ? UINT64_MAX : task->line->weight;
}

static int compare(const void *pa, const void *pb)
{
    const struct task *a = *(struct task *const *)pa;
    const struct task *b = *(struct task *const *)pb;
    if (bulk(a) != bulk(b))
        return bulk(a) > bulk(b) ? -1 : 1;
    if (a->expected > b->expected || a->expected < b->expected)
        return a->expected > b->expected ? -1 : 1;
    return a->pieces->order < b->pieces->order ? -1 : a->pieces->order > b->pieces->order;
}

static int compare_loads(const void *pa, const void *pb)
{
    double a = *(const double *)pa;
    double b = *(const double *)pb;
    return a < b ? -1 : a > b;
}

/* When so many slots of the host are free together. */
static double free_at(struct packing *p, uint32_t host, uint32_t slots)
{
    const double *load = p->load[host];
    uint32_t n = p->plan->hosts[host].slots;
    double first = load[0];
    for (uint32_t r = 1; r < n; r++)
        first = load[r] < first ? load[r] : first;
    if (slots == 1)
        return first;
    for (uint32_t r = 0; r < n; r++)
        p->sort[r] = load[r];
    qsort(p->sort, n, sizeof(double), compare_loads);
    return p->sort[slots - 1];
}

static void pin(struct packing *p, struct task *task, uint32_t host, double start)
{
    double *load = p->load[host];
    uint32_t n = p->plan->hosts[host].slots;
    for (uint32_t k = pt_plan_width(task->line, &p->plan->hosts[host]); k > 0; k--) {
        uint32_t least = n;
        for (uint32_t r = 0; r < n; r++)
            if (load[r] <= start && (least == n || load[r] < load[least]))
                least = r;
        if (least == n)
            break;
        if (task->rank == PT_NONE)
            task->rank = least;
        load[least] = start + task->expected;
    }
    task->host = host;
    task->packed = true;
    pt_plan_rank_add(p->plan, task, false);
}

/* --- steps --- */

static uint32_t left_in(const struct packing *p, const struct step *step)
{
    return p->plan->hosts[step->host].slots - step->used;
}

/* A step more, where the others end first; NULL: no host may take this. */
static struct step *begin_step(struct packing *p, const struct pt_plan_line *line)
{
    uint32_t best = PT_NONE;
    for (uint32_t i = 0; i < p->plan->spec.hosts; i++)
        if (pt_plan_may(p->plan, line, i) && (best == PT_NONE || p->ends[i] < p->ends[best]))
            best = i;
    if (best == PT_NONE)
        return NULL;
    p->steps[p->nsteps] = (struct step){.host = best, .number = p->begun[best]++};
    return &p->steps[p->nsteps++];
}

static bool place_in_step(struct packing *p, struct task *task)
{
    struct step *step = NULL;
    for (size_t i = 0; i < p->nsteps && !step; i++)
        if (pt_plan_may(p->plan, task->line, p->steps[i].host) &&
            pt_plan_width(task->line, &p->plan->hosts[p->steps[i].host]) <= left_in(p, &p->steps[i]))
            step = &p->steps[i];
    if (!step && !(step = begin_step(p, task->line)))
        return false;
    uint32_t end = step->used + pt_plan_width(task->line, &p->plan->hosts[step->host]);
    task->host = step->host;
    task->rank = GROUP_RANK | step->used;
    task->step = step->number;
    task->place = step->number + 1ull;
    task->packed = true;
    for (; step->used < end; step->used++)
        p->load[step->host][step->used] += task->expected;
    if (task->expected > step->length) {
        p->ends[step->host] += task->expected - step->length;
        step->length = task->expected;
    }
    pt_plan_rank_add(p->plan, task, false);
    return true;
}

static void place(struct packing *p, struct task *task)
{
    uint32_t best = PT_NONE;
    bool in_step = pt_plan_is_group(task->line) && task->line->exclusive != PT_EXCLUSIVE_RUN;
    bool spread = pt_plan_way(p->plan, task->line) != PT_PLAN_WAY_ONE;
    if (in_step || spread) {
        if (spread || !place_in_step(p, task))
            queue_add(&task->line->back, task);
        return;
    }
    double least = INFINITY;
    for (uint32_t i = 0; i < p->plan->spec.hosts; i++) {
        if (!pt_plan_may(p->plan, task->line, i))
            continue;
        double start = free_at(p, i, pt_plan_width(task->line, &p->plan->hosts[i]));
        if (best == PT_NONE || start < least) {
            best = i;
            least = start;
        }
    }
    if (best == PT_NONE)
        queue_add(&task->line->back, task);
    else
        pin(p, task, best, least);
}

int pt_plan_pack(struct pt_plan *plan, struct pt_err *err)
{
    struct packing p;
    size_t n = 0;
    if (!is_due(plan))
        return 0;
    if (make_bundles(plan))
        return pt_plan_no_memory(err);
    int rc = packing_init(&p, plan);
    if (rc == 0) {
        for (struct task *task; (task = plan->packing.head);) {
            queue_remove(&plan->packing, task);
            p.tasks[n++] = task;
        }
        qsort(p.tasks, n, sizeof(*p.tasks), compare);
        for (size_t i = 0; i < n; i++) {
            p.tasks[i]->place = i + 1;
            place(&p, p.tasks[i]);
        }
        plan->packed = true;
    }
    packing_fini(&p);
    return rc ? pt_plan_no_memory(err) : 1;
}
