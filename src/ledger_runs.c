/* SPDX-License-Identifier: Apache-2.0 */
/* The runs themselves: what each was, which there are, the trees of those that can be resumed. */
#include "common/auto.h"
#include "common/err.h"
#include "ledger_inside.h"

#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                              \
    "id,ifnull(name,''),ifnull(command,''),ifnull(rootdir,''),ifnull(hash_seed,''),how,argv,cwd,master,"     \
    "started,finished,exitcode,resumes"

/* Copied, as a statement that is not at its end would keep others' writes out of sight, and then ours out of
 * the file. */
static const char *kept(struct pt_ledger *l, size_t i, sqlite3_stmt *s, int column, bool *bad)
{
    const char *v = (const char *)sqlite3_column_text(s, column);
    free(l->kept[i]);
    l->kept[i] = v ? strdup(v) : NULL;
    *bad |= v && !l->kept[i];
    return l->kept[i];
}

static bool get(struct pt_ledger *l, sqlite3_stmt *s, struct pt_ledger_run *out)
{
    bool bad = false;
    *out = (struct pt_ledger_run){
        .id = sqlite3_column_int64(s, 0),
        .name = kept(l, 0, s, 1, &bad),
        .command = kept(l, 1, s, 2, &bad),
        .rootdir = kept(l, 2, s, 3, &bad),
        .hash_seed = kept(l, 3, s, 4, &bad),
        .how = kept(l, 4, s, 5, &bad),
        .argv = kept(l, 5, s, 6, &bad),
        .cwd = kept(l, 6, s, 7, &bad),
        .master = kept(l, 7, s, 8, &bad),
        .started = sqlite3_column_double(s, 9),
        .finished = sqlite3_column_double(s, 10),
        .exitcode = sqlite3_column_int(s, 11),
        .resumes = sqlite3_column_int64(s, 12),
    };
    return !bad;
}

int pt_ledger_hold(struct pt_ledger *l, struct pt_err *err)
{
    bool ok;
    if (!l->logs && pt_ledger_copy(l, err) < 0)
        return -1;
    if (pt_ledger_exec(l, "BEGIN", err) < 0)
        return -1;
    pt_ledger_ask(l, "SELECT MAX(id) FROM runs", &ok); /* the first read takes the snapshot */
    return ok ? 0 : pt_ledger_fail(l, err, "read");
}

int pt_ledger_get_run(struct pt_ledger *l, int64_t run, struct pt_ledger_run *out, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, "SELECT " COLUMNS " FROM runs WHERE id=?", run, err);
    if (!s)
        return -1;
    int step = sqlite3_step(s);
    bool good = step != SQLITE_ROW || get(l, s, out);
    int rc = pt_ledger_end_read(l, s, step, 0, err);
    if (!good)
        return pt_err_set(err, "ledger: out of memory");
    return rc < 0 ? -1 : step == SQLITE_DONE;
}

int pt_ledger_can_resume(struct pt_ledger *l, const char *argv, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_begin_write(l, err) < 0
                          ? NULL
                          : pt_ledger_prepare(l, "UPDATE runs SET argv=?2 WHERE id=?1", 0, err);
    if (!s)
        return -1;
    pt_bind_text(s, 2, argv);
    int rc = pt_ledger_write(l, s, err);
    sqlite3_finalize(s);
    return rc;
}

int64_t pt_ledger_find_run(struct pt_ledger *l, const char *name, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l,
                                        name ? "SELECT id, name=?1 FROM runs WHERE substr(name, 1, "
                                               "length(?1))=?1 ORDER BY name=?1 DESC, id DESC"
                                             : "SELECT id, 1 FROM runs ORDER BY id DESC",
                                        0, err);
    if (!s)
        return 0;
    if (name)
        pt_bind_text(s, 1, name);
    int step = sqlite3_step(s);
    int64_t id = step == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
    bool whole = step == SQLITE_ROW && sqlite3_column_int(s, 1) != 0;
    bool several = step == SQLITE_ROW && !whole && (step = sqlite3_step(s)) == SQLITE_ROW;
    if (pt_ledger_end_read(l, s, step, 0, err) < 0)
        return 0;
    if (id && !several)
        return id;
    if (!name)
        pt_err_set_kind(err, PT_ERR_USAGE, "no runs are recorded in %s", l->path);
    else
        pt_err_set_kind(err, PT_ERR_USAGE,
                        several ? "several runs begin with '%.40s'" : "no run '%.40s' is recorded", name);
    pt_err_hint(err, "ptremote runs lists them");
    return 0;
}

