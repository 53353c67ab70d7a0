/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of more ranks than one host has slots: which hosts may take them together, and who takes how many. */
#include "plan_state.h"

/* Slots that the host has for the line, in the upper half; among equals those with more in the lower half
 * come first. */
typedef uint64_t room_fn(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t host);

static uint64_t room_of(uint64_t slots, uint64_t rather)
{
    return slots << 32 | (rather > UINT32_MAX ? UINT32_MAX : rather);
}

/* Once it has come and may. */
static uint64_t room_to_come(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    uint32_t slots = pt_plan_slots_to_come(host);
    if ((host->judged && !host->may) || !pt_plan_has_labels(host, line))
        return 0;
    return room_of(slots == PT_NONE ? line->ranks : slots, 0);
}

static bool is_there(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    return host->may && host->slots > 0 && pt_plan_has_labels(host, line);
}

/* When nothing else is there. */
static uint64_t room_in_all(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    return is_there(plan, line, number) ? room_of(plan->hosts[number].slots, 0) : 0;
}

/* The same; those are preferred that are soonest drained of lighter work. */
static uint64_t room_to_drain(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    uint64_t slots = plan->hosts[number].slots, lighter = pt_plan_lighter(plan, number, line->weight);
    return is_there(plan, line, number) ? room_of(slots, slots > lighter ? slots - lighter : 0) : 0;
}

static uint64_t room_if_idle(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    if (host->load > 0 || (line->exclusive == PT_EXCLUSIVE_RUN && plan->held > 0))
        return 0;
    return room_in_all(plan, line, number);
}

/* Now, beside what it has and what it is drained for. */
static uint64_t room_now(const struct pt_plan *plan, const struct pt_plan_line *line, uint32_t number)
{
    const struct host *host = &plan->hosts[number];
    if (!is_there(plan, line, number) || host->alone || plan->hush || host->load >= host->slots)
        return 0;
    if (line->exclusive != PT_EXCLUSIVE_NOT)
        return host->reserved > 0 ? 0 : room_if_idle(plan, line, number);
    uint64_t slots = host->slots - host->load;
    if (host->reserved > 0) {
        uint64_t kept = host->reserved + pt_plan_lighter(plan, number, host->bulk);
        uint64_t beside = kept < host->slots ? host->slots - kept : 0;
        slots = slots < beside ? slots : beside;
    }
    return room_of(slots, 0);
}

/* --- choosing --- */

/* The host with most room after that one (NONE: of all), which is not the leader; NONE: there is none. */
static uint32_t next_best(const struct pt_plan *plan, const struct pt_plan_line *line, room_fn *room,
                          uint32_t after)
{
    uint32_t best = PT_NONE;
    uint64_t most = 0, last = after == PT_NONE ? UINT64_MAX : room(plan, line, after);
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        uint64_t r = room(plan, line, i);
        if (r <= UINT32_MAX || i == line->host || r > last || (r == last && i <= after && after != PT_NONE))
            continue;
        if (best == PT_NONE || r > most) {
            best = i;
            most = r;
        }
    }
    return best;
}

/* Shares hold what each has room for; from now on they hold its ranks: in order as many as it can, or, where
 * one could have all, as evenly as can be. */
static void fill(struct pt_plan_spread *s, uint32_t ranks, bool even)
{
    uint32_t left = ranks, room[PT_SPREAD_MAX] = {0};
    for (uint32_t i = s->n; i-- > 0;) {
        room[i] = s->shares[i].ranks;
        uint32_t want = even ? left / (i + 1) : 1;
        s->shares[i].ranks = room[i] < want ? room[i] : want;
        left -= s->shares[i].ranks;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t more = room[i] - s->shares[i].ranks;
        more = more < left ? more : left;
        s->shares[i].ranks += more;
        left -= more;
    }
}

static bool add_share(struct pt_plan_spread *s, uint32_t host, uint64_t room, uint64_t *sum)
{
    uint64_t slots = room >> 32;
    if (host == PT_NONE || slots == 0 || s->n == PT_SPREAD_MAX)
        return false;
    s->shares[s->n++] = (struct pt_share){.host = host, .ranks = (uint32_t)slots};
    *sum += slots;
    return true;
}

/* Two hosts or more, as few as can be, those with most room first; false: there are none. */
static bool choose(const struct pt_plan *plan, const struct pt_plan_line *line, room_fn *room,
                   struct pt_plan_spread *out)
{
    uint64_t sum = 0;
    uint32_t last = PT_NONE;
    bool big = false;
    out->n = 0;
    if (line->host != PT_NONE && !add_share(out, line->host, room(plan, line, line->host), &sum))
        return false;
    while (sum < line->ranks || out->n < 2) {
        last = next_best(plan, line, room, last);
        if (last == PT_NONE || !add_share(out, last, room(plan, line, last), &sum))
            return false;
    }
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        big = big || room_in_all(plan, line, i) >> 32 >= line->ranks;
    fill(out, line->ranks, big);
    return true;
}

