/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/links.h"

#include <string.h>

#define MAX_HOPS 40 /* as Linux */

/* The way walked so far, and what is left to walk. */
struct walk {
    char at[2 * PT_PATH_LIMIT];
    char rest[2 * PT_PATH_LIMIT];
};

/* Put target before what is left to walk. False when it is too long for any system. */
static bool detour(struct walk *w, const char *target, const char *rest)
{
    size_t n = strlen(target), left = strlen(rest);
    if (n + 1 + left >= sizeof(w->rest))
        return false;
    memmove(w->rest + n + 1, rest, left + 1);
    memcpy(w->rest, target, n);
    w->rest[n] = '/';
    return true;
}

static bool up(struct walk *w)
{
    if (!w->at[0])
        return false;
    char *slash = strrchr(w->at, '/');
    *(slash ? slash : w->at) = '\0';
    return true;
}

static bool down(struct walk *w, const char *name, size_t n)
{
    size_t len = strlen(w->at);
    if (len + n + 2 > sizeof(w->at))
        return false;
    if (len)
        w->at[len++] = '/';
    memcpy(w->at + len, name, n);
    w->at[len + n] = '\0';
    return true;
}

bool pt_link_leaves(const struct pt_manifest *m, const struct pt_entry *link)
{
    struct walk w;
    strcpy(w.at, link->path);
    up(&w);
    if (link->link[0] == '/' || !detour(&w, link->link, ""))
        return true;
    int hops = 0;
    for (char *p = w.rest; *p;) {
        size_t n = strcspn(p, "/");
        char *next = p + n + (p[n] == '/');
        if (n == 2 && memcmp(p, "..", 2) == 0) {
            if (!up(&w))
                return true;
        } else if (n > 0 && !(n == 1 && *p == '.')) {
            if (!down(&w, p, n))
                return true;
            const struct pt_entry *e = pt_manifest_find(m, w.at);
            if (e && e->type == PT_ENTRY_LINK) {
                if (++hops > MAX_HOPS)
                    return false;
                if (e->link[0] == '/' || !detour(&w, e->link, next))
                    return true;
                up(&w);
                next = w.rest;
            }
        }
        p = next;
    }
    return false;
}
