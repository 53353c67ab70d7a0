/* SPDX-License-Identifier: Apache-2.0 */
/* Lines about single tests, and lines that tests wrote. */
#include "common/auto.h"
#include "common/quote.h"
#include "output/terminal_inside.h"
#include "report.h"

#include <string.h>

static unsigned style_of(unsigned outcome)
{
    return outcome == PT_OUTCOME_PASSED ? PT_GREEN : outcome >= PT_OUTCOME_LOST ? PT_RED : PT_YELLOW;
}

static const char *word_of(unsigned outcome)
{
    static const char *const words[] = {"",     "PASSED", "SKIPPED", "XFAIL",   "XPASS",  "NOT RUN",
                                        "LOST", "ERROR",  "FAILED",  "TIMEOUT", "CRASHED"};
    _Static_assert(PT_COUNT(words) == PT_OUTCOMES, "one word for each outcome");
    return outcome < PT_OUTCOMES ? words[outcome] : "?";
}

/* "h1", or "h1+h2" of a test that several hosts ran together; heap, NULL: nothing to tell. */
static char *place_of(struct pt_terminal *t, const struct pt_report *r, uint32_t host)
{
    struct pt_buf b = {0};
    const struct pt_terminal_host *h = pt_terminal_get_host(t, host);
    if (!h || !h->name)
        return NULL;
    for (const struct pt_json *e = pt_json_first(r->hosts); e; e = pt_json_next(e))
        pt_terminal_append(&b, b.len ? "+%s" : "%s", pt_json_text(e) ? pt_json_text(e) : "?");
    if (!b.len)
        pt_terminal_append(&b, "%s", h->name);
    pt_put_u8(&b, 0);
    if (!b.bad)
        return (char *)b.data;
    pt_buf_fini(&b);
    return NULL;
}

/* tests/a.py::test_x PASSED [ 12%] h1; `rerun`: that outcome does not count. */
static void verbose_line(struct pt_terminal *t, const struct pt_report *r, bool rerun, const char *host,
                         const struct pt_verdict *v)
{
    char percent[32] = "";
    struct pt_buf nodeid = {0};
    const struct pt_text *x = &t->text;
    pt_terminal_clear(t);
    pt_terminal_nodeid(t, r->nodeid, &nodeid);
    pt_text_putn(x, 0, (char *)nodeid.data, nodeid.len);
    pt_buf_fini(&nodeid);
    fputc(' ', x->out);
    if (rerun)
        pt_text_put(x, PT_YELLOW, "RERUN");
    else
        pt_text_put(x, style_of(r->outcome), word_of(r->outcome));
    const char *why = r->outcome == PT_OUTCOME_SKIPPED && r->skip_reason ? r->skip_reason : r->message;
    bool told = r->outcome != PT_OUTCOME_PASSED && r->outcome < PT_OUTCOME_ERROR;
    if (why && *why && (told || rerun)) {
        fputs(" (", x->out);
        pt_text_putn(x, 0, why, strcspn(why, "\n"));
        fputc(')', x->out);
    }
    if (t->collected && t->chosen)
        snprintf(percent, sizeof(percent), " [%3u%%]", (unsigned)(100ull * pt_verdict_done(v) / t->chosen));
    pt_text_put(x, PT_CYAN, percent);
    if (host) {
        fputc(' ', x->out);
        pt_text_put(x, 0, host);
    }
    fputc('\n', x->out);
    fflush(x->out);
}

static void failing_line(struct pt_terminal *t, const struct pt_report *r, const char *host)
{
    struct pt_buf b = {0};
    struct pt_buf tail = {0};
    struct pt_buf nodeid = {0};
    const struct pt_text *x = &t->text;
    if (host)
        pt_terminal_append(&tail, " [%s]", host);
    pt_text_style(&b, x->color, style_of(r->outcome), word_of(r->outcome), strlen(word_of(r->outcome)));
    pt_buf_append(&b, " ", 1);
    pt_terminal_nodeid(t, r->nodeid, &nodeid);
    pt_quote_print(&b, (char *)nodeid.data, nodeid.len, 0);
    size_t used =
        strlen(word_of(r->outcome)) + 4 + pt_text_columns((char *)nodeid.data, nodeid.len) + tail.len;
    size_t room = t->o.whole_lines ? SIZE_MAX : x->width > used ? x->width - used : 0;
    if (r->message && room > 8) {
        pt_buf_append(&b, " - ", 3);
        pt_text_cut(&b, r->message, room);
    }
    pt_quote_print(&b, (char *)tail.data, tail.len, 0);
    pt_buf_append(&b, "\n", 1);
    pt_terminal_clear(t);
    if (!b.bad)
        fwrite(b.data, 1, b.len, x->out);
    fflush(x->out);
    pt_buf_fini(&b);
    pt_buf_fini(&tail);
    pt_buf_fini(&nodeid);
}

void pt_terminal_reported(struct pt_terminal *t, const struct pt_report *r, uint32_t host,
                          const struct pt_verdict *v)
{
    pt_auto_free char *name = place_of(t, r, host);
    if (t->o.verbosity > 0)
        verbose_line(t, r, false, name, v);
    else if (t->o.verbosity == 0 && r->outcome >= PT_OUTCOME_ERROR)
        failing_line(t, r, name);
    if (t->o.verbosity == 0 && !t->o.tty)
        pt_terminal_progress(t, v);
}

void pt_terminal_rerun(struct pt_terminal *t, const struct pt_report *r, uint32_t host,
                       const struct pt_verdict *v)
{
    pt_auto_free char *name = place_of(t, r, host);
    if (t->o.verbosity > 0)
        verbose_line(t, r, true, name, v);
}

void pt_terminal_live(struct pt_terminal *t, uint32_t host, const char *who, const char *nodeid,
                      const char *text, size_t n)
{
    struct pt_buf b = {0};
    const struct pt_terminal_host *h = pt_terminal_get_host(t, host);
    pt_terminal_append(&b, "[");
    pt_buf_append(&b, h && h->name ? h->name : "?", strlen(h && h->name ? h->name : "?"));
    pt_terminal_append(&b, " %s", who);
    if (nodeid)
        pt_buf_append(&b, " ", 1);
    if (nodeid)
        pt_terminal_nodeid(t, nodeid, &b);
    pt_terminal_append(&b, "] ");
    pt_terminal_clear(t);
    pt_text_putn(&t->text, PT_CYAN, (char *)b.data, b.len);
    pt_buf_clear(&b);
    pt_quote_print(&b, text, n, 1); /* tabs stay */
    pt_buf_append(&b, "\n", 1);
    if (!b.bad)
        fwrite(b.data, 1, b.len, t->text.out);
    fflush(t->text.out);
    pt_buf_fini(&b);
}
