/* SPDX-License-Identifier: Apache-2.0 */
/* What links say, message by message. Hosts are not believed: a rank must be one of the launch, a test one of
 * a bundle that the host holds, and its first report is the one that counts. */
#include "common/auto.h"
#include "common/log.h"
#include "common/message_group.h"
#include "logs.h"
#include "run_nodes.h"
#include "run_results.h"
#include "sequence.h"
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITS_MAX 32 /* runs that a host may say it waits for */

static bool is_rank(const struct pt_run_host *h, uint32_t rank)
{
    return rank < h->launch_slots;
}

/* What ran on that slot does not run any more. */
static void idle(struct pt_run_host *h, uint32_t rank)
{
    if (is_rank(h, rank))
        pt_status_set(h->run->status, h->number, rank, NULL, 0);
}

static int on_report(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_run *run = h->run;
    struct pt_arrival a = {.h = h, .rank = pt_get_u32(r)};
    a.bundle = pt_get_u32(r);
    a.attempt = pt_get_u32(r);
    a.test = pt_get_u32(r);
    pt_get_u8(r);
    a.json = pt_get_bytes(r, &a.n);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed REPORT");
    idle(h, a.rank);
    pt_run_nodes_ready(h, a.rank);
    if (a.test == PT_NONE || !pt_plan_holds(run->plan, h->number, a.bundle, a.attempt, a.test)) {
        pt_info("%s: a report of test %u, which it does not hold, is ignored", h->host->name, a.test);
        return 0;
    }
    if (pt_plan_is_told(run->plan, a.test)) {
        pt_debug("%s: a second report of test %u is ignored", h->host->name, a.test);
        return 0;
    }
    return pt_run_take(run, &a, err);
}

/* --- deaths --- */

const struct pt_bundle_file *pt_run_file_of(const struct pt_bundle *b, const char *path, uint32_t *i)
{
    while (b && *i < b->nfiles) {
        const struct pt_bundle_file *file = &b->files[(*i)++];
        if (strcmp(file->path, path) == 0)
            return file;
    }
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
    struct pt_arrival a = {.h = h, .test = test, .bundle = d->bundle, .attempt = d->attempt, .rank = d->rank};
    return pt_run_take_made(run, a, &json, rc, err);
}

/* A file that ends its process while it is imported: one entry is told, its other tests share the outcome. */
static int death_of_file(struct pt_run_host *h, const struct pt_death *d, struct pt_err *err)
{
    const struct pt_bundle *b = pt_plan_bundle(h->run->plan, d->bundle);
    const struct pt_bundle_file *file;
    bool silent = false;
    uint32_t at = 0;
    while ((file = pt_run_file_of(b, d->path, &at))) {
        for (uint32_t i = 0; i < file->ntests; i++) {
            uint32_t test = file->tests[i].test;
            if (pt_plan_is_told(h->run->plan, test) ||
                !pt_plan_holds(h->run->plan, h->number, d->bundle, d->attempt, test))
                continue;
            if (death_of_test(h, d, test, silent, err) < 0)
                return -1;
            silent = true;
        }
    }
    return 0;
}

static void death_of_nothing(struct pt_run_host *h, const struct pt_death *d)
{
    char words[128];
    const struct pt_suite_test *t = pt_suite_get(h->run->suite, d->test);
    if (!pt_run_host_may_say(h))
        return;
    pt_status_words(d->status, words, sizeof(words));
    if (t)
        pt_run_host_note(h, "worker %u: the process %s after %s had ended", d->rank, words, t->nodeid);
    else if (d->phase == PT_PHASE_SESSION)
        pt_run_host_note(h, "worker %u: the process %s while its session ended", d->rank, words);
    else
        pt_run_host_note(h, "worker %u: the process %s between tests; a new one goes on", d->rank, words);
}

