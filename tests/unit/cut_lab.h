/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tests to cut, told in short words, and the units that come out as text. */
#include "common/err.h"
#include "cut.h"
#include "history.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "a.py::x a.py::y|b.py::z" for units, one after the other; a path that comes again begins with '>'. */
struct lab_units {
    char *text;
    size_t len, cap;
    uint32_t n, tests;
    struct pt_plan_unit last;
    double seconds[512], sum; /* of each unit */
    uint32_t sizes[512];
    uint32_t atoms[512]; /* different ones in each unit */
    int fail_after;      /* -1 from the callback at that unit, 0 never */
};

__attribute__((unused)) static void lab_say(struct lab_units *u, const char *s)
{
    size_t n = strlen(s);
    if (u->len + n + 1 > u->cap) {
        u->cap = 2 * (u->len + n + 1);
        u->text = realloc(u->text, u->cap);
    }
    memcpy(u->text + u->len, s, n + 1);
    u->len += n;
}

__attribute__((unused)) static int lab_unit(void *arg, const struct pt_plan_unit *unit, struct pt_err *err)
{
    struct lab_units *u = arg;
    uint32_t at = u->n % 512, i = 0;
    if (u->fail_after && (int)u->n + 1 >= u->fail_after)
        return pt_err_set(err, "enough");
    if (u->n++)
        lab_say(u, "|");
    u->last = *unit;
    u->seconds[at] = unit->seconds;
    u->sum += unit->seconds;
    u->atoms[at] = 0;
    cr_assert_gt(unit->nfiles, 0);
    cr_assert_geq(unit->weight, 1);
    for (uint32_t f = 0; f < unit->nfiles; f++) {
        cr_assert_gt(unit->files[f].ntests, 0);
        if (f) {
            cr_assert_str_neq(unit->files[f].path, unit->files[f - 1].path);
            lab_say(u, " >");
        }
        for (uint32_t t = 0; t < unit->files[f].ntests; t++, i++) {
            const struct pt_bundle_test *test = &unit->files[f].tests[t];
            char n[16] = "";
            if (test->occurrence)
                snprintf(n, sizeof(n), "#%u", test->occurrence);
            lab_say(u, t ? " " : "");
            lab_say(u, test->nodeid);
            lab_say(u, n);
            u->atoms[at] += i == 0 || (unit->atoms && unit->atoms[i] != unit->atoms[i - 1]);
        }
    }
    u->sizes[at] = i;
    u->tests += i;
    return 0;
}

/* Numbers go on from *next. A word is a node id, then: "@g" a group, "*3" a weight, "!" exclusive on its
 * host,
 * "?" needs the first label, "#1" the occurrence. A class is what is before the last "::". */
__attribute__((unused)) static uint32_t lab_tests(const char *words, uint32_t *next, struct pt_cut_test *out)
{
    static char texts[64][8192]; /* strings live until 64 calls later */
    static char groups[64][64];
    static int use;
    uint32_t n = 0;
    int at = use++ % 64;
    cr_assert_lt(strlen(words), sizeof(texts[0]));
    strcpy(texts[at], words);
    for (char *save, *w = strtok_r(texts[at], " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        struct pt_cut_test t = {.test = {.test = (*next)++, .nodeid = w}};
        char *end = w + strcspn(w, "@*!?#");
        while (*end) {
            char what = *end;
            *end++ = '\0';
            if (what == '@') {
                t.traits.group = groups[use++ % 64];
                snprintf(groups[(use - 1) % 64], 64, "%.*s", (int)strcspn(end, "*!?#"), end);
            }
            t.traits.weight = what == '*' ? (uint32_t)atoi(end) : t.traits.weight;
            t.traits.exclusive = what == '!' ? PT_EXCLUSIVE_HOST : t.traits.exclusive;
            t.traits.needs |= what == '?';
            t.test.occurrence = what == '#' ? (uint32_t)atoi(end) : t.test.occurrence;
            end += strcspn(end, "@*!?#");
        }
        char *params = strchr(w, '['), *colons = NULL;
        for (char *c = w; (c = strstr(c, "::")) && (!params || c < params); c += 2)
            colons = c;
        t.traits.scope = colons ? (uint32_t)(colons - w) : 0;
        out[n++] = t;
    }
    return n;
}

struct lab_cut {
    struct pt_cut *cut;
    struct lab_units units;
    uint32_t next;
};

__attribute__((unused)) static void lab_create(struct lab_cut *lab, struct pt_cut_spec spec)
{
    struct pt_err err = PT_ERR_INIT;
    *lab = (struct lab_cut){0};
    lab_say(&lab->units, "");
    lab->cut = pt_cut_create(&spec, lab_unit, &lab->units, &err);
    cr_assert_not_null(lab->cut, "%s", err.msg);
}

__attribute__((unused)) static void lab_add_for(struct lab_cut *lab, const char *words, uint32_t host)
{
    static struct pt_cut_test tests[4096];
    struct pt_err err = PT_ERR_INIT;
    char path[256];
    snprintf(path, sizeof(path), "%.*s", (int)strcspn(words, ":"), words);
    uint32_t n = lab_tests(words, &lab->next, tests);
    cr_assert_eq(pt_cut_add(lab->cut, path, tests, n, host, &err), 0, "%s", err.msg);
}

__attribute__((unused)) static void lab_add(struct lab_cut *lab, const char *words)
{
    lab_add_for(lab, words, PT_NONE);
}

__attribute__((unused)) static void lab_end(struct lab_cut *lab)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_cut_end(lab->cut, &err), 0, "%s", err.msg);
    cr_assert_eq(lab->units.tests, lab->next, "every test is given once");
}

__attribute__((unused)) static void lab_destroy(struct lab_cut *lab)
{
    pt_cut_destroy(lab->cut);
    free(lab->units.text);
}

/* n tests "FILE::PREFIXk" in the history, k from 0, of these seconds; the first sets up more. */
__attribute__((unused)) static void lab_knows(struct pt_history *h, const char *file, const char *prefix,
                                              uint32_t n, double call, double first_setup)
{
    char id[256];
    for (uint32_t i = 0; i < n; i++) {
        struct pt_took took = {.setup = i ? 0.001 : 0.001 + first_setup, .call = call, .teardown = 0.001};
        snprintf(id, sizeof(id), "%s::%s%u", file, prefix, i);
        cr_assert_eq(pt_history_saw(h, "h", file, id, 0, &took), 0);
    }
}

/* The words for the same tests. */
__attribute__((unused)) static const char *lab_words(const char *file, const char *prefix, uint32_t n)
{
    static char words[8192];
    words[0] = '\0';
    for (uint32_t i = 0; i < n; i++)
        sprintf(words + strlen(words), "%s%s::%s%u", i ? " " : "", file, prefix, i);
    return words;
}
