/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/glob.h"

#include <string.h>

/* A run of bytes: one part of a glob or of a path, without its slash. */
struct part {
    const char *p, *end;
};

static bool next_part(const char **s, const char *end, struct part *out)
{
    if (*s >= end)
        return false;
    out->p = *s;
    const char *slash = memchr(*s, '/', (size_t)(end - *s));
    out->end = slash ? slash : end;
    *s = slash ? slash + 1 : end;
    return true;
}

static bool is_any_depth(struct part g)
{
    return g.end - g.p == 2 && g.p[0] == '*' && g.p[1] == '*';
}

static bool is_between(unsigned char c, char low, char high)
{
    return (unsigned char)low <= c && c <= (unsigned char)high;
}

/* Of ASCII, whatever the locale. */
static bool in_class(unsigned char c, const char *name, size_t n, bool *known)
{
    bool lower = is_between(c, 'a', 'z'), upper = is_between(c, 'A', 'Z'), digit = is_between(c, '0', '9');
    bool hex = digit || is_between(c, 'a', 'f') || is_between(c, 'A', 'F');
    bool visible = is_between(c, '!', '~'), alnum = lower || upper || digit;
    const struct {
        const char *name;
        bool in;
    } classes[] = {{"alnum", alnum},
                   {"alpha", lower || upper},
                   {"blank", c == ' ' || c == '\t'},
                   {"cntrl", c < ' ' || c == 127},
                   {"digit", digit},
                   {"graph", visible},
                   {"lower", lower},
                   {"print", visible || c == ' '},
                   {"punct", visible && !alnum},
                   {"space", c == ' ' || is_between(c, '\t', '\r')},
                   {"upper", upper},
                   {"xdigit", hex}};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strlen(classes[i].name) == n && memcmp(classes[i].name, name, n) == 0)
            return classes[i].in;
    *known = false;
    return false;
}

/* Length of the "[:name:]" that begins at p, or 0. */
static size_t class_length(const char *p, const char *end)
{
    if (end - p < 4 || p[1] != ':')
        return 0;
    for (const char *q = p + 2; q + 1 < end && *q != ']'; q++)
        if (q[0] == ':' && q[1] == ']')
            return (size_t)(q + 2 - p);
    return 0;
}

/* The set that starts at g ("["); gives the byte after it, or NULL when it has no end or no meaning. */
static const char *match_set(const char *g, const char *end, unsigned char c, bool *hit)
{
    bool negate = g + 1 < end && (g[1] == '!' || g[1] == '^');
    const char *p = g + 1 + negate, *first = p;
    bool found = false, known = true;
    for (; p < end && (*p != ']' || p == first); p++) {
        size_t n = *p == '[' ? class_length(p, end) : 0;
        if (n) {
            found |= in_class(c, p + 2, n - 4, &known);
            p += n - 1;
            continue;
        }
        if (*p == '\\' && p + 1 < end)
            p++;
        unsigned char low = (unsigned char)*p, high = low;
        if (p + 2 < end && p[1] == '-' && p[2] != ']') {
            p += 2;
            if (*p == '\\' && p + 1 < end)
                p++;
            high = (unsigned char)*p;
        }
        found |= low <= c && c <= high;
    }
    if (p >= end || !known)
        return NULL;
    *hit = found != negate;
    return p + 1;
}

size_t pt_glob_set(const char *s, size_t n)
{
    bool hit;
    const char *after = match_set(s, s + n, 0, &hit);
    return after ? (size_t)(after - s) : 0;
}

/* One byte of the path against what stands at g; gives the glob after it, or NULL when it does not match. */
static const char *match_one(const char *g, const char *end, char c)
{
    if (*g == '?')
        return g + 1;
    if (*g == '[') {
        bool hit = false;
        const char *after = match_set(g, end, (unsigned char)c, &hit);
        if (after)
            return hit ? after : NULL;
    }
    if (*g == '\\' && g + 1 < end)
        g++;
    return *g == c ? g + 1 : NULL;
}

static bool match_part(struct part glob, struct part name)
{
    const char *g = glob.p, *s = name.p;
    const char *star = NULL, *from = NULL;
    while (s < name.end) {
        const char *after = NULL;
        if (g < glob.end && *g == '*') {
            star = ++g;
            from = s;
        } else if (g < glob.end && (after = match_one(g, glob.end, *s))) {
            g = after;
            s++;
        } else if (star) {
            g = star;
            s = ++from;
        } else {
            return false;
        }
    }
    while (g < glob.end && *g == '*')
        g++;
    return g == glob.end;
}

static struct part trim(const char *glob)
{
    while (glob[0] == '/' || (glob[0] == '.' && glob[1] == '/'))
        glob++;
    const char *end = glob + strlen(glob);
    while (end > glob && end[-1] == '/')
        end--;
    return (struct part){glob, end};
}

enum ask { WHOLE, COVERS, ENTERS };

/* Parts are matched as bytes are in match_part, with ** in the place of the star. */
static bool match(const char *glob, const char *path, enum ask ask)
{
    struct part all = trim(glob), g = {0}, s = {0};
    const char *gp = all.p, *sp = path, *send = path + strlen(path);
    const char *star = NULL, *from = NULL;
    if (gp == all.end)
        return false;
    while (sp < send) {
        const char *g_next = gp, *s_next = sp;
        bool more = next_part(&g_next, all.end, &g);
        if (!more && ask == COVERS)
            return true;
        next_part(&s_next, send, &s);
        if (more && is_any_depth(g)) {
            if (ask == ENTERS)
                return true;
            gp = star = g_next;
            from = sp;
        } else if (more && match_part(g, s)) {
            gp = g_next;
            sp = s_next;
        } else if (star) {
            next_part(&from, send, &s);
            sp = from;
            gp = star;
        } else {
            return !more && ask == ENTERS;
        }
    }
    if (ask == ENTERS)
        return true;
    while (next_part(&gp, all.end, &g))
        if (!is_any_depth(g))
            return false;
    return true;
}

bool pt_glob_match(const char *glob, const char *path)
{
    return match(glob, path, WHOLE);
}

bool pt_glob_covers(const char *glob, const char *path)
{
    return match(glob, path, COVERS);
}

bool pt_glob_enters(const char *glob, const char *folder)
{
    return match(glob, folder, ENTERS);
}
