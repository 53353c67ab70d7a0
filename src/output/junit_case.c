/* SPDX-License-Identifier: Apache-2.0 */
#include "output/junit_case.h"

#include "common/auto.h"
#include "output/result.h"
#include "output/xml.h"

#include <string.h>

#define MAX_ATTRIBUTES 64 /* of one element */

/* An element as it came: [tag, {attributes}, text, [elements]]. */
struct element {
    const char *tag, *text;
    const struct pt_json *attributes, *children;
};

/* False when it is not one. */
static bool get_element(const struct pt_json *v, struct element *e)
{
    const struct pt_json *tag = pt_json_first(v);
    const struct pt_json *attributes = pt_json_next(tag);
    const struct pt_json *text = pt_json_next(attributes);
    const struct pt_json *children = pt_json_next(text);
    *e = (struct element){pt_json_text(tag), pt_json_text(text), attributes, children};
    return pt_json_kind(v) == PT_JSON_ARRAY && e->tag && *e->tag;
}

static bool is(const struct element *e, const char *tag)
{
    return strcmp(e->tag, tag) == 0;
}

static bool is_output(const struct element *e)
{
    return is(e, "system-out") || is(e, "system-err");
}

/* --- writing elements --- */

static bool repeated(const struct pt_json *attributes, const struct pt_json *attribute)
{
    const struct pt_json *a = pt_json_first(attributes);
    while (a != attribute && !pt_xml_same_name(pt_json_name(a), pt_json_name(attribute)))
        a = pt_json_next(a);
    return a != attribute;
}

static void put_attributes(FILE *f, const struct pt_json *attributes)
{
    int n = 0;
    if (pt_json_kind(attributes) != PT_JSON_OBJECT)
        return;
    for (const struct pt_json *a = pt_json_first(attributes); a && n < MAX_ATTRIBUTES; a = pt_json_next(a)) {
        const char *value = pt_json_text(a);
        if (value && *pt_json_name(a) && !repeated(attributes, a))
            pt_xml_attribute(f, pt_json_name(a), value);
        n++;
    }
}

static void put_element(FILE *f, const struct element *e)
{
    struct element child;
    fputc('<', f);
    pt_xml_put_name(f, e->tag);
    put_attributes(f, e->attributes);
    bool empty = (!e->text || !*e->text) && !pt_json_first(e->children);
    if (empty) {
        fputs(" />", f);
        return;
    }
    fputc('>', f);
    if (e->text)
        pt_xml_text(f, e->text, false);
    for (const struct pt_json *c = pt_json_first(e->children); c; c = pt_json_next(c))
        if (get_element(c, &child))
            put_element(f, &child);
    fputs("</", f);
    pt_xml_put_name(f, e->tag);
    fputc('>', f);
}

/* Where a test ran: what its testcases have as properties besides their own. */
struct place {
    const char *host; /* or NULL */
    uint32_t ranks;
};

static struct place place_of(const struct pt_junit_case *c)
{
    return (struct place){c->host, c->result->own.ranks};
}

static void put_property(FILE *f, const char *name, const char *value)
{
    fputs("<property", f);
    pt_xml_attribute(f, "name", name);
    pt_xml_attribute(f, "value", value);
    fputs(" />", f);
}

static void put_place(FILE *f, const struct place *at)
{
    char ranks[16];
    if (at->host)
        put_property(f, "host", at->host);
    snprintf(ranks, sizeof(ranks), "%u", at->ranks);
    if (at->ranks > 1)
        put_property(f, "ranks", ranks);
}

/* The testcase's own <properties> with the place in front, or one made for it. */
static void put_properties(FILE *f, const struct pt_json *children, const struct place *at)
{
    struct element e;
    struct element property;
    bool any = false;
    for (const struct pt_json *c = pt_json_first(children); c; c = pt_json_next(c))
        any = any || (get_element(c, &e) && is(&e, "properties"));
    if (!any && !at->host && at->ranks <= 1)
        return;
    fputs("<properties>", f);
    put_place(f, at);
    for (const struct pt_json *c = pt_json_first(children); c; c = pt_json_next(c)) {
        if (!get_element(c, &e) || !is(&e, "properties"))
            continue;
        for (const struct pt_json *p = pt_json_first(e.children); p; p = pt_json_next(p))
            if (get_element(p, &property))
                put_element(f, &property);
    }
    fputs("</properties>", f);
}

/* Children but <properties>; `output`: only captured output, or all but that. Says how many. */
static int put_children(FILE *f, const struct pt_json *children, bool output)
{
    struct element e;
    int n = 0;
    for (const struct pt_json *c = pt_json_first(children); c; c = pt_json_next(c)) {
        if (!get_element(c, &e) || is(&e, "properties") || is_output(&e) != output)
            continue;
        put_element(f, &e);
        n++;
    }
    return n;
}

/* --- earlier tries --- */

