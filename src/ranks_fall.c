/* SPDX-License-Identifier: Apache-2.0 */
/* A group of ranks came to its end: what it is told by on the test it ran. First comes the rank it began
 * with, then what other ranks have to tell themselves, then where those were that only went with it. */
#include "common/auto.h"
#include "common/err.h"
#include "ranks_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a rank's words are under; for the last two the phase is added. */
enum topic { OWN, SILENT, WAITED = 0x100, WENT = 0x200, ELSEWHERE = 0x300 };

struct fall {
    const struct pt_fall *m;
    const struct pt_ranks_of *of_test;
    struct pt_ranks_voice *voices;
    struct pt_death *deaths; /* as far as dead says */
    bool *dead;
    unsigned outcome;
    double started, duration;
    uint32_t starter; /* whose clock started is by */
    char *message;
    struct pt_told_list said;
    struct pt_ranks_sections sections;
};

/* --- words --- */

static const char *place(unsigned phase)
{
    static const char *const names[] = {"import", "set-up", "call", "tear-down", "session's end"};
    return phase < PT_COUNT(names) ? names[phase] : "?";
}

/* As pt_death_words, but what happened comes first. */
static void own_words(const struct pt_death *d, uint64_t memory, char *out, size_t size)
{
    char status[64];
    pt_status_words(d->status, status, sizeof(status));
    if (d->cause == PT_CAUSE_DIED)
        snprintf(out, size, "%s in %s", status, place(d->phase));
    else
        pt_death_words(d, memory, out, size);
}

static const char *cause_words(unsigned cause)
{
    static const char *const words[] = {[PT_CAUSE_DIED] = "ended",
                                        [PT_CAUSE_TIMEOUT] = "timed out",
                                        [PT_CAUSE_MEMORY] = "was above --memory-per-slot",
                                        [PT_CAUSE_OOM] = "was killed by the kernel, which was out of memory,",
                                        [PT_CAUSE_DEADLOCK] = "failed",
                                        [PT_CAUSE_FALL] = "ended"};
    return cause < PT_COUNT(words) && words[cause] ? words[cause] : "ended";
}

static bool is_own(const struct pt_death *d)
{
    return d->cause != PT_CAUSE_DEADLOCK && d->cause != PT_CAUSE_FALL;
}

static double grace_of(const struct fall *f)
{
    return f->of_test->grace;
}

static void put_no_group(const struct fall *f, struct pt_buf *out)
{
    const char *why = f->m->text;
    size_t n = strcspn(why, "\n");
    pt_buf_format(out, "no %u ranks could be started on ", f->m->of);
    pt_buf_words(out, f->of_test->nhosts ? f->of_test->hosts[0] : f->of_test->host);
    for (uint32_t i = 1; i < f->of_test->nhosts; i++) {
        pt_buf_words(out, "+");
        pt_buf_words(out, f->of_test->hosts[i]);
    }
    pt_buf_words(out, n ? ": " : "");
    pt_buf_append(out, why, n < 512 ? n : 512);
}

/* One line: who it began with and what it did. */
static void put_first_line(const struct fall *f, struct pt_buf *out)
{
    const struct pt_fall *m = f->m;
    char words[192];
    if (m->cause == PT_CAUSE_NO_GROUP) {
        put_no_group(f, out);
        return;
    }
    bool known = m->culprit != PT_NONE;
    const struct pt_report *r = known && f->voices[m->culprit].has ? &f->voices[m->culprit].r : NULL;
    if (known)
        pt_buf_format(out, "rank %u of %u: ", m->culprit, m->of);
    else
        pt_buf_format(out, "one of %u ranks ", m->of);
    snprintf(words, sizeof(words), "%s in %s", cause_words(m->cause), place(m->phase));
    if (known && f->dead[m->culprit] && is_own(&f->deaths[m->culprit]))
        own_words(&f->deaths[m->culprit], f->of_test->memory, words, sizeof(words));
    if (m->cause == PT_CAUSE_DEADLOCK && r && r->message && *r->message)
        pt_buf_words(out, r->message);
    else
        pt_buf_words(out, words);
    if (m->cause != PT_CAUSE_DEADLOCK)
        return;
    pt_buf_format(out, "; others were still in %s ", place(m->phase));
    if (grace_of(f) >= 0)
        pt_buf_format(out, "%g s ", grace_of(f));
    pt_buf_words(out, "later");
}

