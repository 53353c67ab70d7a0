/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "common/quote.h"
#include "output/terminal.h"
#include "output/text.h"
#include "records_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GAP 2

void pt_columns_add(struct pt_columns *c, const char *text)
{
    struct pt_buf safe = {0};
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        char **cell = realloc(c->cell, cap * sizeof(*cell));
        c->bad |= !cell;
        c->cell = cell ? cell : c->cell;
        c->cap = cell ? cap : c->cap;
    }
    pt_quote_print(&safe, text, strcspn(text, "\n"), 0);
    pt_buf_append(&safe, "", 1);
    c->bad |= safe.bad;
    if (c->bad)
        pt_buf_fini(&safe);
    else
        c->cell[c->n++] = (char *)safe.data;
}

void pt_columns_addf(struct pt_columns *c, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    pt_columns_add(c, text);
}

static size_t widest(const struct pt_columns *c, size_t column)
{
    size_t most = 0;
    for (size_t i = column; i < c->n; i += c->width) {
        size_t n = pt_text_columns(c->cell[i], strlen(c->cell[i]));
        most = n > most ? n : most;
    }
    return most;
}

static void pad(struct pt_buf *line, size_t n)
{
    while (n--)
        pt_buf_append(line, " ", 1);
}

static void add_cell(const struct pt_columns *c, struct pt_buf *line, size_t at, size_t wide)
{
    size_t n = strlen(c->cell[at]), column = at % c->width;
    size_t room = wide - pt_text_columns(c->cell[at], n);
    bool right = c->right >> column & 1;
    pad(line, right ? room : 0);
    pt_buf_append(line, c->cell[at], n);
    pad(line, column + 1 < c->width ? (right ? 0 : room) + GAP : 0);
}

static void print_line(struct pt_columns *c, struct pt_buf *line, unsigned limit, FILE *out)
{
    struct pt_buf cut = {0};
    while (line->len && line->data[line->len - 1] == ' ')
        line->len--;
    pt_buf_append(line, "", 1);
    if (!line->bad)
        pt_text_cut(&cut, (char *)line->data, limit ? limit : SIZE_MAX);
    c->bad |= line->bad || cut.bad;
    if (!c->bad)
        fprintf(out, "%.*s\n", (int)cut.len, cut.len ? (char *)cut.data : "");
    pt_buf_fini(&cut);
    pt_buf_fini(line);
}

int pt_columns_print(struct pt_columns *c, const char *indent, unsigned limit, FILE *out, struct pt_err *err)
{
    size_t *wide = calloc(c->width, sizeof(*wide));
    c->bad |= !wide;
    for (size_t i = 0; i < c->width && !c->bad; i++)
        wide[i] = widest(c, i);
    for (size_t row = 0; row + c->width <= c->n && !c->bad; row += c->width) {
        struct pt_buf line = {0};
        pt_buf_append(&line, indent, strlen(indent));
        for (size_t i = 0; i < c->width; i++)
            add_cell(c, &line, row + i, wide[i]);
        print_line(c, &line, limit, out);
    }
    free(wide);
    bool bad = c->bad;
    pt_columns_fini(c);
    if (bad)
        return pt_err_set(err, "out of memory");
    return fflush(out) == 0 ? 0 : pt_err_set_kind(err, PT_ERR_INFRA, "output: %s", strerror(errno));
}

void pt_columns_fini(struct pt_columns *c)
{
    for (size_t i = 0; i < c->n; i++)
        free(c->cell[i]);
    free(c->cell);
    c->cell = NULL;
    c->n = c->cap = 0;
    c->bad = false;
}

unsigned pt_record_limit(void)
{
    return isatty(1) ? pt_terminal_width(1) : 0;
}

void pt_record_when(double at, char out[PT_RECORD_TIME])
{
    time_t t = (time_t)at;
    struct tm tm;
    if (!localtime_r(&t, &tm) || strftime(out, PT_RECORD_TIME, "%b %d %H:%M", &tm) == 0)
        snprintf(out, PT_RECORD_TIME, "?");
}

void pt_record_took(double seconds, char out[PT_RECORD_TIME])
{
    unsigned long s = seconds > 0 && seconds < 1e12 ? (unsigned long)seconds : 0;
    if (!(seconds >= 0))
        snprintf(out, PT_RECORD_TIME, "-");
    else if (s < 1)
        snprintf(out, PT_RECORD_TIME, "%.3fs", seconds);
    else if (s < 10)
        snprintf(out, PT_RECORD_TIME, "%.2fs", seconds);
    else if (s < 60)
        snprintf(out, PT_RECORD_TIME, "%.1fs", seconds);
    else if (s < 3600)
        snprintf(out, PT_RECORD_TIME, "%lum%02lus", s / 60, s % 60);
    else
        snprintf(out, PT_RECORD_TIME, "%luh%02lum", s / 3600, s / 60 % 60);
}
