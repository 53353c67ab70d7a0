/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* TLS 1.3 with mutual certificates made fresh for every run. tls.c and tls_cert.c are the only OpenSSL users
 * besides sync/digest.c. No descriptors in here: bytes of the wire go in and out by buffers, the caller moves
 * them. */
#include "common/wire.h"

struct pt_err;
struct pt_tls_ca;
struct pt_tls;

/* Starts OpenSSL once, without the machine's openssl.cnf; empties the error queue of this thread. What is
 * below does so of its own accord; who has threads that use OpenSSL by other ways does it before making them:
 * secure memory is set up without a lock. */
void pt_tls_init(void);

/* One party's identity, as PEM: its certificate and key, and the CA to trust. Heap, owned by the holder. */
struct pt_tls_identity {
    char *cert_pem, *key_pem, *ca_pem;
    void *prepared; /* by pt_tls_prepare, or NULL */
};
/* Wipes the key. */
void pt_tls_identity_fini(struct pt_tls_identity *id);
/* Reading keys takes as long as a handshake: do it once for all connections that come to a server. */
int pt_tls_prepare(struct pt_tls_identity *id, struct pt_err *err);

/* A CA for one run, its key only in memory. `run` is the run's id (letters, digits, '.', '_', '-'); `seconds`
 * how long certificates hold. The master alone checks times: a host's clock may be wrong. */
struct pt_tls_ca *pt_tls_ca_create(const char *run, long seconds, struct pt_err *err);
void pt_tls_ca_destroy(struct pt_tls_ca *ca);
/* A certificate with the URI name "ptremote:run/RUN/ROLE"; ROLE is "master" or "host/N/worker". */
int pt_tls_ca_issue(struct pt_tls_ca *ca, const char *role, struct pt_tls_identity *out, struct pt_err *err);

/* One connection. `server` is 1 on the master. The peer must prove "ptremote:run/RUN/PEER_ROLE"; a NULL
 * peer_role takes any "host/N/worker" of the run (ask pt_tls_peer_host which). */
struct pt_tls *pt_tls_create(const struct pt_tls_identity *id, int server, const char *run,
                             const char *peer_role, struct pt_err *err);
void pt_tls_destroy(struct pt_tls *tls);

/* Wire bytes from the peer in; plain bytes appended to `plain`. -1 when the handshake or the connection
 * fails (err says why); 1 when the peer has closed properly; else 0. */
int pt_tls_feed(struct pt_tls *tls, const void *data, size_t n, struct pt_buf *plain, struct pt_err *err);
/* Encrypt n plain bytes; before the handshake is done they wait. -1 on failure. */
int pt_tls_send(struct pt_tls *tls, const void *data, size_t n, struct pt_err *err);
/* Say that no more is coming (close_notify). */
void pt_tls_close(struct pt_tls *tls);
/* Append to out the wire bytes that must go to the peer now. Call after every feed, send, close, create. */
void pt_tls_pull(struct pt_tls *tls, struct pt_buf *out);
/* True once the handshake is done and the peer's name was checked. */
bool pt_tls_established(const struct pt_tls *tls);
/* N of the peer's "host/N/worker", or -1. Valid once established. */
long pt_tls_peer_host(const struct pt_tls *tls);