static unsigned outcome_of(const struct pt_fall *m)
{
    if (m->cause == PT_CAUSE_NO_GROUP)
        return PT_OUTCOME_ERROR;
    if (m->cause == PT_CAUSE_DEADLOCK)
        return m->phase == PT_PHASE_CALL ? PT_OUTCOME_FAILED : PT_OUTCOME_ERROR;
    return m->cause == PT_CAUSE_TIMEOUT ? PT_OUTCOME_TIMEOUT : PT_OUTCOME_CRASHED;
}

/* --- what each rank adds --- */

static void take_own_death(struct fall *f, uint32_t rank, const struct pt_death *d)
{
    char words[192] = "";
    bool culprit = rank == f->m->culprit; /* the message has its words */
    if (!culprit)
        own_words(d, f->of_test->memory, words, sizeof(words));
    char *stack = pt_ranks_stack(d->stack);
    char *text = NULL;
    if (!stack || asprintf(&text, "%s%s%s", words, *words && *stack ? "\n\n" : "", stack) < 0)
        text = NULL;
    pt_told_add_own(&f->said, OWN, rank, text, NULL);
    pt_told_loosely(&f->said);
    free(stack);
}

/* Clocks of several hosts differ: the lowest rank that knows says it. */
static void take_times(struct fall *f, uint32_t rank, double started, double duration)
{
    f->duration = duration > f->duration ? duration : f->duration;
    if (started < 0 || (f->started >= 0 && f->starter < rank))
        return;
    f->started = started;
    f->starter = rank;
}

static void take_death(struct fall *f, uint32_t rank)
{
    const struct pt_death *d = &f->deaths[rank];
    bool here = d->test == f->m->test || d->cause == PT_CAUSE_DEADLOCK;
    uint32_t topic = d->cause == PT_CAUSE_DEADLOCK ? WAITED : here ? WENT : ELSEWHERE;
    bool known = d->test == f->m->test && d->began_us > 0;
    take_times(f, rank, known ? (double)d->began_us / 1e6 : -1,
               (double)(known ? d->lasted_us : d->duration_us) / 1e6);
    pt_ranks_section(&f->sections, rank, "Last output", pt_death_output(d));
    if (is_own(d)) {
        take_own_death(f, rank, d);
        return;
    }
    const char *stack = d->stack && *d->stack ? d->stack : "(it did not tell its stack)";
    pt_told_add_own(&f->said, topic == ELSEWHERE ? topic : topic + d->phase, rank, pt_ranks_stack(stack),
                    NULL);
    pt_told_loosely(&f->said);
}

static void take_rank(struct fall *f, uint32_t rank)
{
    const struct pt_report *r = &f->voices[rank].r;
    if (f->dead[rank])
        take_death(f, rank);
    else if (!f->voices[rank].has)
        pt_told_add(&f->said, SILENT, rank, "-", NULL);
    if (!f->voices[rank].has)
        return;
    if (r->outcome >= PT_OUTCOME_ERROR)
        pt_told_add(&f->said, OWN, rank, pt_ranks_words(r), NULL);
    pt_ranks_captured(&f->sections, rank, r, f->of_test->show);
    take_times(f, rank, r->started, r->duration);
}

static int read_deaths(struct fall *f, struct pt_err *err)
{
    for (uint32_t i = 0; i < f->m->of; i++) {
        if (f->m->words[i].kind != PT_WORD_DEATH)
            continue;
        if (pt_word_death(&f->m->words[i], &f->deaths[i], err) < 0)
            return pt_err_wrap(err, "rank %u of %u", i, f->m->of);
        f->dead[i] = true;
    }
    return 0;
}

