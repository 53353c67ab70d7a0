/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_inside.h"

#include "common/auto.h"
#include "common/err.h"
#include "history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK (64u << 10)

/* Strings that live until destroy. */
struct pt_cut_chunk {
    struct pt_cut_chunk *next;
    size_t used, size;
    char data[];
};

static char *keep_text(struct pt_cut *cut, const char *s)
{
    size_t n = strlen(s) + 1;
    struct pt_cut_chunk *c = cut->arena;
    if (!c || c->size - c->used < n) {
        size_t size = n > CHUNK ? n : CHUNK;
        if (!(c = malloc(sizeof(*c) + size)))
            return NULL;
        *c = (struct pt_cut_chunk){.next = cut->arena, .size = size};
        cut->arena = c;
    }
    char *at = memcpy(c->data + c->used, s, n);
    c->used += n;
    return at;
}

struct pt_cut *pt_cut_create(const struct pt_cut_spec *spec, pt_cut_unit_fn *unit, void *arg,
                             struct pt_err *err)
{
    struct pt_cut *cut = calloc(1, sizeof(*cut));
    if (!cut) {
        pt_cut_no_memory(err);
        return NULL;
    }
    cut->spec = *spec;
    cut->spec.wait |= spec->in_order || spec->shuffle;
    cut->unit = unit;
    cut->arg = arg;
    return cut;
}

void pt_cut_destroy(struct pt_cut *cut)
{
    if (!cut)
        return;
    while (cut->arena) {
        struct pt_cut_chunk *next = cut->arena->next;
        free(cut->arena);
        cut->arena = next;
    }
    for (uint32_t i = 0; i < cut->njobs; i++)
        free(cut->jobs[i].items);
    free(cut->jobs);
    free(cut->held);
    free(cut->ranks);
    free(cut->tests);
    free(cut->files);
    free(cut->seconds);
    free(cut);
}

void pt_cut_slots(struct pt_cut *cut, uint32_t slots)
{
    if (slots > cut->spec.slots)
        cut->spec.slots = slots;
}

double pt_cut_total(const struct pt_cut *cut, bool most)
{
    double total = cut->known;
    if (cut->nknown)
        total += total * (double)cut->nnot / (double)cut->nknown;
    return most && cut->spec.history ? fmax(total, pt_history_total(cut->spec.history)) : total;
}

double pt_cut_share(const struct pt_cut *cut, double total)
{
    return cut->spec.slots ? fmax(total / cut->spec.slots / 2, PT_CUT_SHARE) : INFINITY;
}

/* --- what is expected of a file's tests --- */

static uint32_t scope_of(const struct pt_cut_test *t)
{
    size_t n = strlen(t->test.nodeid);
    if (t->traits.scope && t->traits.scope <= n)
        return t->traits.scope;
    const char *end = strstr(t->test.nodeid, "::");
    return end && end != t->test.nodeid ? (uint32_t)(end - t->test.nodeid) : (uint32_t)n;
}

/* What runs that were not ours said of the whole file. */
static uint32_t expect_as_told(const struct pt_history *h, const char *path, struct pt_cut_item *items,
                               uint32_t n, double *import)
{
    struct pt_history_file f;
    if (!pt_history_assumed(h, path, &f))
        return 0;
    *import = f.setup + f.teardown;
    for (uint32_t i = 0; i < n; i++)
        items[i].seconds = (float)(f.execution / (f.count ? f.count : n));
    return n;
}

/* Those that are known; how many. */
static uint32_t expect_known(const struct pt_history *h, const char *path, struct pt_cut_item *items,
                             uint32_t n, double *sum)
{
    struct pt_took took;
    uint32_t known = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct pt_cut_item *it = &items[i];
        if (!pt_history_test(h, path, it->test.nodeid, it->test.occurrence, &took))
            continue;
        it->setup = (float)took.setup;
        it->teardown = (float)took.teardown;
        it->seconds = (float)(fmax(took.setup, 0) + fmax(took.call, 0) + fmax(took.teardown, 0));
        *sum += (double)it->seconds;
        known++;
    }
    return known;
}

/* Fills in what is expected; a new test of a known file takes what the others take on average. */
static void expect(struct pt_cut *cut, const char *path, struct pt_cut_item *items, uint32_t n)
{
    const struct pt_history *h = cut->spec.history;
    double sum = 0, import = h ? pt_history_import(h, path) : -1;
    uint32_t known = h ? expect_known(h, path, items, n, &sum) : 0;
    if (h && !known && expect_as_told(h, path, items, n, &import) == 0) {
        cut->nnot += n;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct pt_cut_item *it = &items[i];
        if (it->seconds < 0 && known)
            it->seconds = (float)(sum / known);
        it->import = (float)import;
        it->share = import >= 0 ? (float)(import / n) : -1.0f;
        if (it->seconds >= 0)
            cut->known += ((double)it->seconds + fmax((double)it->share, 0)) * it->weight;
        cut->nknown += it->seconds >= 0;
        cut->nnot += it->seconds < 0;
    }
}

