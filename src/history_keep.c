/* SPDX-License-Identifier: Apache-2.0 */
#include "history_inside.h"

#include "common/auto.h"
#include "common/err.h"
#include "ledger.h"

#include <math.h>
#include <stdlib.h>

#define ROUNDS      6  /* each host's speed follows from the others' */
#define PAIRS_LEAST 5  /* tests that two hosts must have in common */
#define EARLIER     20 /* tests that what is known of a host stands for */
#define SPEED_MOST  64.0

/* The host's speed by those it can be compared with; 0: not enough. */
static double measured(const struct pt_history *h, uint32_t host, const double *speed, double *values,
                       size_t *n)
{
    *n = 0;
    for (uint32_t i = 0; i < h->npairs; i++) {
        const struct pt_history_pair *p = &h->pairs[i];
        if (p->a == host)
            values[(*n)++] = speed[p->b] * p->ratio;
        else if (p->b == host)
            values[(*n)++] = speed[p->a] / p->ratio;
    }
    return *n < PAIRS_LEAST ? 0 : pt_history_median(values, *n);
}

static double blend(const struct pt_history_host *host, double now, size_t n)
{
    double weight = host->known ? EARLIER : 0;
    double s = exp((log(now) * (double)n + log(host->speed) * weight) / ((double)n + weight));
    return fmin(fmax(s, 1 / SPEED_MOST), SPEED_MOST);
}

/* The mean of all known hosts is 1. */
static void centre(struct pt_history *h)
{
    double sum = 0;
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->hosts.n; i++)
        if (h->host[i].known) {
            sum += log(h->host[i].speed);
            n++;
        }
    double mean = n ? exp(sum / n) : 1;
    for (uint32_t i = 0; i < h->hosts.n; i++)
        if (h->host[i].known && fabs(mean - 1) > 1e-9) {
            h->host[i].speed /= mean;
            h->host[i].changed = true;
        }
}

static int learn_speeds(struct pt_history *h)
{
    size_t n = 0;
    if (h->npairs < PAIRS_LEAST)
        return 0;
    pt_auto_free double *values = malloc(h->npairs * sizeof(*values));
    pt_auto_free double *speed = malloc(h->hosts.n * sizeof(*speed));
    pt_auto_free bool *told = calloc(h->hosts.n, sizeof(*told));
    if (!values || !speed || !told)
        return -1;
    for (uint32_t i = 0; i < h->hosts.n; i++)
        speed[i] = h->host[i].speed;
    for (int round = 0; round < ROUNDS; round++)
        for (uint32_t i = 0; i < h->hosts.n; i++) {
            double now = measured(h, i, speed, values, &n);
            told[i] = now > 0;
            if (now > 0)
                speed[i] = blend(&h->host[i], now, n);
        }
    for (uint32_t i = 0; i < h->hosts.n; i++)
        if (told[i])
            h->host[i] = (struct pt_history_host){.speed = speed[i], .known = true, .changed = true};
    centre(h);
    h->npairs = h->pairs_seen = 0;
    return 0;
}

static int keep_tests(struct pt_history *h, struct pt_ledger *ledger, int64_t old, struct pt_err *err)
{
    for (uint32_t i = 0; i < h->ntests; i++) {
        struct pt_history_entry *e = &h->tests[i];
        if (!e->changed && !(e->seen && e->run <= old))
            continue;
        struct pt_ledger_duration d = {.file = h->files.text[e->file],
                                       .nodeid = e->nodeid,
                                       .occurrence = e->occurrence,
                                       .host = e->host == PT_NONE ? "" : h->hosts.text[e->host],
                                       .setup = (double)e->setup,
                                       .call = (double)e->call,
                                       .teardown = (double)e->teardown};
        if (pt_ledger_put_duration(ledger, &d, err) < 0)
            return -1;
        e->changed = false;
        e->run = (uint32_t)pt_ledger_run_id(ledger);
    }
    return 0;
}

static int keep_files(struct pt_history *h, struct pt_ledger *ledger, int64_t old, struct pt_err *err)
{
    for (uint32_t i = 0; i < h->files.n; i++) {
        struct pt_history_source *f = &h->file[i];
        if (!f->changed && !(f->seen && f->run <= old))
            continue;
        struct pt_ledger_import import = {
            .file = h->files.text[i],
            .host = f->import < 0 || f->import_host == PT_NONE ? "" : h->hosts.text[f->import_host],
            .seconds = f->import,
            .modules = f->modules ? f->modules : ""};
        if (pt_ledger_put_import(ledger, &import, err) < 0)
            return -1;
        f->changed = false;
        f->run = pt_ledger_run_id(ledger);
    }
    return 0;
}

static int keep_speeds(struct pt_history *h, struct pt_ledger *ledger, struct pt_err *err)
{
    for (uint32_t i = 0; i < h->hosts.n; i++) {
        if (h->host[i].changed && pt_ledger_put_speed(ledger, h->hosts.text[i], h->host[i].speed, err) < 0)
            return -1;
        h->host[i].changed = false;
    }
    return 0;
}

int pt_history_keep(struct pt_history *h, struct pt_ledger *ledger, struct pt_err *err)
{
    /* What is used must be written before it is forgotten. */
    int64_t old = pt_ledger_run_id(ledger) - PT_LEDGER_LEARNED / 2;
    if (learn_speeds(h) < 0)
        return pt_err_set(err, "speeds of hosts: out of memory");
    if (keep_tests(h, ledger, old, err) < 0 || keep_files(h, ledger, old, err) < 0 ||
        keep_speeds(h, ledger, err) < 0)
        return -1;
    return pt_ledger_commit(ledger, err);
}
