/* SPDX-License-Identifier: Apache-2.0 */
/* `ptremote show`: the end of a run, printed as the run itself prints it. */
#include "common/err.h"
#include "common/loop.h"
#include "output/terminal.h"
#include "recorded.h"
#include "records_inside.h"
#include "verdict.h"

#include <stdlib.h>

static struct pt_terminal *make_terminal(const struct pt_recorded *r, const struct pt_record_options *o,
                                         struct pt_err *err)
{
    struct pt_terminal_options options = {
        .out = stdout,
        .color = pt_terminal_colors(PT_COLOR_AUTO, 1),
        .width = pt_terminal_width(1),
        .verbosity = o->verbose,
        .reportchars = o->report_chars ? o->report_chars : r->report_chars,
        .whole_lines = getenv("CI") != NULL,
        .durations = o->has_durations ? (int)o->durations : r->durations,
        .durations_min = r->durations_min,
    };
    struct pt_terminal *t = pt_terminal_create(&options, err);
    if (t && r->root)
        pt_terminal_root(t, r->root);
    return t;
}

/* One that has not ended says so before anything else. */
static void put_state(const struct pt_recorded *r)
{
    uint32_t all = pt_verdict_tests(r->verdict), done = pt_verdict_done(r->verdict);
    if (r->state == PT_RECORDED_ENDED)
        return;
    if (r->state == PT_RECORDED_RUNNING)
        printf("run %s goes on (process %ld)", r->name, r->pid);
    else if (r->state == PT_RECORDED_CUT)
        printf("run %s was cut off", r->name);
    else
        printf("run %s did not end, or goes on elsewhere", r->name);
    printf(": %u of %u tests so far\n", done, all);
}

static double seconds_of(const struct pt_recorded *r)
{
    if (r->state == PT_RECORDED_RUNNING)
        return pt_wall_clock() - r->started;
    return r->state == PT_RECORDED_ENDED ? r->finished - r->started : -1;
}

int pt_record_show(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    struct pt_recorded r;
    int64_t run = pt_ledger_find_run(l, o->word, err);
    if (!run)
        return -1;
    int rc = pt_recorded_init(&r, l, run, err);
    struct pt_terminal *t = rc < 0 ? NULL : make_terminal(&r, o, err);
    if (t) {
        struct pt_terminal_end end = {
            .ledger = l, .run = run, .verdict = r.verdict, .seconds = seconds_of(&r), .stopped = r.stopped};
        put_state(&r);
        rc = pt_terminal_finish(t, &end, err);
    }
    rc = t ? rc : -1;
    pt_terminal_destroy(t);
    pt_recorded_fini(&r);
    return rc;
}
