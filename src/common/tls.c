/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: handshake, the peer's name, bytes. */
#include "common/tls.h"

#include "common/err.h"
#include "common/tls_inside.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char CIPHERS[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/* N of "PREFIXhost/N/worker", decimal without leading zeros; -1 for anything else. */
static long parse_worker(const char *uri, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(uri, prefix, n) != 0 || strncmp(uri + n, "host/", 5) != 0)
        return -1;
    const char *digits = uri + n + 5;
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 9 || (digits[0] == '0' && count > 1) || strcmp(digits + count, "/worker") != 0)
        return -1;
    return strtol(digits, NULL, 10);
}

struct pt_tls {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    char *run, *role;
    char problem[PT_ERR_MAX]; /* why it failed; first filled by the check of the peer's name */
    struct pt_buf waiting;    /* sent before the handshake was done */
    long host;
    bool established, closing, peer_closed, failed;
};

/* No certificate of ours has a password: never ask the terminal for one. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return 0;
}

static int use_identity(SSL_CTX *ctx, const struct pt_tls_identity *id)
{
    BIO *cert_bio = BIO_new_mem_buf(id->cert_pem, -1), *key_bio = BIO_new_mem_buf(id->key_pem, -1),
        *ca_bio = BIO_new_mem_buf(id->ca_pem, -1);
    X509 *cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, no_password, NULL) : NULL;
    X509 *ca = ca_bio ? PEM_read_bio_X509(ca_bio, NULL, no_password, NULL) : NULL;
    EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, no_password, NULL) : NULL;
    int ok = cert && ca && key && SSL_CTX_use_certificate(ctx, cert) && SSL_CTX_use_PrivateKey(ctx, key) &&
             SSL_CTX_check_private_key(ctx) && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca);
    EVP_PKEY_free(key);
    X509_free(ca);
    X509_free(cert);
    BIO_free(ca_bio);
    BIO_free(key_bio);
    BIO_free(cert_bio);
    return ok ? 0 : -1;
}

/* The one URI name of a certificate; -1 when it has none, several, or other kinds of names. */
static int get_uri(X509 *cert, char out[PT_TLS_NAME_MAX])
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int rc = -1;
    if (names && sk_GENERAL_NAME_num(names) == 1 && sk_GENERAL_NAME_value(names, 0)->type == GEN_URI) {
        const ASN1_STRING *uri = sk_GENERAL_NAME_value(names, 0)->d.uniformResourceIdentifier;
        int n = ASN1_STRING_length(uri);
        const unsigned char *data = ASN1_STRING_get0_data(uri);
        if (n > 0 && n < PT_TLS_NAME_MAX && !memchr(data, 0, (size_t)n)) {
            memcpy(out, data, (size_t)n);
            out[n] = '\0';
            rc = 0;
        }
    }
    GENERAL_NAMES_free(names);
    return rc;
}

/* Fills tls->problem when the certificate is not the one that must be at the other end. */
static bool check_name(struct pt_tls *tls, X509 *cert)
{
    char uri[PT_TLS_NAME_MAX], prefix[PT_TLS_NAME_MAX], want[PT_TLS_NAME_MAX];
    if (!cert || get_uri(cert, uri) < 0) {
        snprintf(tls->problem, sizeof(tls->problem), "TLS: the peer's certificate names nobody");
        return false;
    }
    pt_tls_uri(prefix, tls->run, "");
    pt_tls_uri(want, tls->run, tls->role ? tls->role : "host/N/worker");
    tls->host = parse_worker(uri, prefix);
    if (tls->role ? strcmp(uri, want) == 0 : tls->host >= 0)
        return true;
    snprintf(tls->problem, sizeof(tls->problem), "TLS: the peer is %.300s, not %.300s", uri, want);
    return false;
}

static int verify(int chain_ok, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct pt_tls *tls = SSL_get_app_data(ssl);
    if (!chain_ok || X509_STORE_CTX_get_error_depth(store) != 0)
        return chain_ok;
    if (check_name(tls, X509_STORE_CTX_get_current_cert(store)))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* The worker's host may have a wrong clock, and the CA lives no longer than the run: only the master, whose
 * clock made the certificates, checks their times. */
static int configure(SSL_CTX *ctx, const struct pt_tls_identity *id, int server)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify);
    SSL_CTX_set_verify_depth(ctx, 1);
    if (!server)
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_NO_CHECK_TIME);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
                   SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
                   SSL_CTX_set_ciphersuites(ctx, CIPHERS) && SSL_CTX_set_num_tickets(ctx, 0) &&
                   use_identity(ctx, id) == 0
               ? 0
               : -1;
}

static SSL_CTX *new_context(const struct pt_tls_identity *id, int server)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    if (ctx && configure(ctx, id, server) == 0)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static SSL_CTX *get_context(const struct pt_tls_identity *id, int server)
{
    if (server && id->prepared && SSL_CTX_up_ref(id->prepared))
        return id->prepared;
    return new_context(id, server);
}

int pt_tls_prepare(struct pt_tls_identity *id, struct pt_err *err)
{
    pt_tls_init();
    if (!id->prepared)
        id->prepared = new_context(id, 1);
    return id->prepared ? 0 : pt_tls_reason(err, "cannot start");
}

static int create_ssl(struct pt_tls *tls, int server)
{
    tls->ssl = SSL_new(tls->ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !in || !out) {
        BIO_free(in);
        BIO_free(out);
        return -1;
    }
    SSL_set_bio(tls->ssl, in, out);
    tls->in = in;
    tls->out = out;
    SSL_set_app_data(tls->ssl, tls);
    if (server)
        SSL_set_accept_state(tls->ssl);
    else
        SSL_set_connect_state(tls->ssl);
    return 0;
}

