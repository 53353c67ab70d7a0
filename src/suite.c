/* SPDX-License-Identifier: Apache-2.0 */
#include "suite.h"

#include "common/auto.h"
#include "common/err.h"

#include <string.h>

struct pt_suite {
    struct pt_suite_test *tests;
    uint32_t ntests, cap_tests;
    char **paths;
    uint32_t nfiles, cap_files;
    uint32_t *slots; /* open addressing: file number + 1, 0 is free */
    uint32_t nslots;
    uint32_t *index; /* the same for tests by id and occurrence, of the first `indexed` tests */
    uint32_t nindex, indexed;
};

struct pt_suite *pt_suite_create(struct pt_err *err)
{
    struct pt_suite *s = calloc(1, sizeof(*s));
    if (!s)
        pt_err_set(err, "suite: out of memory");
    return s;
}

void pt_suite_destroy(struct pt_suite *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->ntests; i++)
        free(s->tests[i].nodeid);
    for (uint32_t i = 0; i < s->nfiles; i++)
        free(s->paths[i]);
    free(s->tests);
    free(s->paths);
    free(s->slots);
    free(s->index);
    free(s);
}

/* FNV-1a, 32 bits. */
static uint32_t hash(const char *path)
{
    uint32_t h = 2166136261u;
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 16777619u;
    return h;
}

static uint32_t *slot_of(const struct pt_suite *s, const char *path)
{
    uint32_t i = hash(path) & (s->nslots - 1);
    while (s->slots[i] && strcmp(s->paths[s->slots[i] - 1], path) != 0)
        i = (i + 1) & (s->nslots - 1);
    return &s->slots[i];
}

static int rehash(struct pt_suite *s)
{
    uint32_t n = s->nslots ? s->nslots * 2 : 64;
    uint32_t *slots = calloc(n, sizeof(*slots));
    if (!slots)
        return -1;
    free(s->slots);
    s->slots = slots;
    s->nslots = n;
    for (uint32_t i = 0; i < s->nfiles; i++)
        *slot_of(s, s->paths[i]) = i + 1;
    return 0;
}

uint32_t pt_suite_file(struct pt_suite *s, const char *path)
{
    if (s->nfiles * 2 >= s->nslots && rehash(s) < 0)
        return PT_NONE;
    uint32_t *slot = slot_of(s, path);
    if (*slot)
        return *slot - 1;
    if (s->nfiles == s->cap_files) {
        uint32_t cap = s->cap_files ? s->cap_files * 2 : 64;
        char **paths = realloc(s->paths, cap * sizeof(*paths));
        if (!paths)
            return PT_NONE;
        s->paths = paths;
        s->cap_files = cap;
    }
    char *copy = strdup(path);
    if (!copy)
        return PT_NONE;
    s->paths[s->nfiles++] = copy;
    *slot = s->nfiles;
    return s->nfiles - 1;
}

uint32_t pt_suite_add(struct pt_suite *s, uint32_t file, const char *nodeid, uint32_t occurrence)
{
    if (s->ntests >= PT_MAX_TESTS || file >= s->nfiles)
        return PT_NONE;
    if (s->ntests == s->cap_tests) {
        uint32_t cap = s->cap_tests ? s->cap_tests * 2 : 256;
        struct pt_suite_test *tests = realloc(s->tests, cap * sizeof(*tests));
        if (!tests)
            return PT_NONE;
        s->tests = tests;
        s->cap_tests = cap;
    }
    char *copy = strdup(nodeid);
    if (!copy)
        return PT_NONE;
    s->tests[s->ntests] = (struct pt_suite_test){.nodeid = copy, .file = file, .occurrence = occurrence};
    return s->ntests++;
}

static uint32_t *index_of(const struct pt_suite *s, const char *nodeid, uint32_t occurrence)
{
    uint32_t i = (hash(nodeid) + occurrence * 2654435761u) & (s->nindex - 1);
    for (; s->index[i]; i = (i + 1) & (s->nindex - 1)) {
        const struct pt_suite_test *t = &s->tests[s->index[i] - 1];
        if (t->occurrence == occurrence && strcmp(t->nodeid, nodeid) == 0)
            break;
    }
    return &s->index[i];
}

static int index_all(struct pt_suite *s)
{
    uint32_t n = 64;
    while (n < 2 * s->ntests)
        n *= 2;
    uint32_t *index = calloc(n, sizeof(*index));
    if (!index)
        return -1;
    free(s->index);
    s->index = index;
    s->nindex = n;
    for (uint32_t i = 0; i < s->ntests; i++) {
        uint32_t *at = index_of(s, s->tests[i].nodeid, s->tests[i].occurrence);
        if (!*at)
            *at = i + 1;
    }
    s->indexed = s->ntests;
    return 0;
}

/* Without an index. */
static uint32_t search(const struct pt_suite *s, const char *nodeid, uint32_t occurrence)
{
    uint32_t i = 0;
    while (i < s->ntests && (s->tests[i].occurrence != occurrence || strcmp(s->tests[i].nodeid, nodeid) != 0))
        i++;
    return i < s->ntests ? i : PT_NONE;
}

uint32_t pt_suite_find(struct pt_suite *s, const char *nodeid, uint32_t occurrence)
{
    if ((!s->index || s->indexed < s->ntests) && index_all(s) < 0)
        return search(s, nodeid, occurrence);
    uint32_t at = *index_of(s, nodeid, occurrence);
    return at ? at - 1 : PT_NONE;
}

uint32_t pt_suite_tests(const struct pt_suite *s)
{
    return s->ntests;
}

uint32_t pt_suite_files(const struct pt_suite *s)
{
    return s->nfiles;
}

const struct pt_suite_test *pt_suite_get(const struct pt_suite *s, uint32_t test)
{
    return test < s->ntests ? &s->tests[test] : NULL;
}

const char *pt_suite_path(const struct pt_suite *s, uint32_t file)
{
    return file < s->nfiles ? s->paths[file] : NULL;
}
