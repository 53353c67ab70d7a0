/* SPDX-License-Identifier: Apache-2.0 */
/* --durations: the slowest phases, as pytest lists them. */
#include "common/auto.h"
#include "common/err.h"
#include "output/terminal_inside.h"

#include <stdlib.h>
#include <string.h>

struct phase {
    char *nodeid; /* owned by the first phase of a test; the others share it */
    const char *name;
    double seconds;
    size_t at; /* among equals, the earlier first */
    bool owner;
};

struct phases {
    struct phase *at;
    size_t n, cap;
    bool failed;
};

static void add(struct phases *p, const struct pt_ledger_test *test, const char *name, double seconds,
                char **nodeid)
{
    if (seconds < 0)
        return;
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 1024;
        struct phase *at = realloc(p->at, cap * sizeof(*at));
        if (!at) {
            p->failed = true;
            return;
        }
        p->at = at;
        p->cap = cap;
    }
    bool owner = !*nodeid;
    if (owner)
        *nodeid = strdup(test->nodeid);
    if (!*nodeid) {
        p->failed = true;
        return;
    }
    p->at[p->n] = (struct phase){*nodeid, name, seconds, p->n, owner};
    p->n++;
}

static int take(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows, size_t n)
{
    char *nodeid = NULL;
    const struct pt_ledger_report *row = pt_result_row(rows, n);
    if (!test || !row)
        return 0;
    add(arg, test, "setup", row->setup, &nodeid);
    add(arg, test, "call", row->call, &nodeid);
    add(arg, test, "teardown", row->teardown, &nodeid);
    return 0;
}

static int slower(const void *a, const void *b)
{
    const struct phase *x = a;
    const struct phase *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return x->at < y->at ? -1 : 1;
}

static void print(struct pt_terminal *t, struct phases *p)
{
    const struct pt_text *x = &t->text;
    size_t n = t->o.durations > 0 && (size_t)t->o.durations < p->n ? (size_t)t->o.durations : p->n;
    char title[64] = "slowest durations";
    if (t->o.durations > 0)
        snprintf(title, sizeof(title), "slowest %d durations", t->o.durations);
    qsort(p->at, p->n, sizeof(*p->at), slower);
    pt_text_sep(x, '=', 0, title);
    for (size_t i = 0; i < n; i++) {
        if (t->o.verbosity < 2 && p->at[i].seconds < t->o.durations_min) {
            fprintf(x->out, "\n(%zu durations < %gs hidden.  Use -vv to show these durations.)\n", n - i,
                    t->o.durations_min);
            break;
        }
        fprintf(x->out, "%.2fs %-8s ", p->at[i].seconds, p->at[i].name);
        pt_text_put(x, 0, p->at[i].nodeid);
        fputc('\n', x->out);
    }
}

int pt_terminal_slowest(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err)
{
    struct phases p = {0};
    if (t->o.durations < 0)
        return 0;
    int rc = pt_ledger_each_result(end->ledger, end->run, ~0u, take, &p, err) < 0 ? -1 : 0;
    if (rc == 0 && p.failed)
        rc = pt_err_set(err, "durations: out of memory");
    if (rc == 0 && p.n)
        print(t, &p);
    for (size_t i = 0; i < p.n; i++)
        if (p.at[i].owner)
            free(p.at[i].nodeid);
    free(p.at);
    return rc;
}
