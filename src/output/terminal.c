/* SPDX-License-Identifier: Apache-2.0 */
/* While a run goes on. On a terminal one status line stands below everything else: it is taken away before a
 * line is printed and drawn again at the next tick. Elsewhere progress is a plain line now and then. */
#include "output/terminal.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/quote.h"
#include "output/terminal_inside.h"
#include "report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define PLAIN_EVERY_MS 30000
#define PLAIN_LEAST    10 /* tests between two plain lines */
#define MANY_HOSTS     16 /* above it, plain lines about each host only with -v */

bool pt_terminal_colors(enum pt_color mode, int fd)
{
    const char *term = getenv("TERM");
    const char *no = getenv("NO_COLOR");
    const char *force = getenv("FORCE_COLOR");
    const char *py = getenv("PY_COLORS");
    if (mode != PT_COLOR_AUTO)
        return mode == PT_COLOR_YES;
    if (py && (strcmp(py, "0") == 0 || strcmp(py, "1") == 0))
        return *py == '1';
    if (no)
        return false;
    if (force)
        return true;
    return isatty(fd) && !(term && strcmp(term, "dumb") == 0);
}

unsigned pt_terminal_width(int fd)
{
    struct winsize size = {0};
    const char *columns = getenv("COLUMNS");
    long n = columns ? strtol(columns, NULL, 10) : 0;
    if (n <= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0)
        n = size.ws_col;
    return n >= 40 && n <= 10000 ? (unsigned)n : 80;
}

struct pt_terminal *pt_terminal_create(const struct pt_terminal_options *o, struct pt_err *err)
{
    struct pt_terminal *t = calloc(1, sizeof(*t));
    if (!t)
        goto error;
    t->o = *o;
    t->text = (struct pt_text){.out = o->out, .color = o->color, .width = o->width ? o->width : 80};
    t->told_ms = -1;
    t->cwd = getcwd(NULL, 0);
    pt_terminal_reportchars(t, o->reportchars ? o->reportchars : "fE");
    if (t->reportchars)
        return t;
error:
    pt_err_set(err, "terminal: out of memory");
    pt_terminal_destroy(t);
    return NULL;
}

void pt_terminal_destroy(struct pt_terminal *t)
{
    if (!t)
        return;
    if (t->status)
        pt_terminal_clear(t);
    for (size_t i = 0; i < t->nhosts; i++)
        free(t->hosts[i].name);
    free(t->hosts);
    free(t->status);
    free(t->reportchars);
    free(t->root);
    free(t->cwd);
    free(t);
}

void pt_terminal_resize(struct pt_terminal *t, unsigned width)
{
    t->text.width = width ? width : 80;
}

void pt_terminal_root(struct pt_terminal *t, const char *root)
{
    free(t->root);
    t->root = t->cwd && strcmp(t->cwd, root) != 0 ? strdup(root) : NULL;
}

void pt_terminal_nodeid(const struct pt_terminal *t, const char *nodeid, struct pt_buf *out)
{
    if (!t->root || !*nodeid) {
        pt_buf_append(out, nodeid, strlen(nodeid));
        return;
    }
    const char *rest = strstr(nodeid, "::");
    size_t n = rest ? (size_t)(rest - nodeid) : strlen(nodeid);
    pt_auto_free char *path = NULL;
    if (asprintf(&path, "%s/%.*s", t->root, (int)n, nodeid) < 0) {
        path = NULL;
        out->bad = true;
        return;
    }
    pt_text_relative(out, t->cwd, path);
    pt_buf_append(out, nodeid + n, strlen(nodeid + n));
}

void pt_terminal_durations(struct pt_terminal *t, int n, double min)
{
    t->o.durations = n;
    t->o.durations_min = min;
}

/* As pytest reads -r: a and A stand for several, N takes all back. */
void pt_terminal_reportchars(struct pt_terminal *t, const char *chars)
{
    char out[32] = "";
    for (; *chars; chars++) {
        size_t n = strlen(out);
        char c = *chars == 'F' ? 'f' : *chars == 'S' ? 's' : *chars;
        if (c == 'a' || c == 'A')
            strcpy(out, c == 'a' ? "sxXEf" : "PpsxXEf");
        else if (c == 'N')
            out[0] = '\0';
        else if (!strchr(out, c) && n + 1 < sizeof(out))
            memcpy(out + n, (char[]){c, '\0'}, 2);
    }
    char *copy = strdup(out);
    if (!copy)
        return;
    free(t->reportchars);
    t->reportchars = copy;
}

