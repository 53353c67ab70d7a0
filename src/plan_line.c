/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_state.h"

#include <stdlib.h>

static uint32_t bits(uint64_t set)
{
    uint32_t n = 0;
    for (; set; set &= set - 1)
        n++;
    return n;
}

/* Is a harder to place than b? */
static bool is_harder(const struct pt_plan_line *a, const struct pt_plan_line *b)
{
    if (a->exclusive != b->exclusive)
        return a->exclusive > b->exclusive;
    if (a->weight != b->weight)
        return a->weight > b->weight;
    if ((a->host == PT_NONE) != (b->host == PT_NONE))
        return b->host == PT_NONE;
    return bits(a->needs) > bits(b->needs);
}

static bool is_same(const struct pt_plan_line *line, const struct pt_plan_line *like)
{
    return line->needs == like->needs && line->weight == like->weight && line->host == like->host &&
           line->exclusive == like->exclusive;
}

struct pt_plan_line *pt_plan_line_get(struct pt_plan *plan, const struct pt_plan_unit *unit)
{
    struct pt_plan_line like = {.needs = unit->needs,
                                .weight = unit->weight ? unit->weight : 1,
                                .host = unit->host,
                                .exclusive = unit->exclusive,
                                .pool = {.known = &plan->known, .in_order = plan->spec.in_order}};
    struct pt_plan_line **at = &plan->lines;
    while (*at && !is_same(*at, &like))
        at = &(*at)->next;
    if (*at)
        return *at;
    struct pt_plan_line *line = malloc(sizeof(*line));
    if (!line)
        return NULL;
    for (at = &plan->lines; *at && !is_harder(&like, *at);)
        at = &(*at)->next;
    *line = like;
    line->next = *at;
    *at = line;
    plan->unsure = true;
    return line;
}

bool pt_plan_line_waits(struct pt_plan_line *line)
{
    return pt_plan_head(&line->back) || line->pool.live > 0;
}

static uint32_t slots_of(struct pt_plan *plan, struct pt_plan_line *line)
{
    if (line->version == plan->version && line->slots > 0)
        return line->slots;
    uint64_t slots = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        if ((host->labels & line->needs) == line->needs && (line->host == PT_NONE || line->host == i))
            slots += host->slots > host->expect ? host->slots : host->expect;
    }
    line->version = plan->version;
    line->slots = slots < 1 ? 1 : slots > UINT32_MAX ? UINT32_MAX : (uint32_t)slots;
    return line->slots;
}

double pt_plan_line_size(struct pt_plan *plan, struct pt_plan_line *line)
{
    bool sequential = line == &plan->sequence;
    double slots = sequential ? 1 : slots_of(plan, line);
    double size = pt_plan_pool_total(&line->pool) / (slots * plan->spec.bundles_per_worker);
    double share = pt_plan_pool_left(&line->pool) / (2 * slots);
    if (share >= size || plan->spec.schedule != PT_SCHEDULE_DYNAMIC)
        return size;
    return share > size / 2 ? share : size / 2;
}

/* Pieces that were told of before they were dealt are passed over. */
static bool take_untold(struct pt_plan *plan, struct pt_plan_line *line, double size, struct task *task)
{
    struct pt_plan_piece *pieces;
    while ((pieces = pt_plan_pool_take(&line->pool, size))) {
        pt_plan_task_fill(plan, task, pieces);
        task->rank = pieces->rank;
        task->host = pieces->line->host;
        if (task->untold > 0)
            return true;
        task->expected = 0;
    }
    return false;
}

struct task *pt_plan_line_take(struct pt_plan *plan, struct pt_plan_line *line, double size, int *rc)
{
    struct task *task = pt_plan_head(&line->back);
    if (task) {
        queue_remove(&line->back, task);
        return task;
    }
    if (line->pool.live == 0)
        return NULL;
    if (!(task = pt_plan_task_create(plan))) {
        *rc = -1;
        return NULL;
    }
    if (take_untold(plan, line, size, task))
        return task;
    pt_plan_task_spare(plan, task);
    return NULL;
}
