/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

void pt_buf_fini(struct pt_buf *b)
{
    free(b->data);
    *b = (struct pt_buf){0};
}

void pt_buf_clear(struct pt_buf *b)
{
    b->len = 0;
    b->bad = false;
}

void *pt_buf_reserve(struct pt_buf *b, size_t n)
{
    if (b->bad || n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) {
        b->bad = true;
        return NULL;
    }
    if (!b->data || b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap - b->len < n)
            cap *= 2;
        unsigned char *data = realloc(b->data, cap);
        if (!data) {
            b->bad = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void pt_buf_append(struct pt_buf *b, const void *data, size_t n)
{
    if (!n)
        return;
    void *p = pt_buf_reserve(b, n);
    if (!p)
        return;
    memcpy(p, data, n);
    b->len += n;
}

void pt_buf_consume(struct pt_buf *b, size_t n)
{
    if (n > b->len)
        n = b->len;
    b->len -= n;
    if (b->len)
        memmove(b->data, b->data + n, b->len);
}

void pt_put_u8(struct pt_buf *b, uint8_t v)
{
    pt_buf_append(b, &v, 1);
}

void pt_put_u32(struct pt_buf *b, uint32_t v)
{
    unsigned char raw[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16), (unsigned char)(v >> 8),
                            (unsigned char)v};
    pt_buf_append(b, raw, sizeof(raw));
}

void pt_put_u64(struct pt_buf *b, uint64_t v)
{
    pt_put_u32(b, (uint32_t)(v >> 32));
    pt_put_u32(b, (uint32_t)v);
}

void pt_put_bytes(struct pt_buf *b, const void *data, size_t n)
{
    if (n > UINT32_MAX) {
        b->bad = true;
        return;
    }
    pt_put_u32(b, (uint32_t)n);
    pt_buf_append(b, data, n);
}

void pt_put_str(struct pt_buf *b, const char *s)
{
    pt_put_bytes(b, s, s ? strlen(s) : 0);
}

void pt_set_u32(struct pt_buf *b, size_t at, uint32_t v)
{
    if (b->bad || b->len < 4 || at > b->len - 4) {
        b->bad = true;
        return;
    }
    for (int i = 0; i < 4; i++)
        b->data[at + (size_t)i] = (unsigned char)(v >> (24 - 8 * i));
}

const void *pt_get_raw(struct pt_reader *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = true;
        return NULL;
    }
    const void *p = r->p;
    r->p += n;
    r->left -= n;
    return p;
}

uint8_t pt_get_u8(struct pt_reader *r)
{
    const unsigned char *p = pt_get_raw(r, 1);
    return p ? p[0] : 0;
}

uint32_t pt_get_u32(struct pt_reader *r)
{
    const unsigned char *p = pt_get_raw(r, 4);
    return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}

uint64_t pt_get_u64(struct pt_reader *r)
{
    uint64_t high = pt_get_u32(r);
    return high << 32 | pt_get_u32(r);
}

const void *pt_get_bytes(struct pt_reader *r, size_t *n)
{
    *n = 0;
    uint32_t len = pt_get_u32(r);
    const void *p = pt_get_raw(r, len);
    if (p)
        *n = len;
    return p;
}

char *pt_get_str(struct pt_reader *r, size_t max)
{
    size_t n;
    const void *p = pt_get_bytes(r, &n);
    if (!p)
        return NULL;
    if (n > max || memchr(p, 0, n)) {
        r->bad = true;
        return NULL;
    }
    char *s = malloc(n + 1);
    if (!s) {
        r->bad = true;
        return NULL;
    }
    memcpy(s, p, n);
    s[n] = '\0';
    return s;
}

bool pt_get_end(struct pt_reader *r)
{
    return !r->bad && r->left == 0;
}

size_t pt_frame_begin(struct pt_buf *b, uint8_t type)
{
    size_t mark = b->len;
    pt_put_u32(b, 0);
    pt_put_u8(b, type);
    return mark;
}

void pt_frame_end(struct pt_buf *b, size_t mark)
{
    if (b->bad || b->len < mark + PT_FRAME_HEAD || b->len - mark - 4 > PT_FRAME_MAX) {
        b->bad = true;
        return;
    }
    pt_set_u32(b, mark, (uint32_t)(b->len - mark - 4));
}

int pt_frame_next(const void *data, size_t len, size_t max, uint8_t *type, struct pt_reader *body,
                  size_t *total)
{
    struct pt_reader r = {.p = data, .left = len};
    uint32_t n = pt_get_u32(&r);
    if (r.bad)
        return 0;
    if (n == 0 || n > max)
        return -1;
    if (r.left < n)
        return 0;
    *type = pt_get_u8(&r);
    *body = (struct pt_reader){.p = r.p, .left = n - 1};
    *total = 4 + (size_t)n;
    return 1;
}
