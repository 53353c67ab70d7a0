/* SPDX-License-Identifier: Apache-2.0 */
/* The table for other programs: a man page in roff, completion for bash. */
#include "options_table.h"
#include "records.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* --- man page --- */

static void roff(const char *s)
{
    if (*s == '.' || *s == '\'')
        fputs("\\&", stdout);
    for (; *s; s++) {
        if (*s == '\\')
            fputs("\\e", stdout);
        else if (*s == '-')
            fputs("\\-", stdout);
        else if (*s == '\'')
            fputs("\\(aq", stdout);
        else if (*s == '~')
            fputs("\\(ti", stdout);
        else
            putchar(*s);
    }
}

static void roff_line(const char *before, const char *s, const char *after)
{
    fputs(before, stdout);
    roff(s);
    puts(after);
}

static void man_title(const char *s)
{
    fputs(".SH ", stdout);
    for (; *s; s++)
        putchar(toupper((unsigned char)*s));
    putchar('\n');
}

static void man_value(const struct pt_option_row *row)
{
    if (row->kind == PT_OPTION_CHOICE) {
        putchar(' ');
        for (size_t i = 0; row->choices[i]; i++) {
            fputs(i ? "|\\fB" : "\\fB", stdout);
            roff(row->choices[i]);
            fputs("\\fR", stdout);
        }
    } else if (row->kind == PT_OPTION_HELP || row->kind == PT_OPTION_MAYBE) {
        printf("[=\\fB%s\\fR]", row->value);
    } else if (row->value) {
        printf(" \\fI%s\\fR", row->value);
    }
}

static void man_option(const struct pt_option_row *row)
{
    puts(".TP");
    if (row->letter)
        printf("\\fB\\-%c\\fR%s", row->letter, row->name ? ", " : "");
    if (row->name) {
        fputs("\\fB\\-\\-", stdout);
        roff(row->name);
        fputs("\\fR", stdout);
    }
    man_value(row);
    putchar('\n');
    roff_line("", row->help, "");
}

void pt_options_print_man(void)
{
    printf(".TH PTREMOTE 1 \"\" \"ptremote %s\" \"User Commands\"\n", PTREMOTE_VERSION);
    puts(".nh\n.ad l\n.SH NAME\nptremote \\- run a pytest suite on other machines over SSH\n.SH SYNOPSIS");
    puts(".B ptremote");
    roff_line("", pt_option_usage, "");
    puts(".SH DESCRIPTION");
    roff_line("", pt_option_intro, "");
    puts(".SH OPTIONS\nA flag can be taken back, as in \\fB\\-\\-require\\-all\\-hosts=no\\fR.");
    for (unsigned group = 0; group < PT_GROUPS; group++) {
        printf(".SS %s\n", pt_option_groups[group]);
        for (size_t i = 0; i < pt_option_count; i++)
            if (pt_option_rows[i].group == group)
                man_option(&pt_option_rows[i]);
    }
    for (const struct pt_option_section *s = pt_option_sections; s->title; s++) {
        man_title(s->title);
        for (const struct pt_option_note *note = s->notes; note->term; note++) {
            roff_line(".TP\n\\fB", note->term, "\\fR");
            roff_line("", note->text, "");
        }
    }
    puts(".SH SEE ALSO\n.BR pytest (1),\n.BR ssh_config (5),\n.BR mpirun (1)");
}

/* --- bash --- */

static void bash_choices(const struct pt_option_row *row)
{
    fputs("mapfile -t COMPREPLY < <(compgen -W '", stdout);
    for (size_t i = 0; row->choices[i]; i++)
        printf("%s%s", i ? " " : "", row->choices[i]);
    puts("' -- \"$cur\") ;;");
}

/* What may follow an option that takes a value. */
static void bash_case(const struct pt_option_row *row)
{
    if (!pt_option_takes_value(row))
        return;
    if (row->name)
        printf("    --%s) ", row->name);
    else
        printf("    -%c) ", row->letter);
    if (row->kind == PT_OPTION_CHOICE)
        bash_choices(row);
    else if (row->kind == PT_OPTION_FILE)
        puts("_ptremote_paths -f ;;");
    else if (row->kind == PT_OPTION_FOLDER)
        puts("_ptremote_paths -d ;;");
    else if (row->offset == offsetof(struct pt_options, hosts))
        puts("mapfile -t COMPREPLY < <(compgen -A hostname -P \"$list\" -- \"${cur#\"$list\"}\") ;;");
    else
        puts("COMPREPLY=() ;;");
}

static void bash_words(void)
{
    for (size_t i = 0; i < pt_option_count; i++) {
        const struct pt_option_row *row = &pt_option_rows[i];
        if (row->letter)
            printf(" -%c", row->letter);
        if (row->name)
            printf(" --%s", row->name);
    }
}

static void bash_commands(void)
{
    for (const struct pt_option_note *note = pt_record_notes; note->term; note++)
        printf("%s%.*s", note == pt_record_notes ? "" : " ", (int)strcspn(note->term, " "), note->term);
    fputs(" clean", stdout);
}

static const char bash_head[] =
    "# bash completion for ptremote\n"
    "_ptremote_paths()\n"
    "{\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen \"$1\" -- \"$cur\")\n"
    "}\n"
    "\n"
    "_ptremote()\n"
    "{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i list=\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        [[ ${COMP_WORDS[i]} == -- ]] && { _ptremote_paths -f; return; }\n"
    "    done\n"
    "    if [[ $cur == = ]]; then cur=\n"
    "    elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    fi\n"
    "    [[ $cur == *,* ]] && list=${cur%,*},\n"
    "    case $prev in\n";

void pt_options_print_bash(void)
{
    fputs(bash_head, stdout);
    for (size_t i = 0; i < pt_option_count; i++)
        bash_case(&pt_option_rows[i]);
    fputs("    *)\n"
          "        if [[ $cur == -* && \" ",
          stdout);
    bash_commands();
    fputs(" \" == *\" ${COMP_WORDS[1]} \"* ]]; then\n"
          "            mapfile -t COMPREPLY < <(compgen -W '",
          stdout);
    pt_records_print_words();
    fputs("' -- \"$cur\")\n"
          "        elif [[ $cur == -* ]]; then\n"
          "            mapfile -t COMPREPLY < <(compgen -W '",
          stdout);
    bash_words();
    fputs("' -- \"$cur\")\n"
          "        else\n"
          "            _ptremote_paths -f\n"
          "            ((COMP_CWORD > 1)) || mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -W '",
          stdout);
    bash_commands();
    puts("' -- \"$cur\")\n"
         "        fi ;;\n"
         "    esac\n"
         "}\n"
         "complete -F _ptremote ptremote");
}
