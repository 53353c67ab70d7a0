/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The --json file: every test of a run with what it gave, streamed from the ledger. */
#include <stdint.h>

struct pt_err;
struct pt_ledger;
struct pt_verdict;

struct pt_json_file {
    const char *path;
    const char *run_name; /* as users see it */
    int exitcode;
    double started, seconds;
};
/* Written to a temporary file that is then renamed to path. run 0: the run begun last. */
int pt_json_file_write(const struct pt_json_file *o, struct pt_ledger *ledger, int64_t run,
                       const struct pt_verdict *verdict, struct pt_err *err);
