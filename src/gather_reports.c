/* SPDX-License-Identifier: Apache-2.0 */
#include "gather_reports.h"

#include "common/err.h"
#include "ledger.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

struct before {
    bool told;
    uint32_t tries;
    char *nodeid, *file;
    struct pt_err *err;
};

static int look(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows, size_t n)
{
    struct before *b = arg;
    for (size_t i = 0; i < n; i++) {
        b->told |= !rows[i].rerun && rows[i].counted > 0;
        b->tries = rows[i].rerun && rows[i].try_ > b->tries ? rows[i].try_ : b->tries;
    }
    if (test) {
        b->nodeid = strdup(test->nodeid);
        b->file = strdup(test->file);
    }
    return !test || (b->nodeid && b->file) ? 0 : pt_err_set(b->err, "out of memory");
}

static bool went_wrong(const struct pt_report *r)
{
    return r->outcome >= PT_OUTCOME_ERROR;
}

/* As run_results.c keeps it, but nothing is shown or learned. */
static int keep(struct pt_gather_from *from, uint32_t test, uint32_t tries, const struct pt_report *r,
                struct pt_ledger_report *row, struct pt_err *err)
{
    row->test = test;
    row->counted = PT_COUNTED_FIRST;
    row->host = from->host;
    row->try_ = tries + 1;
    row->outcome = r->outcome;
    row->phase = r->phase;
    row->started = r->started;
    row->duration = r->duration;
    row->setup = r->setup;
    row->call = r->call;
    row->teardown = r->teardown;
    if (pt_ledger_add_report(from->ledger, row, err) < 0)
        return -1;
    from->reports++;
    return 0;
}

/* Of a test that has no outcome yet, and is what the report names. */
static int take_json(struct pt_gather_from *from, uint32_t test, const struct before *b,
                     struct pt_ledger_report *row, struct pt_err *err)
{
    struct pt_report r;
    if (pt_report_decode(row->json, row->json_len, &r, err) < 0)
        return -1;
    bool ours = r.nodeid && strcmp(r.nodeid, b->nodeid) == 0 && r.outcome != PT_OUTCOME_NONE;
    int rc = !ours                            ? pt_err_set(err, "a report of another test")
             : from->reruns && went_wrong(&r) ? 0
                                              : keep(from, test, b->tries, &r, row, err);
    pt_report_fini(&r);
    return rc;
}

static int find(struct pt_gather_from *from, uint32_t test, struct before *b, struct pt_err *err)
{
    if (test == PT_NONE)
        return 1;
    b->err = err;
    int rc = pt_ledger_get_result(from->ledger, from->run, test, look, b, err);
    return rc < 0 ? -1 : rc > 0 || !b->nodeid || b->told;
}

int pt_gather_report(struct pt_gather_from *from, struct pt_reader *r, struct pt_err *err)
{
    struct pt_ledger_report row = {.worker = pt_get_u32(r)};
    struct before b = {0};
    row.bundle = pt_get_u32(r);
    row.attempt = pt_get_u32(r);
    uint32_t test = pt_get_u32(r);
    pt_get_u8(r);
    row.json = pt_get_bytes(r, &row.json_len);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed REPORT");
    int rc = find(from, test, &b, err);
    if (rc == 0)
        rc = take_json(from, test, &b, &row, err);
    free(b.nodeid);
    free(b.file);
    return rc < 0 ? -1 : 0;
}

int pt_gather_death(struct pt_gather_from *from, struct pt_reader *r, struct pt_err *err)
{
    struct pt_death d;
    struct before b = {0};
    struct pt_buf json = {0};
    if (pt_death_decode(r, &d, err) < 0)
        return -1;
    /* What the grace ended did not run to its end. */
    int rc = d.cause == PT_CAUSE_TIMEOUT ? 1 : find(from, d.test, &b, err);
    if (rc == 0 && pt_report_from_death(&d, 0, b.nodeid, b.file, false, &json) < 0)
        rc = pt_err_set(err, "out of memory");
    struct pt_ledger_report row = {
        .worker = d.rank, .bundle = d.bundle, .attempt = d.attempt, .json = json.data, .json_len = json.len};
    if (rc == 0)
        rc = take_json(from, d.test, &b, &row, err);
    pt_buf_fini(&json);
    pt_death_fini(&d);
    free(b.nodeid);
    free(b.file);
    return rc < 0 ? -1 : 0;
}
