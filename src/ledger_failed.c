/* SPDX-License-Identifier: Apache-2.0 */
/* What failed when it last ran. */
#include "common/auto.h"
#include "common/err.h"
#include "ledger_inside.h"

#include <stdio.h>

_Static_assert(PT_OUTCOME_LOST == PT_OUTCOME_NOTRUN + 1 && PT_OUTCOME_CRASHED == PT_OUTCOMES - 1,
               "what is no good outcome comes last");

/* A statement about the table `these` of the runs; ?1 is the last outcome that is none or a good one. */
static sqlite3_stmt *prepare(struct pt_ledger *l, const char *sql, const int64_t *runs, size_t n,
                             struct pt_err *err)
{
    pt_auto_free char *list = NULL, *text = NULL;
    size_t size;
    FILE *out = open_memstream(&list, &size);
    for (size_t i = 0; out && i < n; i++)
        fprintf(out, "%s%lld", i ? "," : "", (long long)runs[i]);
    if (!out || fclose(out) != 0 ||
        asprintf(&text, "WITH these(run) AS (SELECT id FROM runs WHERE id IN (%s))%s", list, sql) < 0) {
        pt_err_set(err, "ledger: out of memory");
        return NULL;
    }
    sqlite3_stmt *s = pt_ledger_prepare(l, text, 0, err);
    if (s)
        sqlite3_bind_int64(s, 1, PT_OUTCOME_NOTRUN);
    return s;
}

static int each_test(struct pt_ledger *l, const int64_t *runs, size_t n, pt_ledger_failed_fn *fn, void *arg,
                     struct pt_err *err)
{
    static const char sql[] =
        /* of each test in each run: did any of what it told go wrong? */
        ", told AS (SELECT t.nodeid, t.occurrence, t.run, MAX(r.outcome>?1) AS bad FROM these"
        " JOIN tests t ON t.run=these.run JOIN reports r ON r.run=t.run AND r.test=t.number"
        " WHERE r.counted>0 AND r.outcome NOT IN (0,?1) GROUP BY t.run, t.number)"
        /* bad is that of the row with the greatest run */
        " SELECT DISTINCT nodeid FROM (SELECT nodeid, bad, MAX(run) FROM told GROUP BY nodeid, occurrence)"
        " WHERE bad";
    sqlite3_stmt *s = prepare(l, sql, runs, n, err);
    int rc = s ? 0 : -1, step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = fn(arg, pt_column_text(s, 0));
    return s ? pt_ledger_end_read(l, s, step, rc, err) : -1;
}

static int each_entry(struct pt_ledger *l, const int64_t *runs, size_t n, pt_ledger_entry_fn *fn, void *arg,
                      struct pt_err *err)
{
    static const char sql[] =
        " SELECT r.run, r.json FROM these JOIN reports r ON r.run=these.run AND r.test IS NULL"
        " WHERE r.counted>0 AND r.outcome>?1 ORDER BY r.run, r.id";
    sqlite3_stmt *s = prepare(l, sql, runs, n, err);
    int rc = s ? 0 : -1, step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = fn(arg, sqlite3_column_int64(s, 0), sqlite3_column_blob(s, 1),
                (size_t)sqlite3_column_bytes(s, 1));
    return s ? pt_ledger_end_read(l, s, step, rc, err) : -1;
}

int pt_ledger_each_failed(struct pt_ledger *l, const int64_t *runs, size_t n, pt_ledger_failed_fn *fn,
                          pt_ledger_entry_fn *entry, void *arg, struct pt_err *err)
{
    int rc = each_test(l, runs, n, fn, arg, err);
    return rc ? rc : each_entry(l, runs, n, entry, arg, err);
}

int pt_ledger_has_file(struct pt_ledger *l, const int64_t *runs, size_t n, int64_t run, const char *file,
                       struct pt_err *err)
{
    static const char sql[] = " SELECT EXISTS (SELECT 1 FROM these JOIN tests t ON t.run=these.run"
                              " WHERE t.run>?2 AND t.file=?3)";
    sqlite3_stmt *s = prepare(l, sql, runs, n, err);
    if (!s)
        return -1;
    sqlite3_bind_int64(s, 2, run);
    pt_bind_text(s, 3, file);
    int step = sqlite3_step(s);
    int has = step == SQLITE_ROW && sqlite3_column_int(s, 0) != 0;
    return pt_ledger_end_read(l, s, step, has, err);
}
