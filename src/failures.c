/* SPDX-License-Identifier: Apache-2.0 */
#include "failures.h"

#include "common/auto.h"
#include "common/err.h"
#include "recorded.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Runs with one rootdir: an id means the same test in all of them. */
struct group {
    char *rootdir;
    int64_t *run;
    size_t n;
};

struct groups {
    struct pt_ledger *ledger;
    int64_t before;
    const char *root;
    struct group *item;
    size_t n;
    struct pt_err *err;
};

static void fini(struct groups *g)
{
    for (size_t i = 0; i < g->n; i++) {
        free(g->item[i].rootdir);
        free(g->item[i].run);
    }
    free(g->item);
}

/* pytest's rootdir in that run (noted), now that the project's folder, which was `then`, is `root`. Heap. */
static char *rootdir_of(const char *noted, const char *then, const char *root)
{
    size_t n = strlen(then);
    char *path = NULL;
    bool below = noted && strncmp(noted, then, n) == 0 && noted[n] == '/';
    return asprintf(&path, "%s%s", root ? root : then, below ? noted + n : "") < 0 ? NULL : path;
}

static struct group *group_of(struct groups *g, const char *rootdir)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->item[i].rootdir, rootdir) == 0)
            return &g->item[i];
    struct group *item = realloc(g->item, (g->n + 1) * sizeof(*item));
    if (!item)
        return NULL;
    g->item = item;
    item[g->n] = (struct group){.rootdir = strdup(rootdir)};
    return item[g->n].rootdir ? &item[g->n++] : NULL;
}

static int add_run(struct group *to, int64_t run)
{
    int64_t *more = to ? realloc(to->run, (to->n + 1) * sizeof(*more)) : NULL;
    if (!more)
        return -1;
    to->run = more;
    more[to->n++] = run;
    return 0;
}

static int take_run(void *arg, const struct pt_ledger_run *run)
{
    struct groups *g = arg;
    pt_auto_free char *noted = NULL;
    if (g->before && run->id >= g->before)
        return 0;
    if (pt_recorded_rootdir(g->ledger, run->id, &noted, g->err) < 0)
        return -1;
    pt_auto_free char *rootdir = rootdir_of(noted, run->rootdir, g->root);
    if (!rootdir || add_run(group_of(g, rootdir), run->id) < 0)
        return pt_err_set(g->err, "out of memory");
    return 0;
}

/* --- what failed in them --- */

struct listing {
    struct pt_json_out *out;
    struct pt_ledger *ledger;
    const struct group *group;
    struct pt_err *err;
};

static int put_test(void *arg, const char *nodeid)
{
    const struct listing *l = arg;
    pt_json_put_str(l->out, NULL, nodeid);
    return 0;
}

/* A file that could not be collected, if no test of it was met since. */
static int put_entry(void *arg, int64_t run, const void *json, size_t n)
{
    const struct listing *l = arg;
    struct pt_report r;
    int has = 1;
    errno = 0;
    if (pt_report_decode(json, n, &r, NULL) < 0)
        return errno == ENOMEM ? pt_err_set(l->err, "out of memory") : 0;
    if (r.phase == PT_PHASE_COLLECT && r.nodeid && r.nodeid[0]) {
        pt_auto_free char *file = strndup(r.nodeid, strcspn(r.nodeid, ":"));
        has = file ? pt_ledger_has_file(l->ledger, l->group->run, l->group->n, run, file, l->err)
                   : pt_err_set(l->err, "out of memory");
        if (has == 0)
            pt_json_put_str(l->out, NULL, r.nodeid);
    }
    pt_report_fini(&r);
    return has < 0 ? -1 : 0;
}

static int put_group(struct listing *l)
{
    const struct group *g = l->group;
    pt_json_open_array(l->out, g->rootdir);
    int rc = pt_ledger_each_failed(l->ledger, g->run, g->n, put_test, put_entry, l, l->err);
    pt_json_close(l->out);
    return rc;
}

struct pt_json *pt_failures_load(struct pt_ledger *ledger, int64_t before, const char *root,
                                 struct pt_err *err)
{
    struct groups g = {.ledger = ledger, .before = before, .root = root, .err = err};
    struct pt_json *json = NULL;
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    int rc = pt_ledger_each_begun(ledger, take_run, &g, err);
    for (size_t i = 0; i < g.n && rc == 0; i++)
        rc = put_group(&(struct listing){.out = &o, .ledger = ledger, .group = &g.item[i], .err = err});
    pt_json_close(&o);
    if ((pt_json_out_end(&o) < 0 || o.buf.bad) && rc == 0)
        rc = pt_err_set(err, "out of memory");
    if (rc == 0)
        json = pt_json_parse(o.buf.data, o.buf.len, err);
    pt_buf_fini(&o.buf);
    fini(&g);
    return json;
}

int64_t pt_failures_before(struct pt_ledger *l, int64_t id, struct pt_err *err)
{
    struct pt_ledger_run run;
    int rc;
    while ((rc = pt_ledger_get_run(l, id, &run, err)) == 0 && run.resumes > 0 && run.resumes < id)
        id = run.resumes;
    return rc < 0 ? -1 : id;
}
