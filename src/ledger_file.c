/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "ledger_inside.h"

#include <stdio.h>
#include <string.h>

#define SCHEMA         4
#define APPLICATION_ID 0x70747265 /* "ptre" */
#define CHECK_WHOLE    (16 << 20) /* bytes of a file that is checked whole */

#define LEARNED(durations)                                                                                   \
    "CREATE TABLE " durations "(file TEXT, nodeid TEXT, occurrence INTEGER, host TEXT, setup REAL,"          \
    " call REAL, teardown REAL, run INTEGER, PRIMARY KEY(file, nodeid, occurrence)) WITHOUT ROWID;"          \
    "CREATE TABLE imports(file TEXT PRIMARY KEY, host TEXT, seconds REAL, modules TEXT, run INTEGER)"        \
    " WITHOUT ROWID;"                                                                                        \
    "CREATE TABLE speeds(host TEXT PRIMARY KEY, speed REAL, run INTEGER) WITHOUT ROWID;"

#define TREES "CREATE TABLE trees(run INTEGER PRIMARY KEY, manifest BLOB);"

static const char schema[] =
    "CREATE TABLE runs(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, command TEXT,"
    " rootdir TEXT, hash_seed TEXT, started REAL, finished REAL, exitcode INTEGER,"
    " how TEXT, argv TEXT, cwd TEXT, master TEXT, tree BLOB, resumes INTEGER);" TREES
    "CREATE TABLE hosts(run INTEGER, number INTEGER, name TEXT, state TEXT, slots INTEGER,"
    " bytes_sent INTEGER, connect REAL, sync REAL, launch REAL, files_sent INTEGER, bytes_raw INTEGER,"
    " files_reused INTEGER, bytes_reused INTEGER, removed INTEGER, rate INTEGER, offer REAL, send REAL,"
    " finish REAL, PRIMARY KEY(run, number)) WITHOUT ROWID;"
    "CREATE TABLE tests(run INTEGER, number INTEGER, nodeid TEXT, file TEXT, occurrence INTEGER,"
    " PRIMARY KEY(run, number)) WITHOUT ROWID;"
    "CREATE TABLE attempts(run INTEGER, bundle INTEGER, attempt INTEGER, host INTEGER, started REAL,"
    " ended REAL, end TEXT, PRIMARY KEY(run, bundle, attempt)) WITHOUT ROWID;"
    "CREATE TABLE reports(id INTEGER PRIMARY KEY, run INTEGER, test INTEGER, counted INTEGER, extra INTEGER,"
    " attempt INTEGER, host INTEGER, worker INTEGER, outcome INTEGER, phase INTEGER, started REAL,"
    " duration REAL, setup REAL, call REAL, teardown REAL, json BLOB, bundle INTEGER, try INTEGER,"
    " rerun INTEGER);"
    "CREATE INDEX reports_of ON reports(run, test);"
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, run INTEGER, host INTEGER, kind TEXT, json BLOB);"
    "CREATE INDEX notes_of ON notes(run, kind);" LEARNED("durations");

/* Layout 1 did not tell how the tree came to a host. Layout 2 knew of no tries and how to run again, and of a
 * test's time only the sum. Layout 3 could not be resumed. */
static const char *const upgrades[SCHEMA] = {
    [1] = "ALTER TABLE hosts ADD COLUMN files_sent INTEGER;"
          "ALTER TABLE hosts ADD COLUMN bytes_raw INTEGER;"
          "ALTER TABLE hosts ADD COLUMN files_reused INTEGER;"
          "ALTER TABLE hosts ADD COLUMN bytes_reused INTEGER;"
          "ALTER TABLE hosts ADD COLUMN removed INTEGER;"
          "ALTER TABLE hosts ADD COLUMN rate INTEGER;"
          "ALTER TABLE hosts ADD COLUMN offer REAL;"
          "ALTER TABLE hosts ADD COLUMN send REAL;"
          "ALTER TABLE hosts ADD COLUMN finish REAL;",
    [2] = "ALTER TABLE runs ADD COLUMN how TEXT;"
          "ALTER TABLE reports ADD COLUMN bundle INTEGER;"
          "ALTER TABLE reports ADD COLUMN try INTEGER;"
          "ALTER TABLE reports ADD COLUMN rerun INTEGER;" LEARNED(
              "durations_3") "INSERT INTO durations_3 SELECT file,nodeid,occurrence,'',NULL,seconds,NULL,run "
                             "FROM durations;"
                             "DROP TABLE durations; ALTER TABLE durations_3 RENAME TO durations;",
    [3] = "ALTER TABLE runs ADD COLUMN argv TEXT;"
          "ALTER TABLE runs ADD COLUMN cwd TEXT;"
          "ALTER TABLE runs ADD COLUMN master TEXT;"
          "ALTER TABLE runs ADD COLUMN tree BLOB;"
          "ALTER TABLE runs ADD COLUMN resumes INTEGER;" TREES,
};

