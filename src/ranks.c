/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks.h"

#include "common/auto.h"
#include "common/err.h"
#include "ranks_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROBLEMS 64 /* of one test, all ranks together */

/* Problems of one phase, kind and headline, of whichever rank. */
struct joined {
    const struct pt_problem *first;
    unsigned phase;
    size_t order;
    struct pt_told_list texts;
    struct pt_ranks_sections sections;
};

struct merge {
    const struct pt_ranks_of *of_test;
    uint32_t of;
    struct pt_ranks_voice *voices;
    uint32_t gravest, longest;
    unsigned outcome, phase;
    bool some_skipped; /* and others not */
    bool others_ran;   /* the call, then */
    struct joined *problems;
    size_t nproblems;
    bool bad;
};

/* --- reading --- */

int pt_ranks_hand_over(struct pt_json_out *o, struct pt_buf *out, struct pt_err *err)
{
    int rc = pt_json_out_end(o);
    pt_buf_append(out, o->buf.data, o->buf.len);
    pt_buf_fini(&o->buf);
    return rc < 0 || out->bad ? pt_err_set(err, "out of memory") : 0;
}

void pt_ranks_voices_free(struct pt_ranks_voice *voices, uint32_t of)
{
    for (uint32_t i = 0; voices && i < of; i++)
        pt_report_fini(&voices[i].r);
    free(voices);
}

struct pt_ranks_voice *pt_ranks_voices(const struct pt_rank_word *words, uint32_t of, struct pt_err *err)
{
    struct pt_ranks_voice *voices = calloc(of, sizeof(*voices));
    if (!voices) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    for (uint32_t i = 0; i < of; i++) {
        const void *json;
        uint8_t outcome;
        size_t n;
        if (words[i].kind != PT_WORD_REPORT)
            continue;
        if (!pt_word_report(&words[i], &outcome, &json, &n))
            pt_err_set(err, "rank %u of %u: malformed REPORT", i, of);
        else if (pt_report_decode(json, n, &voices[i].r, err) < 0)
            pt_err_wrap(err, "rank %u of %u", i, of);
        else
            voices[i].has = true;
        if (!voices[i].has) {
            pt_ranks_voices_free(voices, of);
            return NULL;
        }
    }
    return voices;
}

/* In place of a report that was too long for the message. */
static const struct pt_report left_out = {.outcome = PT_OUTCOME_ERROR,
                                          .phase = PT_PHASE_CALL,
                                          .message = "its report was too long and was left out",
                                          .duration = -1};

static const struct pt_report *report_of(const struct merge *m, uint32_t rank)
{
    return m->voices[rank].has ? &m->voices[rank].r : &left_out;
}

