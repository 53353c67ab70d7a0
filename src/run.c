/* SPDX-License-Identifier: Apache-2.0 */
/* The run: owns everything and knows the whole order.
 *
 *   terminal, hosts' lanes, collector ─► (root known) ledger, scan of the tree
 *   files are collected ─► plan ─► bundles to hosts that are WORKING ─► reports ─► verdict, ledger, terminal
 *   plan over ─► sessions end (QUIT .. BYE) ─► lanes stop ─► all DOWN ─► files, last lines, exit code
 *
 * It ends early by pt_run_stop (failures, pytest.exit, Ctrl-C: nothing more is dealt, what runs is killed) or
 * pt_run_fail (an error of the program or its user). In every case the lanes clean up their hosts first, and
 * each test without an outcome becomes notrun or lost. */
#include "run_parts.h"

#include "common/auto.h"
#include "common/harden.h"
#include "common/log.h"
#include "door.h"
#include "dry_run.h"
#include "lastfailed.h"
#include "logs.h"
#include "output/json_file.h"
#include "output/junit.h"
#include "output/text.h"
#include "project.h"
#include "recorded.h"
#include "rerun.h"
#include "run.h"
#include "run_nodes.h"
#include "status.h"
#include "tools.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#define TICK_MS       200
#define CUT_MS        1000  /* a second Ctrl-C within this cuts */
#define STEP_MS       20000 /* deadline of each step of connecting */
#define AGAIN_STEP_MS 5000  /* the same, to a host that answered before */

/* --- beginning --- */

static void commit(void *arg)
{
    struct pt_run *run = arg;
    struct pt_err err = PT_ERR_INIT;
    run->commit_timer = pt_loop_after(run->loop, PT_RUN_COMMIT_MS, commit, run);
    run->committing = false;
    if (!run->ledger)
        return;
    bool dirty = pt_ledger_dirty(run->ledger);
    if (dirty && pt_ledger_commit(run->ledger, &err) < 0)
        pt_run_fail(run, &err);
    else
        pt_run_hosts_ack(run); /* output, too, that leaves nothing in the ledger */
    if (dirty)
        run->committed_at = pt_now_ms();
}

void pt_run_commit_soon(struct pt_run *run)
{
    if (run->committing || !run->ledger || !pt_ledger_dirty(run->ledger) ||
        pt_now_ms() - run->committed_at < PT_RUN_COMMIT_MS)
        return;
    run->committing = true;
    pt_loop_cancel(run->loop, run->commit_timer);
    run->commit_timer = pt_loop_after(run->loop, 0, commit, run);
}

static void on_run_timeout(void *arg)
{
    struct pt_run *run = arg;
    run->end_timer = 0;
    run->end.interrupted = true;
    pt_run_end_early(run, "the run's time is over (--run-timeout)");
    pt_run_check(run);
}

static void tick(void *arg)
{
    struct pt_run *run = arg;
    run->tick_timer = pt_loop_after(run->loop, TICK_MS, tick, run);
    pt_terminal_tick(run->terminal, run->verdict, pt_now_ms());
}

static int ask(void *arg, const char *host, const char *prompt, bool echo, char *answer, size_t size)
{
    struct pt_run *run = arg;
    return pt_project_ask(host, prompt, echo, answer, size, &run->cancel);
}

static int make_parts(struct pt_run *run, struct pt_err *err)
{
    const struct pt_options *opts = run->opts;
    struct pt_plan_spec plan = {.hosts = (uint32_t)run->hosts.n,
                                .more = PT_RUN_JOINS,
                                .bundles_per_worker = opts->bundles_per_worker,
                                .timeout_ms = opts->timeout_ms,
                                .schedule = opts->schedule,
                                .in_order = opts->shuffle != NULL,
                                .across = opts->mpi_across,
                                .apart = opts->sandbox,
                                .speculate = opts->speculate,
                                .leave = opts->leave_ms / 1000.0};
    struct pt_terminal_options terminal = {.out = stdout,
                                           .tty = isatty(1) && opts->quiet == 0,
                                           .color = !opts->detach && pt_terminal_colors(opts->color, 1),
                                           .width = pt_terminal_width(1),
                                           .verbosity = (int)opts->verbose - (int)opts->quiet,
                                           .whole_lines = getenv("CI") != NULL,
                                           .no_tests = opts->sync_only,
                                           .durations = -1,
                                           .durations_min = 0.005,
                                           .maxfail = run->maxfail};
    run->transport = (struct pt_transport_options){.ssh_config = opts->ssh_config,
                                                   .host_key = opts->host_key,
                                                   .step_ms = STEP_MS,
                                                   .ask = opts->detach ? NULL : ask,
                                                   .arg = run,
                                                   .cancel = &run->cancel};
    run->again = run->transport;
    run->again.step_ms = AGAIN_STEP_MS;
    run->again.ask = NULL;
    if (opts->reruns &&
        !(run->rerun = pt_rerun_create(opts->reruns, opts->only_rerun.item, opts->only_rerun.n, err)))
        return -1;
    run->room = (uint32_t)run->hosts.n + PT_RUN_JOINS;
    run->at = calloc(run->room, sizeof(*run->at));
    if (!run->at)
        return pt_err_set(err, "out of memory");
    for (uint32_t i = 0; i < run->hosts.n; i++)
        pt_run_host_init(run, i);
    if (!(run->status = pt_status_create()))
        return pt_err_set(err, "out of memory");
    if (!(run->plan = pt_plan_create(&plan, err)) || !(run->verdict = pt_verdict_create(err)) ||
        !(run->suite = pt_suite_create(err)) || !(run->terminal = pt_terminal_create(&terminal, err)))
        return -1;
    return 0;
}

