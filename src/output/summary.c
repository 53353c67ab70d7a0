/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a run: its parts in pytest's order, the short summary, the last line. */
#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"
#include "output/terminal_inside.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define LOST_LINES 50 /* most LOST lines; a lost host can lose thousands of tests */

/* A part of the last line: its colour, and the colour it gives the whole line (0: none). */
struct part {
    const char *category, *word;
    unsigned style, all;
};

static const struct part parts[] = {
    {"failed", "failed", PT_RED, PT_RED},
    {"error", "error", PT_RED, PT_RED},
    {"crashed", "crashed", PT_RED, PT_RED},
    {"timeout", "timeout", PT_RED, PT_RED},
    {"lost", "lost", PT_RED, PT_RED},
    {"warnings", "warnings", PT_YELLOW, PT_YELLOW},
    {"notrun", "not run", PT_YELLOW, PT_YELLOW},
    {"passed", "passed", PT_GREEN, PT_GREEN},
    {"skipped", "skipped", PT_YELLOW, 0},
    {"deselected", "deselected", PT_YELLOW, 0},
    {"xfailed", "xfailed", PT_YELLOW, 0},
};

static const struct part *part_of(const char *category)
{
    static const struct part other = {"", NULL, PT_YELLOW, PT_YELLOW};
    for (size_t i = 0; i < PT_COUNT(parts); i++)
        if (strcmp(parts[i].category, category) == 0)
            return &parts[i];
    return &other;
}

bool pt_terminal_any(const struct pt_terminal_end *end, uint32_t outcomes)
{
    for (unsigned i = PT_OUTCOME_NONE; i < PT_OUTCOMES; i++)
        if (outcomes >> i & 1 && pt_verdict_total(end->verdict, i))
            return true;
    return false;
}

/* --- short test summary info --- */

struct skip {
    char *file, *reason;
    uint32_t line, n;
};

struct lines {
    struct pt_terminal *t;
    struct pt_buf failed, error, ended, lost, xfailed, xpassed, passed, flaky, rerun;
    uint32_t nlost;
    struct skip *skips;
    size_t nskips;
    bool starved; /* memory ended: a line is missing */
};

/* "FAILED tests/a.py::test_x - assert 1 == 2", the message cut to the terminal's width. */
static void add_line(const struct lines *l, struct pt_buf *b, const char *word, unsigned style,
                     const struct pt_report *r, const char *before, const char *message)
{
    const struct pt_text *x = &l->t->text;
    struct pt_buf id = {0};
    struct pt_buf safe = {0};
    pt_terminal_nodeid(l->t, r->nodeid, &id);
    pt_buf_append(&id, "", 1);
    const char *nodeid = id.bad ? r->nodeid : (char *)id.data;
    const char *test = strstr(nodeid, "::");
    pt_text_style(b, x->color, style, word, strlen(word));
    pt_buf_append(b, " ", 1);
    pt_quote_print(b, nodeid, test ? (size_t)(test + 2 - nodeid) : strlen(nodeid), 0);
    if (test)
        pt_text_style(b, x->color, PT_BOLD, test + 2, strlen(test + 2));
    pt_quote_print(&safe, nodeid, strlen(nodeid), 0);
    b->bad |= id.bad || safe.bad;
    size_t used = strlen(word) + 1 + pt_text_columns((char *)safe.data, safe.len) + strlen(before);
    pt_buf_fini(&safe);
    pt_buf_fini(&id);
    size_t room = l->t->o.whole_lines ? SIZE_MAX : x->width > used ? x->width - used : 0;
    if (message && *message && room >= 3) {
        pt_buf_append(b, before, strlen(before));
        pt_text_cut(b, message, room);
    }
    pt_buf_append(b, "\n", 1);
}

static bool counts(const struct pt_report *r, const char *category)
{
    if (!r->counts)
        return strcmp(pt_outcome_name(r->outcome), category) == 0;
    for (size_t i = 0; i < r->ncounts; i++)
        if (strcmp(r->counts[i].name, category) == 0)
            return r->counts[i].n > 0;
    return false;
}

static void add_skip(struct lines *l, const struct pt_report *r)
{
    if (!r->skip_file || !r->skip_reason)
        return;
    for (size_t i = 0; i < l->nskips; i++) {
        struct skip *s = &l->skips[i];
        if (s->line == r->skip_line && strcmp(s->file, r->skip_file) == 0 &&
            strcmp(s->reason, r->skip_reason) == 0) {
            s->n++;
            return;
        }
    }
    struct skip *skips = realloc(l->skips, (l->nskips + 1) * sizeof(*skips));
    if (!skips) {
        l->starved = true;
        return;
    }
    l->skips = skips;
    struct skip one = {strdup(r->skip_file), strdup(r->skip_reason), r->skip_line, 1};
    if (one.file && one.reason) {
        skips[l->nskips++] = one;
    } else {
        l->starved = true;
        free(one.file);
        free(one.reason);
    }
}

