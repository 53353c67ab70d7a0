/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_state.h"

uint32_t pt_plan_slots_to_come(const struct host *host)
{
    if (host->slots > 0)
        return host->slots;
    if (host->never)
        return 0;
    uint32_t slots = host->expect > host->runners ? host->expect : host->runners;
    return slots > 0 ? slots : PT_NONE;
}

static bool could_take(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    uint32_t slots = pt_plan_slots_to_come(host);
    return slots > 0 && line->weight <= slots && pt_plan_has_labels(host, line) &&
           (line->host == PT_NONE || line->host == number);
}

bool pt_plan_one_stands(const struct pt_plan *plan, const struct pt_plan_line *line)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (could_take(plan, line, i))
            return true;
    return false;
}

bool pt_plan_line_stands(const struct pt_plan *plan, struct pt_plan_line *line)
{
    return pt_plan_one_stands(plan, line) || pt_plan_several_stand(plan, line);
}

static bool stands(const struct pt_plan *plan, const struct task *task)
{
    if (task->rank == PT_NONE || task->line->host == PT_NONE)
        return pt_plan_line_stands(plan, task->line);
    if (pt_plan_several_stand(plan, task->line))
        return true;
    return could_take(plan, task->line, task->host) &&
           pt_plan_rank_is_there(task->rank, pt_plan_slots_to_come(&plan->hosts[task->host]));
}

static void doom_tasks(struct pt_plan *plan, struct queue *q)
{
    for (struct task *next, *task = pt_plan_head(q); task; task = next) {
        next = task->next;
        if (stands(plan, task))
            continue;
        queue_remove(q, task);
        queue_add(&plan->doomed.tasks, task);
    }
}

static void doom_pool(struct pt_plan *plan, struct pt_plan_pool *pool)
{
    struct pt_plan_piece *piece;
    while ((piece = pt_plan_pool_take(pool, 0))) {
        struct pt_plan_piece *last = piece;
        while (last->next)
            last = last->next;
        last->next = plan->doomed.pieces;
        plan->doomed.pieces = piece;
    }
}

/* Pieces of a sequential run wait in one pool. */
static void doom_sequence(struct pt_plan *plan)
{
    struct pt_plan_pool *pool = &plan->sequence.pool;
    for (size_t i = 0; i < pool->n; i++) {
        struct pt_plan_piece *piece = pool->heap[i];
        struct task like = {.line = piece->line, .rank = piece->rank, .host = piece->line->host};
        if (piece->taken || stands(plan, &like))
            continue;
        pt_plan_pool_drop(pool, piece);
        piece->next = plan->doomed.pieces;
        plan->doomed.pieces = piece;
    }
}

static void doom_pinned(struct pt_plan *plan, const struct host *host, bool all)
{
    for (uint32_t r = 0; r < host->nranks; r++) {
        struct queue *line = &host->ranks[r].line;
        const struct task *head = pt_plan_head(line);
        if (all || (head && !stands(plan, head)))
            doom_tasks(plan, line);
    }
}

/* Long lines are gone through only when more is known of hosts than last time. */
static void doom(struct pt_plan *plan)
{
    bool all = plan->doomed.version != plan->version;
    plan->unsure = false;
    plan->doomed.version = plan->version;
    for (struct pt_plan_line *line = plan->lines; line; line = line->next) {
        doom_tasks(plan, &line->back);
        if (line->pool.live > 0 && !pt_plan_line_stands(plan, line))
            doom_pool(plan, &line->pool);
    }
    doom_tasks(plan, &plan->suspects);
    doom_tasks(plan, &plan->sequence.back);
    if (all)
        doom_sequence(plan);
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        doom_pinned(plan, &plan->hosts[i], all);
}

/* The next piece of what is doomed; false when there is none. */
static bool turn_over(struct doomed *d)
{
    d->i = 0;
    if (d->task && d->at && d->at->next) {
        d->at = d->at->next;
        return true;
    }
    d->at = NULL;
    d->task = d->tasks.head;
    if (d->task) {
        queue_remove(&d->tasks, d->task);
        d->at = d->task->pieces;
    } else if (d->pieces) {
        d->at = d->pieces;
        d->pieces = d->pieces->next;
    }
    return d->at != NULL;
}

uint32_t pt_plan_impossible(struct pt_plan *plan)
{
    struct doomed *d = &plan->doomed;
    if (plan->unsure)
        doom(plan);
    do {
        for (; d->at && d->i < d->at->ntests; d->i++) {
            uint32_t number = d->at->tests[d->i].test;
            const struct test *test = &plan->tests[number];
            if (d->task ? test->bundle == d->task->number : test->piece == d->at)
                if (pt_plan_told(plan, number))
                    return number;
        }
    } while (turn_over(d));
    return PT_NONE;
}

bool pt_plan_lacks_slots(const struct pt_plan *plan, uint32_t test, uint32_t *want, uint32_t *most)
{
    const struct pt_plan_piece *piece = test < plan->ntests ? plan->tests[test].piece : NULL;
    if (!piece || !pt_plan_is_group(piece->line))
        return false;
    const struct pt_plan_line *line = piece->line;
    const struct host *leader = line->host == PT_NONE ? NULL : &plan->hosts[line->host];
    bool spreads = line->ranks != PT_PLAN_ALL && !(leader && leader->judged && !leader->may);
    uint32_t together = 0;
    *most = 0;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        const struct host *host = &plan->hosts[i];
        bool alone = line->host == PT_NONE || line->host == i;
        bool refused = host->judged && !host->may;
        if (!pt_plan_has_labels(host, line) || (!alone && (refused || !spreads)))
            continue;
        if (host->most == 0) /* it may have had enough */
            return false;
        together += refused ? 0 : host->most;
        if (alone)
            *most = host->most > *most ? host->most : *most;
    }
    if (spreads && together > *most)
        *most = together;
    *want = line->ranks > *most ? line->ranks : line->weight;
    return *most > 0 && *want > *most;
}
