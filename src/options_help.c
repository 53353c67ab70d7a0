/* SPDX-License-Identifier: Apache-2.0 */
/* --help: the table as text, 80 columns. */
#include "common/err.h"
#include "options_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WIDTH  80
#define INDENT 28

/* Words of s from column `at` on, continued at `indent`. */
static void print_wrapped(const char *s, size_t at, size_t indent)
{
    bool first = true;
    while (*s) {
        size_t n = strcspn(s, " ");
        if (!first && at + 1 + n > WIDTH) {
            printf("\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        printf("%s%.*s", first ? "" : " ", (int)n, s);
        at += n + !first;
        first = false;
        s += n + strspn(s + n, " ");
    }
    putchar('\n');
}

void pt_options_print_wrapped(const char *s)
{
    print_wrapped(s, 0, 0);
}

/* term on the left; text on the right of it, or below when it is long. */
static void print_item(const char *term, const char *text, size_t indent)
{
    int n = printf("  %s", term);
    if ((size_t)n + 2 > indent) {
        printf("\n%*s", (int)indent, "");
        n = (int)indent;
    } else {
        printf("%*s", (int)indent - n, "");
    }
    print_wrapped(text, indent, indent);
}

static void print_option(const struct pt_option_row *row)
{
    char term[96];
    char value[64] = "";
    if (row->kind == PT_OPTION_CHOICE) {
        for (size_t i = 0, n = 0; row->choices[i]; i++)
            n += (size_t)snprintf(value + n, sizeof(value) - n, "%s%s", i ? "|" : "", row->choices[i]);
    } else if (row->value) {
        snprintf(value, sizeof(value), "%s", row->value);
    }
    const char *open = row->kind == PT_OPTION_HELP || row->kind == PT_OPTION_MAYBE ? "[=" : *value ? " " : "";
    const char *close = row->kind == PT_OPTION_HELP || row->kind == PT_OPTION_MAYBE ? "]" : "";
    if (row->letter && row->name)
        snprintf(term, sizeof(term), "-%c, --%s%s%s%s", row->letter, row->name, open, value, close);
    else if (row->letter)
        snprintf(term, sizeof(term), "-%c%s%s", row->letter, open, value);
    else
        snprintf(term, sizeof(term), "    --%s%s%s%s", row->name, open, value, close);
    print_item(term, row->help, INDENT);
}

static void print_help(void)
{
    printf("Usage: ptremote %s\n       ptremote runs|show|report|history|attach|stop|clean ...\n\n",
           pt_option_usage);
    print_wrapped(pt_option_intro, 0, 0);
    for (unsigned group = 0; group < PT_GROUPS; group++) {
        printf("\n%s:\n", pt_option_groups[group]);
        for (size_t i = 0; i < pt_option_count; i++)
            if (pt_option_rows[i].group == group)
                print_option(&pt_option_rows[i]);
    }
    printf("\nA flag can be taken back, as in --require-all-hosts=no.\n");
    for (const struct pt_option_section *s = pt_option_sections; s->title; s++) {
        printf("\n%s:\n", s->title);
        for (const struct pt_option_note *note = s->notes; note->term; note++)
            print_item(note->term, note->text, s->indent);
    }
}

int pt_options_print_help(const char *how, struct pt_err *err)
{
    if (!how)
        print_help();
    else if (!strcmp(how, "man"))
        pt_options_print_man();
    else if (!strcmp(how, "bash"))
        pt_options_print_bash();
    else
        return pt_err_set_kind(err, PT_ERR_USAGE, "want man or bash, got '%.80s'", how);
    if (fflush(stdout) || ferror(stdout))
        return pt_err_set(err, "stdout: %s", strerror(errno));
    return 0;
}
