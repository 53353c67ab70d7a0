/* SPDX-License-Identifier: Apache-2.0 */
/* Whose fault it is that a host lost its workers: its own, then they are started again three times; or that
 * of a test, which the plan finds (plan_suspects.c), then more often. Each is bounded, for a host and for the
 * run. */
#include "run_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static uint32_t excused_in_all(const struct pt_run *run)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->hosts.n; i++)
        n += pt_plan_excused(run->plan, i);
    return n;
}

/* Starts that ended by its own fault, as far as known. */
static uint32_t blamed(const struct pt_run_host *h)
{
    uint32_t excused = pt_plan_excused(h->run->plan, h->number);
    return h->launches > excused ? h->launches - excused : 0;
}

bool pt_run_host_spent(const struct pt_run_host *h)
{
    return h->launches >= PT_RUN_STARTS || blamed(h) >= PT_RUN_LAUNCHES ||
           excused_in_all(h->run) > PT_RUN_EXCUSED;
}

void pt_run_host_starts(struct pt_run_host *h, char *out, size_t size)
{
    uint32_t now = blamed(h);
    if (now > h->blamed)
        snprintf(out, size, "%u of %u", now, PT_RUN_LAUNCHES - 1);
    else
        snprintf(out, size, "a test is the likely cause; %u of %u in all", h->launches, PT_RUN_STARTS - 1);
    h->blamed = now;
}

static void put(struct pt_buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct pt_buf *out, const char *fmt, ...)
{
    char text[2 * PT_ERR_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pt_buf_append(out, text, strlen(text));
}

void pt_run_killed_words(const struct pt_run *run, const struct pt_plan_deaths *deaths, struct pt_buf *out)
{
    const struct pt_run_host *last = NULL;
    put(out, "hosts lost their workers %u times while it ran (", deaths->n);
    for (uint32_t i = 0; i < deaths->n; i++) {
        last = &run->at[deaths->hosts[i]];
        put(out, "%s%s", i ? ", " : "", last->host->name);
    }
    put(out, "), the last %u times with no other test there", deaths->alone);
    if (last && last->died[0])
        put(out, ": %s", last->died);
    pt_put_u8(out, 0);
}
