/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The link, seen from rank 0: from the agent's socket to frames of the master, over TLS. */
#include "remote/worker/conn.h"

struct pt_uplink;

struct pt_uplink_config {
    const char *run_dir;
    uint32_t host, launch, slots;
    uint64_t got;     /* messages taken of this launch, on links before */
    uint64_t acked;   /* of this launch's own: the last that was acknowledged */
    uint32_t wait_ms; /* for the keys: a link that comes again; 0: the first */
};

struct pt_uplink_callbacks {
    /* Once, before any frame: the master took us; `acked` is the last number it has of this launch. */
    void (*welcome)(void *arg, uint64_t acked);
    /* A whole frame, WELCOME and REFUSED excepted; its bytes are borrowed. Must not destroy the link. */
    void (*frame)(void *arg, struct pt_frame *frame);
    /* The last call, exactly once: the master closed the link (why is NULL), or it failed. Must not destroy
     * it. */
    void (*closed)(void *arg, const char *why);
    /* Some of what was said may have gone out. */
    void (*sent)(void *arg);
};

/* Connects to the agent; says HELLO with what the agent tells. Everything up to welcome has a deadline. */
struct pt_uplink *pt_uplink_create(struct pt_loop *loop, const struct pt_uplink_config *config,
                                   const struct pt_uplink_callbacks *cb, void *arg, struct pt_err *err);
void pt_uplink_destroy(struct pt_uplink *link);

/* What is said in one turn of the loop goes out together. */
void pt_uplink_send(struct pt_uplink *link, const void *frames, size_t n);
/* Bytes said and not yet taken by the socket. */
size_t pt_uplink_queued(const struct pt_uplink *link);
/* How long this run goes on without a master, in ms; 0: not at all, or not known yet. */
uint32_t pt_uplink_linger(const struct pt_uplink *link);
/* It is closed, and there will be no other: the agent gave no keys, or the master does not want us. */
bool pt_uplink_final(const struct pt_uplink *link);
/* Say that no more is coming. */
void pt_uplink_close(struct pt_uplink *link);
