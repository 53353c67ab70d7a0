/* SPDX-License-Identifier: Apache-2.0 */
/* What is dealt to hosts that have nothing else to do: suspects, and everything in a sequential run. */
#include "plan_state.h"

/* Is it up, and the task's to be on? */
static bool may_have(const struct pt_plan *plan, const struct task *task, uint32_t i)
{
    return pt_plan_may(plan, task->line, i) && (task->host == PT_NONE || i == task->host) &&
           pt_plan_rank_is_there(task->rank, plan->hosts[i].slots);
}

static bool is_idle_for(const struct pt_plan *plan, const struct task *task, uint32_t i)
{
    return plan->hosts[i].load == 0 && may_have(plan, task, i) && pt_plan_room(plan, task->line, i, 0);
}

/* Of the others that it may have, the one that is soonest idle; PT_NONE: there is none. */
static uint32_t another(const struct pt_plan *plan, const struct task *task)
{
    uint32_t best = PT_NONE;
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (i != task->avoid && may_have(plan, task, i) &&
            (best == PT_NONE || plan->hosts[i].load < plan->hosts[best].load))
            best = i;
    return best;
}

/* A host that died over this while nothing else was there is not to be the one that proves it. */
static bool is_barred(const struct pt_plan *plan, const struct task *task)
{
    return task->isolated && task->avoid != PT_NONE && another(plan, task) != PT_NONE;
}

static uint32_t host_alone(const struct pt_plan *plan, const struct task *task)
{
    uint32_t avoid = plan->spec.schedule == PT_SCHEDULE_SEQUENTIAL ? PT_NONE : task->avoid;
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (i != avoid && is_idle_for(plan, task, i))
            return i;
    return avoid != PT_NONE && !is_barred(plan, task) && is_idle_for(plan, task, avoid) ? avoid : PT_NONE;
}

void pt_plan_drain_alone(struct pt_plan *plan, const struct task *task)
{
    uint32_t i = is_barred(plan, task) && pt_plan_way(plan, task->line) == PT_PLAN_WAY_ONE
                     ? another(plan, task)
                     : PT_NONE;
    if (i != PT_NONE)
        pt_plan_keep(&plan->hosts[i], plan->hosts[i].slots, plan->hosts[i].slots);
}

bool pt_plan_find_alone(const struct pt_plan *plan, const struct task *task, struct pt_plan_spread *out)
{
    enum pt_plan_way way = pt_plan_way(plan, task->line);
    if (way == PT_PLAN_WAY_SPREAD)
        return pt_plan_spread_now(plan, task->line, true, out);
    uint32_t host = way == PT_PLAN_WAY_ONE ? host_alone(plan, task) : PT_NONE;
    *out = (struct pt_plan_spread){.n = 1, .shares = {{.host = host}}};
    return host != PT_NONE;
}

int pt_plan_hold_alone(struct pt_plan *plan, const struct pt_plan_spread *hosts, struct task *task,
                       struct pt_plan_deal *deal, struct pt_err *err)
{
    return hosts->n > 1 ? pt_plan_hold_spread(plan, hosts, task, deal, err)
                        : pt_plan_hold(plan, hosts->shares[0].host, task, deal, err);
}

int pt_plan_deal_suspect(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    struct pt_plan_spread hosts;
    int rc = 0;
    struct task *task = pt_plan_suspect_take(plan, &hosts, &rc);
    if (!task)
        return rc < 0 ? pt_plan_no_memory(err) : 0;
    rc = pt_plan_hold_alone(plan, &hosts, task, deal, err);
    if (rc < 0) {
        queue_add_first(&plan->suspects, task);
        return rc;
    }
    task->isolated = deal->alone = true;
    for (uint32_t i = 0; i < hosts.n; i++)
        plan->hosts[hosts.shares[i].host].alone = true;
    return rc;
}
