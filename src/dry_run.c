/* SPDX-License-Identifier: Apache-2.0 */
#include "dry_run.h"

#include "common/quote.h"
#include "run_parts.h"
#include "sent.h"

#include <stdio.h>
#include <string.h>

static void print_text(const char *s)
{
    struct pt_buf b = {0};
    pt_quote_print(&b, s, strlen(s), 0);
    fwrite(b.data, 1, b.len, stdout);
    pt_buf_fini(&b);
}

static void print_deal(void *arg, const struct pt_plan_deal *deal)
{
    struct pt_run *run = arg;
    const struct pt_bundle *b = deal->bundle;
    uint32_t tests = 0;
    for (uint32_t i = 0; i < b->nfiles; i++)
        tests += b->files[i].ntests;
    printf("bundle %u -> %s: %u test%s\n", b->bundle, run->at[deal->host].host->name, tests,
           tests == 1 ? "" : "s");
    for (uint32_t i = 0; i < b->nfiles; i++) {
        printf("    ");
        print_text(b->files[i].path);
        printf(" (%u)\n", b->files[i].ntests);
    }
}

static void print_host(const struct pt_run *run, const struct pt_run_host *h)
{
    uint64_t files, bytes;
    if (run->opts->shared_fs) {
        printf("%s: nothing to send, the tree is seen at ", h->host->name);
        print_text(run->opts->shared_fs);
        printf("\n");
        return;
    }
    const struct pt_manifest *tree = pt_fanout_manifest(run->tree);
    struct pt_sent *sent = pt_sent_load(run->state_dir, h->host->name, run->opts->remote_dir);
    const struct pt_manifest *has = sent ? pt_sent_manifest(sent) : NULL;
    pt_sent_missing(tree, has, &files, &bytes);
    printf("%s: %llu of %zu entries to send, %llu bytes before compression%s%s\n", h->host->name,
           (unsigned long long)files, pt_manifest_count(tree), (unsigned long long)bytes,
           has ? "" : " (nothing was sent there before)",
           h->slots ? "" : "; slots not given: planned as 1, a run takes its cores");
    pt_sent_destroy(sent);
}

int pt_dry_run(struct pt_run *run, struct pt_err *err)
{
    for (uint32_t i = 0; i < run->hosts.n; i++)
        pt_plan_expect(run->plan, i, run->at[i].slots ? run->at[i].slots : 1);
    if (pt_plan_preview(run->plan, print_deal, run, err) < 0)
        return -1;
    printf("%u tests in %u files\n", pt_suite_tests(run->suite), pt_suite_files(run->suite));
    for (uint32_t i = 0; i < run->hosts.n; i++)
        print_host(run, &run->at[i]);
    return pt_suite_tests(run->suite) ? PT_EXIT_OK : PT_EXIT_NO_TESTS;
}
