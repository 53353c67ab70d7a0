/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: reach paths beneath a folder, part by part, without ever following a link. */
#include "sync/manifest.h"

#include <sys/stat.h>

#define PT_BENEATH_LEVELS 16

struct pt_beneath {
    int root; /* borrowed */
    unsigned depth;
    int fds[PT_BENEATH_LEVELS];     /* the folders on the way to the one last reached */
    size_t ends[PT_BENEATH_LEVELS]; /* where the name of each ends in `at` */
    char at[PT_PATH_LIMIT];
};

#define PT_BENEATH(root_fd) ((struct pt_beneath){.root = (root_fd)})

void pt_beneath_fini(struct pt_beneath *b);
/* Forget the folders last reached: they may have been removed. */
void pt_beneath_forget(struct pt_beneath *b);
/* Descriptor of the folder that `path` lies in, good until the next call, and the last part of path in *name;
 * -1 with errno. Fails on absolute paths, "..", and links on the way. */
int pt_beneath_parent(struct pt_beneath *b, const char *path, const char **name);
/* lstat(2) of a path beneath. */
int pt_beneath_stat(struct pt_beneath *b, const char *path, struct stat *st);

/* Empty the folder `dir` of whatever lies in it, however deep, its own modes no matter; others may remove
 * what is in it meanwhile. -1 with errno. */
int pt_purge(int dir);
