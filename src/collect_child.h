/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* COLLECT: the process of a collector here: a Python in a process group of its own, a file with all that it
 * writes to stdout and stderr, and a folder of its own for Open MPI. */
#include <stdint.h>
#include <sys/types.h>

struct pt_err;

#define PT_NO_PYTEST 97 /* its exit status when this Python has no pytest, or there is none */

struct pt_collect_child {
    pid_t pid;  /* 0: none */
    int pidfd;  /* readable when it ended; -1 where the system has none */
    int output; /* memfd, kept after its end; -1: none */
    char *folder;
};

struct pt_collect_child_spec {
    const char *python, *package, *hash_seed;
    int orders, out, ask; /* descriptors for it; they stay the caller's */
};

#define PT_COLLECT_CHILD_INIT ((struct pt_collect_child){.pidfd = -1, .output = -1})

/* Start it in the current working directory. -1 and err; nothing runs then. */
int pt_collect_child_start(struct pt_collect_child *c, const struct pt_collect_child_spec *spec,
                           struct pt_err *err);
/* Wait for its end; its status as of wait(2), 0 when none ran. What it left behind in its group, and its
 * folder, go with it. */
int pt_collect_child_reap(struct pt_collect_child *c);
/* The last 64 KiB that it wrote (heap), or NULL when memory ends. */
char *pt_collect_child_said(const struct pt_collect_child *c);
/* Close the pidfd, after it was taken out of any loop. */
void pt_collect_child_unwatch(struct pt_collect_child *c);
/* Kills it and forgets all. */
void pt_collect_child_fini(struct pt_collect_child *c);
