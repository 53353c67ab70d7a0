/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/chunk.h"

#include <pthread.h>

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

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Roll over at most n bytes; true when the last one taken ends a chunk. */
static bool roll(struct pt_chunker *c, const unsigned char **data, size_t n, uint64_t mask)
{
    uint64_t hash = c->hash;
    const unsigned char *p = *data, *end = p + n;
    bool cut = false;
    while (p < end && !cut) {
        hash = (hash << 1) + gear[*p++];
        cut = !(hash & mask);
    }
    c->hash = hash;
    c->len += (size_t)(p - *data);
    *data = p;
    return cut;
}

size_t pt_chunker_feed(struct pt_chunker *c, const unsigned char *data, size_t n, bool *cut)
{
    pthread_once(&made, make_gear);
    const unsigned char *p = data, *end = data + n;
    *cut = false;
    if (c->len < PT_CHUNK_MIN) {
        size_t skip = least(n, PT_CHUNK_MIN - c->len);
        p += skip;
        c->len += skip;
    }
    if (p < end && c->len < PT_CHUNK_AVG)
        *cut = roll(c, &p, least((size_t)(end - p), PT_CHUNK_AVG - c->len), MASK_SMALL);
    if (p < end && !*cut)
        *cut = roll(c, &p, least((size_t)(end - p), PT_CHUNK_MAX - c->len), MASK_LARGE);
    *cut = *cut || c->len == PT_CHUNK_MAX;
    if (*cut)
        *c = (struct pt_chunker){0};
    return (size_t)(p - data);
}

size_t pt_chunk_cut(const unsigned char *data, size_t n)
{
    struct pt_chunker c = {0};
    bool cut;
    return pt_chunker_feed(&c, data, n, &cut);
}
