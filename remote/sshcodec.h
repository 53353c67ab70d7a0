/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The few encodings that files of OpenSSH need: base64, SHA-1 and its HMAC (hashed host names), patterns. */
#include <stdbool.h>
#include <stddef.h>

#define PT_SHA1_SIZE 20

/* Decode n characters of base64 (padding as in RFC 4648, no white space) into out, which has room for
 * n / 4 * 3 bytes. Number of bytes, or -1 when text is not base64. */
long pt_base64_decode(const char *text, size_t n, unsigned char *out);
/* NUL-terminated; out has room for (n + 2) / 3 * 4 + 1 bytes. */
void pt_base64_encode(const void *data, size_t n, char *out);

void pt_sha1(const void *data, size_t n, unsigned char out[PT_SHA1_SIZE]);
/* keys of at most 64 bytes */
void pt_hmac_sha1(const void *key, size_t key_len, const void *data, size_t n,
                  unsigned char out[PT_SHA1_SIZE]);

/* '*' and '?' stand for any characters and any one character. */
bool pt_pattern_match(const char *text, const char *pattern, bool fold_case);
/* A comma separated list in which !PATTERN refuses: 1 matched, 0 not, -1 refused. */
int pt_pattern_list(const char *text, const char *list, bool fold_case);
