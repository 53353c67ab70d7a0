/* SPDX-License-Identifier: Apache-2.0 */
/* `ptremote runs`: a line a run. */
#include "common/err.h"
#include "common/loop.h"
#include "printed.h"
#include "records_inside.h"

#include <string.h>

struct listing {
    struct pt_columns columns;
    const char *state;
    uint32_t left;
    double now;
};

void pt_record_became(const struct pt_ledger_run *run, const char *state, char *out, size_t size)
{
    long pid = 0;
    switch (pt_recorded_state(run, &pid)) {
    case PT_RECORDED_ENDED:
        snprintf(out, size, "exit %d", run->exitcode);
        break;
    case PT_RECORDED_RUNNING:
        snprintf(out, size, "%s (process %ld)", pt_printed_is(state, run->name) ? "detached" : "running",
                 pid);
        break;
    case PT_RECORDED_CUT:
        snprintf(out, size, "cut off");
        break;
    case PT_RECORDED_UNKNOWN:
        snprintf(out, size, "not ended (elsewhere)");
        break;
    }
}

/* "1890 passed, 2 failed, 10 not run" */
static void add_tests(struct pt_columns *c, const uint32_t *counts)
{
    char text[256] = "";
    size_t n = 0;
    for (unsigned i = PT_OUTCOME_NONE + 1; i <= PT_OUTCOMES && n < sizeof(text); i++) {
        unsigned outcome = i % PT_OUTCOMES; /* what has none comes last */
        const char *word = outcome == PT_OUTCOME_NOTRUN ? "not run"
                           : outcome == PT_OUTCOME_NONE ? "open"
                                                        : pt_outcome_name(outcome);
        if (counts[outcome])
            n +=
                (size_t)snprintf(text + n, sizeof(text) - n, "%s%u %s", n ? ", " : "", counts[outcome], word);
    }
    pt_columns_add(c, n ? text : "no tests");
}

static int add_run(void *arg, const struct pt_ledger_run *run, const uint32_t *counts)
{
    struct listing *l = arg;
    char when[PT_RECORD_TIME], took[PT_RECORD_TIME], became[64];
    bool runs = pt_recorded_state(run, NULL) == PT_RECORDED_RUNNING;
    if (l->left-- == 0)
        return 1;
    pt_record_when(run->started, when);
    pt_record_took(run->finished > 0 ? run->finished - run->started
                   : runs            ? l->now - run->started
                                     : -1,
                   took);
    pt_record_became(run, l->state, became, sizeof(became));
    pt_columns_add(&l->columns, run->name);
    pt_columns_add(&l->columns, when);
    pt_columns_add(&l->columns, took);
    pt_columns_add(&l->columns, became);
    add_tests(&l->columns, counts);
    pt_columns_add(&l->columns, run->command);
    return 0;
}

int pt_record_runs(struct pt_ledger *l, const struct pt_record_options *o, struct pt_err *err)
{
    struct listing all = {.columns = {.width = 6, .right = 1u << 2},
                          .state = o->state,
                          .left = o->most,
                          .now = pt_wall_clock()};
    if (pt_ledger_each_run(l, add_run, &all, err) < 0) {
        pt_columns_fini(&all.columns);
        return -1;
    }
    return pt_columns_print(&all.columns, "", pt_record_limit(), stdout, err);
}
