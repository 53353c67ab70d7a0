/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_inside.h"

#include "common/auto.h"
#include "common/err.h"

#include <stdlib.h>
#include <string.h>

int pt_cut_no_memory(struct pt_err *err)
{
    return pt_err_set(err, "units of tests: out of memory");
}

int pt_cut_room(void *array, uint32_t *cap, uint32_t n, size_t size)
{
    void **at = array;
    uint32_t more = *cap ? *cap : 64;
    if (n <= *cap)
        return 0;
    while (more < n)
        more *= 2;
    void *grown = realloc(*at, more * size);
    if (!grown)
        return -1;
    *at = grown;
    *cap = more;
    return 0;
}

/* --- slices --- */

static uint64_t add_bytes(uint64_t h, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h ^ h >> 32;
}

static uint64_t hash_item(const struct pt_cut_item *it, unsigned by)
{
    uint64_t h = 14695981039346656037u;
    const uint64_t traits[] = {it->ranks, it->numa, it->weight, it->exclusive, it->needs};
    if (by & PT_CUT_GROUP)
        return it->group ? add_bytes(h ^ it->ranks, it->group, strlen(it->group)) : 0;
    h = add_bytes(h ^ it->host, it->path, strlen(it->path));
    if (by & PT_CUT_SCOPE)
        h = add_bytes(h, it->test.nodeid, it->scope);
    return by & PT_CUT_TRAITS ? add_bytes(h, traits, sizeof(traits)) : h;
}

static bool same_traits(const struct pt_cut_item *a, const struct pt_cut_item *b)
{
    return a->host == b->host && a->ranks == b->ranks && a->numa == b->numa && a->weight == b->weight &&
           a->exclusive == b->exclusive && a->needs == b->needs;
}

static bool same(const struct pt_cut_item *a, const struct pt_cut_item *b, unsigned by)
{
    if (by & PT_CUT_GROUP)
        return a->group && b->group && a->ranks == b->ranks && a->numa == b->numa &&
               strcmp(a->group, b->group) == 0;
    if (a->host != b->host || (a->path != b->path && strcmp(a->path, b->path) != 0))
        return false;
    if ((by & PT_CUT_SCOPE) &&
        (a->scope != b->scope || memcmp(a->test.nodeid, b->test.nodeid, a->scope) != 0))
        return false;
    return !(by & PT_CUT_TRAITS) || same_traits(a, b);
}

/* Which slice each item is in, as they come, and how many slices there are. first: an item of each. */
struct sorter {
    const struct pt_cut_item *items;
    unsigned by;
    uint32_t *slots; /* open addressing: slice + 1 */
    uint32_t mask;
    uint32_t *first, *slice;
    uint32_t n;
};

static uint32_t slice_of(struct sorter *s, uint32_t item)
{
    const struct pt_cut_item *it = &s->items[item];
    if ((s->by & PT_CUT_GROUP) && !it->group) {
        s->first[s->n] = item;
        return s->n++;
    }
    uint32_t i = (uint32_t)hash_item(it, s->by) & s->mask;
    while (s->slots[i] && !same(&s->items[s->first[s->slots[i] - 1]], it, s->by))
        i = (i + 1) & s->mask;
    if (!s->slots[i]) {
        s->first[s->n] = item;
        s->slots[i] = ++s->n;
    }
    return s->slots[i] - 1;
}

