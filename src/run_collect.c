/* SPDX-License-Identifier: Apache-2.0 */
/* What there is to run: the collector's lines become tests, files of the plan, the runners' session. */
#include "run_parts.h"

#include "common/auto.h"
#include "json.h"
#include "recorded.h"
#include "report.h"
#include "run_nodes.h"

#include <stdio.h>
#include <string.h>

/* The run cannot go on with what the collector did. On a host that is the host's fault, not ours or the
 * user's. */
static void give_up(struct pt_run *run, const struct pt_err *why)
{
    struct pt_err err = *why;
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].collecting)
            pt_err_wrap(&err, "%s", run->at[i].host->name);
    bool remote = run->opts->collect == PT_COLLECT_REMOTE;
    if (remote && err.kind == PT_ERR_INTERNAL)
        err.kind = PT_ERR_INFRA;
    if (remote && err.kind == PT_ERR_INFRA && !err.hint[0])
        pt_err_hint(&err, "run it again, or collect here (without --collect remote)");
    pt_run_fail(run, &err);
}

static void fail(struct pt_run *run, const char *what)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "the collector wrote a strange '%s' line", what);
    give_up(run, &err);
}

static char *copy_text(const struct pt_json *v)
{
    const char *text = pt_json_text(v);
    return text ? strdup(text) : NULL;
}

static void keep_junit(struct pt_run *run, const struct pt_json *junit)
{
    const char *path = pt_json_text(pt_json_get(junit, "path"));
    run->junit_family = copy_text(pt_json_get(junit, "family"));
    run->junit_suite = copy_text(pt_json_get(junit, "suite_name"));
    run->junit_prefix = copy_text(pt_json_get(junit, "prefix"));
    if (path && !run->junit_path)
        run->junit_path = strdup(path);
}

static void keep_limits(struct pt_run *run, const struct pt_json *o)
{
    double maxfail = pt_json_number(pt_json_get(o, "maxfail"), 0);
    if (!run->maxfail && maxfail > 0 && maxfail < 1e9)
        run->maxfail = (uint32_t)maxfail;
    const struct pt_json *durations = pt_json_get(o, "durations");
    if (pt_json_kind(durations) == PT_JSON_NUMBER)
        pt_terminal_durations(run->terminal, (int)pt_json_number(durations, -1),
                              pt_json_number(pt_json_get(o, "durations_min"), 0.005));
    const char *chars = pt_json_text(pt_json_get(o, "report_chars"));
    if (chars)
        pt_terminal_reportchars(run->terminal, chars);
}

static void on_session(struct pt_run *run, const struct pt_json *o)
{
    struct pt_err err = PT_ERR_INIT;
    const char *root = pt_json_text(pt_json_get(o, "root"));
    if (!root || run->nodes) {
        fail(run, "session");
        return;
    }
    if (pt_run_nodes_begin(run, o, &err) < 0) {
        give_up(run, &err);
        return;
    }
    pt_terminal_root(run->terminal, root);
    run->cache_dir = copy_text(pt_json_get(o, "cache_dir"));
    keep_limits(run, o);
    if (pt_json_kind(pt_json_get(o, "ordered")) == PT_JSON_BOOL)
        pt_plan_keep_order(run->plan);
    keep_junit(run, pt_json_get(o, "junit"));
    for (const struct pt_json *l = pt_json_first(pt_json_get(o, "header")); l; l = pt_json_next(l))
        if (pt_json_text(l))
            pt_terminal_line(run->terminal, pt_json_text(l));
    for (const struct pt_json *l = pt_json_first(pt_json_get(o, "notes")); l; l = pt_json_next(l))
        if (pt_json_text(l))
            pt_terminal_note(run->terminal, pt_json_text(l));
    if (!run->root && (pt_run_open(run, root, &err) < 0 || pt_run_record(run, &err) < 0)) {
        pt_run_fail(run, &err);
        return;
    }
    if (pt_run_resume_session(run, root, &err) < 0 ||
        (run->ledger && pt_recorded_session(run->ledger, o, &err) < 0)) {
        pt_run_fail(run, &err);
        return;
    }
    run->session_known = true;
    pt_run_detach_within(run, PT_RUN_SESSION_MS);
    pt_run_hosts_session(run);
}