/* Only says what it did not do, because of another rank. */
static bool is_bystander(const struct pt_report *r)
{
    static const char *const words[] = {"set-up failed on rank ", "set-up skipped on rank ",
                                        "not collected on rank "};
    for (size_t i = 0; r->message && i < PT_COUNT(words); i++)
        if (strncmp(r->message, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

static bool went_wrong(const struct pt_report *r)
{
    return r->outcome >= PT_OUTCOME_ERROR;
}

static bool is_graver(const struct pt_report *a, const struct pt_report *b)
{
    if (a->outcome != b->outcome)
        return a->outcome > b->outcome;
    return !is_bystander(a) && is_bystander(b);
}

static void weigh(struct merge *m)
{
    uint32_t skipped = 0;
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_report *r = report_of(m, i);
        if (is_graver(r, report_of(m, m->gravest)))
            m->gravest = i;
        if (r->duration > report_of(m, m->longest)->duration)
            m->longest = i;
        skipped += r->outcome == PT_OUTCOME_SKIPPED;
    }
    const struct pt_report *worst = report_of(m, m->gravest);
    m->outcome = worst->outcome;
    m->phase = worst->phase;
    m->some_skipped = skipped && skipped < m->of && m->outcome < PT_OUTCOME_NOTRUN;
    if (!m->some_skipped)
        return;
    m->outcome = PT_OUTCOME_FAILED;
    m->others_ran = true;
    for (uint32_t i = 0; i < m->of; i++)
        m->others_ran = m->others_ran && !is_bystander(report_of(m, i));
    for (m->gravest = 0; report_of(m, m->gravest)->outcome != PT_OUTCOME_SKIPPED;)
        m->gravest++;
    m->phase = report_of(m, m->gravest)->phase;
}

/* --- problems --- */

const char *pt_ranks_words(const struct pt_report *r)
{
    return r->longrepr && *r->longrepr ? r->longrepr : r->message ? r->message : "no reason was given";
}

void pt_ranks_headline(struct pt_buf *out, unsigned outcome, unsigned phase, const char *nodeid)
{
    if (outcome == PT_OUTCOME_ERROR && (phase == PT_PHASE_SETUP || phase == PT_PHASE_TEARDOWN))
        pt_buf_format(out, "ERROR at %s of ", pt_phase_name(phase));
    pt_report_headline(out, phase, nodeid);
}

static unsigned place_of(const char *phase)
{
    unsigned i = PT_PHASE_COLLECT;
    while (phase && i < PT_PHASE_SESSION && strcmp(phase, pt_phase_name(i)) != 0)
        i++;
    return phase ? i : PT_PHASE_CALL;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_good(const char *category)
{
    return category && (strcmp(category, "passed") == 0 || strcmp(category, "xfailed") == 0 ||
                        strcmp(category, "xpassed") == 0);
}

/* Where problems like this one are put together; NULL: there are too many. */
static struct joined *join(struct merge *m, const struct pt_problem *p)
{
    for (size_t i = 0; i < m->nproblems; i++) {
        const struct pt_problem *first = m->problems[i].first;
        if (same(first->phase, p->phase) && same(first->category, p->category) &&
            same(first->headline, p->headline))
            return &m->problems[i];
    }
    if (m->nproblems == MAX_PROBLEMS)
        return NULL;
    struct joined *j = &m->problems[m->nproblems];
    *j = (struct joined){.first = p, .phase = place_of(p->phase), .order = m->nproblems};
    m->nproblems++;
    return j;
}

static void take_problems(struct merge *m, uint32_t rank)
{
    const struct pt_report *r = report_of(m, rank);
    for (size_t i = 0; i < r->nproblems; i++) {
        const struct pt_problem *p = &r->problems[i];
        struct joined *j = m->outcome >= PT_OUTCOME_ERROR && is_good(p->category) ? NULL : join(m, p);
        if (!j)
            continue;
        pt_told_add(&j->texts, 0, rank, p->longrepr, NULL);
        for (const struct pt_json *e = pt_json_first(p->sections); e; e = pt_json_next(e))
            pt_ranks_section(&j->sections, rank, pt_json_text(pt_json_first(e)),
                             pt_json_text(pt_json_next(pt_json_first(e))));
    }
}

/* Those that went wrong without a problem to print are told by their words; what went well has only what it
 * printed to tell. */
static void take_others(struct merge *m, uint32_t rank, struct joined *j, bool quiet)
{
    const struct pt_report *r = report_of(m, rank);
    if (went_wrong(r) && r->nproblems == 0 && !(quiet && is_bystander(r)))
        pt_told_add(&j->texts, 0, rank, pt_ranks_words(r), NULL);
    else if (r->outcome == PT_OUTCOME_SKIPPED)
        pt_told_add(&j->texts, 0, rank, r->message && *r->message ? r->message : "skipped", NULL);
    if (!went_wrong(r))
        pt_ranks_captured(&j->sections, rank, r, m->of_test->show);
}

static int by_phase(const void *left, const void *right)
{
    const struct joined *a = left;
    const struct joined *b = right;
    int rc = (a->phase > b->phase) - (a->phase < b->phase);
    return rc ? rc : (a->order > b->order) - (a->order < b->order);
}

/* What is told of a test that went wrong, though no rank has a problem to print. */
static const struct pt_problem *made_problem(const struct merge *m, struct pt_problem *p, struct pt_buf *head)
{
    pt_ranks_headline(head, m->outcome, m->phase, m->of_test->nodeid);
    pt_buf_append(head, "", 1);
    *p = (struct pt_problem){.phase = pt_phase_name(m->phase),
                             .category = pt_outcome_name(m->outcome),
                             .headline = head->bad ? "" : (char *)head->data};
    return p;
}

static void collect_problems(struct merge *m, struct pt_problem *made, struct pt_buf *head)
{
    bool quiet = !is_bystander(report_of(m, m->gravest));
    m->problems = calloc(MAX_PROBLEMS, sizeof(*m->problems));
    if (!m->problems) {
        m->bad = true;
        return;
    }
    for (uint32_t i = 0; i < m->of; i++)
        if (!quiet || !is_bystander(report_of(m, i)))
            take_problems(m, i);
    if (m->outcome >= PT_OUTCOME_ERROR) {
        struct joined *first = m->nproblems ? &m->problems[0] : join(m, made_problem(m, made, head));
        for (uint32_t i = 0; i < m->of; i++)
            take_others(m, i, first, quiet);
    }
    qsort(m->problems, m->nproblems, sizeof(*m->problems), by_phase);
}

static void put_problems(struct pt_json_out *o, struct merge *m)
{
    if (m->nproblems == 0)
        return;
    pt_json_open_array(o, "problems");
    for (size_t i = 0; i < m->nproblems; i++) {
        struct joined *j = &m->problems[i];
        struct pt_buf text = {0};
        pt_told_sort(&j->texts);
        pt_told_put(&j->texts, m->of, &text);
        pt_json_open_object(o, NULL);
        pt_json_put_str(o, "phase", j->first->phase);
        pt_json_put_str(o, "category", j->first->category);
        pt_json_put_str(o, "headline", j->first->headline);
        pt_ranks_put_text(o, "longrepr", &text);
        pt_ranks_put_sections(o, &j->sections, m->of);
        pt_json_close(o);
    }
    pt_json_close(o);
}

/* --- the other members --- */

static void put_message(struct pt_json_out *o, const struct merge *m)
{
    const struct pt_report *worst = report_of(m, m->gravest);
    struct pt_told_list who = {0};
    struct pt_buf text = {0};
    if (m->outcome == PT_OUTCOME_PASSED)
        return;
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_report *r = report_of(m, i);
        if (r->outcome == worst->outcome && (m->some_skipped || same(r->message, worst->message)))
            pt_told_add(&who, 0, i, "-", NULL);
    }
    if (m->outcome >= PT_OUTCOME_ERROR && who.n < m->of) {
        pt_told_who(who.items, who.n, m->of, &text);
        if (m->some_skipped)
            pt_buf_words(&text, m->others_ran ? " skipped, others ran" : " skipped, others did not");
        pt_buf_words(&text, worst->message && *worst->message ? ": " : "");
    }
    pt_buf_words(&text, worst->message ? worst->message : "");
    text.bad = text.bad || who.bad;
    pt_told_fini(&who);
    pt_ranks_put_text(o, "message", &text);
}

static void put_longrepr(struct pt_json_out *o, const struct merge *m)
{
    bool quiet = !is_bystander(report_of(m, m->gravest));
    struct pt_told_list l = {0};
    struct pt_buf text = {0};
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_report *r = report_of(m, i);
        if (went_wrong(r) && !(quiet && is_bystander(r)))
            pt_told_add(&l, 0, i, pt_ranks_words(r), NULL);
        else if (m->some_skipped && r->outcome == PT_OUTCOME_SKIPPED)
            pt_told_add(&l, 0, i, r->message && *r->message ? r->message : "skipped", NULL);
        else if (m->outcome < PT_OUTCOME_ERROR)
            pt_told_add(&l, 0, i, r->longrepr, NULL);
    }
    pt_told_sort(&l);
    pt_told_put(&l, m->of, &text);
    pt_told_fini(&l);
    pt_ranks_put_text(o, "longrepr", &text);
}

static uint32_t errors_of(const struct pt_report *r)
{
    for (size_t i = 0; i < r->ncounts; i++)
        if (strcmp(r->counts[i].name, "error") == 0)
            return r->counts[i].n;
    return 0;
}

/* Those of the gravest rank, and an error that another one had besides. */
static void put_counts(struct pt_json_out *o, const struct merge *m)
{
    const struct pt_report *worst = report_of(m, m->gravest);
    uint32_t errors = 0;
    for (uint32_t i = 0; i < m->of; i++)
        errors = errors > errors_of(report_of(m, i)) ? errors : errors_of(report_of(m, i));
    if (!worst->counts && !m->some_skipped)
        return;
    pt_json_open_object(o, "counts");
    if (m->some_skipped)
        pt_json_put_int(o, "failed", 1);
    for (size_t i = 0; i < worst->ncounts && !m->some_skipped; i++)
        if (strcmp(worst->counts[i].name, "error") != 0)
            pt_json_put_int(o, worst->counts[i].name, worst->counts[i].n);
    if (errors && !m->some_skipped)
        pt_json_put_int(o, "error", errors);
    pt_json_close(o);
}

static void put_seconds(struct pt_json_out *o, const char *key, double v)
{
    if (v >= 0)
        pt_json_put_micros(o, key, v);
}

static void put_times(struct pt_json_out *o, const struct pt_report *r)
{
    if (r == &left_out)
        return;
    put_seconds(o, "started", r->started);
    put_seconds(o, "duration", r->duration);
    put_seconds(o, "setup", r->setup);
    put_seconds(o, "call", r->call);
    put_seconds(o, "teardown", r->teardown);
}

static void put_skip(struct pt_json_out *o, const struct merge *m)
{
    const struct pt_report *r = report_of(m, m->gravest);
    if (m->outcome != PT_OUTCOME_SKIPPED || !r->skip_file || !r->skip_reason)
        return;
    pt_json_open_array(o, "skip");
    pt_json_put_str(o, NULL, r->skip_file);
    pt_json_put_int(o, NULL, r->skip_line == PT_NONE ? 0 : r->skip_line);
    pt_json_put_str(o, NULL, r->skip_reason);
    pt_json_close(o);
}

static void put_output(struct pt_json_out *o, const char *key, const struct pt_ranks_voice *voices,
                       uint32_t of, size_t field)
{
    struct pt_told_list l = {0};
    struct pt_buf text = {0};
    for (uint32_t i = 0; i < of; i++) {
        const struct pt_report *r = &voices[i].r;
        const char *const texts[] = {r->captured_out, r->captured_err, r->log};
        pt_told_add(&l, 0, i, texts[field], NULL);
    }
    pt_told_sort(&l);
    pt_told_put(&l, of, &text);
    pt_told_fini(&l);
    pt_ranks_put_text(o, key, &text);
}

void pt_ranks_put_captured(struct pt_json_out *o, const struct pt_ranks_voice *voices, uint32_t of)
{
    put_output(o, "stdout", voices, of, 0);
    put_output(o, "stderr", voices, of, 1);
    put_output(o, "log", voices, of, 2);
}

/* Each once; those of rank 0 come first. */
static void put_properties(struct pt_json_out *o, const struct merge *m)
{
    struct pt_told_list l = {0};
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_json *list = report_of(m, i)->properties;
        for (const struct pt_json *e = pt_json_first(list); e; e = pt_json_next(e)) {
            struct pt_buf text = {0};
            int rc = pt_json_print(e, &text);
            pt_buf_append(&text, "", 1);
            l.bad = l.bad || rc < 0;
            pt_told_add_own(&l, 0, i, text.bad ? NULL : (char *)text.data, e);
            if (text.bad)
                pt_buf_fini(&text);
        }
    }
    pt_told_sort(&l);
    if (l.n)
        pt_json_open_array(o, "properties");
    for (uint32_t i = 0; i < l.n; i = pt_told_group(&l, i))
        pt_json_put(o, NULL, l.items[i].what);
    if (l.n)
        pt_json_close(o);
    o->bad = o->bad || l.bad;
    pt_told_fini(&l);
}

