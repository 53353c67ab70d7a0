/* SPDX-License-Identifier: Apache-2.0 */
/* What tests gave becomes outcomes, ledger rows and lines for the user. A test is told once: the plan says
 * whether a message about it is believable, the verdict whether it counts. One that went wrong may run again:
 * its report is kept as an earlier try, and the test has no outcome until the next. */
#include "run_results.h"

#include "common/log.h"
#include "history.h"
#include "rerun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *path_of(const struct pt_run *run, const struct pt_suite_test *t)
{
    return pt_suite_path(run->suite, t->file);
}

static void keep(struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r, int counted,
                 bool extra)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_report row = {.test = a->test,
                                   .counted = counted,
                                   .extra = extra,
                                   .attempt = a->attempt,
                                   .host = a->h ? a->h->number : PT_NONE,
                                   .worker = a->rank,
                                   .bundle = a->bundle,
                                   .try_ = pt_verdict_tries(run->verdict, a->test),
                                   .outcome = r->outcome,
                                   .phase = r->phase,
                                   .started = r->started,
                                   .duration = r->duration,
                                   .setup = r->setup,
                                   .call = r->call,
                                   .teardown = r->teardown,
                                   .json = a->json,
                                   .json_len = a->n};
    if (pt_ledger_add_report(run->ledger, &row, &err) < 0)
        pt_run_fail(run, &err);
}

static void show(struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r)
{
    pt_terminal_reported(run->terminal, r, a->h ? a->h->number : PT_NONE, run->verdict);
}

static void after_report(struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r)
{
    char why[PT_ERR_MAX];
    show(run, a, r);
    if (r->stop && !run->stopped[0]) {
        snprintf(why, sizeof(why), "stopped by a test: %s", r->stop);
        run->end.interrupted = true;
        pt_run_end_early(run, why);
    } else if (pt_verdict_enough(run->verdict, run->maxfail ? run->maxfail + run->resumed_failures : 0) &&
               !run->stopped[0]) {
        snprintf(why, sizeof(why), "stopping after %u failures", pt_verdict_failures(run->verdict));
        pt_run_end_early(run, why);
    }
}

/* What it took, where its phases were timed. */
static void learn(struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r)
{
    const struct pt_suite_test *t = pt_suite_get(run->suite, a->test);
    struct pt_took took = {.setup = r->setup, .call = r->call, .teardown = r->teardown};
    if (!run->history || !a->h || !t || (took.setup < 0 && took.call < 0))
        return;
    if (pt_history_saw(run->history, a->h->host->name, path_of(run, t), t->nodeid, t->occurrence, &took) < 0)
        pt_info("what %s took is not learned: out of memory", t->nodeid);
}

/* --- reruns --- */

static bool wants_again(const struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r)
{
    return a->h && !run->stopped[0] && !run->ending && !run->stopping &&
           pt_rerun_wanted(run->rerun, pt_verdict_tries(run->verdict, a->test), r);
}

static int again(struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r,
                 struct pt_err *err)
{
    if (pt_ledger_rerun(run->ledger, a->test, err) < 0 || pt_plan_again(run->plan, a->test, err) < 0) {
        pt_run_fail(run, err);
        return 0;
    }
    pt_verdict_again(run->verdict, a->test);
    pt_terminal_rerun(run->terminal, r, a->h ? a->h->number : PT_NONE, run->verdict);
    pt_run_deal(run);
    return 0;
}

/* Last tries of tests that were to run again and did not. */
struct waiting {
    struct pt_ledger_report row; /* json is owned */
    struct waiting *next;
};

static int find_waiting(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows,
                        size_t n)
{
    struct waiting **all = arg;
    size_t own = n;
    while (own && rows[own - 1].extra)
        own--;
    if (!test || !own || !rows[own - 1].rerun || !rows[own - 1].json)
        return 0;
    struct waiting *w = malloc(sizeof(*w));
    void *json = malloc(rows[own - 1].json_len + 1);
    if (!w || !json) {
        free(w);
        free(json);
        return -1;
    }
    memcpy(json, rows[own - 1].json, rows[own - 1].json_len);
    *w = (struct waiting){.row = rows[own - 1], .next = *all};
    w->row.json = json;
    w->row.test = test->number;
    *all = w;
    return 0;
}

/* The outcome is that of the last try. */
static void settle(struct pt_run *run, const struct pt_ledger_report *row)
{
    struct pt_report r;
    struct pt_arrival a = {.h = row->host < run->hosts.n ? &run->at[row->host] : NULL,
                           .test = row->test,
                           .bundle = row->bundle,
                           .attempt = row->attempt,
                           .rank = row->worker,
                           .json = row->json,
                           .n = row->json_len};
    struct pt_err err = PT_ERR_INIT;
    if (pt_report_decode(row->json, row->json_len, &r, &err) < 0) {
        pt_run_fail(run, &err);
        return;
    }
    if (pt_verdict_not_again(run->verdict, row->test) < 0) {
        pt_report_fini(&r);
        return;
    }
    pt_verdict_set(run->verdict, row->test, row->attempt, r.outcome, r.counts, r.ncounts);
    keep(run, &a, &r, PT_COUNTED_FIRST, false);
    show(run, &a, &r);
    pt_report_fini(&r);
}

void pt_run_results_end(struct pt_run *run)
{
    struct pt_err err = PT_ERR_INIT;
    struct waiting *all = NULL;
    if (!run->ledger || pt_verdict_count_of(run->verdict, "rerun") == 0)
        return;
    if (pt_ledger_each_result(run->ledger, 0, ~0u, find_waiting, &all, &err) < 0) {
        if (!err.msg[0])
            pt_err_set(&err, "tests that were to run again: out of memory");
        pt_run_fail(run, &err);
    }
    while (all) {
        struct waiting *next = all->next;
        settle(run, &all->row);
        free((void *)all->row.json);
        free(all);
        all = next;
    }
}

