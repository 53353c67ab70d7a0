/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger that another program wrote, or that is damaged. The input: how (64: a run is written as well),
 * then one of
 * - changes of a good ledger's bytes: where (three bytes), what (one);
 * - rows for its tables: which table, then a value for each column (a kind, and what it takes);
 * - the bytes of the file. */
#include "fuzz_ledger.h"
#include "common/err.h"
#include "failures.h"
#include "fuzz.h"
#include "history.h"
#include "output/result.h"
#include "recorded.h"
#include "verdict.h"

#include <sqlite3.h>
#include <unistd.h>

#define STEPS 3000 /* rows that are looked at, all in all */

static struct pt_buf good;
static unsigned steps;

static int enough(void)
{
    return ++steps > STEPS;
}

/* --- the file --- */

static void put_changed(struct fuzz_parts in, const char *path)
{
    static struct pt_buf b;
    pt_buf_clear(&b);
    pt_buf_append(&b, good.data, good.len);
    while (in.left > 0) {
        size_t at = fuzz_byte(&in);
        at = at << 8 | fuzz_byte(&in);
        at = at << 8 | fuzz_byte(&in);
        b.data[at % b.len] = fuzz_byte(&in);
    }
    FILE *f = fopen(path, "we");
    FUZZ_CHECK(f && fwrite(b.data, 1, b.len, f) == b.len);
    fclose(f);
}

static void bind_value(sqlite3_stmt *s, int column, struct fuzz_parts *in)
{
    static const double odd[] = {-1, 0, 0.5, 1e300, -1e300, 1e18, 3, 1700000000};
    uint8_t kind = fuzz_byte(in);
    struct fuzz_parts part;
    switch (kind % 7) {
    case 0:
        sqlite3_bind_null(s, column);
        return;
    case 1:
    case 2:
        sqlite3_bind_int(s, column, kind >> 3);
        return;
    case 3:
        sqlite3_bind_int64(s, column, (sqlite3_int64)((uint64_t)(fuzz_byte(in) + 1) << (kind >> 2)));
        return;
    case 4:
        sqlite3_bind_double(s, column, odd[kind / 7 % 8]);
        return;
    default:
        part = (struct fuzz_parts){in->p, kind >> 2 < in->left ? kind >> 2 : in->left};
        in->p += part.left;
        in->left -= part.left;
        if (kind % 7 == 5)
            sqlite3_bind_text(s, column, (const char *)part.p, (int)part.left, SQLITE_TRANSIENT);
        else
            sqlite3_bind_blob(s, column, part.p, (int)part.left, SQLITE_TRANSIENT);
    }
}

static void put_rows(struct fuzz_parts in, const char *path)
{
    static const struct {
        const char *name;
        int columns;
    } tables[] = {{"runs", 14}, {"hosts", 18},    {"tests", 5},   {"attempts", 7}, {"reports", 19},
                  {"notes", 5}, {"durations", 8}, {"imports", 5}, {"speeds", 3},   {"trees", 2}};
    sqlite3 *db;
    put_changed((struct fuzz_parts){NULL, 0}, path);
    FUZZ_CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_exec(db, "PRAGMA synchronous=0; BEGIN", NULL, NULL, NULL);
    for (int rows = 0; in.left > 0 && rows < 40; rows++) {
        size_t t = fuzz_byte(&in) % (sizeof(tables) / sizeof(*tables));
        char sql[200] = "";
        sqlite3_stmt *s = NULL;
        snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO %s VALUES(?", tables[t].name);
        for (int i = 1; i < tables[t].columns; i++)
            strcat(sql, ",?");
        strcat(sql, ")");
        FUZZ_CHECK(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK);
        for (int i = 1; i <= tables[t].columns; i++)
            bind_value(s, i, &in);
        sqlite3_step(s);
        sqlite3_finalize(s);
    }
    sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    sqlite3_close(db);
}

/* --- all that is read --- */

static int take_host(void *arg, const struct pt_ledger_host *h)
{
    (void)arg;
    FUZZ_CHECK(h->name && h->state);
    return enough();
}

static int take_result(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *reports,
                       size_t n)
{
    struct pt_result r;
    (void)arg;
    FUZZ_CHECK(!test || (test->nodeid && test->file));
    FUZZ_CHECK((n == 0) == (reports == NULL));
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < reports[i].json_len; k++)
            sum ^= ((const uint8_t *)reports[i].json)[k];
    if (pt_result_init(&r, test, reports, n)) {
        for (size_t i = 0; i < r.ntries; i++)
            pt_result_is_try(&r, &r.tries[i]);
        sum ^= r.outcome;
        pt_result_fini(&r);
    }
    return enough() + 0 * sum;
}

static int take_note(void *arg, uint32_t host, const void *json, size_t n)
{
    (void)arg, (void)host;
    FUZZ_CHECK(json && strnlen(json, n) <= n);
    return enough();
}

static int take_trend(void *arg, const struct pt_ledger_trend *t)
{
    (void)arg;
    FUZZ_CHECK(t->nodeid && (t->median <= 0 || t->median > 0));
    return enough();
}

static int take_past(void *arg, const struct pt_ledger_past *p)
{
    (void)arg;
    FUZZ_CHECK(p->nodeid && p->run && p->host);
    return enough();
}

