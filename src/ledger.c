/* SPDX-License-Identifier: Apache-2.0 */
/* One connection, one transaction at a time: it begins with the first write after a commit. A write that
 * failed spoils the ledger for good, so that nothing after it can be taken for stored. */
#include "common/auto.h"
#include "common/err.h"
#include "ledger_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int folder_fails(const char *dir, struct pt_err *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    pt_err_set_kind(err, PT_ERR_INFRA, "state folder %s: %s", dir, strerror(errno));
    return pt_err_hint(err, "make %s, or keep the state elsewhere with --state-dir DIR",
                       full ? "room there" : "it writable");
}

int pt_ledger_folder(const char *dir, struct pt_err *err)
{
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return folder_fails(dir, err);
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/.gitignore", dir) < 0)
        return pt_err_set(err, "state folder %s: out of memory", dir);
    pt_auto_fd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return folder_fails(dir, err);
    if (fd >= 0 && write(fd, "*\n", 2) != 2) {
        folder_fails(dir, err);
        unlink(path); /* an empty one would ignore nothing, for good */
        return -1;
    }
    return 0;
}

static struct pt_ledger *create(const char *state_dir, struct pt_err *err)
{
    struct pt_ledger *l = calloc(1, sizeof(*l));
    if (l && asprintf(&l->path, "%s/ledger.sqlite", state_dir) >= 0) {
        l->most = PT_LEDGER_BYTES;
        return l;
    }
    free(l);
    pt_err_set(err, "ledger in %s: out of memory", state_dir);
    return NULL;
}

struct pt_ledger *pt_ledger_open(const char *state_dir, struct pt_err *err)
{
    struct pt_ledger *l = create(state_dir, err);
    if (!l)
        return NULL;
    if (pt_ledger_folder(state_dir, err) == 0) {
        l->network = pt_ledger_network_of(state_dir);
        if (pt_ledger_open_file(l, err) == 0)
            return l;
    }
    pt_ledger_close(l);
    return NULL;
}

struct pt_ledger *pt_ledger_look(const char *state_dir, struct pt_err *err)
{
    struct pt_ledger *l = create(state_dir, err);
    if (!l)
        return NULL;
    l->network = pt_ledger_network_of(state_dir);
    if (access(l->path, F_OK) < 0)
        pt_err_set_kind(err, PT_ERR_USAGE, "no runs are recorded in %s", state_dir);
    else if (pt_ledger_look_file(l, err) == 0)
        return l;
    pt_ledger_close(l);
    return NULL;
}

void pt_ledger_close(struct pt_ledger *l)
{
    if (!l)
        return;
    int saved = errno;
    pt_ledger_close_file(l);
    for (size_t i = 0; i < PT_COUNT(l->kept); i++)
        free(l->kept[i]);
    free(l->path);
    free(l);
    errno = saved;
}

const char *pt_ledger_note(const struct pt_ledger *l)
{
    return l->note;
}

/* --- writing --- */

/* The ledger is spoiled: what it says from now on is why. */
static int spoil(struct pt_ledger *l, struct pt_err *err)
{
    if (!l->failed) {
        l->why = PT_ERR_INIT;
        pt_ledger_fail(l, &l->why, "write");
    }
    l->failed = true;
    if (err)
        *err = l->why;
    return -1;
}

int pt_ledger_begin_write(struct pt_ledger *l, struct pt_err *err)
{
    if (l->failed)
        return spoil(l, err);
    if (l->open)
        return 0;
    if (pt_ledger_exec(l, "BEGIN IMMEDIATE", err) < 0)
        return -1;
    l->open = true;
    return 0;
}

