/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/chunk.h"

#include <pthread.h>
#include <stdint.h>

#define MASK_SMALL (~0ULL << 42) /* 22 bits, two more than the average asks for: before it */
#define MASK_LARGE (~0ULL << 46) /* 18 bits, two fewer: after it */

static pthread_once_t made = PTHREAD_ONCE_INIT;
static uint64_t gear[256];

/* Numbers without a pattern, always the same: splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static void make_gear(void)
{
    uint64_t state = 0x7074726d6f746521ULL;
    for (size_t i = 0; i < 256; i++) {
        uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        gear[i] = z ^ (z >> 31);
    }
}

size_t pt_chunk_cut(const unsigned char *data, size_t n)
{
    pthread_once(&made, make_gear);
    if (n <= PT_CHUNK_MIN)
        return n;
    size_t end = n < PT_CHUNK_MAX ? n : PT_CHUNK_MAX;
    size_t middle = end < PT_CHUNK_AVG ? end : PT_CHUNK_AVG;
    uint64_t hash = 0;
    size_t i = PT_CHUNK_MIN;
    for (; i < middle; i++)
        if (!((hash = (hash << 1) + gear[data[i]]) & MASK_SMALL))
            return i + 1;
    for (; i < end; i++)
        if (!((hash = (hash << 1) + gear[data[i]]) & MASK_LARGE))
            return i + 1;
    return end;
}