static void read_run(struct pt_ledger *l, int64_t id)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_run run;
    struct pt_recorded recorded;
    struct pt_names names;
    struct pt_buf tree = {0};
    pt_ledger_get_run(l, id, &run, &err);
    pt_ledger_each_host(l, id, take_host, NULL, &err);
    pt_ledger_each_result(l, id, ~0u, take_result, NULL, &err);
    pt_ledger_each_result(l, id, 1u << PT_OUTCOME_FAILED, take_result, NULL, &err);
    pt_ledger_get_result(l, id, 0, take_result, NULL, &err);
    pt_ledger_each_note(l, id, "warning", take_note, NULL, &err);
    pt_ledger_get_tree(l, id, &tree, &err);
    pt_buf_fini(&tree);
    if (pt_recorded_init(&recorded, l, id, &err) == 0)
        FUZZ_CHECK(recorded.name && recorded.verdict && recorded.durations >= -1);
    pt_recorded_fini(&recorded);
    if (pt_names_load(&names, l, id, &err) == 0)
        pt_names_get(&names, 1);
    pt_names_fini(&names);
    FUZZ_CHECK(pt_failures_before(l, id, &err) <= id);
}

static int take_begun(void *arg, const struct pt_ledger_run *run)
{
    int64_t *id = arg;
    FUZZ_CHECK(run->name && run->rootdir && run->hash_seed && run->command);
    *id = run->id;
    return enough();
}

static int take_run(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    FUZZ_CHECK(counts);
    return take_begun(arg, run);
}

static void read_history(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_took took;
    struct pt_history *h = pt_history_create(l, &err);
    FUZZ_CHECK(h || err.msg[0]);
    if (!h)
        return;
    pt_history_test(h, "t/a.py", "t/a.py::one", 0, &took);
    FUZZ_CHECK(pt_history_speed(h, "h1") > 0);
    pt_history_import(h, "t/a.py");
    free(pt_history_preload(h));
    pt_history_destroy(h);
}

static void read_all(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    int64_t oldest = 1;
    FUZZ_CHECK(pt_ledger_note(l) && !pt_ledger_dirty(l));
    if (pt_ledger_hold(l, &err) < 0) {
        FUZZ_CHECK(err.msg[0]);
        return;
    }
    pt_ledger_each_begun(l, take_begun, &oldest, &err);
    pt_ledger_each_run(l, take_run, &oldest, &err);
    int64_t newest = pt_ledger_find_run(l, NULL, &err), named = pt_ledger_find_run(l, "run", &err);
    read_run(l, newest);
    if (named != newest)
        read_run(l, named);
    if (oldest != newest && oldest != named)
        read_run(l, oldest);
    pt_ledger_each_trend(l, take_trend, NULL, &err);
    pt_ledger_each_past(l, "one", take_past, NULL, &err);
    struct pt_json *failed = pt_failures_load(l, 0, "/root", &err);
    pt_json_destroy(failed);
    read_history(l);
}

/* What a run does with it. */
static void write_some(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_run run = {.name = "next", .command = "ptremote", .started = 1700000009};
    if (pt_ledger_begin_run(l, &run, &err) < 0) {
        FUZZ_CHECK(err.msg[0]);
        return;
    }
    FUZZ_CHECK(run.id == pt_ledger_run_id(l));
    pt_ledger_can_resume(l, "[]", &err);
    struct pt_history *h = pt_history_create(l, &err);
    struct pt_took took = {0.5, 0.25, 0.125};
    if (h && pt_history_saw(h, "h2", "t/a.py", "t/a.py::one", 0, &took) == 0)
        pt_history_keep(h, l, &err);
    pt_history_destroy(h);
    ledger_fill_run(l);
    if (pt_ledger_finish_run(l, 1700000019, 1, PT_OUTCOME_NOTRUN, &err) == 0) {
        struct pt_ledger_run again;
        FUZZ_CHECK(pt_ledger_get_run(l, run.id, &again, &err) != 0 || again.exitcode == 1);
    }
    pt_ledger_drop_run(l, &err);
    pt_ledger_continue(l, 1);
    FUZZ_CHECK(pt_ledger_run_id(l) == 1);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    char path[300];
    uint8_t how = fuzz_byte(&in);
    unsigned held = fuzz_hold();
    if (!good.len)
        ledger_make(&good);
    snprintf(path, sizeof(path), "%s", fuzz_path("ledger.sqlite"));
    steps = 0;
    if (how % 3 == 0)
        put_changed(in, path);
    else if (how % 3 == 1)
        put_rows(in, path);
    else
        fuzz_file("ledger.sqlite", in.p, in.left);
    fuzz_release(held);
    struct pt_ledger *l = pt_ledger_look(fuzz_folder(), &err);
    FUZZ_CHECK(l || err.msg[0]);
    if (l)
        read_all(l);
    pt_ledger_close(l);
    l = how & 64 ? pt_ledger_open(fuzz_folder(), &err) : NULL;
    FUZZ_CHECK(l || err.msg[0] || !(how & 64));
    if (l)
        write_some(l);
    pt_ledger_close(l);
    fuzz_feed();
    fuzz_remove("");
}