/* A session that ran tests itself is gone with them; another begins. */
static void death_of_session(struct pt_run_host *h, const struct pt_death *d)
{
    char words[128];
    pt_status_words(d->status, words, sizeof(words));
    if (h->run->opts->isolate == PT_ISOLATE_SESSION || d->phase == PT_PHASE_SESSION)
        pt_run_nodes_down(h, d->rank, words);
}

static int on_death(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_run *run = h->run;
    struct pt_death d;
    if (pt_death_decode(r, &d, err) < 0)
        return -1;
    int rc = 0;
    bool held = pt_plan_holds(run->plan, h->number, d.bundle, d.attempt, d.test);
    idle(h, d.rank);
    death_of_session(h, &d);
    if (run->ending && d.cause == PT_CAUSE_TIMEOUT)
        ; /* the run ended early, and the grace with it: its test did not run to its end */
    else if (d.test != PT_NONE && held && !pt_plan_is_told(run->plan, d.test))
        rc = death_of_test(h, &d, d.test, false, err);
    else if (d.test == PT_NONE && d.file != PT_NONE && held)
        rc = death_of_file(h, &d, err);
    else if (d.file == PT_NONE && (d.test == PT_NONE || held))
        death_of_nothing(h, &d);
    pt_death_fini(&d);
    return rc;
}

/* --- output --- */

static void show_line(void *arg, uint32_t node, const char *nodeid, const char *line, size_t n)
{
    struct pt_run_host *h = arg;
    char who[PT_LOGS_WHO];
    pt_logs_who(h->run->logs, node, who, sizeof(who));
    pt_terminal_live(h->run->terminal, h->number, who, nodeid, line, n);
}

/* A host may write for ever; the disk here ends. */
static bool is_kept(struct pt_run_host *h, size_t n)
{
    bool kept = h->written <= PT_RUN_WRITTEN;
    h->written += n;
    if (kept && h->written > PT_RUN_WRITTEN)
        pt_run_host_note(h, "wrote more than %llu MiB: what else it writes is not kept in its logs",
                         PT_RUN_WRITTEN >> 20);
    return kept;
}

static int on_output(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_run *run = h->run;
    struct pt_err why = PT_ERR_INIT;
    size_t n;
    uint32_t rank = pt_get_u32(r);
    pt_get_u32(r);
    uint32_t test = pt_get_u32(r);
    const void *bytes = pt_get_bytes(r, &n);
    if (!pt_get_end(r) || !(is_rank(h, rank) || pt_member_of(rank, NULL, NULL)))
        return pt_err_set(err, "malformed OUTPUT");
    const struct pt_suite_test *t = pt_suite_get(run->suite, test);
    const char *nodeid = t ? t->nodeid : NULL;
    uint32_t node = is_rank(h, rank) ? h->base + rank : pt_run_member_log(h, rank);
    if (!run->logs || node == PT_NONE)
        return 0;
    if (is_kept(h, n) && pt_logs_add(run->logs, node, h->host->name, nodeid, bytes, n, &why) < 0)
        pt_terminal_note(run->terminal, why.msg);
    if (run->opts->live && pt_logs_lines(run->logs, node, nodeid, bytes, n, show_line, h) < 0)
        pt_info("%s: output is not shown: out of memory", h->host->name);
    return 0;
}

/* What it wrote last need not wait for the end of its line. */
static void flush_output(struct pt_run_host *h, uint32_t rank)
{
    if (!h->run->logs || !h->run->opts->live)
        return;
    if (is_rank(h, rank))
        pt_logs_flush(h->run->logs, h->base + rank, show_line, h);
    else
        pt_logs_flush_members(h->run->logs, h->host->name, show_line, h);
}

