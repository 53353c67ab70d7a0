/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the writers share: the hosts' names, and one test's rows of the ledger as reports. */
#include "ledger.h"
#include "report.h"

/* Names by host number. */
struct pt_names {
    char **name;
    size_t n;
};
int pt_names_load(struct pt_names *names, struct pt_ledger *ledger, int64_t run, struct pt_err *err);
/* NULL for a number that is none. */
const char *pt_names_get(const struct pt_names *names, uint32_t host);
void pt_names_fini(struct pt_names *names);

/* One test (or entry of no test): its own report, what came later on top, and what earlier tries gave. */
struct pt_result {
    struct pt_report own, extra;
    bool has_extra;
    bool starved;                         /* memory ended: a report is the row's outcome only */
    uint8_t outcome;                      /* the graver of the two */
    const struct pt_ledger_report *row;   /* its own report's */
    const struct pt_ledger_report *tries; /* rows of ntries earlier tries, and of what came on top of them */
    size_t ntries;
};
/* False when no row is counted: it has no outcome yet. A row without JSON (a test that never ran), or with
 * JSON that cannot be read, gives a report with the row's outcome only. The rows must outlive it. */
bool pt_result_init(struct pt_result *r, const struct pt_ledger_test *test,
                    const struct pt_ledger_report *rows, size_t n);
void pt_result_fini(struct pt_result *r);
/* The row of its own report without reading that; NULL when none is counted. */
const struct pt_ledger_report *pt_result_row(const struct pt_ledger_report *rows, size_t n);
/* Is this row of `tries` one to tell: a try of its own, and not the one that counts in the end? */
bool pt_result_is_try(const struct pt_result *r, const struct pt_ledger_report *row);
/* A row as a report; pt_report_fini. -1 when memory ended: the row's outcome only. */
int pt_result_decode(const struct pt_ledger_test *test, const struct pt_ledger_report *row,
                     struct pt_report *r);