static int read_hosts(struct pt_run *run, struct pt_err *err)
{
    const struct pt_options *opts = run->opts;
    if (opts->hosts && pt_hosts_parse(opts->hosts, &run->hosts, err) < 0)
        return -1;
    if (opts->hostfile && pt_hosts_parse_file(opts->hostfile, &run->hosts, err) < 0)
        return -1;
    return 0;
}

/* --- signals --- */

/* kill -USR1: which test runs where. */
static void print_status(struct pt_run *run)
{
    pt_auto_free struct pt_status_host *hosts = calloc(run->hosts.n, sizeof(*hosts));
    if (!hosts || !run->plan)
        return;
    for (size_t i = 0; i < run->hosts.n; i++) {
        const struct pt_run_host *h = &run->at[i];
        hosts[i] = (struct pt_status_host){.name = h->host->name,
                                           .state = pt_run_host_state(h),
                                           .slots = h->slots,
                                           .base = h->base,
                                           .held = pt_plan_held(run->plan, h->number)};
    }
    pt_auto_free char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    pt_status_print(run->status, hosts, run->hosts.n, pt_plan_untold(run->plan), pt_now_ms(), out);
    if (fclose(out) != 0)
        return;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && (*line || rest);)
        pt_terminal_line(run->terminal, line);
}

static void on_signal(void *arg, int fd, short revents)
{
    (void)revents;
    struct pt_run *run = arg;
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return;
    if (info.ssi_signo == SIGWINCH) {
        pt_terminal_resize(run->terminal, pt_terminal_width(1));
        return;
    }
    if (info.ssi_signo == SIGHUP && run->opts->detach) /* some terminal is gone, but none of ours */
        return;
    if (info.ssi_signo == SIGUSR1) {
        print_status(run);
        return;
    }
    if (run->interrupted && (info.ssi_signo != SIGINT || pt_now_ms() - run->interrupted_at < CUT_MS)) {
        static const char cut[] = "\nptremote: cut; hosts clean up by themselves\n";
        pt_terminal_destroy(run->terminal);
        pt_shared_fini(&run->shared);
        if (write(2, cut, sizeof(cut) - 1) < 0)
            _exit(PT_EXIT_INTERNAL);
        _exit(PT_EXIT_INTERRUPTED);
    }
    bool first = !run->interrupted;
    run->interrupted_at = pt_now_ms();
    run->interrupted = run->end.interrupted = true;
    if (!first)
        return;
    char line[128];
    snprintf(line, sizeof(line), "interrupted: %u hosts clean up; again within a second to cut",
             pt_run_hosts_alive(run));
    pt_terminal_note(run->terminal, line);
    run->cancel = 1;
    pt_run_stop(run, info.ssi_signo != SIGINT     ? "Interrupted by a signal"
                     : pt_run_detach_goes_on(run) ? "Interrupted by ptremote stop"
                                                  : "Interrupted by Ctrl-C");
    pt_run_check(run);
}

static int take_signals(struct pt_run *run, struct pt_err *err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (run->signals < 0 || pt_loop_watch(run->loop, run->signals, POLLIN, on_signal, run) < 0)
        return pt_err_set(err, "signals: %s", strerror(errno));
    return 0;
}

