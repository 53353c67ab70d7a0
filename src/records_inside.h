/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the commands share: records.c (from words to the ledger), records_options.c, records_columns.c, and
 * a file for each command. */
#include "ledger.h"
#include "records.h"

#include <stdio.h>

/* NULL, or -1 for durations: not given. */
struct pt_record_options {
    const char *word; /* the run, or the part of a node id */
    const char *project, *state_dir, *junitxml, *json, *report_chars;
    uint32_t most; /* -n */
    uint32_t durations;
    bool has_durations, verbose;
};

struct pt_record_command {
    const char *name;
    const char *word; /* what it may be given besides options, or NULL */
    bool writes;      /* it has to be given a file to write */
    /* The exit code, or -1 with err. */
    int (*run)(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
};
/* Up to one with name NULL. */
extern const struct pt_record_command pt_record_commands[];

/* 0; 1 when help was printed; -1 with a usage error. */
int pt_record_parse(const struct pt_record_command *command, int argc, char *const *argv,
                    struct pt_record_options *o, struct pt_err *err);

int pt_record_runs(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
int pt_record_show(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
int pt_record_report(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
int pt_record_history(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);

/* Rows of cells, made safe to print, each column as wide as its widest cell. */
struct pt_columns {
    char **cell;
    size_t n, cap;
    size_t width;   /* cells in a row */
    unsigned right; /* bit 1u << column: set to the right */
    bool bad;       /* memory ended */
};
/* The next cell: the first line of text. */
void pt_columns_add(struct pt_columns *c, const char *text);
void pt_columns_addf(struct pt_columns *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* limit: columns of the terminal, at which rows are cut; 0: none. Frees the cells; -1 with err when memory
 * ended or `out` cannot be written. */
int pt_columns_print(struct pt_columns *c, const char *indent, unsigned limit, FILE *out, struct pt_err *err);
void pt_columns_fini(struct pt_columns *c);
/* Where rows are to be cut on stdout: 0 when it is no terminal. */
unsigned pt_record_limit(void);

#define PT_RECORD_TIME 32
/* "Nov 21 23:18", local time. */
void pt_record_when(double at, char out[PT_RECORD_TIME]);
/* "0.052s", "12.3s", "2m05s", "1h02m"; "-" when not known. */
void pt_record_took(double seconds, char out[PT_RECORD_TIME]);
/* "running (process 12)", "cut off", "exit 1" ... */
void pt_record_became(const struct pt_ledger_run *run, char *out, size_t size);
