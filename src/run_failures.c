/* SPDX-License-Identifier: Apache-2.0 */
/* --last-failed, --failed-first: what failed before this run, for the collector. Of a run that is resumed:
 * before it began, so that it has the tests that it had. */
#include "run_parts.h"

#include "common/auto.h"
#include "common/log.h"
#include "failures.h"
#include "project.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The record that this run will be in; before pytest has named the project: the one that is around here. */
static char *find_state(const struct pt_run *run)
{
    const struct pt_options *opts = run->opts;
    if (run->root)
        return pt_project_state(run->root, opts->state_dir);
    return pt_project_state_here(opts->project, opts->state_dir, NULL);
}

/* The folder that the state folder belongs to (heap); NULL: it may belong to several. */
static char *find_root(const struct pt_run *run, const char *state)
{
    const char *slash = strrchr(state, '/');
    if (run->opts->state_dir || !slash)
        return NULL;
    return run->root ? strdup(run->root) : strndup(state, slash == state ? 1 : (size_t)(slash - state));
}

static struct pt_json *load(const struct pt_run *run, const char *state, struct pt_err *err)
{
    struct pt_ledger *l = pt_ledger_look(state, err);
    pt_auto_free char *root = find_root(run, state);
    int64_t before = l && run->resume ? pt_failures_before(l, pt_resume_run(run->resume), err) : 0;
    struct pt_json *failed = l && before >= 0 ? pt_failures_load(l, before, root, err) : NULL;
    pt_ledger_close(l);
    return failed;
}

const struct pt_json *pt_run_failures(struct pt_run *run)
{
    struct pt_err err = PT_ERR_INIT;
    pt_auto_free char *path = NULL;
    if (run->failures || (!run->opts->last_failed && !run->opts->failed_first))
        return run->failures;
    pt_auto_free char *state = find_state(run);
    if (!state || asprintf(&path, "%s/ledger.sqlite", state) < 0 || access(path, F_OK) < 0)
        return NULL; /* the first run */
    run->failures = load(run, state, &err);
    if (!run->failures) /* if it is damaged, it will be set aside */
        pt_warn("what failed in earlier runs is not known: %s", err.msg);
    return run->failures;
}
