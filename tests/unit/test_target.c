/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include <criterion/criterion.h>
#include <math.h>

Test(target, the_least_that_is_enough)
{
    const double s[] = {3, 3, 2, 2, 2};
    cr_assert_eq(pt_target_slots(s, 5, 12, 8), 1);
    cr_assert_eq(pt_target_slots(s, 5, 7, 8), 2, "longest first: 3 + 2 + 2 and 3 + 2");
    cr_assert_eq(pt_target_slots(s, 5, 6, 8), 3);
    cr_assert_eq(pt_target_slots(s, 5, 4, 8), 4, "3, 3, 2 + 2 and 2");
    cr_assert_eq(pt_target_slots(s, 5, 3, 8), 5);
}

Test(target, what_cannot_be_done_gets_all)
{
    const double s[] = {3, 3, 2};
    cr_assert_eq(pt_target_slots(s, 3, 2.9, 8), 8);
    cr_assert_eq(pt_target_slots(s, 3, 0, 8), 8);
    cr_assert_eq(pt_target_slots(s, 3, -1, 8), 8);
    cr_assert_eq(pt_target_slots(s, 3, NAN, 8), 8);
    cr_assert_eq(pt_target_slots(s, 3, 4, 2), 2);
}

Test(target, little_to_do)
{
    const double s[] = {1, -1, NAN, 0};
    cr_assert_eq(pt_target_slots(NULL, 0, 5, 8), 1);
    cr_assert_eq(pt_target_slots(s, 4, 1, 8), 1, "what is not known counts as nothing");
    cr_assert_eq(pt_target_slots(s, 4, 1, 1), 1);
    cr_assert_eq(pt_target_slots(s, 4, 1, 0), 0);
    cr_assert_eq(pt_target_slots(s, 1, 1, 4000000000u), 1);
}

/* One slot less would not have ended in time. */
static double makespan(const double *s, size_t n, uint32_t slots)
{
    double ends[64] = {0}, last = 0, sorted[100];
    for (size_t i = 0; i < n; i++)
        sorted[i] = s[i];
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (sorted[k] > sorted[i]) {
                double t = sorted[i];
                sorted[i] = sorted[k];
                sorted[k] = t;
            }
    for (size_t i = 0; i < n; i++) {
        uint32_t best = 0;
        for (uint32_t k = 1; k < slots; k++)
            best = ends[k] < ends[best] ? k : best;
        ends[best] += sorted[i];
        last = fmax(last, ends[best]);
    }
    return last;
}

Test(target, agrees_with_trying_each_number)
{
    unsigned x = 1;
    for (int round = 0; round < 300; round++) {
        double s[100], total = 0;
        size_t n = 1 + (size_t)(x >> 8) % 100;
        for (size_t i = 0; i < n; i++) {
            x = x * 1664525u + 1013904223u;
            total += s[i] = (double)(x >> 16) / 65536 * (i % 9 == 0 ? 20 : 1);
        }
        double target = total / (1 + round % 13);
        uint32_t got = pt_target_slots(s, n, target, 64), want = 1;
        while (want < 64 && makespan(s, n, want) > target)
            want++;
        cr_assert_eq(got, want, "round %d: %u, not %u", round, got, want);
        x += (unsigned)round;
    }
}
