/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Lines for a terminal: safe text, colours, separators as pytest draws them. */
#include "common/wire.h"

#include <stdio.h>

enum pt_style {
    PT_STYLE_NONE = 0,
    PT_RED = 1,
    PT_GREEN = 2,
    PT_YELLOW = 4,
    PT_CYAN = 8,
    PT_BOLD = 16,
};

struct pt_text {
    FILE *out;
    bool color;
    unsigned width;
};

/* One line of anyone's text, made safe; no newline is added. Where memory ends, "(out of memory)" stands for
 * the text, here and below. */
void pt_text_put(const struct pt_text *t, unsigned style, const char *s);
void pt_text_putn(const struct pt_text *t, unsigned style, const char *s, size_t n);
/* Anyone's text of several lines, ended by a newline; the lines that pytest marks with "E " are red. */
void pt_text_lines(const struct pt_text *t, const char *s);
/* "==== title ====", as wide as the terminal; title is made safe. NULL: the whole line. */
void pt_text_sep(const struct pt_text *t, char c, unsigned style, const char *title);
/* The same with a title that carries colours already and takes `columns`. */
void pt_text_sep_raw(const struct pt_text *t, char c, unsigned style, const char *title, size_t columns);

/* Append s[0..n) made safe, with colours around it when `color`. */
void pt_text_style(struct pt_buf *out, bool color, unsigned style, const char *s, size_t n);
/* Columns that safe text takes on a terminal. */
size_t pt_text_columns(const char *s, size_t n);
/* Append the first line of s, made safe and cut with "..." to at most `columns`; false (and nothing) when not
 * even that fits. */
bool pt_text_cut(struct pt_buf *out, const char *s, size_t columns);
/* Append the absolute path as seen from the absolute folder `from`: "a.py", "../b/a.py". */
void pt_text_relative(struct pt_buf *out, const char *from, const char *path);