int pt_ledger_commit(struct pt_ledger *l, struct pt_err *err)
{
    if (l->failed)
        return spoil(l, err);
    if (!l->open)
        return 0;
    if (sqlite3_exec(l->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        return spoil(l, err);
    l->open = false;
    return 0;
}

bool pt_ledger_dirty(const struct pt_ledger *l)
{
    return l->open;
}

int pt_ledger_write(struct pt_ledger *l, sqlite3_stmt *s, struct pt_err *err)
{
    int rc = sqlite3_step(s);
    if (rc != SQLITE_DONE)
        spoil(l, err);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return rc == SQLITE_DONE ? 0 : -1;
}

int pt_ledger_add_host(struct pt_ledger *l, const struct pt_ledger_host *h, struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_ADD_HOST];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    sqlite3_bind_int64(s, 1, l->run);
    sqlite3_bind_int64(s, 2, h->number);
    pt_bind_text(s, 3, h->name);
    pt_bind_text(s, 4, h->state);
    sqlite3_bind_int64(s, 5, h->slots);
    sqlite3_bind_int64(s, 6, (int64_t)h->bytes_sent);
    pt_bind_real(s, 7, h->connect);
    pt_bind_real(s, 8, h->sync);
    pt_bind_real(s, 9, h->launch);
    const struct pt_ledger_sync *t = &h->tree;
    const uint64_t counts[] = {t->files_sent,   t->bytes_raw, t->files_reused,
                               t->bytes_reused, t->removed,   t->rate};
    for (int i = 0; i < (int)PT_COUNT(counts); i++)
        sqlite3_bind_int64(s, 10 + i, (int64_t)counts[i]);
    pt_bind_real(s, 16, t->offer);
    pt_bind_real(s, 17, t->send);
    pt_bind_real(s, 18, t->finish);
    return pt_ledger_write(l, s, err);
}

int pt_ledger_add_test(struct pt_ledger *l, const struct pt_ledger_test *t, struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_ADD_TEST];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    sqlite3_bind_int64(s, 1, l->run);
    sqlite3_bind_int64(s, 2, t->number);
    pt_bind_text(s, 3, t->nodeid);
    pt_bind_text(s, 4, t->file);
    sqlite3_bind_int64(s, 5, t->occurrence);
    return pt_ledger_write(l, s, err);
}

int pt_ledger_add_attempt(struct pt_ledger *l, const struct pt_ledger_attempt *a, struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_ADD_ATTEMPT];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    sqlite3_bind_int64(s, 1, l->run);
    sqlite3_bind_int64(s, 2, a->bundle);
    sqlite3_bind_int64(s, 3, a->attempt);
    pt_bind_u32(s, 4, a->host);
    pt_bind_real(s, 5, a->started);
    if (a->ended > 0)
        pt_bind_real(s, 6, a->ended);
    pt_bind_text(s, 7, a->end);
    return pt_ledger_write(l, s, err);
}

static int of_test(struct pt_ledger *l, enum pt_ledger_statement what, uint32_t test, struct pt_err *err)
{
    sqlite3_bind_int64(l->stmt[what], 1, l->run);
    sqlite3_bind_int64(l->stmt[what], 2, test);
    return pt_ledger_write(l, l->stmt[what], err);
}

int pt_ledger_rerun(struct pt_ledger *l, uint32_t test, struct pt_err *err)
{
    return pt_ledger_begin_write(l, err) < 0 ? -1 : of_test(l, PT_LEDGER_RERUN, test, err);
}

int pt_ledger_add_report(struct pt_ledger *l, const struct pt_ledger_report *r, struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_ADD_REPORT];
    if (pt_ledger_begin_write(l, err) < 0 ||
        (r->counted > 1 && of_test(l, PT_LEDGER_UNCOUNT, r->test, err) < 0))
        return -1;
    sqlite3_bind_int64(s, 1, l->run);
    pt_bind_u32(s, 2, r->test);
    sqlite3_bind_int64(s, 3, r->counted > 0);
    sqlite3_bind_int64(s, 4, r->extra);
    sqlite3_bind_int64(s, 5, r->attempt);
    pt_bind_u32(s, 6, r->host);
    pt_bind_u32(s, 7, r->worker);
    sqlite3_bind_int64(s, 8, r->outcome);
    sqlite3_bind_int64(s, 9, r->phase);
    pt_bind_real(s, 10, r->started);
    pt_bind_real(s, 11, r->duration);
    pt_bind_real(s, 12, r->setup);
    pt_bind_real(s, 13, r->call);
    pt_bind_real(s, 14, r->teardown);
    if (r->json)
        sqlite3_bind_blob64(s, 15, r->json, r->json_len, SQLITE_STATIC);
    pt_bind_u32(s, 16, r->bundle);
    sqlite3_bind_int64(s, 17, r->try_ ? r->try_ : 1);
    return pt_ledger_write(l, s, err);
}

