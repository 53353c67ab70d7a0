/* SPDX-License-Identifier: Apache-2.0 */
/* What groups of ranks say: the reports of one test become one, and a group that ended is told on the test it
 * was at. Believed as other messages are, when the bundle is one of so many ranks. */
#include "common/auto.h"
#include "common/log.h"
#include "logs.h"
#include "ranks.h"
#include "run_nodes.h"
#include "run_results.h"
#include "status.h"

#include <stdio.h>
#include <string.h>

struct where {
    struct pt_ranks_of of;
    const char *hosts[PT_SPREAD_MAX];
};

static void where_init(struct where *w, const struct pt_run_host *h, uint32_t bundle,
                       const struct pt_suite_test *t)
{
    const struct pt_options *opts = h->run->opts;
    const struct pt_bundle *b = pt_plan_bundle(h->run->plan, bundle);
    w->of = (struct pt_ranks_of){.nodeid = t->nodeid,
                                 .path = pt_suite_path(h->run->suite, t->file),
                                 .host = h->host->name,
                                 .hosts = w->hosts,
                                 .nhosts = b ? b->nspread : 0,
                                 .shares = b ? b->spread : NULL,
                                 .show = pt_run_nodes_show(h->run),
                                 .memory = opts->memory_per_slot,
                                 .grace = opts->mpi_grace_ms / 1e3};
    for (uint32_t i = 0; i < w->of.nhosts; i++)
        w->hosts[i] = h->run->at[b->spread[i].host].host->name;
}

/* Is it dealt to so many ranks? */
static bool of_so_many(const struct pt_run_host *h, uint32_t bundle, uint32_t ranks)
{
    const struct pt_bundle *b = pt_plan_bundle(h->run->plan, bundle);
    return b && b->ranks == ranks && ranks > 1;
}

static void idle(struct pt_run_host *h, uint32_t group)
{
    pt_status_set_group(h->run->status, h->number, group, 0, 0, NULL, 0);
}

/* --- a test that all of them ran --- */

static int take_ranks(struct pt_run_host *h, const struct pt_ranks *m, struct pt_err *err)
{
    struct pt_run *run = h->run;
    const struct pt_suite_test *t = pt_suite_get(run->suite, m->test);
    struct pt_buf json = {0};
    if (!t || !of_so_many(h, m->bundle, m->of) ||
        !pt_plan_holds(run->plan, h->number, m->bundle, m->attempt, m->test)) {
        pt_info("%s: a report of test %u, which no %u ranks of it hold, is ignored", h->host->name, m->test,
                m->of);
        return 0;
    }
    if (pt_plan_is_told(run->plan, m->test)) {
        pt_debug("%s: a second report of test %u is ignored", h->host->name, m->test);
        return 0;
    }
    struct where w;
    struct pt_arrival a = {
        .h = h, .test = m->test, .bundle = m->bundle, .attempt = m->attempt, .rank = m->group};
    where_init(&w, h, m->bundle, t);
    if (pt_ranks_report(m, &w.of, &json, err) < 0) {
        pt_buf_fini(&json);
        return -1;
    }
    return pt_run_take_made(run, a, &json, 0, err);
}

int pt_run_ranks(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_ranks m;
    if (pt_ranks_decode(r, &m, err) < 0)
        return -1;
    idle(h, m.group);
    int rc = take_ranks(h, &m, err);
    pt_ranks_fini(&m);
    return rc;
}

/* --- a group that ended --- */

static int fall_of_test(struct pt_run_host *h, const struct pt_fall *m, uint32_t test, bool silent,
                        struct pt_err *err)
{
    struct pt_run *run = h->run;
    const struct pt_suite_test *t = pt_suite_get(run->suite, test);
    struct pt_buf json = {0};
    if (!t)
        return pt_err_set(err, "the end of a test that does not exist");
    struct where w;
    struct pt_arrival a = {
        .h = h, .test = test, .bundle = m->bundle, .attempt = m->attempt, .rank = m->group};
    where_init(&w, h, m->bundle, t);
    w.of.silent = silent;
    if (pt_ranks_fall_report(m, &w.of, &json, err) < 0) {
        pt_buf_fini(&json);
        return -1;
    }
    return pt_run_take_made(run, a, &json, 0, err);
}

