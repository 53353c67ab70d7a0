/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* All orders of events up to a depth. A test asks choose(n) where one of n things may happen next, and runs
 * again and again, each time with other answers, until it had them all; deeper than that the answer is 0, so
 * the rest ends in a fixed way:
 *
 *   orders_begin(DEPTH);
 *   do
 *       ask_and_check();
 *   while (orders_next());
 *   cr_assert_eq(orders.n, ...);
 *
 * A suite with .fini = orders_show names the order in which it failed. */
#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define ORDERS_DEEPEST 32

static struct {
    uint32_t digit[ORDERS_DEEPEST], radix[ORDERS_DEEPEST], at, depth;
    uint64_t n; /* orders that were tried to their end */
    bool open;  /* one is not */
} orders;

__attribute__((unused)) static void orders_begin(uint32_t depth)
{
    cr_assert_leq(depth, ORDERS_DEEPEST);
    memset(&orders, 0, sizeof(orders));
    orders.depth = depth;
    orders.open = true;
}

/* A number below n, which must be what it was whenever all answers before were the same. */
__attribute__((unused)) static uint32_t choose(uint32_t n)
{
    if (orders.at == orders.depth)
        return 0;
    cr_assert_lt(orders.digit[orders.at], n, "the same events led to something else");
    orders.radix[orders.at] = n;
    return orders.digit[orders.at++];
}

/* False after the last. */
__attribute__((unused)) static bool orders_next(void)
{
    orders.n++;
    while (orders.at > 0) {
        if (++orders.digit[orders.at - 1] < orders.radix[orders.at - 1])
            break;
        orders.digit[--orders.at] = 0;
    }
    orders.open = orders.at > 0;
    orders.at = 0;
    return orders.open;
}

__attribute__((unused)) static void orders_show(void)
{
    if (!orders.open)
        return;
    fprintf(stderr, "in order %llu:", (unsigned long long)orders.n);
    for (uint32_t i = 0; i < orders.at; i++)
        fprintf(stderr, " %u/%u", orders.digit[i], orders.radix[i]);
    fprintf(stderr, "\n");
}
