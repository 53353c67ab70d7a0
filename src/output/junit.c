/* SPDX-License-Identifier: Apache-2.0 */
/* The suite's attributes are sums over its testcases, which are streamed from the ledger: they go to a
 * nameless file first and are copied behind the head. */
#include "output/junit.h"

#include "common/auto.h"
#include "common/err.h"
#include "output/atomic.h"
#include "output/junit_case.h"
#include "output/result.h"
#include "output/xml.h"

#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

struct pair {
    char *name, *value;
};

struct writer {
    struct pt_junit_case_sums sums;
    const struct pt_junit_options *o;
    FILE *body;
    struct pt_names names;
    struct pair *pairs; /* the suite's properties */
    size_t npairs;
};

static int add_pair(struct writer *w, const char *name, const char *value)
{
    for (size_t i = 0; i < w->npairs; i++)
        if (strcmp(w->pairs[i].name, name) == 0 && strcmp(w->pairs[i].value, value) == 0)
            return 0;
    struct pair *pairs = realloc(w->pairs, (w->npairs + 1) * sizeof(*pairs));
    if (!pairs)
        return -1;
    w->pairs = pairs;
    struct pair p = {.name = strdup(name), .value = strdup(value)};
    if (!p.name || !p.value) {
        free(p.name);
        free(p.value);
        return -1;
    }
    pairs[w->npairs++] = p;
    return 0;
}

/* Every worker records the suite's properties; each pair counts once. */
static int take_suite_note(void *arg, uint32_t host, const void *json, size_t n)
{
    struct pt_note note;
    int rc = 0;
    (void)host;
    errno = 0;
    if (pt_note_decode(json, n, &note, NULL) < 0)
        return errno == ENOMEM ? -1 : 0;
    for (const struct pt_json *e = pt_json_first(note.properties); e && rc == 0; e = pt_json_next(e)) {
        const char *name = pt_json_text(pt_json_first(e));
        const char *value = pt_json_text(pt_json_next(pt_json_first(e)));
        if (name && value)
            rc = add_pair(arg, name, value);
    }
    pt_note_fini(&note);
    return rc;
}

static int take_result(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows,
                       size_t n)
{
    struct writer *w = arg;
    struct pt_result r;
    if (!pt_result_init(&r, test, rows, n))
        return 0;
    struct pt_junit_case c = {
        .family = w->o->family,
        .prefix = w->o->prefix,
        .host = pt_names_get(&w->names, r.row->host),
        .test = test,
        .result = &r,
    };
    pt_junit_case_write(w->body, &c, &w->sums);
    pt_result_fini(&r);
    return 0;
}

static void put_timestamp(FILE *f, double started)
{
    char text[40];
    struct tm tm;
    time_t t = (time_t)floor(started);
    long us = lround((started - floor(started)) * 1e6);
    if (us >= 1000000) {
        us -= 1000000;
        t++;
    }
    localtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    fprintf(f, us ? " timestamp=\"%s.%06ld\"" : " timestamp=\"%s\"", text, us);
}

static void put_head(FILE *f, const struct writer *w)
{
    const struct pt_junit_case_sums *s = &w->sums;
    struct utsname node;
    fputs("<?xml version=\"1.0\" encoding=\"utf-8\"?><testsuites><testsuite", f);
    pt_xml_attribute(f, "name", w->o->suite_name ? w->o->suite_name : "pytest");
    fprintf(f, " errors=\"%ld\" failures=\"%ld\" skipped=\"%ld\" tests=\"%ld\"", s->errors, s->failures,
            s->skipped, s->tests);
    fprintf(f, " time=\"%.3f\"", w->o->seconds);
    put_timestamp(f, w->o->started);
    pt_xml_attribute(f, "hostname", uname(&node) == 0 ? node.nodename : "");
    fputs(">", f);
    if (w->npairs)
        fputs("<properties>", f);
    for (size_t i = 0; i < w->npairs; i++) {
        fputs("<property", f);
        pt_xml_attribute(f, "name", w->pairs[i].name);
        pt_xml_attribute(f, "value", w->pairs[i].value);
        fputs(" />", f);
    }
    if (w->npairs)
        fputs("</properties>", f);
}

static int put_all(FILE *f, const struct writer *w)
{
    char block[64 << 10];
    size_t n;
    put_head(f, w);
    if (fflush(w->body) != 0 || fseek(w->body, 0, SEEK_SET) < 0)
        return -1;
    while ((n = fread(block, 1, sizeof(block), w->body)) > 0)
        if (fwrite(block, 1, n, f) != n)
            return -1;
    fputs("</testsuite></testsuites>", f);
    return ferror(w->body) ? -1 : 0;
}

static void fini(struct writer *w)
{
    for (size_t i = 0; i < w->npairs; i++) {
        free(w->pairs[i].name);
        free(w->pairs[i].value);
    }
    pt_names_fini(&w->names);
    free(w->pairs);
    if (w->body)
        fclose(w->body);
}

static int fill(struct writer *w, struct pt_ledger *ledger, int64_t run, struct pt_atomic *out,
                struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    if (pt_names_load(&w->names, ledger, run, err) < 0)
        return -1;
    int rc = pt_ledger_each_note(ledger, run, pt_note_name(PT_NOTE_SUITE), take_suite_note, w, &why);
    if (rc == 0)
        rc = pt_ledger_each_result(ledger, run, ~0u, take_result, w, &why);
    if (rc == 0 && w->sums.starved)
        rc = -1;
    if (rc < 0)
        return pt_err_set(err, "%s", why.msg[0] ? why.msg : "out of memory");
    if (put_all(out->file, w) < 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "%s", strerror(errno));
    return 0;
}

int pt_junit_write(const struct pt_junit_options *o, struct pt_ledger *ledger, int64_t run,
                   struct pt_err *err)
{
    struct writer w = {.o = o};
    struct pt_atomic out;
    if (pt_atomic_init(&out, o->path, err) < 0)
        return pt_err_wrap(err, "JUnit file");
    int rc = -1;
    if (!(w.body = tmpfile()))
        pt_err_set_kind(err, PT_ERR_INFRA, "temporary file: %s", strerror(errno));
    else
        rc = fill(&w, ledger, run, &out, err);
    if (rc == 0)
        rc = pt_atomic_finish(&out, err);
    else
        pt_atomic_fini(&out);
    fini(&w);
    return rc < 0 ? pt_err_wrap(err, "JUnit file %s", o->path) : 0;
}
