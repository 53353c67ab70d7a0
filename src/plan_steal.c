/* SPDX-License-Identifier: Apache-2.0 */
/* For idle slots: bundles that wait in a host's line are called back, of those that run the later half is
 * taken. */
#include "plan_state.h"

#include <stdlib.h>

#define GAIN_LEAST 0.2 /* seconds that the end must come nearer for a part to be worth its import */
#define PATIENCE   3   /* tests that each held bundle may tell of before an answer is overdue */
#define IN_A_FILE  0.8 /* what a gain counts when it costs one more import of a file */

/* --- calling back --- */

/* The last bundle in the host's line that no runner can have yet, as far as can be known here. */
static struct task *waiting_task(const struct pt_plan *plan, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    if (host->held - host->queued - host->asked <= host->slots)
        return NULL;
    for (struct task *task = host->holds.tail; task; task = task->prev)
        if (!task->recalled && !task->kept && !task->loot && !task->twin && task->rank == PT_NONE &&
            pt_plan_is_plain(task->line) && task->untold == task->last->ntests &&
            pt_plan_idle_for(plan, task->line, number) != PT_NONE)
            return task;
    return NULL;
}

struct task *pt_plan_recallable(const struct pt_plan *plan)
{
    struct task *best = NULL;
    double most = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *h = &plan->hosts[i];
        double load = h->slots ? (double)(h->held - h->queued - h->asked) / h->slots : h->held;
        struct task *task = load > most ? waiting_task(plan, i) : NULL;
        if (task) {
            best = task;
            most = load;
        }
    }
    return best;
}

