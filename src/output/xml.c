/* SPDX-License-Identifier: Apache-2.0 */
#include "output/xml.h"

#include "common/quote.h"

#include <ctype.h>
#include <string.h>

static bool legal(uint32_t cp)
{
    return cp == '\t' || cp == '\n' || cp == '\r' ||
           (cp >= 0x20 && cp != 0x7f && cp != 0xfffe && cp != 0xffff);
}

static const char *entity(unsigned char c, bool attribute)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return attribute ? "&quot;" : NULL;
    case '\n':
        return attribute ? "&#10;" : NULL;
    case '\r':
        return "&#13;"; /* a parser makes a line end of one that stands there as it is */
    case '\t':
        return attribute ? "&#09;" : NULL;
    default:
        return NULL;
    }
}

void pt_xml_text(FILE *f, const char *s, bool attribute)
{
    size_t n = strlen(s);
    while (n) {
        uint32_t cp = 0;
        size_t len = pt_utf8_next(s, n, &cp);
        const char *name = entity((unsigned char)*s, attribute);
        if (len == 0)
            fprintf(f, "#x%02X", (unsigned char)*s);
        else if (name)
            fputs(name, f);
        else if (!legal(cp))
            fprintf(f, cp <= 0xff ? "#x%02X" : "#x%04X", (unsigned)cp);
        else
            fwrite(s, 1, len, f);
        s += len ? len : 1;
        n -= len ? len : 1;
    }
}

/* No name may begin so. */
static bool begins_badly(const char *name)
{
    return (!isalpha((unsigned char)*name) && *name != '_') || strcmp(name, "xmlns") == 0;
}

static char name_char(char c)
{
    unsigned char u = (unsigned char)c;
    return (isalnum(u) && u < 0x80) || c == '_' || c == '-' || c == '.' ? c : '_';
}

bool pt_xml_same_name(const char *a, const char *b)
{
    char first = begins_badly(a) ? '_' : name_char(*a++), second = begins_badly(b) ? '_' : name_char(*b++);
    if (first != second)
        return false;
    for (; *a && *b && name_char(*a) == name_char(*b); b++)
        a++;
    return !*a && !*b;
}

void pt_xml_put_name(FILE *f, const char *name)
{
    if (begins_badly(name))
        fputc('_', f);
    for (; *name; name++)
        fputc(name_char(*name), f);
}

void pt_xml_attribute(FILE *f, const char *name, const char *value)
{
    fputc(' ', f);
    pt_xml_put_name(f, name);
    fputs("=\"", f);
    pt_xml_text(f, value, true);
    fputc('"', f);
}
