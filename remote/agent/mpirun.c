/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/mpirun.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/message.h"

#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* MPICH's and Intel's are called mpirun too, and know none of our options. */
static bool is_openmpi(const char *path)
{
    pt_auto_free char *real = realpath(path, NULL);
    const char *name = real ? strrchr(real, '/') + 1 : path;
    return !strstr(name, "hydra") && !strstr(name, "mpich") && !(real && strstr(real, "/intel/"));
}

static char *find_in_path(const struct pt_environ *env)
{
    static const char *const names[] = {"mpirun", "mpirun.openmpi", "orterun"};
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        char *path = pt_environ_which(env, names[i]);
        if (path && is_openmpi(path))
            return path;
        free(path);
    }
    return NULL;
}

/* Where distributions that keep it out of PATH have it. */
static char *find_in_folders(void)
{
    static const char *const patterns[] = {
        "/usr/lib64/openmpi/bin/mpirun",
        "/usr/lib/*-linux-gnu/openmpi/bin/mpirun",
        "/usr/lib64/mpi/gcc/openmpi*/bin/mpirun",
        "/usr/lib/openmpi/bin/mpirun",
        "/opt/openmpi*/bin/mpirun",
        "/opt/amazon/openmpi/bin/mpirun",
        "/usr/local/openmpi*/bin/mpirun",
        "/usr/local/bin/mpirun",
    };
    char *found = NULL;
    for (size_t i = 0; i < PT_COUNT(patterns) && !found; i++) {
        glob_t g;
        if (glob(patterns[i], 0, NULL, &g) == 0)
            for (size_t k = g.gl_pathc; k-- > 0 && !found;)
                if (access(g.gl_pathv[k], X_OK) == 0 && is_openmpi(g.gl_pathv[k]))
                    found = strdup(g.gl_pathv[k]);
        globfree(&g);
    }
    return found;
}

char *pt_mpirun_find(const struct pt_environ *env, const char *wanted, struct pt_err *err)
{
    char *found = wanted[0] ? pt_environ_which(env, wanted) : find_in_path(env);
    if (!found && !wanted[0])
        found = find_in_folders();
    if (found)
        return found;
    if (wanted[0]) {
        pt_err_set_kind(err, PT_ERR_INFRA, "no mpirun: --mpirun %s is not a program there", wanted);
        pt_err_hint(err, "give the path of Open MPI's mpirun on that host");
    } else {
        pt_err_set_kind(err, PT_ERR_INFRA, "no mpirun");
        pt_err_hint(err,
                    "apt-get install openmpi-bin (Debian) or dnf install openmpi, or name it with --mpirun");
    }
    return NULL;
}

/* This host alone, whatever batch system it belongs to; messages by shared memory; the launcher's own on the
 * loopback. */
static const struct {
    const char *name, *value;
} settings[] = {
    {"pml", "ob1"},
    {"btl", "self,vader"},
    {"plm", "isolated"},
    {"ras", "^slurm,tm,lsf,gridengine,loadleveler,alps"},
    {"orte_default_hostfile", "none"},
    {"oob_tcp_if_include", "lo"},
    {"oob_tcp_disable_ipv6_family", "1"},
};

static size_t put_setting(char **argv, const char *name, const char *value)
{
    argv[0] = (char *)"--mca";
    argv[1] = (char *)name;
    argv[2] = (char *)value;
    return 3;
}

void pt_mpirun_argv(const struct pt_mpirun *m, char *argv[PT_MPIRUN_ARGS], char numbers[4][16])
{
    const char *const first[] = {m->program, "-np", numbers[0], "--bind-to", "none", "--oversubscribe"};
    const char *const last[] = {m->worker,  "--run-dir", m->run_dir, "--host",
                                numbers[1], "--launch",  numbers[2]};
    const char *const group[] = {"--group", numbers[3]};
    _Static_assert(PT_COUNT(first) + 3 * PT_COUNT(settings) + 13 + PT_COUNT(last) + PT_COUNT(group) <
                       PT_MPIRUN_ARGS,
                   "room");
    bool member = m->group != PT_NONE;
    const uint32_t values[] = {m->ranks, m->host, m->launch, m->group};
    size_t n = PT_COUNT(first);
    for (size_t i = 0; i < PT_COUNT(values); i++)
        snprintf(numbers[i], sizeof(numbers[i]), "%u", values[i]);
    memcpy(argv, first, sizeof(first));
    for (size_t i = 0; i < PT_COUNT(settings); i++)
        n += put_setting(argv + n, settings[i].name, settings[i].value);
    n += put_setting(argv + n, "orte_tmpdir_base", m->session_dir);
    n += put_setting(argv + n, "btl_vader_backing_directory", m->shm_dir);
    if (member && m->yield)
        n += put_setting(argv + n, "mpi_yield_when_idle", "1");
    if (member) { /* after MPI_Abort they have twice this to tell what became of each */
        n += put_setting(argv + n, "odls_base_sigkill_timeout", "3");
        argv[n++] = (char *)"-quiet";
    }
    memcpy(argv + n, last, sizeof(last));
    n += PT_COUNT(last);
    if (member)
        memcpy(argv + n, group, sizeof(group));
    argv[n + (member ? PT_COUNT(group) : 0)] = NULL;
}

/* An mpirun that is not in a system folder has its libraries beside it, where the loader does not look. */
static void add_libraries(const char *program, struct pt_environ *env)
{
    static const char *const folders[] = {"lib", "lib64"};
    pt_auto_free char *real = realpath(program, NULL);
    char *bin = real ? strstr(real, "/bin/") : NULL;
    if (!bin || strncmp(real, "/usr/bin/", 9) == 0 || strncmp(real, "/bin/", 5) == 0)
        return;
    *bin = '\0';
    for (size_t i = 0; i < PT_COUNT(folders); i++) {
        const char *old = pt_environ_get(env, "LD_LIBRARY_PATH");
        pt_auto_free char *lib = NULL, *all = NULL;
        if (asprintf(&lib, "%s/%s/libmpi.so.40", real, folders[i]) < 0 || access(lib, R_OK) != 0)
            continue;
        *strrchr(lib, '/') = '\0';
        if (asprintf(&all, "%s%s%s", lib, old && *old ? ":" : "", old ? old : "") > 0)
            pt_environ_set(env, "LD_LIBRARY_PATH", all);
    }
}

void pt_mpirun_environ(const struct pt_mpirun *m, struct pt_environ *env)
{
    pt_environ_mpirun(env);
    add_libraries(m->program, env);
    pt_environ_set(env, "TMPDIR", m->session_dir);
    if (geteuid() == 0) {
        pt_environ_set(env, "OMPI_ALLOW_RUN_AS_ROOT", "1");
        pt_environ_set(env, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
}

void pt_mpirun_alone(const char *run_dir, const char *shm, struct pt_environ *env)
{
    const char *const names[] = {"OMPI_MCA_orte_tmpdir_base", "OMPI_MCA_btl_vader_backing_directory"};
    const char *const values[] = {run_dir, shm ? shm : run_dir};
    for (size_t i = 0; i < PT_COUNT(names); i++)
        if (!pt_environ_get(env, names[i]))
            pt_environ_set(env, names[i], values[i]);
}
