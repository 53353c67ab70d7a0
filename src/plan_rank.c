/* SPDX-License-Identifier: Apache-2.0 */
/* Work pinned to one slot: each has a line of its own, dealt in order, one at work and at most one behind. */
#include "plan_state.h"

#include <stdlib.h>

struct rank *pt_plan_rank(const struct host *host, uint32_t rank)
{
    for (uint32_t i = 0; i < host->nranks; i++)
        if (host->ranks[i].rank == rank)
            return &host->ranks[i];
    return NULL;
}

struct rank *pt_plan_rank_get(struct host *host, uint32_t rank)
{
    struct rank *found = pt_plan_rank(host, rank);
    if (found)
        return found;
    if (host->nranks == host->rank_cap) {
        uint32_t cap = host->rank_cap ? 2 * host->rank_cap : 8;
        struct rank *ranks = realloc(host->ranks, cap * sizeof(*ranks));
        if (!ranks)
            return NULL;
        host->ranks = ranks;
        host->rank_cap = cap;
    }
    host->ranks[host->nranks] = (struct rank){.rank = rank};
    return &host->ranks[host->nranks++];
}

bool pt_plan_rank_stands(const struct pt_plan *plan, const struct task *task)
{
    const struct host *host = &plan->hosts[task->host];
    if (host->slots > 0)
        return pt_plan_rank_is_there(task->rank, host->slots) && task->line->weight <= host->slots;
    return !host->never;
}

void pt_plan_rank_add(struct pt_plan *plan, struct task *task, bool first)
{
    struct queue *line = &pt_plan_rank(&plan->hosts[task->host], task->rank)->line;
    struct task *behind = line->head;
    while (!first && behind && behind->place < task->place)
        behind = behind->next;
    queue_add_before(line, task, behind);
}

void pt_plan_ranks_free(struct pt_plan *plan, uint32_t host)
{
    for (uint32_t i = 0; i < plan->hosts[host].nranks; i++) {
        struct queue *line = &plan->hosts[host].ranks[i].line;
        for (struct task *next, *task = line->head; task; task = next) {
            next = task->next;
            if (!task->packed || pt_plan_rank_stands(plan, task))
                continue;
            queue_remove(line, task);
            pt_plan_unpack(task);
            queue_add(&task->line->back, task);
        }
    }
}

bool pt_plan_ranks_wait(const struct pt_plan *plan)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        for (uint32_t r = 0; r < plan->hosts[i].nranks; r++)
            if (pt_plan_head(&plan->hosts[i].ranks[r].line))
                return true;
    return false;
}

/* --- dealing --- */

enum turn { TURN_HEAVY, TURN_FREE, TURN_BEHIND, TURN_RUN };

/* May this one go now? A heavy one that finds no room has its host drained. Of several ranks, those of
 * another line do not pass it. */
static bool has_turn(struct pt_plan *plan, uint32_t number, const struct rank *rank, const struct task *task,
                     enum turn turn)
{
    struct host *host = &plan->hosts[number];
    bool plain = pt_plan_is_plain(task->line);
    bool heavy = !plain && (task->line->exclusive == PT_EXCLUSIVE_NOT || pt_plan_is_group(task->line));
    uint32_t width = pt_plan_width(task->line, host);
    if (turn == TURN_BEHIND)
        return plain && rank->held == 1 && !host->reserved && host->heavy == 0 && !host->alone && !plan->hush;
    heavy = heavy && task->line->exclusive != PT_EXCLUSIVE_RUN;
    if (rank->held > 0 || heavy != (turn == TURN_HEAVY) ||
        (task->line->exclusive == PT_EXCLUSIVE_RUN) != (turn == TURN_RUN))
        return false;
    if (pt_plan_room(plan, task->line, number, 0) && pt_plan_spares(plan, number, width))
        return true;
    if (heavy)
        pt_plan_keep(host, width, width);
    return false;
}

/* One that its host takes together with others. */
static int deal_spread(struct pt_plan *plan, struct rank *rank, struct task *task, enum turn turn,
                       struct pt_plan_deal *deal, struct pt_err *err)
{
    struct pt_plan_spread hosts;
    if (rank->held > 0 || turn != (task->line->exclusive == PT_EXCLUSIVE_RUN ? TURN_RUN : TURN_HEAVY))
        return 0;
    if (!pt_plan_spread_now(plan, task->line, false, &hosts)) {
        pt_plan_gather(plan, task->line);
        return 0;
    }
    queue_remove(&rank->line, task);
    int rc = pt_plan_hold_spread(plan, &hosts, task, deal, err);
    if (rc < 0)
        queue_add_first(&rank->line, task);
    return rc;
}

static int deal_turn(struct pt_plan *plan, uint32_t number, enum turn turn, struct pt_plan_deal *deal,
                     struct pt_err *err)
{
    const struct host *host = &plan->hosts[number];
    for (uint32_t i = 0; i < host->nranks; i++) {
        struct rank *rank = &host->ranks[i];
        struct task *task = pt_plan_head(&rank->line);
        if (!task || !pt_plan_rank_is_there(rank->rank, host->slots))
            continue;
        if (!task->packed && pt_plan_way(plan, task->line) == PT_PLAN_WAY_SPREAD) {
            int rc = deal_spread(plan, rank, task, turn, deal, err);
            if (rc)
                return rc;
            continue;
        }
        if (!pt_plan_may(plan, task->line, number) || !has_turn(plan, number, rank, task, turn))
            continue;
        queue_remove(&rank->line, task);
        int rc = pt_plan_hold(plan, number, task, deal, err);
        if (rc < 0)
            queue_add_first(&rank->line, task);
        return rc;
    }
    return 0;
}

static int deal_turns(struct pt_plan *plan, enum turn turn, struct pt_plan_deal *deal, struct pt_err *err)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        int rc = plan->hosts[i].nranks > 0 ? deal_turn(plan, i, turn, deal, err) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

int pt_plan_deal_pinned(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    int rc = deal_turns(plan, TURN_HEAVY, deal, err);
    if (rc == 0)
        rc = deal_turns(plan, TURN_FREE, deal, err);
    return rc ? rc : deal_turns(plan, TURN_BEHIND, deal, err);
}

int pt_plan_deal_pinned_run(struct pt_plan *plan, struct pt_plan_deal *deal, struct pt_err *err)
{
    return deal_turns(plan, TURN_RUN, deal, err);
}
