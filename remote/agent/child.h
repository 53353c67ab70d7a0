/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A program that the agent starts: as a login would (signals, limits), with only the descriptors it is given.
 */
#include "common/wire.h"

#include <sys/types.h>

struct pt_err;
struct pt_loop;

#define PT_CHILD_TAIL (64u << 10) /* bytes of its last output that are kept */

struct pt_child_spec {
    const char *path;
    char *const *argv;
    char *const *env;
    const char *cwd;
    int in;     /* its stdin, or -1: /dev/null */
    int out;    /* its stdout, or -1: kept with stderr in the tail */
    int fds[4]; /* more, given as 3, 4, ... */
    size_t nfds;
    int death_signal; /* when the agent dies, or 0 */
    /* NULL, or called in the child last of all: 0 in the process that becomes the program, -1 with errno. */
    int (*between)(const void *arg);
    const void *between_arg;
};

struct pt_child {
    struct pt_loop *loop;
    pid_t pid; /* 0 once it was reaped, and before */
    int output;
    struct pt_buf tail;
};

/* Once, before any child: this process's own limits and signals, as children shall have them. */
void pt_child_origin(void);
/* For a forked child that does not exec: back to the login's signals and limits; ends with the agent. */
void pt_child_detach(void);
/* Close every descriptor from `first` on. */
void pt_child_close_from(int first);

/* -1 when it could not be started: err says why (a missing program, no permission). */
int pt_child_start(struct pt_child *child, struct pt_loop *loop, const struct pt_child_spec *spec,
                   struct pt_err *err);
/* What is still in its pipe is taken to the tail, and the pipe closed. */
void pt_child_drain(struct pt_child *child);
/* The last `most` bytes of its output as one line: line ends, tabs and NULs are blanks. Until it is drained
 * again. */
const char *pt_child_said(struct pt_child *child, size_t most);
/* drain, and forget all. Does not kill. */
void pt_child_fini(struct pt_child *child);
