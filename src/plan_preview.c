/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "plan_state.h"

#include <math.h>
#include <stdlib.h>

/* A bundle under way in a run that is only thought through. */
struct flight {
    double end;
    struct pt_plan_deal deal;
};

struct preview {
    struct pt_plan *plan;
    double now;
    double **free_at; /* per host, per slot; infinite: taken for what is dealt just now */
    struct flight *flights;
    size_t n;
};

static void preview_fini(struct preview *p)
{
    for (uint32_t i = 0; p->free_at && i < p->plan->spec.hosts; i++)
        free(p->free_at[i]);
    free(p->free_at);
    free(p->flights);
}

static int preview_init(struct preview *p, struct pt_plan *plan)
{
    size_t most = 0;
    *p = (struct preview){.plan = plan};
    if (!(p->free_at = calloc(plan->spec.hosts + 1, sizeof(*p->free_at))))
        return -1;
    for (uint32_t i = 0; i < plan->spec.hosts; i++) {
        struct host *host = &plan->hosts[i];
        if (host->slots == 0 && host->expect > 0)
            pt_plan_host(plan, i, host->expect);
        if (host->slots == 0)
            pt_plan_never(plan, i);
        most += 3 * (size_t)host->slots + 2;
        if (!(p->free_at[i] = calloc(host->slots + 1, sizeof(double))))
            return -1;
        host->may = host->slots > 0 && !plan->spec.apart; /* else they are taken to reach each other */
        host->judged = host->slots > 0 || plan->spec.apart;
    }
    plan->version++;
    p->flights = calloc(most + 1, sizeof(*p->flights));
    return p->flights ? 0 : -1;
}

static uint32_t first_free(const double *slots, uint32_t n)
{
    uint32_t first = 0;
    for (uint32_t i = 1; i < n; i++)
        if (slots[i] < slots[first])
            first = i;
    return first;
}

/* So many slots of the host, own among them if that is one; *start: not before they all are free. */
static void take_slots(struct preview *p, uint32_t host, uint32_t width, uint32_t own, double *start)
{
    uint32_t n = p->plan->hosts[host].slots;
    double *slots = p->free_at[host];
    for (uint32_t i = 0; i < width; i++) {
        uint32_t slot = i == 0 && own < n ? own : first_free(slots, n);
        *start = slots[slot] > *start ? slots[slot] : *start;
        slots[slot] = INFINITY;
    }
}

static void give_slots(struct preview *p, uint32_t host, double end)
{
    for (uint32_t i = 0; i < p->plan->hosts[host].slots; i++)
        if (isinf(p->free_at[host][i]))
            p->free_at[host][i] = end;
}

/* The bundle goes to the slots of its hosts that are free first. */
static void take_off(struct preview *p, const struct pt_plan_deal *deal)
{
    const struct pt_bundle *bundle = deal->bundle;
    const struct task *task = p->plan->tasks[bundle->bundle];
    double start = p->now;
    take_slots(p, deal->host, deal->width, task->rank, &start);
    for (uint32_t i = 1; i < bundle->nspread; i++)
        take_slots(p, bundle->spread[i].host, bundle->spread[i].ranks, PT_NONE, &start);
    double end = start + task->expected;
    give_slots(p, deal->host, end);
    for (uint32_t i = 1; i < bundle->nspread; i++)
        give_slots(p, bundle->spread[i].host, end);
    p->flights[p->n++] = (struct flight){.end = end, .deal = *deal};
}

static void land(struct preview *p)
{
    size_t first = 0;
    for (size_t i = 1; i < p->n; i++)
        if (p->flights[i].end < p->flights[first].end)
            first = i;
    struct flight flight = p->flights[first];
    p->flights[first] = p->flights[--p->n];
    p->now = flight.end;
    const struct pt_bundle *bundle = flight.deal.bundle;
    for (uint32_t f = 0; f < bundle->nfiles; f++)
        for (uint32_t t = 0; t < bundle->files[f].ntests; t++)
            pt_plan_told(p->plan, bundle->files[f].tests[t].test);
    pt_plan_done(p->plan, flight.deal.host, bundle->bundle, bundle->attempt, NULL, NULL);
}

int pt_plan_preview(struct pt_plan *plan, void (*each)(void *arg, const struct pt_plan_deal *deal), void *arg,
                    struct pt_err *err)
{
    struct preview p;
    plan->spec.speculate = false;
    if (preview_init(&p, plan)) {
        preview_fini(&p);
        return pt_err_set(err, "plan: out of memory for a preview");
    }
    int rc;
    for (;;) {
        struct pt_plan_deal deal;
        while ((rc = pt_plan_next(plan, &deal, err)) > 0) {
            each(arg, &deal);
            take_off(&p, &deal);
        }
        if (rc < 0 || p.n == 0)
            break;
        land(&p);
    }
    preview_fini(&p);
    return rc;
}
