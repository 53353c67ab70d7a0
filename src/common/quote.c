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

static int hidden(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x061c || (cp >= 0x200b && cp <= 0x200f) ||
           (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2060 && cp <= 0x206f) || cp == 0xfeff;
}

void pt_quote_print(struct pt_buf *out, const char *s, size_t n, int lines)
{
    const unsigned char *p = (const unsigned char *)s;
    char esc[16];
    while (n) {
        uint32_t cp = 0;
        size_t len = pt_utf8_next(p, n, &cp);
        if (len == 0) {
            snprintf(esc, sizeof(esc), "\\x%02x", p[0]);
            pt_buf_append(out, esc, strlen(esc));
            len = 1;
        } else if (lines && (cp == '\n' || cp == '\t')) {
            pt_buf_append(out, p, 1);
        } else if (hidden(cp)) {
            snprintf(esc, sizeof(esc), cp < 0x100 ? "\\x%02x" : "\\u%04x", cp);
            pt_buf_append(out, esc, strlen(esc));
        } else {
            pt_buf_append(out, p, len);
        }
        p += len;
        n -= len;
    }
}
