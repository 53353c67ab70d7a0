/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The lives of test_sync_property.c: what there is in one, and what must hold after each push. */
#include "sync_drive.h"
#include "sync_edits.h"

#include <inttypes.h>

#define HOSTS    2
#define PROJECTS 2

/* What a life is like: chances are percents of its rounds. */
struct life {
    const char *name;
    size_t hosts;
    bool shared;     /* the hosts share one cache folder */
    unsigned large;  /* rounds with files of more than 8 MiB */
    unsigned losses; /* something that is kept is lost or damaged */
    unsigned breaks; /* a connection breaks */
    unsigned races;  /* the tree changes while it is sent */
    unsigned keeps;  /* what is named left.o stays in the workspace */
    unsigned sha256; /* with the other digest */
};

/* A host as one project has it. */
struct place {
    struct drive_host host;
    struct shot last;   /* after the last good sync, as long as its record is there */
    struct shot before; /* before the push under way */
    bool done;          /* in this round */
};

struct project {
    char here[128], kept[128], cache[128]; /* the tree, another that it changes places with, the hash cache */
    struct random_tree tree;
    struct place places[HOSTS];
};

static struct {
    const struct life *life;
    uint64_t seed;
    unsigned round;
    char dir[64];
    struct project projects[PROJECTS];
    struct shot wanted; /* of the tree, before it was scanned */
    unsigned raced;     /* edits while it was sent */
    bool keep;          /* in this round */
    enum pt_digest_algorithm algorithm;
    struct {
        uint64_t done, broken, stale, forgot, files, sent, reused, bytes, removed;
    } seen;
} w;

#define WANT(condition, ...) (condition ? (void)0 : fail(__VA_ARGS__))

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    char text[10000];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cr_assert_fail("PTREMOTE_SEED=%" PRIu64 " %s, round %u: %s", w.seed, w.life->name, w.round, text);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static char *path_of(const char *name)
{
    char *out = NULL;
    cr_assert_gt(asprintf(&out, "%s/%s", w.dir, name), 0);
    return out;
}

static char *workspace_of(const struct drive_host *h, const char *name)
{
    char *out = NULL;
    cr_assert_gt(asprintf(&out, "%s/ws/%s/%s/%s", h->cache, h->machine, h->project, name), 0);
    return out;
}

/* --- what a push left --- */

static void check_tree(const struct project *p, const char *got, const struct shot *after, bool raced)
{
    if (!raced) {
        pt_auto_free char *what = shot_differ(p->here, &w.wanted, got, after);
        WANT(!*what, "%s", what);
        return;
    }
    WANT(w.wanted.n == after->n, "%zu paths, not %zu", after->n, w.wanted.n);
    for (size_t i = 0; i < after->n; i++) {
        const struct shot_entry *x = &w.wanted.e[i], *y = &after->e[i];
        bool modes = S_ISLNK(x->mode) ? S_ISLNK(y->mode) : x->mode == y->mode;
        WANT(strcmp(x->path, y->path) == 0, "'%s' is there, not '%s'", y->path, x->path);
        WANT(modes && x->content == y->content, "'%s' differs", x->path);
    }
}

static bool same_file(const struct shot_entry *a, const struct shot_entry *b)
{
    return a && b && S_ISREG(a->mode) && S_ISREG(b->mode) && a->content == b->content;
}

static bool other_file(const struct shot_entry *a, const struct shot_entry *b)
{
    return a && b && S_ISREG(a->mode) && S_ISREG(b->mode) && a->content != b->content;
}

/* Python takes a file of the same size and whole second for the one it has compiled: what is written now has
 * another second than what it replaces, and than what the last sync left. */
static void check_times(const struct place *place, const struct shot *after)
{
    for (size_t i = 0; i < after->n; i++) {
        const struct shot_entry *now = &after->e[i], *was = shot_find(&place->before, now->path);
        const struct shot_entry *last = shot_find(&place->last, now->path);
        long long second = now->mtime.tv_sec;
        if (other_file(was, now))
            WANT(was->mtime.tv_sec != second, "'%s' changed and keeps the second %lld", now->path, second);
        if (other_file(last, now) && !same_file(was, now))
            WANT(last->mtime.tv_sec != second, "'%s' changed and got the second %lld again", now->path,
                 second);
    }
}

/* Every file is one that was there, or one that should be. */
static void check_whole(const struct shot *before, const struct shot *after)
{
    for (size_t i = 0; i < after->n; i++) {
        const struct shot_entry *now = &after->e[i];
        const struct shot_entry *was = shot_find(before, now->path), *next = shot_find(&w.wanted, now->path);
        if (S_ISREG(now->mode))
            WANT(same_file(was, now) || same_file(next, now),
                 "'%s' is neither what it was nor what it becomes, %lld bytes", now->path,
                 (long long)now->size);
    }
}

static bool is_kept(const char *path)
{
    for (const char *at = path; (at = strstr(at, "left.o")); at++)
        if ((at == path || at[-1] == '/') && (at[6] == '\0' || at[6] == '/'))
            return true;
    return false;
}

static bool may_stay(const struct shot *after, size_t i)
{
    const char *path = after->e[i].path;
    size_t n = strlen(path);
    if (is_kept(path))
        return true;
    for (size_t j = i + 1; S_ISDIR(after->e[i].mode) && j < after->n; j++)
        if (strncmp(after->e[j].path, path, n) == 0 && after->e[j].path[n] == '/' &&
            is_kept(after->e[j].path) && !shot_find(&w.wanted, after->e[j].path))
            return true;
    return false;
}

/* No path above leads through what is no folder in the tree. */
static bool has_room(const char *path)
{
    pt_auto_free char *above = strdup(path);
    for (char *slash; (slash = strrchr(above, '/'));) {
        *slash = '\0';
        const struct shot_entry *e = shot_find(&w.wanted, above);
        if (e && !S_ISDIR(e->mode))
            return false;
    }
    return true;
}

/* What is to be kept was; takes it out of `after`. */
static void check_kept(const struct shot *before, struct shot *after)
{
    size_t n = 0;
    for (size_t i = 0; i < before->n; i++) {
        const struct shot_entry *was = &before->e[i], *now = shot_find(after, was->path);
        if (S_ISREG(was->mode) && is_kept(was->path) && !shot_find(&w.wanted, was->path) &&
            has_room(was->path))
            WANT(now && now->mode == was->mode && same_file(was, now), "'%s' was not kept", was->path);
    }
    for (size_t i = 0; i < after->n; i++)
        if (!shot_find(&w.wanted, after->e[i].path) && may_stay(after, i))
            after->e[i].mode = 0;
    for (size_t i = 0; i < after->n; i++) {
        if (after->e[i].mode)
            after->e[n++] = after->e[i];
        else
            free(after->e[i].path);
    }
    after->n = n;
}

/* After a push that did what it should, broke, or saw the tree change. */
static void check(const struct project *p, struct place *place, bool raced)
{
    pt_auto_free char *tree = workspace_of(&place->host, "tree");
    struct shot after = shot_take(tree);
    if (place->done) {
        if (w.keep)
            check_kept(&place->before, &after);
        check_tree(p, tree, &after, raced);
        check_times(place, &after);
        shot_fini(&place->last);
        place->last = after;
    } else {
        check_whole(&place->before, &after);
        shot_fini(&place->before);
        place->before = after;
    }
}