/* Everything from the message but what it is called. */
static int read_all(struct fall *f, struct pt_err *err)
{
    const struct pt_fall *m = f->m;
    struct pt_buf text = {0};
    f->deaths = calloc(m->of, sizeof(*f->deaths));
    f->dead = calloc(m->of, sizeof(*f->dead));
    f->voices = f->deaths && f->dead ? pt_ranks_voices(m->words, m->of, err) : NULL;
    if (!f->voices || read_deaths(f, err) < 0)
        return err && err->msg[0] ? -1 : pt_err_set(err, "out of memory");
    if (m->cause != PT_CAUSE_NO_GROUP && m->culprit != PT_NONE)
        take_rank(f, m->culprit);
    for (uint32_t i = 0; i < m->of && m->cause != PT_CAUSE_NO_GROUP; i++)
        if (i != m->culprit)
            take_rank(f, i);
    pt_told_sort(&f->said);
    put_first_line(f, &text);
    pt_buf_append(&text, "", 1);
    f->message = (char *)text.data;
    if (!text.bad && !f->said.bad)
        return 0;
    return pt_err_set(err, "out of memory");
}

static void fini(struct fall *f)
{
    for (uint32_t i = 0; f->dead && f->deaths && i < f->m->of; i++)
        if (f->dead[i])
            pt_death_fini(&f->deaths[i]);
    pt_ranks_voices_free(f->voices, f->m->of);
    pt_told_fini(&f->said);
    pt_told_fini(&f->sections.said);
    free(f->deaths);
    free(f->dead);
    free(f->message);
}

/* --- writing --- */

static void put_where(const struct fall *f, const struct pt_told *items, uint32_t n, struct pt_buf *out)
{
    unsigned phase = items->topic & 0xff;
    bool one = pt_told_who(items, n, f->m->of, out) == 1;
    const char *are = one ? "was" : "were";
    const char *its = one ? "its" : "their";
    if (items->topic == SILENT)
        pt_buf_words(out, " said nothing more\n");
    else if (items->topic == ELSEWHERE)
        pt_buf_format(out, " %s not at this test:\n\n", are);
    else if (items->topic >= WENT)
        pt_buf_format(out, " %s in %s %s when the ranks were ended:\n\n", are, its, place(phase));
    else if (grace_of(f) >= 0 && f->m->culprit != PT_NONE)
        pt_buf_format(out, " %s still in %s %s %g s after rank %u had failed:\n\n", are, its, place(phase),
                      grace_of(f), f->m->culprit);
    else
        pt_buf_format(out, " %s still in %s %s after another rank had failed:\n\n", are, its, place(phase));
}

static void put_line_end(struct pt_buf *out)
{
    if (out->len && out->data[out->len - 1] != '\n')
        pt_buf_words(out, "\n");
}

static void put_said(const struct fall *f, struct pt_buf *out)
{
    const struct pt_told_list *l = &f->said;
    for (uint32_t i = 0, end; i < l->n; i = end) {
        const struct pt_told *s = &l->items[i];
        end = pt_told_group(l, i);
        put_line_end(out);
        if (out->len)
            pt_buf_words(out, "\n");
        if (s->topic == OWN)
            pt_told_heading(s, end - i, f->m->of, out);
        else
            put_where(f, s, end - i, out);
        if (s->topic != SILENT)
            pt_buf_words(out, s->text);
    }
}

static void put_story(const struct fall *f, struct pt_buf *out)
{
    const struct pt_fall *m = f->m;
    bool told = f->said.n && f->said.items[0].topic == OWN;
    if (m->cause != PT_CAUSE_DEADLOCK || !told)
        pt_buf_words(out, f->message);
    put_said(f, out);
    if (m->cause != PT_CAUSE_NO_GROUP)
        return;
    if (strchr(m->text, '\n')) {
        pt_buf_words(out, "\n\n");
        pt_buf_words(out, m->text);
    }
    pt_buf_format(out, "\n\nTry it there: mpirun -np %u python3 -c 'import mpi4py.MPI'", m->of);
}

