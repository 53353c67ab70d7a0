/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* An environment as a value: the login's, the suite's, the one mpirun gets. */
#include <stdbool.h>
#include <stddef.h>

/* v is NULL-terminated "NAME=VALUE" and may be given to execve. Zero-initialise; `bad` once memory ended. */
struct pt_environ {
    char **v;
    size_t n, cap;
    bool bad;
};

void pt_environ_fini(struct pt_environ *env);
/* Adds all of v (NULL-terminated); what is no NAME=VALUE is left out. */
void pt_environ_add(struct pt_environ *env, char *const *v);
void pt_environ_set(struct pt_environ *env, const char *name, const char *value);
/* NULL when there is none. Borrowed until the next change. */
const char *pt_environ_get(const struct pt_environ *env, const char *name);
/* Drops NAME, or with a '*' at the end every name that begins so. */
void pt_environ_unset(struct pt_environ *env, const char *name);

/* What a launcher of MPI programs leaves in a rank's environment: with it, a test that imports mpi4py would
 * be taken for a rank, and mpirun refuses to start. Settings of the user's own (OMPI_MCA_*) stay unless a
 * launcher was there. */
void pt_environ_unlaunch(struct pt_environ *env);
/* The rest that would change how mpirun works: every OMPI_*, and the batch systems' variables. */
void pt_environ_mpirun(struct pt_environ *env);
/* The file that `name` means: itself when it has a '/', else searched in env's PATH. Heap, NULL: not there.
 */
char *pt_environ_which(const struct pt_environ *env, const char *name);
