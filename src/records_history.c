/* SPDX-License-Identifier: Apache-2.0 */
/* `ptremote history`: what tests came to over the runs that are kept. */
#include "common/err.h"
#include "records_inside.h"

#include <stdlib.h>
#include <string.h>

/* --- all tests --- */

struct flaky {
    char *nodeid;
    uint32_t passed, failed, reran;
};

struct trends {
    struct flaky *flaky;
    size_t n, cap;
    struct pt_columns slowest;
    uint32_t left;
    bool bad;
};

static void keep_flaky(struct trends *all, const struct pt_ledger_trend *t)
{
    if (all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 64;
        struct flaky *flaky = realloc(all->flaky, cap * sizeof(*flaky));
        all->bad |= !flaky;
        if (!flaky)
            return;
        all->flaky = flaky;
        all->cap = cap;
    }
    struct flaky *f = &all->flaky[all->n];
    *f = (struct flaky){strdup(t->nodeid), t->passed, t->failed, t->reran};
    all->bad |= !f->nodeid;
    all->n += f->nodeid != NULL;
}

static int take(void *arg, const struct pt_ledger_trend *t)
{
    struct trends *all = arg;
    char median[PT_RECORD_TIME], last[PT_RECORD_TIME];
    if (t->reran || (t->passed && t->failed))
        keep_flaky(all, t);
    if (all->left && t->median >= 0) {
        all->left--;
        pt_record_took(t->median, median);
        pt_record_took(t->last, last);
        pt_columns_add(&all->slowest, median);
        pt_columns_add(&all->slowest, last);
        pt_columns_add(&all->slowest, t->nodeid);
    }
    return all->bad;
}

/* The one that went wrong most often first. */
static int by_trouble(const void *a, const void *b)
{
    const struct flaky *x = a, *y = b;
    uint32_t of_x = x->failed + x->reran, of_y = y->failed + y->reran;
    return of_x != of_y ? (of_x < of_y) - (of_x > of_y) : strcmp(x->nodeid, y->nodeid);
}

static int print_flaky(struct trends *all, uint32_t most, struct pt_err *err)
{
    struct pt_columns c = {.width = 2};
    char reran[48];
    if (all->n)
        qsort(all->flaky, all->n, sizeof(*all->flaky), by_trouble);
    puts(all->n ? "flaky tests" : "no test was flaky");
    for (size_t i = 0; i < all->n && i < most; i++) {
        const struct flaky *f = &all->flaky[i];
        snprintf(reran, sizeof(reran), ", passed by a rerun in %u", f->reran);
        pt_columns_addf(&c, "failed in %u of %u runs%s", f->failed, f->passed + f->failed,
                        f->reran ? reran : "");
        pt_columns_add(&c, f->nodeid);
    }
    return pt_columns_print(&c, "  ", pt_record_limit(), stdout, err);
}

static int tell_all(struct pt_ledger *l, uint32_t most, struct pt_err *err)
{
    struct trends all = {.left = most, .slowest = {.width = 3, .right = 3}};
    pt_columns_add(&all.slowest, "median");
    pt_columns_add(&all.slowest, "last");
    pt_columns_add(&all.slowest, "");
    int rc = pt_ledger_each_trend(l, take, &all, err);
    if (rc > 0)
        pt_err_set(err, "out of memory");
    if (rc == 0)
        rc = print_flaky(&all, most, err);
    if (rc == 0) {
        puts("slowest tests");
        rc = pt_columns_print(&all.slowest, "  ", pt_record_limit(), stdout, err);
    }
    for (size_t i = 0; i < all.n; i++)
        free(all.flaky[i].nodeid);
    free(all.flaky);
    pt_columns_fini(&all.slowest);
    return rc ? -1 : 0;
}

/* --- some tests --- */

struct pasts {
    struct pt_columns columns; /* of the test told last */
    char *nodeid;              /* its node id */
    uint32_t occurrence, left; /* left: rows that it may still have */
    uint32_t most;
    struct pt_err *err;
};

static int end_test(struct pasts *p)
{
    return p->nodeid ? pt_columns_print(&p->columns, "  ", pt_record_limit(), stdout, p->err) : 0;
}

static int begin_test(struct pasts *p, const struct pt_ledger_past *past)
{
    struct pt_columns title = {.width = 1};
    if (end_test(p) < 0)
        return -1;
    free(p->nodeid);
    p->nodeid = strdup(past->nodeid);
    p->occurrence = past->occurrence;
    p->left = p->most;
    pt_columns_add(&title, past->nodeid);
    return p->nodeid ? pt_columns_print(&title, "", 0, stdout, p->err) : pt_err_set(p->err, "out of memory");
}

static int take_past(void *arg, const struct pt_ledger_past *past)
{
    struct pasts *p = arg;
    char when[PT_RECORD_TIME], took[PT_RECORD_TIME];
    bool same = p->nodeid && strcmp(p->nodeid, past->nodeid) == 0 && p->occurrence == past->occurrence;
    if (!same && begin_test(p, past) < 0)
        return -1;
    if (p->left == 0)
        return 0;
    p->left--;
    pt_record_when(past->started, when);
    pt_record_took(past->duration, took);
    const char *outcome = past->outcome == PT_OUTCOME_NONE     ? "open"
                          : past->outcome == PT_OUTCOME_NOTRUN ? "not run"
                                                               : pt_outcome_name(past->outcome);
    pt_columns_add(&p->columns, past->run);
    pt_columns_add(&p->columns, when);
    pt_columns_add(&p->columns, took);
    if (past->tries > 1)
        pt_columns_addf(&p->columns, "%s at try %u", outcome, past->tries);
    else
        pt_columns_add(&p->columns, outcome);
    pt_columns_add(&p->columns, past->host);
    return 0;
}

static int tell_some(struct pt_ledger *l, const char *part, uint32_t most, struct pt_err *err)
{
    struct pasts p = {.columns = {.width = 5, .right = 1u << 2}, .most = most, .err = err};
    int rc = pt_ledger_each_past(l, part, take_past, &p, err);
    if (rc == 0)
        rc = end_test(&p);
    if (rc == 0 && !p.nodeid)
        rc = pt_err_set_kind(err, PT_ERR_USAGE, "no recorded test has '%.80s' in its node id", part);
    pt_columns_fini(&p.columns);
    free(p.nodeid);
    return rc;
}

int pt_record_history(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    return o->word ? tell_some(l, o->word, o->most, err) : tell_all(l, o->most, err);
}
