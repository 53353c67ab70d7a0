/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What run_results.c has of the run's other files, where nothing is to be seen of it. */
#include "run_nodes.h"
#include "run_results.h"

#include <stdio.h>

void pt_run_stop(struct pt_run *run, const char *why)
{
    snprintf(run->stopped, sizeof(run->stopped), "%s", why);
    pt_plan_stop(run->plan);
}

void pt_run_end_early(struct pt_run *run, const char *why)
{
    pt_run_stop(run, why);
}

bool pt_run_host_may_say(struct pt_run_host *h)
{
    return h->said++ < PT_RUN_SAID;
}

const char *pt_run_nodes_show(const struct pt_run *run)
{
    (void)run;
    return NULL;
}

void pt_run_nodes_ready(struct pt_run_host *h, uint32_t rank)
{
    (void)h, (void)rank;
}
