/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a collector is asked while it is the plugins' controller: lines on a socket, kept for the next one as
 * long as it may have to start anew. */
#include "common/wire.h"

struct pt_err;
struct pt_loop;

struct pt_ask {
    struct pt_loop *loop;
    int fd;             /* -1: nobody listens now */
    struct pt_buf line; /* everything since the last pt_ask_forget */
    size_t sent;
    bool waiting; /* for room */
};

void pt_ask_init(struct pt_ask *a, struct pt_loop *loop);
void pt_ask_fini(struct pt_ask *a);
/* A collector starts: all is asked again. Gives the end that it inherits, or -1. */
int pt_ask_open(struct pt_ask *a, struct pt_err *err);
void pt_ask_close(struct pt_ask *a);
/* One line without its end. -1 when memory ends. */
int pt_ask_put(struct pt_ask *a, const void *line, size_t n);
/* No collector will start anew: what was sent need not be kept. */
void pt_ask_forget(struct pt_ask *a);
