/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_state.h"

#define LEFT_MAX 65536 /* bundles that a host may hold beyond its slots when work is to be left with it */

bool pt_plan_may(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    return host->slots > 0 && line->weight <= host->slots && (host->labels & line->needs) == line->needs &&
           (line->host == PT_NONE || line->host == number);
}

bool pt_plan_room(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number,
                  uint32_t ahead)
{
    const struct host *host = &plan->hosts[number];
    if (host->alone || plan->hush)
        return false;
    if (line->exclusive == PT_EXCLUSIVE_RUN)
        return plan->held == 0;
    if (line->exclusive == PT_EXCLUSIVE_HOST)
        return host->load == 0;
    if (line->weight > 1 || host->heavy > 0)
        return host->load + line->weight <= host->slots;
    return host->held - host->queued < (uint64_t)host->slots + ahead;
}

/* Is there less at that host than shall be left with it? */
static bool leaves_little(const struct pt_plan *plan, const struct host *host)
{
    double seconds = 0;
    for (const struct task *task = host->holds.head; task; task = task->next)
        if (pt_plan_is_plain(task->line))
            seconds += task->left;
    return seconds < plan->spec.leave * host->slots;
}

/* How many bundles a host may hold beyond its slots: many only while much waits. */
static uint32_t ahead(struct pt_plan *plan, struct pt_plan_line *line, const struct host *host)
{
    if (plan->spec.leave > 0 && leaves_little(plan, host))
        return LEFT_MAX;
    double size = pt_plan_line_size(plan, line);
    double slots = line->slots;
    if ((double)line->pool.live >= 2 * slots && pt_plan_pool_left(&line->pool) >= 2 * slots * size)
        return host->slots;
    return host->slots >= 8 ? host->slots / 4 : 1;
}

uint64_t pt_plan_lighter(const struct pt_plan *plan, uint32_t number, uint32_t weight)
{
    uint64_t slots = 0;
    for (const struct task *task = plan->hosts[number].holds.head; task; task = task->next)
        if (task->line->weight < weight)
            slots += task->last->bundle.nspread ? pt_plan_share(task, number) : task->line->weight;
    for (const struct task *task = plan->spread; task; task = task->next_spread)
        if (task->line->weight < weight && task->last->host != number)
            slots += pt_plan_share(task, number);
    return slots;
}

bool pt_plan_spares(const struct pt_plan *plan, uint32_t number, uint32_t weight)
{
    const struct host *host = &plan->hosts[number];
    return host->reserved == 0 ||
           weight + pt_plan_lighter(plan, number, host->bulk) + host->reserved <= host->slots;
}

static bool is_idle(const struct host *host)
{
    return host->load - host->queued < host->slots;
}

uint32_t pt_plan_room_for(struct pt_plan *plan, struct pt_plan_line *line, uint32_t avoid)
{
    uint32_t best = PT_NONE;
    double least = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        if (!pt_plan_may(plan, line, i) ||
            !pt_plan_room(plan, line, i, plan->spec.leave > 0 ? LEFT_MAX : host->slots) ||
            !pt_plan_spares(plan, i, pt_plan_width(line, host)))
            continue;
        double load = (double)(host->load - host->queued) / host->slots;
        bool rather = best == avoid && is_idle(host);
        if (best == PT_NONE || rather || (load < least && !(i == avoid && is_idle(&plan->hosts[best])))) {
            best = i;
            least = load;
        }
    }
    if (best == PT_NONE || is_idle(&plan->hosts[best]))
        return best;
    return pt_plan_room(plan, line, best, ahead(plan, line, &plan->hosts[best])) ? best : PT_NONE;
}

uint32_t pt_plan_idle_for(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t except)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (i != except && !plan->hosts[i].reserved && pt_plan_may(plan, line, i) &&
            pt_plan_room(plan, line, i, 0))
            return i;
    return PT_NONE;
}

uint32_t pt_plan_free_slots(const struct pt_plan *plan)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < plan->spec.hosts && !plan->hush; i++) {
        const struct host *host = &plan->hosts[i];
        if (!host->alone && !host->reserved && is_idle(host))
            n += host->slots - (host->load - host->queued);
    }
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

void pt_plan_reserve(struct pt_plan *plan, const struct pt_plan_line *line)
{
    struct host *best = NULL;
    double most = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        struct host *host = &plan->hosts[i];
        double room = (double)host->slots - (double)host->load;
        if (host->reserved || !pt_plan_may(plan, line, i))
            continue;
        if (!best || room > most) {
            best = host;
            most = room;
        }
    }
    if (best)
        pt_plan_keep(best, pt_plan_width(line, best), pt_plan_width(line, best));
}