struct pt_tls *pt_tls_create(const struct pt_tls_identity *id, int server, const char *run,
                             const char *peer_role, struct pt_err *err)
{
    pt_tls_init();
    if (!pt_tls_is_name(run, "") || (peer_role && !pt_tls_is_name(peer_role, "/")) || !id->cert_pem ||
        !id->key_pem || !id->ca_pem) {
        pt_err_set(err, "TLS: no run, role or certificate to start with");
        return NULL;
    }
    struct pt_tls *tls = calloc(1, sizeof(*tls));
    if (!tls || !(tls->run = strdup(run)) || (peer_role && !(tls->role = strdup(peer_role))))
        goto error;
    tls->host = -1;
    if (!(tls->ctx = get_context(id, server)) || create_ssl(tls, server) < 0)
        goto error;
    if (!server && SSL_do_handshake(tls->ssl) != 1 && !BIO_pending(tls->out))
        goto error;
    ERR_clear_error();
    return tls;
error:
    pt_tls_reason(err, "cannot start");
    pt_tls_destroy(tls);
    return NULL;
}

void pt_tls_destroy(struct pt_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->ctx);
    pt_buf_fini(&tls->waiting);
    free(tls->run);
    free(tls->role);
    free(tls);
}

/* Remember that the connection is dead, and why. */
static int fail(struct pt_tls *tls, const char *what, struct pt_err *err)
{
    struct pt_err reason = PT_ERR_INIT;
    long verdict = SSL_get_verify_result(tls->ssl);
    tls->failed = true;
    pt_tls_reason(&reason, what);
    if (!tls->established && verdict != X509_V_OK)
        pt_err_set(&reason, "TLS: the peer's certificate: %s", X509_verify_cert_error_string(verdict));
    if (!tls->problem[0])
        memcpy(tls->problem, reason.msg, sizeof(tls->problem));
    return pt_err_set(err, "%s", tls->problem);
}

static int write_plain(struct pt_tls *tls, const void *data, size_t n, struct pt_err *err)
{
    size_t done = 0;
    ERR_clear_error();
    if (n && (!SSL_write_ex(tls->ssl, data, n, &done) || done != n))
        return fail(tls, "cannot encrypt", err);
    return 0;
}

/* 1 when done, 0 when more bytes must come, -1 when it failed. */
static int shake_hands(struct pt_tls *tls, struct pt_err *err)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(tls->ssl);
    if (rc != 1)
        return SSL_get_error(tls->ssl, rc) == SSL_ERROR_WANT_READ ? 0 : fail(tls, "handshake", err);
    tls->established = true;
    rc = write_plain(tls, tls->waiting.data, tls->waiting.len, err);
    pt_buf_fini(&tls->waiting);
    if (rc == 0 && tls->closing)
        SSL_shutdown(tls->ssl);
    return rc < 0 ? -1 : 1;
}

/* 1 when the peer closed, 0 when all that came was read, -1 on failure. */
static int read_plain(struct pt_tls *tls, struct pt_buf *plain, struct pt_err *err)
{
    for (;;) {
        size_t got = 0;
        void *room = pt_buf_reserve(plain, SSL3_RT_MAX_PLAIN_LENGTH);
        if (!room)
            return pt_err_set(err, "TLS: out of memory");
        ERR_clear_error();
        int rc = SSL_read_ex(tls->ssl, room, SSL3_RT_MAX_PLAIN_LENGTH, &got);
        if (rc == 1) {
            plain->len += got;
            continue;
        }
        int why = SSL_get_error(tls->ssl, rc);
        if (why == SSL_ERROR_WANT_READ)
            return 0;
        return why == SSL_ERROR_ZERO_RETURN ? 1 : fail(tls, "connection", err);
    }
}

int pt_tls_feed(struct pt_tls *tls, const void *data, size_t n, struct pt_buf *plain, struct pt_err *err)
{
    if (tls->failed)
        return pt_err_set(err, "%s", tls->problem);
    if (tls->peer_closed)
        return 1;
    ERR_clear_error();
    size_t done = 0;
    if (n && (!BIO_write_ex(tls->in, data, n, &done) || done != n))
        return fail(tls, "cannot take bytes in", err);
    if (!tls->established) {
        int rc = shake_hands(tls, err);
        if (rc <= 0)
            return rc;
    }
    int rc = read_plain(tls, plain, err);
    tls->peer_closed = rc == 1;
    return rc;
}

int pt_tls_send(struct pt_tls *tls, const void *data, size_t n, struct pt_err *err)
{
    if (tls->failed)
        return pt_err_set(err, "%s", tls->problem);
    if (tls->closing)
        return pt_err_set(err, "TLS: closed on this side");
    if (tls->established)
        return write_plain(tls, data, n, err);
    pt_buf_append(&tls->waiting, data, n);
    return tls->waiting.bad ? pt_err_set(err, "TLS: out of memory") : 0;
}

void pt_tls_close(struct pt_tls *tls)
{
    if (tls->established && !tls->failed && !tls->closing)
        SSL_shutdown(tls->ssl);
    tls->closing = true;
    ERR_clear_error();
}

void pt_tls_pull(struct pt_tls *tls, struct pt_buf *out)
{
    char *data;
    long n = BIO_get_mem_data(tls->out, &data);
    if (n <= 0)
        return;
    pt_buf_append(out, data, (size_t)n);
    (void)BIO_reset(tls->out);
}

bool pt_tls_established(const struct pt_tls *tls)
{
    return tls->established;
}

long pt_tls_peer_host(const struct pt_tls *tls)
{
    return tls->established ? tls->host : -1;
}
