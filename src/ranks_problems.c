/* SPDX-License-Identifier: Apache-2.0 */
/* What pytest would print of each rank, put together by phase, kind and headline. */
#include "ranks_inside.h"

#include <stdlib.h>
#include <string.h>

#define MAX_PROBLEMS 64 /* of one test, all ranks together */

/* Problems of one phase, kind and headline, of whichever rank. */
struct pt_ranks_problem {
    const struct pt_problem *first;
    unsigned phase;
    size_t order;
    struct pt_told_list texts;
    struct pt_ranks_sections sections;
};

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

static bool is_good(const char *category)
{
    return category && (strcmp(category, "passed") == 0 || strcmp(category, "xfailed") == 0 ||
                        strcmp(category, "xpassed") == 0);
}

/* Where problems like this one are put together; NULL: there are too many. */
static struct pt_ranks_problem *join(struct pt_ranks_merge *m, const struct pt_problem *p)
{
    for (size_t i = 0; i < m->nproblems; i++) {
        const struct pt_problem *first = m->problems[i].first;
        if (pt_ranks_same(first->phase, p->phase) && pt_ranks_same(first->category, p->category) &&
            pt_ranks_same(first->headline, p->headline))
            return &m->problems[i];
    }
    if (m->nproblems == MAX_PROBLEMS)
        return NULL;
    struct pt_ranks_problem *j = &m->problems[m->nproblems];
    *j = (struct pt_ranks_problem){.first = p, .phase = place_of(p->phase), .order = m->nproblems};
    m->nproblems++;
    return j;
}

static void take_problems(struct pt_ranks_merge *m, uint32_t rank)
{
    const struct pt_report *r = pt_ranks_report_of(m, rank);
    for (size_t i = 0; i < r->nproblems; i++) {
        const struct pt_problem *p = &r->problems[i];
        struct pt_ranks_problem *j =
            m->outcome >= PT_OUTCOME_ERROR && is_good(p->category) ? NULL : join(m, p);
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
static void take_others(struct pt_ranks_merge *m, uint32_t rank, struct pt_ranks_problem *j, bool quiet)
{
    const struct pt_report *r = pt_ranks_report_of(m, rank);
    if (pt_ranks_went_wrong(r) && r->nproblems == 0 && !(quiet && pt_ranks_is_bystander(r)))
        pt_told_add(&j->texts, 0, rank, pt_ranks_words(r), NULL);
    else if (r->outcome == PT_OUTCOME_SKIPPED)
        pt_ranks_tell_skip(&j->texts, rank, r);
    if (!pt_ranks_went_wrong(r))
        pt_ranks_captured(&j->sections, rank, r, m->of_test->show);
}

static int by_phase(const void *left, const void *right)
{
    const struct pt_ranks_problem *a = left;
    const struct pt_ranks_problem *b = right;
    int rc = (a->phase > b->phase) - (a->phase < b->phase);
    return rc ? rc : (a->order > b->order) - (a->order < b->order);
}

/* What is told of a test that went wrong, though no rank has a problem to print. */
static const struct pt_problem *made_problem(struct pt_ranks_merge *m)
{
    struct pt_buf *head = &m->headline;
    pt_ranks_headline(head, m->outcome, m->phase, m->of_test->nodeid);
    pt_buf_append(head, "", 1);
    m->bad = m->bad || head->bad;
    m->made = (struct pt_problem){.phase = pt_phase_name(m->phase),
                                  .category = pt_outcome_name(m->outcome),
                                  .headline = head->bad ? "" : (char *)head->data};
    return &m->made;
}

void pt_ranks_join_problems(struct pt_ranks_merge *m)
{
    bool quiet = !pt_ranks_is_bystander(pt_ranks_report_of(m, m->gravest));
    m->problems = calloc(MAX_PROBLEMS, sizeof(*m->problems));
    if (!m->problems) {
        m->bad = true;
        return;
    }
    for (uint32_t i = 0; i < m->of; i++)
        if (!quiet || !pt_ranks_is_bystander(pt_ranks_report_of(m, i)))
            take_problems(m, i);
    if (m->outcome >= PT_OUTCOME_ERROR) {
        struct pt_ranks_problem *first = m->nproblems ? &m->problems[0] : join(m, made_problem(m));
        for (uint32_t i = 0; i < m->of; i++)
            take_others(m, i, first, quiet);
    }
    qsort(m->problems, m->nproblems, sizeof(*m->problems), by_phase);
}

void pt_ranks_put_problems(struct pt_json_out *o, struct pt_ranks_merge *m)
{
    if (m->nproblems == 0)
        return;
    pt_json_open_array(o, "problems");
    for (size_t i = 0; i < m->nproblems; i++) {
        struct pt_ranks_problem *j = &m->problems[i];
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

void pt_ranks_free_problems(struct pt_ranks_merge *m)
{
    for (size_t i = 0; i < m->nproblems; i++) {
        pt_told_fini(&m->problems[i].texts);
        pt_told_fini(&m->problems[i].sections.said);
    }
    free(m->problems);
    pt_buf_fini(&m->headline);
}
