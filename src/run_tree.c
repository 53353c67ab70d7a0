/* SPDX-License-Identifier: Apache-2.0 */
/* The tree that is sent: scanned in a thread of its own, and again when it changed while it was sent. */
#include "run_parts.h"

#include "below.h"
#include "common/log.h"
#include "sync/here/scan.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct scan {
    struct pt_run *run;
    struct pt_tree_spec spec;
    char *cache, *own;
    unsigned lanes;
    struct pt_fanout *tree;
    struct pt_err err;
};

static void scan_done(void *arg)
{
    struct scan *scan = arg;
    struct pt_run *run = scan->run;
    run->scanning = false;
    if (!scan->tree) {
        if (!run->stopping)
            pt_run_fail(run, &scan->err);
    } else {
        run->tree = run->trees[run->scans - 1] = scan->tree;
        const struct pt_manifest *m = pt_fanout_manifest(run->tree);
        pt_debug("the tree has %zu entries, %llu bytes", pt_manifest_count(m),
                 (unsigned long long)pt_manifest_bytes(m));
        if (pt_run_resume_tree(run, m, &scan->err) < 0 ||
            (pt_run_resume_waits(run) && run->scans == 1 && pt_run_collect_start(run, &scan->err) < 0))
            pt_run_fail(run, &scan->err);
        else
            pt_run_hosts_tree(run);
    }
    free(scan->cache);
    free(scan->own);
    free(scan);
    pt_run_check(run);
}

static void *scan_main(void *arg)
{
    struct scan *scan = arg;
    const struct pt_run *run = scan->run;
    struct pt_manifest *m = pt_manifest_scan(&scan->spec, &scan->err);
    if (m)
        scan->tree = pt_fanout_create(m, run->state_dir, scan->lanes, &scan->err);
    if (pt_loop_post(scan->run->loop, scan_done, scan) < 0)
        abort();
    return NULL;
}

int pt_run_scan(struct pt_run *run)
{
    struct scan *scan = calloc(1, sizeof(*scan));
    pthread_t thread;
    if (!scan || asprintf(&scan->cache, "%s/hashes", run->state_dir) < 0) {
        free(scan);
        return -1;
    }
    scan->run = run;
    scan->lanes = (unsigned)run->hosts.n; /* one that joins later finds its own way */
    scan->err = PT_ERR_INIT;
    scan->own = pt_below(run->root, run->state_dir);
    scan->spec = (struct pt_tree_spec){
        .root = run->root,
        .extra = (const char *const *)run->opts->extra_files.item,
        .nextra = run->opts->extra_files.n,
        .exclude = (const char *const *)run->opts->exclude.item,
        .nexclude = run->opts->exclude.n,
        .own = scan->own,
        .cache = scan->cache,
        .copy_links = run->opts->copy_links,
        .algorithm = run->opts->digest == PT_OPTIONS_SHA256 ? PT_DIGEST_SHA256 : PT_DIGEST_BLAKE2B,
        .cancel = &run->cancel};
    run->scanning = true;
    run->scans++;
    if (pthread_create(&thread, NULL, scan_main, scan) != 0)
        scan_main(scan);
    else
        pthread_detach(thread);
    return 0;
}
