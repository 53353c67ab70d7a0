/* SPDX-License-Identifier: Apache-2.0 */
/* One table of what the commands can be told gives their parser, help and completion. */
#include "common/auto.h"
#include "common/err.h"
#include "options_table.h"
#include "records_inside.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { FLAG, NUMBER, STRING, HELP };

struct option {
    const char *name; /* NULL: only the letter */
    char letter;      /* 0: none */
    enum kind kind;
    size_t offset;
    uint32_t min, max;
    const char *value, *commands; /* commands: their names, a space behind each; NULL: all */
    const char *help;
};

#define AT(field) offsetof(struct pt_record_options, field)

static const struct option options[] = {
    {NULL, 'n', NUMBER, AT(most), 1, 100000, "N", "runs history ", "at most so many lines of a kind (20)"},
    {"verbose", 'v', FLAG, AT(verbose), 0, 0, NULL, "show ", "the hosts, too"},
    {NULL, 'r', STRING, AT(report_chars), 0, 0, "CHARS", "show ",
     "which tests the summary names, as pytest's"},
    {"durations", 0, NUMBER, AT(durations), 0, 1000000, "N", "show ",
     "the N slowest phases, as pytest's; 0: all"},
    {"junitxml", 0, STRING, AT(junitxml), 0, 0, "FILE", "report ", "JUnit XML"},
    {"json", 0, STRING, AT(json), 0, 0, "FILE", "report ", "every test with all it gave"},
    {"project", 0, STRING, AT(project), 0, 0, "DIR", NULL, "the project, if not the checkout around here"},
    {"state-dir", 0, STRING, AT(state_dir), 0, 0, "DIR", NULL, "its state, if not DIR/.ptremote"},
    {"help", 'h', HELP, 0, 0, 0, NULL, NULL, "this"},
};

const struct pt_option_note pt_record_notes[] = {
    {"runs [-n N]", "the runs that are recorded, the newest first: what became of each, and its tests"},
    {"show [RUN] [-v] [-r CHARS] [--durations N]",
     "prints the result of a run again, or what there is so far; RUN: its name or the beginning of it; "
     "without, the last one"},
    {"report [RUN] [--junitxml FILE] [--json FILE]", "writes the files of a run again"},
    {"history [NODEID-PART] [-n N]",
     "over all runs: tests that failed in one and passed in another or needed reruns, and the slowest; or "
     "what each run gave for the tests whose node id contains NODEID-PART"},
    {"attach [RUN]",
     "shows what a detached run printed, and goes on until it ends, with its exit code; without RUN the "
     "newest "
     "that goes on, else the newest. Ctrl-C ends only the watching; 6 when the run was cut off"},
    {"stop [RUN]", "ends a run as Ctrl-C at its terminal does, and waits until its hosts are clean; without "
                   "RUN the one that goes "
                   "on"},
    {"add-host [RUN] HOSTS",
     "HOSTS, written as for --hosts, join a run that goes on, in the background or at a terminal of this "
     "machine; 4 when it cannot take them (--dist each, --replay, a schedule that is not dynamic)"},
    {"drain-host [RUN] HOST",
     "a host leaves a run that goes on: it gets nothing more, what waits there goes to others, what runs "
     "ends, and it is cleaned"},
    {0},
};

static bool fits(const struct option *o, const struct pt_record_command *command)
{
    char word[32];
    snprintf(word, sizeof(word), "%s ", command->name);
    return !o->commands || strstr(o->commands, word);
}

/* --- help --- */

static const struct pt_option_note *note_of(const struct pt_record_command *command)
{
    const struct pt_option_note *note = pt_record_notes;
    size_t n = strlen(command->name);
    while (strncmp(note->term, command->name, n) != 0 || note->term[n] != ' ')
        note++;
    return note;
}

static void print_option(const struct option *o)
{
    char term[48];
    snprintf(term, sizeof(term), "%s%.1s%s%s%s%s%s", o->letter ? "-" : "    ", &o->letter,
             o->letter && o->name ? ", " : "", o->name ? "--" : "", o->name ? o->name : "",
             o->value ? " " : "", o->value ? o->value : "");
    printf("  %-20s %s\n", term, o->help);
}

static int print_help(const struct pt_record_command *command, struct pt_err *err)
{
    const struct pt_option_note *note = note_of(command);
    printf("Usage: ptremote %s\n\n", note->term);
    pt_options_print_wrapped(note->text);
    putchar('\n');
    for (size_t i = 0; i < PT_COUNT(options); i++)
        if (fits(&options[i], command))
            print_option(&options[i]);
    if (fflush(stdout) != 0)
        return pt_err_set_kind(err, PT_ERR_INFRA, "output: %s", strerror(errno));
    return 1;
}

