/* SPDX-License-Identifier: Apache-2.0 */
#include "plan_pool.h"

#include <stdlib.h>
#include <string.h>

#define PART_BYTES   (PT_MAX_FRAME / 2) /* a unit with more is dealt in parts */
#define TEST_SECONDS 0.001              /* least a test is thought to take */

static size_t test_bytes(const struct pt_bundle_test *test)
{
    return 12 + strlen(test->nodeid);
}

bool pt_plan_unit_joined(const struct pt_plan_unit *unit, uint32_t i, bool loose)
{
    return i > 0 && !loose && (!unit->atoms || unit->atoms[i] == unit->atoms[i - 1]);
}

uint32_t pt_plan_piece_fits(const struct pt_plan_unit *unit, uint32_t from, bool loose)
{
    size_t bytes = 0;
    uint32_t at = 0;
    uint32_t border = 0;
    for (uint32_t f = 0; f < unit->nfiles; f++) {
        const struct pt_bundle_file *file = &unit->files[f];
        if (at + file->ntests > from)
            bytes += 8 + strlen(file->path);
        for (uint32_t i = 0; i < file->ntests; i++, at++) {
            if (at < from)
                continue;
            bytes += test_bytes(&file->tests[i]);
            if (at > from && !pt_plan_unit_joined(unit, at, loose))
                border = at - from;
            if (at > from && bytes > PART_BYTES)
                return border ? border : at - from;
        }
    }
    return at - from;
}

struct extent {
    uint32_t files;
    size_t strings, bytes;
};

/* What the tests [from, to) of the unit need. */
static struct extent measure(const struct pt_plan_unit *unit, uint32_t from, uint32_t to)
{
    struct extent x = {0};
    uint32_t at = 0;
    for (uint32_t f = 0; f < unit->nfiles && at < to; f++) {
        const struct pt_bundle_file *file = &unit->files[f];
        uint32_t end = at + file->ntests;
        if (file->ntests > 0 && end > from) {
            x.files++;
            x.strings += strlen(file->path) + 1;
            x.bytes += 8 + strlen(file->path);
        }
        for (uint32_t i = at < from ? from - at : 0; i < file->ntests && at + i < to; i++) {
            x.strings += strlen(file->tests[i].nodeid) + 1;
            x.bytes += test_bytes(&file->tests[i]);
        }
        at = end;
    }
    return x;
}

/* The file's path: the one that the older piece ended with if it is the same, else copied to *end. */
static char *path_of(const struct pt_bundle_file *file, const struct pt_plan_piece *older, char **end)
{
    char *same = older ? older->files[older->nfiles - 1].path : NULL;
    if (same && strcmp(same, file->path) == 0)
        return same;
    char *path = *end;
    *end = stpcpy(path, file->path) + 1;
    return path;
}

static void copy_tests(struct pt_plan_piece *piece, const struct pt_plan_unit *unit, uint32_t from,
                       uint32_t to, const struct pt_plan_piece *older, char *p)
{
    uint32_t at = 0;
    for (uint32_t f = 0; f < unit->nfiles && at < to; f++) {
        const struct pt_bundle_file *file = &unit->files[f];
        uint32_t end = at + file->ntests;
        if (file->ntests > 0 && end > from) {
            struct pt_bundle_file *copy = &piece->files[piece->nfiles++];
            copy->path = path_of(file, older, &p);
            copy->tests = piece->tests + piece->ntests;
            for (uint32_t i = at < from ? from - at : 0; i < file->ntests && at + i < to; i++) {
                struct pt_bundle_test *test = &copy->tests[copy->ntests++];
                *test = file->tests[i];
                test->nodeid = p;
                p = stpcpy(p, file->tests[i].nodeid) + 1;
            }
            piece->ntests += copy->ntests;
        }
        at = end;
    }
}

struct pt_plan_piece *pt_plan_piece_create(const struct pt_plan_unit *unit, uint32_t from, uint32_t n,
                                           const struct pt_plan_piece *older)
{
    struct extent x = measure(unit, from, from + n);
    const struct pt_bundle_file *first = unit->files;
    if (older && unit->nfiles == 1 && strcmp(older->files[older->nfiles - 1].path, first->path) == 0)
        x.strings -= strlen(first->path) + 1;
    size_t head = sizeof(struct pt_plan_piece) + x.files * sizeof(struct pt_bundle_file) +
                  n * sizeof(struct pt_bundle_test);
    struct pt_plan_piece *piece = malloc(head + x.strings);
    if (!piece)
        return NULL;
    memset(piece, 0, head);
    piece->files = (struct pt_bundle_file *)(piece + 1);
    piece->tests = (struct pt_bundle_test *)(piece->files + x.files);
    piece->bytes = (uint32_t)x.bytes;
    piece->rank = unit->rank;
    piece->alone = unit->alone;
    copy_tests(piece, unit, from, from + n, older, (char *)piece + head);
    return piece;
}

struct pt_plan_piece *pt_plan_piece_of_one(const struct pt_plan_piece *piece, uint32_t at)
{
    struct one {
        struct pt_plan_piece piece;
        struct pt_bundle_file file;
        struct pt_bundle_test test;
    } *one = calloc(1, sizeof(*one));
    if (!one)
        return NULL;
    uint32_t f = 0;
    for (uint32_t end = piece->files[0].ntests; end <= at; end += piece->files[f].ntests)
        f++;
    one->test = piece->tests[at];
    one->file = (struct pt_bundle_file){.path = piece->files[f].path, .tests = &one->test, .ntests = 1};
    one->piece = (struct pt_plan_piece){.line = piece->line,
                                        .files = &one->file,
                                        .tests = &one->test,
                                        .nfiles = 1,
                                        .ntests = 1,
                                        .rank = piece->rank,
                                        .alone = true};
    return &one->piece;
}

double pt_plan_piece_seconds(const struct pt_plan_piece *piece)
{
    double least = TEST_SECONDS * piece->ntests;
    return piece->seconds > least ? piece->seconds : least;
}

double pt_plan_known_mean(const struct pt_plan_known *known)
{
    return known->tests > 0 ? known->seconds / (double)known->tests : 1.0;
}
