/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include "common/auto.h"
#include "common/err.h"
#include "options_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

_Static_assert(sizeof(enum pt_color) == sizeof(uint32_t), "choices are stored as uint32_t");

#define GOT_MAX 80 /* bytes of a wrong value that a message shows */

bool pt_option_takes_value(const struct pt_option_row *row)
{
    switch (row->kind) {
    case PT_OPTION_FLAG:
    case PT_OPTION_COUNT:
    case PT_OPTION_ALIAS:
    case PT_OPTION_MAYBE:
    case PT_OPTION_HELP:
    case PT_OPTION_VERSION:
        return false;
    default:
        return true;
    }
}

bool pt_option_repeats(const struct pt_option_row *row)
{
    return row->kind == PT_OPTION_WORDS;
}

/* --- one value --- */

static int out_of_memory(struct pt_err *err)
{
    return pt_err_set(err, "out of memory for the options");
}

static int unwanted(struct pt_err *err, const char *want, const char *got)
{
    return pt_err_set_kind(err, PT_ERR_USAGE, "want %s, got '%.*s%s'", want, GOT_MAX, got,
                           strlen(got) > GOT_MAX ? "..." : "");
}

int pt_words_add(struct pt_words *words, const char *s)
{
    char **item = realloc(words->item, (words->n + 2) * sizeof(*item));
    if (!item)
        return -1;
    words->item = item;
    if (!(item[words->n] = strdup(s)))
        return -1;
    item[++words->n] = NULL;
    return 0;
}

static int parse_number(uint32_t *out, uint32_t min, uint32_t max, const char *s, struct pt_err *err)
{
    char want[64];
    size_t digits = strspn(s, "0123456789");
    unsigned long v = digits > 0 && digits <= 9 && s[digits] == '\0' ? strtoul(s, NULL, 10) : ~0ul;
    snprintf(want, sizeof(want), "a number from %u to %u", min, max);
    if (v < min || v > max)
        return unwanted(err, want, s);
    *out = (uint32_t)v;
    return 0;
}

/* Digits, with one point perhaps, and a unit: s, m or h. -1 when it is none. */
static double parse_duration(const char *s)
{
    size_t n = strspn(s, "0123456789.");
    size_t digits = 0;
    size_t points = 0;
    double v = 0;
    double place = 1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '.') {
            points++;
            continue;
        }
        digits++;
        place = points ? place / 10 : place;
        v = points ? v + (s[i] - '0') * place : 10 * v + (s[i] - '0');
    }
    const char *unit = s + n;
    double factor = !strcmp(unit, "") || !strcmp(unit, "s") ? 1
                    : !strcmp(unit, "m")                    ? 60
                    : !strcmp(unit, "h")                    ? 3600
                                                            : -1;
    return digits == 0 || points > 1 || factor < 0 ? -1 : v * factor;
}

static int parse_seconds(uint32_t *out, const struct pt_option_row *row, const char *s, struct pt_err *err)
{
    char want[96];
    double v = parse_duration(s);
    snprintf(want, sizeof(want), "seconds from %u to %u, as 30, 1.5, 2m or 1h", row->min, row->max);
    if (v < row->min || v > row->max)
        return unwanted(err, want, s);
    *out = (uint32_t)(v * 1000 + 0.5);
    if (*out == 0 && v > 0)
        *out = 1;
    return 0;
}

/* Digits and a unit: k, m, g or t, powers of 1024, perhaps with a B behind it. */
static int parse_size(uint64_t *out, const struct pt_option_row *row, const char *s, struct pt_err *err)
{
    static const char units[] = "kmgt";
    char want[96];
    size_t digits = strspn(s, "0123456789");
    uint64_t v = digits > 0 && digits <= 9 ? strtoull(s, NULL, 10) : 0;
    const char *unit = s + digits;
    const char *at = *unit ? strchr(units, tolower((unsigned char)*unit)) : NULL;
    if (at) {
        v <<= 10 * (at - units + 1);
        unit++;
        unit += !strcasecmp(unit, "b") || !strcasecmp(unit, "ib") ? strlen(unit) : 0;
    }
    snprintf(want, sizeof(want), "a size from %uk, as 512m or 2g", row->min >> 10);
    if (*unit || v < row->min)
        return unwanted(err, want, s);
    *out = v;
    return 0;
}

/* "a, b or c" */
static void choice_names(const char *const *choices, char *out, size_t size)
{
    for (size_t i = 0, at = 0; choices[i] && at < size; i++) {
        const char *comma = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        at += (size_t)snprintf(out + at, size - at, "%s%s", comma, choices[i]);
    }
}

static int parse_choice(uint32_t *out, const char *const *choices, const char *s, struct pt_err *err)
{
    char want[96];
    for (uint32_t i = 0; choices[i]; i++) {
        if (!strcmp(choices[i], s)) {
            *out = i;
            return 0;
        }
    }
    choice_names(choices, want, sizeof(want));
    return unwanted(err, want, s);
}

