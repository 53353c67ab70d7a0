/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/guess.h"

#include <stdlib.h>
#include <string.h>

#define MOST 8 /* times the limit: so many bytes are looked at before doubles among them are found */

struct likely {
    uint32_t *numbers; /* of blobs */
    size_t n, cap;
    uint64_t size;
    const struct pt_manifest *target;
};

static bool same_file(const struct pt_entry *a, const struct pt_entry *b)
{
    return a->type == b->type && a->size == b->size && memcmp(a->digest, b->digest, PT_DIGEST) == 0;
}

static bool add(struct likely *l, uint32_t number)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        uint32_t *numbers = reallocarray(l->numbers, cap, sizeof(*numbers));
        if (!numbers)
            return false;
        l->numbers = numbers;
        l->cap = cap;
    }
    l->numbers[l->n++] = number;
    return true;
}

static bool add_entry(struct likely *l, size_t entry, const struct pt_known *known)
{
    uint32_t end = pt_manifest_first_blob(l->target, entry + 1);
    for (uint32_t i = pt_manifest_first_blob(l->target, entry); i < end; i++) {
        struct pt_blob b = pt_manifest_blob(l->target, i);
        if (pt_known_has(known, b.digest))
            continue;
        if (!add(l, i))
            return false;
        l->size += b.size;
    }
    return true;
}

/* False when they are far too many, or memory ends. */
static bool collect(struct likely *l, const struct pt_manifest *base, const struct pt_known *known,
                    uint64_t most)
{
    size_t have = pt_manifest_count(base), b = 0;
    for (size_t i = 0; i < pt_manifest_count(l->target); i++) {
        const struct pt_entry *e = pt_manifest_get(l->target, i);
        int order = -1;
        while (b < have && (order = strcmp(pt_manifest_get(base, b)->path, e->path)) < 0)
            b++;
        if (b < have && order == 0 && same_file(pt_manifest_get(base, b), e))
            continue;
        if (!add_entry(l, i, known) || l->size > most)
            return false;
    }
    return true;
}

static int by_digest(const void *a, const void *b, void *target)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = memcmp(pt_manifest_blob(target, x).digest, pt_manifest_blob(target, y).digest, PT_DIGEST);
    return order ? order : (x > y) - (x < y);
}

/* Sets the bits of the first number of each digest; how many bytes that are. */
static uint64_t mark(struct likely *l, unsigned char *bits)
{
    uint64_t size = 0;
    struct pt_blob before = {0};
    qsort_r(l->numbers, l->n, sizeof(*l->numbers), by_digest, (void *)(uintptr_t)l->target);
    for (size_t i = 0; i < l->n; i++) {
        struct pt_blob b = pt_manifest_blob(l->target, l->numbers[i]);
        if (i && memcmp(b.digest, before.digest, PT_DIGEST) == 0)
            continue;
        bits[l->numbers[i] / 8] |= (unsigned char)(1u << l->numbers[i] % 8);
        size += b.size;
        before = b;
    }
    return size;
}

unsigned char *pt_guess(const struct pt_manifest *base, const struct pt_manifest *target,
                        const struct pt_known *known, uint64_t limit)
{
    struct likely l = {.target = target};
    unsigned char *bits = NULL;
    if (collect(&l, base, known, MOST * limit) && l.n)
        bits = calloc(1, pt_manifest_blobs(target) / 8 + 1);
    if (bits && mark(&l, bits) > limit) {
        free(bits);
        bits = NULL;
    }
    free(l.numbers);
    return bits;
}
