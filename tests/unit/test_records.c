/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the commands, and the rows they print. */
#include "common/err.h"
#include "records_inside.h"
#include "tools.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* In the place of the one that unpacks what the program carries: nobody asks for it. */
char *pt_tools_python(const char *where, struct pt_err *err)
{
    (void)where, (void)err;
    abort();
}

static const struct pt_record_command *command(const char *name)
{
    for (const struct pt_record_command *c = pt_record_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    cr_assert_fail("no command %s", name);
    return NULL;
}

/* Words split at single spaces; '' is an empty one. */
static int parse(const char *line, struct pt_record_options *o, struct pt_err *err)
{
    static char text[256];
    char *argv[16] = {NULL}, *rest = text;
    int argc = 0;
    snprintf(text, sizeof(text), "%s", line);
    for (char *word; (word = strsep(&rest, " "));) {
        if (strcmp(word, "''") == 0)
            *word = '\0';
        argv[argc++] = word;
    }
    *err = PT_ERR_INIT;
    return pt_record_parse(command(argv[0]), argc, argv, o, err);
}

Test(records, words_are_read)
{
    struct pt_record_options o;
    struct pt_err err;
    cr_assert_eq(parse("runs", &o, &err), 0);
    cr_expect(o.most == 20 && !o.word && !o.has_durations);
    cr_assert_eq(parse("runs -n7", &o, &err), 0);
    cr_expect_eq(o.most, 7);
    cr_assert_eq(parse("runs -n 8 --project p --state-dir=s", &o, &err), 0);
    cr_expect_eq(o.most, 8);
    cr_expect_str_eq(o.project, "p");
    cr_expect_str_eq(o.state_dir, "s");
    cr_assert_eq(parse("show 2026 -v -r xX --durations 0", &o, &err), 0);
    cr_expect_str_eq(o.word, "2026");
    cr_expect_str_eq(o.report_chars, "xX");
    cr_expect(o.verbose && o.has_durations && o.durations == 0);
    cr_assert_eq(parse("report --json=j --junitxml x.xml", &o, &err), 0);
    cr_expect_str_eq(o.json, "j");
    cr_expect_str_eq(o.junitxml, "x.xml");
    cr_assert_eq(parse("history -- -x", &o, &err), 0);
    cr_expect_str_eq(o.word, "-x");
    cr_assert_eq(parse("add-host h1:8,h2", &o, &err), 0);
    cr_expect_null(o.word);
    cr_expect_str_eq(o.last, "h1:8,h2");
    cr_assert_eq(parse("drain-host 2026 --state-dir s h1", &o, &err), 0);
    cr_expect_str_eq(o.word, "2026");
    cr_expect_str_eq(o.last, "h1");
}

Test(records, what_is_wrong_is_said_with_the_command_in_front)
{
    static const char *const lines[][2] = {
        {"runs -n", "runs: -n: want N, got ''"},
        {"runs -n 0", "runs: -n: want a number from 1 to 100000, got '0'"},
        {"runs -n 1x", "runs: -n: want a number from 1 to 100000, got '1x'"},
        {"runs x", "runs: unknown argument 'x'"},
        {"runs --json f", "runs: unknown option '--json'"},
        {"runs --verbose", "runs: unknown option '--verbose'"},
        {"show a b", "show: unknown argument 'b'"},
        {"show ''", "show: RUN is empty"},
        {"show -v=1", "show: --verbose: want no value, got '1'"},
        {"show --durations", "show: --durations: want N, got ''"},
        {"show --state-dir ''", "show: --state-dir: want DIR, got ''"},
        {"report", "report: want --junitxml FILE, --json FILE or both"},
        {"report a", "report: want --junitxml FILE, --json FILE or both"},
        {"history --n 5", "history: unknown option '--n'"},
        {"add-host", "add-host: want HOSTS"},
        {"drain-host --project p", "drain-host: want HOST"},
        {"add-host R h1 h2", "add-host: unknown argument 'h2'"},
        {"drain-host R ''", "drain-host: HOST is empty"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        struct pt_record_options o;
        struct pt_err err;
        cr_expect_eq(parse(lines[i][0], &o, &err), -1, "%s", lines[i][0]);
        cr_expect_eq(err.kind, PT_ERR_USAGE);
        cr_expect_str_eq(err.msg, lines[i][1]);
    }
}

Test(records, only_four_words_are_commands)
{
    for (const struct pt_record_command *c = pt_record_commands; c->name; c++)
        cr_expect(pt_records_is(c->name));
    static const char *const others[] = {"", "run", "./runs", "runs/", "Runs", "--help", "tests"};
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        cr_expect_not(pt_records_is(others[i]), "%s", others[i]);
}

Test(records, every_command_says_what_it_does)
{
    size_t n = 0;
    for (const struct pt_option_note *note = pt_record_notes; note->term; note++, n++) {
        size_t len = strcspn(note->term, " ");
        cr_assert_not_null(pt_record_commands[n].name);
        cr_expect(strlen(pt_record_commands[n].name) == len &&
                  strncmp(note->term, pt_record_commands[n].name, len) == 0);
    }
    cr_expect_null(pt_record_commands[n].name);
}

static void prints(struct pt_columns *c, unsigned limit, const char *want)
{
    char *text = NULL;
    size_t n = 0;
    struct pt_err err = PT_ERR_INIT;
    FILE *out = open_memstream(&text, &n);
    cr_expect_eq(pt_columns_print(c, " ", limit, out, &err), 0, "%s", err.msg);
    fclose(out);
    cr_expect_str_eq(text, want);
    free(text);
}

Test(records, columns_are_as_wide_as_they_must_be)
{
    struct pt_columns c = {.width = 3, .right = 1u << 1};
    static const char *const cells[] = {"a", "1.5s", "x y", "", "12s", "", "\xe6\x97\xa5\xe6\x9c\xac",
                                        "-", "z"};
    for (size_t i = 0; i < sizeof(cells) / sizeof(*cells); i++)
        pt_columns_add(&c, cells[i]);
    prints(&c, 0, " a     1.5s  x y\n        12s\n \xe6\x97\xa5\xe6\x9c\xac     -  z\n");
    prints(&c, 0, "");
}

Test(records, rows_are_safe_and_fit)
{
    struct pt_columns c = {.width = 2};
    pt_columns_add(&c, "\033[2J");
    pt_columns_addf(&c, "%s", "one\ntwo");
    prints(&c, 0, " \\x1b[2J  one\n");
    pt_columns_add(&c, "0123456789");
    pt_columns_add(&c, "0123456789");
    prints(&c, 16, " 0123456789  ...\n");
}

Test(records, times_are_short)
{
    static const struct {
        double seconds;
        const char *want;
    } rows[] = {{0, "0.000s"},    {0.0519, "0.052s"}, {9.5, "9.50s"},      {59.94, "59.9s"}, {61, "1m01s"},
                {3599, "59m59s"}, {3600, "1h00m"},    {360000, "100h00m"}, {-1, "-"}};
    char out[PT_RECORD_TIME];
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        pt_record_took(rows[i].seconds, out);
        cr_expect_str_eq(out, rows[i].want);
    }
    setenv("TZ", "UTC", 1);
    pt_record_when(1700000000, out);
    cr_expect_str_eq(out, "Nov 14 22:13");
}