static int parse_bool(bool *out, const char *s, struct pt_err *err)
{
    static const char *const yes_no[] = {"yes", "no", NULL};
    uint32_t v;
    if (parse_choice(&v, yes_no, s, err))
        return -1;
    *out = v == 0;
    return 0;
}

static int check_string(const struct pt_option_row *row, const char *s, struct pt_err *err)
{
    if (row->fits)
        return row->fits(s) ? 0 : unwanted(err, row->want, s);
    if (*s || !row->name)
        return 0;
    return pt_err_set_kind(err, PT_ERR_USAGE, "want a %s, got ''", row->value);
}

static int set_string(char **field, const char *s, struct pt_err *err)
{
    char *copy = strdup(s);
    if (!copy)
        return out_of_memory(err);
    free(*field);
    *field = copy;
    return 0;
}

static int set_alias(struct pt_options *opts, const struct pt_option_row *row, const char *value,
                     struct pt_err *err)
{
    bool on = true;
    char number[16];
    if (value && parse_bool(&on, value, err))
        return -1;
    const struct pt_option_row *meant = pt_option_find(row->means, strlen(row->means));
    snprintf(number, sizeof(number), "%u", on ? row->min : 0);
    return pt_option_set(opts, meant, meant->kind != PT_OPTION_FLAG ? number : on ? "yes" : "no", err);
}

static int set_field(void *field, const struct pt_option_row *row, const char *value, struct pt_err *err)
{
    uint32_t *number = field;
    switch (row->kind) {
    case PT_OPTION_FLAG:
        return parse_bool(field, value ? value : "yes", err);
    case PT_OPTION_COUNT:
        if (value)
            return parse_number(number, row->min, row->max, value, err);
        *number += *number < row->max;
        return 0;
    case PT_OPTION_NUMBER:
        return parse_number(number, row->min, row->max, value, err);
    case PT_OPTION_SECONDS:
        return parse_seconds(number, row, value, err);
    case PT_OPTION_SIZE:
        return parse_size(field, row, value, err);
    case PT_OPTION_CHOICE:
        return parse_choice(number, row->choices, value, err);
    case PT_OPTION_MAYBE:
        value = value ? value : "";
        /* fall through */
    case PT_OPTION_STRING:
    case PT_OPTION_FILE:
    case PT_OPTION_FOLDER:
        return check_string(row, value, err) ? -1 : set_string(field, value, err);
    case PT_OPTION_WORDS:
        if (check_string(row, value, err))
            return -1;
        return pt_words_add(field, value) ? out_of_memory(err) : 0;
    default:
        return 0;
    }
}

int pt_option_set(struct pt_options *opts, const struct pt_option_row *row, const char *value,
                  struct pt_err *err)
{
    if (row->kind == PT_OPTION_ALIAS)
        return set_alias(opts, row, value, err);
    if (set_field((char *)opts + row->offset, row, value, err))
        return -1;
    opts->given[row - pt_option_rows] = true;
    return 0;
}

/* --- the command line --- */

struct parser {
    char *const *arg; /* what is left, NULL-terminated */
    struct pt_options *opts;
    struct pt_err *err;
};

static bool is_pytest_option(const char *arg, size_t n)
{
    static const char names[] =
        " -s -p -n -r -l -c -o -W -rA --lf --last-failed --ff --failed-first --nf --sw --stepwise --tb "
        "--capture"
        " --durations --durations-min --cov --cov-report --pdb --ignore --ignore-glob --deselect --rootdir"
        " --import-mode --pyargs --co --collect-only --fixtures --markers --tx --numprocesses"
        " --cache-clear --cache-show --setup-show --setup-only --basetemp --override-ini --log-level"
        " --log-cli-level --disable-warnings --strict --strict-markers --strict-config --showlocals"
        " --doctest-modules --confcutdir --noconftest --keep-duplicates --full-trace --trace "
        "--assert"
        " --junit-prefix --no-header --no-summary --show-capture --runxfail --pythonwarnings --pastebin ";
    char word[48];
    int len = snprintf(word, sizeof(word), " %.*s ", (int)(n < sizeof(word) ? n : sizeof(word)), arg);
    return len > 0 && (size_t)len < sizeof(word) && strstr(names, word);
}

static int unknown(const char *arg, struct pt_err *err)
{
    size_t n = strcspn(arg, "=");
    const struct pt_option_row *near = arg[1] == '-' ? pt_option_near(arg + 2, n - 2) : NULL;
    int shown = n > GOT_MAX ? GOT_MAX : (int)n;
    pt_err_set_kind(err, PT_ERR_USAGE, "unknown option %.*s", shown, arg);
    if (near && !is_pytest_option(arg, n))
        return pt_err_hint(err, "did you mean --%s?", near->name);
    return pt_err_hint(err, "pytest's own options go after --: ptremote ... -- %.*s; ours: ptremote --help",
                       shown, arg);
}

