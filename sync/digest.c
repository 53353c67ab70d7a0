/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/digest.h"

#include "common/auto.h"
#include "common/err.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define READ_SIZE (128u << 10)

struct pt_digest {
    EVP_MD_CTX *ctx;
    const EVP_MD *md;
    bool bad;
    unsigned char buffer[READ_SIZE];
};

static pthread_once_t started = PTHREAD_ONCE_INIT;
static EVP_MD *blake2b, *sha256;

static void start(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    blake2b = EVP_MD_fetch(NULL, "BLAKE2B-512", NULL);
    sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
}

struct pt_digest *pt_digest_create(enum pt_digest_algorithm algorithm, struct pt_err *err)
{
    pthread_once(&started, start);
    const EVP_MD *md = algorithm == PT_DIGEST_BLAKE2B  ? blake2b
                       : algorithm == PT_DIGEST_SHA256 ? sha256
                                                       : NULL;
    if (!md) {
        pt_err_set(err, "digest algorithm %d is not available", (int)algorithm);
        return NULL;
    }
    struct pt_digest *d = calloc(1, sizeof(*d));
    if (!d || !(d->ctx = EVP_MD_CTX_new()) || EVP_DigestInit_ex2(d->ctx, md, NULL) != 1) {
        pt_err_set(err, "cannot start a digest: out of memory");
        pt_digest_destroy(d);
        return NULL;
    }
    d->md = md;
    return d;
}

void pt_digest_destroy(struct pt_digest *d)
{
    if (!d)
        return;
    int saved = errno;
    EVP_MD_CTX_free(d->ctx);
    free(d);
    errno = saved;
}

void pt_digest_add(struct pt_digest *d, const void *data, size_t n)
{
    if (n && EVP_DigestUpdate(d->ctx, data, n) != 1)
        d->bad = true;
}

int pt_digest_end(struct pt_digest *d, unsigned char out[PT_DIGEST])
{
    unsigned char full[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(d->ctx, full, &n) != 1 || n < PT_DIGEST)
        d->bad = true;
    bool bad = d->bad;
    d->bad = EVP_DigestInit_ex2(d->ctx, d->md, NULL) != 1;
    memcpy(out, full, PT_DIGEST);
    return bad ? -1 : 0;
}

int pt_digest_buffer(enum pt_digest_algorithm algorithm, const void *data, size_t n,
                     unsigned char out[PT_DIGEST], struct pt_err *err)
{
    struct pt_digest *d = pt_digest_create(algorithm, err);
    if (!d)
        return -1;
    pt_digest_add(d, data, n);
    int rc = pt_digest_end(d, out);
    pt_digest_destroy(d);
    return rc < 0 ? pt_err_set(err, "digest failed") : 0;
}

int pt_digest_fd(struct pt_digest *d, int fd, unsigned char out[PT_DIGEST], uint64_t *size)
{
    uint64_t total = 0;
    ssize_t n;
    while ((n = read(fd, d->buffer, sizeof(d->buffer))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        pt_digest_add(d, d->buffer, (size_t)n);
        total += (uint64_t)n;
    }
    int saved = n < 0 ? errno : EIO;
    if (size)
        *size = total;
    int rc = pt_digest_end(d, out);
    errno = saved;
    return n < 0 ? -1 : rc;
}

int pt_digest_file(enum pt_digest_algorithm algorithm, const char *path, unsigned char out[PT_DIGEST],
                   struct pt_err *err)
{
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return pt_err_set(err, "%s: %s", path, strerror(errno));
    struct pt_digest *d = pt_digest_create(algorithm, err);
    if (!d)
        return -1;
    int rc = pt_digest_fd(d, fd, out, NULL);
    pt_digest_destroy(d);
    return rc < 0 ? pt_err_set(err, "%s: %s", path, strerror(errno)) : 0;
}

void pt_digest_hex(const unsigned char digest[PT_DIGEST], char out[PT_DIGEST_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < PT_DIGEST; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
    out[2 * PT_DIGEST] = '\0';
}
