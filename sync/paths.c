/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/paths.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pt_paths_fini(struct pt_paths *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->v[i]);
    free(p->v);
    *p = (struct pt_paths){0};
}

int pt_paths_add(struct pt_paths *p, const char *folder, const char *name)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        char **v = reallocarray(p->v, cap, sizeof(*v));
        if (!v)
            return -1;
        p->v = v;
        p->cap = cap;
    }
    size_t nf = strlen(folder), nn = strlen(name);
    char *s = malloc(nf + nn + 2);
    if (!s)
        return -1;
    memcpy(s, folder, nf);
    if (nf)
        s[nf++] = '/';
    memcpy(s + nf, name, nn + 1);
    p->v[p->n++] = s;
    return 0;
}

char *pt_paths_pop(struct pt_paths *p)
{
    return p->n ? p->v[--p->n] : NULL;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void pt_paths_sort(struct pt_paths *p)
{
    if (!p->n)
        return;
    qsort(p->v, p->n, sizeof(*p->v), compare);
    size_t kept = 1;
    for (size_t i = 1; i < p->n; i++) {
        if (strcmp(p->v[kept - 1], p->v[i]) == 0)
            free(p->v[i]);
        else
            p->v[kept++] = p->v[i];
    }
    p->n = kept;
}

bool pt_paths_has(const struct pt_paths *p, const char *path)
{
    return p->n && bsearch(&path, p->v, p->n, sizeof(*p->v), compare);
}

void pt_paths_filter(struct pt_paths *p, bool (*keep)(const void *arg, const char *path), const void *arg)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (keep(arg, p->v[i]))
            p->v[kept++] = p->v[i];
        else
            free(p->v[i]);
    }
    p->n = kept;
}

int pt_paths_parents(const struct pt_paths *paths, struct pt_paths *out)
{
    const char *before = "";
    for (size_t i = 0; i < paths->n; i++) {
        const char *path = paths->v[i];
        for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
            size_t n = (size_t)(slash - path);
            if (strncmp(before, path, n + 1) == 0)
                continue;
            if (pt_paths_add(out, "", path) < 0)
                return -1;
            out->v[out->n - 1][n] = '\0';
        }
        before = path;
    }
    pt_paths_sort(out);
    return 0;
}