/* --- lines --- */

void pt_terminal_clear(struct pt_terminal *t)
{
    if (t->drawn)
        fputs("\r\033[K", t->text.out);
    t->drawn = false;
    free(t->status);
    t->status = NULL;
}

static void line(struct pt_terminal *t, unsigned style, const char *s)
{
    pt_terminal_clear(t);
    pt_text_put(&t->text, style, s);
    fputc('\n', t->text.out);
    fflush(t->text.out);
}

void pt_terminal_header(struct pt_terminal *t, const char *version, const char *run)
{
    char head[256];
    if (t->o.verbosity < 0)
        return;
    pt_terminal_clear(t);
    pt_text_sep(&t->text, '=', PT_BOLD, "test session starts");
    snprintf(head, sizeof(head), "ptremote %s -- run %s", version, run);
    line(t, 0, head);
}

void pt_terminal_line(struct pt_terminal *t, const char *text)
{
    if (t->o.verbosity >= 0)
        line(t, 0, text);
}

void pt_terminal_note(struct pt_terminal *t, const char *text)
{
    line(t, PT_YELLOW, text);
}

/* --- hosts --- */

struct pt_terminal_host *pt_terminal_get_host(struct pt_terminal *t, uint32_t host)
{
    return host < t->nhosts ? &t->hosts[host] : NULL;
}

void pt_terminal_add_host(struct pt_terminal *t, uint32_t host, const char *name, uint32_t slots)
{
    char *copy = strdup(name);
    if (host >= t->nhosts && host < 65536) {
        struct pt_terminal_host *hosts = realloc(t->hosts, (host + 1) * sizeof(*hosts));
        if (hosts) {
            memset(hosts + t->nhosts, 0, (host + 1 - t->nhosts) * sizeof(*hosts));
            t->hosts = hosts;
            t->nhosts = host + 1;
        }
    }
    struct pt_terminal_host *h = pt_terminal_get_host(t, host);
    if (!h || !copy) {
        free(copy);
        return;
    }
    free(h->name);
    h->name = copy;
    h->slots = slots;
}

static bool same_word(const char *a, const char *b)
{
    size_t n = strcspn(a, " ");
    return n == strcspn(b, " ") && strncmp(a, b, n) == 0;
}

void pt_terminal_host(struct pt_terminal *t, uint32_t host, const char *state, uint32_t slots, bool important)
{
    char text[128];
    struct pt_terminal_host *h = pt_terminal_get_host(t, host);
    if (!h || !h->name)
        return;
    bool news = !same_word(h->state, state);
    snprintf(h->state, sizeof(h->state), "%s", state);
    h->ready = same_word(state, "ready") || same_word(state, "working");
    h->slots = slots ? slots : h->slots;
    bool plain = !t->o.tty && news && !h->begun && t->nhosts <= MANY_HOSTS;
    h->begun = h->begun || h->ready;
    if (t->o.verbosity < 0 || !(important || plain || (news && t->o.verbosity > 0)))
        return;
    snprintf(text, sizeof(text), h->ready && h->slots ? "%s: %s, %u slots" : "%s: %s", h->name, state,
             h->slots);
    line(t, 0, text);
}

void pt_terminal_busy(struct pt_terminal *t, uint32_t host, uint32_t busy)
{
    struct pt_terminal_host *h = pt_terminal_get_host(t, host);
    if (h)
        h->busy = busy;
}

/* --- progress --- */

void pt_terminal_append(struct pt_buf *b, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    pt_buf_append(b, text, strlen(text));
}

void pt_terminal_collected(struct pt_terminal *t, uint32_t chosen, uint32_t deselected, uint32_t errors,
                           uint32_t skipped, bool done)
{
    struct pt_buf b = {0};
    uint32_t all = chosen + deselected;
    t->chosen = chosen;
    t->collected = done;
    if (!done || t->o.verbosity < 0)
        return;
    pt_terminal_append(&b, "collected %u item%s", all, all == 1 ? "" : "s");
    if (errors)
        pt_terminal_append(&b, " / %u error%s", errors, errors == 1 ? "" : "s");
    if (deselected)
        pt_terminal_append(&b, " / %u deselected", deselected);
    if (skipped)
        pt_terminal_append(&b, " / %u skipped", skipped);
    if (deselected)
        pt_terminal_append(&b, " / %u selected", chosen);
    pt_buf_append(&b, "", 1);
    if (!b.bad)
        line(t, t->o.tty ? PT_BOLD : 0, (char *)b.data);
    pt_buf_fini(&b);
}