static void put_output(FILE *f, const char *tag, const char *text)
{
    if (!text || !*text)
        return;
    fprintf(f, "<%s>", tag);
    pt_xml_text(f, text, false);
    fprintf(f, "</%s>", tag);
}

static void put_try(FILE *f, const struct pt_report *r, bool flaky)
{
    char tag[16];
    const char *text = r->longrepr ? r->longrepr : r->message ? r->message : "";
    snprintf(tag, sizeof(tag), "%s%s", flaky ? "flaky" : "rerun",
             r->outcome == PT_OUTCOME_FAILED ? "Failure" : "Error");
    fprintf(f, "<%s", tag);
    pt_xml_attribute(f, "message", r->message ? r->message : "");
    pt_xml_attribute(f, "type", pt_outcome_name(r->outcome));
    fputc('>', f);
    put_output(f, "stackTrace", text);
    put_output(f, "system-out", r->captured_out);
    put_output(f, "system-err", r->captured_err);
    fprintf(f, "</%s>", tag);
}

static bool put_tries(FILE *f, const struct pt_junit_case *c)
{
    bool starved = false;
    const struct pt_result *result = c->result;
    for (size_t i = 0; i < result->ntries; i++) {
        struct pt_report r;
        if (!pt_result_is_try(result, &result->tries[i]))
            continue;
        starved |= pt_result_decode(c->test, &result->tries[i], &r) < 0;
        put_try(f, &r, result->outcome < PT_OUTCOME_NOTRUN);
        pt_report_fini(&r);
    }
    return starved;
}

/* True when memory ended. `more`: elements of a report on the same test that came later, which pytest would
 * have had in this one. `tries`: whose earlier tries stand in it; NULL: they stand in another. */
static bool put_testcase(FILE *f, const struct element *e, const struct pt_json *more, const struct place *at,
                         const struct pt_junit_case *tries)
{
    bool starved = false;
    struct element extra = {0};
    fputs("<testcase", f);
    put_attributes(f, e->attributes);
    fputc('>', f);
    put_properties(f, e->children, at);
    put_children(f, e->children, false);
    if (more && get_element(more, &extra))
        put_children(f, extra.children, false);
    if (tries)
        starved = put_tries(f, tries);
    if (put_children(f, extra.children, true) == 0)
        put_children(f, e->children, true);
    fputs("</testcase>", f);
    return starved;
}

static bool has_failure(const struct element *e)
{
    struct element child;
    for (const struct pt_json *c = pt_json_first(e->children); c; c = pt_json_next(c))
        if (get_element(c, &child) && is(&child, "failure"))
            return true;
    return false;
}

/* --- testcases made here --- */

static void put_part(struct pt_buf *out, const char *p, size_t n, bool path)
{
    for (size_t i = 0; i < n; i++)
        pt_buf_append(out, path && p[i] == '/' ? "." : p + i, 1);
}

/* Class and name that pytest makes of a node id: "tests/a.py::A::x[1]" is "tests.a.A" and "x[1]". */
static void mangle(const char *nodeid, const char *prefix, struct pt_buf *class, struct pt_buf *name)
{
    const char *end = strchrnul(nodeid, '[');
    const char *part = nodeid;
    bool path = true;
    if (prefix && *prefix)
        pt_buf_append(class, prefix, strlen(prefix));
    for (;;) {
        const char *next = memmem(part, (size_t)(end - part), "::", 2);
        size_t n = (size_t)((next ? next : end) - part);
        if (path && n >= 3 && memcmp(part + n - 3, ".py", 3) == 0)
            n -= 3;
        if (next && class->len)
            pt_buf_append(class, ".", 1);
        put_part(next ? class : name, part, n, path);
        if (!next)
            break;
        part = next + 2;
        path = false;
    }
    pt_buf_append(name, end, strlen(end) + 1);
    pt_buf_append(class, "", 1);
}

/* NULL: a test that passed has no child. */
static const char *made_tag(const struct pt_report *r)
{
    if (r->outcome == PT_OUTCOME_PASSED || r->outcome == PT_OUTCOME_XPASSED)
        return NULL;
    if (r->outcome == PT_OUTCOME_SKIPPED || r->outcome == PT_OUTCOME_XFAILED)
        return "skipped";
    return r->outcome == PT_OUTCOME_FAILED ? "failure" : "error";
}

static bool ended_badly(const struct pt_report *r)
{
    return r->outcome == PT_OUTCOME_CRASHED || r->outcome == PT_OUTCOME_TIMEOUT ||
           r->outcome == PT_OUTCOME_LOST;
}

static void put_child(FILE *f, const struct pt_report *r)
{
    const char *text = r->longrepr ? r->longrepr : r->message ? r->message : "";
    const char *message = r->message ? r->message : "";
    const char *tag = made_tag(r);
    if (!tag)
        return;
    fprintf(f, "<%s", tag);
    if (ended_badly(r))
        pt_xml_attribute(f, "type", pt_outcome_name(r->outcome));
    else if (r->phase == PT_PHASE_COLLECT)
        message = r->outcome == PT_OUTCOME_SKIPPED ? "collection skipped" : "collection failure";
    if (r->outcome == PT_OUTCOME_LOST && !r->message)
        message = "no host gave a report of this test";
    pt_xml_attribute(f, "message", message);
    fputc('>', f);
    pt_xml_text(f, text, false);
    fprintf(f, "</%s>", tag);
}

