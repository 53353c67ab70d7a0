/* SPDX-License-Identifier: Apache-2.0 */
/* Atoms of a file, and its parts. See cut.h for the reasoning. */
#include "cut_inside.h"

#include "common/err.h"
#include "history_inside.h"
#include "runtime_data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NOTHING 0.01        /* seconds of set-up that are not worth keeping tests together for */
#define SEARCH  24          /* halvings */
#define WORTH   0.95        /* of the end with one part, before more are made */
#define WORK    (50u << 20) /* atoms looked at for one file */

struct atom {
    uint32_t first, n;
    double seconds;
    double again; /* what beginning a part here costs more */
};

/* One file on its way into parts. Index i is order[i]. */
struct parts {
    struct pt_cut *cut;
    const struct pt_cut_item *items;
    const uint32_t *order;
    uint32_t n;
    double share;
    float *seconds; /* expected of each test, without what it does for the others */
    double *values; /* room for medians */
    uint32_t *atom_of;
    double *again; /* what a part that begins with this test costs more; negative: it must not */
    struct atom *atoms;
    uint32_t natoms;
    double cost;      /* of one more part */
    double execution; /* of all tests, without cost */
    bool known;
};

static const struct pt_cut_item *item(const struct parts *p, uint32_t i)
{
    return &p->items[p->order[i]];
}

/* What test `at` sets up (or tears down) beyond the median of the others in [from, to). */
static double beyond(const struct parts *p, uint32_t at, uint32_t from, uint32_t to, bool setup)
{
    uint32_t n = 0;
    double own = setup ? (double)item(p, at)->setup : (double)item(p, at)->teardown;
    for (uint32_t i = from; i < to; i++) {
        double v = setup ? (double)item(p, i)->setup : (double)item(p, i)->teardown;
        if (i != at && v >= 0)
            p->values[n++] = v;
    }
    double more = n && own >= 0 ? own - pt_history_median(p->values, n) : 0;
    return more >= NOTHING ? more : 0;
}

/* The node id up to the parameters. */
static size_t function_length(const struct pt_cut_item *it)
{
    const char *name = it->test.nodeid + it->scope;
    return it->scope + strcspn(name, "[");
}

static bool in_class(const struct pt_cut_item *it)
{
    return it->scope > strlen(it->path);
}

static bool same_run(const struct pt_cut_item *a, const struct pt_cut_item *b)
{
    if (a->scope != b->scope || memcmp(a->test.nodeid, b->test.nodeid, a->scope) != 0)
        return false;
    if (in_class(a))
        return true;
    size_t n = function_length(a);
    return n == function_length(b) && memcmp(a->test.nodeid, b->test.nodeid, n) == 0;
}

/* A class, or a function with its parameters: [from, to). May a part begin within, and what does that cost?
 */
static void weigh_run(struct parts *p, uint32_t from, uint32_t to)
{
    double sum = 0, fixed = 0;
    bool known = true, class = in_class(item(p, from));
    for (uint32_t i = from; i < to; i++) {
        known &= item(p, i)->seconds >= 0;
        sum += fmax((double)p->seconds[i], 0);
    }
    if (known && to - from > 1) {
        fixed += from > 0 ? beyond(p, from, from, to, true) : 0;
        fixed += to < p->n ? beyond(p, to - 1, from, to, false) : 0;
        fixed = fixed * 10 < sum ? 0 : fixed;
    }
    bool loose = known && sum > p->share ? true : !class && fixed <= 0;
    p->again[from] = 0;
    for (uint32_t i = from + 1; i < to; i++)
        p->again[i] = loose ? fixed : -1;
}

