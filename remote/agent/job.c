/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/job.h"

#include "common/auto.h"
#include "remote/agent/guard.h"
#include "remote/agent/kit.h"
#include "remote/agent/mpirun.h"
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
                        struct pt_err *err)
{
    const char *base = dir->path;
    struct statvfs vfs;
    char name[32];
    if (dir->shm && statvfs(dir->shm, &vfs) == 0 &&
        (unsigned long long)vfs.f_bavail * vfs.f_frsize > spec->ranks * SEGMENT)
        base = dir->shm;
    snprintf(name, sizeof(name), spec->group == PT_NONE ? "%u" : "%u.%u", spec->launch->launch, spec->serial);
    if (asprintf(&job->session_dir, "%s/mpi%s", dir->path, name) < 0 ||
        asprintf(&job->shm_dir, "%s/seg%s", base, name) < 0)
        return pt_err_set(err, "out of memory");
    if ((mkdir(job->session_dir, 0700) < 0 && errno != EEXIST) ||
        (mkdir(job->shm_dir, 0700) < 0 && errno != EEXIST))
        return pt_err_set_kind(err, PT_ERR_INFRA, "cannot make folders in %s: %s", base, strerror(errno));
    return 0;
}

static int make_environ(const struct pt_agent *a, const struct pt_mpirun *m, uint32_t slots,
                        struct pt_environ *env, struct pt_err *err)
{
    pt_auto_free char *cwd = NULL;
    char text[16];
    if (asprintf(&cwd, "%s%s%s", a->workspace, a->setup.cwd[0] ? "/" : "", a->setup.cwd) < 0)
        return pt_err_set(err, "out of memory");
    snprintf(text, sizeof(text), "%u", slots);
    pt_environ_add(env, a->env.v);
    pt_mpirun_environ(m, env);
    pt_environ_set(env, "PTREMOTE_WORKSPACE", a->workspace);
    pt_environ_set(env, "PTREMOTE_CWD", cwd);
    pt_environ_set(env, "PTREMOTE_SLOTS", text);
    pt_environ_set(env, "PTREMOTE_RUN", a->setup.run);
    return env->bad ? pt_err_set(err, "out of memory") : 0;
}

static int start(struct pt_job *job, struct pt_agent *a, const struct pt_mpirun *m, uint32_t slots,
                 struct pt_err *err)
{
    struct pt_environ env = {0};
    char *argv[PT_MPIRUN_ARGS], numbers[4][16];
    struct pt_guard guard = {.folders = {job->session_dir, job->shm_dir}, .grace_ms = GRACE_MS};
    int rc = make_environ(a, m, slots, &env, err);
    pt_mpirun_argv(m, argv, numbers);
    struct pt_child_spec spec = {
        .path = m->program, .argv = argv, .env = env.v, .cwd = a->dir->path, .in = -1, .out = -1};
    spec.death_signal = SIGTERM;
    if (m->group != PT_NONE) {
        spec.between = pt_guard_fork;
        spec.between_arg = &guard;
    }
    if (rc == 0)
        rc = pt_child_start(&job->child, a->loop, &spec, err);
    pt_environ_fini(&env);
    return rc;
}

int pt_job_start(struct pt_job *job, struct pt_agent *a, const struct pt_job_spec *spec, struct pt_err *err)
{
    *job = (struct pt_job){.child = {.output = -1}};
    struct pt_mpirun m = {.run_dir = a->dir->path,
                          .ranks = spec->ranks,
                          .host = a->setup.host,
                          .launch = spec->launch->launch,
                          .group = spec->group,
                          .yield = spec->yield};
    pt_auto_free char *program = pt_mpirun_find(&a->env, a->setup.mpirun, err);
    pt_auto_free char *worker = program ? pt_kit_worker(a->kit, program, err) : NULL;
    if (!worker || make_folders(job, a->dir, spec, err) < 0) {
        pt_job_fini(job);
        return -1;
    }
    m.program = program;
    m.worker = worker;
    m.session_dir = job->session_dir;
    m.shm_dir = job->shm_dir;
    int rc = start(job, a, &m, spec->launch->slots, err);
    if (rc < 0)
        pt_job_fini(job);
    return rc;
}

void pt_job_fini(struct pt_job *job)
{
    pt_child_fini(&job->child);
    if (job->session_dir)
        pt_sweep_folder(job->session_dir);
    if (job->shm_dir)
        pt_sweep_folder(job->shm_dir);
    free(pt_steal_ptr(&job->session_dir));
    free(pt_steal_ptr(&job->shm_dir));
}
