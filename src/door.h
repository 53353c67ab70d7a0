/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The door of a run: a socket in STATE/doors, through which processes of the same user and machine ask its
 * master. One connection, one line with the question, one line with the answer. */
#include "common/wire.h"

struct pt_door;
struct pt_err;
struct pt_loop;

#define PT_DOOR_REQUEST (64u << 10)  /* bytes of a question, with its newline */
#define PT_DOOR_ANSWER  (128u << 10) /* and of an answer */
#define PT_DOOR_CALLERS 8            /* at once */
#define PT_DOOR_MS      10000        /* for a question to come and its answer to go */

/* text[0..n), with a NUL behind it, was asked: append the answer, one line without its newline. */
typedef void pt_door_fn(void *arg, const char *text, size_t n, struct pt_buf *answer);

/* What dead masters of this machine left is removed. -1 (NULL) with PT_ERR_INFRA, as where the folder's file
 * system has no sockets. */
struct pt_door *pt_door_create(struct pt_loop *loop, const char *state_dir, const char *run, pt_door_fn *fn,
                               void *arg, struct pt_err *err);
/* NULL is fine. */
void pt_door_destroy(struct pt_door *door);

/* From another process: blocks until the answer is there, wait_ms at most. Appends it with a NUL. -1 with
 * PT_ERR_INFRA. */
int pt_door_ask(const char *state_dir, const char *run, const void *question, size_t n, int wait_ms,
                struct pt_buf *answer, struct pt_err *err);
