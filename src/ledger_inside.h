/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the ledger share; nobody else includes this or sqlite3.h.
 * ledger_file.c opens, checks and sets aside; ledger.c writes; ledger_read.c reads. */
#include "ledger.h"

#include <sqlite3.h>

/* Statements that are used often, prepared once. */
enum pt_ledger_statement {
    PT_LEDGER_ADD_HOST,
    PT_LEDGER_ADD_TEST,
    PT_LEDGER_ADD_ATTEMPT,
    PT_LEDGER_ADD_REPORT,
    PT_LEDGER_UNCOUNT,
    PT_LEDGER_ADD_NOTE,
    PT_LEDGER_STATEMENTS,
};

struct pt_ledger {
    sqlite3 *db;
    sqlite3_stmt *stmt[PT_LEDGER_STATEMENTS];
    sqlite3_stmt *run_stmt; /* holds the strings of pt_ledger_get_run */
    sqlite3_stmt *file_stmt;
    char *path;
    int64_t run;
    bool open;    /* a transaction is */
    bool failed;  /* a write did */
    bool damaged; /* the last failure was for a damaged file */
    char note[512];
};

/* Fill err with what sqlite says; returns -1. */
int pt_ledger_fail(struct pt_ledger *l, struct pt_err *err, const char *what);
int pt_ledger_exec(struct pt_ledger *l, const char *sql, struct pt_err *err);
/* Open l->path; a damaged file is set aside and said in l->note. */
int pt_ledger_open_file(struct pt_ledger *l, struct pt_err *err);
/* Close, rename the file, open a new one. */
int pt_ledger_begin_anew(struct pt_ledger *l, struct pt_err *err);
void pt_ledger_close_file(struct pt_ledger *l);
