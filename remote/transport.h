/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The way there: open a connection to a host, run one command on it, move its bytes, close. Two ways exist,
 * ssh.c and local.c. One transport belongs to one thread. */
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct pt_err;
struct pt_transport;

/* Where to. All strings are borrowed for the call. */
struct pt_target {
    const char *name; /* as the user wrote it, for messages */
    const char *user; /* NULL: from the client configuration, else the login name */
    const char *host; /* name, address or alias of the client configuration */
    int port;         /* 0: from the client configuration, else 22 */
    bool local;       /* this machine, without ssh */
};

enum pt_host_key { PT_HOST_KEY_STRICT, PT_HOST_KEY_ACCEPT_NEW };

/* How. Shared by all lanes, unchanged while any transport is open. */
struct pt_transport_options {
    const char *ssh_config; /* NULL: the user's ~/.ssh/config and the system's */
    enum pt_host_key host_key;
    int step_ms; /* deadline of each step of connecting (TCP, key exchange, each authentication) */
    /* Ask the person at the terminal; fills answer (size bytes, NUL-terminated), -1 when nobody can be
     * asked or they gave up. Called by lane threads, one at a time. NULL: nobody can be asked. */
    int (*ask)(void *arg, const char *host, const char *prompt, bool echo, char *answer, size_t size);
    void *arg;
    const atomic_int *cancel; /* becomes non-zero: give up soon (within 1 s) */
};

struct pt_transport_ops {
    /* Start the one command. Its stdin and stdout are the byte stream. */
    int (*exec)(struct pt_transport *t, const char *command, struct pt_err *err);
    /* As read(2) on a non-blocking descriptor: >0 bytes, 0 the end, -1 with errno (EAGAIN: later). */
    ssize_t (*read)(struct pt_transport *t, void *buf, size_t n);
    /* The same for the command's stderr. */
    ssize_t (*read_err)(struct pt_transport *t, void *buf, size_t n);
    /* As write(2) on a non-blocking descriptor: may take less than n; -1 with EAGAIN: later. */
    ssize_t (*write)(struct pt_transport *t, const void *buf, size_t n);
    /* Wait until reading (or, with want_write, writing) may go on, one of fds is ready, or timeout_ms
     * passed (-1: no limit). Sets revents of fds. 0, or -1 with err when the connection is gone. */
    int (*wait)(struct pt_transport *t, struct pollfd *fds, size_t nfds, bool want_write, int timeout_ms,
                struct pt_err *err);
    /* Wait status (as wait(2)) of the command once it has ended, -1 when unknown. */
    int (*status)(struct pt_transport *t);
    /* Why the connection ended, when read gave 0 or -1; "" when it simply closed. Valid until close. */
    const char *(*why)(struct pt_transport *t);
    void (*close)(struct pt_transport *t);
};

/* First member of every transport. */
struct pt_transport {
    const struct pt_transport_ops *ops;
};

/* Blocking; err.msg is one line with the reason, err.hint the user's next step. NULL on failure. */
struct pt_transport *pt_ssh_open(const struct pt_target *target, const struct pt_transport_options *options,
                                 struct pt_err *err);
struct pt_transport *pt_local_open(const struct pt_target *target, const struct pt_transport_options *options,
                                   struct pt_err *err);
