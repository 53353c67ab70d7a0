/* SPDX-License-Identifier: Apache-2.0 */
#include "verdict.h"

#include "common/auto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order of pytest's last line; what plugins add follows. */
static const char *const known[] = {"failed",  "passed",   "skipped", "deselected", "xfailed",
                                    "xpassed", "warnings", "error",   "crashed",    "timeout",
                                    "lost",    "notrun",   "flaky",   "rerun"};
enum { FAILED = 0, ERROR = 7, CRASHED, TIMEOUT, FLAKY = 12, RERUN }; /* of them */

struct category {
    char *name;
    uint32_t n;
};

/* What one test added to a category, kept so that it can be taken back. */
struct tally {
    struct tally *next;
    uint32_t n;
    uint8_t category;
};

struct slot {
    struct tally *tally; /* what does not fit into `one` */
    uint32_t attempt;
    uint8_t outcome;
    uint8_t one;     /* a category that it added 1 to, and 1; 0: none */
    uint16_t reruns; /* tries before this one */
};

struct pt_verdict {
    struct slot *slots;
    uint32_t nslots, cap, done, entries;
    uint32_t totals[PT_OUTCOMES];
    struct category categories[PT_MAX_CATEGORIES];
    size_t ncategories;
};

/* --- exit codes --- */

enum pt_exit pt_exit_of(enum pt_err_kind kind)
{
    switch (kind) {
    case PT_ERR_USAGE:
        return PT_EXIT_USAGE;
    case PT_ERR_INFRA:
        return PT_EXIT_INFRA;
    case PT_ERR_INTERRUPTED:
        return PT_EXIT_INTERRUPTED;
    case PT_ERR_INTERNAL:
        break;
    }
    return PT_EXIT_INTERNAL;
}

static int rank(int code)
{
    static const int order[] = {PT_EXIT_OK,          PT_EXIT_NO_TESTS, PT_EXIT_FAILED, PT_EXIT_INFRA,
                                PT_EXIT_INTERRUPTED, PT_EXIT_INTERNAL, PT_EXIT_USAGE};
    for (int i = 0; i < (int)PT_COUNT(order); i++)
        if (order[i] == code)
            return i;
    return rank(PT_EXIT_INTERRUPTED);
}

int pt_exit_worse(int a, int b)
{
    return rank(b) > rank(a) ? b : a;
}

int pt_verdict_exit_code(const struct pt_verdict *v, const struct pt_end *end)
{
    const uint32_t *t = v->totals;
    if (end->usage)
        return PT_EXIT_USAGE;
    if (end->internal || !pt_verdict_sum_ok(v) || v->done != v->nslots)
        return PT_EXIT_INTERNAL;
    if (end->exits)
        return end->exit;
    if (end->interrupted)
        return PT_EXIT_INTERRUPTED;
    if (t[PT_OUTCOME_LOST] || end->no_host)
        return PT_EXIT_INFRA;
    if (t[PT_OUTCOME_FAILED] || t[PT_OUTCOME_ERROR] || t[PT_OUTCOME_CRASHED] || t[PT_OUTCOME_TIMEOUT] ||
        pt_verdict_failures(v))
        return PT_EXIT_FAILED;
    if (t[PT_OUTCOME_NOTRUN])
        return PT_EXIT_INTERRUPTED;
    return v->nslots ? PT_EXIT_OK : PT_EXIT_NO_TESTS;
}

/* --- life --- */

struct pt_verdict *pt_verdict_create(struct pt_err *err)
{
    struct pt_verdict *v = calloc(1, sizeof(*v));
    if (!v)
        goto error;
    for (; v->ncategories < PT_COUNT(known); v->ncategories++)
        if (!(v->categories[v->ncategories].name = strdup(known[v->ncategories])))
            goto error;
    return v;
error:
    pt_err_set(err, "verdict: out of memory");
    pt_verdict_destroy(v);
    return NULL;
}

static void drop_tally(struct tally *t)
{
    while (t) {
        struct tally *next = t->next;
        free(t);
        t = next;
    }
}

void pt_verdict_destroy(struct pt_verdict *v)
{
    if (!v)
        return;
    for (uint32_t i = 0; i < v->nslots; i++)
        drop_tally(v->slots[i].tally);
    for (size_t i = 0; i < v->ncategories; i++)
        free(v->categories[i].name);
    free(v->slots);
    free(v);
}

