/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks.h"

#include "common/auto.h"
#include "common/err.h"
#include "ranks_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
                                          .started = -1,
                                          .duration = -1,
                                          .setup = -1,
                                          .call = -1,
                                          .teardown = -1};

const struct pt_report *pt_ranks_report_of(const struct pt_ranks_merge *m, uint32_t rank)
{
    return m->voices[rank].has ? &m->voices[rank].r : &left_out;
}

bool pt_ranks_is_bystander(const struct pt_report *r)
{
    static const char *const words[] = {"set-up failed on rank ", "set-up skipped on rank ",
                                        "not collected on rank "};
    for (size_t i = 0; r->message && i < PT_COUNT(words); i++)
        if (strncmp(r->message, words[i], strlen(words[i])) == 0)
            return true;
    return false;
}

bool pt_ranks_went_wrong(const struct pt_report *r)
{
    return r->outcome >= PT_OUTCOME_ERROR;
}

static bool is_graver(const struct pt_report *a, const struct pt_report *b)
{
    if (a->outcome != b->outcome)
        return a->outcome > b->outcome;
    return !pt_ranks_is_bystander(a) && pt_ranks_is_bystander(b);
}

static void weigh(struct pt_ranks_merge *m)
{
    uint32_t skipped = 0;
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_report *r = pt_ranks_report_of(m, i);
        if (is_graver(r, pt_ranks_report_of(m, m->gravest)))
            m->gravest = i;
        if (r->duration > pt_ranks_report_of(m, m->longest)->duration)
            m->longest = i;
        skipped += r->outcome == PT_OUTCOME_SKIPPED;
    }
    const struct pt_report *worst = pt_ranks_report_of(m, m->gravest);
    m->outcome = worst->outcome;
    m->phase = worst->phase;
    m->some_skipped = skipped && skipped < m->of && m->outcome < PT_OUTCOME_NOTRUN;
    if (!m->some_skipped)
        return;
    m->outcome = PT_OUTCOME_FAILED;
    m->others_ran = true;
    for (uint32_t i = 0; i < m->of; i++)
        m->others_ran = m->others_ran && !pt_ranks_is_bystander(pt_ranks_report_of(m, i));
    for (m->gravest = 0; pt_ranks_report_of(m, m->gravest)->outcome != PT_OUTCOME_SKIPPED;)
        m->gravest++;
    m->phase = pt_ranks_report_of(m, m->gravest)->phase;
}

/* --- its members --- */

const char *pt_ranks_words(const struct pt_report *r)
{
    return r->longrepr && *r->longrepr ? r->longrepr : r->message ? r->message : "no reason was given";
}

