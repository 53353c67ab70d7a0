/* SPDX-License-Identifier: Apache-2.0 */
#include "common/quote.h"

#include "common/wire.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

void pt_quote_sh(struct pt_buf *out, const char *s)
{
    pt_buf_append(out, "'", 1);
    for (; *s; s++) {
        if (*s == '\'')
            pt_buf_append(out, "'\\''", 4);
        else
            pt_buf_append(out, s, 1);
    }
    pt_buf_append(out, "'", 1);
}

char *pt_quoted(const char *s, bool bare)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+:,./-";
    struct pt_buf b = {0};
    if (bare && *s && *s != '-' && !s[strspn(s, plain)])
        return strdup(s);
    pt_quote_sh(&b, s);
    pt_buf_append(&b, "", 1);
    if (!b.bad)
        return (char *)b.data;
    pt_buf_fini(&b);
    return NULL;
}

char *pt_quote_nuls(const void *bytes, size_t n)
{
    const char *from = bytes, *nul;
    struct pt_buf b = {0};
    for (; (nul = memchr(from, 0, n)); from = nul + 1) {
        pt_buf_append(&b, from, (size_t)(nul - from));
        pt_buf_append(&b, "\\x00", 4);
        n -= (size_t)(nul - from) + 1;
    }
    pt_buf_append(&b, from, n);
    pt_buf_append(&b, "", 1);
    if (!b.bad)
        return (char *)b.data;
    pt_buf_fini(&b);
    return NULL;
}

size_t pt_utf8_next(const void *text, size_t n, uint32_t *cp)
{
    const unsigned char *s = text;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80                   ? 1
                 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                                               : 0;
    if (len == 0 || len > n)
        return 0;
    *cp = len == 1 ? s[0] : s[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *cp = *cp << 6 | (s[i] & 0x3fu);
    }
    if (*cp < least[len] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
        return 0;
    return len;
}

bool pt_utf8_valid(const void *text, size_t n)
{
    uint32_t cp;
    size_t len = 1;
    for (const char *s = text; n && len; s += len, n -= len)
        len = pt_utf8_next(s, n, &cp);
    return len > 0;
}

/* What a terminal obeys, or what hides or turns text. */
static bool hidden(uint32_t cp)
{
    static const struct {
        uint32_t from, to;
    } ranges[] = {{0, 0x1f},        {0x7f, 0x9f},     {0xad, 0xad},      {0x61c, 0x61c},
                  {0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},  {0x2060, 0x206f},
                  {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f}};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && cp >= ranges[i].from; i++)
        if (cp <= ranges[i].to)
            return true;
    return false;
}

/* What stands for the character at p[0..n), n > 0: `esc`, or itself where esc is "". How many bytes it has.
 */
static size_t show(const char *p, size_t n, bool lines, char esc[16])
{
    uint32_t cp = 0;
    size_t len = pt_utf8_next(p, n, &cp);
    esc[0] = '\0';
    if (len == 0)
        snprintf(esc, 16, "\\x%02x", (unsigned char)*p);
    else if (hidden(cp) && !(lines && (cp == '\n' || cp == '\t')))
        snprintf(esc, 16, cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x", cp);
    return len ? len : 1;
}

void pt_quote_print(struct pt_buf *out, const char *s, size_t n, int lines)
{
    char esc[16];
    while (n) {
        size_t len = show(s, n, lines, esc);
        if (esc[0])
            pt_buf_append(out, esc, strlen(esc));
        else
            pt_buf_append(out, s, len);
        s += len;
        n -= len;
    }
}

void pt_quote_fit(char *out, size_t size, const char *s)
{
    char esc[16];
    size_t used = 0;
    for (size_t n = strlen(s); n;) {
        size_t len = show(s, n, false, esc);
        const char *shown = esc[0] ? esc : s;
        size_t room = esc[0] ? strlen(esc) : len;
        if (room >= size - used)
            break;
        memcpy(out + used, shown, room);
        used += room;
        s += len;
        n -= len;
    }
    out[used] = '\0';
}
