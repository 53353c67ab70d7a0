/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A result file that is there whole or not at all: written beside its path, then renamed. */
#include <stdio.h>

struct pt_err;

struct pt_atomic {
    FILE *file;
    char *path, *tmp; /* tmp NULL: path is no regular file (a pipe, /dev/stdout) and is written directly */
};

/* Makes the folders that are missing. On -1 there is nothing to end. */
int pt_atomic_init(struct pt_atomic *a, const char *path, struct pt_err *err);
/* Puts the file in its place. -1 when any write failed; then what was at path before is still there. */
int pt_atomic_finish(struct pt_atomic *a, struct pt_err *err);
/* Leaves path as it was. Nothing to do after finish. */
void pt_atomic_fini(struct pt_atomic *a);
