/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/here/known.h"

#include <stdlib.h>

struct pt_known {
    uint64_t *prefix; /* rising */
    size_t n;
};

struct pt_known *pt_known_create(void)
{
    return calloc(1, sizeof(struct pt_known));
}

void pt_known_destroy(struct pt_known *k)
{
    if (!k)
        return;
    free(k->prefix);
    free(k);
}

static uint64_t prefix_of(const unsigned char digest[PT_DIGEST])
{
    struct pt_reader r = {.p = digest, .left = PT_DIGEST};
    return pt_get_u64(&r);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Those of m, sorted, each once. NULL when memory ends. */
static uint64_t *collect(const struct pt_manifest *m, size_t *count)
{
    uint32_t n = pt_manifest_blobs(m);
    uint64_t *p = malloc((n + (size_t)1) * sizeof(*p));
    if (!p)
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        p[i] = prefix_of(pt_manifest_blob(m, i).digest);
    qsort(p, n, sizeof(*p), by_value);
    size_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!kept || p[kept - 1] != p[i])
            p[kept++] = p[i];
    *count = kept < PT_KNOWN_MAX ? kept : PT_KNOWN_MAX;
    return p;
}

/* Both sets as one into out; how many that are. */
static size_t merge(const struct pt_known *k, const uint64_t *p, size_t n, uint64_t *out)
{
    size_t a = 0, b = 0, count = 0;
    while (a < k->n || b < n) {
        bool left = b == n || (a < k->n && k->prefix[a] <= p[b]);
        uint64_t v = left ? k->prefix[a] : p[b];
        a += a < k->n && k->prefix[a] == v;
        b += b < n && p[b] == v;
        out[count++] = v;
    }
    return count;
}

int pt_known_add(struct pt_known *k, const struct pt_manifest *m)
{
    size_t n;
    uint64_t *own = collect(m, &n);
    uint64_t *both = own ? malloc((k->n + n + 1) * sizeof(*both)) : NULL;
    if (!both) {
        free(own);
        return -1;
    }
    size_t count = merge(k, own, n, both);
    if (count == k->n) {
        free(own);
        free(both);
        return 0;
    }
    free(k->prefix);
    bool fits = count <= PT_KNOWN_MAX;
    free(fits ? own : both);
    k->prefix = fits ? both : own;
    k->n = fits ? count : n;
    return 1;
}

bool pt_known_has(const struct pt_known *k, const unsigned char digest[PT_DIGEST])
{
    uint64_t wanted = prefix_of(digest);
    return k && k->n && bsearch(&wanted, k->prefix, k->n, sizeof(wanted), by_value);
}

size_t pt_known_count(const struct pt_known *k)
{
    return k->n;
}

void pt_known_encode(const struct pt_known *k, struct pt_buf *out)
{
    pt_put_u32(out, (uint32_t)k->n);
    pt_buf_reserve(out, 8 * k->n);
    for (size_t i = 0; i < k->n; i++)
        pt_put_u64(out, k->prefix[i]);
}

struct pt_known *pt_known_decode(struct pt_reader *r)
{
    struct pt_known *k = pt_known_create();
    uint32_t n = pt_get_u32(r);
    if (!k || n > PT_KNOWN_MAX || n > r->left / 8 ||
        !(k->prefix = malloc((n + (size_t)1) * sizeof(*k->prefix))))
        r->bad = true;
    for (uint32_t i = 0; i < n && !r->bad; i++) {
        k->prefix[i] = pt_get_u64(r);
        if (i && k->prefix[i] <= k->prefix[i - 1])
            r->bad = true;
    }
    if (r->bad) {
        pt_known_destroy(k);
        return NULL;
    }
    k->n = n;
    return k;
}