bool pt_plan_spread_now(const struct pt_plan *plan, const struct pt_plan_line *line, bool alone,
                        struct pt_plan_spread *out)
{
    struct pt_plan_spread least;
    if (line->exclusive == PT_EXCLUSIVE_RUN && plan->held > 0)
        return false;
    return choose(plan, line, alone ? room_if_idle : room_now, out) &&
           choose(plan, line, room_in_all, &least) && out->n <= least.n;
}

void pt_plan_gather(struct pt_plan *plan, const struct pt_plan_line *line)
{
    if (plan->gather.on || line->exclusive == PT_EXCLUSIVE_RUN)
        return;
    if ((plan->gather.line != line || plan->gather.version != plan->version) &&
        !choose(plan, line, room_to_drain, &plan->gather.hosts))
        return;
    plan->gather.on = true;
    plan->gather.line = line;
    plan->gather.version = plan->version;
    for (uint32_t i = 0; i < plan->gather.hosts.n; i++) {
        struct pt_share share = plan->gather.hosts.shares[i];
        struct host *host = &plan->hosts[share.host];
        pt_plan_keep(host, line->exclusive != PT_EXCLUSIVE_NOT ? host->slots : share.ranks, line->weight);
    }
}

/* --- one, or several --- */

static void find_way(const struct pt_plan *plan, struct pt_plan_line *line)
{
    struct pt_plan_spread s;
    bool several = line->ranks != 1 && line->ranks != PT_PLAN_ALL;
    bool one = pt_plan_one_stands(plan, line);
    several = several && (!one || plan->spec.across);
    line->asks = several && choose(plan, line, room_to_come, &s);
    line->way_version = plan->version;
    if (!several || (one && !line->asks))
        line->way = PT_PLAN_WAY_ONE;
    else
        line->way = choose(plan, line, room_in_all, &s) ? PT_PLAN_WAY_SPREAD : PT_PLAN_WAY_WAIT;
}

enum pt_plan_way pt_plan_way(const struct pt_plan *plan, struct pt_plan_line *line)
{
    if (!pt_plan_is_group(line))
        return PT_PLAN_WAY_ONE;
    if (line->way == PT_PLAN_WAY_UNKNOWN || line->way_version != plan->version)
        find_way(plan, line);
    return line->way;
}

bool pt_plan_several_stand(const struct pt_plan *plan, struct pt_plan_line *line)
{
    return pt_plan_way(plan, line) != PT_PLAN_WAY_ONE && line->asks;
}

/* --- asking --- */

static bool asks_any(const struct pt_plan *plan, const struct queue *q)
{
    for (const struct task *task = q->head; task; task = task->next)
        if (task->untold > 0 && pt_plan_several_stand(plan, task->line))
            return true;
    return false;
}

static bool asks_pinned(const struct pt_plan *plan)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        for (uint32_t r = 0; r < plan->hosts[i].nranks; r++)
            if (plan->hosts[i].ranks[r].rank >= GROUP_RANK && asks_any(plan, &plan->hosts[i].ranks[r].line))
                return true;
    return false;
}

static bool asks_sequence(const struct pt_plan *plan)
{
    const struct pt_plan_pool *pool = &plan->sequence.pool;
    for (size_t i = 0; i < pool->n; i++)
        if (!pool->heap[i]->taken && pt_plan_several_stand(plan, pool->heap[i]->line))
            return true;
    return asks_any(plan, &plan->sequence.back);
}

static bool has_news(const struct pt_plan *plan)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++)
        if (plan->hosts[i].slots > 0 && !plan->hosts[i].judged)
            return true;
    return false;
}

bool pt_plan_wants_together(const struct pt_plan *plan)
{
    bool any = false;
    if (!plan->groups || plan->stopped || !has_news(plan))
        return false;
    for (struct pt_plan_line *line = plan->lines; line; line = line->next) {
        if (!pt_plan_several_stand(plan, line))
            continue;
        any = true;
        if (line->pool.live > 0 || asks_any(plan, &line->back))
            return true;
    }
    return any && (asks_any(plan, &plan->suspects) || asks_pinned(plan) || asks_sequence(plan));
}

void pt_plan_together(struct pt_plan *plan, const bool *may, uint32_t n)
{
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        struct host *host = &plan->hosts[i];
        host->judged = host->slots > 0;
        host->may = host->judged && i < n && may[i];
    }
    plan->version++;
    plan->unsure = true;
}