int pt_ledger_add_note(struct pt_ledger *l, uint32_t host, const char *kind, const void *json, size_t n,
                       struct pt_err *err)
{
    sqlite3_stmt *s = l->stmt[PT_LEDGER_ADD_NOTE];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    sqlite3_bind_int64(s, 1, l->run);
    pt_bind_u32(s, 2, host);
    pt_bind_text(s, 3, kind);
    sqlite3_bind_blob64(s, 4, json, n, SQLITE_STATIC);
    return pt_ledger_write(l, s, err);
}

/* --- runs --- */

/* A statement of its own with the run as ?1 and `value` as ?2. */
static int run_sql(struct pt_ledger *l, const char *sql, int64_t value, struct pt_err *err)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(l->db, sql, -1, &s, NULL) != SQLITE_OK)
        return pt_ledger_fail(l, err, "prepare");
    sqlite3_bind_int64(s, 1, l->run);
    if (sqlite3_bind_parameter_count(s) > 1)
        sqlite3_bind_int64(s, 2, value);
    int rc = pt_ledger_write(l, s, err);
    sqlite3_finalize(s);
    return rc;
}

static int insert_run(struct pt_ledger *l, struct pt_ledger_run *run, struct pt_err *err)
{
    sqlite3_stmt *s = NULL;
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    if (sqlite3_prepare_v2(l->db, "INSERT INTO runs VALUES(NULL,?,?,?,?,?,NULL,NULL,?,?,?,?,NULL,?)", -1, &s,
                           NULL) != SQLITE_OK)
        return pt_ledger_fail(l, err, "prepare");
    pt_bind_text(s, 1, run->name);
    pt_bind_text(s, 2, run->command);
    pt_bind_text(s, 3, run->rootdir);
    pt_bind_text(s, 4, run->hash_seed);
    pt_bind_real(s, 5, run->started);
    pt_bind_text(s, 6, run->how);
    pt_bind_text(s, 7, run->argv);
    pt_bind_text(s, 8, run->cwd);
    pt_bind_text(s, 9, run->master);
    if (run->resumes)
        sqlite3_bind_int64(s, 10, run->resumes);
    l->keep = run->resumes;
    int rc = pt_ledger_write(l, s, err);
    sqlite3_finalize(s);
    run->id = l->run = sqlite3_last_insert_rowid(l->db);
    return rc;
}

/* The last run to drop. Of a file that is too large two runs go, so that it gets smaller at a bearable pace.
 */
static int64_t last_to_drop(struct pt_ledger *l)
{
    bool ok;
    int64_t last = l->run - PT_LEDGER_RUNS, least = l->run - PT_LEDGER_LEAST;
    int64_t used = pt_ledger_ask(l,
                                 "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count(),"
                                 " pragma_freelist_count(), pragma_page_size()",
                                 &ok);
    int64_t oldest = used > l->most ? pt_ledger_ask(l, "SELECT MIN(id) FROM runs", &ok) : -1;
    if (oldest >= 0 && last < oldest + 1)
        last = oldest + 1 < least ? oldest + 1 : least;
    int64_t busy = pt_ledger_ask(l,
                                 "SELECT MIN(id) FROM runs WHERE finished IS NULL"
                                 " AND started > strftime('%s','now') - 86400",
                                 &ok);
    return busy > 0 && last >= busy ? busy - 1 : last;
}

static const char *const of_runs[] = {"hosts", "tests", "attempts", "reports", "notes", "trees"};

int pt_ledger_drop_run(struct pt_ledger *l, struct pt_err *err)
{
    char sql[96];
    if (pt_ledger_begin_write(l, err) < 0)
        return -1;
    for (size_t i = 0; i < PT_COUNT(of_runs); i++) {
        snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE run=?1", of_runs[i]);
        if (run_sql(l, sql, 0, err) < 0)
            return -1;
    }
    return run_sql(l, "DELETE FROM runs WHERE id=?1", 0, err) < 0 ? -1 : pt_ledger_commit(l, err);
}

/* What was learned has no index by run, so it is looked through now and then only. */
static int drop_old(struct pt_ledger *l, struct pt_err *err)
{
    char sql[96];
    int64_t last = last_to_drop(l);
    if (l->keep && last >= l->keep)
        last = l->keep - 1;
    for (size_t i = 0; i < PT_COUNT(of_runs); i++) {
        snprintf(sql, sizeof(sql), "DELETE FROM %s WHERE run<=?2 AND run<>?1", of_runs[i]);
        if (run_sql(l, sql, last, err) < 0)
            return -1;
    }
    if (l->run % 16 == 0 && pt_ledger_forget(l, l->run - PT_LEDGER_LEARNED, err) < 0)
        return -1;
    return run_sql(l, "DELETE FROM runs WHERE id<=?2 AND id<>?1", last, err);
}

