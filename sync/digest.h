/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Digests of 32 bytes: BLAKE2b-512 cut to 32, and SHA-256. The only OpenSSL user besides common/tls.c; never
 * reads the host's openssl.cnf. */
#include <stddef.h>
#include <stdint.h>

struct pt_err;
struct pt_digest;

#define PT_DIGEST     32
#define PT_DIGEST_HEX (2 * PT_DIGEST + 1)

enum pt_digest_algorithm { PT_DIGEST_BLAKE2B = 1, PT_DIGEST_SHA256 = 2 };

/* One running digest, to be used again and again by one thread. */
struct pt_digest *pt_digest_create(enum pt_digest_algorithm algorithm, struct pt_err *err);
/* NULL is fine; keeps errno. */
void pt_digest_destroy(struct pt_digest *d);
void pt_digest_add(struct pt_digest *d, const void *data, size_t n);
/* The digest of all that was added since the last end; starts over. -1 when the library failed meanwhile. */
int pt_digest_end(struct pt_digest *d, unsigned char out[PT_DIGEST]);

/* Of a buffer; 0 or -1. */
int pt_digest_buffer(enum pt_digest_algorithm algorithm, const void *data, size_t n,
                     unsigned char out[PT_DIGEST], struct pt_err *err);
/* Of a file's content; 0 or -1 (err names the path). */
int pt_digest_file(enum pt_digest_algorithm algorithm, const char *path, unsigned char out[PT_DIGEST],
                   struct pt_err *err);
/* Of what is left to read from fd; *size (may be NULL) is how much that was. -1 with errno. */
int pt_digest_fd(struct pt_digest *d, int fd, unsigned char out[PT_DIGEST], uint64_t *size);

/* 64 small hex digits and a NUL. */
void pt_digest_hex(const unsigned char digest[PT_DIGEST], char out[PT_DIGEST_HEX]);