/* Name the option in front of what went wrong. */
static int wrong(const struct pt_option_row *row, struct pt_err *err)
{
    return row->name ? pt_err_wrap(err, "--%s", row->name) : pt_err_wrap(err, "-%c", row->letter);
}

static int lacks_value(const struct pt_option_row *row, struct pt_err *err)
{
    char want[96];
    if (row->choices)
        choice_names(row->choices, want, sizeof(want));
    else
        snprintf(want, sizeof(want), "%s", row->value);
    pt_err_set_kind(err, PT_ERR_USAGE, "want %s, got nothing", want);
    return wrong(row, err);
}

static int handle(struct parser *p, const struct pt_option_row *row, const char *value)
{
    if (row->kind == PT_OPTION_HELP)
        return pt_options_print_help(value, p->err) ? wrong(row, p->err) : 1;
    if (row->kind == PT_OPTION_VERSION) {
        if (value)
            return pt_err_set_kind(p->err, PT_ERR_USAGE, "--%s: takes no value", row->name);
        printf("ptremote %s\n", PTREMOTE_VERSION);
        return 1;
    }
    if (!value && pt_option_takes_value(row)) {
        if (!*p->arg || !strncmp(*p->arg, "--", 2))
            return lacks_value(row, p->err);
        value = *p->arg++;
    }
    if (!value && row->next && *p->arg && row->next(*p->arg))
        value = *p->arg++;
    return pt_option_set(p->opts, row, value, p->err) ? wrong(row, p->err) : 0;
}

static int parse_long(struct parser *p, const char *arg)
{
    size_t n = strcspn(arg + 2, "=");
    const struct pt_option_row *row = pt_option_find(arg + 2, n);
    if (!row)
        return unknown(arg, p->err);
    return handle(p, row, arg[2 + n] ? arg + 3 + n : NULL);
}

/* Letters may be joined; the first that takes a value takes the rest of the word, or the next word. */
static int parse_letters(struct parser *p, const char *arg)
{
    int rc = 0;
    for (const char *s = arg + 1; *s && rc == 0; s++) {
        const struct pt_option_row *row = pt_option_find_letter(*s);
        if (!row)
            return unknown(arg, p->err);
        if (pt_option_takes_value(row)) {
            const char *rest = s[1] == '=' ? s + 2 : s + 1;
            return handle(p, row, s[1] ? rest : NULL);
        }
        rc = handle(p, row, NULL);
    }
    return rc;
}

static int parse_word(struct parser *p, const char *arg)
{
    if (!strncmp(arg, "--", 2))
        return parse_long(p, arg);
    if (arg[0] == '-' && arg[1])
        return parse_letters(p, arg);
    if (!*arg)
        return pt_err_set_kind(p->err, PT_ERR_USAGE, "a path is empty");
    return pt_words_add(&p->opts->paths, arg) ? out_of_memory(p->err) : 0;
}

static int parse_rest(struct parser *p)
{
    for (; *p->arg; p->arg++)
        if (pt_words_add(&p->opts->pytest_args, *p->arg))
            return out_of_memory(p->err);
    return 0;
}

void pt_option_defaults(struct pt_options *opts)
{
    *opts = (struct pt_options){0};
    for (size_t i = 0; i < pt_option_count; i++) {
        const struct pt_option_row *row = &pt_option_rows[i];
        if (row->kind == PT_OPTION_NUMBER)
            *(uint32_t *)((char *)opts + row->offset) = row->initial;
    }
}

int pt_options_parse(int argc, char *const *argv, struct pt_options *opts, struct pt_err *err)
{
    pt_option_defaults(opts);
    struct parser p = {.arg = argv + (argc > 0), .opts = opts, .err = err};
    int rc = 0;
    while (rc == 0 && *p.arg) {
        const char *arg = *p.arg++;
        if (!strcmp(arg, "--"))
            return parse_rest(&p);
        rc = parse_word(&p, arg);
    }
    return rc;
}

bool pt_options_given(const struct pt_options *opts, const char *name)
{
    const struct pt_option_row *row = pt_option_find(name, strlen(name));
    if (!row && strlen(name) == 1)
        row = pt_option_find_letter(name[0]);
    return row && opts->given[row - pt_option_rows];
}

static void words_fini(struct pt_words *words)
{
    for (size_t i = 0; i < words->n; i++)
        free(words->item[i]);
    free(words->item);
}

void pt_options_fini(struct pt_options *opts)
{
    for (size_t i = 0; i < pt_option_count; i++) {
        const struct pt_option_row *row = &pt_option_rows[i];
        void *field = (char *)opts + row->offset;
        if (row->kind == PT_OPTION_STRING || row->kind == PT_OPTION_MAYBE || row->kind == PT_OPTION_FILE ||
            row->kind == PT_OPTION_FOLDER)
            free(*(char **)field);
        else if (row->kind == PT_OPTION_WORDS)
            words_fini(field);
    }
    words_fini(&opts->paths);
    words_fini(&opts->pytest_args);
    *opts = (struct pt_options){0};
}