void pt_run_record_host(const struct pt_run_host *h)
{
    struct pt_err err = PT_ERR_INIT;
    const struct pt_lane_sync *sync = &h->sync;
    struct pt_ledger_host row = {.number = h->number,
                                 .name = h->host->name,
                                 .state = h->lost ? (h->why[0] ? h->why : "lost") : "ok",
                                 .slots = h->slots,
                                 .bytes_sent = sync->wire,
                                 .connect = h->connected ? h->connected - h->begun : -1,
                                 .sync = h->synced_at ? h->synced_at - h->connected : -1,
                                 .launch = h->joined && h->tooled_at ? h->joined - h->tooled_at : -1,
                                 .tree = {.files_sent = sync->synced.files_sent,
                                          .bytes_raw = sync->raw,
                                          .files_reused = sync->synced.files_reused,
                                          .bytes_reused = sync->synced.bytes_reused,
                                          .removed = sync->synced.removed,
                                          .rate = sync->rate,
                                          .offer = h->synced_at ? sync->offer : -1,
                                          .send = h->synced_at ? sync->send : -1,
                                          .finish = h->synced_at ? sync->finish : -1}};
    if (h->run->ledger && pt_ledger_add_host(h->run->ledger, &row, &err) < 0)
        pt_warn("%s", err.msg);
}

void pt_run_record_hosts(struct pt_run *run)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        pt_run_record_host(&run->at[i]);
}

static int write_files(struct pt_run *run, int code, double seconds, struct pt_err *err)
{
    if (run->junit_path) {
        struct pt_junit_options o = {.path = run->junit_path,
                                     .family = run->junit_family,
                                     .suite_name = run->junit_suite,
                                     .prefix = run->junit_prefix,
                                     .started = run->started,
                                     .seconds = seconds};
        if (pt_junit_write(&o, run->ledger, 0, err) < 0)
            return -1;
    }
    if (run->opts->json) {
        struct pt_json_file o = {.path = run->opts->json,
                                 .run_name = run->id,
                                 .exitcode = code,
                                 .started = run->started,
                                 .seconds = seconds};
        if (pt_json_file_write(&o, run->ledger, 0, run->verdict, err) < 0)
            return -1;
    }
    return 0;
}

/* Everything is quiet: what is the result? */
static int conclude(struct pt_run *run, struct pt_err *err)
{
    double finished = pt_wall_clock(), seconds = finished - run->started;
    unsigned missing = run->end.no_host ? PT_OUTCOME_LOST : PT_OUTCOME_NOTRUN;
    pt_run_results_end(run);
    pt_verdict_finish(run->verdict, missing);
    if (run->failed) {
        run->end.usage = run->failure.kind == PT_ERR_USAGE;
        run->end.internal = run->failure.kind == PT_ERR_INTERNAL;
        run->end.no_host |= run->failure.kind == PT_ERR_INFRA;
        run->end.interrupted |= run->failure.kind == PT_ERR_INTERRUPTED;
    }
    int code = pt_run_nodes_exit(run, pt_verdict_exit_code(run->verdict, &run->end));
    if (run->cache_dir && pt_lastfailed_update(run->cache_dir, run->suite, run->verdict, err) < 0)
        pt_warn("%s", err->msg);
    pt_run_record_hosts(run);
    if (pt_run_units_keep(run, err) < 0 || pt_recorded_stopped(run->ledger, run->stopped, err) < 0 ||
        pt_ledger_finish_run(run->ledger, finished, code, missing, err) < 0 ||
        write_files(run, code, seconds, err) < 0)
        return -1;
    struct pt_terminal_end end = {.ledger = run->ledger,
                                  .verdict = run->verdict,
                                  .seconds = seconds,
                                  .stopped = run->stopped[0] ? run->stopped : NULL,
                                  .junit = run->junit_path,
                                  .json = run->opts->json,
                                  .logs = run->logs ? pt_logs_folder(run->logs) : NULL};
    if (pt_terminal_finish(run->terminal, &end, err) < 0)
        return -1;
    return code;
}

static int report_failure(const struct pt_run *run, struct pt_err *err)
{
    int code = (int)pt_exit_of(run->failure.kind);
    if (run->ledger && pt_ledger_finish_run(run->ledger, pt_wall_clock(), code, PT_OUTCOME_NOTRUN, err) < 0)
        pt_info("%s", err->msg);
    if (run->fail_text)
        pt_text_lines(&(struct pt_text){.out = stderr}, run->fail_text);
    *err = run->failure;
    return -1;
}

/* The collector is begun before anything that has to wait for a disk. */
static int start_tests(struct pt_run *run, struct pt_err *err)
{
    if (!(run->package = pt_project_package(run->opts->state_dir, err)))
        return -1;
    if (!pt_run_resume_waits(run) && pt_run_collect_start(run, err) < 0)
        pt_run_fail(run, err);
    if (run->root && pt_run_record(run, err) < 0)
        return -1;
    commit(run);
    return 0;
}

