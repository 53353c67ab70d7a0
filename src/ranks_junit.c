/* SPDX-License-Identifier: Apache-2.0 */
/* One testcase of all ranks: what went wrong, was skipped or was printed on any of them. Where there are
 * failures and errors the errors have a testcase of their own, as pytest does it. */
#include "common/message.h"
#include "ranks_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tag { FAILURE, ERROR_, SKIPPED, OUT, ERR, TAGS };
static const char *const tags[TAGS] = {"failure", "error", "skipped", "system-out", "system-err"};

struct elements {
    uint32_t of;
    const struct pt_json *testcase; /* attributes, of the one that took longest if it has any */
    const struct pt_report *from, *longest;
    struct pt_told_list texts; /* topic: the tag */
    const struct pt_json *first[TAGS];
    uint32_t gravest;
    bool any[TAGS];
    struct pt_told_list properties;
};

static const struct pt_json *nth(const struct pt_json *list, unsigned n)
{
    const struct pt_json *e = pt_json_first(list);
    while (n--)
        e = pt_json_next(e);
    return e;
}

static void take_property(struct elements *all, uint32_t rank, const struct pt_json *property)
{
    struct pt_buf text = {0};
    bool bad = pt_json_print(property, &text) < 0;
    pt_buf_append(&text, "", 1);
    bad = bad || text.bad;
    if (bad)
        pt_buf_fini(&text);
    pt_told_add_own(&all->properties, 0, rank, (char *)text.data, property);
}

static void take_child(struct elements *all, uint32_t rank, const struct pt_json *child)
{
    const char *tag = pt_json_text(pt_json_first(child));
    for (unsigned i = 0; tag && i < TAGS; i++) {
        if (strcmp(tag, tags[i]) != 0)
            continue;
        if (!all->any[i] || rank == all->gravest)
            all->first[i] = nth(child, 1);
        all->any[i] = true;
        pt_told_add(&all->texts, i, rank, pt_json_text(nth(child, 2)), NULL);
    }
    if (!tag || strcmp(tag, "properties") != 0)
        return;
    for (const struct pt_json *p = pt_json_first(nth(child, 3)); p; p = pt_json_next(p))
        take_property(all, rank, p);
}

static void take_rank(struct elements *all, uint32_t rank, const struct pt_report *r)
{
    const struct pt_json *first = pt_json_first(r->junit);
    if (first && (!all->testcase || r == all->longest)) {
        all->testcase = nth(first, 1);
        all->from = r;
    }
    for (const struct pt_json *e = first; e; e = pt_json_next(e)) {
        for (const struct pt_json *c = pt_json_first(nth(e, 3)); c; c = pt_json_next(c))
            take_child(all, rank, c);
    }
}

/* --- writing --- */

static void put_attributes(struct pt_json_out *o, const struct pt_json *attributes)
{
    if (pt_json_kind(attributes) == PT_JSON_OBJECT) {
        pt_json_put(o, NULL, attributes);
        return;
    }
    pt_json_open_object(o, NULL);
    pt_json_close(o);
}

static void open_element(struct pt_json_out *o, const char *tag, const struct pt_json *attributes)
{
    pt_json_open_array(o, NULL);
    pt_json_put_str(o, NULL, tag);
    put_attributes(o, attributes);
}

static void put_child(struct pt_json_out *o, const struct elements *all, unsigned tag)
{
    struct pt_told_list part = {0};
    struct pt_buf text = {0};
    uint32_t from = 0;
    if (!all->any[tag])
        return;
    while (from < all->texts.n && all->texts.items[from].topic != tag)
        from++;
    part.items = all->texts.items ? all->texts.items + from : NULL;
    while (from + part.n < all->texts.n && part.items[part.n].topic == tag)
        part.n++;
    pt_told_put(&part, all->of, &text);
    open_element(o, tags[tag], all->first[tag]);
    pt_ranks_put_text(o, NULL, &text);
    pt_json_open_array(o, NULL);
    pt_json_close(o);
    pt_json_close(o);
}

static void put_properties(struct pt_json_out *o, const struct elements *all)
{
    const struct pt_told_list *l = &all->properties;
    if (l->n == 0)
        return;
    open_element(o, "properties", NULL);
    pt_json_put_str(o, NULL, NULL);
    pt_json_open_array(o, NULL);
    for (uint32_t i = 0; i < l->n; i = pt_told_group(l, i))
        pt_json_put(o, NULL, l->items[i].what);
    pt_json_close(o);
    pt_json_close(o);
}

