/* SPDX-License-Identifier: Apache-2.0 */
/* The run's CA and its certificates; and how OpenSSL is started. */
#include "common/tls.h"

#include "common/err.h"
#include "common/tls_inside.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECURE    (1 << 20) /* bytes of memory that is neither swapped nor dumped, for private keys */
#define EARLY_DAY 86400L    /* certificates hold from a day before: the peer's clock may be behind */

/* The machine's openssl.cnf decides nothing here: whoever starts first without it keeps it out. */
static void start_openssl(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    CRYPTO_secure_malloc_init(SECURE, 32);
}

void pt_tls_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_openssl);
    ERR_clear_error();
}

int pt_tls_reason(struct pt_err *err, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    pt_err_set(err, "TLS: %s: %s", what, reason ? reason : "no reason given");
    ERR_clear_error();
    return -1;
}

bool pt_tls_is_name(const char *s, const char *more)
{
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    if (!s || !*s || strlen(s) > 128)
        return false;
    for (; *s; s++)
        if (!strchr(ok, *s) && !strchr(more, *s))
            return false;
    return true;
}

void pt_tls_uri(char out[PT_TLS_NAME_MAX], const char *run, const char *role)
{
    snprintf(out, PT_TLS_NAME_MAX, "ptremote:run/%s/%s", run, role);
}

struct pt_tls_ca {
    EVP_PKEY *key;
    X509 *cert;
    char *run;
    long seconds;
};

void pt_tls_identity_fini(struct pt_tls_identity *id)
{
    if (id->key_pem)
        OPENSSL_secure_clear_free(id->key_pem, strlen(id->key_pem)); /* whichever memory it is in */
    SSL_CTX_free(id->prepared);
    free(id->cert_pem);
    free(id->ca_pem);
    *id = (struct pt_tls_identity){0};
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    if (!ext)
        return -1;
    int ok = X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    return ok ? 0 : -1;
}

static int set_serial(X509 *cert)
{
    BIGNUM *n = BN_new();
    int ok = n && BN_rand(n, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
             BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok ? 0 : -1;
}

/* Everything but extensions and signature. */
static X509 *new_cert(EVP_PKEY *key, const char *common_name, const X509 *issuer, long seconds)
{
    X509 *cert = X509_new();
    if (!cert)
        return NULL;
    X509_NAME *name = X509_get_subject_name(cert);
    time_t now = time(NULL);
    int ok =
        X509_set_version(cert, X509_VERSION_3) && set_serial(cert) == 0 &&
        X509_time_adj(X509_getm_notBefore(cert), -EARLY_DAY, &now) &&
        X509_time_adj(X509_getm_notAfter(cert), seconds, &now) && X509_set_pubkey(cert, key) &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0) &&
        X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
    if (!ok) {
        X509_free(cert);
        return NULL;
    }
    return cert;
}

static int sign_ca(X509 *cert, EVP_PKEY *key)
{
    if (add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") < 0 ||
        add_extension(cert, cert, NID_key_usage, "critical,keyCertSign") < 0 ||
        add_extension(cert, cert, NID_subject_key_identifier, "hash") < 0)
        return -1;
    return X509_sign(cert, key, EVP_sha256()) ? 0 : -1;
}

struct pt_tls_ca *pt_tls_ca_create(const char *run, long seconds, struct pt_err *err)
{
    pt_tls_init();
    if (!pt_tls_is_name(run, "")) {
        pt_err_set(err, "TLS: the run's id is not a plain name");
        return NULL;
    }
    struct pt_tls_ca *ca = calloc(1, sizeof(*ca));
    if (!ca || !(ca->run = strdup(run)))
        goto error;
    ca->seconds = seconds;
    ca->key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    if (!ca->key || !(ca->cert = new_cert(ca->key, "ptremote run CA", NULL, seconds)) ||
        sign_ca(ca->cert, ca->key) < 0)
        goto error;
    return ca;
error:
    pt_tls_reason(err, "cannot make the run's CA");
    pt_tls_ca_destroy(ca);
    return NULL;
}

void pt_tls_ca_destroy(struct pt_tls_ca *ca)
{
    if (!ca)
        return;
    EVP_PKEY_free(ca->key);
    X509_free(ca->cert);
    free(ca->run);
    free(ca);
}

/* The text in `bio` as a string of its own. */
static char *bio_text(BIO *bio)
{
    char *data;
    long n = BIO_get_mem_data(bio, &data);
    return n > 0 ? strndup(data, (size_t)n) : NULL;
}

static char *cert_pem(X509 *cert)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text = bio && PEM_write_bio_X509(bio, cert) ? bio_text(bio) : NULL;
    BIO_free(bio);
    return text;
}

static char *key_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *data;
    long n = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
                 ? BIO_get_mem_data(bio, &data)
                 : 0;
    bool room = CRYPTO_secure_used() < SECURE / 2; /* OpenSSL needs some for every connection */
    char *text = n <= 0 ? NULL : room ? OPENSSL_secure_zalloc((size_t)n + 1) : calloc(1, (size_t)n + 1);
    if (text)
        memcpy(text, data, (size_t)n);
    BIO_free(bio);
    return text;
}

static int sign_leaf(const struct pt_tls_ca *ca, X509 *cert, const char *role)
{
    char uri[PT_TLS_NAME_MAX], san[PT_TLS_NAME_MAX + 8];
    pt_tls_uri(uri, ca->run, role);
    snprintf(san, sizeof(san), "URI:%s", uri);
    const char *usage = strcmp(role, "master") == 0 ? "serverAuth" : "clientAuth";
    if (add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") < 0 ||
        add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature") < 0 ||
        add_extension(cert, ca->cert, NID_ext_key_usage, usage) < 0 ||
        add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid") < 0 ||
        add_extension(cert, ca->cert, NID_subject_alt_name, san) < 0)
        return -1;
    return X509_sign(cert, ca->key, EVP_sha256()) ? 0 : -1;
}

int pt_tls_ca_issue(struct pt_tls_ca *ca, const char *role, struct pt_tls_identity *out, struct pt_err *err)
{
    pt_tls_init();
    *out = (struct pt_tls_identity){0};
    if (!pt_tls_is_name(role, "/"))
        return pt_err_set(err, "TLS: the role is not a plain name");
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    X509 *cert = key ? new_cert(key, "ptremote", ca->cert, ca->seconds) : NULL;
    if (cert && sign_leaf(ca, cert, role) == 0) {
        out->cert_pem = cert_pem(cert);
        out->key_pem = key_pem(key);
        out->ca_pem = cert_pem(ca->cert);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    if (out->cert_pem && out->key_pem && out->ca_pem)
        return 0;
    pt_tls_identity_fini(out);
    return pt_tls_reason(err, "cannot make a certificate");
}
