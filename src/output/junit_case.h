/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The <testcase> elements of one test: the runner's own, with the host as a property, or made here for tests
 * that could not speak. Earlier tries are told as Maven Surefire does and CI systems read: <flakyFailure> and
 * <flakyError> in a test that passed in the end, <rerunFailure> and <rerunError> in one that did not. */
#include <stdbool.h>
#include <stdio.h>

struct pt_ledger_test;
struct pt_result;

struct pt_junit_case {
    const char *family, *prefix;       /* of struct pt_junit_options */
    const char *host;                  /* or NULL */
    const struct pt_ledger_test *test; /* or NULL */
    const struct pt_result *result;
};

/* What the suite's attributes say, as pytest adds it up. */
struct pt_junit_case_sums {
    long tests, errors, failures, skipped;
    bool starved; /* memory ended: what was written is not whole */
};

/* Adds to the sums. Tests that were not run have no testcase, as with pytest. */
void pt_junit_case_write(FILE *f, const struct pt_junit_case *c, struct pt_junit_case_sums *sums);
