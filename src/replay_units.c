/* SPDX-License-Identifier: Apache-2.0 */
#include "replay_inside.h"

#include "common/auto.h"
#include "common/err.h"

#include <stdlib.h>
#include <string.h>

#define UNIT_BYTES (8u << 20) /* of node ids and paths: half of what a frame takes */

struct found {
    struct pt_bundle_test test;
    const char *path; /* NULL: left out */
};

struct giving {
    const struct pt_replay *r;
    const uint32_t *host_of;
    pt_replay_unit_fn *unit;
    void *arg;
    struct found *found; /* one for each test of r */
    struct pt_bundle_test *tests;
    struct pt_bundle_file *files;
};

struct numbered {
    uint32_t test, order, at;
};

static int by_number(const void *va, const void *vb)
{
    const struct numbered *a = va, *b = vb;
    return a->test != b->test ? (a->test > b->test) - (a->test < b->test)
                              : (a->order > b->order) - (a->order < b->order);
}

/* A test is given once: where it ran first, as hosts and workers go. */
static int leave_out_twins(struct giving *g, uint32_t *gone)
{
    uint32_t n = 0;
    pt_auto_free struct numbered *list = malloc((g->r->ntests + 1) * sizeof(*list));
    if (!list)
        return -1;
    for (uint32_t p = 0; p < g->r->nparts; p++)
        for (uint32_t i = 0; i < g->r->parts[p].n; i++) {
            uint32_t at = g->r->parts[p].from + i;
            if (g->found[at].path)
                list[n] = (struct numbered){.test = g->found[at].test.test, .order = n, .at = at}, n++;
        }
    qsort(list, n, sizeof(*list), by_number);
    for (uint32_t i = 1; i < n; i++)
        if (list[i].test == list[i - 1].test) {
            g->found[list[i].at].path = NULL;
            ++*gone;
        }
    return 0;
}

/* As many of a part as fit into a frame, from *i on. 0 or -1. */
static int give_some(struct giving *g, const struct pt_replay_part *p, uint32_t *i, struct pt_err *err)
{
    size_t bytes = 0;
    uint32_t n = 0, nfiles = 0;
    const struct pt_ran *first = &g->r->tests[p->from];
    for (; *i < p->n && bytes < UNIT_BYTES; ++*i) {
        const struct found *f = &g->found[p->from + *i];
        if (!f->path)
            continue;
        if (!nfiles || strcmp(g->files[nfiles - 1].path, f->path) != 0) {
            g->files[nfiles++] =
                (struct pt_bundle_file){.path = (char *)(uintptr_t)f->path, .tests = &g->tests[n]};
            bytes += strlen(f->path) + 16;
        }
        g->files[nfiles - 1].ntests++;
        g->tests[n++] = f->test;
        bytes += strlen(f->test.nodeid) + 16;
    }
    struct pt_plan_unit unit = {.files = g->files,
                                .nfiles = nfiles,
                                .seconds = -1,
                                .weight = 1,
                                .ranks = first->ranks,
                                .host = g->host_of[first->host],
                                .rank = first->worker,
                                .alone = true};
    return n && g->unit(g->arg, &unit, err) < 0 ? -1 : 0;
}

static int give_all(struct giving *g, struct pt_err *err)
{
    for (uint32_t p = 0; p < g->r->nparts; p++)
        for (uint32_t i = 0; i < g->r->parts[p].n;)
            if (give_some(g, &g->r->parts[p], &i, err) < 0)
                return -1;
    return 0;
}

int pt_replay_units(const struct pt_replay *r, const uint32_t *host_of, pt_replay_find_fn *find,
                    pt_replay_unit_fn *unit, void *arg, uint32_t *gone, struct pt_err *err)
{
    pt_auto_free struct found *found = calloc(r->ntests, sizeof(*found));
    pt_auto_free struct pt_bundle_test *tests = malloc(r->ntests * sizeof(*tests));
    pt_auto_free struct pt_bundle_file *files = malloc(r->ntests * sizeof(*files));
    struct giving g = {
        .r = r, .host_of = host_of, .unit = unit, .arg = arg, .found = found, .tests = tests, .files = files};
    *gone = 0;
    if (!found || !tests || !files)
        return pt_err_set(err, "--replay: out of memory");
    for (uint32_t i = 0; i < r->ntests; i++) {
        const struct pt_ran *t = &r->tests[i];
        if (host_of[t->host] == PT_NONE ||
            !find(arg, t->nodeid, t->occurrence, &found[i].test, &found[i].path)) {
            found[i].path = NULL;
            ++*gone;
        }
    }
    return leave_out_twins(&g, gone) < 0 ? pt_err_set(err, "--replay: out of memory") : give_all(&g, err);
}