/* --- bundles --- */

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
    uint32_t rank = pt_get_u32(r), bundle = pt_get_u32(r), attempt = pt_get_u32(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed DONE");
    idle(h, rank);
    pt_status_end_bundle(run->status, h->number, bundle);
    flush_output(h, rank);
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

/* Tests that another slot is to run instead. */
static int on_stolen(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    pt_get_u32(r);
    uint32_t bundle = pt_get_u32(r), attempt = pt_get_u32(r), n = pt_get_u32(r);
    if (r->bad || n > r->left / sizeof(uint32_t))
        return pt_err_set(err, "malformed STOLEN");
    uint32_t *tests = malloc((n + 1) * sizeof(*tests));
    if (!tests)
        return pt_err_set(err, "out of memory");
    for (uint32_t i = 0; i < n; i++)
        tests[i] = pt_get_u32(r);
    int rc = pt_get_end(r) ? 0 : pt_err_set(err, "malformed STOLEN");
    if (rc == 0 && pt_plan_stolen(h->run->plan, h->number, bundle, attempt, tests, n))
        pt_run_deal(h->run);
    free(tests);
    return rc;
}

/* --- workers --- */

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
    uint32_t rank = pt_get_u32(r), bundle = pt_get_u32(r), attempt = pt_get_u32(r);
    uint32_t test = pt_get_u32(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed STARTED");
    pt_plan_begun(h->run->plan, h->number, bundle, attempt, test);
    if (pt_run_member_started(h, rank, bundle, test))
        return 0;
    const struct pt_suite_test *t = pt_suite_get(h->run->suite, test);
    pt_run_nodes_ready(h, rank);
    if (t && h->run->status && is_rank(h, rank))
        pt_status_set(h->run->status, h->number, rank, t->nodeid, pt_now_ms());
    return 0;
}

static int on_bye(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    uint32_t rank = pt_get_u32(r);
    if (!pt_get_end(r))
        return pt_err_set(err, "malformed BYE");
    idle(h, rank);
    flush_output(h, rank);
    if (rank == PT_NONE)
        pt_run_host_bye(h);
    else
        pt_run_nodes_down(h, rank, NULL);
    return 0;
}

/* What the workers have need not be said again. */
static int on_got(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    uint64_t got = pt_get_u64(r);
    if (!pt_get_end(r) || pt_backlog_got(&h->backlog, got) < 0)
        return pt_err_set(err, "malformed GOT");
    return 0;
}

/* Words of another run, which nobody vouches for. */
static void clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || (unsigned char)*text > '~')
            *text = '?';
}

static int on_waits(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_waits waits;
    if (pt_waits_decode(r, &waits, err) < 0)
        return -1;
    clean(waits.run);
    clean(waits.who);
    if (h->waits++ < WAITS_MAX)
        pt_run_host_note(h, "waits for run %.64s of %.128s (%u of %u slots)", waits.run, waits.who,
                         waits.held, waits.slots);
    pt_waits_fini(&waits);
    return 0;
}

int pt_run_message(struct pt_run_host *h, uint8_t type, struct pt_reader *body, struct pt_err *err)
{
    static int (*const handlers[])(struct pt_run_host *, struct pt_reader *, struct pt_err *) = {
        [PT_L_STARTED] = on_started,   [PT_L_REPORT] = on_report,   [PT_L_DEATH] = on_death,
        [PT_L_NOTE] = pt_run_note,     [PT_L_DONE] = on_done,       [PT_L_BROKEN] = on_broken,
        [PT_L_RECALLED] = on_recalled, [PT_L_BYE] = on_bye,         [PT_L_STOLEN] = on_stolen,
        [PT_L_OUTPUT] = on_output,     [PT_L_RANKS] = pt_run_ranks, [PT_L_FALL] = pt_run_fall,
    };
    if (type == PT_L_GOT)
        return on_got(h, body, err);
    if (type == PT_L_WAITS)
        return on_waits(h, body, err);
    if (type >= PT_COUNT(handlers) || !handlers[type])
        return pt_err_set(err, "unknown link message %u", type);
    uint64_t seq = pt_get_u64(body);
    if (body->bad)
        return pt_err_set(err, "malformed link message %u", type);
    if (type == PT_L_STARTED)
        return on_started(h, body, err);
    int rc = pt_sequence_next(&h->seq, seq, err);
    return rc == 1 ? handlers[type](h, body, err) : rc;
}
