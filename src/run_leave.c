/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that leave a run that goes on: nothing more is dealt to one, what waits there is called back, what
 * runs ends; then its sessions end and the host is cleaned, as at the end of a run. */
#include "run_parts.h"

#include <string.h>

static struct pt_run_host *find(const struct pt_run *run, const char *name)
{
    struct pt_run_host *found = NULL;
    for (size_t i = 0; i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        bool is = strcmp(h->host->name, name) == 0 || strcmp(h->host->host, name) == 0;
        if (is && (!found || h->state < found->state))
            found = h;
    }
    return found;
}

static bool another_stays(const struct pt_run_host *h)
{
    const struct pt_run *run = h->run;
    for (size_t i = 0; i < run->hosts.n; i++)
        if (&run->at[i] != h && run->at[i].state < PT_HOST_ENDING && !run->at[i].leaves)
            return true;
    return false;
}

static int check(const struct pt_run *run, const struct pt_run_host *h, const char *name, struct pt_err *err)
{
    const char *fixed = pt_run_hosts_fixed(run);
    if (fixed)
        return pt_err_set_kind(err, PT_ERR_USAGE, "no host can leave run %s: %s", run->id, fixed);
    if (!h)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%.255s is not in run %s", name, run->id);
    if (h->leaves && h->state != PT_HOST_DOWN)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s leaves run %s already", h->host->name, run->id);
    if (h->state >= PT_HOST_ENDING)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s is not in run %s any more", h->host->name, run->id);
    if (!another_stays(h)) {
        pt_err_set_kind(err, PT_ERR_USAGE, "%s is the last host of run %s", h->host->name, run->id);
        return pt_err_hint(err, "ptremote stop %s ends the run, ptremote add-host brings another host",
                           run->id);
    }
    if (h->collecting && run->collect)
        return pt_err_set_kind(err, PT_ERR_USAGE, "pytest collects the tests on %s (--collect remote)",
                               h->host->name);
    return 0;
}

int pt_run_leave(struct pt_run *run, const char *name, struct pt_err *err)
{
    struct pt_run_host *h = find(run, name);
    if (check(run, h, name, err) < 0)
        return -1;
    if (!pt_plan_drain(run->plan, h->number))
        return pt_err_set_kind(
            err, PT_ERR_USAGE,
            "%s cannot leave run %s: tests wait or run that no other of its hosts can take", h->host->name,
            run->id);
    h->leaves = true;
    pt_run_host_note(h, "leaves the run");
    if (h->state == PT_HOST_WORKING)
        pt_run_host_show(h, "leaving");
    else
        pt_run_host_quit(h);
    pt_run_deal(run);
    return 0;
}

void pt_run_leave_look(struct pt_run *run)
{
    bool any = false;
    for (size_t i = 0; i < run->hosts.n; i++) {
        struct pt_run_host *h = &run->at[i];
        if (!h->leaves || h->state != PT_HOST_WORKING || !h->link || !pt_plan_is_free(run->plan, h->number))
            continue;
        pt_run_host_quit(h);
        any = true;
    }
    if (any)
        pt_run_hosts_part(run);
}
