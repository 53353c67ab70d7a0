/* SPDX-License-Identifier: Apache-2.0 */
/* --detach: when is the run so far that whoever started it need not wait? It is recorded, pytest took its
 * arguments and found something, and every host has answered or was given up; or it has come to nothing of
 * that for a while, as large suites and slow hosts take their time. One that ends before that is told as it
 * ended. */
#include "run_parts.h"

#include "common/quote.h"
#include "detach.h"

#include <string.h>
#include <unistd.h>

static void put(struct pt_buf *b, const char *text)
{
    pt_buf_append(b, text, strlen(text));
}

/* "ptremote attach RUN", to be given in the folder where the run was started. */
static void put_command(const struct pt_run *run, struct pt_buf *b, const char *command)
{
    const struct pt_options *opts = run->opts;
    put(b, "ptremote ");
    put(b, command);
    put(b, " ");
    put(b, run->id);
    if (opts->state_dir || opts->project) {
        put(b, opts->state_dir ? " --state-dir " : " --project ");
        pt_quote_sh(b, opts->state_dir ? opts->state_dir : opts->project);
    }
}

static void tell(struct pt_run *run)
{
    char first[128];
    struct pt_buf text = {0};
    bool lost = false;
    for (size_t i = 0; i < run->hosts.n; i++)
        lost = lost || run->at[i].lost;
    snprintf(first, sizeof(first), "run %s goes on in the background (process %ld)\nto see it: ", run->id,
             (long)getpid());
    put(&text, first);
    put_command(run, &text, "attach");
    put(&text, "\nto end it: ");
    put_command(run, &text, "stop");
    pt_buf_append(&text, "\n", 2);
    pt_detach_tell(run->detach, text.bad ? first : (const char *)text.data, lost);
    pt_buf_fini(&text);
}

static bool waits(const struct pt_run *run)
{
    return run->detach && pt_detach_waits(run->detach) && !run->failed && !run->stopping && !run->ending;
}

bool pt_run_detach_goes_on(const struct pt_run *run)
{
    return run->detach && !pt_detach_waits(run->detach);
}

static void on_long_enough(void *arg)
{
    struct pt_run *run = arg;
    if (waits(run))
        tell(run);
}

int pt_run_detach_open(struct pt_run *run, struct pt_err *err)
{
    return run->detach ? pt_detach_keep(run->detach, run->state_dir, run->id, err) : 0;
}

void pt_run_detach_within(struct pt_run *run, int64_t ms)
{
    if (waits(run))
        pt_loop_after(run->loop, ms, on_long_enough, run);
}

void pt_run_detach_look(struct pt_run *run)
{
    if (!waits(run) || !run->ledger || !(run->collected || pt_suite_tests(run->suite)))
        return;
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].state == PT_HOST_CONNECTING)
            return;
    tell(run);
}