static int start(struct pt_run *run, const char *root, struct pt_err *err)
{
    pt_auto_free char *here = NULL;
    bool sync_only = run->opts->sync_only;
    if (!sync_only)
        pt_terminal_header(run->terminal, PTREMOTE_VERSION, run->id);
    if (!root && (sync_only || run->opts->collect == PT_COLLECT_REMOTE)) /* nobody here asks pytest for it */
        root = here = realpath(".", NULL);
    if (root && pt_run_open(run, root, err) < 0)
        return -1;
    return sync_only ? 0 : start_tests(run, err);
}

static int resume(struct pt_run *run, const char *root, struct pt_err *err)
{
    if (!run->opts->resume)
        return 0;
    pt_auto_free char *state = pt_project_state(root, run->opts->state_dir);
    return state ? pt_run_resume_open(run, state, err) : pt_err_set(err, "out of memory");
}

static int go(struct pt_run *run, const char *root, struct pt_err *err)
{
    if (read_hosts(run, err) < 0 || !(run->loop = pt_loop_create(err)) || make_parts(run, err) < 0 ||
        take_signals(run, err) < 0 || resume(run, root, err) < 0 || pt_run_units_open(run, err) < 0)
        return -1;
    if (start(run, root, err) < 0)
        return -1;
    tick(run);
    if (run->opts->run_timeout_ms)
        run->end_timer = pt_loop_after(run->loop, run->opts->run_timeout_ms, on_run_timeout, run);
    pt_run_check(run);
    if (pt_loop_run(run->loop) < 0)
        return pt_err_set(err, "event loop: %s", strerror(errno));
    if (run->opts->sync_only)
        return run->failed ? report_failure(run, err) : pt_run_sync_end(run, err);
    if (run->opts->dry_run && !run->failed && !run->interrupted)
        return pt_dry_run(run, err);
    if (!run->failed && !run->ledger)
        return pt_err_set_kind(err, PT_ERR_INTERRUPTED, "%s before anything was recorded",
                               run->stopped[0] ? run->stopped : "the run ended");
    if (run->failed && (run->fail_text || !run->ledger || pt_verdict_done(run->verdict) == 0))
        return report_failure(run, err);
    int code = conclude(run, err);
    if (code >= 0 && run->failed) {
        *err = run->failure;
        return -1;
    }
    return code;
}

/* Lanes that a failed start left behind. */
static void settle(struct pt_run *run)
{
    if (!run->at || !run->terminal)
        return;
    run->cancel = 1;
    pt_run_stop_lanes(run);
    while ((run->scanning || pt_run_hosts_alive(run)) && run->lanes_started &&
           pt_loop_step(run->loop, 1000) == 0)
        ;
}

static void fini(struct pt_run *run)
{
    settle(run);
    pt_door_destroy(run->door);
    pt_collect_destroy(run->collect);
    pt_run_hosts_fini(run);
    pt_shared_fini(&run->shared);
    pt_hosts_fini(&run->hosts);
    for (unsigned i = 0; i < PT_RUN_SCANS; i++)
        pt_fanout_destroy(run->trees[i]);
    pt_tls_identity_fini(&run->identity);
    pt_tls_ca_destroy(run->ca);
    if (run->opts->dry_run && run->ledger)
        pt_ledger_drop_run(run->ledger, NULL);
    pt_ledger_close(run->ledger);
    pt_rerun_destroy(run->rerun);
    pt_resume_destroy(run->resume);
    pt_json_destroy(run->failures);
    pt_logs_destroy(run->logs);
    pt_status_destroy(run->status);
    pt_terminal_destroy(run->terminal);
    pt_verdict_destroy(run->verdict);
    pt_run_units_fini(run);
    pt_plan_destroy(run->plan);
    pt_suite_destroy(run->suite);
    pt_loop_destroy(run->loop);
    if (run->signals >= 0)
        close(run->signals);
    pt_project_env_free(run->env, run->nenv);
    pt_run_nodes_fini(run);
    char *strings[] = {run->root,        run->state_dir,    run->cwd,         run->package,
                       run->project_key, run->junit_family, run->junit_suite, run->junit_prefix,
                       run->junit_path,  run->fail_text,    run->cache_dir};
    for (size_t i = 0; i < PT_COUNT(strings); i++)
        free(strings[i]);
}

int pt_run(const struct pt_options *opts, const char *root, const char *command, const char *argv,
           struct pt_detach *detach, struct pt_err *err)
{
    struct pt_run run = {.opts = opts,
                         .command = command,
                         .argv = argv,
                         .detach = detach,
                         .maxfail = opts->maxfail,
                         .signals = -1,
                         .started = pt_wall_clock()};
    run.failure = PT_ERR_INIT;
    pt_harden();
    pt_run_make_id(&run);
    if (opts->junitxml)
        run.junit_path = strdup(opts->junitxml);
    int code = go(&run, root, err);
    fini(&run);
    return code;
}
