/* SPDX-License-Identifier: Apache-2.0 */
#include "lane_rate.h"

#define STEP_BYTES (256u << 10) /* between two markers at least */
#define STEP_MS    20
#define LATE_MS    8 /* more than the quickest marker */
#define TOKENS     (1ull << 63)
#define MOST       (4ull << 30)
#define MB         1000000ull
#define LEAST_MB   12  /* of a way that was not seen to limit, at first */
#define MORE       4   /* times the rate is tried next on such a way */
#define GUESS_MB   300 /* no more is guessed */
#define MANY_LANES 4   /* sending what is not compressed costs them more than compressing it once */

static uint64_t bounded(uint64_t rate)
{
    return rate < MOST ? rate : MOST;
}

void pt_rate_init(struct pt_rate *r, uint64_t remembered)
{
    *r = (struct pt_rate){.rate = bounded(remembered), .token = TOKENS, .asked_ms = -STEP_MS, .least_ms = -1};
}

void pt_rate_idle(struct pt_rate *r, uint64_t sent, int64_t now_ms, bool done)
{
    r->starved = true;
    if (done && r->marked > r->from)
        r->waiting = false;
    if (r->waiting)
        return;
    r->from = r->marked = sent;
    r->from_ms = now_ms;
}

bool pt_rate_ask(struct pt_rate *r, uint64_t sent, int64_t now_ms, bool always)
{
    if (r->waiting || (!always && (sent - r->marked < STEP_BYTES || now_ms - r->asked_ms < STEP_MS)))
        return false;
    r->waiting = true;
    r->starved = false;
    r->token++;
    r->marked = sent;
    r->asked_ms = now_ms;
    return true;
}

/* Bytes a second between the last two answers. */
static uint64_t speed(const struct pt_rate *r, int64_t now_ms)
{
    int64_t ms = now_ms > r->from_ms ? now_ms - r->from_ms : 1;
    return bounded((r->marked - r->from) * 1000 / (uint64_t)ms);
}

/* Where the way did not limit, it takes at least as much, and perhaps more. */
static uint64_t try_more(const struct pt_rate *r, uint64_t seen)
{
    uint64_t more = MORE * r->rate;
    more = more < LEAST_MB * MB ? LEAST_MB * MB : more > GUESS_MB * MB ? GUESS_MB * MB : more;
    more = more > r->rate ? more : r->rate;
    return seen > more ? seen : more;
}

static void take(struct pt_rate *r, uint64_t seen, bool limited)
{
    if (!limited)
        r->rate = try_more(r, seen);
    else if (r->measured)
        r->rate = (r->rate + 3 * seen) / 4;
    else
        r->rate = seen;
    r->measured = true;
}

void pt_rate_answer(struct pt_rate *r, uint64_t token, int64_t now_ms)
{
    if (!r->waiting || token != r->token)
        return;
    int64_t took = now_ms - r->asked_ms;
    bool late = r->least_ms >= 0 && took > r->least_ms + r->least_ms / 2 + LATE_MS;
    if (r->least_ms < 0 || took < r->least_ms)
        r->least_ms = took;
    if (r->marked > r->from)
        take(r, speed(r, now_ms), late && !r->starved);
    r->waiting = false;
    r->from = r->marked;
    r->from_ms = now_ms;
}

int pt_rate_level(const struct pt_rate *r, unsigned lanes)
{
    if (!r->rate || (r->rate > 150 * MB && lanes >= MANY_LANES))
        return 1;
    return r->rate > 150 * MB ? 0 : r->rate > 30 * MB ? 1 : r->rate > 10 * MB ? 3 : 9;
}
