/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The durable record of runs: STATE/ledger.sqlite. The only sqlite3 user; one thread uses one ledger. On a
 * network file system it is written in another way (ledger_journal.c), that all who open it keep to.
 * Writes belong to the run begun last and gather in one transaction: they are on disk once pt_ledger_commit
 * gave 0, and only then may they be acted on or acknowledged. The last PT_LEDGER_RUNS runs are kept; above
 * PT_LEDGER_BYTES fewer, but PT_LEDGER_LEAST. One that may still be under way is not dropped. */
#include "common/message.h"

struct pt_err;
struct pt_ledger;

#define PT_LEDGER_RUNS  50
#define PT_LEDGER_LEAST 5
#define PT_LEDGER_BYTES (512LL << 20)

/* Makes the folder: 0700, with its own .gitignore. */
int pt_ledger_folder(const char *state_dir, struct pt_err *err);
/* Makes the folder and the file. A damaged file is renamed and a new one
 * begun (see pt_ledger_note); one written by a newer ptremote is refused. */
struct pt_ledger *pt_ledger_open(const char *state_dir, struct pt_err *err);
/* The file that is there, to be read while others write it; a usage error when there is none, or it is
 * damaged or of a newer layout. It is left as it is, but one of an older layout, which is brought up to date.
 */
struct pt_ledger *pt_ledger_look(const char *state_dir, struct pt_err *err);
/* What was not committed is lost. */
void pt_ledger_close(struct pt_ledger *l);
/* What open or begin_run had to say to the user, one line, or "". */
const char *pt_ledger_note(const struct pt_ledger *l);
/* Puts on disk all that was added since the last commit. */
int pt_ledger_commit(struct pt_ledger *l, struct pt_err *err);
/* True when something waits for a commit. */
bool pt_ledger_dirty(const struct pt_ledger *l);

struct pt_ledger_run {
    int64_t id;          /* filled by the ledger */
    const char *name;    /* the run's id as users see it; unique */
    const char *command; /* the command line, for people */
    const char *rootdir, *hash_seed;
    const char *how;  /* JSON object of what must be as it was for a replay besides hash_seed, or NULL */
    const char *argv; /* JSON array: the arguments as given in the folder cwd; NULL: cannot be resumed */
    const char *cwd;
    const char *master;       /* the process that writes it: master.h */
    int64_t resumes;          /* the run whose results it took over, or 0 */
    double started, finished; /* epoch; finished 0: it was not */
    int exitcode;
};
/* Also drops the oldest runs. Commits. */
int pt_ledger_begin_run(struct pt_ledger *l, struct pt_ledger_run *run, struct pt_err *err);
/* The run, begun without argv, has taken over all that the one before it left: it is the one to resume now.
 */
int pt_ledger_can_resume(struct pt_ledger *l, const char *argv, struct pt_err *err);
/* The tree that the run sends: its root, and all of it, kept until the run ends with no test left. */
int pt_ledger_put_tree(struct pt_ledger *l, const void *root, size_t nroot, const void *manifest, size_t n,
                       struct pt_err *err);
/* 0 found, in out; 1 none is kept. */
int pt_ledger_get_tree(struct pt_ledger *l, int64_t run, struct pt_buf *out, struct pt_err *err);
/* What is written from here on belongs to that run, which is there. */
void pt_ledger_continue(struct pt_ledger *l, int64_t run);
/* Every test without a counted report gets `missing` (PT_OUTCOME_NOTRUN or PT_OUTCOME_LOST). Commits. */
int pt_ledger_finish_run(struct pt_ledger *l, double finished, int exitcode, unsigned missing,
                         struct pt_err *err);

/* Takes the run back, as if it had never begun. Commits. */
int pt_ledger_drop_run(struct pt_ledger *l, struct pt_err *err);

/* What the tree's way to a host came to. */
struct pt_ledger_sync {
    uint64_t files_sent, bytes_raw;      /* written from what was sent, before compression */
    uint64_t files_reused, bytes_reused; /* from the host's store */
    uint64_t removed;
    uint64_t rate;              /* bytes a second on the wire, 0: not known */
    double offer, send, finish; /* seconds; negative: it did not come to that */
};

struct pt_ledger_host {
    uint32_t number;
    const char *name, *state; /* state: one word or line: "ready", "lost", why it could not be used */
    uint32_t slots;
    uint64_t bytes_sent;
    double connect, sync, launch; /* seconds; negative: not known */
    struct pt_ledger_sync tree;
};
/* Adding a number again changes it. */
int pt_ledger_add_host(struct pt_ledger *l, const struct pt_ledger_host *host, struct pt_err *err);

