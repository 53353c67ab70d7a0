/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How fast the way to a host is, from markers (PINGs) between the bytes of the bulk stream: what was sent
 * between two of them reached the agent between their answers. A marker behind bytes that wait on the way is
 * late: then the way is what limits, if there always was something to send. Else the host is, or we are, and
 * the way could take more. No clock, no descriptors. */
#include <stdbool.h>
#include <stdint.h>

struct pt_rate {
    uint64_t rate;   /* bytes a second; 0: not known */
    bool measured;   /* on this connection */
    bool waiting;    /* a marker is under way */
    bool starved;    /* meanwhile there was a time with nothing to send */
    uint64_t token;  /* of the marker that was asked last */
    uint64_t marked; /* bytes sent before it */
    int64_t asked_ms, least_ms;
    uint64_t
        from; /* bytes sent before the marker that was answered last, or before there was nothing to send */
    int64_t from_ms;
};

/* A rate of an earlier connection, or 0. */
void pt_rate_init(struct pt_rate *r, uint64_t remembered);
/* Nothing waits to be sent now, `sent` bytes of bulk were given to the transport so far; `done`: there is no
 * more, so that the answer to a marker that is under way says nothing. */
void pt_rate_idle(struct pt_rate *r, uint64_t sent, int64_t now_ms, bool done);
/* True when a PING with r->token should follow now. `always`: to learn how long it takes behind nothing. */
bool pt_rate_ask(struct pt_rate *r, uint64_t sent, int64_t now_ms, bool always);
/* A PONG with that token came; tokens of others do not count. */
void pt_rate_answer(struct pt_rate *r, uint64_t token, int64_t now_ms);
/* The level of zstd that is worth its time, 0: none. It is spent once for all `lanes` that send the same. */
int pt_rate_level(const struct pt_rate *r, unsigned lanes);