/* What a traceback says at its end: the first of its last lines marked with "E". NULL without one; the text
 * goes on to the end of the traceback. */
static const char *last_words(const char *longrepr)
{
    const char *found = NULL;
    bool marked = false;
    while (longrepr && *longrepr) {
        bool mark = longrepr[0] == 'E' && longrepr[1] == ' ';
        if (mark && !marked)
            found = longrepr + 1 + strspn(longrepr + 1, " ");
        marked = mark;
        longrepr += strcspn(longrepr, "\n");
        longrepr += *longrepr == '\n';
    }
    return found;
}

/* The report's message is that of its gravest phase; the other phases' stand in their tracebacks. */
static const char *message_of(const struct pt_report *r, const char *category)
{
    if (strcmp(pt_outcome_name(r->outcome), category) == 0)
        return r->message;
    for (size_t i = 0; i < r->nproblems; i++)
        if (r->problems[i].category && strcmp(r->problems[i].category, category) == 0)
            return last_words(r->problems[i].longrepr);
    return NULL;
}

static void add_report(struct lines *l, const struct pt_report *r)
{
    static const struct {
        const char *category, *word, *before;
        unsigned style;
        size_t buf;
    } kinds[] = {
        {"failed", "FAILED", " - ", PT_RED, offsetof(struct lines, failed)},
        {"error", "ERROR", " - ", PT_RED, offsetof(struct lines, error)},
        {"crashed", "CRASHED", " - ", PT_RED, offsetof(struct lines, ended)},
        {"timeout", "TIMEOUT", " - ", PT_RED, offsetof(struct lines, ended)},
        {"xfailed", "XFAIL", " - ", PT_YELLOW, offsetof(struct lines, xfailed)},
        {"xpassed", "XPASS", " ", PT_YELLOW, offsetof(struct lines, xpassed)},
    };
    for (size_t i = 0; i < PT_COUNT(kinds); i++)
        if (counts(r, kinds[i].category))
            add_line(l, (struct pt_buf *)((char *)l + kinds[i].buf), kinds[i].word, kinds[i].style, r,
                     kinds[i].before, message_of(r, kinds[i].category));
    if (r->outcome == PT_OUTCOME_LOST && l->nlost++ < LOST_LINES)
        add_line(l, &l->lost, "LOST", PT_RED, r, " - ", r->message);
    if (strchr(l->t->reportchars, 'p') && counts(r, "passed"))
        add_line(l, &l->passed, "PASSED", PT_GREEN, r, "", NULL);
    if (counts(r, "skipped"))
        add_skip(l, r);
}

/* "FLAKY tests/a.py::test_x - passed at try 2: assert 0", and with -rR a line for each try that did not
 * count. */
static void add_tries(struct lines *l, const struct pt_ledger_test *test, const struct pt_result *result)
{
    char before[48];
    bool flaky = result->outcome == PT_OUTCOME_PASSED;
    for (size_t i = 0; i < result->ntries; i++) {
        struct pt_report r;
        if (!pt_result_is_try(result, &result->tries[i]))
            continue;
        l->starved |= pt_result_decode(test, &result->tries[i], &r) < 0;
        const char *why = r.message ? r.message : pt_outcome_name(r.outcome);
        if (strchr(l->t->reportchars, 'R'))
            add_line(l, &l->rerun, "RERUN", PT_YELLOW, &r, " - ", why);
        snprintf(before, sizeof(before), " - passed at try %u: ", result->row->try_);
        if (flaky)
            add_line(l, &l->flaky, "FLAKY", PT_YELLOW, &r, before, why);
        flaky = false;
        pt_report_fini(&r);
    }
}

static int take(void *arg, const struct pt_ledger_test *test, const struct pt_ledger_report *rows, size_t n)
{
    struct pt_result r;
    if (!pt_result_init(&r, test, rows, n))
        return 0;
    ((struct lines *)arg)->starved |= r.starved;
    add_report(arg, &r.own);
    if (r.has_extra)
        add_report(arg, &r.extra);
    if (r.ntries)
        add_tries(arg, test, &r);
    pt_result_fini(&r);
    return 0;
}

static void put_skips(const struct lines *l)
{
    const struct pt_text *x = &l->t->text;
    for (size_t i = 0; i < l->nskips; i++) {
        const struct skip *s = &l->skips[i];
        pt_text_put(x, PT_YELLOW, "SKIPPED");
        fprintf(x->out, " [%u] ", s->n);
        pt_text_put(x, 0, s->file);
        if (s->line != PT_NONE)
            fprintf(x->out, ":%u", s->line);
        fputs(": ", x->out);
        pt_text_put(x, 0, s->reason);
        fputc('\n', x->out);
    }
}