static const char *const statements[PT_LEDGER_STATEMENTS] = {
    [PT_LEDGER_ADD_HOST] = "INSERT OR REPLACE INTO hosts VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    [PT_LEDGER_ADD_TEST] = "INSERT INTO tests VALUES(?,?,?,?,?)",
    [PT_LEDGER_ADD_ATTEMPT] =
        ("INSERT INTO attempts VALUES(?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET ended=excluded.ended,"
         " end=excluded.end"),
    [PT_LEDGER_ADD_REPORT] = "INSERT INTO reports VALUES(NULL,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0)",
    [PT_LEDGER_UNCOUNT] = "UPDATE reports SET counted=0 WHERE run=? AND test=? AND extra=0 AND counted>0",
    [PT_LEDGER_RERUN] = "UPDATE reports SET counted=0,rerun=1 WHERE run=? AND test=? AND counted>0",
    [PT_LEDGER_ADD_NOTE] = "INSERT INTO notes VALUES(NULL,?,?,?,?)",
    [PT_LEDGER_PUT_DURATION] = "INSERT OR REPLACE INTO durations VALUES(?,?,?,?,?,?,?,?)",
    [PT_LEDGER_PUT_IMPORT] = "INSERT OR REPLACE INTO imports VALUES(?,?,?,?,?)",
    [PT_LEDGER_PUT_SPEED] = "INSERT OR REPLACE INTO speeds VALUES(?,?,?)",
    [PT_LEDGER_GET_RESULT] = PT_LEDGER_RESULTS " WHERE t.run=? AND t.number=?",
};

static const char of_damage[] = "the next run sets it aside and begins a new one";

/* What the user can do about it. */
static const char *next_step(const struct pt_ledger *l, int code)
{
    if (l->damaged)
        return of_damage;
    switch (code) {
    case SQLITE_FULL:
        return "make room there, or keep the record elsewhere with --state-dir DIR";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return "another ptremote is writing it: try again, or keep another record with --state-dir DIR";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
    case SQLITE_PERM:
        return "make it writable, or keep the record elsewhere with --state-dir DIR";
    }
    return NULL;
}

int pt_ledger_fail(struct pt_ledger *l, struct pt_err *err, const char *what)
{
    int code = l->db ? sqlite3_errcode(l->db) & 0xff : SQLITE_OK;
    l->damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    if (l->looks && l->damaged)
        pt_err_set_kind(err, PT_ERR_USAGE, "the ledger %s is damaged", l->path);
    else
        pt_err_set_kind(err, PT_ERR_INFRA, "ledger %s: %s: %s", l->path, what,
                        l->db ? sqlite3_errmsg(l->db) : "out of memory");
    const char *next = next_step(l, code);
    return next ? pt_err_hint(err, "%s", next) : -1;
}