int pt_cut_slices_init(struct pt_cut_slices *out, const struct pt_cut_item *items, const uint32_t *seq,
                       uint32_t n, unsigned by)
{
    uint32_t size = 16;
    while (size < 2 * n)
        size *= 2;
    pt_auto_free uint32_t *slots = calloc(size, sizeof(*slots));
    pt_auto_free uint32_t *first = malloc((n + 1) * sizeof(*first));
    pt_auto_free uint32_t *slice = malloc((n + 1) * sizeof(*slice));
    struct sorter s = {
        .items = items, .by = by, .slots = slots, .mask = size - 1, .first = first, .slice = slice};
    *out = (struct pt_cut_slices){.order = malloc((n + 1) * sizeof(*out->order)),
                                  .start = calloc(n + 2, sizeof(*out->start))};
    if (!slots || !first || !slice || !out->order || !out->start) {
        pt_cut_slices_fini(out);
        return -1;
    }
    for (uint32_t i = 0; i < n; i++)
        out->start[(slice[i] = slice_of(&s, seq[i])) + 2]++; /* 2 on: they become starts below */
    for (uint32_t i = 2; i < s.n + 2; i++)
        out->start[i] += out->start[i - 1];
    for (uint32_t i = 0; i < n; i++)
        out->order[out->start[slice[i] + 1]++] = seq[i];
    out->n = s.n;
    return 0;
}

void pt_cut_slices_fini(struct pt_cut_slices *s)
{
    free(s->order);
    free(s->start);
    *s = (struct pt_cut_slices){0};
}

/* --- giving --- */

static size_t bytes_of(const struct pt_cut_item *it, bool new_file)
{
    return 16 + strlen(it->test.nodeid) + (new_file ? 16 + strlen(it->path) : 0);
}

static bool begins_file(const struct pt_cut_piece *p, uint32_t i, uint32_t from)
{
    const struct pt_cut_item *it = &p->items[p->order[i]], *before = i ? &p->items[p->order[i - 1]] : it;
    return i == from || (it->path != before->path && strcmp(it->path, before->path) != 0);
}

/* How many from `from` on fit into one unit; at least one. */
static uint32_t fitting(const struct pt_cut_piece *p, uint32_t from)
{
    size_t bytes = 0;
    uint32_t i = from;
    for (; i < p->n; i++) {
        bytes += bytes_of(&p->items[p->order[i]], begins_file(p, i, from));
        if (bytes > PT_CUT_BYTES && i > from)
            break;
    }
    return i - from;
}

static int give_some(struct pt_cut *cut, const struct pt_cut_piece *p, uint32_t from, uint32_t n,
                     struct pt_err *err)
{
    uint32_t nfiles = 0;
    if (pt_cut_room(&cut->tests, &cut->cap_tests, n, sizeof(*cut->tests)) < 0)
        return pt_cut_no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const struct pt_cut_item *it = &p->items[p->order[from + i]];
        cut->tests[i] = it->test;
        if (begins_file(p, from + i, from)) {
            if (pt_cut_room(&cut->files, &cut->cap_files, nfiles + 1, sizeof(*cut->files)) < 0)
                return pt_cut_no_memory(err);
            cut->files[nfiles++] =
                (struct pt_bundle_file){.path = (char *)(uintptr_t)it->path, .tests = &cut->tests[i]};
        }
        cut->files[nfiles - 1].ntests++;
    }
    struct pt_plan_unit unit = {.files = cut->files,
                                .nfiles = nfiles,
                                .atoms = p->atoms ? p->atoms + from : NULL,
                                .seconds_of = p->seconds_of ? p->seconds_of + from : NULL,
                                .seconds = n == p->n ? p->seconds : p->seconds * n / p->n,
                                .weight = p->like.weight,
                                .ranks = p->like.ranks,
                                .numa = p->like.numa,
                                .exclusive = p->like.exclusive,
                                .needs = p->like.needs,
                                .host = p->like.host,
                                .rank = PT_NONE,
                                .alone = p->alone};
    return cut->unit(cut->arg, &unit, err) < 0 ? -1 : 0;
}

int pt_cut_give(struct pt_cut *cut, const struct pt_cut_piece *piece, struct pt_err *err)
{
    uint32_t n;
    for (uint32_t from = 0; from < piece->n; from += n) {
        n = fitting(piece, from);
        if (give_some(cut, piece, from, n, err) < 0)
            return -1;
    }
    return 0;
}

/* --- putting together --- */

