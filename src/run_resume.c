/* SPDX-License-Identifier: Apache-2.0 */
/* A run that goes on with an earlier one: tests that have an outcome there have it here at once, with all
 * that was recorded of them; the others are dealt, but not before: until all was taken over, the earlier run
 * is the one to resume, and nothing would be kept of what ran meanwhile. */
#include "run_parts.h"

#include "common/auto.h"
#include "gather.h"
#include "json.h"
#include "report.h"
#include "run_nodes.h"

#include <stdio.h>
#include <string.h>

static void show_note(void *run, const char *line)
{
    pt_terminal_note(((struct pt_run *)run)->terminal, line);
}

/* What its hosts did after its master had died. */
static int gather(struct pt_run *run, const char *state_dir, int64_t id, struct pt_err *err)
{
    const struct pt_options *opts = run->opts;
    const struct pt_gather_options o = {.state_dir = state_dir,
                                        .run = id,
                                        .transport = &run->again,
                                        .loop = run->loop,
                                        .silence_ms = opts->heartbeat_ms / 2 * 5,
                                        .grace_ms = opts->grace_ms,
                                        .reruns = opts->reruns,
                                        .note = show_note,
                                        .arg = run};
    return opts->dry_run || opts->sync_only ? 0 : pt_gather(&o, err);
}

int pt_run_resume_open(struct pt_run *run, const char *state_dir, struct pt_err *err)
{
    struct pt_ledger *ledger = pt_ledger_look(state_dir, err);
    int64_t id = ledger ? pt_ledger_find_run(ledger, run->opts->resume, err) : 0;
    pt_ledger_close(ledger);
    if (!id || gather(run, state_dir, id, err) < 0 || !(ledger = pt_ledger_look(state_dir, err)))
        return -1;
    run->resume = pt_resume_load(ledger, id, err);
    pt_ledger_close(ledger);
    if (!run->resume)
        return -1;
    const char *seed = pt_resume_hash_seed(run->resume);
    if (seed[0] && strlen(seed) < sizeof(run->hash_seed))
        snprintf(run->hash_seed, sizeof(run->hash_seed), "%s", seed);
    return 0;
}

/* --- its hosts --- */

/* The number that its host of that number has here: that of the same name, else one of its own behind all of
 * ours.
 */
static uint32_t host_of(struct pt_run *run, uint32_t then, struct pt_err *err)
{
    const char *name = pt_resume_host(run->resume, then);
    if (!name)
        return PT_NONE;
    for (size_t i = 0; i < run->hosts.n; i++)
        if (strcmp(run->hosts.items[i].name, name) == 0)
            return (uint32_t)i;
    struct pt_ledger_host row = {.number = run->room + then,
                                 .name = name,
                                 .state = "of the run before",
                                 .connect = -1,
                                 .sync = -1,
                                 .launch = -1,
                                 .tree = {.offer = -1, .send = -1, .finish = -1}};
    return pt_ledger_add_host(run->ledger, &row, err) < 0 ? PT_NONE : row.number;
}

/* --- one test --- */

struct carry {
    struct pt_run *run;
    uint32_t test; /* its number here */
    bool rerun;
    struct pt_err *err;
};

static int add_row(struct carry *c, const struct pt_ledger_report *row)
{
    struct pt_ledger_report copy = *row;
    copy.test = c->test;
    copy.counted = PT_COUNTED_FIRST;
    copy.host = host_of(c->run, row->host, c->err);
    return pt_ledger_add_report(c->run->ledger, &copy, c->err);
}

/* Tries that did not count in the end. */
static int carry_try(struct carry *c, const struct pt_ledger_report *row, const struct pt_report *r)
{
    struct pt_verdict *v = c->run->verdict;
    c->rerun = true;
    if (row->extra)
        return 0;
    if (pt_verdict_set(v, c->test, row->attempt, r->outcome, r->counts, r->ncounts) != PT_COUNTED_FIRST)
        return -1;
    return pt_verdict_again(v, c->test);
}

static int carry_outcome(struct carry *c, const struct pt_ledger_report *row, const struct pt_report *r)
{
    struct pt_verdict *v = c->run->verdict;
    uint32_t before = pt_verdict_failures(v);
    int rc = row->extra ? pt_verdict_amend(v, c->test, r->outcome, r->counts, r->ncounts)
                        : -(pt_verdict_set(v, c->test, row->attempt, r->outcome, r->counts, r->ncounts) !=
                            PT_COUNTED_FIRST);
    c->run->resumed_failures += pt_verdict_failures(v) - before;
    return rc;
}

