/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "ledger_inside.h"

#include <stdlib.h>
#include <string.h>

sqlite3_stmt *pt_ledger_prepare(struct pt_ledger *l, const char *sql, int64_t run, struct pt_err *err)
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

int pt_ledger_end_read(struct pt_ledger *l, sqlite3_stmt *s, int step, int rc, struct pt_err *err)
{
    if (rc == 0 && step != SQLITE_DONE && step != SQLITE_ROW)
        rc = pt_ledger_fail(l, err, "read");
    sqlite3_finalize(s);
    return rc;
}

/* --- hosts --- */

int pt_ledger_each_host(struct pt_ledger *l, int64_t run, pt_ledger_host_fn *fn, void *arg,
                        struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(
        l,
        "SELECT number,name,state,slots,bytes_sent,connect,sync,launch,files_sent,bytes_raw,"
        "files_reused,bytes_reused,removed,rate,offer,send,finish FROM hosts"
        " WHERE run=? ORDER BY number",
        run, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_host host = {
            .number = pt_column_u32(s, 0),
            .name = pt_column_text(s, 1),
            .state = pt_column_text(s, 2),
            .slots = pt_column_u32(s, 3),
            .bytes_sent = (uint64_t)sqlite3_column_int64(s, 4),
            .connect = pt_column_real(s, 5),
            .sync = pt_column_real(s, 6),
            .launch = pt_column_real(s, 7),
            .tree = {.files_sent = (uint64_t)sqlite3_column_int64(s, 8),
                     .bytes_raw = (uint64_t)sqlite3_column_int64(s, 9),
                     .files_reused = (uint64_t)sqlite3_column_int64(s, 10),
                     .bytes_reused = (uint64_t)sqlite3_column_int64(s, 11),
                     .removed = (uint64_t)sqlite3_column_int64(s, 12),
                     .rate = (uint64_t)sqlite3_column_int64(s, 13),
                     .offer = pt_column_real(s, 14),
                     .send = pt_column_real(s, 15),
                     .finish = pt_column_real(s, 16)},
        };
        rc = fn(arg, &host);
    }
    return pt_ledger_end_read(l, s, step, rc, err);
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

/* The columns from `i` on. */
static struct pt_ledger_report get_report(sqlite3_stmt *s, int i)
{
    return (struct pt_ledger_report){
        .test = pt_column_u32(s, i),
        .counted = sqlite3_column_int(s, i + 1),
        .extra = sqlite3_column_int(s, i + 2) != 0,
        .attempt = (uint32_t)sqlite3_column_int64(s, i + 3),
        .host = pt_column_u32(s, i + 4),
        .worker = pt_column_u32(s, i + 5),
        .outcome = (uint8_t)sqlite3_column_int(s, i + 6),
        .phase = (uint8_t)sqlite3_column_int(s, i + 7),
        .started = pt_column_real(s, i + 8),
        .duration = pt_column_real(s, i + 9),
        .setup = pt_column_real(s, i + 10),
        .call = pt_column_real(s, i + 11),
        .teardown = pt_column_real(s, i + 12),
        .json = sqlite3_column_blob(s, i + 13),
        .json_len = (size_t)sqlite3_column_bytes(s, i + 13),
        .bundle = pt_column_u32(s, i + 14),
        .try_ = sqlite3_column_type(s, i + 15) == SQLITE_NULL ? 1 : pt_column_u32(s, i + 15),
        .rerun = sqlite3_column_int(s, i + 16) != 0,
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
    g->test = (struct pt_ledger_test){.number = pt_column_u32(s, 0), .occurrence = pt_column_u32(s, 3)};
    g->nodeid = keep(&g->bytes, pt_column_text(s, 1), strlen(pt_column_text(s, 1)));
    g->file = keep(&g->bytes, pt_column_text(s, 2), strlen(pt_column_text(s, 2)));
    g->any = true;
}

/* Earlier tries, the test's own report, extras: each kind in the order it came. */
static unsigned rank_of(const struct pt_ledger_report *r)
{
    return r->rerun ? 0 : r->extra ? 2 : 1;
}

static void put_in_order(struct pt_ledger_report *reports, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct pt_ledger_report r = reports[i];
        size_t k = i;
        for (; k > 0 && rank_of(&reports[k - 1]) > rank_of(&r); k--)
            reports[k] = reports[k - 1];
        reports[k] = r;
    }
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
    put_in_order(reports, n);
    g->test.nodeid = (const char *)g->bytes.data + g->nodeid;
    g->test.file = (const char *)g->bytes.data + g->file;
    g->any = false;
    return fn(arg, &g->test, n ? reports : NULL, n);
}

static int each_entry(struct pt_ledger *l, int64_t run, uint32_t outcomes, pt_ledger_result_fn *fn, void *arg,
                      struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l,
                                        "SELECT " PT_LEDGER_REPORT_COLUMNS
                                        " FROM reports r WHERE r.run=? AND r.test IS NULL"
                                        " AND (1<<r.outcome)&? ORDER BY r.id",
                                        run, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    sqlite3_bind_int64(s, 2, outcomes);
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_report report = get_report(s, 0);
        rc = fn(arg, NULL, &report, 1);
    }
    return pt_ledger_end_read(l, s, step, rc, err);
}

