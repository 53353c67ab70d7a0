/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "ledger_inside.h"

#include <stdlib.h>
#include <string.h>

static sqlite3_stmt *prepare(struct pt_ledger *l, const char *sql, int64_t run, struct pt_err *err)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) != SQLITE_OK) {
        pt_ledger_fail(l, err, "prepare");
        return NULL;
    }
    if (sqlite3_bind_parameter_count(s) > 0)
        sqlite3_bind_int64(s, 1, run ? run : l->run);
    return s;
}

/* The end of an iteration: rc of the callback, or of the last step. */
static int finish(struct pt_ledger *l, sqlite3_stmt *s, int step, int rc, struct pt_err *err)
{
    if (rc == 0 && step != SQLITE_DONE && step != SQLITE_ROW)
        rc = pt_ledger_fail(l, err, "read");
    sqlite3_finalize(s);
    return rc;
}

static const char *text(sqlite3_stmt *s, int i)
{
    const char *v = (const char *)sqlite3_column_text(s, i);
    return v ? v : "";
}

static double real(sqlite3_stmt *s, int i)
{
    return sqlite3_column_type(s, i) == SQLITE_NULL ? -1 : sqlite3_column_double(s, i);
}

static uint32_t u32(sqlite3_stmt *s, int i)
{
    return sqlite3_column_type(s, i) == SQLITE_NULL ? PT_NONE : (uint32_t)sqlite3_column_int64(s, i);
}

/* --- runs and hosts --- */

int pt_ledger_get_run(struct pt_ledger *l, int64_t run, struct pt_ledger_run *out, struct pt_err *err)
{
    sqlite3_finalize(l->run_stmt);
    l->run_stmt = prepare(l,
                          "SELECT id,name,command,rootdir,hash_seed,started,finished,exitcode FROM runs"
                          " WHERE id=?",
                          run, err);
    if (!l->run_stmt)
        return -1;
    int rc = sqlite3_step(l->run_stmt);
    if (rc == SQLITE_DONE)
        return 1;
    if (rc != SQLITE_ROW)
        return pt_ledger_fail(l, err, "read");
    sqlite3_stmt *s = l->run_stmt;
    *out = (struct pt_ledger_run){
        .id = sqlite3_column_int64(s, 0),
        .name = text(s, 1),
        .command = text(s, 2),
        .rootdir = text(s, 3),
        .hash_seed = text(s, 4),
        .started = sqlite3_column_double(s, 5),
        .finished = sqlite3_column_double(s, 6),
        .exitcode = sqlite3_column_int(s, 7),
    };
    return 0;
}

int pt_ledger_each_host(struct pt_ledger *l, int64_t run, pt_ledger_host_fn *fn, void *arg,
                        struct pt_err *err)
{
    sqlite3_stmt *s =
        prepare(l,
                "SELECT number,name,state,slots,bytes_sent,connect,sync,launch,files_sent,bytes_raw,"
                "files_reused,bytes_reused,removed,rate,offer,send,finish FROM hosts"
                " WHERE run=? ORDER BY number",
                run, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_host host = {
            .number = u32(s, 0),
            .name = text(s, 1),
            .state = text(s, 2),
            .slots = u32(s, 3),
            .bytes_sent = (uint64_t)sqlite3_column_int64(s, 4),
            .connect = real(s, 5),
            .sync = real(s, 6),
            .launch = real(s, 7),
            .tree = {.files_sent = (uint64_t)sqlite3_column_int64(s, 8),
                     .bytes_raw = (uint64_t)sqlite3_column_int64(s, 9),
                     .files_reused = (uint64_t)sqlite3_column_int64(s, 10),
                     .bytes_reused = (uint64_t)sqlite3_column_int64(s, 11),
                     .removed = (uint64_t)sqlite3_column_int64(s, 12),
                     .rate = (uint64_t)sqlite3_column_int64(s, 13),
                     .offer = real(s, 14),
                     .send = real(s, 15),
                     .finish = real(s, 16)},
        };
        rc = fn(arg, &host);
    }
    return finish(l, s, step, rc, err);
}

/* --- results --- */

/* The rows of one test, gathered until the next test's row comes. Reports hold offsets into `bytes` until
 * they are handed out. */
struct gather {
    struct pt_buf bytes, reports; /* reports: struct pt_ledger_report */
    struct pt_ledger_test test;
    size_t nodeid, file;
    bool any;
};