int pt_ledger_exec(struct pt_ledger *l, const char *sql, struct pt_err *err)
{
    if (sqlite3_exec(l->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return pt_ledger_fail(l, err, "write");
    return 0;
}

int64_t pt_ledger_ask(struct pt_ledger *l, const char *sql, bool *ok)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;
    int rc = sqlite3_prepare_v2(l->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    *ok = rc == SQLITE_ROW || rc == SQLITE_DONE;
    sqlite3_finalize(stmt);
    return value;
}

void pt_ledger_close_file(struct pt_ledger *l)
{
    for (int i = 0; i < PT_LEDGER_STATEMENTS; i++) {
        sqlite3_finalize(l->stmt[i]);
        l->stmt[i] = NULL;
    }
    sqlite3_close(l->db);
    l->db = NULL;
    l->open = l->failed = l->damaged = false;
}

/* The layout: 0 an empty file, else ours; -1 err. */
static int check_version(struct pt_ledger *l, struct pt_err *err)
{
    bool ok, known;
    int64_t version = pt_ledger_ask(l, "PRAGMA user_version", &ok);
    int64_t whose = pt_ledger_ask(l, "PRAGMA application_id", &known);
    if (!ok || !known)
        return pt_ledger_fail(l, err, "read");
    l->damaged = version < 0 || (version > 0 && whose != APPLICATION_ID);
    if (l->damaged)
        return pt_err_set(err, "the ledger %s is none", l->path);
    if (version <= SCHEMA)
        return (int)version;
    pt_err_set_kind(err, PT_ERR_USAGE,
                    "ledger %s was written by a newer ptremote (layout %lld, this one knows %d)", l->path,
                    (long long)version, SCHEMA);
    return pt_err_hint(err, "use the newer ptremote, or keep another record with --state-dir DIR");
}

static int make_schema(struct pt_ledger *l, struct pt_err *err)
{
    char pragmas[96];
    snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id=%d; PRAGMA user_version=%d", APPLICATION_ID,
             SCHEMA);
    if (pt_ledger_exec(l, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    int version = check_version(l, err); /* another process may have been quicker */
    if (version < 0 || (version == 0 && pt_ledger_exec(l, schema, err) < 0))
        return -1;
    for (int i = version; i > 0 && i < SCHEMA; i++)
        if (pt_ledger_exec(l, upgrades[i], err) < 0)
            return -1;
    if (version < SCHEMA && pt_ledger_exec(l, pragmas, err) < 0)
        return -1;
    return pt_ledger_exec(l, "COMMIT", err);
}

int pt_ledger_prepare_all(struct pt_ledger *l, struct pt_err *err)
{
    for (int i = 0; i < PT_LEDGER_STATEMENTS; i++)
        if (sqlite3_prepare_v3(l->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &l->stmt[i], NULL) !=
            SQLITE_OK)
            return pt_ledger_fail(l, err, "prepare");
    return 0;
}

static bool passes(struct pt_ledger *l, const char *check)
{
    sqlite3_stmt *stmt = NULL;
    bool good = sqlite3_prepare_v2(l->db, check, -1, &stmt, NULL) == SQLITE_OK &&
                sqlite3_step(stmt) == SQLITE_ROW &&
                strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;
    sqlite3_finalize(stmt);
    return good;
}

/* The whole file is looked through when that is quick (1 ms a MB) or a run was cut off; else the small tables
 * that every run reads. */
static bool sound(struct pt_ledger *l)
{
    bool ok;
    int64_t bytes =
        pt_ledger_ask(l, "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()", &ok);
    int64_t cut = ok ? pt_ledger_ask(l, "SELECT COUNT(*) FROM runs WHERE finished IS NULL", &ok) : 0;
    if (!ok)
        return false;
    if (bytes <= CHECK_WHOLE || cut > 0)
        return passes(l, "PRAGMA quick_check(1)");
    return passes(l, "PRAGMA quick_check('runs')") && passes(l, "PRAGMA quick_check('durations')") &&
           passes(l, "PRAGMA quick_check('imports')") && passes(l, "PRAGMA quick_check('speeds')");
}

/* Closing would put a log into its file and remove it, damaged or not. */
static void keep_log(struct pt_ledger *l, bool keep)
{
    sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, (int)keep, NULL);
}

/* 0 open; 1 the file is damaged; -1 err. */
static int open_db(struct pt_ledger *l, struct pt_err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (pt_ledger_is_rest(l)) /* SQLite would remove the log */
        return 1;
    if (sqlite3_open_v2(l->path, &l->db, flags, NULL) != SQLITE_OK)
        return pt_ledger_fail(l, err, "open");
    pt_ledger_remember_file(l);
    keep_log(l, true);
    int version = pt_ledger_journal(l, err) < 0 ? -1 : check_version(l, err);
    if (version < 0)
        return l->damaged ? 1 : -1;
    if (pt_ledger_exec(l, "PRAGMA cell_size_check=1", err) < 0 ||
        (version < SCHEMA && make_schema(l, err) < 0) || pt_ledger_prepare_all(l, err) < 0)
        return l->damaged || sqlite3_errcode(l->db) == SQLITE_ERROR ? 1 : -1;
    if (!sound(l))
        return 1;
    keep_log(l, false);
    return 0;
}

int pt_ledger_open_file(struct pt_ledger *l, struct pt_err *err)
{
    int rc = open_db(l, err);
    return rc == 1 ? pt_ledger_begin_anew(l, err) : rc;
}

int pt_ledger_begin_anew(struct pt_ledger *l, struct pt_err *err)
{
    if (l->db)
        keep_log(l, true);
    pt_ledger_close_file(l);
    if (pt_ledger_set_aside(l, err) < 0)
        return -1;
    int rc = open_db(l, err);
    return rc == 1 ? pt_ledger_fail(l, err, "open") : rc;
}

/* --- for reading --- */

static int look_db(struct pt_ledger *l, const char *name, int flags, struct pt_err *err)
{
    if (sqlite3_open_v2(name, &l->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        return pt_ledger_fail(l, err, "open");
    keep_log(l, true);
    l->logs = true; /* there is nobody to wait for a reader of a file that cannot be written */
    if ((flags & SQLITE_OPEN_READWRITE) && pt_ledger_journal(l, err) < 0)
        return -1;
    int version = check_version(l, err);
    if (version == 0)
        return pt_err_set_kind(err, PT_ERR_USAGE, "no runs are recorded in %s", l->path);
    if (version < 0 || (version < SCHEMA && make_schema(l, err) < 0) || pt_ledger_prepare_all(l, err) < 0)
        return -1;
    return pt_ledger_exec(l, "PRAGMA query_only=1", err);
}

/* The file in a folder that cannot be written, with nothing left of a program that wrote it: SQLite would
 * make files beside it even to read. */
static char *frozen_name(const struct pt_ledger *l)
{
    struct pt_buf b = {0};
    char *log = sqlite3_mprintf("%s-wal", l->path);
    bool left = !log || access(log, F_OK) == 0;
    sqlite3_free(log);
    pt_buf_append(&b, "file:", 5);
    for (const char *p = l->path; *p; p++) {
        char hex[4];
        snprintf(hex, sizeof(hex), "%%%02X", (unsigned char)*p);
        pt_buf_append(&b, hex, 3);
    }
    pt_buf_append(&b, "?immutable=1", sizeof("?immutable=1"));
    if (!left && !b.bad)
        return (char *)b.data;
    pt_buf_fini(&b);
    return NULL;
}

static bool cannot_write(int code)
{
    return code == SQLITE_READONLY || code == SQLITE_CANTOPEN || code == SQLITE_PERM;
}

int pt_ledger_look_file(struct pt_ledger *l, struct pt_err *err)
{
    l->looks = true;
    int rc = pt_ledger_is_rest(l) ? 1 : look_db(l, l->path, SQLITE_OPEN_READWRITE, err);
    if (rc < 0 && cannot_write(sqlite3_errcode(l->db) & 0xff)) {
        pt_auto_free char *name = frozen_name(l);
        pt_ledger_close_file(l);
        rc = name ? look_db(l, name, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err) : -1;
    }
    if (rc == 0)
        return 0;
    if (rc < 0 && !l->damaged && (!l->db || sqlite3_errcode(l->db) != SQLITE_ERROR))
        return -1;
    pt_err_set_kind(err, PT_ERR_USAGE, "the ledger %s is damaged", l->path);
    return pt_err_hint(err, "%s", of_damage);
}