/* --- holding back --- */

/* Copies what the items point to. */
static int own(struct pt_cut *cut, struct pt_cut_item *items, uint32_t n)
{
    const char *path = NULL, *mine = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct pt_cut_item *it = &items[i];
        if (it->path != path && !(mine = keep_text(cut, path = it->path)))
            return -1;
        it->path = mine;
        if (!(it->test.nodeid = keep_text(cut, it->test.nodeid)) ||
            (it->group && !(it->group = keep_text(cut, it->group))))
            return -1;
    }
    return 0;
}

static int hold(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *seq, uint32_t n,
                struct pt_err *err)
{
    if (n > PT_MAX_TESTS || cut->nheld > UINT32_MAX / 4 - n ||
        pt_cut_room(&cut->held, &cut->cap_held, cut->nheld + n, sizeof(*cut->held)) < 0)
        return pt_cut_no_memory(err);
    struct pt_cut_item *to = cut->held + cut->nheld;
    for (uint32_t i = 0; i < n; i++)
        to[i] = items[seq[i]];
    if (own(cut, to, n) < 0)
        return pt_cut_no_memory(err);
    cut->nheld += n;
    return 0;
}

static int hold_job(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *order, uint32_t n,
                    double seconds, struct pt_err *err)
{
    if (pt_cut_room(&cut->jobs, &cut->cap_jobs, cut->njobs + 1, sizeof(*cut->jobs)) < 0)
        return pt_cut_no_memory(err);
    struct pt_cut_item *copy = malloc(n * sizeof(*copy));
    if (!copy)
        return pt_cut_no_memory(err);
    for (uint32_t i = 0; i < n; i++)
        copy[i] = items[order[i]];
    if (own(cut, copy, n) < 0) {
        free(copy);
        return pt_cut_no_memory(err);
    }
    cut->least = cut->njobs ? fmin(cut->least, seconds) : seconds;
    cut->most = cut->njobs ? fmax(cut->most, seconds) : seconds;
    cut->jobs[cut->njobs++] = (struct pt_cut_job){.items = copy, .n = n, .seconds = seconds};
    return 0;
}

static double job_seconds(const struct pt_cut_item *items, const uint32_t *order, uint32_t n)
{
    double seconds = fmax((double)items[order[0]].import, 0);
    for (uint32_t i = 0; i < n; i++)
        seconds += fmax((double)items[order[i]].seconds, 0);
    return seconds;
}

/* Whether what is not known yet can change how a file of these seconds is given. */
static bool undecided(const struct pt_cut *cut, double seconds)
{
    if (seconds <= PT_CUT_SHARE || cut->ended)
        return false;
    return cut->spec.slots == 0 || (seconds > pt_cut_share(cut, pt_cut_total(cut, false)) &&
                                    seconds <= pt_cut_share(cut, pt_cut_total(cut, true)));
}

static int give_job(struct pt_cut *cut, struct pt_cut_job *job, struct pt_err *err)
{
    pt_auto_free uint32_t *order = malloc((job->n + 1) * sizeof(*order));
    if (!order)
        return pt_cut_no_memory(err);
    for (uint32_t i = 0; i < job->n; i++)
        order[i] = i;
    return pt_cut_parts(cut, job->items, order, job->n, pt_cut_total(cut, !cut->ended), err);
}

/* Those that are decided now. */
static int give_jobs(struct pt_cut *cut, struct pt_err *err)
{
    uint32_t kept = 0;
    int rc = 0;
    if (!cut->njobs || (undecided(cut, cut->least) && undecided(cut, cut->most)))
        return 0;
    double least = INFINITY, most = 0;
    for (uint32_t i = 0; i < cut->njobs; i++) {
        struct pt_cut_job job = cut->jobs[i];
        if (rc < 0 || undecided(cut, job.seconds)) {
            least = fmin(least, job.seconds);
            most = fmax(most, job.seconds);
            cut->jobs[kept++] = job;
        } else {
            rc = give_job(cut, &job, err);
            free(job.items);
        }
    }
    cut->njobs = kept;
    cut->least = least;
    cut->most = most;
    return rc;
}

/* --- a file comes --- */

static int add_file(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *seq, uint32_t n,
                    struct pt_err *err)
{
    struct pt_cut_slices s;
    int rc = 0;
    if (!cut->spec.split)
        return pt_cut_units(cut, items, seq, n, err);
    if (pt_cut_slices_init(&s, items, seq, n, PT_CUT_FILE | PT_CUT_TRAITS) < 0)
        return pt_cut_no_memory(err);
    for (uint32_t i = 0; i < s.n && rc == 0; i++) {
        const uint32_t *order = s.order + s.start[i];
        uint32_t len = s.start[i + 1] - s.start[i];
        double seconds = job_seconds(items, order, len);
        rc = len > 1 && undecided(cut, seconds)
                 ? hold_job(cut, items, order, len, seconds, err)
                 : pt_cut_parts(cut, items, order, len, pt_cut_total(cut, true), err);
    }
    pt_cut_slices_fini(&s);
    return rc;
}

