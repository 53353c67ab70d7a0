/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A worker's TLS connection to the master, on the run's loop, whichever way its bytes come: through the
 * agent and the lane, or directly. */
#include "common/message.h"
#include "common/tls.h"

struct pt_err;
struct pt_link;
struct pt_loop;

/* What a worker says of itself, proven by its certificate. */
struct pt_hello {
    uint32_t host, launch, slots;
    uint64_t got;   /* messages it has taken in this launch, as GOT tells them */
    uint64_t acked; /* of its own, those that were acknowledged */
};

struct pt_link_callbacks {
    /* HELLO came from who the certificate says; answer with pt_link_welcome or pt_link_refuse. */
    void (*hello)(void *arg, struct pt_link *link, const struct pt_hello *hello);
    /* Any later message; body is its fields. -1 ends the link with err as the reason. */
    int (*message)(void *arg, struct pt_link *link, uint8_t type, struct pt_reader *body, struct pt_err *err);
    /* The link is gone; why is "" after a proper end. Last call; the link is destroyed after it. */
    void (*closed)(void *arg, struct pt_link *link, const char *why);
};

/* Takes fd over. `host` is who must be there, or -1 for any host of the run. */
struct pt_link *pt_link_create(struct pt_loop *loop, int fd, const struct pt_tls_identity *id,
                               const char *run, long host, const struct pt_link_callbacks *cb, void *arg,
                               struct pt_err *err);
/* Close without a word; closed is not called. NULL is fine. */
void pt_link_destroy(struct pt_link *link);
void pt_link_welcome(struct pt_link *link, uint64_t acked);
void pt_link_refuse(struct pt_link *link, const char *reason);
/* Queue one whole frame (or several). */
void pt_link_send(struct pt_link *link, const struct pt_buf *frames);
/* What is queued goes out, then the link closes. */
void pt_link_finish(struct pt_link *link);