static void on_file(struct pt_run *run, const struct pt_json *o)
{
    struct pt_err err = PT_ERR_INIT;
    if (pt_run_units_file(run, pt_json_text(pt_json_get(o, "path")), pt_json_get(o, "tests"), &err) < 0) {
        give_up(run, &err);
        return;
    }
    pt_terminal_collected(run->terminal, pt_suite_tests(run->suite), 0, run->collect_errors,
                          run->collect_skips, false);
    pt_run_deal(run);
}

static void on_collect_report(struct pt_run *run, const struct pt_json *o)
{
    struct pt_buf json = {0};
    const char *outcome = pt_json_text(pt_json_get(o, "outcome"));
    if (!outcome || pt_json_print(o, &json) < 0)
        fail(run, "report");
    else if (strcmp(outcome, "skipped") == 0)
        run->collect_skips++;
    else
        run->collect_errors++;
    if (!run->failed)
        pt_run_entry(run, PT_NONE, json.data, json.len);
    pt_buf_fini(&json);
}

static void on_warning(struct pt_run *run, const struct pt_json *o)
{
    struct pt_buf json = {0};
    if (pt_json_print(o, &json) == 0)
        pt_run_warning(run, PT_NONE, json.data, json.len);
    pt_buf_fini(&json);
}

static void on_final(struct pt_run *run, const struct pt_json *o)
{
    char why[128];
    struct pt_err err = PT_ERR_INIT;
    double deselected = pt_json_number(pt_json_get(o, "deselected"), 0);
    double status = pt_json_number(pt_json_get(o, "exit"), -1);
    run->collected = true;
    run->deselected = deselected > 0 && deselected < PT_MAX_TESTS ? (uint32_t)deselected : 0;
    pt_verdict_count(run->verdict, "deselected", run->deselected);
    pt_terminal_collected(run->terminal, pt_suite_tests(run->suite), run->deselected, run->collect_errors,
                          run->collect_skips, true);
    if ((run->ledger && pt_recorded_deselected(run->ledger, run->deselected, &err) < 0) ||
        pt_run_units_end(run, pt_json_get(o, "order"), &err) < 0 || pt_run_resume_collected(run, &err) < 0) {
        give_up(run, &err);
        return;
    }
    pt_plan_collected(run->plan);
    pt_run_hosts_collected(run);
    if (run->opts->strict_collection && run->collect_errors) {
        snprintf(why, sizeof(why), "Interrupted: %u error%s during collection", run->collect_errors,
                 run->collect_errors == 1 ? "" : "s");
        run->end.interrupted = true;
        pt_run_stop(run, why);
    } else if (status == 2) {
        run->end.interrupted = true;
        pt_run_stop(run, "Interrupted while collecting");
    }
    pt_run_deal(run);
}

static void on_collector_fail(struct pt_run *run, const struct pt_json *o)
{
    struct pt_err err = PT_ERR_INIT;
    const char *text = pt_json_text(pt_json_get(o, "text"));
    double status = pt_json_number(pt_json_get(o, "exit"), 4);
    run->fail_text = text ? strdup(text) : NULL;
    pt_err_set_kind(&err,
                    status == 3   ? PT_ERR_INTERNAL
                    : status == 2 ? PT_ERR_INTERRUPTED
                                  : PT_ERR_USAGE,
                    "pytest could not collect");
    pt_run_fail(run, &err);
}

static void on_line(void *arg, const char *what, const struct pt_json *o)
{
    struct pt_run *run = arg;
    if (pt_run_nodes_line(run, what, o)) {
        pt_run_check(run);
        return;
    }
    if (run->failed || run->stopping)
        return;
    if (strcmp(what, "session") == 0)
        on_session(run, o);
    else if (strcmp(what, "file") == 0 && run->session_known)
        on_file(run, o);
    else if (strcmp(what, "report") == 0 && run->session_known)
        on_collect_report(run, o);
    else if (strcmp(what, "warning") == 0 && run->session_known)
        on_warning(run, o);
    else if (strcmp(what, "final") == 0 && run->session_known)
        on_final(run, o);
    else if (strcmp(what, "fail") == 0)
        on_collector_fail(run, o);
    else
        fail(run, what);
    pt_run_check(run);
}

