/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include "common/auto.h"
#include "common/message.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* --- reading --- */

static bool get_outcome(struct pt_fields *f, uint8_t *out)
{
    const char *name = pt_field_str(f, "outcome");
    for (unsigned i = PT_OUTCOME_PASSED; name && i < PT_OUTCOMES; i++) {
        if (strcmp(name, pt_outcome_name(i)) == 0) {
            *out = (uint8_t)i;
            return true;
        }
    }
    return false;
}

static bool get_phase(struct pt_fields *f, uint8_t *out)
{
    const char *name = pt_field_str(f, "phase");
    *out = PT_PHASE_CALL;
    if (!name)
        return true;
    for (unsigned i = PT_PHASE_COLLECT; i <= PT_PHASE_SESSION; i++) {
        if (strcmp(name, pt_phase_name(i)) == 0) {
            *out = (uint8_t)i;
            return true;
        }
    }
    return false;
}

/* Room for every element of list; NULL with *n 0 when there is no list or too much of it. */
static void *get_room(struct pt_fields *f, const char *key, const struct pt_json *list, size_t size,
                      size_t *n)
{
    *n = pt_json_count(list);
    void *room = list && *n <= PT_REPORT_LISTS ? calloc(*n + 1, size) : NULL;
    if (list && !room) {
        f->bad = key;
        *n = 0;
    }
    return room;
}

static void get_counts(struct pt_fields *f, struct pt_report *r)
{
    const struct pt_json *counts = pt_field_object(f, "counts");
    struct pt_fields inner = {.object = counts};
    size_t i = 0;
    r->counts = get_room(f, "counts", counts, sizeof(*r->counts), &r->ncounts);
    for (const struct pt_json *e = pt_json_first(counts); e && i < r->ncounts; e = pt_json_next(e), i++) {
        r->counts[i].name = pt_json_name(e);
        r->counts[i].n = pt_field_u32(&inner, r->counts[i].name, PT_MAX_TESTS, 0);
    }
    if (inner.bad && !f->bad)
        f->bad = "counts";
}

static bool pairs_ok(const struct pt_json *list)
{
    for (const struct pt_json *e = pt_json_first(list); e; e = pt_json_next(e)) {
        const struct pt_json *name = pt_json_first(e);
        if (!pt_json_text(name) || !pt_json_text(pt_json_next(name)))
            return false;
    }
    return true;
}

static void get_problems(struct pt_fields *f, struct pt_report *r)
{
    const struct pt_json *list = pt_field_array(f, "problems");
    r->problems = get_room(f, "problems", list, sizeof(*r->problems), &r->nproblems);
    size_t i = 0;
    for (const struct pt_json *e = pt_json_first(list); e && i < r->nproblems; e = pt_json_next(e), i++) {
        struct pt_fields inner = {.object = e};
        struct pt_problem *p = &r->problems[i];
        p->phase = pt_field_str(&inner, "phase");
        p->category = pt_field_str(&inner, "category");
        p->headline = pt_field_str(&inner, "headline");
        p->longrepr = pt_field_str(&inner, "longrepr");
        p->sections = pt_field_array(&inner, "sections");
        if (pt_json_kind(e) != PT_JSON_OBJECT || inner.bad || !pairs_ok(p->sections))
            f->bad = "problems";
    }
}

static void get_skip(struct pt_fields *f, struct pt_report *r)
{
    const struct pt_json *file = pt_json_first(pt_field_array(f, "skip"));
    const struct pt_json *line = pt_json_next(file);
    double n = pt_json_number(line, -1);
    r->skip_line = n >= 0 && n < PT_NONE ? (uint32_t)n : PT_NONE;
    r->skip_file = pt_json_text(file);
    r->skip_reason = pt_json_text(pt_json_next(line));
}

static void get_words(struct pt_fields *f, struct pt_report *r)
{
    r->nodeid = pt_field_str(f, "nodeid");
    r->file = pt_field_str(f, "file");
    r->message = pt_field_str(f, "message");
    r->longrepr = pt_field_str(f, "longrepr");
    r->captured_out = pt_field_str(f, "stdout");
    r->captured_err = pt_field_str(f, "stderr");
    r->log = pt_field_str(f, "log");
    r->stop = pt_field_str(f, "stop");
    r->started = pt_field_num(f, "started", -1);
    r->duration = pt_field_num(f, "duration", -1);
    r->setup = pt_field_num(f, "setup", -1);
    r->call = pt_field_num(f, "call", -1);
    r->teardown = pt_field_num(f, "teardown", -1);
}

