/* SPDX-License-Identifier: Apache-2.0 */
#include "output/text.h"

#include "common/auto.h"
#include "common/quote.h"

#include <string.h>

static const struct {
    unsigned style;
    const char *code;
} codes[] = {{PT_RED, "\033[31m"},
             {PT_GREEN, "\033[32m"},
             {PT_YELLOW, "\033[33m"},
             {PT_CYAN, "\033[36m"},
             {PT_BOLD, "\033[1m"}};

static void put(struct pt_buf *out, const char *s)
{
    pt_buf_append(out, s, strlen(s));
}

static void put_codes(struct pt_buf *out, bool color, unsigned style)
{
    for (size_t i = 0; color && i < PT_COUNT(codes); i++)
        if (style & codes[i].style)
            put(out, codes[i].code);
}

void pt_text_style(struct pt_buf *out, bool color, unsigned style, const char *s, size_t n)
{
    put_codes(out, color, style);
    pt_quote_print(out, s, n, 0);
    if (color && style)
        put(out, "\033[0m");
}

static void flush(const struct pt_text *t, struct pt_buf *b)
{
    if (b->bad)
        fputs("(out of memory)", t->out);
    else if (b->len)
        fwrite(b->data, 1, b->len, t->out);
    pt_buf_fini(b);
}

void pt_text_putn(const struct pt_text *t, unsigned style, const char *s, size_t n)
{
    struct pt_buf b = {0};
    pt_text_style(&b, t->color, style, s, n);
    flush(t, &b);
}

void pt_text_put(const struct pt_text *t, unsigned style, const char *s)
{
    pt_text_putn(t, style, s, strlen(s));
}

void pt_text_lines(const struct pt_text *t, const char *s)
{
    while (*s) {
        size_t n = strcspn(s, "\n");
        struct pt_buf b = {0};
        bool marked = n >= 2 && s[0] == 'E' && s[1] == ' ';
        put_codes(&b, t->color && marked, PT_RED | PT_BOLD);
        pt_quote_print(&b, s, n, 1); /* tabs stay */
        if (t->color && marked)
            put(&b, "\033[0m");
        pt_buf_append(&b, "\n", 1);
        flush(t, &b);
        s += n;
        s += *s == '\n';
    }
}

/* --- columns --- */

struct range {
    uint32_t from, to;
};

static const struct range wide[] = {{0x1100, 0x115f},   {0x2e80, 0x303e},  {0x3041, 0xa4cf},
                                    {0xac00, 0xd7a3},   {0xf900, 0xfaff},  {0xfe30, 0xfe6f},
                                    {0xff00, 0xff60},   {0xffe0, 0xffe6},  {0x1f300, 0x1f64f},
                                    {0x1f680, 0x1f9ff}, {0x20000, 0x3fffd}};
static const struct range none[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},    {0x610, 0x61a},
                                    {0x64b, 0x65f},   {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff},  {0x20d0, 0x20ff},
                                    {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}};

static bool within(uint32_t cp, const struct range *r, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cp >= r[i].from && cp <= r[i].to)
            return true;
    return false;
}

/* Length and columns of the character at s. */
static size_t step(const char *s, size_t n, size_t *columns)
{
    uint32_t cp = 0;
    size_t len = pt_utf8_next(s, n, &cp);
    *columns = cp < 0x300 ? 1 : within(cp, none, PT_COUNT(none)) ? 0 : 1 + within(cp, wide, PT_COUNT(wide));
    return len ? len : 1;
}

size_t pt_text_columns(const char *s, size_t n)
{
    size_t sum = 0;
    size_t columns;
    while (n) {
        size_t len = step(s, n, &columns);
        sum += columns;
        s += len;
        n -= len;
    }
    return sum;
}

bool pt_text_cut(struct pt_buf *out, const char *s, size_t columns)
{
    struct pt_buf b = {0};
    size_t sum = 0;
    size_t used = 0;
    pt_quote_print(&b, s, strcspn(s, "\n"), 0);
    const char *p = (const char *)b.data;
    bool fits = !b.bad && pt_text_columns(p, b.len) <= columns;
    bool cut = !b.bad && !fits && columns >= 3;
    while (cut && used < b.len) {
        size_t c;
        size_t len = step(p + used, b.len - used, &c);
        if (sum + c > columns - 3)
            break;
        sum += c;
        used += len;
    }
    out->bad |= b.bad;
    pt_buf_append(out, p, fits ? b.len : used);
    if (cut)
        pt_buf_append(out, "...", 3);
    pt_buf_fini(&b);
    return fits || cut;
}

/* --- separators --- */

static void put_fill(struct pt_buf *b, char c, size_t n)
{
    while (n--)
        pt_buf_append(b, &c, 1);
}

void pt_text_sep_raw(const struct pt_text *t, char c, unsigned style, const char *title, size_t columns)
{
    struct pt_buf b = {0};
    size_t n = t->width > columns + 4 ? (t->width - columns - 2) / 2 : 1;
    put_codes(&b, t->color, style);
    put_fill(&b, c, n);
    put(&b, " ");
    put(&b, title);
    put_codes(&b, t->color, style);
    put(&b, " ");
    put_fill(&b, c, n);
    if (2 * n + 2 + columns + 1 <= t->width)
        put_fill(&b, c, 1);
    if (t->color && style)
        put(&b, "\033[0m");
    put(&b, "\n");
    flush(t, &b);
}

void pt_text_sep(const struct pt_text *t, char c, unsigned style, const char *title)
{
    struct pt_buf b = {0};
    if (title) {
        pt_quote_print(&b, title, strlen(title), 0);
        pt_buf_append(&b, "", 1);
        if (!b.bad)
            pt_text_sep_raw(t, c, style, (char *)b.data, pt_text_columns((char *)b.data, b.len - 1));
        else
            fputs("(out of memory)\n", t->out);
        pt_buf_fini(&b);
        return;
    }
    put_codes(&b, t->color, style);
    put_fill(&b, c, t->width);
    put(&b, t->color && style ? "\033[0m\n" : "\n");
    flush(t, &b);
}

/* --- paths --- */

void pt_text_relative(struct pt_buf *out, const char *from, const char *path)
{
    size_t common = 0; /* whole components that both begin with */
    size_t i = 0;
    for (; from[i] && from[i] == path[i]; i++)
        if (from[i] == '/')
            common = i + 1;
    bool below = !from[i] && (path[i] == '/' || !path[i]);
    if (below)
        common = path[i] ? i + 1 : i;
    for (const char *p = below ? "" : from + common; *p;) {
        size_t n = strcspn(p, "/");
        if (n)
            put(out, "../");
        p += n;
        p += *p == '/';
    }
    put(out, path + common);
}
