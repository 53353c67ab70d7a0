/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles that several hosts run together: dealt, held, broken. */
#include "plan_state.h"

#define SPREAD_LEAST 2.0 /* seconds of a bundle that are worth an mpirun over several hosts */

/* --- dealing --- */

int pt_plan_deal_spread(struct pt_plan *plan, struct pt_plan_line *line, struct pt_plan_deal *deal,
                        struct pt_err *err)
{
    struct pt_plan_spread hosts;
    int rc = 0;
    if (!pt_plan_spread_now(plan, line, false, &hosts)) {
        pt_plan_gather(plan, line);
        return 0;
    }
    double size = pt_plan_line_size(plan, line);
    struct task *task = pt_plan_line_take(plan, line, size > SPREAD_LEAST ? size : SPREAD_LEAST, &rc);
    if (!task)
        return rc < 0 ? pt_plan_no_memory(err) : 0;
    rc = pt_plan_hold_spread(plan, &hosts, task, deal, err);
    if (rc < 0)
        queue_add_first(&line->back, task);
    return rc;
}

/* --- holding --- */

uint32_t pt_plan_share(const struct task *task, uint32_t host)
{
    const struct attempt *try = task->last;
    for (uint32_t i = 0; i < try->bundle.nspread; i++)
        if (try->bundle.spread[i].host == host)
            return try->gone >> i & 1 ? 0 : try->bundle.spread[i].ranks;
    return 0;
}

static void give(struct host *host, uint32_t ranks)
{
    host->load -= ranks;
    host->heavy--;
    if (host->load == 0)
        host->alone = false;
}

void pt_plan_spread_load(struct pt_plan *plan, struct task *task, bool back)
{
    const struct attempt *try = task->last;
    struct task **at = &plan->spread;
    while (back && *at != task)
        at = &(*at)->next_spread;
    task->next_spread = back ? task->next_spread : *at;
    *at = back ? task->next_spread : task;
    for (uint32_t i = 1; i < try->bundle.nspread; i++) {
        struct host *host = &plan->hosts[try->bundle.spread[i].host];
        if (back && !(try->gone >> i & 1)) {
            give(host, try->bundle.spread[i].ranks);
        } else if (!back) {
            host->load += try->bundle.spread[i].ranks;
            host->heavy++;
            host->alone = host->alone || task->line->exclusive != PT_EXCLUSIVE_NOT;
        }
    }
}

/* --- a host is lost --- */

struct task *pt_plan_break(struct pt_plan *plan, uint32_t host, bool *news)
{
    struct task *task = plan->spread;
    uint32_t ranks = 0;
    while (task && (task->last->host == host || !(ranks = pt_plan_share(task, host))))
        task = task->next_spread;
    if (!task)
        return NULL;
    struct attempt *try = task->last;
    uint32_t i = 1;
    while (try->bundle.spread[i].host != host)
        i++;
    *news = try->gone == 0;
    try->gone |= UINT64_C(1) << i;
    give(&plan->hosts[host], ranks);
    if (*news) {
        task->surplus = true;
        plan->surplus++;
    }
    return task;
}