static size_t keep(struct pt_buf *b, const void *data, size_t n)
{
    size_t at = b->len;
    pt_buf_append(b, data, n);
    pt_buf_append(b, "", 1);
    return at;
}

#define REPORT_COLUMNS                                                                                       \
    "r.test,r.counted,r.extra,r.attempt,r.host,r.worker,r.outcome,r.phase,r.started,r.duration,r.setup,"     \
    "r.call,r.teardown,r.json"

/* The columns from `i` on. */
static struct pt_ledger_report get_report(sqlite3_stmt *s, int i)
{
    return (struct pt_ledger_report){
        .test = u32(s, i),
        .counted = sqlite3_column_int(s, i + 1),
        .extra = sqlite3_column_int(s, i + 2) != 0,
        .attempt = (uint32_t)sqlite3_column_int64(s, i + 3),
        .host = u32(s, i + 4),
        .worker = u32(s, i + 5),
        .outcome = (uint8_t)sqlite3_column_int(s, i + 6),
        .phase = (uint8_t)sqlite3_column_int(s, i + 7),
        .started = real(s, i + 8),
        .duration = real(s, i + 9),
        .setup = real(s, i + 10),
        .call = real(s, i + 11),
        .teardown = real(s, i + 12),
        .json = sqlite3_column_blob(s, i + 13),
        .json_len = (size_t)sqlite3_column_bytes(s, i + 13),
    };
}

static void gather_report(struct gather *g, sqlite3_stmt *s)
{
    struct pt_ledger_report r = get_report(s, 4);
    bool has = sqlite3_column_type(s, 17) != SQLITE_NULL;
    size_t at = keep(&g->bytes, r.json, r.json_len);
    r.json = has ? (const void *)(uintptr_t)(at + 1) : NULL;
    pt_buf_append(&g->reports, &r, sizeof(r));
}

static void gather_test(struct gather *g, sqlite3_stmt *s)
{
    pt_buf_clear(&g->bytes);
    pt_buf_clear(&g->reports);
    g->test = (struct pt_ledger_test){.number = u32(s, 0), .occurrence = u32(s, 3)};
    g->nodeid = keep(&g->bytes, text(s, 1), strlen(text(s, 1)));
    g->file = keep(&g->bytes, text(s, 2), strlen(text(s, 2)));
    g->any = true;
}

/* The test's own report before the extras. */
static void own_first(struct pt_ledger_report *reports, size_t n)
{
    size_t i = 0;
    while (i < n && reports[i].extra)
        i++;
    if (i == 0 || i == n)
        return;
    struct pt_ledger_report own = reports[i];
    memmove(reports + 1, reports, i * sizeof(*reports));
    reports[0] = own;
}

static int hand_out(struct gather *g, pt_ledger_result_fn *fn, void *arg, struct pt_err *err)
{
    if (!g->any)
        return 0;
    if (g->bytes.bad || g->reports.bad)
        return pt_err_set(err, "ledger: out of memory");
    struct pt_ledger_report *reports = (void *)g->reports.data;
    size_t n = g->reports.len / sizeof(*reports);
    for (size_t i = 0; i < n; i++)
        if (reports[i].json)
            reports[i].json = g->bytes.data + (uintptr_t)reports[i].json - 1;
    own_first(reports, n);
    g->test.nodeid = (const char *)g->bytes.data + g->nodeid;
    g->test.file = (const char *)g->bytes.data + g->file;
    g->any = false;
    return fn(arg, &g->test, n ? reports : NULL, n);
}

static int each_entry(struct pt_ledger *l, int64_t run, uint32_t outcomes, pt_ledger_result_fn *fn, void *arg,
                      struct pt_err *err)
{
    sqlite3_stmt *s = prepare(l,
                              "SELECT " REPORT_COLUMNS " FROM reports r WHERE r.run=? AND r.test IS NULL"
                              " AND (1<<r.outcome)&? ORDER BY r.id",
                              run, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    sqlite3_bind_int64(s, 2, outcomes);
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_report report = get_report(s, 0);
        rc = fn(arg, NULL, &report, 1);
    }
    return finish(l, s, step, rc, err);
}