/* The time of a testcase is one of these, as pytest was asked to: then it is that of the longest. */
static void put_time(struct pt_json_out *o, const struct elements *all, const char *told)
{
    const double from[] = {all->from->duration, all->from->call};
    const double longest[] = {all->longest->duration, all->longest->call};
    char text[32];
    for (int i = 0; i < 2; i++) {
        snprintf(text, sizeof(text), "%.3f", from[i]);
        if (strcmp(text, told) != 0 || longest[i] < 0)
            continue;
        snprintf(text, sizeof(text), "%.3f", longest[i]);
        pt_json_put_str(o, "time", text);
        return;
    }
    pt_json_put_str(o, "time", told);
}

static void open_testcase(struct pt_json_out *o, const struct elements *all)
{
    pt_json_open_array(o, NULL);
    pt_json_put_str(o, NULL, "testcase");
    pt_json_open_object(o, NULL);
    for (const struct pt_json *a = pt_json_first(all->testcase); a; a = pt_json_next(a)) {
        const char *text = pt_json_text(a);
        if (!pt_json_name(a) || !text)
            continue;
        if (strcmp(pt_json_name(a), "time") == 0)
            put_time(o, all, text);
        else
            pt_json_put_str(o, pt_json_name(a), text);
    }
    pt_json_close(o);
    pt_json_put_str(o, NULL, NULL);
    pt_json_open_array(o, NULL);
    put_properties(o, all);
}

static void put_testcases(struct pt_json_out *o, const struct elements *all, unsigned outcome)
{
    bool both = all->any[FAILURE] && all->any[ERROR_];
    open_testcase(o, all);
    put_child(o, all, FAILURE);
    if (!both)
        put_child(o, all, ERROR_);
    if (outcome == PT_OUTCOME_SKIPPED || outcome == PT_OUTCOME_XFAILED)
        put_child(o, all, SKIPPED);
    put_child(o, all, OUT);
    put_child(o, all, ERR);
    pt_json_close(o);
    pt_json_close(o);
    if (!both)
        return;
    open_testcase(o, all);
    put_child(o, all, ERROR_);
    pt_json_close(o);
    pt_json_close(o);
}

/* Those of the gravest rank, and the errors of another. */
static void put_counts(struct pt_json_out *o, const struct pt_ranks_voice *voices, uint32_t of,
                       uint32_t gravest)
{
    static const char *const keys[] = {"tests", "failures", "skipped"};
    struct pt_fields own = {.object = voices[gravest].r.junit_counts};
    uint32_t errors = 0;
    if (!own.object)
        return;
    for (uint32_t i = 0; i < of; i++) {
        struct pt_fields f = {.object = voices[i].r.junit_counts};
        uint32_t n = f.object ? pt_field_u32(&f, "errors", PT_MAX_TESTS, 0) : 0;
        errors = n > errors ? n : errors;
    }
    pt_json_open_object(o, "junit_counts");
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        pt_json_put_int(o, keys[i], pt_field_u32(&own, keys[i], PT_MAX_TESTS, 0));
    pt_json_put_int(o, "errors", errors);
    pt_json_close(o);
}

void pt_ranks_put_junit(struct pt_json_out *o, const struct pt_ranks_voice *voices, uint32_t of,
                        uint32_t gravest, uint32_t longest, unsigned outcome)
{
    struct elements all = {.of = of, .gravest = gravest, .longest = &voices[longest].r};
    bool any = false;
    for (uint32_t i = 0; i < of; i++) {
        any = any || pt_json_first(voices[i].r.junit);
        take_rank(&all, i, &voices[i].r);
    }
    pt_told_sort(&all.texts);
    pt_told_sort(&all.properties);
    o->bad = o->bad || all.texts.bad || all.properties.bad;
    if (any) {
        pt_json_open_array(o, "junit");
        put_testcases(o, &all, outcome);
        pt_json_close(o);
        put_counts(o, voices, of, gravest);
    }
    pt_told_fini(&all.texts);
    pt_told_fini(&all.properties);
}
