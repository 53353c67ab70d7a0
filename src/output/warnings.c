/* SPDX-License-Identifier: Apache-2.0 */
/* The warnings summary, grouped by text as pytest groups it. What a module warns of while it is imported
 * comes from every worker that imports it, and is one warning at home: it counts once. */
#include "common/auto.h"
#include "common/err.h"
#include "output/terminal_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOCATIONS 10 /* from so many on, only files are told */

struct place {
    char *name;
    uint32_t n;
};

struct group {
    char *text;
    uint64_t hash;
    struct place *places; /* each location; n times */
    size_t nplaces, cap;
    uint32_t total; /* locations, told or not */
};

struct groups {
    struct group *at;
    size_t n, cap;
    uint32_t total;
    const char *cwd;
    bool failed;
};

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037ull;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211ull;
    return h;
}

/* Room for one more; false when memory ends. */
static bool grow(void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? *cap * 2 : 8;
    void *p = realloc(*(void **)array, more * size);
    if (!p)
        return false;
    *(void **)array = p;
    *cap = more;
    return true;
}

static struct group *get_group(struct groups *g, const char *text)
{
    uint64_t h = hash(text);
    for (size_t i = 0; i < g->n; i++)
        if (g->at[i].hash == h && strcmp(g->at[i].text, text) == 0)
            return &g->at[i];
    if (!grow(&g->at, g->n, &g->cap, sizeof(*g->at)))
        return NULL;
    struct group one = {.text = strdup(text), .hash = h};
    if (!one.text)
        return NULL;
    g->at[g->n] = one;
    return &g->at[g->n++];
}

/* The place is looked for from the end: tests of one file come together. */
static struct place *get_place(struct group *group, const char *name)
{
    for (size_t i = group->nplaces; i > 0; i--)
        if (strcmp(group->places[i - 1].name, name) == 0)
            return &group->places[i - 1];
    if (!grow(&group->places, group->nplaces, &group->cap, sizeof(*group->places)))
        return NULL;
    struct place one = {.name = strdup(name)};
    if (!one.name)
        return NULL;
    group->places[group->nplaces] = one;
    return &group->places[group->nplaces++];
}

static char *location_of(const struct groups *g, const struct pt_warning *w)
{
    char *text = NULL;
    struct pt_buf path = {0};
    if (w->nodeid && *w->nodeid)
        return strdup(w->nodeid);
    if (!w->filename)
        return strdup("");
    if (g->cwd && *w->filename == '/')
        pt_text_relative(&path, g->cwd, w->filename);
    else
        pt_buf_append(&path, w->filename, strlen(w->filename));
    if (path.bad || asprintf(&text, "%.*s:%u", (int)path.len, (char *)path.data, w->lineno) < 0)
        text = NULL;
    pt_buf_fini(&path);
    return text;
}

static char *text_of(const struct pt_warning *w)
{
    char *text = NULL;
    if (w->text)
        return strdup(w->text);
    if (asprintf(&text, "%s:%u: %s: %s", w->filename ? w->filename : "?", w->lineno,
                 w->category ? w->category : "Warning", w->message) < 0)
        return NULL;
    return text;
}

static void add(struct groups *g, const struct pt_warning *w)
{
    pt_auto_free char *text = text_of(w);
    pt_auto_free char *where = location_of(g, w);
    struct group *group = text && where ? get_group(g, text) : NULL;
    struct place *place = group ? get_place(group, where) : NULL;
    bool in_test = w->when && strcmp(w->when, "runtest") == 0;
    if (!place) {
        g->failed = true;
        return;
    }
    if (place->n && !in_test)
        return;
    place->n++;
    group->total++;
    g->total++;
}

static int take(void *arg, uint32_t host, const void *json, size_t n)
{
    errno = 0;
    struct pt_json *root = pt_json_parse(json, n, NULL);
    struct pt_warning w;
    if (!root && errno == ENOMEM)
        ((struct groups *)arg)->failed = true;
    (void)host;
    if (root && pt_warning_read(root, &w, NULL) == 0)
        add(arg, &w);
    pt_json_destroy(root);
    return 0;
}

/* --- printing --- */

/* Each location, or how many in each file. */
static bool put_places(const struct pt_text *x, struct group *group)
{
    bool any = false;
    if (group->total < LOCATIONS) {
        for (size_t i = 0; i < group->nplaces; i++) {
            for (uint32_t k = 0; *group->places[i].name && k < group->places[i].n; k++) {
                pt_text_put(x, 0, group->places[i].name);
                fputc('\n', x->out);
                any = true;
            }
        }
        return any;
    }
    struct group files = {0};
    for (size_t i = 0; i < group->nplaces; i++) {
        char *end = strstr(group->places[i].name, "::");
        if (end)
            *end = '\0';
        struct place *file = *group->places[i].name ? get_place(&files, group->places[i].name) : NULL;
        if (file)
            file->n += group->places[i].n;
        else if (*group->places[i].name)
            fputs("(out of memory)\n", x->out);
    }
    for (size_t i = 0; i < files.nplaces; i++) {
        pt_text_put(x, 0, files.places[i].name);
        fprintf(x->out, ": %u warning%s\n", files.places[i].n, files.places[i].n > 1 ? "s" : "");
        free(files.places[i].name);
    }
    any = files.nplaces > 0;
    free(files.places);
    return any;
}

static void put_message(const struct pt_text *x, const char *text, const char *indent)
{
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    while (n) {
        const char *end = memchr(text, '\n', n);
        size_t len = end ? (size_t)(end - text) : n;
        fputs(indent, x->out);
        pt_text_putn(x, 0, text, len);
        fputc('\n', x->out);
        text += len + (end != NULL);
        n -= len + (end != NULL);
    }
    fputc('\n', x->out);
}

static void print(const struct pt_text *x, const struct groups *g)
{
    pt_text_sep(x, '=', PT_YELLOW, "warnings summary");
    for (size_t i = 0; i < g->n; i++)
        put_message(x, g->at[i].text, put_places(x, &g->at[i]) ? "  " : "");
    fputs("-- Docs: https://docs.pytest.org/en/stable/how-to/capture-warnings.html\n", x->out);
}

static void fini(struct groups *g)
{
    for (size_t i = 0; i < g->n; i++) {
        for (size_t k = 0; k < g->at[i].nplaces; k++)
            free(g->at[i].places[k].name);
        free(g->at[i].places);
        free(g->at[i].text);
    }
    free(g->at);
}

int pt_terminal_warnings(struct pt_terminal *t, const struct pt_terminal_end *end, uint32_t *n,
                         struct pt_err *err)
{
    struct groups g = {.cwd = t->cwd};
    int rc =
        pt_ledger_each_note(end->ledger, end->run, pt_note_name(PT_NOTE_WARNING), take, &g, err) < 0 ? -1 : 0;
    if (rc == 0 && g.failed)
        rc = pt_err_set(err, "warnings: out of memory");
    if (rc == 0 && g.n && !t->o.no_summary && !t->o.no_warnings)
        print(&t->text, &g);
    *n = g.total;
    fini(&g);
    return rc;
}
