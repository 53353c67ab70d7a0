/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/mpirun.h"

#include "common/auto.h"
#include "common/err.h"
#include "remote/agent/peers.h"

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

struct setting {
    const char *name, *value;
};

/* Whatever batch system a host belongs to; no other messages than we choose; segments that are files. Trying
 * the other kinds of segments would leave one behind when a process is killed meanwhile. */
static const struct setting settings[] = {
    {"pml", "ob1"},
    {"shmem", "mmap"},
    {"ras", "^slurm,tm,lsf,gridengine,loadleveler,alps"},
    {"orte_default_hostfile", "none"},
    {"oob_tcp_disable_ipv6_family", "1"},
};

/* This host alone: messages by shared memory; the launcher's own on the loopback. */
static const struct setting alone[] = {
    {"btl", "self,vader"},
    {"plm", "isolated"},
    {"oob_tcp_if_include", "lo"},
};

/* Every other host's daemon is started by us, by none of them, and stays below who started it. */
static const struct setting across[] = {
    {"btl", "self,vader,tcp"},       {"plm", "rsh"},
    {"plm_rsh_no_tree_spawn", "1"},  {"orte_leave_session_attached", "1"},
    {"btl_tcp_disable_family", "6"},
};

static void put_all(struct pt_words *argv, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pt_words_add(argv, words[i]);
}

static void put_setting(struct pt_words *argv, const char *name, const char *value)
{
    const char *const words[] = {"--mca", name, value};
    put_all(argv, words, PT_COUNT(words));
}

static void put_settings(struct pt_words *argv, const struct setting *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_setting(argv, list[i].name, list[i].value);
}

static void put_number(struct pt_words *argv, const char *name, uint32_t value)
{
    pt_words_add(argv, name);
    pt_words_addf(argv, "%u", value);
}

static void put_worker(struct pt_words *argv, const char *worker, const char *run_dir, uint32_t host,
                       uint32_t launch)
{
    const char *const words[] = {worker, "--run-dir", run_dir};
    put_all(argv, words, PT_COUNT(words));
    put_number(argv, "--host", host);
    put_number(argv, "--launch", launch);
}

/* One host's ranks of a group. Where its segments are is known to that host only: the other agents say it to
 * their daemons' environment. */
static void put_share(struct pt_words *argv, const struct pt_mpirun *m, size_t i)
{
    const struct pt_peer *peer = m->peers[i];
    const char *run_dir = i ? peer->run_dir : m->run_dir;
    const char *const folder[] = {"--wdir", run_dir};
    char address[16];
    if (i > 0)
        pt_words_add(argv, ":");
    pt_words_add(argv, "--host");
    pt_words_addf(argv, "%s:%u", pt_peers_address(peer->address.address, address), m->shares[i].ranks);
    put_number(argv, "-np", m->shares[i].ranks);
    put_all(argv, folder, PT_COUNT(folder));
    if (i == 0) {
        pt_words_add(argv, "-x");
        pt_words_addf(argv, "OMPI_MCA_btl_vader_backing_directory=%s", m->shm_dir);
    }
    put_worker(argv, i ? peer->worker : m->worker, run_dir, peer->host, i ? peer->launch : m->launch);
    put_number(argv, "--group", m->group);
    if (i > 0)
        put_number(argv, "--far", m->host);
}

/* The folders of a daemon are those of its TMPDIR. */
static void put_across(struct pt_words *argv, const struct pt_mpirun *m)
{
    pt_auto_free char *networks = pt_peers_networks(m->peers, m->n);
    pt_words_add(argv, "--noprefix");
    put_settings(argv, across, PT_COUNT(across));
    put_setting(argv, "plm_rsh_agent", m->rsh);
    put_setting(argv, "oob_tcp_if_include", networks ? networks : "");
    put_setting(argv, "btl_tcp_if_include", networks ? networks : "");
    argv->bad |= !networks;
}

static void put_alone(struct pt_words *argv, const struct pt_mpirun *m)
{
    put_number(argv, "-np", m->ranks);
    put_settings(argv, alone, PT_COUNT(alone));
    put_setting(argv, "orte_tmpdir_base", m->session_dir);
    put_setting(argv, "btl_vader_backing_directory", m->shm_dir);
}

void pt_mpirun_argv(const struct pt_mpirun *m, struct pt_words *argv)
{
    const char *const first[] = {m->program, "--bind-to", "none", "--oversubscribe"};
    bool member = m->group != PT_NONE;
    put_all(argv, first, PT_COUNT(first));
    put_settings(argv, settings, PT_COUNT(settings));
    if (m->n > 0)
        put_across(argv, m);
    else
        put_alone(argv, m);
    if (member && m->yield)
        put_setting(argv, "mpi_yield_when_idle", "1");
    if (member) { /* after MPI_Abort they have twice this to tell what became of each */
        put_setting(argv, "odls_base_sigkill_timeout", "3");
        pt_words_add(argv, "-quiet");
    }
    for (size_t i = 0; i < m->n; i++)
        put_share(argv, m, i);
    if (m->n > 0)
        return;
    put_worker(argv, m->worker, m->run_dir, m->host, m->launch);
    if (member)
        put_number(argv, "--group", m->group);
}

char *pt_mpirun_orted(const char *program, struct pt_err *err)
{
    pt_auto_free char *real = realpath(program, NULL);
    const char *const programs[] = {program, real};
    for (size_t i = 0; i < PT_COUNT(programs) && programs[i]; i++) {
        const char *slash = strrchr(programs[i], '/');
        char *path = NULL;
        if (asprintf(&path, "%.*s/orted", slash ? (int)(slash - programs[i]) : 1, slash ? programs[i] : ".") <
            0)
            path = NULL;
        if (path && access(path, X_OK) == 0)
            return path;
        free(path);
    }
    pt_err_set_kind(err, PT_ERR_INFRA, "no orted beside %s", program);
    return NULL;
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

void pt_mpirun_environ(const char *program, const char *session_dir, struct pt_environ *env)
{
    pt_environ_mpirun(env);
    add_libraries(program, env);
    pt_environ_set(env, "TMPDIR", session_dir);
    if (geteuid() == 0) {
        pt_environ_set(env, "OMPI_ALLOW_RUN_AS_ROOT", "1");
        pt_environ_set(env, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    }
}

void pt_mpirun_alone(const char *run_dir, const char *shm, struct pt_environ *env)
{
    const char *const names[] = {"OMPI_MCA_orte_tmpdir_base", "OMPI_MCA_btl_vader_backing_directory",
                                 "OMPI_MCA_shmem"};
    const char *const values[] = {run_dir, shm ? shm : run_dir, "mmap"};
    for (size_t i = 0; i < PT_COUNT(names); i++)
        if (!pt_environ_get(env, names[i]))
            pt_environ_set(env, names[i], values[i]);
}
