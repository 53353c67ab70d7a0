/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the commands share: records.c (from words to the ledger), records_options.c, records_columns.c, and
 * a file for each command. */
#include "ledger.h"
#include "master.h"
#include "recorded.h"
#include "records.h"

#include <stdio.h>

/* NULL, or -1 for durations: not given. */
struct pt_record_options {
    const char *word; /* the run, or the part of a node id */
    const char *last; /* what it has to be given */
    const char *project, *state_dir, *junitxml, *json, *report_chars;
    const char *state; /* the folder of the ledger */
    uint32_t most;     /* -n */
    uint32_t durations;
    bool has_durations, verbose;
};

struct pt_record_command {
    const char *name;
    const char *word; /* what it may be given besides options, or NULL */
    bool writes;      /* it has to be given a file to write */
    bool live;        /* it sees what runs write meanwhile; the others see one moment */
    /* The exit code, or -1 with err. */
    int (*run)(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
    const char *last; /* what it has to be given, behind the word, or NULL */
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
int pt_record_attach(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
int pt_record_stop(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
int pt_record_add_host(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);
int pt_record_drain_host(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err);

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
/* "running (process 12)", "detached (process 12)", "cut off", "exit 1" ...; state: the folder. */
void pt_record_became(const struct pt_ledger_run *run, const char *state, char *out, size_t size);

/* What is kept of a run, to ask later what became of it; owned. */
struct pt_record_run {
    int64_t id;
    char name[64], master[PT_MASTER_MAX], machine[PT_MASTER_MAX];
    enum pt_recorded_state state;
    long pid; /* of one that is running */
};
/* The row of that run as it is now; a usage error when it is not recorded any more. */
int pt_record_get(struct pt_ledger *l, int64_t id, struct pt_record_run *out, struct pt_err *err);
/* The run that was named, else the one that goes on; a usage error where there is none, or several. */
int pt_record_choose(struct pt_ledger *l, const struct pt_record_options *o, int64_t *id, struct pt_err *err);
/* The same, its row, and a usage error where it does not go on any more. */
int pt_record_choose_live(struct pt_ledger *l, const struct pt_record_options *o, struct pt_record_run *out,
                          struct pt_err *err);
/* It was cut off, or may have been elsewhere: says so and what to do. Returns -1, exit code 6. */
int pt_record_lost(const struct pt_record_run *run, struct pt_err *err);
