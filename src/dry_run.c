/* SPDX-License-Identifier: Apache-2.0 */
#include "dry_run.h"

#include "common/quote.h"
#include "run_parts.h"
#include "sent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL    4  /* digits of a bundle's number, as a rule */
#define COLUMNS 14 /* steps beside each other */

static void print_text(const char *s)
{
    struct pt_buf b = {0};
    pt_quote_print(&b, s, strlen(s), 0);
    fwrite(b.data, 1, b.len, stdout);
    pt_buf_fini(&b);
}

/* Bundles of several ranks, as a static run lays them out. */
struct layout {
    struct pt_run *run;
    struct pt_plan_deal *deals;
    size_t n, cap;
    bool bad; /* memory ended */
};

static void keep_step(struct layout *l, const struct pt_plan_deal *deal)
{
    if (deal->step == PT_NONE)
        return;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        struct pt_plan_deal *deals = realloc(l->deals, cap * sizeof(*deals));
        if (!deals) {
            l->bad = true;
            return;
        }
        l->deals = deals;
        l->cap = cap;
    }
    l->deals[l->n++] = *deal;
}

/* "h1: ", or of several hosts together "h1+h2: ". */
static void print_whom(const struct pt_run *run, const struct pt_plan_deal *deal)
{
    const struct pt_bundle *b = deal->bundle;
    printf("bundle %u -> ", b->bundle);
    print_text(run->at[deal->host].host->name);
    for (uint32_t i = 1; i < b->nspread; i++) {
        printf("+");
        print_text(run->at[b->spread[i].host].host->name);
    }
    printf(": ");
}

/* " of 6 ranks (4+2)". */
static void print_ranks(const struct pt_bundle *b)
{
    if (b->ranks > 1)
        printf(" of %u ranks", b->ranks);
    for (uint32_t i = 0; i < b->nspread; i++)
        printf("%s%u", i ? "+" : " (", b->spread[i].ranks);
    if (b->nspread)
        printf(")");
}

static void print_deal(void *arg, const struct pt_plan_deal *deal)
{
    struct layout *l = arg;
    struct pt_run *run = l->run;
    const struct pt_bundle *b = deal->bundle;
    uint32_t tests = 0;
    keep_step(l, deal);
    for (uint32_t i = 0; i < b->nfiles; i++)
        tests += b->files[i].ntests;
    print_whom(run, deal);
    printf("%u test%s", tests, tests == 1 ? "" : "s");
    print_ranks(b);
    printf("\n");
    for (uint32_t i = 0; i < b->nfiles; i++) {
        printf("    ");
        print_text(b->files[i].path);
        printf(" (%u)\n", b->files[i].ntests);
    }
}

/* One row a slot, one column a step: the number of the bundle that is there. */
static void print_steps(const uint32_t *grid, uint32_t slots, uint32_t steps, uint32_t from, uint32_t to)
{
    for (uint32_t slot = 0; slot < slots; slot++) {
        printf("    slot %-4u|", slot);
        for (uint32_t step = from; step < to; step++) {
            uint32_t bundle = grid[(size_t)slot * steps + step];
            if (bundle == PT_NONE)
                printf(" %*s |", CELL, ".");
            else
                printf(" %*u |", CELL, bundle);
        }
        printf("\n");
    }
}

static int print_picture(const struct layout *l, uint32_t host)
{
    const struct pt_run_host *h = &l->run->at[host];
    uint32_t slots = h->slots ? h->slots : 1, steps = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->deals[i].host == host && l->deals[i].step >= steps)
            steps = l->deals[i].step + 1;
    if (steps == 0)
        return 0;
    uint32_t *grid = malloc((size_t)slots * steps * sizeof(*grid));
    if (!grid)
        return -1;
    memset(grid, 0xff, (size_t)slots * steps * sizeof(*grid));
    for (size_t i = 0; i < l->n; i++) {
        const struct pt_plan_deal *d = &l->deals[i];
        for (uint32_t k = d->slot; d->host == host && k < d->slot + d->width && k < slots; k++)
            grid[(size_t)k * steps + d->step] = d->bundle->bundle;
    }
    print_text(h->host->name);
    printf(": bundles of several ranks in %u step%s, a column each\n", steps, steps == 1 ? "" : "s");
    for (uint32_t from = 0; from < steps; from += COLUMNS) {
        if (from)
            puts("    then");
        print_steps(grid, slots, steps, from, from + COLUMNS < steps ? from + COLUMNS : steps);
    }
    free(grid);
    return 0;
}

static void print_host(const struct pt_run *run, const struct pt_run_host *h)
{
    uint64_t files, bytes;
    print_text(h->host->name);
    if (run->opts->shared_fs) {
        printf(": nothing to send, the tree is seen at ");
        print_text(run->opts->shared_fs);
        printf("\n");
        return;
    }
    const struct pt_manifest *tree = pt_fanout_manifest(run->tree);
    struct pt_sent *sent = pt_sent_load(run->state_dir, h->host->name, run->opts->remote_dir);
    const struct pt_manifest *has = sent ? pt_sent_manifest(sent) : NULL;
    pt_sent_missing(tree, has, &files, &bytes);
    printf(": %llu of %zu entries to send, %llu bytes before compression%s%s\n", (unsigned long long)files,
           pt_manifest_count(tree), (unsigned long long)bytes, has ? "" : " (nothing was sent there before)",
           h->slots ? "" : "; slots not given: planned as 1, a run takes its cores");
    pt_sent_destroy(sent);
}

int pt_dry_run(struct pt_run *run, struct pt_err *err)
{
    for (uint32_t i = 0; i < run->hosts.n; i++)
        pt_plan_expect(run->plan, i, run->at[i].slots ? run->at[i].slots : 1);
    struct layout l = {.run = run};
    int rc = pt_plan_preview(run->plan, print_deal, &l, err);
    for (uint32_t i = 0; i < run->hosts.n && rc == 0; i++)
        if (l.bad || print_picture(&l, i) < 0)
            rc = pt_err_set(err, "out of memory for the picture of a static run");
    free(l.deals);
    if (rc < 0)
        return -1;
    printf("%u tests in %u files\n", pt_suite_tests(run->suite), pt_suite_files(run->suite));
    for (uint32_t i = 0; i < run->hosts.n; i++)
        print_host(run, &run->at[i]);
    return pt_suite_tests(run->suite) ? PT_EXIT_OK : PT_EXIT_NO_TESTS;
}
