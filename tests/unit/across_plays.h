/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A run of HOSTS hosts of 4 slots, for what joins hosts: the hosts, and what the run has for them. Include
 * this after `lab`, which has run, opts, hosts, at, parted and coming. */
#include "run_across.h"

#include <string.h>

/* --- what the run has for its hosts --- */

void pt_run_check(struct pt_run *run)
{
    pt_run_across_look(run);
}

void pt_run_hosts_wake(struct pt_run *run)
{
    (void)run;
}

void pt_run_hosts_part(struct pt_run *run)
{
    (void)run;
    lab.parted++;
}

bool pt_run_hosts_coming(const struct pt_run *run)
{
    (void)run;
    return lab.coming;
}

/* What hosts are to drop is done at once. */
static void drop_all(struct pt_run *run)
{
    uint32_t host, bundle;
    while (pt_plan_drop(run->plan, &host, &bundle) == 1)
        pt_plan_done(run->plan, host, bundle, pt_plan_bundle(run->plan, bundle)->attempt, NULL, NULL);
}

/* --- the hosts --- */

/* A lab begun anew; the hosts have no lanes yet. */
static void play_hosts(void)
{
    static char names[HOSTS][4] = {"h1", "h2", "h3"};
    struct pt_plan_spec spec = {.hosts = HOSTS, .bundles_per_worker = 10};
    memset(&lab, 0, sizeof(lab));
    lab.run = (struct pt_run){.opts = &lab.opts, .at = lab.at, .hosts = {.items = lab.hosts, .n = HOSTS}};
    lab.run.plan = pt_plan_create(&spec, NULL);
    for (uint32_t i = 0; i < HOSTS; i++) {
        lab.hosts[i].name = names[i];
        lab.at[i] = (struct pt_run_host){.run = &lab.run, .number = i, .host = &lab.hosts[i]};
        pt_plan_expect(lab.run.plan, i, 4);
    }
}

static void play_up(uint32_t host)
{
    struct pt_run_host *h = &lab.at[host];
    h->state = PT_HOST_WORKING;
    h->launches++;
    h->launch_slots = 4;
    pt_plan_host(lab.run.plan, host, 4);
}