/* No part begins after the first test of a group and up to its last. */
static int keep_groups(struct parts *p)
{
    struct pt_interned names = {0};
    bool any = false;
    for (uint32_t i = 0; i < p->n && !any; i++)
        any = item(p, i)->group != NULL;
    uint32_t *first = any ? malloc(p->n * sizeof(*first)) : NULL;
    uint32_t *last = any ? malloc(p->n * sizeof(*last)) : NULL;
    int rc = any && (!first || !last) ? -1 : 0;
    for (uint32_t i = 0; any && i < p->n && rc == 0; i++) {
        uint32_t before = names.n, g = item(p, i)->group ? pt_interned_add(&names, item(p, i)->group) : 0;
        if (!item(p, i)->group)
            continue;
        if (g == PT_NONE) {
            rc = -1;
            break;
        }
        if (names.n > before)
            first[g] = i;
        last[g] = i;
    }
    /* Groups are in the order of their first tests, so what is closed only grows. */
    for (uint32_t g = 0, closed = 0; g < names.n && rc == 0; g++)
        for (uint32_t i = first[g] + 1 > closed ? first[g] + 1 : closed; i <= last[g]; i++) {
            p->again[i] = -1;
            closed = i + 1;
        }
    pt_interned_fini(&names);
    free(first);
    free(last);
    return rc;
}

static void number_atoms(struct parts *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        if (i == 0 || p->again[i] >= 0)
            p->atoms[p->natoms++] = (struct atom){.first = i, .again = fmax(p->again[i], 0)};
        struct atom *a = &p->atoms[p->natoms - 1];
        a->n++;
        a->seconds += fmax((double)p->seconds[i], 0);
        p->atom_of[i] = p->natoms - 1;
    }
}

/* What the file's first and last test do for all becomes a cost of each part. */
static void weigh_file(struct parts *p)
{
    uint32_t known = 0, last = p->n - 1;
    for (uint32_t i = 0; i < p->n; i++) {
        p->seconds[i] = item(p, i)->seconds;
        known += item(p, i)->seconds >= 0;
    }
    p->known = known > 0 && known * 2 >= p->n;
    p->cost = fmax((double)item(p, 0)->import, 0);
    if (p->n > 1) {
        double begin = beyond(p, 0, 0, p->n, true), end = beyond(p, last, 0, p->n, false);
        p->seconds[0] -= (float)begin;
        p->seconds[last] -= (float)end;
        p->cost += begin + end;
    }
    for (uint32_t i = 0; i < p->n; i++)
        p->execution += fmax((double)p->seconds[i], 0);
}

static int find_atoms(struct parts *p)
{
    uint32_t to;
    for (uint32_t from = 0; from < p->n; from = to) {
        for (to = from + 1; to < p->n && same_run(item(p, from), item(p, to));)
            to++;
        weigh_run(p, from, to);
    }
    if (keep_groups(p) < 0)
        return -1;
    number_atoms(p);
    return 0;
}

/* --- how many parts, and where --- */

static double longest_atom(const struct parts *p)
{
    double longest = 0;
    for (uint32_t i = 0; i < p->natoms; i++)
        longest = fmax(longest, p->atoms[i].seconds + p->atoms[i].again);
    return longest;
}

/* Parts that are needed when none may take longer; ends[i] is the first atom after part i (NULL: only count).
 */
static uint32_t divide(const struct parts *p, double limit, uint32_t *ends)
{
    uint32_t n = 0;
    double sum = 0;
    for (uint32_t i = 0; i < p->natoms; i++) {
        const struct atom *a = &p->atoms[i];
        if (i == 0 || sum + a->seconds > limit) {
            if (ends && n)
                ends[n - 1] = i;
            n++;
            sum = i ? a->again : 0;
        }
        sum += a->seconds;
    }
    if (ends)
        ends[n - 1] = p->natoms;
    return n;
}

/* The shortest longest part, without cost, that needs no more than n parts. */
static double shortest(const struct parts *p, uint32_t n)
{
    double low = fmax(p->execution / n, 0), high = p->execution + longest_atom(p);
    for (int i = 0; i < SEARCH && high - low > 1e-3 * high; i++) {
        double middle = (low + high) / 2;
        if (divide(p, middle, NULL) <= n)
            high = middle;
        else
            low = middle;
    }
    return high;
}

