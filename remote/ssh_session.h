/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One authenticated libssh session, shared by the files that use libssh: ssh.c (the transport),
 * ssh_connect.c, ssh_auth.c and ssh_jump.c. A session belongs to one thread at a time and is never in
 * blocking mode. */
#include "remote/sshask.h"
#include "remote/sshconfig.h"
#include "remote/sshdial.h"
#include "remote/transport.h"

#include <libssh/libssh.h>
#include <poll.h>

struct pt_jump;

/* Where a session goes, and how it gets there. */
struct pt_ssh_where {
    const char *name; /* for messages */
    const char *user; /* or NULL */
    const char *host;
    int port; /* or 0 */
    const char
        *via;     /* the jump hosts before it, as ProxyJump writes them; NULL: what its configuration says */
    bool is_jump; /* it is itself on the way to another */
};

struct pt_ssh {
    ssh_session session;
    ssh_event event; /* holds the session once it is authenticated */
    const struct pt_transport_options *options;
    struct pt_sshconfig conf;
    struct pt_asker asker;
    char *name;
    char *command; /* the same connection by hand, for hints */
    struct pt_jump *jump;
    bool tcp; /* not through a jump host: TCP options make sense */
};

/* --- ssh_connect.c --- */

/* Connected, host key checked, authenticated; NULL with err. Blocking. */
struct pt_ssh *pt_ssh_connect(const struct pt_ssh_where *where, const struct pt_transport_options *options,
                              struct pt_err *err);
void pt_ssh_destroy(struct pt_ssh *s);

/* A call that gives `again` while it has to wait. 0 with its result in *rc, -1 with err after the step's
 * time, or cancelled. `what` names the step. */
typedef int pt_ssh_call(struct pt_ssh *s, void *arg);
int pt_ssh_step(struct pt_ssh *s, pt_ssh_call *call, void *arg, int again, int ms, const char *what, int *rc,
                struct pt_err *err);
/* What libssh says went wrong, in words for a user. */
const char *pt_ssh_reason(struct pt_ssh *s);
/* What to poll(2) for before sleeping. Has what came in acknowledged at once: Nagle's algorithm at the server
 * holds small packets back until then, up to 40 ms each. */
struct pollfd pt_ssh_pollfd(struct pt_ssh *s);
/* Let libssh read and write what it can without waiting. -1 when the connection is gone. */
int pt_ssh_pump(struct pt_ssh *s);

/* --- ssh_auth.c --- */
int pt_ssh_auth(struct pt_ssh *s, struct pt_err *err);

/* --- ssh_jump.c --- */

/* A connection to the last host of `chain` (ProxyJump's text), shared by all that use the same chain. */
struct pt_jump *pt_jump_get(const char *chain, const struct pt_transport_options *options,
                            struct pt_err *err);
/* A descriptor whose bytes go to host:port from there; -1 with err. */
int pt_jump_dial(struct pt_jump *jump, const char *host, int port, const struct pt_limit *limit,
                 struct pt_err *err);
/* NULL is fine. The last one closes the connection. */
void pt_jump_put(struct pt_jump *jump);
/* Why it ended, "" while it stands. */
void pt_jump_why(struct pt_jump *jump, char *out, size_t size);
