/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A small good ledger, with pages as small as can be, so that few bytes are a whole one. */
#include "common/err.h"
#include "fuzz.h"
#include "ledger.h"

#include <sqlite3.h>

/* Tests, reports, notes and hosts for the run that was begun. */
__attribute__((unused)) static void ledger_fill_run(struct pt_ledger *l)
{
    static const char passed[] =
        "{\"nodeid\":\"t/a.py::one\",\"outcome\":\"passed\",\"counts\":{\"passed\":1}}";
    struct pt_ledger_host host = {
        .name = "h1", .state = "ready", .slots = 2, .connect = 0.5, .sync = -1, .launch = 1};
    struct pt_ledger_test one = {.nodeid = "t/a.py::one", .file = "t/a.py"};
    struct pt_ledger_test two = {.number = 1, .nodeid = "t/a.py::two", .file = "t/a.py"};
    struct pt_ledger_attempt attempt = {
        .attempt = 1, .started = 1700000001, .ended = 1700000003, .end = "done"};
    struct pt_ledger_report r = {.counted = 1,
                                 .attempt = 1,
                                 .outcome = PT_OUTCOME_PASSED,
                                 .phase = PT_PHASE_CALL,
                                 .started = 1700000001,
                                 .duration = 0.5,
                                 .json = passed,
                                 .json_len = sizeof(passed) - 1};
    struct pt_err err = PT_ERR_INIT;
    if (pt_ledger_add_host(l, &host, &err) < 0 || pt_ledger_add_test(l, &one, &err) < 0 ||
        pt_ledger_add_test(l, &two, &err) < 0 || pt_ledger_add_attempt(l, &attempt, &err) < 0 ||
        pt_ledger_add_report(l, &r, &err) < 0)
        return;
    r.test = 1;
    r.outcome = PT_OUTCOME_FAILED;
    pt_ledger_add_report(l, &r, &err);
    pt_ledger_rerun(l, 1, &err);
    r.try_ = 2;
    r.counted = 2;
    pt_ledger_add_report(l, &r, &err);
    r.test = PT_NONE;
    pt_ledger_add_report(l, &r, &err);
    pt_ledger_add_note(l, 0, "warning", "{\"message\":\"w\"}", 15, &err);
    pt_ledger_add_note(l, PT_NONE, "run", "{\"root\":\"/p\",\"deselected\":2}", 28, &err);
    pt_ledger_put_tree(l, "r", 1, "manifest", 8, &err);
    pt_ledger_commit(l, &err);
}

static int ledger_begin(struct pt_ledger *l, const char *name, int64_t resumes)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_run run = {.name = name,
                                .command = "ptremote",
                                .rootdir = "/p",
                                .hash_seed = "0",
                                .argv = "[]",
                                .cwd = "/p",
                                .started = 1700000000,
                                .resumes = resumes};
    return pt_ledger_begin_run(l, &run, &err);
}

/* The bytes of a ledger with two runs. */
__attribute__((unused)) static void ledger_make(struct pt_buf *out)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_duration d = {"t/a.py", "t/a.py::one", 0, "h1", 0.25, 0.5, -1, 0};
    struct pt_ledger_import i = {"t/a.py", "h1", 0.5, "numpy", 0};
    char path[300];
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s", fuzz_path("ledger.sqlite"));
    FUZZ_CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_exec(db, "PRAGMA page_size=512; PRAGMA journal_mode=DELETE; VACUUM", NULL, NULL, NULL);
    sqlite3_close(db);
    struct pt_ledger *l = pt_ledger_open(fuzz_folder(), &err);
    FUZZ_CHECK(l && ledger_begin(l, "run-1", 0) == 0);
    ledger_fill_run(l);
    FUZZ_CHECK(pt_ledger_finish_run(l, 1700000009, 1, PT_OUTCOME_NOTRUN, &err) == 0);
    FUZZ_CHECK(ledger_begin(l, "run-2", 1) == 0);
    ledger_fill_run(l);
    FUZZ_CHECK(pt_ledger_put_duration(l, &d, &err) == 0 && pt_ledger_put_import(l, &i, &err) == 0 &&
               pt_ledger_put_speed(l, "h1", 1.5, &err) == 0 && pt_ledger_commit(l, &err) == 0);
    pt_ledger_close(l);
    FUZZ_CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    sqlite3_exec(db, "PRAGMA journal_mode=DELETE; VACUUM", NULL, NULL, NULL);
    sqlite3_close(db);
    FILE *f = fopen(path, "re");
    FUZZ_CHECK(f);
    unsigned char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof(piece), f)) > 0;)
        pt_buf_append(out, piece, n);
    fclose(f);
    fuzz_remove("");
}