struct pt_ledger_test {
    uint32_t number;
    const char *nodeid, *file;
    uint32_t occurrence;
};
int pt_ledger_add_test(struct pt_ledger *l, const struct pt_ledger_test *test, struct pt_err *err);

/* An attempt at a bundle was dealt to a host; called again with `ended` when it is over. */
struct pt_ledger_attempt {
    uint32_t bundle, attempt, host;
    double started, ended; /* ended 0: it runs */
    const char *end;       /* "done", "lost", "recalled", or NULL */
};
int pt_ledger_add_attempt(struct pt_ledger *l, const struct pt_ledger_attempt *attempt, struct pt_err *err);

struct pt_ledger_report {
    uint32_t test; /* PT_NONE: an entry of no test */
    int counted;   /* enum pt_counted as the verdict gave it; 0 is kept too, but not iterated */
    bool extra;    /* pt_verdict_amend: comes after the test's own report */
    uint32_t attempt;
    uint32_t host;   /* PT_NONE: here */
    uint32_t worker; /* rank; PT_NONE: none */
    uint32_t bundle; /* PT_NONE: none */
    uint32_t try_;   /* 1: the first time; 0 is taken for 1 */
    bool rerun;      /* read only: a rerun took its place, it is not counted */
    uint8_t outcome, phase;
    double started, duration, setup, call, teardown; /* negative: not known */
    const void *json;                                /* docs/protocol.md 7.2; NULL for tests that never ran */
    size_t json_len;
};
int pt_ledger_add_report(struct pt_ledger *l, const struct pt_ledger_report *report, struct pt_err *err);
/* The test runs again: what was counted of it so far, extras too, becomes an earlier try. */
int pt_ledger_rerun(struct pt_ledger *l, uint32_t test, struct pt_err *err);
/* A note (docs/protocol.md 7.3); kind is its name ("warning", "suite" ...). */
int pt_ledger_add_note(struct pt_ledger *l, uint32_t host, const char *kind, const void *json, size_t n,
                       struct pt_err *err);

/* --- reading; run 0 is the run begun last; sees what waits for a commit too --- */

/* All that is read from here on is as it is now, whatever others write meanwhile; until close. */
int pt_ledger_hold(struct pt_ledger *l, struct pt_err *err);
/* Filled strings are borrowed until the next call. 0 found, 1 no such run. */
int pt_ledger_get_run(struct pt_ledger *l, int64_t run, struct pt_ledger_run *out, struct pt_err *err);
/* The number of the run of that name, or of the only one whose name begins so; NULL: of the last one. 0 when
 * there is none, with a usage error. */
int64_t pt_ledger_find_run(struct pt_ledger *l, const char *name, struct pt_err *err);
/* Callbacks return 0 to go on; anything else ends the iteration and is returned. -1 is for errors. */
/* The newest first. counts: tests by counted outcome, PT_OUTCOMES of them; [PT_OUTCOME_NONE]: those that have
 * none. */
typedef int pt_ledger_run_fn(void *arg, const struct pt_ledger_run *run, const uint32_t *counts);
int pt_ledger_each_run(struct pt_ledger *l, pt_ledger_run_fn *fn, void *arg, struct pt_err *err);
typedef int pt_ledger_host_fn(void *arg, const struct pt_ledger_host *host);
int pt_ledger_each_host(struct pt_ledger *l, int64_t run, pt_ledger_host_fn *fn, void *arg,
                        struct pt_err *err);
/* First the entries of no test (test NULL, n 1) as they came, then every test in collection order with what
 * earlier tries reported (`rerun`, in the order it came), then its counted report, then extras (n 0: none
 * yet; only `rerun` ones: its rerun did not report). Pointers hold until fn returns. */
typedef int pt_ledger_result_fn(void *arg, const struct pt_ledger_test *test,
                                const struct pt_ledger_report *reports, size_t n);
/* Only tests that have a counted report with one of `outcomes` (bit 1u << outcome); ~0u: every test. */
int pt_ledger_each_result(struct pt_ledger *l, int64_t run, uint32_t outcomes, pt_ledger_result_fn *fn,
                          void *arg, struct pt_err *err);
/* One test of a run, as each_result gives it. */
int pt_ledger_get_result(struct pt_ledger *l, int64_t run, uint32_t test, pt_ledger_result_fn *fn, void *arg,
                         struct pt_err *err);