static int carry_row(struct carry *c, const struct pt_ledger_report *row)
{
    struct pt_report r;
    if (!row->json)
        return pt_err_set(c->err, "--resume: a test's report is missing");
    if (pt_report_decode(row->json, row->json_len, &r, c->err) < 0)
        return -1;
    int rc = 0;
    if (c->rerun && !row->rerun) { /* the rows of tries are all there */
        rc = pt_ledger_rerun(c->run->ledger, c->test, c->err);
        c->rerun = false;
    }
    if (rc == 0)
        rc = add_row(c, row);
    if (rc == 0 && (row->rerun ? carry_try(c, row, &r) : carry_outcome(c, row, &r)) < 0)
        rc = pt_err_set(c->err, "--resume: a test's reports contradict each other");
    pt_report_fini(&r);
    return rc;
}

static int carry(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows, size_t n)
{
    struct carry *c = arg;
    int rc = test ? 0 : -1;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = carry_row(c, &rows[i]);
    return rc;
}

int pt_run_resume_take(struct pt_run *run, uint32_t test, struct pt_err *err)
{
    const struct pt_suite_test *t = pt_suite_get(run->suite, test);
    if (!run->resume)
        return 0;
    uint32_t then = pt_resume_take(run->resume, pt_suite_path(run->suite, t->file), t->nodeid, t->occurrence);
    struct carry c = {.run = run, .test = test, .err = err};
    if (then == PT_NONE)
        return 0;
    if (pt_ledger_get_result(run->ledger, pt_resume_run(run->resume), then, carry, &c, err) != 0)
        return -1;
    if (pt_verdict_outcome(run->verdict, test) == PT_OUTCOME_NONE)
        return pt_err_set(err, "--resume: test %s has no outcome in that run", t->nodeid);
    return 1;
}

/* --- around them --- */

bool pt_run_resume_waits(const struct pt_run *run)
{
    return run->resume && !run->opts->shared_fs;
}

int pt_run_resume_tree(struct pt_run *run, const struct pt_manifest *tree, struct pt_err *err)
{
    struct pt_buf bytes = {0};
    if (run->opts->dry_run || run->opts->sync_only || !run->ledger)
        return 0;
    if (run->resume && run->scans == 1 &&
        pt_resume_tree(run->resume, tree, run->opts->resume_changed, err) < 0)
        return -1;
    pt_manifest_encode(tree, &bytes);
    int rc = bytes.bad ? pt_err_set(err, "out of memory")
                       : pt_ledger_put_tree(run->ledger, pt_manifest_root(tree), PT_DIGEST, bytes.data,
                                            bytes.len, err);
    pt_buf_fini(&bytes);
    return rc;
}

int pt_run_resume_session(struct pt_run *run, const char *rootdir, struct pt_err *err)
{
    size_t n = strlen(run->root);
    if (!run->resume)
        return 0;
    const char *below = strncmp(rootdir, run->root, n) == 0 && rootdir[n] == '/' ? rootdir + n + 1 : "";
    return pt_resume_below(run->resume, below) < 0 ? pt_err_set(err, "out of memory") : 0;
}

/* Warnings that tests gave which do not run again. */
static int carry_note(void *arg, uint32_t host, const void *json, size_t n)
{
    struct pt_run *run = arg;
    struct pt_err err = PT_ERR_INIT;
    errno = 0;
    struct pt_json *note = pt_json_parse(json, n, NULL);
    if (!note && errno == ENOMEM)
        return 1;
    const char *nodeid = pt_json_text(pt_json_get(note, "nodeid"));
    if (nodeid && nodeid[0] && pt_resume_took(run->resume, nodeid))
        pt_run_warning(run, host_of(run, host, &err), json, n);
    pt_json_destroy(note);
    return 0;
}

int pt_run_resume_collected(struct pt_run *run, struct pt_err *err)
{
    char line[200];
    if (!run->resume)
        return 0;
    snprintf(line, sizeof(line), "goes on with run %s: %u of %u tests have their outcome",
             pt_resume_name(run->resume), pt_resume_taken(run->resume), pt_suite_tests(run->suite));
    pt_terminal_note(run->terminal, line);
    if (run->opts->shared_fs)
        pt_terminal_note(run->terminal, "whether the shared tree is as it was then is not known");
    int rc = pt_ledger_each_note(run->ledger, pt_resume_run(run->resume), "warning", carry_note, run, err);
    if (rc != 0)
        return rc < 0 ? -1 : pt_err_set(err, "out of memory");
    return pt_ledger_can_resume(run->ledger, run->argv, err);
}