static int each_test(struct pt_ledger *l, sqlite3_stmt *s, struct gather *g, pt_ledger_result_fn *fn,
                     void *arg, struct pt_err *err)
{
    int rc = 0;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        if (!g->any || g->test.number != u32(s, 0)) {
            rc = hand_out(g, fn, arg, err);
            gather_test(g, s);
        }
        if (sqlite3_column_type(s, 4) != SQLITE_NULL)
            gather_report(g, s);
    }
    if (rc == 0 && step == SQLITE_DONE)
        rc = hand_out(g, fn, arg, err);
    return finish(l, s, step, rc, err);
}

int pt_ledger_each_result(struct pt_ledger *l, int64_t run, uint32_t outcomes, pt_ledger_result_fn *fn,
                          void *arg, struct pt_err *err)
{
    static const char all[] = "SELECT t.number,t.nodeid,t.file,t.occurrence," REPORT_COLUMNS
                              " FROM tests t LEFT JOIN reports r ON r.run=t.run AND r.test=t.number"
                              " AND r.counted>0 WHERE t.run=? ORDER BY t.number";
    static const char some[] =
        "SELECT t.number,t.nodeid,t.file,t.occurrence," REPORT_COLUMNS
        " FROM tests t JOIN reports r ON r.run=t.run AND r.test=t.number AND r.counted>0"
        " WHERE t.run=? AND EXISTS (SELECT 1 FROM reports x WHERE x.run=t.run AND x.test=t.number"
        " AND x.counted>0 AND (1<<x.outcome)&?) ORDER BY t.number";
    struct gather g = {0};
    int rc = each_entry(l, run, outcomes, fn, arg, err);
    if (rc)
        return rc;
    sqlite3_stmt *s = prepare(l, outcomes == ~0u ? all : some, run, err);
    if (!s)
        return -1;
    if (outcomes != ~0u)
        sqlite3_bind_int64(s, 2, outcomes);
    rc = each_test(l, s, &g, fn, arg, err);
    pt_buf_fini(&g.bytes);
    pt_buf_fini(&g.reports);
    return rc;
}

int pt_ledger_each_note(struct pt_ledger *l, int64_t run, const char *kind, pt_ledger_note_fn *fn, void *arg,
                        struct pt_err *err)
{
    sqlite3_stmt *s = prepare(l, "SELECT host,json FROM notes WHERE run=? AND kind=? ORDER BY id", run, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    sqlite3_bind_text(s, 2, kind, -1, SQLITE_STATIC);
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        const void *json = sqlite3_column_blob(s, 1);
        rc = fn(arg, u32(s, 0), json ? json : "", (size_t)sqlite3_column_bytes(s, 1));
    }
    return finish(l, s, step, rc, err);
}

/* --- durations --- */

static int each_seconds(struct pt_ledger *l, const char *sql, pt_ledger_seconds_fn *fn, void *arg,
                        struct pt_err *err)
{
    sqlite3_stmt *s = prepare(l, sql, 0, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = fn(arg, text(s, 0), (const char *)sqlite3_column_text(s, 1), sqlite3_column_double(s, 2));
    return finish(l, s, step, rc, err);
}

int pt_ledger_each_file_seconds(struct pt_ledger *l, pt_ledger_seconds_fn *fn, void *arg, struct pt_err *err)
{
    return each_seconds(l, "SELECT file,NULL,SUM(seconds) FROM durations GROUP BY file", fn, arg, err);
}

int pt_ledger_each_test_seconds(struct pt_ledger *l, pt_ledger_seconds_fn *fn, void *arg, struct pt_err *err)
{
    return each_seconds(l, "SELECT file,nodeid,SUM(seconds) FROM durations GROUP BY file,nodeid", fn, arg,
                        err);
}

double pt_ledger_file_seconds(struct pt_ledger *l, const char *file)
{
    double seconds = -1;
    if (!l->file_stmt && sqlite3_prepare_v3(l->db, "SELECT SUM(seconds) FROM durations WHERE file=?", -1,
                                            SQLITE_PREPARE_PERSISTENT, &l->file_stmt, NULL) != SQLITE_OK)
        return -1;
    sqlite3_bind_text(l->file_stmt, 1, file, -1, SQLITE_STATIC);
    if (sqlite3_step(l->file_stmt) == SQLITE_ROW)
        seconds = real(l->file_stmt, 0);
    sqlite3_reset(l->file_stmt);
    sqlite3_clear_bindings(l->file_stmt);
    return seconds;
}
