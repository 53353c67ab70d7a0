/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the terminal share: terminal.c (while the run goes on), terminal_reports.c (lines of
 * tests), summary.c (its end), problems.c (ERRORS and FAILURES), warnings.c, durations.c. */
#include "ledger.h"
#include "output/result.h"
#include "output/terminal.h"
#include "output/text.h"
#include "verdict.h"

struct pt_terminal_host {
    char *name;
    char state[64];
    uint32_t slots, busy;
    bool ready; /* shows slots instead of its state */
    bool begun; /* was ready once: plain lines end here */
};

struct pt_terminal {
    struct pt_terminal_options o;
    struct pt_text text;
    char *root, *cwd;  /* NULL root: node ids are shown as they are */
    char *reportchars; /* expanded: s x X E f p P w */
    struct pt_terminal_host *hosts;
    size_t nhosts;
    uint32_t chosen;
    bool collected;     /* chosen is final */
    bool drawn;         /* a status line stands */
    char *status;       /* what it shows */
    unsigned tenth;     /* tenths of the tests that plain progress told */
    int64_t told_ms;    /* when plain progress was last told; -1: never */
    uint32_t told_done; /* and how many tests were done then */
};

/* Take the status line away before anything else is printed. */
void pt_terminal_clear(struct pt_terminal *t);

/* NULL for a number that is none. */
struct pt_terminal_host *pt_terminal_get_host(struct pt_terminal *t, uint32_t host);
/* A plain progress line when a tenth of the tests is done. */
void pt_terminal_progress(struct pt_terminal *t, const struct pt_verdict *v);
/* Append at most 255 bytes. */
void pt_terminal_append(struct pt_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Append the node id as seen from the working directory, not made safe yet. */
void pt_terminal_nodeid(const struct pt_terminal *t, const char *nodeid, struct pt_buf *out);

/* --- the end, part by part --- */

/* Has any test or entry one of these outcomes (bit 1u << outcome)? */
bool pt_terminal_any(const struct pt_terminal_end *end, uint32_t outcomes);

/* ERRORS, then FAILURES; `category` "passed" with PASSES. */
int pt_terminal_errors(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err);
int pt_terminal_failures(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err);
int pt_terminal_passes(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err);
/* Counts them in *n, printed or not; a warning that several workers had while they imported counts once. */
int pt_terminal_warnings(struct pt_terminal *t, const struct pt_terminal_end *end, uint32_t *n,
                         struct pt_err *err);
int pt_terminal_slowest(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err);
int pt_terminal_short_summary(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err);