static bool put_made(FILE *f, const struct pt_junit_case *c)
{
    const struct pt_report *r = &c->result->own;
    struct pt_buf class = {0};
    struct pt_buf name = {0};
    struct place at = place_of(c);
    mangle(r->nodeid, c->prefix, &class, &name);
    bool old = c->family && (strcmp(c->family, "xunit1") == 0 || strcmp(c->family, "legacy") == 0);
    bool starved = class.bad || name.bad;
    if (!starved) {
        fputs("<testcase", f);
        pt_xml_attribute(f, "classname", (char *)class.data);
        pt_xml_attribute(f, "name", (char *)name.data);
        if (old && r->file)
            pt_xml_attribute(f, "file", r->file);
        fprintf(f, " time=\"%.3f\">", r->duration > 0 ? r->duration : 0.0);
        put_properties(f, NULL, &at);
        put_child(f, r);
        starved = put_tries(f, c);
        fputs("</testcase>", f);
    }
    pt_buf_fini(&class);
    pt_buf_fini(&name);
    return starved;
}

/* --- sums --- */

/* How often pytest saw a call pass. */
static long passes(const struct pt_report *r)
{
    long n = r->counts ? 0 : r->outcome == PT_OUTCOME_PASSED || r->outcome == PT_OUTCOME_XPASSED;
    for (size_t i = 0; i < r->ncounts; i++)
        if (strcmp(r->counts[i].name, "passed") == 0 || strcmp(r->counts[i].name, "xpassed") == 0)
            n += r->counts[i].n;
    return n;
}

static void sum_elements(const struct pt_json *list, struct pt_junit_case_sums *s)
{
    struct element e;
    for (const struct pt_json *v = pt_json_first(list); v; v = pt_json_next(v)) {
        if (!get_element(v, &e))
            continue;
        s->errors += is(&e, "error");
        s->failures += is(&e, "failure");
        s->skipped += is(&e, "skipped");
    }
}

/* What one report adds. pytest counts a passed call and every child; a second testcase is taken off again. */
static void sum_report(const struct pt_report *r, struct pt_junit_case_sums *sums)
{
    struct pt_junit_case_sums s = {0};
    struct pt_fields f = {.object = r->junit_counts};
    struct element e;
    if (r->junit_counts) {
        s.tests = pt_field_u32(&f, "tests", PT_MAX_TESTS, 0);
        s.errors = pt_field_u32(&f, "errors", PT_MAX_TESTS, 0);
        s.failures = pt_field_u32(&f, "failures", PT_MAX_TESTS, 0);
        s.skipped = pt_field_u32(&f, "skipped", PT_MAX_TESTS, 0);
    } else if (pt_json_first(r->junit)) {
        for (const struct pt_json *v = pt_json_first(r->junit); v; v = pt_json_next(v)) {
            s.tests -= v != pt_json_first(r->junit);
            if (get_element(v, &e))
                sum_elements(e.children, &s);
        }
        s.tests += passes(r) + s.errors + s.failures + s.skipped;
    } else {
        const char *tag = made_tag(r);
        s.errors = tag && strcmp(tag, "error") == 0;
        s.failures = tag && strcmp(tag, "failure") == 0;
        s.skipped = tag && strcmp(tag, "skipped") == 0;
        s.tests = 1;
    }
    sums->tests += s.tests;
    sums->errors += s.errors;
    sums->failures += s.failures;
    sums->skipped += s.skipped;
}

void pt_junit_case_write(FILE *f, const struct pt_junit_case *c, struct pt_junit_case_sums *sums)
{
    const struct pt_report *r = &c->result->own;
    const struct pt_report *extra = c->result->has_extra ? &c->result->extra : NULL;
    const struct pt_json *more = extra ? pt_json_first(extra->junit) : NULL;
    struct place at = place_of(c);
    struct element e;
    if (r->outcome == PT_OUTCOME_NOTRUN)
        return;
    sum_report(r, sums);
    if (more)
        sum_report(extra, sums);
    sums->starved |= c->result->starved;
    if (!pt_json_first(r->junit))
        sums->starved |= put_made(f, c);
    for (const struct pt_json *v = pt_json_first(r->junit); v; v = pt_json_next(v)) {
        if (!get_element(v, &e))
            continue;
        bool merge = more && !pt_json_next(v) && !has_failure(&e);
        sums->starved |=
            put_testcase(f, &e, merge ? more : NULL, &at, v == pt_json_first(r->junit) ? c : NULL);
        if (merge)
            more = NULL;
    }
    if (more && get_element(more, &e)) {
        put_testcase(f, &e, NULL, &at, NULL);
        sums->tests--;
    }
}
