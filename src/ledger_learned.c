/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "ledger_inside.h"

#include <stdio.h>

int64_t pt_ledger_run_id(const struct pt_ledger *l)
{
    return l->run;
}

int pt_ledger_put_duration(struct pt_ledger *l, const struct pt_ledger_duration *d, struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_PUT_DURATION];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    pt_bind_text(s, 1, d->file);
    pt_bind_text(s, 2, d->nodeid);
    sqlite3_bind_int64(s, 3, d->occurrence);
    pt_bind_text(s, 4, d->host);
    pt_bind_real(s, 5, d->setup);
    pt_bind_real(s, 6, d->call);
    pt_bind_real(s, 7, d->teardown);
    sqlite3_bind_int64(s, 8, l->run);
    return pt_ledger_write(l, s, err);
}

int pt_ledger_put_import(struct pt_ledger *l, const struct pt_ledger_import *i, struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_PUT_IMPORT];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    pt_bind_text(s, 1, i->file);
    pt_bind_text(s, 2, i->host);
    pt_bind_real(s, 3, i->seconds);
    pt_bind_text(s, 4, i->modules);
    sqlite3_bind_int64(s, 5, l->run);
    return pt_ledger_write(l, s, err);
}

int pt_ledger_put_speed(struct pt_ledger *l, const char *host, double speed, struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_PUT_SPEED];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    pt_bind_text(s, 1, host);
    pt_bind_real(s, 2, speed);
    sqlite3_bind_int64(s, 3, l->run);
    return pt_ledger_write(l, s, err);
}

int pt_ledger_forget(struct pt_ledger *l, int64_t run, struct pt_err *err)
{
    static const char *const tables[] = {"durations", "imports", "speeds"};
    char sql[96];
    for (size_t i = 0; i < PT_COUNT(tables); i++) {
        snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE run<=%lld", tables[i], (long long)run);
        if (pt_ledger_exec(l, sql, err) < 0)
            return -1;
    }
    return 0;
}

/* --- reading --- */

int pt_ledger_each_duration(struct pt_ledger *l, pt_ledger_duration_fn *fn, void *arg, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(
        l, "SELECT file,nodeid,occurrence,host,setup,call,teardown,run FROM durations", 0, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_duration d = {.file = pt_column_text(s, 0),
                                       .nodeid = pt_column_text(s, 1),
                                       .occurrence = pt_column_u32(s, 2),
                                       .host = pt_column_text(s, 3),
                                       .setup = pt_column_real(s, 4),
                                       .call = pt_column_real(s, 5),
                                       .teardown = pt_column_real(s, 6),
                                       .run = sqlite3_column_int64(s, 7)};
        rc = fn(arg, &d);
    }
    return pt_ledger_end_read(l, s, step, rc, err);
}

int pt_ledger_each_import(struct pt_ledger *l, pt_ledger_import_fn *fn, void *arg, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, "SELECT file,host,seconds,modules,run FROM imports", 0, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW) {
        struct pt_ledger_import i = {.file = pt_column_text(s, 0),
                                     .host = pt_column_text(s, 1),
                                     .seconds = pt_column_real(s, 2),
                                     .modules = pt_column_text(s, 3),
                                     .run = sqlite3_column_int64(s, 4)};
        rc = fn(arg, &i);
    }
    return pt_ledger_end_read(l, s, step, rc, err);
}

int pt_ledger_each_speed(struct pt_ledger *l, pt_ledger_speed_fn *fn, void *arg, struct pt_err *err)
{
    sqlite3_stmt *s = pt_ledger_prepare(l, "SELECT host,speed FROM speeds", 0, err);
    int rc = s ? 0 : -1;
    int step = SQLITE_DONE;
    while (rc == 0 && (step = sqlite3_step(s)) == SQLITE_ROW)
        rc = fn(arg, pt_column_text(s, 0), pt_column_real(s, 1));
    return pt_ledger_end_read(l, s, step, rc, err);
}