/* When the run is expected to end with n parts, none longer than this. See cut.h. */
static double end_of_run(const struct parts *p, double total, uint32_t n, double longest)
{
    uint32_t slots = p->cut->spec.slots, weight = item(p, 0)->weight;
    uint32_t places = slots > weight ? slots / weight : 1;
    double even = (total + (n - 1) * p->cost * weight) / slots, part = p->cost + longest;
    uint32_t rounds = n / places + (n % places > 0);
    double packed = fmax(even, rounds * part);
    return 0.75 * packed + 0.25 * (even + (1 - 1.0 / places) * part);
}

/* The longest part to allow; negative: one part is best. Each number of parts is tried; of many parts of many
 * atoms, only as if atoms could be cut. */
static double choose(const struct parts *p, double total)
{
    double atom = longest_atom(p), best = -1;
    double least = end_of_run(p, total, 1, p->execution) * WORTH;
    uint32_t most = pt_runtime_parts(p->execution, p->cost, 0, p->natoms, p->share);
    uint64_t work = 0;
    for (uint32_t n = 2; n <= most; n++) {
        bool exact = (work += p->natoms) * SEARCH < WORK;
        double limit = exact ? shortest(p, n) : fmax(p->execution / n, atom);
        double end = end_of_run(p, total, exact ? divide(p, limit, NULL) : n, limit);
        if (end < least * 0.9999) {
            least = end;
            best = limit;
        }
    }
    return best;
}

static int give_part(struct parts *p, uint32_t from, uint32_t to, struct pt_err *err)
{
    uint32_t first = p->atoms[from].first, last = p->atoms[to - 1].first + p->atoms[to - 1].n;
    struct pt_cut_piece piece = {.items = p->items,
                                 .order = p->order + first,
                                 .n = last - first,
                                 .atoms = p->cut->spec.split ? p->atom_of + first : NULL,
                                 .seconds_of = p->seconds + first,
                                 .seconds = -1,
                                 .like = *item(p, first)};
    if (p->known) {
        piece.seconds = p->cost + (from ? p->atoms[from].again : 0);
        for (uint32_t i = from; i < to; i++)
            piece.seconds += p->atoms[i].seconds;
    }
    return pt_cut_give(p->cut, &piece, err);
}

static int give_parts(struct parts *p, double limit, struct pt_err *err)
{
    int rc = 0;
    uint32_t *ends = malloc((p->natoms + 1) * sizeof(*ends));
    if (!ends)
        return pt_cut_no_memory(err);
    uint32_t n = divide(p, limit, ends);
    for (uint32_t i = 0; i < n && rc == 0; i++)
        rc = give_part(p, i ? ends[i - 1] : 0, ends[i], err);
    free(ends);
    return rc;
}

static bool worth_cutting(const struct parts *p, double total)
{
    return total > 0 && p->natoms > 1 && p->known && item(p, 0)->exclusive == PT_EXCLUSIVE_NOT &&
           isfinite(p->share) && p->cost + p->execution > p->share;
}

int pt_cut_parts(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *order, uint32_t n,
                 double total, struct pt_err *err)
{
    struct parts p = {.cut = cut,
                      .items = items,
                      .order = order,
                      .n = n,
                      .share = total > 0 ? pt_cut_share(cut, total) : INFINITY,
                      .seconds = malloc(n * sizeof(*p.seconds)),
                      .values = malloc(n * sizeof(*p.values)),
                      .atom_of = malloc(n * sizeof(*p.atom_of)),
                      .again = malloc(n * sizeof(*p.again)),
                      .atoms = malloc(n * sizeof(*p.atoms))};
    int rc = -1;
    if (!p.seconds || !p.values || !p.atom_of || !p.again || !p.atoms) {
        pt_cut_no_memory(err);
        goto out;
    }
    weigh_file(&p);
    if (find_atoms(&p) < 0) {
        pt_cut_no_memory(err);
        goto out;
    }
    double limit = worth_cutting(&p, total) ? choose(&p, total) : -1;
    rc = limit >= 0 ? give_parts(&p, limit, err) : give_part(&p, 0, p.natoms, err);
out:
    free(p.seconds);
    free(p.values);
    free(p.atom_of);
    free(p.again);
    free(p.atoms);
    return rc;
}
