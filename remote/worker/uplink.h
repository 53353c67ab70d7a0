/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The link, seen from rank 0: from the agent's socket to frames of the master, over TLS. */
#include "remote/worker/conn.h"

struct pt_uplink;

struct pt_uplink_config {
    const char *run_dir;
    uint32_t host, launch, slots;
};

struct pt_uplink_callbacks {
    /* Once, before any frame: the master took us; `acked` is the last number it has of this launch. */
    void (*welcome)(void *arg, uint64_t acked);
    /* A whole frame, WELCOME and REFUSED excepted; its bytes are borrowed. Must not destroy the link. */
    void (*frame)(void *arg, struct pt_frame *frame);
    /* The last call, exactly once: the master closed the link (why is NULL), or it failed. */
    void (*closed)(void *arg, const char *why);
};

/* Connects to the agent; says HELLO with what the agent tells. Everything up to welcome has a deadline. */
struct pt_uplink *pt_uplink_create(struct pt_loop *loop, const struct pt_uplink_config *config,
                                   const struct pt_uplink_callbacks *cb, void *arg, struct pt_err *err);
void pt_uplink_destroy(struct pt_uplink *link);

/* What is said in one turn of the loop goes out together. */
void pt_uplink_send(struct pt_uplink *link, const void *frames, size_t n);
/* Bytes said and not yet taken by the socket. */
size_t pt_uplink_queued(const struct pt_uplink *link);
/* Say that no more is coming. */
void pt_uplink_close(struct pt_uplink *link);
