/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/links.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_HOPS 40                               /* as Linux */
#define MAX_WAY  ((MAX_HOPS + 2) * PT_PATH_LIMIT) /* what so many targets can add up to */

/* The way walked so far, and what is left to walk. */
struct walk {
    /* The target of a link at a path, NULL when none is there; good until the next call. */
    const char *(*target)(struct walk *w, const char *path);
    const struct pt_manifest *manifest;
    int root;
    const char *top;
    char place[3 * PT_PATH_LIMIT], buffer[PT_PATH_LIMIT];
    bool followed;       /* links that leave the tree are replaced by what they lead to */
    bool inside;         /* what is walked is the target of another link: */
    char outer[MAX_WAY]; /* of this one, */
    size_t after;        /* with so much left to walk after it */
    char at[MAX_WAY];
    char rest[MAX_WAY];
};

/* Put target before what is left to walk. False when there is no room, which so many hops cannot need. */
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

enum step { ON, LEAVES, LOOPS };

/* One part of what is left to walk. */
static enum step step(struct walk *w, const char **p, int *hops)
{
    size_t n = strcspn(*p, "/");
    const char *part = *p, *next = part + n + (part[n] == '/');
    *p = next;
    if (n == 2 && memcmp(part, "..", 2) == 0)
        return up(w) ? ON : LEAVES;
    if (n == 0 || (n == 1 && *part == '.'))
        return ON;
    if (!down(w, part, n))
        return LEAVES;
    const char *link = w->target(w, w->at);
    if (!link)
        return ON;
    if (++*hops > MAX_HOPS)
        return LOOPS;
    if (!w->inside) {
        strcpy(w->outer, w->at);
        w->after = strlen(next);
        w->inside = true;
    }
    if (link[0] == '/' || !detour(w, link, next))
        return LEAVES;
    up(w);
    *p = w->rest;
    return ON;
}

/* Follow target from the folder that path lies in. */
static bool leaves(struct walk *w, const char *path, const char *target)
{
    strcpy(w->at, path);
    up(w);
    if (target[0] == '/' || !detour(w, target, ""))
        return true;
    int hops = 0;
    for (const char *p = w->rest; *p;) {
        const char *end = p + strlen(p);
        w->inside = w->inside && (size_t)(end - p) > w->after;
        enum step s = step(w, &p, &hops);
        if (s == LOOPS)
            return false;
        if (s == ON)
            continue;
        if (!w->inside || !w->followed)
            return true;
        /* It is that link which leaves, and what it leads to will be in its place. */
        strcpy(w->at, w->outer);
        p += strlen(p) - w->after;
        w->inside = false;
    }
    return false;
}

static const char *in_manifest(struct walk *w, const char *path)
{
    const struct pt_entry *e = pt_manifest_find(w->manifest, path);
    return e ? e->link : NULL;
}

bool pt_link_leaves(const struct pt_manifest *m, const struct pt_entry *link)
{
    struct walk w; /* large: not cleared */
    w.target = in_manifest;
    w.manifest = m;
    w.followed = w.inside = false;
    return leaves(&w, link->path, link->link);
}

static const char *on_disk(struct walk *w, const char *path)
{
    int len = snprintf(w->place, sizeof(w->place), "%s%s%s", w->top, *w->top ? "/" : "", path);
    if (len < 0 || (size_t)len >= sizeof(w->place))
        return NULL; /* longer than any path that is there */
    ssize_t n = readlinkat(w->root, w->place, w->buffer, sizeof(w->buffer) - 1);
    if (n < 0)
        return NULL;
    w->buffer[n] = '\0';
    return w->buffer;
}

bool pt_link_leaves_folder(int root, const char *top, const char *path, const char *target)
{
    struct walk w;
    w.target = on_disk;
    w.root = root;
    w.top = top;
    w.followed = true;
    w.inside = false;
    size_t n = strlen(top);
    return leaves(&w, path + n + (n > 0), target);
}
