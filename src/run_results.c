/* SPDX-License-Identifier: Apache-2.0 */
/* What tests gave: messages of the links and of the collector become outcomes, ledger rows and lines for the
 * user. A test is told once: the plan says whether a message about it is believable, the verdict whether it
 * counts. */
#include "run_parts.h"

#include "common/auto.h"
#include "common/log.h"
#include "json.h"
#include "report.h"

#include <stdio.h>
#include <string.h>

/* One report on its way: where it came from and its JSON. */
struct arrival {
    struct pt_run_host *h; /* NULL: here */
    uint32_t test, attempt, rank;
    const void *json;
    size_t n;
};

static void keep(struct pt_run *run, const struct arrival *a, const struct pt_report *r, int counted,
                 bool extra)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_ledger_report row = {.test = a->test,
                                   .counted = counted,
                                   .extra = extra,
                                   .attempt = a->attempt,
                                   .host = a->h ? a->h->number : PT_NONE,
                                   .worker = a->rank,
                                   .bundle = PT_NONE,
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

static void after_report(struct pt_run *run, const struct arrival *a, const struct pt_report *r)
{
    char why[PT_ERR_MAX];
    pt_terminal_reported(run->terminal, r, a->h ? a->h->number : PT_NONE, run->verdict);
    if (r->stop && !run->stopped[0]) {
        snprintf(why, sizeof(why), "stopped by a test: %s", r->stop);
        run->end.interrupted = true;
        pt_run_stop(run, why);
    } else if (pt_verdict_enough(run->verdict, run->maxfail) && !run->stopped[0]) {
        snprintf(why, sizeof(why), "stopping after %u failures", pt_verdict_failures(run->verdict));
        pt_run_stop(run, why);
    }
}

/* The report of a test whose outcome may still be open. */
static int take_report(struct pt_run *run, const struct arrival *a, struct pt_err *err)
{
    struct pt_report r;
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
    if (counted != PT_COUNTED_NOT)
        after_report(run, a, &r);
    pt_report_fini(&r);
    return 0;
}

/* A report made here, about a test. */
static int take_made(struct pt_run *run, struct arrival a, struct pt_buf *json, int rc, struct pt_err *err)
{
    a.json = json->data;
    a.n = json->len;
    rc = rc < 0 || json->bad ? pt_err_set(err, "out of memory") : take_report(run, &a, err);
    pt_buf_fini(json);
    return rc;
}

void pt_run_entry(struct pt_run *run, uint32_t host, const void *json, size_t n)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_report r;
    struct arrival a = {.h = host < run->hosts.n ? &run->at[host] : NULL,
                        .test = PT_NONE,
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

void pt_run_lost_test(void *arg, uint32_t test)
{
    struct pt_run *run = arg;
    struct pt_err err = PT_ERR_INIT;
    const struct pt_suite_test *t = pt_suite_get(run->suite, test);
    struct pt_buf json = {0};
    struct pt_report_new what = {.outcome = PT_OUTCOME_LOST,
                                 .phase = PT_PHASE_CALL,
                                 .nodeid = t->nodeid,
                                 .file = pt_suite_path(run->suite, t->file),
                                 .message = "its host was lost each time it was tried",
                                 .duration = -1};
    struct arrival a = {.test = test, .attempt = PT_PLAN_LOSSES, .rank = PT_NONE};
    int rc = pt_report_make(&what, &json);
    if (take_made(run, a, &json, rc, &err) < 0)
        pt_run_fail(run, &err);
}

void pt_run_warning(struct pt_run *run, uint32_t host, const void *json, size_t n)
{
    struct pt_err err = PT_ERR_INIT;
    pt_verdict_count(run->verdict, "warnings", 1);
    if (pt_ledger_add_note(run->ledger, host, "warning", json, n, &err) < 0)
        pt_run_fail(run, &err);
}

/* --- the messages --- */

static int on_report(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_run *run = h->run;
    struct arrival a = {.h = h, .rank = pt_get_u32(r)};
    uint32_t bundle = pt_get_u32(r);
    a.attempt = pt_get_u32(r);
    a.test = pt_get_u32(r);
    pt_get_u8(r);
    a.json = pt_get_bytes(r, &a.n);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed REPORT");
    if (a.test == PT_NONE || !pt_plan_holds(run->plan, h->number, bundle, a.attempt, a.test)) {
        pt_info("%s: a report of test %u, which it does not hold, is ignored", h->host->name, a.test);
        return 0;
    }
    return take_report(run, &a, err);
}

static const struct pt_bundle *bundle_of(const struct pt_run_host *h, uint32_t bundle, uint32_t attempt)
{
    if (!pt_plan_holds(h->run->plan, h->number, bundle, attempt, PT_NONE))
        return NULL;
    return pt_plan_bundle(h->run->plan, bundle);
}

static const struct pt_bundle_file *file_of(const struct pt_bundle *b, const char *path)
{
    for (uint32_t i = 0; b && i < b->nfiles; i++)
        if (strcmp(b->files[i].path, path) == 0)
            return &b->files[i];
    return NULL;
}

static int death_of_test(struct pt_run_host *h, const struct pt_death *d, uint32_t test, bool silent,
                         struct pt_err *err)
{
    struct pt_run *run = h->run;
    const struct pt_suite_test *t = pt_suite_get(run->suite, test);
    struct pt_buf json = {0};
    if (!t)
        return pt_err_set(err, "the death of a test that does not exist");
    int rc = pt_report_from_death(d, run->opts->memory_per_slot, t->nodeid,
                                  pt_suite_path(run->suite, t->file), silent, &json);
    struct arrival a = {.h = h, .test = test, .attempt = d->attempt, .rank = d->rank};
    return take_made(run, a, &json, rc, err);
}

/* A file that ends its process while it is imported: one entry is told, its other tests share the outcome. */
static int death_of_file(struct pt_run_host *h, const struct pt_death *d, struct pt_err *err)
{
    const struct pt_bundle_file *file = file_of(bundle_of(h, d->bundle, d->attempt), d->path);
    bool silent = false;
    for (uint32_t i = 0; file && i < file->ntests; i++) {
        uint32_t test = file->tests[i].test;
        if (pt_plan_is_told(h->run->plan, test))
            continue;
        if (death_of_test(h, d, test, silent, err) < 0)
            return -1;
        silent = true;
    }
    return 0;
}

static void death_of_nothing(struct pt_run_host *h, const struct pt_death *d)
{
    char words[128];
    pt_status_words(d->status, words, sizeof(words));
    if (d->phase == PT_PHASE_SESSION)
        pt_run_host_note(h, "worker %u: the process %s while its session ended", d->rank, words);
    else
        pt_run_host_note(h, "worker %u: the process %s between tests; a new one goes on", d->rank, words);
}

static int on_death(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_death d;
    if (pt_death_decode(r, &d, err) < 0)
        return -1;
    int rc = 0;
    bool held = pt_plan_holds(h->run->plan, h->number, d.bundle, d.attempt, d.test);
    if (d.test != PT_NONE && held)
        rc = death_of_test(h, &d, d.test, false, err);
    else if (d.test == PT_NONE && d.file != PT_NONE && held)
        rc = death_of_file(h, &d, err);
    else if (d.test == PT_NONE && d.file == PT_NONE)
        death_of_nothing(h, &d);
    pt_death_fini(&d);
    return rc;
}

static int note_collect(struct pt_run_host *h, const struct pt_note *note, uint32_t bundle, uint32_t rank,
                        struct pt_err *err)
{
    struct pt_run *run = h->run;
    const struct pt_bundle *b = pt_plan_bundle(run->plan, bundle);
    const struct pt_bundle_file *file = note->path ? file_of(b, note->path) : NULL;
    if (!file || !pt_plan_holds(run->plan, h->number, bundle, b->attempt, PT_NONE))
        return 0;
    for (uint32_t i = 0; i < file->ntests; i++) {
        struct pt_buf json = {0};
        struct arrival a = {.h = h, .test = file->tests[i].test, .attempt = b->attempt, .rank = rank};
        if (pt_plan_is_told(run->plan, a.test))
            continue;
        int rc = pt_report_of_file(&note->report, file->tests[i].nodeid, file->path, h->host->name, &json);
        if (take_made(run, a, &json, rc, err) < 0)
            return -1;
    }
    return 0;
}

static int note_missing(struct pt_run_host *h, const struct pt_note *note, uint32_t bundle, uint32_t rank,
                        struct pt_err *err)
{
    struct pt_run *run = h->run;
    const struct pt_bundle *b = pt_plan_bundle(run->plan, bundle);
    const struct pt_suite_test *t = pt_suite_get(run->suite, note->test);
    if (!b || !t || !pt_plan_holds(run->plan, h->number, bundle, b->attempt, note->test))
        return 0;
    struct pt_buf json = {0};
    struct arrival a = {.h = h, .test = note->test, .attempt = b->attempt, .rank = rank};
    int rc = pt_report_missing(note, pt_suite_path(run->suite, t->file), h->host->name, &json);
    return take_made(run, a, &json, rc, err);
}

/* An error while session fixtures end is told on the last test that worker ran. */
static int note_report(struct pt_run_host *h, const struct pt_note *note, uint32_t rank, struct pt_err *err)
{
    struct pt_run *run = h->run;
    struct pt_buf json = {0};
    const struct pt_report *r = &note->report;
    struct arrival a = {.h = h, .test = note->test, .rank = rank};
    if (pt_json_print(pt_json_get(note->json, "report"), &json) < 0) {
        pt_buf_fini(&json);
        return pt_err_set(err, "out of memory");
    }
    a.json = json.data;
    a.n = json.len;
    if (a.test != PT_NONE && pt_verdict_amend(run->verdict, a.test, r->outcome, r->counts, r->ncounts) == 0) {
        keep(run, &a, r, PT_COUNTED_FIRST, true);
        after_report(run, &a, r);
    } else {
        pt_run_entry(run, h->number, json.data, json.len);
    }
    pt_buf_fini(&json);
    return 0;
}

static void note_stop(struct pt_run *run, const struct pt_note *note)
{
    char why[PT_ERR_MAX];
    if (run->stopped[0])
        return;
    snprintf(why, sizeof(why), "%s", note->reason ? note->reason : "pytest.exit()");
    run->end.interrupted = true;
    if (note->exit >= 0) {
        run->end.exits = true;
        run->end.exit = note->exit;
    }
    pt_run_stop(run, why);
}

static int on_note(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_note note;
    size_t n;
    uint32_t rank = pt_get_u32(r), bundle = pt_get_u32(r);
    const void *json = pt_get_bytes(r, &n);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed NOTE");
    if (pt_note_decode(json, n, &note, err) < 0)
        return -1;
    int rc = 0;
    switch (note.kind) {
    case PT_NOTE_COLLECT:
        rc = note_collect(h, &note, bundle, rank, err);
        break;
    case PT_NOTE_MISSING:
        rc = note_missing(h, &note, bundle, rank, err);
        break;
    case PT_NOTE_WARNING:
        pt_run_warning(h->run, h->number, json, n);
        break;
    case PT_NOTE_REPORT:
        rc = note_report(h, &note, rank, err);
        break;
    case PT_NOTE_STOP:
        note_stop(h->run, &note);
        break;
    case PT_NOTE_SUITE:
        rc = pt_ledger_add_note(h->run->ledger, h->number, "suite", json, n, err);
        break;
    case PT_NOTE_FILE:
    case PT_NOTE_WORKEROUTPUT:
    case PT_NOTE_UNSAFE:
        break;
    }
    pt_note_fini(&note);
    return rc;
}

static int end_attempt(struct pt_run_host *h, uint32_t bundle, uint32_t attempt, const char *how,
                       struct pt_err *err)
{
    struct pt_ledger_attempt a = {
        .bundle = bundle, .attempt = attempt, .host = h->number, .ended = pt_wall_clock(), .end = how};
    return pt_ledger_add_attempt(h->run->ledger, &a, err);
}

static int on_done(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_run *run = h->run;
    pt_get_u32(r);
    uint32_t bundle = pt_get_u32(r), attempt = pt_get_u32(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed DONE");
    if (!pt_plan_done(run->plan, h->number, bundle, attempt, pt_run_lost_test, run))
        return 0;
    pt_terminal_busy(run->terminal, h->number, pt_plan_held(run->plan, h->number));
    int rc = end_attempt(h, bundle, attempt, "done", err);
    pt_run_deal(run);
    return rc;
}

static int on_recalled(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    uint32_t bundle = pt_get_u32(r);
    uint8_t given_back = pt_get_u8(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed RECALLED");
    const struct pt_bundle *b = pt_plan_bundle(h->run->plan, bundle);
    uint32_t attempt = b ? b->attempt : 0;
    if (!pt_plan_returned(h->run->plan, h->number, bundle, given_back != 0))
        return 0;
    int rc = given_back ? end_attempt(h, bundle, attempt, "recalled", err) : 0;
    pt_run_deal(h->run);
    return rc;
}

/* pytest cannot be started on this host: said once, and the host is left out. */
static int on_broken(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    size_t n;
    pt_get_u32(r);
    const char *text = pt_get_bytes(r, &n);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed BROKEN");
    if (!h->broken) {
        h->broken = true;
        pt_run_host_note(h, "pytest cannot start on this host:\n%.*s", (int)(n > 1500 ? 1500 : n), text);
        pt_run_host_give_up(h, "pytest cannot start there");
    }
    return 0;
}

static int on_started(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    (void)h;
    pt_get_u32(r);
    pt_get_u32(r);
    pt_get_u32(r);
    pt_get_u32(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed STARTED");
    return 0;
}

static int on_bye(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    uint32_t rank = pt_get_u32(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed BYE");
    if (rank == PT_NONE)
        pt_run_host_bye(h);
    return 0;
}

/* Sequence numbers count on by one; what was seen before is skipped. 1 new, 0 old, -1. */
static int next_seq(struct pt_run_host *h, uint64_t seq, struct pt_err *err)
{
    if (seq <= h->seq)
        return 0;
    if (seq != h->seq + 1)
        return pt_err_set(err, "message %llu came after %llu", (unsigned long long)seq,
                          (unsigned long long)h->seq);
    h->seq = seq;
    return 1;
}

int pt_run_message(struct pt_run_host *h, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    static int (*const handlers[])(struct pt_run_host *, struct pt_reader *, struct pt_err *) = {
        [PT_L_STARTED] = on_started,   [PT_L_REPORT] = on_report, [PT_L_DEATH] = on_death,
        [PT_L_NOTE] = on_note,         [PT_L_DONE] = on_done,     [PT_L_BROKEN] = on_broken,
        [PT_L_RECALLED] = on_recalled, [PT_L_BYE] = on_bye,
    };
    if (type >= PT_COUNT(handlers) || !handlers[type])
        return pt_err_set(err, "unknown link message %u", type);
    uint64_t seq = pt_get_u64(body);
    if (body->bad)
        return pt_err_set(err, "malformed link message %u", type);
    if (type == PT_L_STARTED)
        return on_started(h, body, err);
    int rc = next_seq(h, seq, err);
    return rc == 1 ? handlers[type](h, body, err) : rc;
}
