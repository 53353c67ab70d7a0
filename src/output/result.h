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

/* One test (or entry of no test): its own report and what came later on top. */
struct pt_result {
    struct pt_report own, extra;
    bool has_extra;
    uint8_t outcome; /* the graver of the two */
};
/* n at least 1. A row without JSON (a test that never ran), or with JSON that cannot be read, gives a report
 * with the row's outcome only. */
void pt_result_init(struct pt_result *r, const struct pt_ledger_test *test,
                    const struct pt_ledger_report *rows, size_t n);
void pt_result_fini(struct pt_result *r);