/* Expected of all, with each test's share of its file's import; negative when less than half are known. */
static double expected(const struct pt_cut_item *items, const uint32_t *order, uint32_t n)
{
    double seconds = 0, imports = 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct pt_cut_item *it = &items[order[i]];
        known += it->seconds >= 0;
        seconds += it->seconds >= 0 ? (double)it->seconds : 0;
        imports += it->share >= 0 ? (double)it->share : 0;
    }
    return known == 0 || known * 2 < n ? -1 : seconds * n / known + imports;
}

static int give_whole(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *order, uint32_t n,
                      bool alone, struct pt_err *err)
{
    struct pt_cut_piece p = {.items = items,
                             .order = order,
                             .n = n,
                             .seconds = expected(items, order, n),
                             .like = items[order[0]],
                             .alone = alone};
    if (pt_cut_room(&cut->seconds, &cut->cap_seconds, n, sizeof(*cut->seconds)) < 0)
        return pt_cut_no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const struct pt_cut_item *it = &items[order[i]];
        cut->seconds[i] = it->seconds;
        if (it->weight > p.like.weight)
            p.like.weight = it->weight;
        if (it->exclusive > p.like.exclusive)
            p.like.exclusive = it->exclusive;
        p.like.needs |= it->needs;
    }
    p.seconds_of = cut->seconds;
    return pt_cut_give(cut, &p, err);
}

/* Runs of the order as it is. */
static int give_in_order(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *seq, uint32_t n,
                         struct pt_err *err)
{
    uint32_t end;
    for (uint32_t from = 0; from < n; from = end) {
        for (end = from + 1; end < n && same_traits(&items[seq[from]], &items[seq[end]]); end++)
            if (end - from >= PT_CUT_RUN && strcmp(items[seq[end]].path, items[seq[end - 1]].path) != 0)
                break;
        if (give_whole(cut, items, seq + from, end - from, true, err) < 0)
            return -1;
    }
    return 0;
}

static int give_slices(struct pt_cut *cut, const struct pt_cut_item *items, const struct pt_cut_slices *s,
                       struct pt_err *err)
{
    bool files = cut->spec.dist == PT_DIST_FILE || cut->spec.dist == PT_DIST_EACH;
    double total = cut->spec.dist == PT_DIST_FILE && cut->spec.split ? pt_cut_total(cut, !cut->ended) : 0;
    int rc = 0;
    for (uint32_t i = 0; i < s->n && rc == 0; i++) {
        const uint32_t *order = s->order + s->start[i];
        uint32_t n = s->start[i + 1] - s->start[i];
        rc = files ? pt_cut_parts(cut, items, order, n, total, err)
                   : give_whole(cut, items, order, n, false, err);
    }
    return rc;
}

int pt_cut_units(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *seq, uint32_t n,
                 struct pt_err *err)
{
    static const unsigned by[] = {[PT_DIST_FILE] = PT_CUT_FILE | PT_CUT_TRAITS,
                                  [PT_DIST_SCOPE] = PT_CUT_FILE | PT_CUT_SCOPE | PT_CUT_TRAITS,
                                  [PT_DIST_GROUP] = PT_CUT_GROUP,
                                  [PT_DIST_EACH] = PT_CUT_FILE | PT_CUT_TRAITS};
    struct pt_cut_slices s;
    int rc = 0;
    if (cut->spec.in_order)
        return give_in_order(cut, items, seq, n, err);
    if (cut->spec.dist == PT_DIST_TEST) {
        for (uint32_t i = 0; i < n && rc == 0; i++)
            rc = give_whole(cut, items, seq + i, 1, false, err);
        return rc;
    }
    if (pt_cut_slices_init(&s, items, seq, n, by[cut->spec.dist]) < 0)
        return pt_cut_no_memory(err);
    rc = give_slices(cut, items, &s, err);
    pt_cut_slices_fini(&s);
    return rc;
}
