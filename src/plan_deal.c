/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_state.h"

/* Take the next of the line and deal it to that host; without memory it waits on. */
static int deal_to(struct pt_plan *plan, struct pt_plan_line *line, uint32_t host, struct pt_plan_deal *deal,
                   struct pt_err *err)
{
    int rc = 0;
    struct task *task = pt_plan_line_take(plan, line, pt_plan_line_size(plan, line), &rc);
    if (!task)
        return rc < 0 ? pt_plan_no_memory(err) : 0;
    rc = pt_plan_hold(plan, host, task, deal, err);
    if (rc < 0)
        queue_add_first(&line->back, task);
    return rc;
}

static int deal_line(struct pt_plan *plan, struct pt_plan_line *line, struct pt_plan_deal *deal,
                     struct pt_err *err)
{
    if (!pt_plan_line_waits(line))
        return 0;
    enum pt_plan_way way = pt_plan_way(plan, line);
    if (way != PT_PLAN_WAY_ONE)
        return way == PT_PLAN_WAY_SPREAD ? pt_plan_deal_spread(plan, line, deal, err) : 0;
    uint32_t host = pt_plan_room_for(plan, line, line->back.head ? line->back.head->avoid : PT_NONE);
    if (host != PT_NONE)
        return deal_to(plan, line, host, deal, err);
    if (line->exclusive == PT_EXCLUSIVE_NOT ? line->weight > 1 : line->ranks == PT_PLAN_ALL)
        pt_plan_reserve(plan, line);
    return 0;
}

static int deal_lines(struct pt_plan *plan, bool run, struct pt_plan_deal *deal, struct pt_err *err)
{
    int rc = 0;
    for (struct pt_plan_line *line = plan->lines; line && rc == 0; line = line->next)
        if ((line->exclusive == PT_EXCLUSIVE_RUN) == run)
            rc = deal_line(plan, line, deal, err);
    return rc;
}

/* --- one after the other --- */

/* The first host that can take what is first in line, or several together; a slot that nobody chose is slot
 * 0.
 */
static int deal_sequence(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    int rc = 0;
    struct pt_plan_line *all = &plan->sequence;
    struct pt_plan_spread hosts;
    if (plan->held > 0)
        return 0;
    struct task *task = pt_plan_line_take(plan, all, pt_plan_line_size(plan, all), &rc);
    if (!task)
        return rc < 0 ? pt_plan_no_memory(err) : plan->collected ? pt_plan_deal_suspect(plan, deal, err) : 0;
    if (task->rank == PT_NONE)
        task->rank = 0;
    if (pt_plan_find_alone(plan, task, &hosts))
        rc = pt_plan_hold_alone(plan, &hosts, task, deal, err);
    if (rc <= 0)
        queue_add_first(&all->back, task);
    return rc;
}

/* --- next --- */

static int deal_on_demand(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        plan->hosts[i].reserved = 0;
    plan->gather.on = false;
    int rc = pt_plan_deal_suspect(plan, deal, err);
    if (rc == 0)
        rc = pt_plan_deal_pinned(plan, deal, err);
    if (rc == 0)
        rc = deal_lines(plan, false, deal, err);
    if (rc || !plan->collected)
        return rc;
    rc = pt_plan_deal_pinned_run(plan, deal, err);
    if (rc == 0)
        rc = deal_lines(plan, true, deal, err);
    return rc ? rc : pt_plan_deal_copy(plan, deal, err);
}

int pt_plan_next(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    if (plan->stopped || plan->hush)
        return 0;
    pt_plan_suspects_settle(plan);
    if (plan->spec.schedule == PT_SCHEDULE_SEQUENTIAL)
        return deal_sequence(plan, deal, err);
    if (plan->spec.schedule == PT_SCHEDULE_STATIC && !plan->packed) {
        int rc = pt_plan_pack(plan, err);
        if (rc <= 0)
            return rc;
    }
    return deal_on_demand(plan, deal, err);
}
