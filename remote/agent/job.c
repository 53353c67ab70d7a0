/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/job.h"

#include "common/auto.h"
#include "remote/agent/guard.h"
#include "remote/agent/kit.h"
#include "remote/agent/mpirun.h"
#include "remote/agent/peers.h"
#include "remote/agent/relay.h"
#include "remote/agent/sandbox.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define SEGMENT  (5ull << 20) /* bytes of shared memory a rank takes */
#define GRACE_MS 1000         /* of a group that is ended */

/* Open MPI's segments: on /dev/shm where it is big enough, else beside the sockets. */
static int make_folders(struct pt_job *job, const struct pt_rundir *dir, const struct pt_job_spec *spec,
                        const char *kind, struct pt_err *err)
{
    const char *base = dir->path;
    struct statvfs vfs;
    char name[48];
    if (dir->shm && statvfs(dir->shm, &vfs) == 0 &&
        (unsigned long long)vfs.f_bavail * vfs.f_frsize > spec->ranks * SEGMENT)
        base = dir->shm;
    snprintf(name, sizeof(name), "%u", spec->launch->launch);
    if (spec->serial)
        snprintf(name, sizeof(name), "%u.%s%u", spec->launch->launch, kind, spec->serial);
    if (asprintf(&job->session_dir, "%s/mpi%s", dir->path, name) < 0 ||
        asprintf(&job->shm_dir, "%s/seg%s", base, name) < 0)
        return pt_err_set(err, "out of memory");
    if ((mkdir(job->session_dir, 0700) < 0 && errno != EEXIST) ||
        (mkdir(job->shm_dir, 0700) < 0 && errno != EEXIST))
        return pt_err_set_kind(err, PT_ERR_INFRA, "cannot make folders in %s: %s", base, strerror(errno));
    return 0;
}

static int make_environ(const struct pt_agent *a, const char *program, const struct pt_job *job,
                        uint32_t slots, struct pt_environ *env, struct pt_err *err)
{
    pt_auto_free char *cwd = NULL;
    char text[16];
    if (asprintf(&cwd, "%s%s%s", a->workspace, a->setup.cwd[0] ? "/" : "", a->setup.cwd) < 0)
        return pt_err_set(err, "out of memory");
    snprintf(text, sizeof(text), "%u", slots);
    pt_environ_add(env, a->env.v);
    pt_mpirun_environ(program, job->session_dir, env);
    pt_environ_set(env, "PTREMOTE_WORKSPACE", a->workspace);
    pt_environ_set(env, "PTREMOTE_CWD", cwd);
    pt_environ_set(env, "PTREMOTE_SLOTS", text);
    pt_environ_set(env, "PTREMOTE_RUN", a->setup.run);
    pt_environ_set(env, "PTREMOTE_RUN_DIR", a->dir->path);
    return env->bad ? pt_err_set(err, "out of memory") : 0;
}

/* Where the workers meet those of other runs. */
static void add_share(const struct pt_job_spec *spec, struct pt_environ *env)
{
    const char *who = spec->group == PT_NONE ? spec->launch->share : NULL;
    char path[PT_RUNDIR_SHARE];
    if (!who || !who[0])
        return;
    pt_rundir_share(path);
    pt_environ_set(env, "PTREMOTE_SHARE", who);
    pt_environ_set(env, "PTREMOTE_SHARE_DIR", path);
}

/* What runs tests: a guard stays before it, and outside of any sandbox. */
struct guarded {
    struct pt_guard guard;
    const char *sandbox; /* the folder to be in there; NULL: there is none */
};

static int guarded_fork(const void *arg)
{
    const struct guarded *g = arg;
    if (pt_guard_fork(&g->guard) < 0)
        return -1;
    return g->sandbox ? pt_sandbox_enter(g->sandbox) : 0;
}

static int start(struct pt_job *job, struct pt_agent *a, const char *program, struct pt_words *argv,
                 const struct pt_environ *env, bool guarded, struct pt_err *err)
{
    struct guarded g = {.guard = {.folders = {job->session_dir, job->shm_dir}, .grace_ms = GRACE_MS}};
    struct pt_child_spec spec = {
        .path = program, .argv = argv->v, .env = env->v, .cwd = a->dir->path, .in = -1, .out = -1};
    spec.death_signal = SIGTERM;
    if (guarded) {
        spec.between = guarded_fork;
        spec.between_arg = &g;
    }
    if (guarded && a->sandbox) {
        pt_sandbox_give(a->sandbox, &spec);
        g.sandbox = a->dir->path;
    }
    return argv->bad ? pt_err_set(err, "out of memory") : pt_child_start(&job->child, a->loop, &spec, err);
}

/* Who has which share; all must be known. */
static int find_peers(const struct pt_agent *a, const struct pt_job_spec *spec, const struct pt_peer **peers,
                      struct pt_err *err)
{
    if (spec->nspread > 0 && spec->spread[0].host != a->setup.host)
        return pt_err_set(err, "a group over several hosts that begins on host %u was asked for on host %u",
                          spec->spread[0].host, a->setup.host);
    for (uint32_t i = 0; i < spec->nspread; i++)
        if (!(peers[i] = pt_peers_find(&a->peers, spec->spread[i].host)))
            return pt_err_set(err, "host %u is none of those that run tests together", spec->spread[i].host);
    return 0;
}

