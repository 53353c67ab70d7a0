/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of the ledger share; nobody else includes this or sqlite3.h.
 * ledger_file.c opens and checks, ledger_journal.c says how the file is written where it lies, ledger_aside.c
 * puts a damaged one away; ledger.c writes; ledger_read.c reads; ledger_runs.c does both for the runs
 * themselves, ledger_learned.c for what outlives them; ledger_history.c asks all runs at once,
 * ledger_failed.c for what failed last.
 */
#include "common/err.h"
#include "common/quote.h"
#include "ledger.h"

#include <math.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/types.h>

/* Statements that are used often, prepared once. */
enum pt_ledger_statement {
    PT_LEDGER_ADD_HOST,
    PT_LEDGER_ADD_TEST,
    PT_LEDGER_ADD_ATTEMPT,
    PT_LEDGER_ADD_REPORT,
    PT_LEDGER_UNCOUNT,
    PT_LEDGER_RERUN,
    PT_LEDGER_ADD_NOTE,
    PT_LEDGER_PUT_DURATION,
    PT_LEDGER_PUT_IMPORT,
    PT_LEDGER_PUT_SPEED,
    PT_LEDGER_GET_RESULT,
    PT_LEDGER_STATEMENTS,
};

struct pt_ledger {
    sqlite3 *db;
    sqlite3_stmt *stmt[PT_LEDGER_STATEMENTS];
    char *kept[8]; /* the strings of pt_ledger_get_run */
    char *path;
    int64_t run;
    int64_t keep;        /* a run that is not dropped, or 0 */
    int64_t most;        /* bytes in use above which older runs go */
    bool open;           /* a transaction is */
    bool failed;         /* a write did */
    bool damaged;        /* the last failure was for a damaged file */
    bool looks;          /* it only reads */
    bool logs;           /* the file has a write-ahead log: readers and writers do not wait for each other */
    const char *network; /* what the folder lies on, or NULL: a disk of this machine */
    ino_t inode;         /* of the file that was opened */
    struct pt_err why;   /* what the first write that failed said */
    char note[512];
};

/* What pt_ledger_result_fn is given, in the order that ledger_read.c takes it. */
#define PT_LEDGER_REPORT_COLUMNS                                                                             \
    "r.test,r.counted,r.extra,r.attempt,r.host,r.worker,r.outcome,r.phase,r.started,r.duration,r.setup,"     \
    "r.call,r.teardown,r.json,r.bundle,r.try,r.rerun"
#define PT_LEDGER_RESULTS                                                                                    \
    "SELECT t.number,t.nodeid,t.file,t.occurrence," PT_LEDGER_REPORT_COLUMNS                                 \
    " FROM tests t LEFT JOIN reports r ON r.run=t.run AND r.test=t.number"                                   \
    " AND (r.counted>0 OR r.rerun>0)"

/* Fill err with what sqlite says; returns -1. */
int pt_ledger_fail(struct pt_ledger *l, struct pt_err *err, const char *what);
int pt_ledger_exec(struct pt_ledger *l, const char *sql, struct pt_err *err);
/* The integer that a query gives first; -1 when it gives none. */
int64_t pt_ledger_ask(struct pt_ledger *l, const char *sql, bool *ok);
/* Open l->path; a damaged file is set aside and said in l->note. */
int pt_ledger_open_file(struct pt_ledger *l, struct pt_err *err);
/* Open l->path as it is, for reading. */
int pt_ledger_look_file(struct pt_ledger *l, struct pt_err *err);
/* Close, rename the file, open a new one. */
int pt_ledger_begin_anew(struct pt_ledger *l, struct pt_err *err);
int pt_ledger_prepare_all(struct pt_ledger *l, struct pt_err *err);

/* The name of that kind of file system (statfs(2)) if machines may share it, or NULL. Pure. */
const char *pt_ledger_network(unsigned long type);
const char *pt_ledger_network_of(const char *dir);
/* The first thing with an open file: a journal that works where it lies; fills l->logs. */
int pt_ledger_journal(struct pt_ledger *l, struct pt_err *err);
/* From now on l is a copy of the file as it is, which nobody has to wait for. */
int pt_ledger_copy(struct pt_ledger *l, struct pt_err *err);

/* Which file was opened. */
void pt_ledger_remember_file(struct pt_ledger *l);
/* A write-ahead log is there and what it belongs to is gone or empty. */
bool pt_ledger_is_rest(const struct pt_ledger *l);
/* Rename the file, closed, and what belongs to it; said in l->note. Nothing when it is another file by now.
 */
int pt_ledger_set_aside(struct pt_ledger *l, struct pt_err *err);
void pt_ledger_close_file(struct pt_ledger *l);
/* Drop what was learned in or before that run and never again. */
int pt_ledger_forget(struct pt_ledger *l, int64_t run, struct pt_err *err);

/* Begins a transaction where none is open. */
int pt_ledger_begin_write(struct pt_ledger *l, struct pt_err *err);
/* Run a bound statement once and make it ready for the next time. */
int pt_ledger_write(struct pt_ledger *l, sqlite3_stmt *s, struct pt_err *err);
/* A statement for reading, with the run (0: the one begun last) as ?1 if it has parameters. */
sqlite3_stmt *pt_ledger_prepare(struct pt_ledger *l, const char *sql, int64_t run, struct pt_err *err);
/* The end of an iteration: rc of the callback, or of the last step. */
int pt_ledger_end_read(struct pt_ledger *l, sqlite3_stmt *s, int step, int rc, struct pt_err *err);

/* What is negative or not finite is null; so are NULL and PT_NONE. */
static inline void pt_bind_real(sqlite3_stmt *s, int i, double v)
{
    if (v >= 0 && isfinite(v))
        sqlite3_bind_double(s, i, v);
}

/* What is no UTF-8 is no text to other readers of the file: it goes in as bytes, and comes back as it was. */
static inline void pt_bind_text(sqlite3_stmt *s, int i, const char *v)
{
    if (v && pt_utf8_valid(v, strlen(v)))
        sqlite3_bind_text(s, i, v, -1, SQLITE_STATIC);
    else if (v)
        sqlite3_bind_blob64(s, i, v, strlen(v), SQLITE_STATIC);
}

static inline void pt_bind_u32(sqlite3_stmt *s, int i, uint32_t v)
{
    if (v != PT_NONE)
        sqlite3_bind_int64(s, i, v);
}

static inline const char *pt_column_text(sqlite3_stmt *s, int i)
{
    const char *v = (const char *)sqlite3_column_text(s, i);
    return v ? v : "";
}

static inline double pt_column_real(sqlite3_stmt *s, int i)
{
    return sqlite3_column_type(s, i) == SQLITE_NULL ? -1 : sqlite3_column_double(s, i);
}

static inline uint32_t pt_column_u32(sqlite3_stmt *s, int i)
{
    return sqlite3_column_type(s, i) == SQLITE_NULL ? PT_NONE : (uint32_t)sqlite3_column_int64(s, i);
}
