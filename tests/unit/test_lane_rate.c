/* SPDX-License-Identifier: Apache-2.0 */
/* A way with a speed and a delay, and what the rate makes of it. */
#include "lane_rate.h"

#include <criterion/criterion.h>

#define MB 1000000.0

/* Bytes go at `speed` after `delay`; a window of bytes may be under way. The host takes at most `host`. */
struct way {
    double speed, host; /* bytes a ms */
    double delay, window;
};

/* Send for so many ms, a step each. */
static void send_for(struct pt_rate *r, const struct way *w, int ms, double sent[2], int64_t *now)
{
    double arrived = sent[1], given = sent[0], due = -1, answer_at = -1;
    for (int i = 0; i < ms; i++, ++*now) {
        double limit = w->host < w->speed ? w->host : w->speed;
        if (given - arrived < w->window) {
            double more = w->window - (given - arrived);
            /* a host that is slow has a window of its own: it is not the way that is full */
            given += w->host < w->speed && more > w->host ? w->host : more;
        }
        arrived = arrived + limit < given ? arrived + limit : given;
        if (pt_rate_ask(r, (uint64_t)given, *now, false)) {
            due = given;
            answer_at = w->host < w->speed ? (double)*now + w->delay : -1;
        }
        if (due >= 0 && answer_at < 0 && arrived >= due)
            answer_at = (double)*now + w->delay;
        if (answer_at >= 0 && (double)*now >= answer_at) {
            pt_rate_answer(r, r->token, *now);
            due = answer_at = -1;
        }
    }
    sent[0] = given;
    sent[1] = arrived;
}

static void hello(struct pt_rate *r, int64_t *now, int delay)
{
    cr_assert(pt_rate_ask(r, 0, *now, true));
    *now += delay;
    pt_rate_answer(r, r->token, *now);
    pt_rate_idle(r, 0, *now, true);
    cr_assert_eq(r->rate, 0, "no byte, no rate");
}

static void check_way(double mb, double delay, int want_level)
{
    struct way w = {.speed = mb * MB / 1000, .host = 1e9, .delay = delay, .window = 2 << 20};
    struct pt_rate r;
    int64_t now = 1000;
    double sent[2] = {0, 0};
    pt_rate_init(&r, 0);
    cr_assert_eq(pt_rate_level(&r, 1), 1, "not known");
    hello(&r, &now, (int)delay);
    send_for(&r, &w, 3000, sent, &now);
    cr_expect((double)r.rate > 0.8 * mb * MB && (double)r.rate < 1.25 * mb * MB, "%.1f MB/s: %.1f", mb,
              (double)r.rate / MB);
    cr_expect_eq(pt_rate_level(&r, 1), want_level, "%.1f MB/s: level %d", mb, pt_rate_level(&r, 1));
}

Test(lane_rate, a_way_that_limits_is_measured)
{
    check_way(2.5, 20, 9);
    check_way(2.5, 1, 9);
    check_way(20, 20, 3);
    check_way(100, 1, 1);
}

/* Bytes wait at the host and not on the way: that says nothing against the way. */
Test(lane_rate, a_slow_host_is_no_slow_way)
{
    struct way w = {.speed = 1e6, .host = 20 * MB / 1000, .delay = 1, .window = 4 << 20};
    struct pt_rate r;
    int64_t now = 1000;
    double sent[2] = {0, 0};
    pt_rate_init(&r, 0);
    hello(&r, &now, 1);
    send_for(&r, &w, 1000, sent, &now);
    cr_expect_eq(pt_rate_level(&r, 1), 0, "%.1f MB/s", (double)r.rate / MB);
}

/* Markers are late on a machine that has too much to do; that we had nothing to send tells it from a slow
 * way. */