static void put_buf(const struct lines *l, const struct pt_buf *b)
{
    if (b->bad)
        fputs("(out of memory)\n", l->t->text.out);
    else if (b->len)
        fwrite(b->data, 1, b->len, l->t->text.out);
}

static void put_char(const struct lines *l, char c)
{
    if (c == 'x')
        put_buf(l, &l->xfailed);
    else if (c == 'X')
        put_buf(l, &l->xpassed);
    else if (c == 'p')
        put_buf(l, &l->passed);
    else if (c == 's')
        put_skips(l);
    else if (c == 'f')
        put_buf(l, &l->failed);
    else if (c == 'E')
        put_buf(l, &l->error);
    else if (c == 'R')
        put_buf(l, &l->rerun);
}

static void put_lines(const struct lines *l)
{
    const char *chars = l->t->reportchars;
    const struct pt_buf *all[] = {&l->ended, &l->lost, &l->flaky};
    size_t n = l->ended.len + l->lost.len + l->flaky.len + l->rerun.len;
    n += (strchr(chars, 'f') ? l->failed.len : 0) + (strchr(chars, 'E') ? l->error.len : 0);
    n += (strchr(chars, 'x') ? l->xfailed.len : 0) + (strchr(chars, 'X') ? l->xpassed.len : 0);
    for (size_t i = 0; i < PT_COUNT(all); i++)
        n += all[i]->bad;
    n += (strchr(chars, 'p') ? l->passed.len : 0) + (strchr(chars, 's') ? l->nskips : 0);
    if (n == 0)
        return;
    pt_text_sep(&l->t->text, '=', PT_CYAN | PT_BOLD, "short test summary info");
    for (; *chars; chars++)
        put_char(l, *chars);
    put_buf(l, &l->flaky);
    put_buf(l, &l->ended);
    put_buf(l, &l->lost);
    if (l->nlost > LOST_LINES)
        fprintf(l->t->text.out, "LOST and %u more\n", l->nlost - LOST_LINES);
}

int pt_terminal_short_summary(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err)
{
    struct lines l = {.t = t};
    uint32_t outcomes = ~0u << PT_OUTCOME_LOST;
    if (strpbrk(t->reportchars, "xXsp") || pt_verdict_count_of(end->verdict, "rerun"))
        outcomes = ~0u;
    if (!pt_terminal_any(end, outcomes))
        return 0;
    int rc = pt_ledger_each_result(end->ledger, end->run, outcomes, take, &l, err);
    if (rc == 0)
        put_lines(&l);
    if (rc == 0 && l.starved)
        rc = pt_err_set(err, "short test summary: out of memory");
    struct pt_buf *all[] = {&l.failed,  &l.error,  &l.ended, &l.lost, &l.xfailed,
                            &l.xpassed, &l.passed, &l.flaky, &l.rerun};
    for (size_t i = 0; i < PT_COUNT(all); i++)
        pt_buf_fini(all[i]);
    for (size_t i = 0; i < l.nskips; i++) {
        free(l.skips[i].file);
        free(l.skips[i].reason);
    }
    free(l.skips);
    return rc < 0 ? -1 : 0;
}

/* --- hosts --- */

static int put_host(void *arg, const struct pt_ledger_host *h)
{
    const struct pt_text *x = arg;
    const double seconds[] = {h->connect, h->sync, h->launch};
    pt_text_put(x, 0, h->name);
    fprintf(x->out, ": %u slots, ", h->slots);
    pt_text_put(x, 0, h->state);
    fprintf(x->out, ", %.1f MB sent", (double)h->bytes_sent / 1e6);
    if (h->tree.bytes_reused)
        fprintf(x->out, ", %.1f MB reused", (double)h->tree.bytes_reused / 1e6);
    for (size_t i = 0; i < PT_COUNT(seconds); i++)
        if (seconds[i] >= 0)
            fprintf(x->out, ", %s %.2fs", ((const char *[]){"connect", "sync", "launch"})[i], seconds[i]);
    fputc('\n', x->out);
    return 0;
}

/* --- the last line --- */

static void append(struct pt_buf *b, const char *s)
{
    pt_buf_append(b, s, strlen(s));
}

/* "1 failed", "2 errors" */
static void part_text(const struct pt_count *c, char *out, size_t size)
{
    const struct part *p = part_of(c->name);
    const char *word = p->word ? p->word : c->name;
    if (strcmp(word, "warnings") == 0)
        snprintf(out, size, "%u warning%s", c->n, c->n == 1 ? "" : "s");
    else
        snprintf(out, size, "%u %s%s", c->n, word, strcmp(word, "error") == 0 && c->n != 1 ? "s" : "");
}

