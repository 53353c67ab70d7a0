/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/fair.h"

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t minus(uint32_t a, uint32_t b)
{
    return a > b ? a - b : 0;
}

static uint32_t count_slots(const struct pt_fair *runs, size_t n)
{
    uint32_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (runs[i].base + runs[i].slots > total)
            total = runs[i].base + runs[i].slots;
    return total;
}

static uint32_t count_live(const struct pt_fair *runs, size_t n)
{
    uint32_t live = 0;
    for (size_t i = 0; i < n; i++)
        live += runs[i].held > 0 || runs[i].step > 0;
    return live;
}

uint32_t pt_fair_part(const struct pt_fair *runs, size_t n)
{
    uint32_t live = count_live(runs, n), total = count_slots(runs, n);
    return live && total > live ? total / live : 1;
}

/* What a wish is sure to get. One of more than a part has no use for a part. */
static uint32_t get_claim(const struct pt_fair *run, uint32_t part)
{
    return run->step && run->step <= part ? least(least(run->want, run->slots), part) : 0;
}

bool pt_fair_waits(const struct pt_fair *run, uint32_t part)
{
    return run->step > part || run->held < get_claim(run, part);
}

static bool is_older(const struct pt_fair *a, const struct pt_fair *b)
{
    return a->since < b->since || (a->since == b->since && a->order < b->order);
}

/* Who needs more than a part at once, and has waited for longest; n: nobody. */
static size_t find_wide(const struct pt_fair *runs, size_t n, uint32_t part)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (runs[i].step > part && (best == n || is_older(&runs[i], &runs[best])))
            best = i;
    return best;
}

static bool others_wish(const struct pt_fair *runs, size_t n, size_t me)
{
    for (size_t i = 0; i < n; i++)
        if (i != me && runs[i].step > 0)
            return true;
    return false;
}

static bool others_waited(const struct pt_fair *runs, size_t n, size_t me, uint32_t part)
{
    for (size_t i = 0; i < n; i++)
        if (i != me && pt_fair_waits(&runs[i], part) && is_older(&runs[i], &runs[me]))
            return true;
    return false;
}

/* There are more runs than slots, so not each can have its part: who waited before comes first. */
static uint32_t in_turn(const struct pt_fair *runs, size_t n, size_t me, uint32_t part)
{
    uint32_t left = count_slots(runs, n);
    for (size_t i = 0; i < n; i++) {
        bool before = i != me && pt_fair_waits(&runs[i], part) && is_older(&runs[i], &runs[me]);
        if (i != me)
            left = minus(left, before ? get_claim(&runs[i], part) : runs[i].held);
    }
    return least(left, part);
}

/* A part, and what the others neither have nor may claim. */
static uint32_t ordinary(const struct pt_fair *runs, size_t n, size_t me, uint32_t part)
{
    uint32_t left = count_slots(runs, n);
    if (count_live(runs, n) > left)
        return in_turn(runs, n, me, part);
    for (size_t i = 0; i < n; i++) {
        uint32_t claim = get_claim(&runs[i], part);
        if (i != me)
            left = minus(left, claim > runs[i].held ? claim : runs[i].held);
    }
    return left > part ? left : part;
}

/* What that wish leaves. */
static uint32_t beside(const struct pt_fair *runs, size_t n, size_t me, size_t wide)
{
    uint32_t left = minus(count_slots(runs, n), runs[wide].step);
    for (size_t i = 0; i < n; i++)
        if (i != me)
            left = minus(left, runs[i].held);
    return left;
}

uint32_t pt_fair_most(const struct pt_fair *runs, size_t n, size_t me)
{
    uint32_t part = pt_fair_part(runs, n);
    size_t wide = find_wide(runs, n, part);
    if (!others_wish(runs, n, me))
        return runs[me].slots;
    if (wide == me)
        return least(others_waited(runs, n, me, part) ? part : runs[me].slots, runs[me].slots);
    uint32_t most = ordinary(runs, n, me, part);
    if (wide < n && is_older(&runs[wide], &runs[me]))
        most = least(most, beside(runs, n, me, wide));
    return least(most, runs[me].slots);
}

/* --- the run that asks --- */

void pt_fair_wish(struct pt_fair *me, struct pt_fair_turn *turn, uint32_t step, uint32_t want, int64_t now)
{
    if (!me->step || turn->served)
        me->since = now;
    me->step = least(step, me->slots);
    me->want = least(want, me->slots);
    turn->served = false;
}

uint32_t pt_fair_look(const struct pt_fair *runs, size_t n, struct pt_fair_turn *turn)
{
    turn->met = !pt_fair_waits(&runs[0], pt_fair_part(runs, n));
    return pt_fair_most(runs, n, 0);
}

bool pt_fair_rests(const struct pt_fair *me, uint32_t n)
{
    return n > 1 || me->held >= me->want;
}

void pt_fair_keep(const struct pt_fair *me, struct pt_fair_turn *turn, uint32_t held)
{
    turn->served |= turn->met && me->held > held;
}
