/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the run goes on: looked at after every event. It ends when the plan is over, when no host is left,
 * when it is told to, or when something failed. */
#include "run_nodes.h"
#include "run_parts.h"

#include <stdio.h>

void pt_run_stop_lanes(struct pt_run *run)
{
    if (run->stopping)
        return;
    run->stopping = true;
    if (!run->opts->dry_run) /* a preview needs what was not dealt */
        pt_plan_stop(run->plan);
    pt_run_hosts_stop(run, 0);
}

void pt_run_stop(struct pt_run *run, const char *why)
{
    if (!run->stopped[0])
        snprintf(run->stopped, sizeof(run->stopped), "%s", why);
    pt_run_stop_lanes(run);
}

void pt_run_end_early(struct pt_run *run, const char *why)
{
    if (!run->stopped[0])
        snprintf(run->stopped, sizeof(run->stopped), "%s", why);
    if (run->ending || run->stopping)
        return;
    if (pt_run_hosts_usable(run) == 0 || run->opts->dry_run) {
        pt_run_stop_lanes(run);
        return;
    }
    run->ending = true;
    pt_plan_stop(run->plan);
    pt_run_hosts_quit(run);
}

static void look_again(void *arg)
{
    pt_run_check(arg);
}

/* Of hosts that are between two connections nothing comes that would have the run looked at. */
void pt_run_fail(struct pt_run *run, const struct pt_err *err)
{
    if (!run->failed)
        run->failure = *err;
    run->failed = true;
    pt_run_stop_lanes(run);
    pt_loop_after(run->loop, 0, look_again, run);
}

static void check_hosts(struct pt_run *run)
{
    uint32_t lost = 0;
    for (size_t i = 0; i < run->hosts.n; i++)
        lost += run->at[i].lost && !run->at[i].late;
    if (run->opts->require_all_hosts && lost) {
        run->end.no_host = true;
        pt_run_stop(run, "a host cannot be used and --require-all-hosts was given");
    } else if (pt_run_hosts_usable(run) == 0) {
        run->end.no_host = true;
        pt_run_stop(run, "no host is left");
    }
}

void pt_run_check(struct pt_run *run)
{
    bool started = run->root && !run->opts->dry_run;
    if (run->opts->dry_run && run->collected && (run->tree || run->opts->shared_fs))
        pt_run_stop_lanes(run);
    if (started && !run->ending && !run->stopping && !run->opts->sync_only)
        pt_run_across_look(run);
    if (started && !run->ending && !run->stopping)
        pt_run_leave_look(run);
    if (started && !run->ending && !run->stopping) {
        if (run->opts->sync_only) {
            run->stopping = pt_run_hosts_alive(run) == 0;
        } else if (run->collected && pt_plan_over(run->plan)) {
            run->ending = true;
            pt_run_hosts_quit(run);
        } else {
            check_hosts(run);
        }
    }
    if (run->ending && !run->stopping && pt_run_hosts_alive(run) == 0)
        run->stopping = true;
    if (run->stopping && !run->scanning && (!started || pt_run_hosts_alive(run) == 0) &&
        (run->failed || pt_run_nodes_end(run)))
        pt_loop_stop(run->loop);
    pt_run_detach_look(run);
}
