/* SPDX-License-Identifier: Apache-2.0 */
/* Notes: what a worker says that is no report of a chosen test (docs/protocol.md 7.3). */
#include "common/message_group.h"
#include "history.h"
#include "run_nodes.h"
#include "run_results.h"

#include <stdio.h>
#include <string.h>

#define MAX_MODULES 1024 /* of one file */

/* Every entry of that path, as a file may stand in a bundle several times. */
static int note_collect(struct pt_run_host *h, const struct pt_note *note, uint32_t bundle, uint32_t rank,
                        struct pt_err *err)
{
    struct pt_run *run = h->run;
    const struct pt_bundle *b = pt_plan_bundle(run->plan, bundle);
    const struct pt_bundle_file *file;
    uint32_t at = 0;
    if (!b || !pt_plan_holds(run->plan, h->number, bundle, b->attempt, PT_NONE))
        return 0;
    while ((file = pt_run_file_of(b, note->path, &at))) {
        for (uint32_t i = 0; i < file->ntests; i++) {
            const struct pt_bundle_test *t = &file->tests[i];
            struct pt_buf json = {0};
            struct pt_arrival a = {
                .h = h, .test = t->test, .bundle = bundle, .attempt = b->attempt, .rank = rank};
            if (pt_plan_is_told(run->plan, t->test) ||
                !pt_plan_holds(run->plan, h->number, bundle, b->attempt, t->test))
                continue;
            int rc = pt_report_of_file(&note->report, t->nodeid, file->path, h->host->name, &json);
            if (pt_run_take_made(run, a, &json, rc, err) < 0)
                return -1;
        }
    }
    return 0;
}

static int note_missing(struct pt_run_host *h, const struct pt_note *note, uint32_t bundle, uint32_t rank,
                        struct pt_err *err)
{
    struct pt_run *run = h->run;
    const struct pt_bundle *b = pt_plan_bundle(run->plan, bundle);
    const struct pt_suite_test *t = pt_suite_get(run->suite, note->test);
    if (!b || !t || !pt_plan_holds(run->plan, h->number, bundle, b->attempt, note->test) ||
        pt_plan_is_told(run->plan, note->test))
        return 0;
    struct pt_buf json = {0};
    struct pt_arrival a = {.h = h, .test = note->test, .bundle = bundle, .attempt = b->attempt, .rank = rank};
    int rc = pt_report_missing(note, pt_suite_path(run->suite, t->file), h->host->name, &json);
    return pt_run_take_made(run, a, &json, rc, err);
}

/* An error while session fixtures end is told on the last test that worker, or group of ranks, ran; by itself
 * where the host did not run that test. */
static int note_report(struct pt_run_host *h, const struct pt_note *note, uint32_t rank, struct pt_err *err)
{
    struct pt_buf json = {0};
    struct pt_arrival a = {.h = h, .test = note->test, .bundle = PT_NONE, .rank = rank};
    pt_member_of(rank, &a.rank, NULL);
    if (!pt_plan_had(h->run->plan, h->number, note->test))
        a.test = PT_NONE;
    int rc = pt_json_print(pt_json_get(note->json, "report"), &json);
    a.json = json.data;
    a.n = json.len;
    if (rc < 0)
        pt_err_set(err, "out of memory");
    else
        pt_run_amend(h->run, &a, &note->report);
    pt_buf_fini(&json);
    return rc;
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
    pt_run_end_early(run, why);
}

static int note_file(struct pt_run_host *h, const struct pt_note *note, struct pt_err *err)
{
    const char *modules[MAX_MODULES];
    size_t n = 0;
    if (!h->run->history)
        return 0;
    for (const struct pt_json *e = pt_json_first(note->modules); e && n < MAX_MODULES; e = pt_json_next(e))
        if (pt_json_text(e))
            modules[n++] = pt_json_text(e);
    if (pt_history_imported(h->run->history, h->host->name, note->path, note->seconds, modules, n) < 0)
        return pt_err_set(err, "out of memory");
    return 0;
}

static void note_unsafe(struct pt_run_host *h, const struct pt_note *note)
{
    if (!h->unsafe)
        pt_run_host_note(h, "forking is not safe here, tests get fresh interpreters instead: %s",
                         note->reason ? note->reason : "no reason was given");
    h->unsafe = true;
}

int pt_run_note(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_note note;
    size_t n;
    uint32_t rank = pt_get_u32(r), bundle = pt_get_u32(r);
    const void *json = pt_get_bytes(r, &n);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed NOTE");
    h->noted += n;
    if (h->noted > PT_RUN_NOTED)
        return pt_err_set(err, "notes of more than %llu MiB", PT_RUN_NOTED >> 20);
    if (pt_note_decode(json, n, &note, err) < 0)
        return -1;
    int rc = 0;
    if (note.kind != PT_NOTE_WORKEROUTPUT)
        pt_run_nodes_ready(h, rank);
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
        rc = note_file(h, &note, err);
        break;
    case PT_NOTE_WORKEROUTPUT:
        pt_run_nodes_output(h, rank, json, n);
        break;
    case PT_NOTE_UNSAFE:
        note_unsafe(h, &note);
        break;
    }
    pt_note_fini(&note);
    return rc;
}
