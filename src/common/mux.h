/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Several byte streams over one (the exec channel), each with a credit of its own, so that bulk data never
 * delays reports and a slow reader stops only its own stream. Pure: bytes in, bytes out, no descriptors.
 * The wire is in docs/protocol.md, "Streams". */
#include "common/wire.h"

struct pt_err;
struct pt_mux;

/* Bytes of a frame before its data: u8 kind, u32 stream, u32 length (DATA), credit (CREDIT), stream kind
 * (OPEN) or 0 (CLOSE). */
#define PT_MUX_HEAD 9

#define PT_MUX_CONTROL     0u           /* open from the start, both ways: control messages */
#define PT_MUX_BULK        1u           /* open from the start, master to agent: programs and archives */
#define PT_MUX_FIRST       16u          /* ids from here on are opened by the agent */
#define PT_MUX_WINDOW      (1u << 20)   /* first credit of every stream, in bytes, each way */
#define PT_MUX_BULK_WINDOW (4u << 20)   /* that of the bulk stream */
#define PT_MUX_CHUNK       (256u << 10) /* most bytes in one DATA frame */
#define PT_MUX_STREAMS     1024         /* most streams open at once */

enum pt_mux_kind {
    PT_MUX_KIND_LINK = 1,    /* carries the TLS bytes of one worker connection */
    PT_MUX_KIND_COLLECT = 2, /* carries what the collector on the host says */
    PT_MUX_KIND_RELAY = 3,   /* between two agents, by the master; message_across.h has how it begins */
};

/* All called from pt_mux_feed, in wire order; arg first. None may call pt_mux_feed or destroy the mux. */
struct pt_mux_callbacks {
    void (*opened)(void *arg, uint32_t stream, uint8_t kind);
    /* n bytes came, in pieces as the peer's bytes come; give the room back with pt_mux_credit once they are
     * used up. */
    void (*data)(void *arg, uint32_t stream, const void *data, size_t n);
    void (*closed)(void *arg, uint32_t stream); /* last call for that stream's incoming side, exactly once */
};

struct pt_mux *pt_mux_create(const struct pt_mux_callbacks *cb, void *arg, struct pt_err *err);
void pt_mux_destroy(struct pt_mux *mux);

/* Bytes from the peer. -1 on a violation (unknown kind, overrun credit, too many streams): give up the
 * connection. */
int pt_mux_feed(struct pt_mux *mux, const void *data, size_t n, struct pt_err *err);
/* The peer may send n more bytes on stream. */
void pt_mux_credit(struct pt_mux *mux, uint32_t stream, size_t n);
/* Open stream id (agent only). -1 when it is open already or memory ends. */
int pt_mux_open(struct pt_mux *mux, uint32_t stream, uint8_t kind);
/* Queue n bytes; always takes all of them. -1 when the stream is not open or memory ends. */
int pt_mux_send(struct pt_mux *mux, uint32_t stream, const void *data, size_t n);
/* What is queued on stream, to append to it without a copy; good until the next call. NULL when the stream is
 * not open. */
struct pt_buf *pt_mux_queue(struct pt_mux *mux, uint32_t stream);
/* Bytes queued on stream and not yet pulled: the sender's own measure of when to wait. */
size_t pt_mux_queued(const struct pt_mux *mux, uint32_t stream);
/* Bytes pulled from stream since it was opened; whether more wait for the peer's credit. */
uint64_t pt_mux_pulled(const struct pt_mux *mux, uint32_t stream);
bool pt_mux_stalled(const struct pt_mux *mux, uint32_t stream);
/* No more bytes will be sent on stream: CLOSE follows what is queued. */
void pt_mux_close(struct pt_mux *mux, uint32_t stream);

/* What should go to the peer now: at least one frame when credit allows, at most about `max` bytes; control
 * and links before bulk. Appends to out. */
void pt_mux_pull(struct pt_mux *mux, struct pt_buf *out, size_t max);
/* True when pull would give something. */
bool pt_mux_ready(const struct pt_mux *mux);