/* With the output below it, for readers that have no sections. Sorted sections. */
static void put_whole(struct pt_json_out *o, const struct fall *f)
{
    const struct pt_told_list *l = &f->sections.said;
    struct pt_buf text = {0};
    put_story(f, &text);
    for (uint32_t i = 0, end; i < l->n; i = end) {
        end = pt_told_group(l, i);
        put_line_end(&text);
        pt_buf_words(&text, "\n");
        pt_buf_words(&text, f->sections.titles[l->items[i].topic]);
        pt_buf_words(&text, " on ");
        pt_told_who(&l->items[i], end - i, f->m->of, &text);
        pt_buf_words(&text, ":\n");
        pt_buf_words(&text, l->items[i].text);
    }
    pt_ranks_put_text(o, "longrepr", &text);
}

static void put_problem(struct pt_json_out *o, struct fall *f)
{
    struct pt_buf head = {0};
    struct pt_buf text = {0};
    pt_ranks_headline(&head, f->outcome, f->m->phase, f->of_test->nodeid);
    put_story(f, &text);
    pt_json_open_array(o, "problems");
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "phase", pt_phase_name(f->m->phase));
    pt_json_put_str(o, "category", pt_outcome_name(f->outcome));
    pt_ranks_put_text(o, "headline", &head);
    pt_ranks_put_text(o, "longrepr", &text);
    pt_ranks_put_sections(o, &f->sections, f->m->of);
    pt_json_close(o);
    pt_json_close(o);
}

static void put_fall(struct pt_json_out *o, struct fall *f)
{
    pt_json_open_object(o, NULL);
    pt_json_put_str(o, "nodeid", f->of_test->nodeid);
    pt_json_put_str(o, "file", f->of_test->path);
    pt_ranks_put_place(o, f->of_test, f->m->of);
    pt_json_put_str(o, "outcome", pt_outcome_name(f->outcome));
    pt_json_put_str(o, "phase", pt_phase_name(f->m->phase));
    if (f->started >= 0)
        pt_json_put_micros(o, "started", f->started);
    if (f->duration >= 0)
        pt_json_put_micros(o, "duration", f->duration);
    pt_json_open_object(o, "counts");
    if (!f->of_test->silent)
        pt_json_put_int(o, pt_outcome_name(f->outcome), 1);
    pt_json_close(o);
    pt_json_put_str(o, "message", f->message);
    pt_told_sort(&f->sections.said);
    put_whole(o, f);
    pt_ranks_put_captured(o, f->voices, f->m->of);
    if (!f->of_test->silent)
        put_problem(o, f);
    pt_json_close(o);
    o->bad = o->bad || f->sections.said.bad;
}

int pt_ranks_fall_report(const struct pt_fall *m, const struct pt_ranks_of *of, struct pt_buf *out,
                         struct pt_err *err)
{
    struct fall f = {.m = m, .of_test = of, .outcome = outcome_of(m), .started = -1, .duration = -1};
    struct pt_err why = PT_ERR_INIT;
    struct pt_json_out o;
    int rc = read_all(&f, &why);
    if (rc == 0) {
        pt_json_out_init(&o, NULL);
        put_fall(&o, &f);
        rc = pt_ranks_hand_over(&o, out, &why);
    }
    fini(&f);
    return rc < 0 ? pt_err_set(err, "%s", why.msg) : 0;
}

void pt_ranks_fall_words(const struct pt_fall *m, char *out, size_t size)
{
    char words[192];
    struct pt_death d;
    bool known = m->culprit != PT_NONE;
    snprintf(words, sizeof(words), "%s", cause_words(m->cause));
    if (known && m->words[m->culprit].kind == PT_WORD_DEATH &&
        pt_word_death(&m->words[m->culprit], &d, NULL) == 0) {
        if (d.cause == PT_CAUSE_DIED)
            pt_status_words(d.status, words, sizeof(words));
        else if (is_own(&d))
            pt_death_words(&d, 0, words, sizeof(words));
        pt_death_fini(&d);
    }
    if (known)
        snprintf(out, size, "rank %u of %u: %s", m->culprit, m->of, words);
    else
        snprintf(out, size, "%u ranks: %s", m->of, words);
}
