/* SPDX-License-Identifier: Apache-2.0 */
/* ERRORS, FAILURES and PASSES: the tracebacks, headed as pytest heads them, read from the ledger one by one.
 */
#include "common/auto.h"
#include "output/terminal_inside.h"

#include <stdlib.h>
#include <string.h>

#define BIT(outcome) (1u << (outcome))
#define BAD                                                                                                  \
    (BIT(PT_OUTCOME_ERROR) | BIT(PT_OUTCOME_FAILED) | BIT(PT_OUTCOME_TIMEOUT) | BIT(PT_OUTCOME_CRASHED))

struct section {
    struct pt_terminal *t;
    const char *title;
    const char *const *categories; /* NULL at the end */
    unsigned style;                /* of headlines */
    bool begun;
    char *last; /* headline of the one before: a file that failed for many tests is shown once */
};

static bool belongs(const struct section *s, const struct pt_problem *p)
{
    for (const char *const *c = s->categories; *c && p->category; c++)
        if (strcmp(*c, p->category) == 0)
            return true;
    return false;
}

static bool seen(struct section *s, const struct pt_problem *p)
{
    if (!p->phase || strcmp(p->phase, "collect") != 0 || !p->headline)
        return false;
    if (s->last && strcmp(s->last, p->headline) == 0)
        return true;
    free(s->last);
    s->last = strdup(p->headline);
    return false;
}

static void show(struct section *s, const struct pt_problem *p)
{
    const struct pt_text *x = &s->t->text;
    if (seen(s, p))
        return;
    if (!s->begun)
        pt_text_sep(x, '=', 0, s->title);
    s->begun = true;
    pt_text_sep(x, '_', s->style | PT_BOLD, p->headline ? p->headline : "test session");
    if (p->longrepr)
        pt_text_lines(x, p->longrepr);
    for (const struct pt_json *e = pt_json_first(p->sections); e; e = pt_json_next(e)) {
        const char *title = pt_json_text(pt_json_first(e));
        const char *text = pt_json_text(pt_json_next(pt_json_first(e)));
        pt_text_sep(x, '-', 0, title ? title : "");
        if (text && *text)
            pt_text_lines(x, text);
    }
}

static void show_report(struct section *s, const struct pt_report *r)
{
    for (size_t i = 0; i < r->nproblems; i++)
        if (belongs(s, &r->problems[i]))
            show(s, &r->problems[i]);
}

static int take(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows, size_t n)
{
    struct pt_result r;
    if (!pt_result_init(&r, test, rows, n))
        return 0;
    if (r.starved)
        fputs("(out of memory)\n", ((struct section *)arg)->t->text.out);
    show_report(arg, &r.own);
    if (r.has_extra)
        show_report(arg, &r.extra);
    pt_result_fini(&r);
    return 0;
}

static int show_section(struct section *s, const struct pt_terminal_end *end, uint32_t outcomes,
                        struct pt_err *err)
{
    if (s->t->o.no_traceback || !pt_terminal_any(end, outcomes))
        return 0;
    int rc = pt_ledger_each_result(end->ledger, end->run, outcomes, take, s, err);
    free(s->last);
    return rc < 0 ? -1 : 0;
}

int pt_terminal_errors(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err)
{
    static const char *const categories[] = {"error", NULL};
    struct section s = {.t = t, .title = "ERRORS", .categories = categories, .style = PT_RED};
    return show_section(&s, end, BAD, err);
}

int pt_terminal_failures(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err)
{
    static const char *const categories[] = {"failed", "crashed", "timeout", NULL};
    struct section s = {.t = t, .title = "FAILURES", .categories = categories, .style = PT_RED};
    return show_section(&s, end, BAD, err);
}

int pt_terminal_passes(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err)
{
    static const char *const categories[] = {"passed", NULL};
    struct section s = {.t = t, .title = "PASSES", .categories = categories, .style = PT_GREEN};
    if (!strchr(t->reportchars, 'P'))
        return 0;
    return show_section(&s, end, BIT(PT_OUTCOME_PASSED) | BAD, err);
}