int pt_report_read(const struct pt_json *object, struct pt_report *r, struct pt_err *err)
{
    struct pt_fields f = {.object = object};
    *r = (struct pt_report){0};
    get_words(&f, r);
    get_counts(&f, r);
    get_problems(&f, r);
    get_skip(&f, r);
    r->properties = pt_field_array(&f, "properties");
    r->junit = pt_field_array(&f, "junit");
    r->junit_counts = pt_field_object(&f, "junit_counts");
    r->ranks = pt_field_u32(&f, "ranks", PT_RANKS_MAX, 1);
    r->hosts = pt_field_array(&f, "hosts");
    r->shares = pt_field_array(&f, "shares");
    if (!f.bad && !get_outcome(&f, &r->outcome))
        f.bad = "outcome";
    if (!f.bad && !get_phase(&f, &r->phase))
        f.bad = "phase";
    if (!f.bad && !r->nodeid)
        f.bad = "nodeid";
    if (pt_fields_end(&f, "report", err) < 0) {
        pt_report_fini(r);
        return -1;
    }
    return 0;
}

int pt_report_decode(const void *json, size_t n, struct pt_report *r, struct pt_err *err)
{
    *r = (struct pt_report){0};
    struct pt_json *root = pt_json_parse(json, n, err);
    if (!root)
        return pt_err_wrap(err, "report");
    if (pt_report_read(root, r, err) < 0) {
        pt_json_destroy(root);
        return -1;
    }
    r->json = root;
    return 0;
}

void pt_report_fini(struct pt_report *r)
{
    free(r->counts);
    free(r->problems);
    pt_json_destroy(r->json);
    *r = (struct pt_report){0};
}

/* --- made here --- */

/* "TestA.test_x[1::2]" from "tests/a.py::TestA::test_x[1::2]", as pytest heads a traceback. */
static void put_domain(struct pt_buf *out, const char *nodeid)
{
    const char *bracket = strchr(nodeid, '[');
    const char *p = strstr(nodeid, "::");
    p = p && (!bracket || p < bracket) ? p + 2 : nodeid;
    while (*p) {
        bool colons = p[0] == ':' && p[1] == ':' && (!bracket || p < bracket);
        pt_buf_append(out, colons ? "." : p, 1);
        p += colons ? 2 : 1;
    }
}

void pt_report_headline(struct pt_buf *out, unsigned phase, const char *nodeid)
{
    if (phase == PT_PHASE_COLLECT) {
        pt_buf_append(out, "ERROR collecting ", 17);
        pt_buf_append(out, nodeid, strlen(nodeid));
    } else {
        put_domain(out, nodeid);
    }
}

static void put_headline(struct pt_json_out *o, const struct pt_report_new *what)
{
    struct pt_buf text = {0};
    pt_report_headline(&text, what->phase, what->nodeid);
    o->bad = o->bad || text.bad;
    pt_json_put_strn(o, "headline", (char *)text.data, text.len);
    pt_buf_fini(&text);
}

static void put_problem(struct pt_json_out *o, const struct pt_report_new *what, const char *longrepr)
{
    pt_json_open_array(o, "problems");
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "phase", pt_phase_name(what->phase));
    pt_json_put_str(o, "category", pt_outcome_name(what->outcome));
    put_headline(o, what);
    pt_json_put_str(o, "longrepr", longrepr);
    if (what->output && *what->output) {
        pt_json_open_array(o, "sections");
        pt_json_open_array(o, NULL);
        pt_json_put_str(o, NULL, "Last output");
        pt_json_put_str(o, NULL, what->output);
        pt_json_close(o);
        pt_json_close(o);
    }
    pt_json_close(o);
    pt_json_close(o);
}

/* The longrepr with the output below it, for readers that have no sections. */
static void put_longrepr(struct pt_json_out *o, const char *longrepr, const char *output)
{
    struct pt_buf text = {0};
    pt_buf_append(&text, longrepr, strlen(longrepr));
    if (output && *output) {
        pt_buf_append(&text, "\n\nLast output:\n", 15);
        pt_buf_append(&text, output, strlen(output));
    }
    if (text.bad)
        o->bad = true;
    else
        pt_json_put_strn(o, "longrepr", (char *)text.data, text.len);
    pt_buf_fini(&text);
}

/* The finished document goes to the end of out. */
static int hand_over(struct pt_json_out *o, struct pt_buf *out)
{
    int rc = pt_json_out_end(o);
    pt_buf_append(out, o->buf.data, o->buf.len);
    pt_buf_fini(&o->buf);
    return rc < 0 || out->bad ? -1 : 0;
}