/* --- reports --- */

int pt_run_take(struct pt_run *run, const struct pt_arrival *a, struct pt_err *err)
{
    struct pt_report r;
    int rc = 0;
    if (pt_report_decode(a->json, a->n, &r, err) < 0)
        return -1;
    enum pt_counted counted =
        pt_verdict_set(run->verdict, a->test, a->attempt, r.outcome, r.counts, r.ncounts);
    if (counted == PT_COUNTED_BAD) {
        pt_report_fini(&r);
        return pt_err_set(err, "a report without a test or outcome");
    }
    keep(run, a, &r, counted, false);
    if (counted == PT_COUNTED_FIRST)
        pt_plan_told(run->plan, a->test);
    if (counted != PT_COUNTED_NOT) {
        learn(run, a, &r);
        if (wants_again(run, a, &r))
            rc = again(run, a, &r, err);
        else
            after_report(run, a, &r);
    }
    pt_report_fini(&r);
    return rc;
}

int pt_run_take_made(struct pt_run *run, struct pt_arrival a, struct pt_buf *json, int rc, struct pt_err *err)
{
    a.json = json->data;
    a.n = json->len;
    rc = rc < 0 || json->bad ? pt_err_set(err, "out of memory") : pt_run_take(run, &a, err);
    pt_buf_fini(json);
    return rc;
}

void pt_run_amend(struct pt_run *run, const struct pt_arrival *a, const struct pt_report *r)
{
    if (a->test == PT_NONE ||
        pt_verdict_amend(run->verdict, a->test, r->outcome, r->counts, r->ncounts) < 0) {
        pt_run_entry(run, a->h ? a->h->number : PT_NONE, a->json, a->n);
        return;
    }
    keep(run, a, r, PT_COUNTED_FIRST, true);
    after_report(run, a, r);
}

void pt_run_entry(struct pt_run *run, uint32_t host, const void *json, size_t n)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_report r;
    struct pt_arrival a = {.h = host < run->hosts.n ? &run->at[host] : NULL,
                           .test = PT_NONE,
                           .bundle = PT_NONE,
                           .rank = PT_NONE,
                           .json = json,
                           .n = n};
    if (pt_report_decode(json, n, &r, &err) < 0) {
        pt_run_fail(run, &err);
        return;
    }
    if (pt_verdict_add_entry(run->verdict, r.outcome, r.counts, r.ncounts) < 0)
        pt_err_set(&err, "a report without an outcome");
    else
        keep(run, &a, &r, PT_COUNTED_FIRST, false);
    if (err.msg[0])
        pt_run_fail(run, &err);
    else
        after_report(run, &a, &r);
    pt_report_fini(&r);
}

/* A test that never told anything itself. */
static void tell(struct pt_run *run, uint32_t test, unsigned outcome, unsigned phase, uint32_t attempt,
                 const char *message)
{
    struct pt_err err = PT_ERR_INIT;
    const struct pt_suite_test *t = pt_suite_get(run->suite, test);
    struct pt_buf json = {0};
    struct pt_report_new what = {.outcome = outcome,
                                 .phase = phase,
                                 .nodeid = t->nodeid,
                                 .file = path_of(run, t),
                                 .message = message,
                                 .duration = -1};
    struct pt_arrival a = {.test = test, .bundle = PT_NONE, .attempt = attempt, .rank = PT_NONE};
    int rc = pt_report_make(&what, &json);
    if (pt_run_take_made(run, a, &json, rc, &err) < 0)
        pt_run_fail(run, &err);
}

void pt_run_lost_test(void *arg, uint32_t test)
{
    struct pt_run *run = arg;
    struct pt_plan_deaths deaths;
    struct pt_buf why = {0};
    if (!pt_plan_killed(run->plan, test, &deaths)) {
        tell(run, test, PT_OUTCOME_LOST, PT_PHASE_CALL, PT_PLAN_LOSSES,
             "its host ended each bundle that it was in without a word of it");
        return;
    }
    pt_run_killed_words(run, &deaths, &why);
    tell(run, test, PT_OUTCOME_CRASHED, PT_PHASE_CALL, deaths.n,
         why.bad ? "it brings its host's workers down" : (const char *)why.data);
    pt_buf_fini(&why);
}

void pt_run_impossible_test(struct pt_run *run, uint32_t test)
{
    bool lost = false;
    uint32_t want, most;
    char why[96];
    for (size_t i = 0; i < run->hosts.n; i++)
        lost |= run->at[i].lost;
    if (pt_plan_lacks_slots(run->plan, test, &want, &most)) {
        snprintf(why, sizeof(why), "Not enough procs to execute: %u required but only %u available", want,
                 most);
        tell(run, test, PT_OUTCOME_SKIPPED, PT_PHASE_SETUP, 1, why);
        return;
    }
    if (lost)
        tell(run, test, PT_OUTCOME_LOST, PT_PHASE_SETUP, 1, "the host that could take it is lost");
    else
        tell(run, test, PT_OUTCOME_ERROR, PT_PHASE_SETUP, 1,
             "no host of this run can take it: it needs a label that none has (--hosts h1:8+label), or more "
             "slots");
}

void pt_run_warning(struct pt_run *run, uint32_t host, const void *json, size_t n)
{
    struct pt_err err = PT_ERR_INIT;
    pt_verdict_count(run->verdict, "warnings", 1);
    if (pt_ledger_add_note(run->ledger, host, "warning", json, n, &err) < 0)
        pt_run_fail(run, &err);
}
