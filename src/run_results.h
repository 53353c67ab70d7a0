/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What run_results.c (what counts), run_messages.c (what links say), run_groups.c (what groups of
 * ranks say) and run_notes.c (their notes) share. */
#include "report.h"
#include "run_parts.h"

/* A report on its way: where it came from and its JSON. */
struct pt_arrival {
    struct pt_run_host *h; /* NULL: here */
    uint32_t test, bundle, attempt, rank;
    const void *json;
    size_t n;
};

/* The report of a test that has no outcome yet: it is counted, kept and shown, or the test runs again. -1 for
 * a report that is none. */
int pt_run_take(struct pt_run *run, const struct pt_arrival *a, struct pt_err *err);
/* The same for one that was made here into json, which is freed; rc < 0: it could not be made. */
int pt_run_take_made(struct pt_run *run, struct pt_arrival a, struct pt_buf *json, int rc,
                     struct pt_err *err);
/* More about a test that has its outcome; about none when it has not. */
void pt_run_amend(struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r);

/* The next entry of that path in the bundle, from *i on, which is moved behind it; NULL: no more. */
const struct pt_bundle_file *pt_run_file_of(const struct pt_bundle *b, const char *path, uint32_t *i);
/* Body of a NOTE. */
int pt_run_note(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err);

/* --- run_groups.c --- */
/* Bodies of RANKS and FALL, after their number. */
int pt_run_ranks(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err);
int pt_run_fall(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err);
/* A test began on that rank of the host, as STARTED has it: false when it is no member of a group. */
bool pt_run_member_started(struct pt_run_host *h, uint32_t rank, uint32_t bundle, uint32_t test);
/* Where the output of that member goes; PT_NONE when it is none, or none is kept. */
uint32_t pt_run_member_log(struct pt_run_host *h, uint32_t rank);