static void put_stop(struct pt_json_out *o, const struct merge *m)
{
    for (uint32_t i = 0; i < m->of; i++) {
        if (report_of(m, i)->stop) {
            pt_json_put_str(o, "stop", report_of(m, i)->stop);
            return;
        }
    }
}

static void put_all(struct pt_json_out *o, struct merge *m)
{
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "nodeid", m->of_test->nodeid);
    pt_json_put_str(o, "file", m->of_test->path);
    pt_json_put_int(o, "ranks", m->of);
    pt_json_put_str(o, "outcome", pt_outcome_name(m->outcome));
    pt_json_put_str(o, "phase", pt_phase_name(m->phase));
    put_times(o, report_of(m, m->longest));
    put_counts(o, m);
    put_message(o, m);
    put_longrepr(o, m);
    pt_ranks_put_captured(o, m->voices, m->of);
    put_problems(o, m);
    put_skip(o, m);
    put_properties(o, m);
    if (!m->some_skipped && report_of(m, m->gravest) != &left_out)
        pt_ranks_put_junit(o, m->voices, m->of, m->gravest, m->longest, m->outcome);
    put_stop(o, m);
    pt_json_close(o);
    o->bad = o->bad || m->bad;
}

int pt_ranks_report(const struct pt_ranks *ranks, const struct pt_ranks_of *of, struct pt_buf *out,
                    struct pt_err *err)
{
    struct merge m = {
        .of_test = of, .of = ranks->of, .voices = pt_ranks_voices(ranks->words, ranks->of, err)};
    struct pt_problem made;
    struct pt_buf head = {0};
    struct pt_json_out o;
    if (!m.voices)
        return -1;
    weigh(&m);
    collect_problems(&m, &made, &head);
    pt_json_out_init(&o, NULL);
    put_all(&o, &m);
    int rc = pt_ranks_hand_over(&o, out, err);
    for (size_t i = 0; i < m.nproblems; i++) {
        pt_told_fini(&m.problems[i].texts);
        pt_told_fini(&m.problems[i].sections.said);
    }
    free(m.problems);
    pt_buf_fini(&head);
    pt_ranks_voices_free(m.voices, m.of);
    return rc;
}
