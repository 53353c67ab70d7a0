/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/environ.h"

#include "common/auto.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void pt_environ_fini(struct pt_environ *env)
{
    for (size_t i = 0; i < env->n; i++)
        free(env->v[i]);
    free(env->v);
    *env = (struct pt_environ){0};
}

static size_t find(const struct pt_environ *env, const char *name, size_t len)
{
    size_t i = 0;
    while (i < env->n && (strncmp(env->v[i], name, len) != 0 || env->v[i][len] != '='))
        i++;
    return i;
}

static void put(struct pt_environ *env, char *entry, size_t name_len)
{
    size_t at = entry ? find(env, entry, name_len) : 0;
    if (entry && at == env->n && env->n + 2 > env->cap) {
        size_t cap = env->cap ? env->cap * 2 : 64;
        char **v = realloc(env->v, cap * sizeof(*v));
        if (v) {
            env->v = v;
            env->cap = cap;
        } else {
            free(pt_steal_ptr(&entry));
        }
    }
    if (!entry) {
        env->bad = true;
    } else if (at < env->n) {
        free(env->v[at]);
        env->v[at] = entry;
    } else {
        env->v[env->n++] = entry;
        env->v[env->n] = NULL;
    }
}

void pt_environ_add(struct pt_environ *env, char *const *v)
{
    for (; v && *v; v++) {
        const char *eq = strchr(*v, '=');
        if (eq && eq != *v)
            put(env, strdup(*v), (size_t)(eq - *v));
    }
}

void pt_environ_set(struct pt_environ *env, const char *name, const char *value)
{
    char *entry;
    if (asprintf(&entry, "%s=%s", name, value) < 0)
        entry = NULL;
    put(env, entry, strlen(name));
}

const char *pt_environ_get(const struct pt_environ *env, const char *name)
{
    size_t at = find(env, name, strlen(name));
    return at < env->n ? env->v[at] + strlen(name) + 1 : NULL;
}

void pt_environ_unset(struct pt_environ *env, const char *name)
{
    size_t len = strlen(name), kept = 0;
    bool prefix = len && name[len - 1] == '*';
    len -= prefix;
    for (size_t i = 0; i < env->n; i++) {
        if (strncmp(env->v[i], name, len) == 0 && (prefix || env->v[i][len] == '='))
            free(env->v[i]);
        else
            env->v[kept++] = env->v[i];
    }
    env->n = kept;
    if (env->v)
        env->v[kept] = NULL;
}

static void unset_all(struct pt_environ *env, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pt_environ_unset(env, names[i]);
}

void pt_environ_unlaunch(struct pt_environ *env)
{
    static const char *const always[] = {
        "OMPI_COMM_WORLD_*", "OMPI_UNIVERSE_*", "OMPI_APP_*", "OMPI_NUM_*", "OMPI_FILE_*", "OMPI_FIRST_*",
        "OMPI_COMMAND",      "OMPI_ARGV",       "PMIX_*",     "PMI_*",      "ORTE_*",      "PRTE_*",
        "HYDRA_*",           "HYDI_*",          "MPI_LOCAL*", "PTREMOTE_*", "OPAL_USER_*", "OPAL_LIBDIR",
        "OPAL_PROC_*",
    };
    bool launched = pt_environ_get(env, "OMPI_UNIVERSE_SIZE") || pt_environ_get(env, "OMPI_COMM_WORLD_SIZE");
    if (launched)
        pt_environ_unset(env, "OMPI_*");
    unset_all(env, always, PT_COUNT(always));
}

void pt_environ_mpirun(struct pt_environ *env)
{
    static const char *const names[] = {
        "OMPI_*", "PMIX_*", "PMI_*",  "ORTE_*", "PRTE_*", "SLURM_*",     "SBATCH_*", "SRUN_*",
        "PBS_*",  "LSB_*",  "LSF_*",  "LOADL*", "FLUX_*", "PE_HOSTFILE", "SGE_*",    "COBALT_*",
        "ALPS_*", "JOB_ID", "NSLOTS", "QUEUE",  "PALS_*", "HYDRA_*",     "BASIL_*",  "PTREMOTE_*",
    };
    unset_all(env, names, PT_COUNT(names));
}

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *pt_environ_which(const struct pt_environ *env, const char *name)
{
    if (strchr(name, '/'))
        return is_program(name) ? strdup(name) : NULL;
    const char *p = pt_environ_get(env, "PATH");
    if (!p)
        p = "/usr/local/bin:/usr/bin:/bin";
    for (size_t len; *name; p += len + 1) {
        len = strcspn(p, ":");
        char *path = NULL;
        if (len && asprintf(&path, "%.*s/%s", (int)len, p, name) > 0 && is_program(path))
            return path;
        free(path);
        if (!p[len])
            break;
    }
    return NULL;
}