static void put_made_skip(struct pt_json_out *o, const struct pt_report_new *what)
{
    pt_json_open_array(o, "skip");
    pt_json_put_str(o, NULL, what->file);
    pt_json_put_str(o, NULL, NULL);
    pt_json_put_str(o, NULL, what->message);
    pt_json_close(o);
}

int pt_report_make(const struct pt_report_new *what, struct pt_buf *out)
{
    struct pt_json_out o;
    const char *longrepr = what->longrepr ? what->longrepr : what->message;
    bool skipped = what->outcome == PT_OUTCOME_SKIPPED;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put_str(&o, "nodeid", what->nodeid);
    pt_json_put_str(&o, "file", what->file);
    pt_json_put_str(&o, "outcome", pt_outcome_name(what->outcome));
    pt_json_put_str(&o, "phase", pt_phase_name(what->phase));
    if (what->started > 0)
        pt_json_put_num(&o, "started", what->started);
    if (what->duration >= 0)
        pt_json_put_num(&o, "duration", what->duration);
    pt_json_open_object(&o, "counts");
    if (!what->silent)
        pt_json_put_int(&o, pt_outcome_name(what->outcome), 1);
    pt_json_close(&o);
    pt_json_put_str(&o, "message", what->message);
    if (skipped)
        put_made_skip(&o, what);
    if (longrepr && !skipped)
        put_longrepr(&o, longrepr, what->output);
    if (longrepr && !skipped && !what->silent)
        put_problem(&o, what, longrepr);
    pt_json_close(&o);
    return hand_over(&o, out);
}

void pt_status_words(uint32_t status, char *out, size_t size)
{
    int st = (int)status;
    if (WIFSIGNALED(st)) {
        const char *name = sigabbrev_np(WTERMSIG(st));
        snprintf(out, size, "killed by signal %d%s%s%s", WTERMSIG(st), name ? " (SIG" : "", name ? name : "",
                 name ? ")" : "");
    } else if (WIFEXITED(st)) {
        snprintf(out, size, "exited with status %d", WEXITSTATUS(st));
    } else {
        snprintf(out, size, "ended with wait status 0x%x", status);
    }
}

/* "512 MiB"; less than one is told in KiB. */
static void memory_words(uint64_t bytes, char *out, size_t size)
{
    bool small = bytes < 1u << 20;
    snprintf(out, size, "%llu %s", (unsigned long long)(bytes >> (small ? 10 : 20)), small ? "KiB" : "MiB");
}

/* What the runner used stands before its output: "612 MiB, limit 512 MiB" and a line end. 0: it does not. */
static size_t memory_line(const struct pt_death *d, char *used, size_t size)
{
    const char *text = d->cause == PT_CAUSE_MEMORY && d->output ? d->output : "";
    size_t digits = strspn(text, "0123456789");
    size_t n = strcspn(text, "\n");
    if (digits == 0 || digits > 15 || !text[n] || strncmp(text + digits, " MiB, limit ", 12) != 0)
        return 0;
    snprintf(used, size, "%.*s MiB, ", (int)digits, text);
    return n + 1;
}

void pt_death_words(const struct pt_death *d, uint64_t memory, char *out, size_t size)
{
    char status[64];
    char used[40] = "";
    char limit[40] = "";
    static const char *const where[] = {"import", "setup", "call", "teardown", "the session's end"};
    const char *phase = d->phase < PT_COUNT(where) ? where[d->phase] : "?";
    pt_status_words(d->status, status, sizeof(status));
    memory_line(d, used, sizeof(used));
    if (memory)
        memory_words(memory, limit, sizeof(limit));
    if (d->cause == PT_CAUSE_TIMEOUT)
        snprintf(out, size, "timed out in %s after %.1f s", phase, (double)d->duration_us / 1e6);
    else if (d->cause == PT_CAUSE_MEMORY)
        snprintf(out, size, "killed in %s: %sabove --memory-per-slot %s", phase, used, limit);
    else if (d->cause == PT_CAUSE_OOM)
        snprintf(out, size, "killed in %s by the kernel, which was out of memory", phase);
    else
        snprintf(out, size, "crashed in %s: %s", phase, status);
}

const char *pt_death_output(const struct pt_death *d)
{
    char used[40];
    return d->output ? d->output + memory_line(d, used, sizeof(used)) : NULL;
}

