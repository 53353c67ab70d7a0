/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/sshcodec.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit(char c)
{
    const char *p = c ? strchr(digits, c) : NULL;
    return p ? (int)(p - digits) : -1;
}

long pt_base64_decode(const char *text, size_t n, unsigned char *out)
{
    if (n == 0 || n % 4 != 0)
        return -1;
    size_t pad = (text[n - 1] == '=') + (text[n - 1] == '=' && text[n - 2] == '=');
    long len = 0;
    for (size_t i = 0; i < n; i += 4) {
        size_t have = i + 4 == n ? 4 - pad : 4;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k < have ? digit(text[i + k]) : 0;
            if (d < 0)
                return -1;
            v = v << 6 | (uint32_t)d;
        }
        for (size_t k = 0; k + 1 < have; k++)
            out[len++] = (unsigned char)(v >> (16 - 8 * k));
    }
    return len;
}

void pt_base64_encode(const void *data, size_t n, char *out)
{
    const unsigned char *p = data;
    for (; n; p += 3) {
        size_t have = n < 3 ? n : 3;
        uint32_t v = (uint32_t)p[0] << 16 | (have > 1 ? (uint32_t)p[1] << 8 : 0) | (have > 2 ? p[2] : 0);
        for (size_t k = 0; k < 4; k++)
            *out++ = k <= have ? digits[v >> (18 - 6 * k) & 63] : '=';
        n -= have;
    }
    *out = '\0';
}

/* --- SHA-1 (FIPS 180-4): only for names that OpenSSH hashed, nothing rests on its strength --- */

static uint32_t rotate(uint32_t v, unsigned n)
{
    return v << n | v >> (32 - n);
}

static void sha1_block(uint32_t h[5], const unsigned char *p)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (size_t i = 0; i < 16; i++, p += 4)
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    for (size_t i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (size_t i = 0; i < 80; i++) {
        uint32_t f = i < 20              ? (b & c) | (~b & d)
                     : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d)
                                         : b ^ c ^ d;
        static const uint32_t k[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
        uint32_t t = rotate(a, 5) + f + e + k[i / 20] + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void pt_sha1(const void *data, size_t n, unsigned char out[PT_SHA1_SIZE])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    const unsigned char *p = data;
    uint64_t bits = (uint64_t)n * 8;
    for (; n >= 64; n -= 64, p += 64)
        sha1_block(h, p);
    unsigned char last[128] = {0};
    if (n)
        memcpy(last, p, n);
    last[n] = 0x80;
    size_t end = n < 56 ? 64 : 128;
    for (size_t i = 0; i < 8; i++)
        last[end - 1 - i] = (unsigned char)(bits >> (8 * i));
    for (size_t at = 0; at < end; at += 64)
        sha1_block(h, last + at);
    for (size_t i = 0; i < PT_SHA1_SIZE; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void pt_hmac_sha1(const void *key, size_t key_len, const void *data, size_t n,
                  unsigned char out[PT_SHA1_SIZE])
{
    unsigned char inner[64 + 1024], outer[64 + PT_SHA1_SIZE];
    if (key_len > 64 || n > sizeof(inner) - 64) {
        memset(out, 0, PT_SHA1_SIZE);
        return;
    }
    memset(inner, 0x36, 64);
    memset(outer, 0x5c, 64);
    for (size_t i = 0; i < key_len; i++) {
        inner[i] ^= ((const unsigned char *)key)[i];
        outer[i] ^= ((const unsigned char *)key)[i];
    }
    memcpy(inner + 64, data, n);
    pt_sha1(inner, 64 + n, outer + 64);
    pt_sha1(outer, sizeof(outer), out);
}

/* --- patterns --- */

static bool same(char a, char b, bool fold_case)
{
    return fold_case ? tolower((unsigned char)a) == tolower((unsigned char)b) : a == b;
}

static bool match(const char *text, const char *pattern, size_t len, bool fold_case)
{
    const char *end = pattern + len, *star = NULL, *resume = NULL;
    while (*text) {
        if (pattern < end && *pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (pattern < end && (*pattern == '?' || same(*pattern, *text, fold_case))) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (pattern < end && *pattern == '*')
        pattern++;
    return pattern == end;
}

bool pt_pattern_match(const char *text, const char *pattern, bool fold_case)
{
    return match(text, pattern, strlen(pattern), fold_case);
}

int pt_pattern_list(const char *text, const char *list, bool fold_case)
{
    int got = 0;
    while (*list) {
        size_t n = strcspn(list, ",");
        bool negated = *list == '!';
        if (n > negated && match(text, list + negated, n - negated, fold_case)) {
            if (negated)
                return -1;
            got = 1;
        }
        list += n + (list[n] == ',');
    }
    return got;
}