/* A file that ends its process while it is imported is one `crashed` entry. */
static void on_crashed(void *arg, const char *path, uint32_t status, const char *output)
{
    struct pt_run *run = arg;
    struct pt_buf json = {0};
    struct pt_death d = {.test = PT_NONE,
                         .path = (char *)path,
                         .phase = PT_PHASE_COLLECT,
                         .cause = PT_CAUSE_DIED,
                         .status = status,
                         .stack = (char *)"",
                         .output = (char *)output};
    run->collect_errors++;
    if (run->ledger && pt_report_from_death(&d, 0, path, path, false, &json) == 0)
        pt_run_entry(run, PT_NONE, json.data, json.len);
    pt_buf_fini(&json);
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].collecting) { /* the collector on the host goes on without the file */
            size_t n;
            pt_auto_free char *orders = pt_collect_again(run->collect, &n);
            if (orders)
                pt_lane_collect(run->at[i].lane, orders, n);
        }
    pt_run_check(run);
}

static void on_ended(void *arg, const struct pt_err *err)
{
    struct pt_run *run = arg;
    pt_collect_destroy(run->collect);
    run->collect = NULL;
    if (err->msg[0] && !run->stopping)
        give_up(run, err);
    pt_run_check(run);
}

static const struct pt_collect_callbacks callbacks = {
    .line = on_line, .crashed = on_crashed, .ended = on_ended};

int pt_run_collect_start(struct pt_run *run, struct pt_err *err)
{
    struct pt_collect_spec spec = {.opts = run->opts,
                                   .project = run->root,
                                   .package = run->package,
                                   .hash_seed = run->hash_seed,
                                   .failed = pt_run_failures(run)};
    if (run->opts->collect == PT_COLLECT_REMOTE)
        return 0;
    run->collect = pt_collect_create(run->loop, &spec, &callbacks, run, err);
    return run->collect ? 0 : -1;
}

static bool is_collecting(const struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].collecting)
            return true;
    return false;
}

static bool may_collect(const struct pt_run_host *h)
{
    const struct pt_run *run = h->run;
    return run->opts->collect == PT_COLLECT_REMOTE && !run->collected && !run->stopping &&
           !is_collecting(run) && h->synced && h->tooled && h->python && h->state >= PT_HOST_PREPARING &&
           h->state < PT_HOST_ENDING && (!h->away.since || h->away.attached);
}

void pt_run_collect_offer(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    struct pt_err err = PT_ERR_INIT;
    if (!may_collect(h))
        return;
    struct pt_collect_spec spec = {.opts = run->opts,
                                   .project = run->root,
                                   .package = "",
                                   .hash_seed = run->hash_seed,
                                   .failed = pt_run_failures(run)};
    if (!run->collect)
        run->collect = pt_collect_create_remote(run->loop, &spec, -1, &callbacks, run, &err);
    size_t n = 0;
    pt_auto_free char *orders = run->collect ? pt_collect_again(run->collect, &n) : NULL;
    if (!orders) {
        pt_err_set(&err, "collecting: out of memory");
        pt_run_fail(run, &err);
        return;
    }
    h->collecting = true;
    pt_lane_collect(h->lane, orders, n);
}

void pt_run_collect_lost(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    if (!h->collecting || !run->collect)
        return;
    h->collecting = false;
    pt_collect_lost(run->collect);
    for (size_t i = 0; i < run->hosts.n; i++)
        if (&run->at[i] != h)
            pt_run_collect_offer(&run->at[i]);
}

void pt_run_collect_exited(struct pt_run_host *h, uint32_t status, const char *output)
{
    if (h->run->collect && h->collecting)
        pt_collect_exited(h->run->collect, status, output);
}

void pt_run_collect_remote(struct pt_run_host *h, int fd)
{
    if (h->run->collect && h->collecting)
        pt_collect_attach(h->run->collect, fd);
    else
        close(fd);
}