int pt_report_from_death(const struct pt_death *d, uint64_t memory, const char *nodeid, const char *file,
                         bool silent, struct pt_buf *out)
{
    char message[160];
    struct pt_buf text = {0};
    pt_death_words(d, memory, message, sizeof(message));
    pt_buf_append(&text, message, strlen(message));
    if (d->stack && *d->stack) {
        pt_buf_append(&text, "\n\n", 2);
        pt_buf_append(&text, d->stack, strlen(d->stack));
    }
    pt_buf_append(&text, "", 1);
    struct pt_report_new what = {
        .outcome = d->cause == PT_CAUSE_TIMEOUT ? PT_OUTCOME_TIMEOUT : PT_OUTCOME_CRASHED,
        .phase = d->phase <= PT_PHASE_SESSION ? d->phase : (unsigned)PT_PHASE_CALL,
        .nodeid = nodeid,
        .file = file,
        .message = message,
        .longrepr = (char *)text.data,
        .output = pt_death_output(d),
        .duration = (double)(d->began_us ? d->lasted_us : d->duration_us) / 1e6,
        .started = (double)d->began_us / 1e6,
        .silent = silent,
    };
    int rc = text.bad ? -1 : pt_report_make(&what, out);
    pt_buf_fini(&text);
    return rc;
}

static void put_file_problem(struct pt_json_out *o, const struct pt_report *file, const char *host)
{
    const char *longrepr = file->longrepr ? file->longrepr : file->message;
    pt_auto_free char *headline = NULL;
    if (file->outcome == PT_OUTCOME_SKIPPED || !longrepr)
        return;
    if (asprintf(&headline, "ERROR collecting %s on %s", file->nodeid, host) < 0) {
        headline = NULL;
        o->bad = true;
    }
    pt_json_open_array(o, "problems");
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "phase", "collect");
    pt_json_put_str(o, "category", pt_outcome_name(file->outcome));
    pt_json_put_str(o, "headline", headline);
    pt_json_put_str(o, "longrepr", longrepr);
    if (file->nproblems)
        pt_json_put(o, "sections", file->problems[0].sections);
    pt_json_close(o);
    pt_json_close(o);
}

void pt_report_put_skip(struct pt_json_out *o, const struct pt_report *r)
{
    if (!r->skip_file || !r->skip_reason)
        return;
    pt_json_open_array(o, "skip");
    pt_json_put_str(o, NULL, r->skip_file);
    pt_json_put_int(o, NULL, r->skip_line == PT_NONE ? 0 : r->skip_line);
    pt_json_put_str(o, NULL, r->skip_reason);
    pt_json_close(o);
}

int pt_report_of_file(const struct pt_report *file, const char *nodeid, const char *path, const char *host,
                      struct pt_buf *out)
{
    struct pt_json_out o;
    pt_json_out_init(&o, NULL);
    pt_json_open_object(&o, NULL);
    pt_json_put_str(&o, "nodeid", nodeid);
    pt_json_put_str(&o, "file", path);
    pt_json_put_str(&o, "outcome", pt_outcome_name(file->outcome));
    pt_json_put_str(&o, "phase", "collect");
    pt_json_open_object(&o, "counts");
    pt_json_put_int(&o, pt_outcome_name(file->outcome), 1);
    pt_json_close(&o);
    pt_json_put_str(&o, "message", file->message);
    pt_json_put_str(&o, "longrepr", file->longrepr);
    put_file_problem(&o, file, host);
    pt_report_put_skip(&o, file);
    pt_json_close(&o);
    return hand_over(&o, out);
}

int pt_report_missing(const struct pt_note *missing, const char *file, const char *host, struct pt_buf *out)
{
    struct pt_buf text = {0};
    const char *nodeid = missing->nodeid ? missing->nodeid : "?";
    pt_auto_free char *head = NULL;
    if (asprintf(&head, "collected here, but %s on %s has no such test", file, host) < 0)
        return -1;
    pt_buf_append(&text, head, strlen(head));
    const struct pt_json *e = pt_json_first(missing->found);
    pt_buf_append(&text, e ? "; there are:" : "; there are none", e ? 12 : 16);
    for (; e; e = pt_json_next(e)) {
        const char *id = pt_json_text(e);
        pt_buf_append(&text, "\n  ", 3);
        pt_buf_append(&text, id ? id : "?", id ? strlen(id) : 1);
    }
    pt_buf_append(&text, "", 1);
    struct pt_report_new what = {
        .outcome = PT_OUTCOME_ERROR,
        .phase = PT_PHASE_COLLECT,
        .nodeid = nodeid,
        .file = file,
        .message = head,
        .longrepr = (char *)text.data,
        .duration = -1,
    };
    int rc = text.bad ? -1 : pt_report_make(&what, out);
    pt_buf_fini(&text);
    return rc;
}
