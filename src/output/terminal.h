/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a pytest user reads while a run goes on, and at its end. Formats into a FILE; asks no clock.
 * All text from tests and hosts is made safe to print here. */
#include "common/color.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct pt_err;
struct pt_ledger;
struct pt_report;
struct pt_terminal;
struct pt_verdict;

struct pt_terminal_options {
    FILE *out;
    bool tty;                                   /* may draw a status line in place */
    bool color;                                 /* may use colours; see pt_terminal_colors */
    unsigned width;                             /* 0: 80; see pt_terminal_width */
    int verbosity;                              /* -v: 1, -q: -1 */
    const char *reportchars;                    /* as pytest's -r; NULL: "fE" */
    bool no_summary, no_traceback, no_warnings; /* --no-summary, --tb=no, -p no:warnings */
    bool whole_lines;                           /* do not cut messages in the summary (CI) */
    bool no_tests;                              /* there will be none: the status line is of hosts alone */
    int durations;                              /* --durations: how many; 0: all; -1: not asked */
    double durations_min;                       /* seconds below which they are hidden */
    uint32_t maxfail;                           /* for the words at the end */
};
/* Whether to colour descriptor fd: as pytest decides (NO_COLOR, FORCE_COLOR, TERM, isatty). */
bool pt_terminal_colors(enum pt_color mode, int fd);
/* Columns of fd: COLUMNS, else the terminal's size, else 80. */
unsigned pt_terminal_width(int fd);

struct pt_terminal *pt_terminal_create(const struct pt_terminal_options *o, struct pt_err *err);
/* Ends a status line that stands. */
void pt_terminal_destroy(struct pt_terminal *t);
/* The terminal was resized. */
void pt_terminal_resize(struct pt_terminal *t, unsigned width);

/* What the session said after the terminal was made: --durations, -r as pytest has it. */
void pt_terminal_durations(struct pt_terminal *t, int n, double min);
void pt_terminal_reportchars(struct pt_terminal *t, const char *chars);

/* pytest's rootdir: node ids are shown as seen from the working directory, as pytest shows them. */
void pt_terminal_root(struct pt_terminal *t, const char *root);

/* The first lines: "ptremote VERSION -- run RUN" and pytest's own header lines. */
void pt_terminal_header(struct pt_terminal *t, const char *version, const char *run);
void pt_terminal_line(struct pt_terminal *t, const char *text);
/* Hosts are numbered from 0; add each once before the others speak of it. */
void pt_terminal_add_host(struct pt_terminal *t, uint32_t host, const char *name, uint32_t slots);
/* state: "connecting", "sending 12 MB", "ready" ...; `important`: printed even when nothing is drawn in
 * place.*/
void pt_terminal_host(struct pt_terminal *t, uint32_t host, const char *state, uint32_t slots,
                      bool important);
/* How many slots of a host have work now (more count as all); shown in the status line. */
void pt_terminal_busy(struct pt_terminal *t, uint32_t host, uint32_t busy);
/* Tests chosen so far; `done` once collecting ended: prints "collected N items / 1 error ...". */
void pt_terminal_collected(struct pt_terminal *t, uint32_t chosen, uint32_t deselected, uint32_t errors,
                           uint32_t skipped, bool done);
/* A report was counted; call after the verdict took it. host PT_NONE: here. */
void pt_terminal_reported(struct pt_terminal *t, const struct pt_report *r, uint32_t host,
                          const struct pt_verdict *v);
/* The test that gave this report runs again; call after the verdict took it back. */
void pt_terminal_rerun(struct pt_terminal *t, const struct pt_report *r, uint32_t host,
                       const struct pt_verdict *v);
/* --live: a line (no line end) that `who` ("gw3") wrote while that test ran; nodeid NULL: none did. */
void pt_terminal_live(struct pt_terminal *t, uint32_t host, const char *who, const char *nodeid,
                      const char *line, size_t n);
/* One line for the user between the progress (a host was lost, a note, a log line). */
void pt_terminal_note(struct pt_terminal *t, const char *text);
/* Redraw the status line, or print a plain progress line when one is due. Call about 5 times a second.
 * now_ms: any clock that goes forward. */
void pt_terminal_tick(struct pt_terminal *t, const struct pt_verdict *v, int64_t now_ms);

struct pt_terminal_end {
    struct pt_ledger *ledger; /* reports, notes and hosts of the run `run` come from here */
    int64_t run;
    const struct pt_verdict *verdict;
    double seconds;      /* wall time of the run; negative: not known */
    const char *stopped; /* why it stopped early ("stopping after 1 failures", "Interrupted: ..."), or NULL */
    const char *junit, *json; /* files that were written, or NULL */
    const char *logs;         /* folder of what workers wrote, or NULL */
};
/* ERRORS, FAILURES, warnings, durations, short summary, hosts, last line: in pytest's order and words. */
int pt_terminal_finish(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err);
