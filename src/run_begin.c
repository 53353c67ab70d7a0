/* SPDX-License-Identifier: Apache-2.0 */
/* How a run begins. What takes longest is begun first: the connections, then the scan; keys and ledger are
 * made meanwhile. */
#include "run_parts.h"

#include "common/auto.h"
#include "common/tls.h"
#include "logs.h"
#include "master.h"
#include "project.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define CERT_SECONDS (30L * 86400)

void pt_run_make_id(struct pt_run *run)
{
    unsigned char raw[6];
    time_t now = time(NULL);
    struct tm tm;
    if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
        abort();
    localtime_r(&now, &tm);
    size_t n = strftime(run->id, sizeof(run->id), "%Y%m%d-%H%M%S-", &tm);
    snprintf(run->id + n, sizeof(run->id) - n, "%02x%02x%02x", raw[0], raw[1], raw[2]);
    const char *seed = getenv("PYTHONHASHSEED");
    if (seed && seed[0] && strlen(seed) < sizeof(run->hash_seed) &&
        strspn(seed, "0123456789") == strlen(seed))
        snprintf(run->hash_seed, sizeof(run->hash_seed), "%s", seed);
    else
        snprintf(run->hash_seed, sizeof(run->hash_seed), "%u",
                 (unsigned)(raw[3] << 16 | raw[4] << 8 | raw[5]));
}

void pt_run_host_setup(struct pt_run_host *h)
{
    struct pt_run *run = h->run;
    const struct pt_options *opts = run->opts;
    h->setup = (struct pt_setup){.protocol = PT_PROTOCOL,
                                 .host = h->number,
                                 .slots = h->host->slots,
                                 .run = run->id,
                                 .project = run->project_key,
                                 .cwd = run->cwd,
                                 .python = opts->python ? opts->python : (char *)"",
                                 .mpirun = opts->mpirun ? opts->mpirun : (char *)"",
                                 .init = opts->init ? opts->init : (char *)"",
                                 .hash_seed = run->hash_seed,
                                 .silence_ms = opts->heartbeat_ms / 2 * 5,
                                 .linger_ms = opts->linger_ms,
                                 .flags = opts->sync_only ? PT_SETUP_SYNC_ONLY
                                          : opts->sandbox ? PT_SETUP_SANDBOX
                                                          : 0,
                                 .shared = opts->shared_fs,
                                 .proof = run->shared.proof,
                                 .secret = run->shared.secret,
                                 .preload = run->preload,
                                 .env = run->env,
                                 .nenv = run->nenv};
}

/* What every host's SETUP has in common. */
static int fill_setup(struct pt_run *run, struct pt_err *err)
{
    const struct pt_options *opts = run->opts;
    run->project_key = pt_project_key(run->root);
    run->cwd = pt_project_cwd(run->root);
    run->env = pt_project_env(&opts->env, &run->nenv);
    run->preload = pt_run_preload(run);
    pt_run_ahead_begin(run);
    if (!run->project_key || !run->cwd || !run->env || !run->preload)
        return pt_err_set(err, "out of memory");
    for (size_t i = 0; i < run->hosts.n; i++)
        pt_run_host_setup(&run->at[i]);
    return 0;
}

static int begin_record(struct pt_run *run, struct pt_err *err)
{
    pt_auto_free char *how = pt_run_how(run);
    pt_auto_free char *cwd = realpath(".", NULL);
    char master[PT_MASTER_MAX];
    bool tests = !run->opts->dry_run && !run->opts->sync_only;
    pt_master_self(master);
    struct pt_ledger_run row = {.name = run->id,
                                .how = how,
                                .command = run->command,
                                .rootdir = run->root,
                                .argv = tests && cwd && !run->resume ? run->argv : NULL,
                                .cwd = cwd,
                                .master = master,
                                .resumes = run->resume ? pt_resume_run(run->resume) : 0,
                                .hash_seed = run->hash_seed,
                                .started = run->started};
    run->ledger = pt_ledger_open(run->state_dir, err);
    if (!run->ledger || pt_ledger_begin_run(run->ledger, &row, err) < 0)
        return -1;
    if (pt_ledger_note(run->ledger)[0])
        pt_terminal_note(run->terminal, pt_ledger_note(run->ledger));
    pt_run_record_hosts(run);
    pt_run_detach_within(run, PT_RUN_RECORDED_MS);
    return 0;
}

int pt_run_host_identity(struct pt_run_host *h, struct pt_err *err)
{
    char role[64];
    snprintf(role, sizeof(role), "host/%u/worker", h->number);
    return pt_tls_ca_issue(h->run->ca, role, &h->identity, err);
}

/* The run's own authority, and what each host shows of itself by it. */
static int make_keys(struct pt_run *run, struct pt_err *err)
{
    if (!(run->ca = pt_tls_ca_create(run->id, CERT_SECONDS, err)) ||
        pt_tls_ca_issue(run->ca, "master", &run->identity, err) < 0 ||
        pt_tls_prepare(&run->identity, err) < 0)
        return -1;
    for (size_t i = 0; i < run->hosts.n; i++)
        if (pt_run_host_identity(&run->at[i], err) < 0)
            return -1;
    return 0;
}

int pt_run_open(struct pt_run *run, const char *root, struct pt_err *err)
{
    const struct pt_options *opts = run->opts;
    if (pt_project_check(root, opts->project != NULL, err) < 0)
        return -1;
    run->root = strdup(root);
    run->state_dir = pt_project_state(root, opts->state_dir);
    if (!run->root || !run->state_dir)
        return pt_err_set(err, "out of memory");
    if (pt_ledger_folder(run->state_dir, err) < 0 || pt_run_detach_open(run, err) < 0)
        return -1;
    if (opts->shared_fs && !opts->dry_run && pt_shared_init(&run->shared, run->root, run->state_dir, err) < 0)
        return -1;
    pt_tls_init(); /* before there are threads */
    if (fill_setup(run, err) < 0 || (!opts->dry_run && pt_run_hosts_start(run, err) < 0))
        return -1;
    if (!opts->shared_fs && pt_run_scan(run) < 0)
        return pt_err_set(err, "out of memory");
    return 0;
}

int pt_run_record(struct pt_run *run, struct pt_err *err)
{
    if (!run->opts->dry_run && !run->opts->sync_only && make_keys(run, err) < 0)
        return -1;
    if (begin_record(run, err) < 0)
        return -1;
    if (run->opts->sync_only)
        return 0;
    if (!run->opts->dry_run && !(run->logs = pt_logs_create(run->state_dir, run->id, err)))
        return -1;
    if (!run->opts->dry_run)
        pt_run_door_open(run);
    return pt_run_units_begin(run, err);
}
