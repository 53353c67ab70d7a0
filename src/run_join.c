/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts that join a run that goes on. Each is one more behind all others, with keys, a number and nodes of
 * its own, also where one of that name was in the run and is not any more; from then on it is like any. */
#include "run_parts.h"

#include <string.h>
#include <strings.h>

const char *pt_run_hosts_fixed(const struct pt_run *run)
{
    const struct pt_options *opts = run->opts;
    if (run->failed || run->ending || run->stopping)
        return "it is ending";
    if (opts->replay)
        return "it repeats what another run did on its hosts (--replay)";
    if (opts->dist == PT_DIST_EACH)
        return "every test runs once on each of its hosts (--dist each)";
    if (opts->schedule == PT_SCHEDULE_STATIC)
        return "which host runs what was settled at its start (--schedule static)";
    if (opts->schedule == PT_SCHEDULE_SEQUENTIAL)
        return "it runs one test after the other (--schedule sequential)";
    return NULL;
}

/* A host of that name which is not done. */
static const struct pt_run_host *live_host(const struct pt_run *run, const char *host)
{
    for (size_t i = 0; i < run->hosts.n; i++)
        if (run->at[i].state != PT_HOST_DOWN && strcasecmp(run->hosts.items[i].host, host) == 0)
            return &run->at[i];
    return NULL;
}

static int check(const struct pt_run *run, const struct pt_hosts *more, struct pt_err *err)
{
    const char *fixed = pt_run_hosts_fixed(run);
    if (fixed)
        return pt_err_set_kind(err, PT_ERR_USAGE, "no host can join run %s: %s", run->id, fixed);
    if (more->n > run->room - run->hosts.n)
        return pt_err_set_kind(err, PT_ERR_USAGE,
                               "no more than %d hosts can join a run, and %zu did so already", PT_RUN_JOINS,
                               run->hosts.n + PT_RUN_JOINS - run->room);
    for (size_t i = 0; i < more->n; i++)
        if (live_host(run, more->items[i].host))
            return pt_err_set_kind(err, PT_ERR_USAGE, "%s is in run %s already", more->items[i].name,
                                   run->id);
    return 0;
}

/* The first of them, before any of them is seen. */
static int make_keys(struct pt_run *run, uint32_t first, uint32_t n, struct pt_err *err)
{
    int rc = 0;
    uint32_t i = first;
    for (; rc == 0 && i < first + n; i++) {
        run->at[i] = (struct pt_run_host){.run = run, .number = i};
        rc = pt_run_host_identity(&run->at[i], err);
    }
    while (rc < 0 && i-- > first)
        pt_tls_identity_fini(&run->at[i].identity);
    return rc;
}

static void make_ready(struct pt_run *run, uint32_t number)
{
    struct pt_run_host *h = &run->at[number];
    struct pt_tls_identity identity = h->identity;
    pt_run_host_init(run, number);
    h->identity = identity;
    h->late = true;
    pt_plan_add_host(run->plan);
    pt_run_host_setup(h);
    pt_run_host_prepare(h);
}

static void begin(struct pt_run_host *h)
{
    pt_run_record_host(h);
    pt_run_host_note(h, "joins the run");
    pt_run_host_connect(h);
}

int pt_run_join(struct pt_run *run, const char *list, struct pt_err *err)
{
    struct pt_hosts more = {0};
    uint32_t first = (uint32_t)run->hosts.n;
    int rc = pt_hosts_parse_more(list, &run->hosts, &more, err);
    uint32_t n = (uint32_t)more.n;
    if (rc == 0 && (rc = check(run, &more, err)) == 0 && (rc = make_keys(run, first, n, err)) == 0 &&
        (rc = pt_hosts_append(&run->hosts, &more, err)) < 0)
        for (uint32_t i = first; i < first + n; i++)
            pt_tls_identity_fini(&run->at[i].identity);
    pt_hosts_fini(&more);
    if (rc < 0)
        return -1;
    for (uint32_t i = 0; i < first; i++) /* they may have moved */
        run->at[i].host = &run->hosts.items[i];
    for (uint32_t i = first; i < first + n; i++)
        make_ready(run, i);
    for (uint32_t i = first; i < first + n; i++)
        begin(&run->at[i]);
    return 0;
}
