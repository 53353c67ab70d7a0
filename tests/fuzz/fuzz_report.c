/* SPDX-License-Identifier: Apache-2.0 */
/* Reports and notes of tests as JSON, and what is made of them here. The first byte: which. */
#include "common/err.h"
#include "fuzz.h"
#include "report.h"

/* What was made here is a report itself. */
static void check_made(int rc, struct pt_buf *b)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_report r;
    if (rc < 0) {
        FUZZ_CHECK(fuzz_starved());
    } else {
        bool fed = !fuzz_starved();
        rc = pt_report_decode(b->data, b->len, &r, &err);
        FUZZ_CHECK(rc == 0 || !fed || fuzz_starved());
        if (rc == 0)
            pt_report_fini(&r);
    }
    pt_buf_clear(b);
}

static void check_report(const struct pt_report *r)
{
    FUZZ_CHECK(r->nodeid && r->outcome > PT_OUTCOME_NONE && r->outcome < PT_OUTCOMES);
    FUZZ_CHECK(r->phase <= PT_PHASE_SESSION && r->ranks <= PT_RANKS_MAX);
    FUZZ_CHECK(r->ncounts <= PT_REPORT_LISTS && r->nproblems <= PT_REPORT_LISTS);
    for (size_t i = 0; i < r->ncounts; i++)
        FUZZ_CHECK(r->counts[i].name && r->counts[i].n <= PT_MAX_TESTS);
    for (size_t i = 0; i < r->nproblems; i++)
        for (const struct pt_json *s = pt_json_first(r->problems[i].sections); s; s = pt_json_next(s))
            FUZZ_CHECK(pt_json_text(pt_json_first(s)) && pt_json_text(pt_json_next(pt_json_first(s))));
    FUZZ_CHECK(r->started <= 0 || r->started > 0); /* a number */
}

static void make_from(const struct pt_report *r)
{
    struct pt_buf b = {0};
    check_made(pt_report_of_file(r, "t/a.py::x", "t/a.py", "h", &b), &b);
    pt_report_headline(&b, r->phase, r->nodeid);
    pt_buf_clear(&b);
    struct pt_report_new what = {.outcome = r->outcome,
                                 .phase = r->phase,
                                 .nodeid = r->nodeid,
                                 .file = r->file,
                                 .message = r->message,
                                 .longrepr = r->longrepr,
                                 .output = r->captured_out,
                                 .duration = r->duration,
                                 .started = r->started,
                                 .silent = r->ncounts == 0};
    check_made(pt_report_make(&what, &b), &b);
    pt_buf_fini(&b);
}

static void use_note(const struct pt_note *note)
{
    struct pt_buf b = {0};
    FUZZ_CHECK(pt_note_name(note->kind)[0] != '?');
    if (note->kind == PT_NOTE_COLLECT || note->kind == PT_NOTE_REPORT)
        check_report(&note->report);
    if (note->kind == PT_NOTE_WARNING)
        FUZZ_CHECK(note->warning.message);
    if (note->kind == PT_NOTE_MISSING)
        check_made(pt_report_missing(note, note->path, "host", &b), &b);
    FUZZ_CHECK(note->exit >= -1 && note->exit <= 255);
    pt_buf_fini(&b);
}

/* The input's numbers and texts as a death. */
static void tell_death(struct fuzz_parts in)
{
    struct pt_buf b = {0};
    struct pt_death d = {.phase = fuzz_byte(&in) % 6, .cause = 1 + fuzz_byte(&in) % 6};
    uint8_t how = fuzz_byte(&in);
    d.status = (uint32_t)fuzz_byte(&in) << 8 | fuzz_byte(&in);
    d.duration_us = (uint64_t)how << (how & 63);
    d.began_us = how & 1 ? d.duration_us : 0;
    d.stack = how & 2 ? fuzz_text(&in) : NULL;
    d.output = how & 4 ? fuzz_text(&in) : NULL;
    check_made(pt_report_from_death(&d, how & 8 ? (uint64_t)how << 15 : 0, "a[1]::b", "a", how & 16, &b), &b);
    FUZZ_CHECK(!pt_death_output(&d) || pt_death_output(&d) >= d.output);
    free(d.stack);
    free(d.output);
    pt_buf_fini(&b);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct fuzz_parts in = {data, size};
    struct pt_err err = PT_ERR_INIT;
    struct pt_report r;
    struct pt_note note;
    switch (fuzz_byte(&in) % 3) {
    case 0:
        if (pt_report_decode(in.p, in.left, &r, &err) < 0) {
            FUZZ_CHECK(err.msg[0]);
            return;
        }
        check_report(&r);
        make_from(&r);
        pt_report_fini(&r);
        return;
    case 1:
        if (pt_note_decode(in.p, in.left, &note, &err) < 0) {
            FUZZ_CHECK(err.msg[0] && pt_note_name((enum pt_note_kind)99)[0] == '?');
            return;
        }
        use_note(&note);
        pt_note_fini(&note);
        return;
    default:
        tell_death(in);
    }
}