typedef int pt_ledger_note_fn(void *arg, uint32_t host, const void *json, size_t n);
int pt_ledger_each_note(struct pt_ledger *l, int64_t run, const char *kind, pt_ledger_note_fn *fn, void *arg,
                        struct pt_err *err);

/* --- over all runs --- */

/* What one test came to. Durations are negative when none is known. */
struct pt_ledger_trend {
    const char *nodeid;
    uint32_t occurrence;
    uint32_t passed, failed; /* runs in which it did, failed also by error, time-out, crash */
    uint32_t reran;          /* of those where it passed: not at once */
    double median, last;     /* seconds; last: in the newest run that timed it */
};
typedef int pt_ledger_trend_fn(void *arg, const struct pt_ledger_trend *trend);
/* Every test that ever told something, the slowest first. */
int pt_ledger_each_trend(struct pt_ledger *l, pt_ledger_trend_fn *fn, void *arg, struct pt_err *err);

/* What one test gave in one run. */
struct pt_ledger_past {
    const char *nodeid;
    uint32_t occurrence;
    const char *run; /* its name */
    const char *host;
    double started; /* the run's */
    unsigned outcome;
    uint32_t tries;
    double duration; /* negative: not known */
};
typedef int pt_ledger_past_fn(void *arg, const struct pt_ledger_past *past);
/* Tests whose node id contains `part`, in the order of node ids, each with its newest run first. */
int pt_ledger_each_past(struct pt_ledger *l, const char *part, pt_ledger_past_fn *fn, void *arg,
                        struct pt_err *err);

/* Runs alone, the newest first. */
typedef int pt_ledger_begun_fn(void *arg, const struct pt_ledger_run *run);
int pt_ledger_each_begun(struct pt_ledger *l, pt_ledger_begun_fn *fn, void *arg, struct pt_err *err);

typedef int pt_ledger_failed_fn(void *arg, const char *nodeid);
typedef int pt_ledger_entry_fn(void *arg, int64_t run, const void *json, size_t n);
/* Of these runs: the id of each test whose newest outcome is no good one (lost counts, notrun does not),
 * once; then the entries of no test that have no good one. */
int pt_ledger_each_failed(struct pt_ledger *l, const int64_t *runs, size_t n, pt_ledger_failed_fn *fn,
                          pt_ledger_entry_fn *entry, void *arg, struct pt_err *err);
/* 1: one of these runs, begun after `run`, has a test in the file; 0: none; -1 err. */
int pt_ledger_has_file(struct pt_ledger *l, const int64_t *runs, size_t n, int64_t run, const char *file,
                       struct pt_err *err);

/* --- what runs learned; outlives them: kept for PT_LEDGER_LEARNED runs after it was last written --- */

#define PT_LEDGER_LEARNED 400

/* What a test took on that host, in the host's own seconds; negative: not known. */
struct pt_ledger_duration {
    const char *file, *nodeid;
    uint32_t occurrence;
    const char *host;
    double setup, call, teardown;
    int64_t run; /* read only: when it was written */
};
/* What importing and collecting a file took, and which modules it was ever first to import. */
struct pt_ledger_import {
    const char *file, *host;
    double seconds;
    const char *modules; /* comma separated */
    int64_t run;         /* read only */
};
/* Writing what is there replaces it. */
int pt_ledger_put_duration(struct pt_ledger *l, const struct pt_ledger_duration *d, struct pt_err *err);
int pt_ledger_put_import(struct pt_ledger *l, const struct pt_ledger_import *i, struct pt_err *err);
int pt_ledger_put_speed(struct pt_ledger *l, const char *host, double speed, struct pt_err *err);
typedef int pt_ledger_duration_fn(void *arg, const struct pt_ledger_duration *d);
typedef int pt_ledger_import_fn(void *arg, const struct pt_ledger_import *i);
typedef int pt_ledger_speed_fn(void *arg, const char *host, double speed);
/* In the order of files and node ids. */
int pt_ledger_each_duration(struct pt_ledger *l, pt_ledger_duration_fn *fn, void *arg, struct pt_err *err);
int pt_ledger_each_import(struct pt_ledger *l, pt_ledger_import_fn *fn, void *arg, struct pt_err *err);
int pt_ledger_each_speed(struct pt_ledger *l, pt_ledger_speed_fn *fn, void *arg, struct pt_err *err);
/* The run begun last. */
int64_t pt_ledger_run_id(const struct pt_ledger *l);