Test(lane_rate, a_slow_master_is_no_slow_way)
{
    struct pt_rate r;
    int64_t now = 1000;
    uint64_t sent = 0;
    pt_rate_init(&r, 0);
    hello(&r, &now, 1);
    for (int i = 0; i < 20; i++) {
        now += 20;
        sent += 300000;
        cr_assert(pt_rate_ask(&r, sent, now, false));
        now += 20;
        pt_rate_idle(&r, sent, now, false);
        now += 30;
        pt_rate_answer(&r, r.token, now);
    }
    cr_expect_eq(pt_rate_level(&r, 1), 0, "%.1f MB/s", (double)r.rate / MB);
}

/* As long as compression is what limits, each marker that is spent on finding out costs time. */
Test(lane_rate, a_fast_way_is_soon_known)
{
    struct pt_rate r;
    int64_t now = 1000;
    pt_rate_init(&r, 0);
    hello(&r, &now, 5);
    for (uint64_t sent = 500000, i = 0; i < 3; i++, sent += 500000) {
        now += 20;
        cr_assert(pt_rate_ask(&r, sent, now, false));
        pt_rate_idle(&r, sent, now, false);
        now += 5;
        pt_rate_answer(&r, r.token, now);
    }
    cr_expect_eq(pt_rate_level(&r, 1), 0, "%.1f MB/s", (double)r.rate / MB);
}

/* The last bytes are not followed by others: how long they took says nothing. */
Test(lane_rate, the_end_does_not_count)
{
    struct way w = {.speed = 2500, .host = 1e9, .delay = 10, .window = 2 << 20};
    struct pt_rate r;
    int64_t now = 1000;
    double sent[2] = {0, 0};
    pt_rate_init(&r, 0);
    hello(&r, &now, 10);
    send_for(&r, &w, 5000, sent, &now);
    uint64_t rate = r.rate;
    pt_rate_ask(&r, (uint64_t)sent[0] + (1 << 20), now, false);
    pt_rate_idle(&r, (uint64_t)sent[0] + (1 << 20), now + 10, true);
    pt_rate_answer(&r, r.token, now + 20);
    cr_expect_eq(r.rate, rate);
    cr_expect_not(r.waiting);
}

Test(lane_rate, what_is_remembered_counts_until_more_is_known)
{
    struct pt_rate r;
    pt_rate_init(&r, 5000000);
    cr_expect_eq(pt_rate_level(&r, 1), 9);
    cr_expect_not(r.measured);
    cr_expect_eq(pt_rate_level(&r, 8), 9);
    pt_rate_init(&r, UINT64_MAX);
    cr_expect_eq(pt_rate_level(&r, 1), 0);
    cr_expect_eq(pt_rate_level(&r, 8), 1, "many share what it costs");
}

Test(lane_rate, answers_to_others_do_not_count)
{
    struct pt_rate r;
    pt_rate_init(&r, 0);
    pt_rate_answer(&r, r.token, 5);
    cr_assert(pt_rate_ask(&r, 1 << 20, 10, false));
    cr_assert_not(pt_rate_ask(&r, 9 << 20, 1000, false), "one at a time");
    pt_rate_answer(&r, r.token + 1, 20);
    pt_rate_answer(&r, 7, 20);
    cr_assert_not(r.measured);
    pt_rate_answer(&r, r.token, 20);
    cr_assert(r.measured && r.rate);
    uint64_t rate = r.rate;
    pt_rate_answer(&r, r.token, 2000);
    cr_assert_eq(r.rate, rate, "twice");
}

Test(lane_rate, time_without_bytes_does_not_count)
{
    struct pt_rate r;
    pt_rate_init(&r, 0);
    pt_rate_idle(&r, 0, 0, true);
    pt_rate_idle(&r, 200000, 1000, true);
    pt_rate_idle(&r, 400000, 100000, true);
    cr_assert_not(pt_rate_ask(&r, 500000, 100001, false), "too little since");
    cr_assert(pt_rate_ask(&r, 700000, 100010, false));
    pt_rate_answer(&r, r.token, 100020);
    cr_assert_eq(r.rate, 300000 * 1000ull / 20, "%llu", (unsigned long long)r.rate);
}
