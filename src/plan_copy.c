/* SPDX-License-Identifier: Apache-2.0 */
/* Speculation: what holds up the end of the run is dealt a second time, as a bundle of its own number. Both
 * holders may tell its tests; when one is through, the other is surplus. */
#include "plan_state.h"

static bool anything_waits(struct pt_plan *plan)
{
    for (struct pt_plan_line *line = plan->lines; line; line = line->next)
        if (pt_plan_line_waits(line))
            return true;
    return pt_plan_head(&plan->suspects) || pt_plan_ranks_wait(plan);
}

/* The bundle that was not heard of for longest and that an idle slot could take. */
static struct task *straggler(const struct pt_plan *plan)
{
    struct task *best = NULL;
    for (uint32_t h = 0; h < plan->spec.hosts; h++) {
        if (plan->hosts[h].alone)
            continue;
        for (struct task *task = plan->hosts[h].holds.head; task; task = task->next)
            if (!task->twin && task->rank == PT_NONE && task->untold > 0 && pt_plan_is_plain(task->line) &&
                (!best || task->since < best->since) &&
                pt_plan_idle_for(plan, task->line, PT_NONE) != PT_NONE)
                best = task;
    }
    return best;
}

/* In a copy the atom that the first holder is at comes last: it may be what takes so long, and what comes
 * after it need not wait for it twice. */
static void mark_last(struct pt_plan *plan, const struct task *task, bool last)
{
    uint32_t n = pt_plan_untold_tail(plan, task);
    for (uint32_t i = 0; i < n && (i == 0 || plan->tests[plan->scratch[i]].joined); i++)
        plan->tests[plan->scratch[i]].last = last;
}

static int deal_copy_of(struct pt_plan *plan, struct task *task, struct pt_plan_deal *deal,
                        struct pt_err *err)
{
    struct task *copy = pt_plan_scratch(plan, task->last->ntests) ? NULL : pt_plan_task_create(plan);
    if (!copy)
        return pt_plan_no_memory(err);
    uint32_t host = pt_plan_idle_for(plan, task->line, task->last->host);
    copy->family = task->family;
    copy->line = task->line;
    copy->pieces = task->pieces;
    copy->expected = task->left;
    mark_last(plan, task, true);
    int rc = pt_plan_hold(plan, host != PT_NONE ? host : task->last->host, copy, deal, err);
    mark_last(plan, task, false);
    if (rc < 0) {
        pt_plan_task_spare(plan, copy);
        return -1;
    }
    copy->twin = task;
    task->twin = copy;
    deal->copy = true;
    return 1;
}

int pt_plan_deal_copy(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    uint32_t n;
    if (!plan->spec.speculate || plan->spec.schedule != PT_SCHEDULE_DYNAMIC)
        return 0;
    pt_plan_note_overdue(plan);
    if (plan->asked > 0 || pt_plan_free_slots(plan) == 0 || anything_waits(plan) ||
        pt_plan_recallable(plan) || (plan->thefts && pt_plan_victim(plan, &n)))
        return 0;
    struct task *task = straggler(plan);
    return task ? deal_copy_of(plan, task, deal, err) : 0;
}

void pt_plan_leave_to_twin(struct pt_plan *plan, struct task *task)
{
    struct task *twin = task->twin;
    for (const struct pt_plan_piece *p = task->pieces; p; p = p->next) {
        for (uint32_t i = 0; i < p->ntests; i++) {
            struct test *test = &plan->tests[p->tests[i].test];
            if (!test->told && test->bundle == task->number)
                test->bundle = twin->number;
        }
    }
    twin->untold += task->untold;
    task->untold = 0;
    task->twin = twin->twin = NULL;
    if (twin->untold == 0) {
        twin->surplus = true;
        plan->surplus++;
    }
}

int pt_plan_drop(struct pt_plan *plan, uint32_t *host, uint32_t *bundle)
{
    for (uint32_t h = 0; plan->surplus > 0 && h < plan->spec.hosts; h++) {
        for (struct task *task = plan->hosts[h].holds.head; task; task = task->next) {
            if (!task->surplus)
                continue;
            task->surplus = false;
            plan->surplus--;
            *host = h;
            *bundle = task->number;
            return 1;
        }
    }
    return 0;
}
