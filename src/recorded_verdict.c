/* SPDX-License-Identifier: Apache-2.0 */
/* A verdict from the ledger: each test's tries and reports, given to it in the order in which they counted.
 */
#include "common/err.h"
#include "output/result.h"
#include "recorded.h"
#include "report.h"
#include "verdict.h"

struct again {
    struct pt_verdict *verdict;
    bool full; /* more tests than a verdict takes, or memory ended */
};

/* -1 when memory ended. */
static int set(struct pt_verdict *v, uint32_t test, const struct pt_ledger_test *name,
               const struct pt_ledger_report *row)
{
    struct pt_report r;
    int rc = pt_result_decode(name, row, &r);
    if (row->extra)
        pt_verdict_amend(v, test, row->outcome, r.counts, r.ncounts);
    else if (test == PT_NONE)
        pt_verdict_add_entry(v, row->outcome, r.counts, r.ncounts);
    else
        pt_verdict_set(v, test, row->attempt, row->outcome, r.counts, r.ncounts);
    pt_report_fini(&r);
    return rc;
}

/* The last try of a test that was to run again and did not is told twice: as a try and as what counts. */
static int take(void *arg, const struct pt_ledger_test *name, const struct pt_ledger_report *rows, size_t n)
{
    struct again *a = arg;
    const struct pt_ledger_report *own = pt_result_row(rows, n);
    uint32_t test = name ? pt_verdict_add_test(a->verdict) : PT_NONE;
    a->full = name && test == PT_NONE;
    for (size_t i = 0; i < n && !a->full; i++) {
        const struct pt_ledger_report *row = &rows[i];
        if (row->rerun && (row->extra || (own && row->try_ >= own->try_)))
            continue;
        a->full = set(a->verdict, test, name, row) < 0;
        if (row->rerun)
            pt_verdict_again(a->verdict, test);
    }
    return a->full;
}

static int count_warning(void *arg, uint32_t host, const void *json, size_t n)
{
    (void)host, (void)json, (void)n;
    pt_verdict_count(arg, "warnings", 1);
    return 0;
}

struct pt_verdict *pt_recorded_verdict(struct pt_ledger *l, int64_t run, struct pt_err *err)
{
    struct again a = {.verdict = pt_verdict_create(err)};
    if (!a.verdict)
        return NULL;
    int rc = pt_ledger_each_result(l, run, ~0u, take, &a, err);
    if (rc == 0)
        rc = pt_ledger_each_note(l, run, pt_note_name(PT_NOTE_WARNING), count_warning, a.verdict, err);
    if (rc == 0)
        return a.verdict;
    if (a.full)
        pt_err_set(err, "verdict: out of memory");
    pt_verdict_destroy(a.verdict);
    return NULL;
}
