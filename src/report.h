/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What one test gave, as docs/protocol.md 7.2 and 7.3 have it: read from JSON, or made here for tests that
 * could not speak for themselves. The JSON is what the ledger keeps, so what is made here is JSON as well. */
#include "json.h"
#include "verdict.h"

struct pt_death;

#define PT_REPORT_LISTS 4096 /* most problems, sections, counts in one report */

struct pt_problem {
    const char *phase;    /* "collect", "setup", "call", "teardown" */
    const char *category; /* "failed", "error", "crashed", "passed" ... */
    const char *headline;
    const char *longrepr;
    const struct pt_json *sections; /* array of [title, text], or NULL */
};

/* Strings live in the JSON it was read from. NULL (or negative seconds) is "not said". */
struct pt_report {
    struct pt_json *json; /* owned; NULL when read by pt_report_read */
    const char *nodeid, *file;
    uint8_t outcome; /* enum pt_outcome */
    uint8_t phase;   /* enum pt_phase */
    double started, duration, setup, call, teardown;
    struct pt_count *counts; /* as pt_verdict_set takes them: NULL when not said */
    size_t ncounts;
    const char *message, *longrepr, *captured_out, *captured_err, *log;
    struct pt_problem *problems;
    size_t nproblems;
    const char *skip_file, *skip_reason;
    uint32_t skip_line;               /* PT_NONE: none */
    const struct pt_json *properties; /* array of [name, value] */
    const struct pt_json *junit;      /* array of elements: [tag, {attributes}, text, [elements]] */
    const struct pt_json
        *junit_counts; /* {"tests","failures","errors","skipped"}: what junit adds to the suite */
    const char *stop;
    uint32_t ranks;               /* of MPI that ran it together; 1: an ordinary test */
    const struct pt_json *hosts;  /* of these, where they were on several: array of strings; else NULL */
    const struct pt_json *shares; /* how many ranks each of them had: array of numbers */
};

/* -1 with err when it is not such JSON, or above the limits. */
int pt_report_decode(const void *json, size_t n, struct pt_report *r, struct pt_err *err);
/* The same from an object inside another document, which must outlive r. */
int pt_report_read(const struct pt_json *object, struct pt_report *r, struct pt_err *err);
void pt_report_fini(struct pt_report *r);
/* The key "skip" of an object that is open in o: why r was skipped; nothing where it does not say. */
void pt_report_put_skip(struct pt_json_out *o, const struct pt_report *r);

enum pt_note_kind {
    PT_NOTE_COLLECT,
    PT_NOTE_MISSING,
    PT_NOTE_WARNING,
    PT_NOTE_REPORT,
    PT_NOTE_STOP,
    PT_NOTE_SUITE,
    PT_NOTE_FILE,
    PT_NOTE_WORKEROUTPUT,
    PT_NOTE_UNSAFE,
};
struct pt_warning {
    const char *message, *category, *filename, *when, *nodeid;
    const char *text; /* as Python would print it; NULL: not said */
    uint32_t lineno;
};
struct pt_note {
    struct pt_json *json;
    enum pt_note_kind kind;
    const char *path;                 /* collect, missing, file */
    struct pt_report report;          /* collect, report; its outcome is the note's */
    uint32_t test;                    /* missing; report: the test it is told on; PT_NONE: none */
    const char *nodeid;               /* missing */
    const struct pt_json *found;      /* missing: array of strings */
    struct pt_warning warning;        /* warning */
    const char *reason;               /* stop, unsafe */
    int exit;                         /* stop: -1 when not given */
    const struct pt_json *properties; /* suite: array of [name, value] */
    double seconds;                   /* file: to import and collect it; negative: not said */
    const struct pt_json *modules;    /* file: array of strings, or NULL */
};
/* "collect", "missing" ... */
const char *pt_note_name(enum pt_note_kind kind);
/* kind unknown: -1. */
int pt_note_decode(const void *json, size_t n, struct pt_note *note, struct pt_err *err);
void pt_note_fini(struct pt_note *note);
/* The fields of a warning, in an object that outlives w. */
int pt_warning_read(const struct pt_json *object, struct pt_warning *w, struct pt_err *err);

/* --- made here; each appends one report as JSON to out, -1 when memory ends --- */

struct pt_report_new {
    unsigned outcome, phase;
    const char *nodeid, *file;
    const char *message;  /* one line */
    const char *longrepr; /* NULL: message */
    const char *output;   /* last output, shown as a captured section, or NULL */
    double duration;      /* negative: not known */
    double started;       /* by the host's clock, seconds; 0: not known */
    bool silent;          /* another report tells of it: no counts, nothing to print */
};
int pt_report_make(const struct pt_report_new *what, struct pt_buf *out);
/* A death, told on the test it killed; `silent` for the second and later tests of a file that died. memory:
 * the limit of its slot, for a death by that. */
int pt_report_from_death(const struct pt_death *d, uint64_t memory, const char *nodeid, const char *file,
                         bool silent, struct pt_buf *out);
/* How it died, in a line: "crashed in call: killed by signal 11 (SIGSEGV)". memory as above. */
void pt_death_words(const struct pt_death *d, uint64_t memory, char *out, size_t size);
/* Its last output, without what is no output of it; NULL: none. */
const char *pt_death_output(const struct pt_death *d);
/* What a made report is headed by: "TestA.test_x[1]", or "ERROR collecting" and the node id. */
void pt_report_headline(struct pt_buf *out, unsigned phase, const char *nodeid);
/* "killed by signal 11 (SIGSEGV)", "exited with status 3": a wait status in words. */
void pt_status_words(uint32_t status, char *out, size_t size);
/* A chosen test of a file that did not collect on its host: the outcome and words of that file's report. */
int pt_report_of_file(const struct pt_report *file, const char *nodeid, const char *path, const char *host,
                      struct pt_buf *out);
/* A chosen test that its file did not have on the host. */
int pt_report_missing(const struct pt_note *missing, const char *file, const char *host, struct pt_buf *out);