/* Runs the statement; it is not finalized. */
static int step_tests(sqlite3_stmt *s, pt_ledger_result_fn *fn, void *arg, int *step, struct pt_err *err)
{
    struct gather g = {0};
    int rc = 0;
    while (rc == 0 && (*step = sqlite3_step(s)) == SQLITE_ROW) {
        if (!g.any || g.test.number != pt_column_u32(s, 0)) {
            rc = hand_out(&g, fn, arg, err);
            gather_test(&g, s);
        }
        if (sqlite3_column_type(s, 4) != SQLITE_NULL)
            gather_report(&g, s);
    }
    if (rc == 0 && *step == SQLITE_DONE)
        rc = hand_out(&g, fn, arg, err);
    pt_buf_fini(&g.bytes);
    pt_buf_fini(&g.reports);
    return rc;
}

int pt_ledger_get_result(struct pt_ledger *l, int64_t run, uint32_t test, pt_ledger_result_fn *fn, void *arg,
                         struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_GET_RESULT];
    int step = SQLITE_DONE;
    sqlite3_bind_int64(s, 1, run ? run : l->run);
    sqlite3_bind_int64(s, 2, test);
    int rc = step_tests(s, fn, arg, &step, err);
    if (rc == 0 && step != SQLITE_DONE)
        rc = pt_ledger_fail(l, err, "read");
    sqlite3_reset(s);
    return rc;
}

int pt_ledger_each_result(struct pt_ledger *l, int64_t run, uint32_t outcomes, pt_ledger_result_fn *fn,
                          void *arg, struct pt_err *err)
{
    static const char all[] = PT_LEDGER_RESULTS " WHERE t.run=? ORDER BY t.number";
    static const char some[] =
        "SELECT t.number,t.nodeid,t.file,t.occurrence," PT_LEDGER_REPORT_COLUMNS
        " FROM tests t JOIN reports r ON r.run=t.run AND r.test=t.number AND (r.counted>0 OR r.rerun>0)"
        " WHERE t.run=? AND EXISTS (SELECT 1 FROM reports x WHERE x.run=t.run AND x.test=t.number"
        " AND x.counted>0 AND (1<<x.outcome)&?) ORDER BY t.number";
    int step = SQLITE_DONE;
    int rc = each_entry(l, run, outcomes, fn, arg, err);
    if (rc)
        return rc;
    sqlite3_stmt *s = pt_ledger_prepare(l, outcomes == ~0u ? all : some, run, err);
    if (!s)
        return -1;
    if (outcomes != ~0u)
        sqlite3_bind_int64(s, 2, outcomes);
    rc = step_tests(s, fn, arg, &step, err);
    return pt_ledger_end_read(l, s, step, rc, err);
}

int pt_ledger_each_note(struct pt_ledger *l, int64_t run, const char *kind, pt_ledger_note_fn *fn, void *arg,
                        struct pt_err *err)
{
    sqlite3_stmt *s =
        pt_ledger_prepare(l, "SELECT host,json FROM notes WHERE run=? AND kind=? ORDER BY id", run, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    pt_bind_text(s, 2, kind);
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        const void *json = sqlite3_column_blob(s, 1);
        rc = fn(arg, pt_column_u32(s, 0), json ? json : "", (size_t)sqlite3_column_bytes(s, 1));
    }
    return pt_ledger_end_read(l, s, step, rc, err);
}