void pt_records_print_words(void)
{
    for (size_t i = 0; i < PT_COUNT(options); i++) {
        if (options[i].letter)
            printf(" -%c", options[i].letter);
        if (options[i].name)
            printf(" --%s", options[i].name);
    }
}

/* --- parsing --- */

struct parser {
    const struct pt_record_command *command;
    char *const *arg; /* what is left, NULL-terminated */
    struct pt_record_options *o;
    struct pt_err *err;
};

static int unknown(const struct parser *p, const char *what, const char *word)
{
    pt_err_set_kind(p->err, PT_ERR_USAGE, "%s: unknown %s '%.80s'", p->command->name, what, word);
    return pt_err_hint(p->err, "ptremote %s --help; a folder of that name is ./%s", p->command->name,
                       p->command->name);
}

static int wrong(const struct parser *p, const struct option *o, const char *want, const char *got)
{
    char name[32];
    if (o->name)
        snprintf(name, sizeof(name), "--%s", o->name);
    else
        snprintf(name, sizeof(name), "-%c", o->letter);
    return pt_err_set_kind(p->err, PT_ERR_USAGE, "%s: %s: want %s, got '%.80s'", p->command->name, name, want,
                           got);
}

static int set_number(const struct parser *p, const struct option *o, const char *value)
{
    char want[64];
    size_t digits = strspn(value, "0123456789");
    unsigned long v = digits > 0 && digits <= 9 && !value[digits] ? strtoul(value, NULL, 10) : ~0ul;
    snprintf(want, sizeof(want), "a number from %u to %u", o->min, o->max);
    if (v < o->min || v > o->max)
        return wrong(p, o, want, value);
    *(uint32_t *)((char *)p->o + o->offset) = (uint32_t)v;
    p->o->has_durations |= o->offset == AT(durations);
    return 0;
}

/* value NULL: it has to be the next word. */
static int handle(struct parser *p, const struct option *o, const char *value)
{
    void *field = (char *)p->o + o->offset;
    if (o->kind == HELP || o->kind == FLAG) {
        if (value)
            return wrong(p, o, "no value", value);
        if (o->kind == HELP)
            return print_help(p->command, p->err);
        *(bool *)field = true;
        return 0;
    }
    if (!value && *p->arg)
        value = *p->arg++;
    if (!value || !*value)
        return wrong(p, o, o->value, "");
    if (o->kind == NUMBER)
        return set_number(p, o, value);
    *(const char **)field = value;
    return 0;
}

static int parse_option(struct parser *p, const char *arg)
{
    bool is_long = arg[1] == '-';
    size_t n = strcspn(arg, "=");
    for (size_t i = 0; i < PT_COUNT(options); i++) {
        const struct option *o = &options[i];
        if (!fits(o, p->command))
            continue;
        if (is_long && o->name && strlen(o->name) == n - 2 && strncmp(arg + 2, o->name, n - 2) == 0)
            return handle(p, o, arg[n] ? arg + n + 1 : NULL);
        if (!is_long && arg[1] == o->letter)
            return handle(p, o, arg[2] ? arg + 2 + (arg[2] == '=') : NULL);
    }
    return unknown(p, "option", arg);
}

static int parse_word(struct parser *p, const char *arg)
{
    const char **last = p->command->last && p->o->word ? &p->o->last : &p->o->word;
    if (!p->command->word || *last)
        return unknown(p, "argument", arg);
    if (!*arg)
        return pt_err_set_kind(p->err, PT_ERR_USAGE, "%s: %s is empty", p->command->name,
                               last == &p->o->last ? p->command->last : p->command->word);
    *last = arg;
    return 0;
}

/* One word alone is the one that has to be there. */
static int check_last(const struct pt_record_command *command, struct pt_record_options *o,
                      struct pt_err *err)
{
    if (!command->last || o->last)
        return 0;
    o->last = o->word;
    o->word = NULL;
    return o->last ? 0 : pt_err_set_kind(err, PT_ERR_USAGE, "%s: want %s", command->name, command->last);
}

int pt_record_parse(const struct pt_record_command *command, int argc, char *const *argv,
                    struct pt_record_options *o, struct pt_err *err)
{
    struct parser p = {.command = command, .arg = argv + (argc > 0), .o = o, .err = err};
    bool words = false;
    int rc = 0;
    *o = (struct pt_record_options){.most = 20};
    while (rc == 0 && *p.arg) {
        const char *arg = *p.arg++;
        if (!words && strcmp(arg, "--") == 0)
            words = true;
        else if (!words && arg[0] == '-' && arg[1])
            rc = parse_option(&p, arg);
        else
            rc = parse_word(&p, arg);
    }
    if (rc == 0 && command->writes && !o->junitxml && !o->json)
        return pt_err_set_kind(err, PT_ERR_USAGE, "%s: want --junitxml FILE, --json FILE or both",
                               command->name);
    return rc ? rc : check_last(command, o, err);
}
