/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The role that does the work on a host: one loop that stores, launches, carries and ends. It lives below the
 * keeper, and ends, with all that it started, when the channel ends, the keeper dies, or the master is
 * silent. */
struct pt_err;
struct pt_rundir;

struct pt_agent_start {
    int channel;  /* streams, to and from the proxy */
    int lifeline; /* ends when the keeper dies */
    int said;     /* the login's stderr, closed once the agent can say things by itself */
    const char *cache;
    const struct pt_rundir *dir;
    const struct pt_err *why; /* the run's folder could not be made: answered to SETUP; else NULL */
};

/* Returns the exit status. */
int pt_agent_run(const struct pt_agent_start *start);
