/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that come late, and hosts that leave while others go on. */
#include "plan_state.h"

uint32_t pt_plan_add_host(struct pt_plan *plan)
{
    if (plan->spec.more == 0 || plan->spec.schedule != PT_SCHEDULE_DYNAMIC)
        return PT_NONE;
    plan->spec.more--;
    plan->hosts[plan->spec.hosts] = (struct host){.judged = plan->spec.apart};
    pt_plan_hosts_changed(plan);
    return plan->spec.hosts++;
}

/* --- leaving --- */

static bool any_stranded(const struct pt_plan *plan, const struct queue *q)
{
    for (const struct task *task = q->head; task; task = task->next)
        if (task->untold > 0 && !pt_plan_line_stands(plan, task->line))
            return true;
    return false;
}

/* Has something that waits, or that the host holds, nowhere to go? */
static bool strands(struct pt_plan *plan, const struct host *host)
{
    for (struct pt_plan_line *line = plan->lines; line; line = line->next)
        if (pt_plan_line_waits(line) && !pt_plan_line_stands(plan, line))
            return true;
    return any_stranded(plan, &host->holds) || any_stranded(plan, &plan->suspects);
}

bool pt_plan_drain(struct pt_plan *plan, uint32_t number)
{
    if (number >= plan->spec.hosts)
        return false;
    struct host *host = &plan->hosts[number];
    const struct host before = *host;
    host->slots = host->expect = 0;
    host->leaves = host->never = host->told_expect = true;
    pt_plan_hosts_changed(plan);
    if (!strands(plan, host))
        return true;
    *host = before;
    pt_plan_hosts_changed(plan);
    return false;
}

bool pt_plan_leaves(const struct pt_plan *plan)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (plan->hosts[i].leaves && plan->hosts[i].held > 0)
            return true;
    return false;
}

/* One of which nothing was heard; if a runner has it, the answer is that it came too late. */
static bool may_wait(const struct task *task)
{
    return !task->recalled && !task->kept && !task->loot && !task->twin && task->rank == PT_NONE &&
           pt_plan_is_plain(task->line) && task->untold == task->last->ntests && task->last->begun == PT_NONE;
}

struct task *pt_plan_left_behind(const struct pt_plan *plan)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        if (!plan->hosts[i].leaves)
            continue;
        for (struct task *task = plan->hosts[i].holds.tail; task; task = task->prev)
            if (may_wait(task))
                return task;
    }
    return NULL;
}

bool pt_plan_is_free(const struct pt_plan *plan, uint32_t host)
{
    return host >= plan->spec.hosts || (plan->hosts[host].held == 0 && plan->hosts[host].load == 0);
}