static int start_mpirun(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec,
                        const struct pt_peer **peers, struct pt_err *err)
{
    struct pt_mpirun m = {.run_dir = a->dir->path,
                          .ranks = spec->ranks,
                          .host = a->setup.host,
                          .launch = spec->launch->launch,
                          .group = spec->group,
                          .yield = spec->yield,
                          .shares = spec->spread,
                          .peers = peers,
                          .n = spec->nspread};
    struct pt_words argv = {0};
    struct pt_environ env = {0};
    pt_auto_free char *rsh = m.n ? pt_relays_rsh(a, err) : NULL;
    pt_auto_free char *program = m.n && !rsh ? NULL : pt_mpirun_find(&a->env, a->setup.mpirun, err);
    pt_auto_free char *worker = program ? pt_kit_worker(a->kit, program, err) : NULL;
    struct pt_job_spec here = *spec;
    if (m.n)
        here.ranks = spec->spread[0].ranks;
    int rc = worker ? make_folders(job, a->dir, &here, "", err) : -1;
    m.program = program;
    m.worker = worker;
    m.rsh = rsh;
    m.session_dir = job->session_dir;
    m.shm_dir = job->shm_dir;
    if (rc == 0)
        rc = make_environ(a, program, job, spec->launch->slots, &env, err);
    if (rc == 0) {
        add_share(spec, &env);
        pt_mpirun_argv(&m, &argv);
        rc = start(job, a, program, &argv, &env, spec->group != PT_NONE, err);
    }
    pt_words_fini(&argv);
    pt_environ_fini(&env);
    return rc;
}

int pt_job_start(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec, struct pt_err *err)
{
    const struct pt_peer *peers[PT_SPREAD_MAX];
    *job = (struct pt_job){.child = {.output = -1}};
    int rc = a->sandbox && spec->nspread ? pt_err_set(err, "a group over several hosts has no network here")
                                         : find_peers(a, spec, peers, err);
    if (rc == 0)
        rc = start_mpirun(job, a, spec, peers, err);
    if (rc < 0)
        pt_job_fini(job);
    return rc;
}

/* --- orted --- */

/* The words of an mpirun elsewhere: what is a path of that host becomes ours. */
static int adopt(const struct pt_job *job, const char *orted, const char *rsh, char *const *words, size_t n,
                 struct pt_words *argv, struct pt_err *err)
{
    const char *const names[] = {"plm_rsh_agent", "orte_tmpdir_base", "btl_vader_backing_directory"};
    const char *const values[] = {rsh, job->session_dir, job->shm_dir};
    const char *slash = n ? strrchr(words[0], '/') : NULL;
    if (n == 0 || strcmp(slash ? slash + 1 : words[0], "orted") != 0)
        return pt_err_set(err, "only orted is started for other hosts, not '%.80s'", n ? words[0] : "");
    pt_words_add(argv, orted);
    for (size_t i = 1; i < n; i++) {
        const char *word = words[i];
        for (size_t k = 0; k < PT_COUNT(names); k++)
            if (strcmp(words[i - 1], names[k]) == 0)
                word = values[k];
        pt_words_add(argv, word);
    }
    return argv->bad ? pt_err_set(err, "out of memory") : 0;
}

static int start_orted(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec,
                       char *const *words, size_t nwords, struct pt_err *err)
{
    struct pt_words argv = {0};
    struct pt_environ env = {0};
    pt_auto_free char *rsh = pt_relays_rsh(a, err);
    pt_auto_free char *program = rsh ? pt_mpirun_find(&a->env, a->setup.mpirun, err) : NULL;
    pt_auto_free char *orted = program ? pt_mpirun_orted(program, err) : NULL;
    int rc = orted ? make_folders(job, a->dir, spec, "far", err) : -1;
    if (rc == 0)
        rc = adopt(job, orted, rsh, words, nwords, &argv, err);
    if (rc == 0)
        rc = make_environ(a, program, job, spec->launch->slots, &env, err);
    if (rc == 0) {
        pt_environ_set(&env, "OMPI_MCA_btl_vader_backing_directory", job->shm_dir);
        rc = env.bad ? pt_err_set(err, "out of memory") : start(job, a, orted, &argv, &env, true, err);
    }
    pt_words_fini(&argv);
    pt_environ_fini(&env);
    return rc;
}

int pt_job_start_orted(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec,
                       char *const *words, size_t nwords, struct pt_err *err)
{
    *job = (struct pt_job){.child = {.output = -1}};
    if (a->sandbox)
        return pt_err_set(err, "a group of another host has no network here");
    int rc = start_orted(job, a, spec, words, nwords, err);
    if (rc < 0)
        pt_job_fini(job);
    return rc;
}

void pt_job_fini(struct pt_job *job)
{
    pt_child_fini(&job->child);
    if (job->session_dir)
        pt_sweep_folder(job->session_dir, NULL);
    if (job->shm_dir)
        pt_sweep_folder(job->shm_dir, NULL);
    free(pt_steal_ptr(&job->session_dir));
    free(pt_steal_ptr(&job->shm_dir));
}
