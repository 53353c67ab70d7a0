/* SPDX-License-Identifier: Apache-2.0 */
#include "output/result.h"

#include "common/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HOSTS 65536

static int take_host(void *arg, const struct pt_ledger_host *host)
{
    struct pt_names *names = arg;
    if (host->number >= MAX_HOSTS)
        return 0;
    if (host->number >= names->n) {
        char **name = realloc(names->name, (host->number + 1) * sizeof(*name));
        if (!name)
            return 1;
        memset(name + names->n, 0, (host->number + 1 - names->n) * sizeof(*name));
        names->name = name;
        names->n = host->number + 1;
    }
    free(names->name[host->number]);
    names->name[host->number] = strdup(host->name);
    return names->name[host->number] ? 0 : 1;
}

int pt_names_load(struct pt_names *names, struct pt_ledger *ledger, int64_t run, struct pt_err *err)
{
    *names = (struct pt_names){0};
    int rc = pt_ledger_each_host(ledger, run, take_host, names, err);
    if (rc > 0)
        pt_err_set(err, "hosts: out of memory");
    if (rc)
        pt_names_fini(names);
    return rc ? -1 : 0;
}

const char *pt_names_get(const struct pt_names *names, uint32_t host)
{
    return host < names->n ? names->name[host] : NULL;
}

void pt_names_fini(struct pt_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->name[i]);
    free(names->name);
    *names = (struct pt_names){0};
}

int pt_result_decode(const struct pt_ledger_test *test, const struct pt_ledger_report *row,
                     struct pt_report *r)
{
    errno = 0;
    if (row->json && pt_report_decode(row->json, row->json_len, r, NULL) == 0)
        return 0;
    int rc = row->json && errno == ENOMEM ? -1 : 0;
    *r = (struct pt_report){
        .nodeid = test ? test->nodeid : "?",
        .file = test ? test->file : NULL,
        .outcome = row->outcome,
        .phase = row->phase,
        .started = row->started,
        .duration = row->duration,
        .setup = row->setup,
        .call = row->call,
        .teardown = row->teardown,
        .skip_line = PT_NONE,
    };
    return rc;
}

const struct pt_ledger_report *pt_result_row(const struct pt_ledger_report *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!rows[i].rerun)
            return &rows[i];
    return NULL;
}

bool pt_result_init(struct pt_result *r, const struct pt_ledger_test *test,
                    const struct pt_ledger_report *rows, size_t n)
{
    const struct pt_ledger_report *row = pt_result_row(rows, n);
    if (!row)
        return false;
    *r = (struct pt_result){
        .has_extra = row + 1 < rows + n, .row = row, .tries = rows, .ntries = (size_t)(row - rows)};
    r->starved = pt_result_decode(test, row, &r->own) < 0;
    if (r->has_extra && pt_result_decode(test, row + 1, &r->extra) < 0)
        r->starved = true;
    r->outcome = r->has_extra && r->extra.outcome > row->outcome ? r->extra.outcome : row->outcome;
    return true;
}

bool pt_result_is_try(const struct pt_result *r, const struct pt_ledger_report *row)
{
    return !row->extra && row->try_ < r->row->try_;
}

void pt_result_fini(struct pt_result *r)
{
    pt_report_fini(&r->own);
    if (r->has_extra)
        pt_report_fini(&r->extra);
}
