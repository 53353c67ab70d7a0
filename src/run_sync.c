/* SPDX-License-Identifier: Apache-2.0 */
/* --sync-only: each host gets programs and tree, and is let go. */
#include "run_parts.h"

#include "output/json_file.h"
#include "output/synced.h"

#include <stdio.h>
#include <string.h>

static struct pt_synced_words words_of(const struct pt_run_host *h)
{
    double done = h->synced_at > h->tooled_at ? h->synced_at : h->tooled_at;
    const struct pt_synced *s = &h->sync.synced;
    return (struct pt_synced_words){.wire = h->sync.wire,
                                    .files_sent = s->files_sent,
                                    .bytes_sent = s->bytes_sent,
                                    .files_reused = s->files_reused + s->files_right,
                                    .bytes_reused = s->bytes_reused + s->bytes_right,
                                    .removed = s->removed,
                                    .seconds = done - h->run->started};
}

void pt_run_sync_look(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    char words[256], line[512];
    if (!run->opts->sync_only || h->state != PT_HOST_PREPARING || !h->synced || !h->tooled)
        return;
    pt_run_host_set(h, PT_HOST_STOPPING);
    pt_lane_stop(h->lane, 0);
    struct pt_synced_words w = words_of(h);
    pt_synced_words(&w, words, sizeof(words));
    snprintf(line, sizeof(line), "%s: %s", h->host->name, words);
    pt_terminal_line(run->terminal, line);
}

static void say_total(struct pt_run *run, uint32_t good)
{
    char wire[32], line[256];
    uint64_t bytes = 0;
    for (size_t i = 0; i < run->hosts.n; i++)
        bytes += run->at[i].sync.wire;
    pt_bytes_words(bytes, wire, sizeof(wire));
    snprintf(line, sizeof(line), "%u of %zu host%s up to date, %s on the wire, in %.2f s", good, run->hosts.n,
             run->hosts.n == 1 ? "" : "s", wire, pt_wall_clock() - run->started);
    pt_terminal_line(run->terminal, line);
}

static int write_json(struct pt_run *run, int code, struct pt_err *err)
{
    double finished = pt_wall_clock();
    struct pt_json_file o = {.path = run->opts->json,
                             .run_name = run->id,
                             .exitcode = code,
                             .started = run->started,
                             .seconds = finished - run->started};
    if (o.path && pt_run_record(run, err) < 0)
        return -1;
    pt_run_record_hosts(run);
    if (!o.path)
        return 0;
    if (pt_ledger_finish_run(run->ledger, finished, code, PT_OUTCOME_NOTRUN, err) < 0)
        return -1;
    return pt_json_file_write(&o, run->ledger, 0, run->verdict, err);
}

int pt_run_sync_end(struct pt_run *run, struct pt_err *err)
{
    uint32_t good = 0;
    for (size_t i = 0; i < run->hosts.n; i++)
        good += !run->at[i].lost && run->at[i].synced && run->at[i].tooled;
    int code = run->interrupted ? PT_EXIT_INTERRUPTED : good < run->hosts.n ? PT_EXIT_INFRA : PT_EXIT_OK;
    say_total(run, good);
    return write_json(run, code, err) < 0 ? -1 : code;
}
