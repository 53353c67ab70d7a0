/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_inside.h"

#include "common/auto.h"

#include <stdlib.h>
#include <string.h>

uint64_t pt_cut_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t pt_cut_bounded(uint64_t *state, uint64_t n)
{
    uint64_t least = -n % n, r; /* 2^64 mod n: below it some remainders would come once more */
    do
        r = pt_cut_random(state);
    while (r < least);
    return r % n;
}

/* Fisher and Yates. */
static void mix(uint32_t *at, uint32_t n, uint64_t *state)
{
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = (uint32_t)pt_cut_bounded(state, i);
        uint32_t t = at[i - 1];
        at[i - 1] = at[k];
        at[k] = t;
    }
}

static uint64_t state_of(uint64_t seed, const char *path)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a, 64 bits */
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 1099511628211u;
    h ^= seed;
    return pt_cut_random(&h);
}

/* The slices of s, mixed, one after the other into out. */
static int mix_slices(const struct pt_cut_slices *s, uint64_t *state, bool tests, uint32_t *out)
{
    pt_auto_free uint32_t *slice = malloc((s->n + 1) * sizeof(*slice));
    uint32_t at = 0;
    if (!slice)
        return -1;
    for (uint32_t i = 0; i < s->n; i++)
        slice[i] = i;
    mix(slice, s->n, state);
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t from = s->start[slice[i]], n = s->start[slice[i] + 1] - from;
        memcpy(out + at, s->order + from, n * sizeof(*out));
        if (tests)
            mix(out + at, n, state);
        at += n;
    }
    return 0;
}

static int mix_file(const struct pt_cut_item *items, uint32_t *seq, uint32_t n, uint64_t seed)
{
    struct pt_cut_slices scopes;
    uint64_t state = state_of(seed, items[seq[0]].path);
    if (pt_cut_slices_init(&scopes, items, seq, n, PT_CUT_FILE | PT_CUT_SCOPE) < 0)
        return -1;
    int rc = mix_slices(&scopes, &state, true, seq);
    pt_cut_slices_fini(&scopes);
    return rc;
}

struct place {
    const struct pt_cut_item *item;
    uint32_t slice;
};

static int by_place(const void *va, const void *vb)
{
    const struct place *a = va, *b = vb;
    int rc = strcmp(a->item->path, b->item->path);
    return rc ? rc : (a->item->host > b->item->host) - (a->item->host < b->item->host);
}

/* Files in an order that does not depend on how they came. */
static int sort_files(const struct pt_cut_item *items, struct pt_cut_slices *s, uint32_t n)
{
    pt_auto_free struct place *places = malloc((s->n + 1) * sizeof(*places));
    pt_auto_free uint32_t *order = malloc((n + 1) * sizeof(*order));
    pt_auto_free uint32_t *start = malloc((s->n + 1) * sizeof(*start));
    uint32_t at = 0;
    if (!places || !order || !start)
        return -1;
    for (uint32_t i = 0; i < s->n; i++)
        places[i] = (struct place){.item = &items[s->order[s->start[i]]], .slice = i};
    qsort(places, s->n, sizeof(*places), by_place);
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t from = s->start[places[i].slice], len = s->start[places[i].slice + 1] - from;
        memcpy(order + at, s->order + from, len * sizeof(*order));
        start[i] = at;
        at += len;
    }
    memcpy(s->order, order, n * sizeof(*order));
    memcpy(s->start, start, s->n * sizeof(*start));
    return 0;
}

int pt_cut_shuffle(const struct pt_cut_item *items, uint32_t *seq, uint32_t n, uint64_t seed)
{
    struct pt_cut_slices files;
    uint64_t state = state_of(seed, "");
    if (pt_cut_slices_init(&files, items, seq, n, PT_CUT_FILE) < 0)
        return -1;
    int rc = sort_files(items, &files, n);
    for (uint32_t i = 0; i < files.n && rc == 0; i++)
        rc = mix_file(items, files.order + files.start[i], files.start[i + 1] - files.start[i], seed);
    if (rc == 0)
        rc = mix_slices(&files, &state, false, seq);
    pt_cut_slices_fini(&files);
    return rc;
}