/* Every test of that file ("" any) that has no outcome. A file that ends its ranks while it is imported is
 * told by one of them; where there were no ranks each is told. */
static int fall_of_files(struct pt_run_host *h, const struct pt_fall *m, struct pt_err *err)
{
    const struct pt_bundle *b = pt_plan_bundle(h->run->plan, m->bundle);
    bool silent = false;
    for (uint32_t f = 0; b && f < b->nfiles; f++) {
        const struct pt_bundle_file *file = &b->files[f];
        if (m->path[0] && strcmp(file->path, m->path) != 0)
            continue;
        for (uint32_t i = 0; i < file->ntests; i++) {
            uint32_t test = file->tests[i].test;
            if (pt_plan_is_told(h->run->plan, test) ||
                !pt_plan_holds(h->run->plan, h->number, m->bundle, m->attempt, test))
                continue;
            if (fall_of_test(h, m, test, silent, err) < 0)
                return -1;
            silent = m->cause != PT_CAUSE_NO_GROUP;
        }
    }
    return 0;
}

static void fall_of_nothing(struct pt_run_host *h, const struct pt_fall *m)
{
    char words[256];
    const struct pt_suite_test *t = pt_suite_get(h->run->suite, m->test);
    pt_ranks_fall_words(m, words, sizeof(words));
    if (m->cause == PT_CAUSE_NO_GROUP)
        pt_run_host_note(h, "no %u ranks could be started: %.300s", m->of, m->text);
    else if (t)
        pt_run_host_note(h, "group %u: %s, after %s had ended", m->group, words, t->nodeid);
    else if (m->phase == PT_PHASE_SESSION)
        pt_run_host_note(h, "group %u: %s, while its session ended", m->group, words);
    else
        pt_run_host_note(h, "group %u: %s, between tests; a new one goes on", m->group, words);
}

static int take_fall(struct pt_run_host *h, const struct pt_fall *m, struct pt_err *err)
{
    struct pt_run *run = h->run;
    bool held = of_so_many(h, m->bundle, m->of) &&
                pt_plan_holds(run->plan, h->number, m->bundle, m->attempt, m->test);
    if (run->ending && (m->cause == PT_CAUSE_TIMEOUT || m->cause == PT_CAUSE_FALL))
        return 0; /* the run ended early, and the grace with it: its test did not run to its end */
    if (held && m->test != PT_NONE && !pt_plan_is_told(run->plan, m->test))
        return fall_of_test(h, m, m->test, false, err);
    if (held && m->test == PT_NONE && (m->path[0] || m->cause == PT_CAUSE_NO_GROUP))
        return fall_of_files(h, m, err);
    if (!m->path[0] && (m->test == PT_NONE || held))
        fall_of_nothing(h, m);
    return 0;
}

int pt_run_fall(struct pt_run_host *h, struct pt_reader *r, struct pt_err *err)
{
    struct pt_fall m;
    if (pt_fall_decode(r, &m, err) < 0)
        return -1;
    idle(h, m.group);
    int rc = take_fall(h, &m, err);
    pt_fall_fini(&m);
    return rc;
}

/* --- members --- */

bool pt_run_member_started(struct pt_run_host *h, uint32_t rank, uint32_t bundle, uint32_t test)
{
    const struct pt_bundle *b = pt_plan_bundle(h->run->plan, bundle);
    const struct pt_suite_test *t = pt_suite_get(h->run->suite, test);
    uint32_t group;
    uint32_t member;
    if (!pt_member_of(rank, &group, &member))
        return false;
    if (member == 0 && t && b) /* they go in step */
        pt_status_set_group(h->run->status, h->number, group, b->ranks, bundle, t->nodeid, pt_now_ms());
    return true;
}

uint32_t pt_run_member_log(struct pt_run_host *h, uint32_t rank)
{
    uint32_t group;
    uint32_t member;
    if (!h->run->logs || !pt_member_of(rank, &group, &member))
        return PT_NONE;
    return pt_logs_member(h->run->logs, h->host->name, group, member);
}