/* The gravest colour of the parts; yellow when nothing passed. */
static unsigned main_style(const struct pt_verdict *v, uint32_t warnings)
{
    struct pt_count c;
    unsigned all = 0;
    for (size_t i = 0; pt_verdict_get_count(v, i, &c); i++)
        if (warnings || strcmp(c.name, "warnings") != 0)
            all |= part_of(c.name)->all;
    return all & PT_RED ? PT_RED : all & PT_YELLOW || !all ? PT_YELLOW : PT_GREEN;
}

/* Text with and without colours: the second says how wide it is. */
struct last {
    struct pt_buf shown, plain;
    bool color;
};

static void add_part(struct last *l, unsigned style, const char *text)
{
    if (l->plain.len) {
        append(&l->shown, ", ");
        append(&l->plain, ", ");
    }
    pt_text_style(&l->shown, l->color, style, text, strlen(text));
    pt_quote_print(&l->plain, text, strlen(text), 0);
}

static void add_duration(struct last *l, unsigned style, double seconds)
{
    char text[80];
    unsigned long s = (unsigned long)seconds;
    int n = snprintf(text, sizeof(text), " in %.2fs", seconds);
    if (seconds >= 86400)
        snprintf(text + n, sizeof(text) - (size_t)n, " (%lu day%s, %lu:%02lu:%02lu)", s / 86400,
                 s / 86400 == 1 ? "" : "s", s / 3600 % 24, s / 60 % 60, s % 60);
    else if (seconds >= 60)
        snprintf(text + n, sizeof(text) - (size_t)n, " (%lu:%02lu:%02lu)", s / 3600, s / 60 % 60, s % 60);
    pt_text_style(&l->shown, l->color, style, text, strlen(text));
    append(&l->plain, text);
}

static void last_line(struct pt_terminal *t, const struct pt_terminal_end *end, uint32_t warnings)
{
    struct last l = {.color = t->text.color};
    struct pt_count c;
    char text[128];
    unsigned style = main_style(end->verdict, warnings);
    for (size_t i = 0; pt_verdict_get_count(end->verdict, i, &c); i++) {
        if (strcmp(c.name, "warnings") == 0)
            c.n = warnings;
        unsigned own = part_of(c.name)->style;
        part_text(&c, text, sizeof(text));
        if (c.n)
            add_part(&l, own | (own == style ? (unsigned)PT_BOLD : 0u), text);
    }
    if (l.plain.len == 0)
        add_part(&l, PT_YELLOW, "no tests ran");
    if (end->seconds >= 0)
        add_duration(&l, style, end->seconds);
    pt_buf_append(&l.shown, "", 1);
    if (l.shown.bad || l.plain.bad)
        fputs("out of memory\n", t->text.out);
    else if (t->o.verbosity >= 0)
        pt_text_sep_raw(&t->text, '=', style, (char *)l.shown.data,
                        pt_text_columns((char *)l.plain.data, l.plain.len));
    else
        fprintf(t->text.out, "%s\n", (char *)l.shown.data);
    pt_buf_fini(&l.shown);
    pt_buf_fini(&l.plain);
}

static void put_file(const struct pt_text *x, const char *kind, const char *path)
{
    char title[4200];
    if (!path)
        return;
    snprintf(title, sizeof(title), "generated %s file: %s", kind, path);
    pt_text_sep(x, '-', 0, title);
}

int pt_terminal_finish(struct pt_terminal *t, const struct pt_terminal_end *end, struct pt_err *err)
{
    const struct pt_text *x = &t->text;
    uint32_t warnings = 0;
    char title[4200];
    pt_terminal_clear(t);
    if (t->o.verbosity >= 0)
        fputc('\n', x->out);
    if (!t->o.no_summary && (pt_terminal_errors(t, end, err) < 0 || pt_terminal_failures(t, end, err) < 0))
        return -1;
    if (pt_terminal_warnings(t, end, &warnings, err) < 0)
        return -1;
    if (!t->o.no_summary && pt_terminal_passes(t, end, err) < 0)
        return -1;
    put_file(x, "xml", end->junit);
    put_file(x, "json", end->json);
    if (end->logs) {
        snprintf(title, sizeof(title), "output of the workers: %s", end->logs);
        pt_text_sep(x, '-', 0, title);
    }
    if (!t->o.no_summary &&
        (pt_terminal_slowest(t, end, err) < 0 || pt_terminal_short_summary(t, end, err) < 0))
        return -1;
    if (t->o.verbosity > 0) {
        pt_text_sep(x, '=', 0, "hosts");
        if (pt_ledger_each_host(end->ledger, end->run, put_host, &t->text, err))
            return -1;
    }
    if (end->stopped)
        pt_text_sep(x, '!', PT_RED, end->stopped);
    if (t->o.verbosity >= -1)
        last_line(t, end, warnings);
    return fflush(x->out) == 0 ? 0 : pt_err_set_kind(err, PT_ERR_INFRA, "output: cannot be written");
}
