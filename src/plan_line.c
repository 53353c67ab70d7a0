/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_state.h"

#include <stdlib.h>

#define LEAST_PARTS 8    /* of what is left of a number of ranks, for one bundle */
#define GROUP_LEAST 0.05 /* seconds of a bundle that are worth a round trip of several ranks */

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
    if (a->ranks != b->ranks)
        return a->ranks > b->ranks;
    if ((a->host == PT_NONE) != (b->host == PT_NONE))
        return b->host == PT_NONE;
    return bits(a->needs) > bits(b->needs);
}

static bool is_same(const struct pt_plan_line *line, const struct pt_plan_line *like)
{
    return line->needs == like->needs && line->weight == like->weight && line->host == like->host &&
           line->exclusive == like->exclusive && line->ranks == like->ranks && line->numa == like->numa;
}

struct pt_plan_line *pt_plan_line_get(struct pt_plan *plan, const struct pt_plan_unit *unit)
{
    struct pt_plan_line like = {.needs = unit->needs,
                                .weight = unit->weight,
                                .ranks = unit->ranks,
                                .numa = unit->numa,
                                .host = unit->host,
                                .exclusive = unit->exclusive,
                                .pool = {.known = &plan->known, .in_order = plan->spec.in_order}};
    struct pt_plan_line **at = &plan->lines;
    while (*at && !is_same(*at, &like))
        at = &(*at)->next;
    if (*at)
        return *at; /* cppcheck-suppress identicalInnerCondition ; the loop moved it */
    struct pt_plan_line *line = malloc(sizeof(*line));
    if (!line)
        return NULL;
    for (at = &plan->lines; *at && !is_harder(&like, *at);)
        at = &(*at)->next;
    *line = like;
    line->next = *at;
    *at = line;
    plan->groups = plan->groups || pt_plan_is_group(line);
    plan->unsure = true;
    return line;
}

bool pt_plan_line_waits(struct pt_plan_line *line)
{
    return pt_plan_head(&line->back) || line->pool.live > 0;
}

static uint32_t at_least_one(uint64_t n)
{
    return n < 1 ? 1 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void count_slots(struct pt_plan *plan, struct pt_plan_line *line)
{
    uint64_t slots = 0, places = 0;
    if (line->version == plan->version && line->slots > 0)
        return;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        if ((host->labels & line->needs) != line->needs || (line->host != PT_NONE && line->host != i))
            continue;
        uint32_t n = host->slots > host->expect ? host->slots : host->expect;
        bool unknown = n == 0 && !host->never && !host->told_expect;
        slots += n;
        places += unknown ? 1 : line->exclusive != PT_EXCLUSIVE_NOT ? n > 0 : n / line->weight;
    }
    if (places == 0 && pt_plan_is_group(line)) /* several hosts make one */
        places = slots / line->ranks;
    line->version = plan->version;
    line->slots = at_least_one(slots);
    line->places = at_least_one(places);
}

/* Of several ranks: never much against what is left of their size. */
static double group_size(struct pt_plan *plan, const struct pt_plan_line *line)
{
    double places = line->places;
    double size = pt_plan_pool_total(&line->pool) / (places * plan->spec.bundles_per_worker);
    double share = pt_plan_pool_left(&line->pool) / (places > LEAST_PARTS / 2.0 ? 2 * places : LEAST_PARTS);
    if (plan->spec.schedule == PT_SCHEDULE_DYNAMIC && share < size)
        size = share > size / 4 ? share : size / 4;
    return size > GROUP_LEAST ? size : GROUP_LEAST;
}

double pt_plan_line_size(struct pt_plan *plan, struct pt_plan_line *line)
{
    bool sequential = line == &plan->sequence;
    count_slots(plan, line);
    if (!sequential && pt_plan_is_group(line))
        return group_size(plan, line);
    double slots = sequential ? 1 : line->slots;
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
    while ((pieces = pt_plan_split(plan, line, size)) || (pieces = pt_plan_pool_take(&line->pool, size))) {
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