/* Tests without a group go, others wait for the rest of it. */
static int add_groups(struct pt_cut *cut, const struct pt_cut_item *items, uint32_t *seq, uint32_t n,
                      struct pt_err *err)
{
    uint32_t free_ones = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!items[seq[i]].group)
            seq[free_ones++] = seq[i];
        else if (hold(cut, items, &seq[i], 1, err) < 0)
            return -1;
    }
    return free_ones ? pt_cut_units(cut, items, seq, free_ones, err) : 0;
}

int pt_cut_add(struct pt_cut *cut, const char *path, const struct pt_cut_test *tests, uint32_t n,
               uint32_t host, struct pt_err *err)
{
    if (n == 0)
        return 0;
    pt_auto_free struct pt_cut_item *items = n <= PT_MAX_TESTS ? calloc(n, sizeof(*items)) : NULL;
    pt_auto_free uint32_t *seq = items ? malloc(n * sizeof(*seq)) : NULL;
    if (!seq)
        return pt_cut_no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const struct pt_traits *t = &tests[i].traits;
        uint32_t ranks = t->ranks ? t->ranks : 1, weight = t->weight ? t->weight : 1;
        items[i] = (struct pt_cut_item){.test = tests[i].test,
                                        .path = path,
                                        .group = t->group && *t->group ? t->group : NULL,
                                        .needs = t->needs,
                                        .scope = scope_of(&tests[i]),
                                        .host = host,
                                        .weight = ranks != PT_PLAN_ALL && ranks > weight ? ranks : weight,
                                        .ranks = ranks,
                                        .numa = t->numa,
                                        .exclusive = t->exclusive,
                                        .seconds = -1,
                                        .setup = -1,
                                        .teardown = -1,
                                        .import = -1,
                                        .share = -1};
        seq[i] = i;
    }
    expect(cut, path, items, n);
    if (cut->spec.wait)
        return hold(cut, items, seq, n, err);
    int rc = cut->spec.dist == PT_DIST_FILE    ? add_file(cut, items, seq, n, err)
             : cut->spec.dist == PT_DIST_GROUP ? add_groups(cut, items, seq, n, err)
                                               : pt_cut_units(cut, items, seq, n, err);
    return rc < 0 ? -1 : give_jobs(cut, err);
}

/* --- the end --- */

int pt_cut_order(struct pt_cut *cut, const uint32_t *tests, uint32_t n, struct pt_err *err)
{
    uint32_t *ranks = malloc((n + 1) * sizeof(*ranks));
    if (!ranks)
        return pt_cut_no_memory(err);
    memcpy(ranks, tests, n * sizeof(*ranks));
    free(cut->ranks);
    cut->ranks = ranks;
    cut->nranks = n;
    return 0;
}

struct numbered {
    uint32_t test, at;
};

static int by_number(const void *va, const void *vb)
{
    const struct numbered *a = va, *b = vb;
    return a->test != b->test ? (a->test > b->test) - (a->test < b->test) : (a->at > b->at) - (a->at < b->at);
}

/* seq: the held items as the order has them, then the others. */
static int put_in_order(const struct pt_cut *cut, uint32_t *seq)
{
    uint32_t n = cut->nheld, out = 0;
    pt_auto_free struct numbered *index = malloc((n + 1) * sizeof(*index));
    pt_auto_free bool *taken = calloc(n + 1, sizeof(*taken));
    if (!index || !taken)
        return -1;
    for (uint32_t i = 0; i < n; i++)
        index[i] = (struct numbered){.test = cut->held[i].test.test, .at = i};
    qsort(index, n, sizeof(*index), by_number);
    for (uint32_t i = 0; i < cut->nranks; i++) {
        uint32_t lo = 0, hi = n;
        while (lo < hi) {
            uint32_t mid = lo + (hi - lo) / 2;
            if (index[mid].test < cut->ranks[i])
                lo = mid + 1;
            else
                hi = mid;
        }
        if (lo < n && index[lo].test == cut->ranks[i] && !taken[index[lo].at]) {
            taken[index[lo].at] = true;
            seq[out++] = index[lo].at;
        }
    }
    for (uint32_t i = 0; i < n; i++)
        if (!taken[i])
            seq[out++] = i;
    return 0;
}

int pt_cut_end(struct pt_cut *cut, struct pt_err *err)
{
    pt_auto_free uint32_t *seq = malloc((cut->nheld + 1) * sizeof(*seq));
    if (!seq || put_in_order(cut, seq) < 0 ||
        (cut->spec.shuffle && pt_cut_shuffle(cut->held, seq, cut->nheld, cut->spec.seed) < 0))
        return pt_cut_no_memory(err);
    cut->ended = true;
    if (!cut->spec.slots)
        cut->spec.slots = PT_CUT_SLOTS;
    if (give_jobs(cut, err) < 0 || (cut->nheld && pt_cut_units(cut, cut->held, seq, cut->nheld, err) < 0))
        return -1;
    cut->nheld = 0;
    return 0;
}