/* --- all of them --- */

static int count(struct pt_ledger *l, int64_t run, uint32_t counts[PT_OUTCOMES], struct pt_err *err)
{
    static const char sql[] =
        "SELECT r.outcome, COUNT(*) FROM reports r WHERE r.run=? AND r.test IS NOT NULL AND r.counted>0"
        " AND r.extra=0 GROUP BY r.outcome UNION ALL"
        " SELECT 0, COUNT(*) FROM tests t WHERE t.run=?1 AND NOT EXISTS"
        " (SELECT 1 FROM reports r WHERE r.run=t.run AND r.test=t.number AND r.counted>0)";
    sqlite3_stmt *s = pt_ledger_prepare(l, sql, run, err);
    int step = SQLITE_DONE;
    memset(counts, 0, PT_OUTCOMES * sizeof(*counts));
    while (s && (step = sqlite3_step(s)) == SQLITE_ROW) {
        int64_t outcome = sqlite3_column_int64(s, 0);
        if (outcome >= 0 && outcome < PT_OUTCOMES)
            counts[outcome] += (uint32_t)sqlite3_column_int64(s, 1);
    }
    return s ? pt_ledger_end_read(l, s, step, 0, err) : -1;
}

int pt_ledger_each_begun(struct pt_ledger *l, pt_ledger_begun_fn *fn, void *arg, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, "SELECT " COLUMNS " FROM runs ORDER BY id DESC", 0, err);
    struct pt_ledger_run run;
    int rc = s ? 0 : -1, step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = get(l, s, &run) ? fn(arg, &run) : pt_err_set(err, "ledger: out of memory");
    return s ? pt_ledger_end_read(l, s, step, rc, err) : -1;
}

int pt_ledger_each_run(struct pt_ledger *l, pt_ledger_run_fn *fn, void *arg, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, "SELECT " COLUMNS " FROM runs ORDER BY id DESC", 0, err);
    struct pt_ledger_run run;
    uint32_t counts[PT_OUTCOMES];
    int rc = s ? 0 : -1, step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        rc = get(l, s, &run) ? count(l, run.id, counts, err) : pt_err_set(err, "ledger: out of memory");
        if (rc == 0)
            rc = fn(arg, &run, counts);
    }
    return s ? pt_ledger_end_read(l, s, step, rc, err) : -1;
}

/* --- trees --- */

int pt_ledger_put_tree(struct pt_ledger *l, const void *root, size_t nroot, const void *manifest, size_t n,
                       struct pt_err *err)
{
    static const char *const sql[] = {"UPDATE runs SET tree=?2 WHERE id=?1",
                                      "INSERT OR REPLACE INTO trees VALUES(?1,?2)"};
    const void *const blob[] = {root, manifest};
    const size_t size[] = {nroot, n};
    int rc = pt_ledger_begin_write(l, err);
    for (size_t i = 0; i < PT_COUNT(sql) && rc == 0; i++) {
        sqlite3_stmt *s = pt_ledger_prepare(l, sql[i], 0, err);
        if (!s)
            return -1;
        sqlite3_bind_blob64(s, 2, blob[i], size[i], SQLITE_STATIC);
        rc = pt_ledger_write(l, s, err);
        sqlite3_finalize(s);
    }
    return rc;
}

int pt_ledger_get_tree(struct pt_ledger *l, int64_t run, struct pt_buf *out, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, "SELECT manifest FROM trees WHERE run=?", run, err);
    if (!s)
        return -1;
    int step = sqlite3_step(s);
    if (step == SQLITE_ROW)
        pt_buf_append(out, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    if (pt_ledger_end_read(l, s, step, 0, err) < 0)
        return -1;
    return out->bad ? pt_err_set(err, "ledger: out of memory") : step == SQLITE_DONE;
}

void pt_ledger_continue(struct pt_ledger *l, int64_t run)
{
    l->run = run;
}