bool pt_ranks_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void put_message(struct pt_json_out *o, const struct pt_ranks_merge *m)
{
    const struct pt_report *worst = pt_ranks_report_of(m, m->gravest);
    struct pt_told_list who = {0};
    struct pt_buf text = {0};
    if (m->outcome == PT_OUTCOME_PASSED)
        return;
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_report *r = pt_ranks_report_of(m, i);
        if (r->outcome == worst->outcome && (m->some_skipped || pt_ranks_same(r->message, worst->message)))
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

void pt_ranks_tell_skip(struct pt_told_list *l, uint32_t rank, const struct pt_report *r)
{
    char *text = NULL;
    bool why = r->message && *r->message;
    if (asprintf(&text, "skipped%s%s", why ? ": " : "", why ? r->message : "") < 0)
        text = NULL;
    pt_told_add_own(l, 0, rank, text, NULL);
}

static void put_longrepr(struct pt_json_out *o, const struct pt_ranks_merge *m)
{
    bool quiet = !pt_ranks_is_bystander(pt_ranks_report_of(m, m->gravest));
    struct pt_told_list l = {0};
    struct pt_buf text = {0};
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_report *r = pt_ranks_report_of(m, i);
        if (pt_ranks_went_wrong(r) && !(quiet && pt_ranks_is_bystander(r)))
            pt_told_add(&l, 0, i, pt_ranks_words(r), NULL);
        else if (m->some_skipped && r->outcome == PT_OUTCOME_SKIPPED)
            pt_ranks_tell_skip(&l, i, r);
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
static void put_counts(struct pt_json_out *o, const struct pt_ranks_merge *m)
{
    const struct pt_report *worst = pt_ranks_report_of(m, m->gravest);
    uint32_t errors = 0;
    for (uint32_t i = 0; i < m->of; i++)
        errors = errors > errors_of(pt_ranks_report_of(m, i)) ? errors : errors_of(pt_ranks_report_of(m, i));
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

/* As that rank says, else as the first of those says that do. */
static double started(const struct pt_ranks_merge *m, double first)
{
    for (uint32_t i = 0; first < 0 && i < m->of; i++) {
        const struct pt_report *r = pt_ranks_report_of(m, i);
        if (r != &left_out)
            first = r->started;
    }
    return first;
}

static void put_times(struct pt_json_out *o, const struct pt_ranks_merge *m)
{
    const struct pt_report *r = pt_ranks_report_of(m, m->longest);
    put_seconds(o, "started", started(m, r->started));
    put_seconds(o, "duration", r->duration);
    put_seconds(o, "setup", r->setup);
    put_seconds(o, "call", r->call);
    put_seconds(o, "teardown", r->teardown);
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
static void put_properties(struct pt_json_out *o, const struct pt_ranks_merge *m)
{
    struct pt_told_list l = {0};
    for (uint32_t i = 0; i < m->of; i++) {
        const struct pt_json *list = pt_ranks_report_of(m, i)->properties;
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

static void put_stop(struct pt_json_out *o, const struct pt_ranks_merge *m)
{
    for (uint32_t i = 0; i < m->of; i++) {
        if (pt_ranks_report_of(m, i)->stop) {
            pt_json_put_str(o, "stop", pt_ranks_report_of(m, i)->stop);
            return;
        }
    }
}

void pt_ranks_put_place(struct pt_json_out *o, const struct pt_ranks_of *of, uint32_t ranks)
{
    pt_json_put_int(o, "ranks", ranks);
    if (!of->nhosts)
        return;
    pt_json_open_array(o, "hosts");
    for (uint32_t i = 0; i < of->nhosts; i++)
        pt_json_put_str(o, NULL, of->hosts[i]);
    pt_json_close(o);
    pt_json_open_array(o, "shares");
    for (uint32_t i = 0; i < of->nhosts; i++)
        pt_json_put_int(o, NULL, of->shares[i].ranks);
    pt_json_close(o);
}

static void put_all(struct pt_json_out *o, struct pt_ranks_merge *m)
{
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "nodeid", m->of_test->nodeid);
    pt_json_put_str(o, "file", m->of_test->path);
    pt_ranks_put_place(o, m->of_test, m->of);
    pt_json_put_str(o, "outcome", pt_outcome_name(m->outcome));
    pt_json_put_str(o, "phase", pt_phase_name(m->phase));
    put_times(o, m);
    put_counts(o, m);
    put_message(o, m);
    put_longrepr(o, m);
    pt_ranks_put_captured(o, m->voices, m->of);
    pt_ranks_put_problems(o, m);
    if (m->outcome == PT_OUTCOME_SKIPPED)
        pt_report_put_skip(o, pt_ranks_report_of(m, m->gravest));
    put_properties(o, m);
    if (!m->some_skipped && pt_ranks_report_of(m, m->gravest) != &left_out)
        pt_ranks_put_junit(o, m->voices, m->of, m->gravest, m->longest, m->outcome);
    put_stop(o, m);
    pt_json_close(o);
    o->bad = o->bad || m->bad;
}

int pt_ranks_report(const struct pt_ranks *ranks, const struct pt_ranks_of *of, struct pt_buf *out,
                    struct pt_err *err)
{
    struct pt_ranks_merge m = {
        .of_test = of, .of = ranks->of, .voices = pt_ranks_voices(ranks->words, ranks->of, err)};
    struct pt_json_out o;
    if (!m.voices)
        return -1;
    weigh(&m);
    pt_ranks_join_problems(&m);
    pt_json_out_init(&o, NULL);
    put_all(&o, &m);
    int rc = pt_ranks_hand_over(&o, out, err);
    pt_ranks_free_problems(&m);
    pt_ranks_voices_free(m.voices, m.of);
    return rc;
}