uint32_t pt_verdict_add_test(struct pt_verdict *v)
{
    if (v->nslots == PT_MAX_TESTS)
        return PT_NONE;
    if (v->nslots == v->cap) {
        uint32_t cap = v->cap ? v->cap * 2 : 1024;
        struct slot *slots = realloc(v->slots, cap * sizeof(*slots));
        if (!slots)
            return PT_NONE;
        v->slots = slots;
        v->cap = cap;
    }
    v->slots[v->nslots] = (struct slot){.outcome = PT_OUTCOME_NONE};
    return v->nslots++;
}

uint32_t pt_verdict_tests(const struct pt_verdict *v)
{
    return v->nslots;
}

/* --- counts --- */

/* Index of the category, made when new; -1 for the nameless one and when memory ends. */
static int category(struct pt_verdict *v, const char *name)
{
    if (!name || !*name)
        return -1;
    for (size_t i = 0; i < v->ncategories; i++)
        if (strcmp(v->categories[i].name, name) == 0)
            return (int)i;
    if (v->ncategories == PT_MAX_CATEGORIES)
        return PT_MAX_CATEGORIES - 1;
    bool full = v->ncategories == PT_MAX_CATEGORIES - 1;
    char *copy = strndup(full ? "other" : name, 64);
    if (!copy)
        return -1;
    v->categories[v->ncategories].name = copy;
    return (int)v->ncategories++;
}

static void add_to(struct pt_verdict *v, int i, uint32_t n, struct slot *keep)
{
    v->categories[i].n += n;
    if (keep && n == 1 && !keep->one) {
        keep->one = (uint8_t)(i + 1);
        return;
    }
    struct tally *t = keep ? malloc(sizeof(*t)) : NULL;
    if (!t)
        return;
    *t = (struct tally){.next = keep->tally, .n = n, .category = (uint8_t)i};
    keep->tally = t;
}

static void add_one(struct pt_verdict *v, const char *name, uint32_t n, struct slot *keep)
{
    int i = n ? category(v, name) : -1;
    if (i >= 0)
        add_to(v, i, n, keep);
}

static void add_counts(struct pt_verdict *v, unsigned outcome, const struct pt_count *counts, size_t n,
                       struct slot *keep)
{
    if (!counts)
        add_one(v, pt_outcome_name(outcome), 1, keep);
    for (size_t i = 0; counts && i < n; i++)
        add_one(v, counts[i].name, counts[i].n, keep);
}

static bool is_flaky(const struct slot *s)
{
    return s->reruns && s->outcome == PT_OUTCOME_PASSED;
}

static void take_back(struct pt_verdict *v, struct slot *s)
{
    for (const struct tally *t = s->tally; t; t = t->next)
        v->categories[t->category].n -= t->n;
    if (s->one)
        v->categories[s->one - 1].n--;
    drop_tally(s->tally);
    s->tally = NULL;
    s->one = 0;
    v->totals[s->outcome]--;
    v->categories[FLAKY].n -= is_flaky(s);
}

void pt_verdict_count(struct pt_verdict *v, const char *name, uint32_t n)
{
    add_one(v, name, n, NULL);
}

bool pt_verdict_get_count(const struct pt_verdict *v, size_t i, struct pt_count *out)
{
    for (size_t k = 0; k < v->ncategories; k++) {
        if (v->categories[k].n == 0 || i--)
            continue;
        *out = (struct pt_count){.name = v->categories[k].name, .n = v->categories[k].n};
        return true;
    }
    return false;
}

uint32_t pt_verdict_count_of(const struct pt_verdict *v, const char *name)
{
    for (size_t i = 0; i < v->ncategories; i++)
        if (strcmp(v->categories[i].name, name) == 0)
            return v->categories[i].n;
    return 0;
}

uint32_t pt_verdict_failures(const struct pt_verdict *v)
{
    const struct category *c = v->categories;
    return c[FAILED].n + c[ERROR].n + c[CRASHED].n + c[TIMEOUT].n;
}

bool pt_verdict_enough(const struct pt_verdict *v, uint32_t maxfail)
{
    return maxfail && pt_verdict_failures(v) >= maxfail;
}

/* --- outcomes --- */

static bool is_outcome(unsigned outcome)
{
    return outcome > PT_OUTCOME_NONE && outcome < PT_OUTCOMES;
}

