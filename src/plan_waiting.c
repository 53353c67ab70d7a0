/* SPDX-License-Identifier: Apache-2.0 */
/* What waits, counted. */
#include "plan_state.h"

#include <string.h>

static uint32_t waiting_in(const struct pt_plan_line *line)
{
    uint32_t n = (uint32_t)line->pool.live;
    for (const struct task *task = line->back.head; task; task = task->next)
        n++;
    return n;
}

uint32_t pt_plan_waiting(const struct pt_plan *plan)
{
    uint32_t n = waiting_in(&plan->sequence);
    for (const struct pt_plan_line *line = plan->lines; line; line = line->next)
        n += waiting_in(line);
    return n;
}

/* Units of several ranks in a sequential run. */
static uint32_t groups_in_sequence(const struct pt_plan *plan)
{
    uint32_t n = 0;
    const struct pt_plan_pool *pool = &plan->sequence.pool;
    for (size_t i = 0; plan->groups && i < pool->n; i++)
        n += !pool->heap[i]->taken && pt_plan_is_group(pool->heap[i]->line);
    for (const struct task *task = plan->sequence.back.head; plan->groups && task; task = task->next)
        n += pt_plan_is_group(task->line);
    return n;
}

uint32_t pt_plan_waiting_plain(const struct pt_plan *plan)
{
    uint32_t n = pt_plan_waiting(plan) - groups_in_sequence(plan);
    for (const struct pt_plan_line *line = plan->lines; plan->groups && line; line = line->next)
        n -= pt_plan_is_group(line) ? waiting_in(line) : 0;
    return n;
}

uint32_t pt_plan_held_plain(const struct pt_plan *plan, uint32_t host)
{
    return host < plan->spec.hosts ? plan->hosts[host].held - plan->hosts[host].groups : 0;
}

/* --- sizes --- */

struct sizing {
    const struct pt_plan *plan;
    uint32_t host;
    struct pt_size *sizes;
    uint32_t n, max;
};

static void want(struct sizing *s, struct pt_plan_line *line, uint64_t tests)
{
    uint32_t ranks = line->ranks == PT_PLAN_ALL ? s->plan->hosts[s->host].slots : line->ranks, i = 0;
    if (tests == 0 || ranks < 2 || !pt_plan_may(s->plan, line, s->host) ||
        pt_plan_way(s->plan, line) != PT_PLAN_WAY_ONE)
        return;
    while (i < s->n && s->sizes[i].ranks > ranks)
        i++;
    if (i == s->max)
        return;
    if (i == s->n || s->sizes[i].ranks != ranks) {
        s->n += s->n < s->max;
        memmove(&s->sizes[i + 1], &s->sizes[i], (s->n - i - 1) * sizeof(*s->sizes));
        s->sizes[i] = (struct pt_size){.ranks = ranks};
    }
    s->sizes[i].tests += (uint32_t)tests;
}

static void want_queue(struct sizing *s, const struct queue *q)
{
    for (const struct task *task = q->head; task; task = task->next)
        want(s, task->line, task->untold);
}

uint32_t pt_plan_sizes(const struct pt_plan *plan, uint32_t host, struct pt_size *sizes, uint32_t max)
{
    struct sizing s = {.plan = plan, .host = host, .sizes = sizes, .max = max};
    if (!plan->groups || host >= plan->spec.hosts || plan->stopped)
        return 0;
    for (struct pt_plan_line *line = plan->lines; line; line = line->next) {
        want(&s, line, line->pool.tests);
        want_queue(&s, &line->back);
    }
    for (size_t i = 0; i < plan->sequence.pool.n; i++) {
        const struct pt_plan_piece *piece = plan->sequence.pool.heap[i];
        want(&s, piece->line, piece->taken ? 0 : piece->ntests);
    }
    want_queue(&s, &plan->sequence.back);
    want_queue(&s, &plan->suspects);
    for (uint32_t i = 0; i < plan->hosts[host].nranks; i++)
        if (plan->hosts[host].ranks[i].rank >= GROUP_RANK)
            want_queue(&s, &plan->hosts[host].ranks[i].line);
    return s.n;
}
