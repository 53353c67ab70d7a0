/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* JUnit XML with the testcases that pytest itself would write, from what the runners sent as data. */
#include <stdint.h>

struct pt_err;
struct pt_ledger;

struct pt_junit_options {
    const char *path;
    const char *family;     /* "xunit2" (NULL), "xunit1", "legacy" */
    const char *suite_name; /* NULL: "pytest" */
    const char *prefix;     /* --junit-prefix, for testcases made here; or NULL */
    double started, seconds;
};
/* The run's testcases in collection order, written to a temporary file that is then renamed to path. Folders
 * are made. run 0: the run begun last. */
int pt_junit_write(const struct pt_junit_options *o, struct pt_ledger *ledger, int64_t run,
                   struct pt_err *err);
