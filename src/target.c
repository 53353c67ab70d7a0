/* SPDX-License-Identifier: Apache-2.0 */
#include "target.h"

#include "common/auto.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static int longest_first(const void *va, const void *vb)
{
    const double *a = va, *b = vb;
    return (*a < *b) - (*a > *b);
}

/* ends: a heap of `slots`, the one that is free first on top. That one takes the unit. */
static void take(double *ends, uint32_t slots, double seconds)
{
    uint32_t at = 0;
    double end = ends[0] + seconds;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= slots)
            break;
        if (child + 1 < slots && ends[child + 1] < ends[child])
            child++;
        if (ends[child] >= end)
            break;
        ends[at] = ends[child];
        at = child;
    }
    ends[at] = end;
}

static bool ends_in_time(const double *sorted, size_t n, double target, double *ends, uint32_t slots)
{
    memset(ends, 0, slots * sizeof(*ends));
    for (size_t i = 0; i < n; i++) {
        if (!(ends[0] + sorted[i] <= target))
            return false;
        take(ends, slots, sorted[i]);
    }
    return true;
}

/* More slots never end later: with the units in one order, no slot of theirs is free later. */
uint32_t pt_target_slots(const double *seconds, size_t n, double target, uint32_t most)
{
    uint32_t low = 1, high = n < most ? (uint32_t)n : most;
    pt_auto_free double *sorted = malloc((n + 1) * sizeof(*sorted));
    pt_auto_free double *ends = malloc(((size_t)high + 1) * sizeof(*ends));
    if (most <= 1 || !sorted || !ends)
        return most;
    for (size_t i = 0; i < n; i++)
        sorted[i] = seconds[i] > 0 ? seconds[i] : 0;
    qsort(sorted, n, sizeof(*sorted), longest_first);
    if (n == 0)
        return 1;
    if (!ends_in_time(sorted, n, target, ends, high))
        return most;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ends_in_time(sorted, n, target, ends, middle))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
