/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A run as its ledger has it: what the run noted of itself beside its tests, and what can be told again from
 * that. Notes are of the kind PT_RECORDED_NOTE: objects whose members add up. */
#include "json.h"
#include "ledger.h"

struct pt_verdict;

#define PT_RECORDED_NOTE "run"

/* --- the run notes, in the run begun last --- */

/* Of the collector's session line: pytest's rootdir, -r, --durations, and how JUnit files are to be. */
int pt_recorded_session(struct pt_ledger *l, const struct pt_json *session, struct pt_err *err);
int pt_recorded_deselected(struct pt_ledger *l, uint32_t n, struct pt_err *err);
/* Why it ended before it was through; "": it did not. */
int pt_recorded_stopped(struct pt_ledger *l, const char *why, struct pt_err *err);

/* --- and is read --- */

enum pt_recorded_state {
    PT_RECORDED_ENDED,
    PT_RECORDED_RUNNING,
    PT_RECORDED_CUT,     /* its process is gone, and it never ended */
    PT_RECORDED_UNKNOWN, /* it did not end, and may run on another machine */
};
/* pid (may be NULL) is filled for one that is running. */
enum pt_recorded_state pt_recorded_state(const struct pt_ledger_run *run, long *pid);

/* Strings are owned; NULL (or durations -1): not said. */
struct pt_recorded {
    int64_t run;
    char *name;
    enum pt_recorded_state state;
    long pid;
    double started, finished;
    int exitcode;
    char *root, *report_chars, *stopped;
    int durations;
    double durations_min;
    char *family, *suite_name, *prefix; /* of JUnit files */
    uint32_t deselected;
    struct pt_verdict *verdict; /* tests that have no outcome yet have none in it */
};
/* pt_recorded_fini in every case. */
int pt_recorded_init(struct pt_recorded *r, struct pt_ledger *l, int64_t run, struct pt_err *err);
void pt_recorded_fini(struct pt_recorded *r);

/* pytest's rootdir in that run (heap), NULL when it got to none. */
int pt_recorded_rootdir(struct pt_ledger *l, int64_t run, char **rootdir, struct pt_err *err);

/* The verdict that the run had, or has so far, made again from its reports; without what was deselected. */
struct pt_verdict *pt_recorded_verdict(struct pt_ledger *l, int64_t run, struct pt_err *err);