/* Write to every table and take it back, so that damage shows now and not in the middle of the run. */
static int probe(struct pt_ledger *l, struct pt_err *err)
{
    struct pt_ledger_host host = {.name = "", .state = ""};
    struct pt_ledger_test test = {.nodeid = "", .file = ""};
    struct pt_ledger_attempt attempt = {.host = 0};
    struct pt_ledger_report report = {.counted = 2};
    struct pt_ledger_duration duration = {.file = "", .nodeid = "", .host = ""};
    struct pt_ledger_import import = {.file = "", .host = "", .modules = ""};
    if (pt_ledger_exec(l, "SAVEPOINT probe", err) < 0 || pt_ledger_add_host(l, &host, err) < 0 ||
        pt_ledger_add_test(l, &test, err) < 0 || pt_ledger_add_attempt(l, &attempt, err) < 0 ||
        pt_ledger_add_report(l, &report, err) < 0 || pt_ledger_add_note(l, 0, "", "", 0, err) < 0 ||
        pt_ledger_put_duration(l, &duration, err) < 0 || pt_ledger_put_import(l, &import, err) < 0 ||
        pt_ledger_put_speed(l, "", 1, err) < 0)
        return -1;
    return pt_ledger_exec(l, "ROLLBACK TO probe; RELEASE probe", err);
}

static int try_begin(struct pt_ledger *l, struct pt_ledger_run *run, struct pt_err *err)
{
    if (insert_run(l, run, err) < 0 || drop_old(l, err) < 0 || probe(l, err) < 0)
        return -1;
    return pt_ledger_commit(l, err);
}

int pt_ledger_begin_run(struct pt_ledger *l, struct pt_ledger_run *run, struct pt_err *err)
{
    if (try_begin(l, run, err) == 0)
        return 0;
    if (!l->damaged)
        return -1;
    if (pt_ledger_begin_anew(l, err) < 0)
        return -1;
    return try_begin(l, run, err);
}

static int fill_missing(struct pt_ledger *l, unsigned outcome, struct pt_err *err)
{
    if (outcome == PT_OUTCOME_NONE)
        return 0;
    return run_sql(l,
                   "INSERT INTO reports(run,test,counted,extra,attempt,outcome)"
                   " SELECT run,number,1,0,0,?2 FROM tests t WHERE run=?1 AND NOT EXISTS"
                   " (SELECT 1 FROM reports r WHERE r.run=t.run AND r.test=t.number AND r.counted>0)",
                   outcome, err);
}

_Static_assert(PT_OUTCOME_LOST == PT_OUTCOME_NOTRUN + 1, "what a resumed run has to do lies side by side");

/* The tree of a run that has nothing left to resume. */
static int forget_tree(struct pt_ledger *l, struct pt_err *err)
{
    return run_sql(l,
                   "DELETE FROM trees WHERE run=?1 AND NOT EXISTS (SELECT 1 FROM reports r WHERE r.run=?1"
                   " AND r.counted>0 AND r.outcome BETWEEN ?2 AND ?2+1)",
                   PT_OUTCOME_NOTRUN, err);
}

static int mark_finished(struct pt_ledger *l, double finished, int exitcode, struct pt_err *err)
{
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(l->db, "UPDATE runs SET exitcode=?, finished=? WHERE id=?", -1, &s, NULL) !=
        SQLITE_OK)
        return pt_ledger_fail(l, err, "prepare");
    sqlite3_bind_int(s, 1, exitcode);
    pt_bind_real(s, 2, finished);
    sqlite3_bind_int64(s, 3, l->run);
    int rc = pt_ledger_write(l, s, err);
    sqlite3_finalize(s);
    return rc;
}

int pt_ledger_finish_run(struct pt_ledger *l, double finished, int exitcode, unsigned missing,
                         struct pt_err *err)
{
    if (pt_ledger_begin_write(l, err) < 0 || fill_missing(l, missing, err) < 0)
        return -1;
    if (mark_finished(l, finished, exitcode, err) < 0 || forget_tree(l, err) < 0)
        return -1;
    return pt_ledger_commit(l, err);
}