enum pt_counted pt_verdict_set(struct pt_verdict *v, uint32_t test, uint32_t attempt, unsigned outcome,
                               const struct pt_count *counts, size_t n)
{
    if (test >= v->nslots || !is_outcome(outcome))
        return PT_COUNTED_BAD;
    struct slot *s = &v->slots[test];
    bool first = s->outcome == PT_OUTCOME_NONE;
    if (!first && (attempt < s->attempt || outcome <= s->outcome))
        return PT_COUNTED_NOT;
    if (first)
        v->done++;
    else
        take_back(v, s);
    s->outcome = (uint8_t)outcome;
    s->attempt = attempt;
    v->totals[outcome]++;
    add_counts(v, outcome, counts, n, s);
    v->categories[FLAKY].n += is_flaky(s);
    return first ? PT_COUNTED_FIRST : PT_COUNTED_INSTEAD;
}

int pt_verdict_amend(struct pt_verdict *v, uint32_t test, unsigned outcome, const struct pt_count *counts,
                     size_t n)
{
    if (test >= v->nslots || !is_outcome(outcome) || v->slots[test].outcome == PT_OUTCOME_NONE)
        return -1;
    struct slot *s = &v->slots[test];
    if (outcome > s->outcome) {
        v->categories[FLAKY].n -= is_flaky(s);
        v->totals[s->outcome]--;
        v->totals[outcome]++;
        s->outcome = (uint8_t)outcome;
    }
    add_counts(v, outcome, counts, n, s);
    return 0;
}

int pt_verdict_again(struct pt_verdict *v, uint32_t test)
{
    if (test >= v->nslots || v->slots[test].outcome == PT_OUTCOME_NONE || v->slots[test].reruns == UINT16_MAX)
        return -1;
    struct slot *s = &v->slots[test];
    take_back(v, s);
    v->done--;
    s->outcome = PT_OUTCOME_NONE;
    s->attempt = 0;
    s->reruns++;
    v->categories[RERUN].n++;
    return 0;
}

int pt_verdict_not_again(struct pt_verdict *v, uint32_t test)
{
    struct slot *s = test < v->nslots ? &v->slots[test] : NULL;
    if (!s || s->outcome != PT_OUTCOME_NONE || s->reruns == 0)
        return -1;
    s->reruns--;
    v->categories[RERUN].n--;
    return 0;
}

uint32_t pt_verdict_tries(const struct pt_verdict *v, uint32_t test)
{
    return test < v->nslots ? v->slots[test].reruns + 1u : 1;
}

bool pt_verdict_flaky(const struct pt_verdict *v, uint32_t test)
{
    return test < v->nslots && is_flaky(&v->slots[test]);
}

int pt_verdict_add_entry(struct pt_verdict *v, unsigned outcome, const struct pt_count *counts, size_t n)
{
    if (!is_outcome(outcome))
        return -1;
    v->entries++;
    v->totals[outcome]++;
    add_counts(v, outcome, counts, n, NULL);
    return 0;
}

unsigned pt_verdict_outcome(const struct pt_verdict *v, uint32_t test)
{
    return test < v->nslots ? v->slots[test].outcome : (unsigned)PT_OUTCOME_NONE;
}

uint32_t pt_verdict_done(const struct pt_verdict *v)
{
    return v->done;
}

uint32_t pt_verdict_next_missing(const struct pt_verdict *v, uint32_t from)
{
    for (uint32_t i = from; i < v->nslots; i++)
        if (v->slots[i].outcome == PT_OUTCOME_NONE)
            return i;
    return PT_NONE;
}

uint32_t pt_verdict_finish(struct pt_verdict *v, unsigned outcome)
{
    uint32_t n = 0;
    for (uint32_t i = pt_verdict_next_missing(v, 0); i != PT_NONE; i = pt_verdict_next_missing(v, i + 1))
        n += pt_verdict_set(v, i, 0, outcome, NULL, 0) == PT_COUNTED_FIRST;
    return n;
}

uint32_t pt_verdict_total(const struct pt_verdict *v, unsigned outcome)
{
    return outcome < PT_OUTCOMES ? v->totals[outcome] : 0;
}

bool pt_verdict_sum_ok(const struct pt_verdict *v)
{
    uint64_t sum = 0;
    uint32_t done = 0;
    for (unsigned i = PT_OUTCOME_NONE + 1; i < PT_OUTCOMES; i++)
        sum += v->totals[i];
    for (uint32_t i = 0; i < v->nslots; i++)
        done += v->slots[i].outcome != PT_OUTCOME_NONE;
    return done == v->done && sum == (uint64_t)v->done + v->entries;
}
