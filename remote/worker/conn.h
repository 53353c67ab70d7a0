/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Frames over a local stream socket, on a loop: hub and rank, rank and runner, rank and fork server. */
#include "common/wire.h"

struct pt_conn;
struct pt_err;
struct pt_loop;

struct pt_frame {
    uint8_t type;
    struct pt_reader body; /* its fields */
    const unsigned char *data;
    size_t len; /* data[0..len) is all of it, with the head */
};

/* Both may destroy the connection. */
struct pt_conn_callbacks {
    /* A whole frame; its bytes are borrowed. */
    void (*frame)(void *arg, struct pt_frame *frame);
    /* The other end is gone, or sent what is no frame; exactly once, and nothing comes after it. */
    void (*closed)(void *arg, const char *why);
    /* May be NULL: some of what was queued has gone out. */
    void (*sent)(void *arg);
};

/* Takes fd over (closed on failure too). Frames above `max` are refused. */
struct pt_conn *pt_conn_create(struct pt_loop *loop, int fd, size_t max, const struct pt_conn_callbacks *cb,
                               void *arg, struct pt_err *err);
/* Closes the socket; what is queued is lost. */
void pt_conn_destroy(struct pt_conn *conn);

/* Queue whole frames; always takes them. What cannot be sent is noticed as `closed`. */
void pt_conn_send(struct pt_conn *conn, const void *frames, size_t n);
/* As the first thing on a connection: frames with descriptors. -1 with errno. */
int pt_conn_send_fds(struct pt_conn *conn, const void *frames, size_t n, const int *fds, int nfds);
/* Hold back what is queued from now on, or send it all. */
void pt_conn_cork(struct pt_conn *conn, bool cork);
/* Bytes queued and not sent yet. */
size_t pt_conn_queued(const struct pt_conn *conn);
/* Stop reading, or go on. */
void pt_conn_pause(struct pt_conn *conn, bool pause);
/* Read what is there now, at most about `max` bytes, paused or not, calling frame and closed. */
void pt_conn_drain(struct pt_conn *conn, size_t max);
/* The n latest descriptors that came along; the caller owns them. -1 when there are not n. */
int pt_conn_take_fds(struct pt_conn *conn, int *fds, int n);