int pt_plan_recall(struct pt_plan *plan, uint32_t *host, uint32_t *bundle)
{
    if (plan->stopped)
        return 0;
    struct task *task = pt_plan_left_behind(plan);
    if (!task && plan->asked < pt_plan_free_slots(plan))
        task = pt_plan_recallable(plan);
    if (!task)
        return 0;
    task->recalled = true;
    plan->asked++;
    *host = task->last->host;
    *bundle = task->number;
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

/* --- taking a part --- */

uint32_t pt_plan_untold_tail(struct pt_plan *plan, const struct task *task)
{
    uint32_t n = 0;
    const struct pt_bundle *bundle = &task->last->bundle;
    for (uint32_t f = 0; f < bundle->nfiles; f++) {
        for (uint32_t i = 0; i < bundle->files[f].ntests; i++) {
            uint32_t number = bundle->files[f].tests[i].test;
            const struct test *test = &plan->tests[number];
            if (test->told && test->bundle == task->number)
                n = 0;
            else if (!test->told && test->bundle == task->number)
                plan->scratch[n++] = number;
        }
    }
    return n;
}

static bool is_border(const struct pt_plan *plan, uint32_t i)
{
    return !plan->tests[plan->scratch[i]].joined;
}

static bool is_file_border(const struct pt_plan *plan, uint32_t i)
{
    const struct test *a = &plan->tests[plan->scratch[i - 1]];
    const struct test *b = &plan->tests[plan->scratch[i]];
    if (a->piece == b->piece && a->piece->nfiles == 1)
        return false;
    const char *last = a->piece->files[a->piece->nfiles - 1].path;
    return a->piece == b->piece || last != b->piece->files[0].path;
}

/* Where the part begins that is best taken, of n tests in scratch; n: nowhere. The atom that runs and the one
 * after it stay. */
static uint32_t best_border(const struct pt_plan *plan, uint32_t n)
{
    double work = 0;
    double before = 0;
    double most = 0;
    uint32_t best = n;
    uint32_t borders = 0;
    for (uint32_t i = 0; i < n; i++)
        work += pt_plan_test_work(plan, plan->scratch[i]);
    for (uint32_t i = 0; i < n; i++) {
        borders += i > 0 && is_border(plan, i);
        double after = work - before;
        double gain = before < after ? before : after;
        before += pt_plan_test_work(plan, plan->scratch[i]);
        if (i == 0 || borders < 2 || !is_border(plan, i) || gain < GAIN_LEAST)
            continue;
        gain *= is_file_border(plan, i) ? 1.0 : IN_A_FILE;
        if (gain > most) {
            most = gain;
            best = i;
        }
    }
    return best;
}

/* leaves: of hosts that leave, whether a slot idles or not. */
static struct task *richest(const struct pt_plan *plan, bool leaves)
{
    struct task *best = NULL;
    for (uint32_t h = 0; h < plan->spec.hosts; h++) {
        if (plan->hosts[h].alone || (leaves && !plan->hosts[h].leaves))
            continue;
        for (struct task *task = plan->hosts[h].holds.head; task; task = task->next)
            if (!task->firm && !task->recalled && !task->loot && !task->twin && task->rank == PT_NONE &&
                task->untold > 2 && pt_plan_is_plain(task->line) && (!best || task->left > best->left) &&
                (leaves || pt_plan_idle_for(plan, task->line, PT_NONE) != PT_NONE))
                best = task;
    }
    return best;
}

static struct task *victim(struct pt_plan *plan, bool leaves, uint32_t *n)
{
    struct task *task;
    while ((task = richest(plan, leaves))) {
        if (pt_plan_scratch(plan, task->last->ntests))
            return NULL;
        uint32_t untold = pt_plan_untold_tail(plan, task);
        uint32_t from = best_border(plan, untold);
        *n = untold - from;
        for (uint32_t i = 0; i < *n; i++)
            plan->scratch[i] = plan->scratch[from + i];
        if (*n > 0)
            return task;
        task->firm = true; /* less and less is left */
    }
    return NULL;
}

struct task *pt_plan_victim(struct pt_plan *plan, uint32_t *n)
{
    return victim(plan, false, n);
}

void pt_plan_note_overdue(struct pt_plan *plan)
{
    for (uint32_t h = 0; plan->asked > 0 && h < plan->spec.hosts; h++) {
        for (struct task *task = plan->hosts[h].holds.head; task; task = task->next) {
            if (!task->loot || task->overdue || plan->events - task->asked_at <= PATIENCE * plan->held)
                continue;
            task->overdue = true;
            plan->asked--;
        }
    }
}

/* The first n numbers in scratch are asked for; false: no memory. */
static bool ask(struct pt_plan *plan, struct task *task, uint32_t n)
{
    uint32_t *asked = malloc(n * sizeof(*asked));
    struct task *loot = asked ? pt_plan_task_create(plan) : NULL;
    if (!loot) {
        free(asked);
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        asked[i] = plan->scratch[i];
    task->loot = loot;
    task->asked = asked;
    task->nasked = n;
    task->asked_at = plan->events;
    task->overdue = false;
    plan->asked++;
    return true;
}

int pt_plan_steal(struct pt_plan *plan, struct pt_plan_steal *steal)
{
    uint32_t n;
    plan->thefts = true;
    if (plan->stopped || plan->spec.schedule != PT_SCHEDULE_DYNAMIC)
        return 0;
    pt_plan_note_overdue(plan);
    struct task *task = pt_plan_leaves(plan) ? victim(plan, true, &n) : NULL;
    if (!task && plan->asked < pt_plan_free_slots(plan))
        task = pt_plan_victim(plan, &n);
    if (!task || !ask(plan, task, n))
        return 0;
    *steal = (struct pt_plan_steal){
        .host = task->last->host, .bundle = task->number, .tests = task->asked, .n = n};
    return 1;
}

/* Is each of them one that was asked for, and there once? */
static bool is_answer(struct pt_plan *plan, const struct task *task, const uint32_t *tests, uint32_t n)
{
    uint32_t good = 0;
    for (uint32_t i = 0; i < task->nasked; i++)
        plan->tests[task->asked[i]].asked = true;
    for (; good < n && tests[good] < plan->ntests && plan->tests[tests[good]].asked; good++)
        plan->tests[tests[good]].asked = false;
    for (uint32_t i = 0; i < task->nasked; i++)
        plan->tests[task->asked[i]].asked = false;
    return good == n;
}

bool pt_plan_stolen(struct pt_plan *plan, uint32_t host, uint32_t bundle, uint32_t attempt,
                    const uint32_t *tests, uint32_t n)
{
    struct task *task = pt_plan_held_task(plan, host, bundle);
    if (!task || !task->loot || task->last->bundle.attempt != attempt || !is_answer(plan, task, tests, n))
        return false;
    struct task *to = task->twin ? task->twin : task->loot;
    if (!task->twin) {
        to->line = task->line;
        to->pieces = task->pieces;
    }
    uint32_t moved = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct test *test = &plan->tests[tests[i]];
        if (test->told || test->bundle != task->number) /* or its copy had it, and it runs again */
            continue;
        double work = pt_plan_test_work(plan, tests[i]);
        test->bundle = to->number;
        to->untold++;
        task->untold--;
        task->left -= work;
        to->expected += task->twin ? 0 : work;
        moved++;
    }
    task->firm = task->firm || moved == 0;
    pt_plan_end_steal(plan, task);
    return true;
}