/* What nobody waits for: left out where room is short. */
static bool dull(const char *category)
{
    static const char *const names[] = {"skipped", "xfailed", "xpassed", "notrun"};
    for (size_t i = 0; i < PT_COUNT(names); i++)
        if (strcmp(names[i], category) == 0)
            return true;
    return false;
}

/* "[ 37%] 1902/5129 passed 1890 failed 2" */
static void put_progress(const struct pt_terminal *t, const struct pt_verdict *v, struct pt_buf *b)
{
    uint32_t done = pt_verdict_done(v);
    struct pt_count c;
    if (t->o.no_tests)
        pt_terminal_append(b, "[syncing]");
    else if (t->collected)
        pt_terminal_append(b, "[%3u%%] %u/%u", t->chosen ? (unsigned)(100ull * done / t->chosen) : 100, done,
                           t->chosen);
    else
        pt_terminal_append(b, "[collecting] %u/%u", done, t->chosen);
    for (size_t i = 0; pt_verdict_get_count(v, i, &c); i++)
        if (strcmp(c.name, "warnings") != 0 && strcmp(c.name, "deselected") != 0 &&
            !(t->o.tty && dull(c.name)))
            pt_terminal_append(b, " %s %u", c.name, c.n);
}

static void put_hosts(const struct pt_terminal *t, struct pt_buf *b)
{
    for (size_t i = 0; i < t->nhosts; i++) {
        const struct pt_terminal_host *h = &t->hosts[i];
        if (!h->name)
            continue;
        pt_terminal_append(b, "%s%s ", i ? " " : " | ", h->name);
        if (h->ready)
            pt_terminal_append(b, "%u/%u", h->busy < h->slots ? h->busy : h->slots, h->slots);
        else
            pt_terminal_append(b, "%s", h->state[0] ? h->state : "waiting");
        if (i + 1 < t->nhosts && !h->ready)
            pt_terminal_append(b, ",");
    }
}

static void draw(struct pt_terminal *t, const struct pt_verdict *v)
{
    struct pt_buf b = {0};
    struct pt_buf shown = {0};
    put_progress(t, v, &b);
    put_hosts(t, &b);
    pt_buf_append(&b, "", 1);
    if (!b.bad)
        pt_text_cut(&shown, (char *)b.data, t->text.width - 1);
    pt_buf_append(&shown, "", 1);
    if (!shown.bad && !(t->status && strcmp(t->status, (char *)shown.data) == 0)) {
        pt_terminal_clear(t);
        fputs((char *)shown.data, t->text.out);
        fflush(t->text.out);
        t->drawn = true;
        t->status = strdup((char *)shown.data);
    }
    pt_buf_fini(&b);
    pt_buf_fini(&shown);
}

static void tell(struct pt_terminal *t, const struct pt_verdict *v)
{
    struct pt_buf b = {0};
    put_progress(t, v, &b);
    pt_buf_append(&b, "", 1);
    if (!b.bad)
        line(t, 0, (char *)b.data);
    pt_buf_fini(&b);
    t->told_done = pt_verdict_done(v);
}

void pt_terminal_tick(struct pt_terminal *t, const struct pt_verdict *v, int64_t now_ms)
{
    if (t->o.verbosity < 0)
        return;
    if (t->o.tty) {
        draw(t, v);
        return;
    }
    if (t->told_ms < 0)
        t->told_ms = now_ms;
    if (now_ms - t->told_ms < PLAIN_EVERY_MS)
        return;
    t->told_ms = now_ms;
    if (t->o.verbosity == 0 && t->told_done != pt_verdict_done(v))
        tell(t, v);
}

void pt_terminal_progress(struct pt_terminal *t, const struct pt_verdict *v)
{
    unsigned tenth = t->chosen ? (unsigned)(10ull * pt_verdict_done(v) / t->chosen) : 0;
    uint32_t done = pt_verdict_done(v); /* a rerun takes one back */
    bool few = done < t->told_done + PLAIN_LEAST && done < t->chosen;
    if (!t->collected || tenth <= t->tenth || few)
        return;
    t->tenth = tenth;
    tell(t, v);
}
