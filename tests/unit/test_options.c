/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "options.h"
#include "options_table.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 64

static struct pt_options opts;
static struct pt_err err;

/* The words of line, split at single spaces, as the command line; "''" is an empty word. */
static int parse(const char *line)
{
    static char copy[4096];
    char *argv[ARGS_MAX] = {(char[]){"ptremote"}};
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", line);
    char *rest = *copy ? copy : NULL;
    while (rest && argc < ARGS_MAX - 1) {
        char *word = strsep(&rest, " ");
        argv[argc++] = strcmp(word, "''") ? word : word + 2;
    }
    argv[argc] = NULL;
    err = PT_ERR_INIT;
    return pt_options_parse(argc, argv, &opts, &err);
}

static void refuse(const char *line, const char *msg, const char *hint)
{
    cr_assert_eq(parse(line), -1, "'%s' was taken", line);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_str_eq(err.msg, msg);
    if (hint)
        cr_assert(strstr(err.hint, hint), "'%s': hint '%s' lacks '%s'", line, err.hint, hint);
    pt_options_fini(&opts);
}

static void take(const char *line)
{
    cr_assert_eq(parse(line), 0, "'%s': %s", line, err.msg);
}

/* --- command line --- */

Test(options, defaults)
{
    take("");
    cr_assert_null(opts.hosts);
    cr_assert_eq(opts.bundles_per_worker, 10);
    cr_assert_eq(opts.timeout_ms, 0);
    cr_assert_eq(opts.maxfail, 0);
    cr_assert_eq(opts.host_key, PT_HOST_KEY_STRICT);
    cr_assert_eq(opts.collect, PT_COLLECT_HERE);
    cr_assert_eq(opts.color, PT_COLOR_AUTO);
    cr_assert_eq(opts.paths.n, 0);
    cr_assert_null(opts.paths.item);
    cr_assert_not(pt_options_given(&opts, "maxfail"));
    pt_options_fini(&opts);
    pt_options_fini(&opts);
}

Test(options, both_ways_to_write_a_value_and_paths_anywhere)
{
    take("a.py --hosts h1:8,h2 b.py::t[x-1] --json=out.json -k not_slow --timeout=1.5 c --host-key "
         "accept-new");
    cr_assert_str_eq(opts.hosts, "h1:8,h2");
    cr_assert_str_eq(opts.json, "out.json");
    cr_assert_str_eq(opts.keyword, "not_slow");
    cr_assert_eq(opts.timeout_ms, 1500);
    cr_assert_eq(opts.host_key, PT_HOST_KEY_ACCEPT_NEW);
    cr_assert_eq(opts.paths.n, 3);
    cr_assert_str_eq(opts.paths.item[1], "b.py::t[x-1]");
    cr_assert_null(opts.paths.item[3]);
    cr_assert(pt_options_given(&opts, "hosts"));
    cr_assert(pt_options_given(&opts, "k"));
    cr_assert_not(pt_options_given(&opts, "m"));
    cr_assert_not(pt_options_given(&opts, "nonsense"));
    pt_options_fini(&opts);
}

Test(options, everything_after_two_dashes_goes_to_pytest)
{
    take("-x tests -- --lf -n 4 -- --hosts ''");
    cr_assert_eq(opts.maxfail, 1);
    cr_assert_eq(opts.paths.n, 1);
    cr_assert_eq(opts.pytest_args.n, 6);
    cr_assert_str_eq(opts.pytest_args.item[0], "--lf");
    cr_assert_str_eq(opts.pytest_args.item[3], "--");
    cr_assert_str_eq(opts.pytest_args.item[5], "");
    cr_assert_null(opts.hosts);
    pt_options_fini(&opts);
}

Test(options, letters_may_be_joined)
{
    take("-vvqxk expr -mmark -k=other");
    cr_assert_eq(opts.verbose, 2);
    cr_assert_eq(opts.quiet, 1);
    cr_assert_eq(opts.maxfail, 1);
    cr_assert_str_eq(opts.markers, "mark");
    cr_assert_str_eq(opts.keyword, "other");
    pt_options_fini(&opts);
}

Test(options, the_last_of_a_single_value_wins_and_repeatable_ones_add_up)
{
    take(
        "--hosts a --hosts b -x --maxfail 3 --env A --env B=1=2 --exclude *.o --exclude /doc --verbose=3 -v");
    cr_assert_str_eq(opts.hosts, "b");
    cr_assert_eq(opts.maxfail, 3);
    cr_assert_eq(opts.env.n, 2);
    cr_assert_str_eq(opts.env.item[1], "B=1=2");
    cr_assert_eq(opts.exclude.n, 2);
    cr_assert_eq(opts.verbose, 4);
    pt_options_fini(&opts);
}

Test(options, flags_can_be_taken_back)
{
    take("--require-all-hosts --dry-run --require-all-hosts=no -x --exitfirst=no");
    cr_assert_not(opts.require_all_hosts);
    cr_assert(opts.dry_run);
    cr_assert_eq(opts.maxfail, 0);
    pt_options_fini(&opts);
    take("--lf --failed-first --ff=no -- --ff");
    cr_assert(opts.last_failed && !opts.failed_first && opts.pytest_args.n == 1);
    pt_options_fini(&opts);
    refuse("--lf=2", "--lf: want yes or no, got '2'", NULL);
}

Test(options, values_that_look_like_options)
{
    take("-k -slow --json=--x --hosts -h -- ");
    cr_assert_str_eq(opts.keyword, "-slow");
    cr_assert_str_eq(opts.json, "--x");
    cr_assert_str_eq(opts.hosts, "-h");
    pt_options_fini(&opts);
    refuse("--hosts --json x", "--hosts: want LIST, got nothing", NULL);
    refuse("--hosts -- x", "--hosts: want LIST, got nothing", NULL);
    refuse("tests -k", "-k: want EXPR, got nothing", NULL);
    refuse("--host-key", "--host-key: want strict or accept-new, got nothing", NULL);
}

Test(options, how_the_tree_gets_there)
{
    take("--keep a --copy-links --keep=b/*.o --digest sha256 --shared-fs /p");
    cr_assert_eq(opts.keep.n, 2);
    cr_assert_str_eq(opts.keep.item[1], "b/*.o");
    cr_assert(opts.copy_links);
    cr_assert_eq(opts.digest, PT_OPTIONS_SHA256);
    cr_assert_str_eq(opts.shared_fs, "/p");
    pt_options_fini(&opts);
    take("--sync-only --digest=blake2b");
    cr_assert(opts.sync_only);
    cr_assert_eq(opts.digest, PT_OPTIONS_BLAKE2B);
    pt_options_fini(&opts);
    refuse("--digest md5", "--digest: want blake2b or sha256, got 'md5'", NULL);
    refuse("--shared-fs p/q", "--shared-fs: want an absolute path on the hosts, got 'p/q'", NULL);
    refuse("--keep ''", "--keep: want a GLOB, got ''", NULL);
    refuse("--mpi-grace 0", "--mpi-grace: want seconds from 1 to 604800, as 30, 1.5, 2m or 1h, got '0'",
           NULL);
}

Test(options, how_tests_are_dealt)
{
    take("--schedule static --dist=scope --split never --isolate test --preload numpy,yaml --target 10m "
         "--speculate --mpi-across "
         "--reruns 2 --only-rerun 'Time ?out' --only-rerun x --run-timeout 1h --grace 30 --mpi-grace 1.5 "
         "--memory-per-slot 512m --live --detach --share none --shuffle");
    cr_assert(opts.schedule == PT_SCHEDULE_STATIC && opts.dist == PT_DIST_SCOPE &&
              opts.split == PT_SPLIT_NEVER);
    cr_assert(opts.isolate == PT_ISOLATE_TEST && opts.speculate && opts.mpi_across && opts.live &&
              opts.detach);
    cr_assert_str_eq(opts.preload, "numpy,yaml");
    cr_assert_str_eq(opts.shuffle, "");
    cr_assert(opts.share == PT_SHARE_NONE);
    cr_assert_eq(opts.only_rerun.n, 2);
    cr_assert(opts.target_ms == 600000 && opts.run_timeout_ms == 3600000 && opts.grace_ms == 30000 &&
              opts.mpi_grace_ms == 1500);
    cr_assert_eq(opts.memory_per_slot, 512ull << 20);
    pt_options_fini(&opts);
    take("--shuffle=18446744073709551615 a.py --memory-per-slot 2GiB");
    cr_assert_str_eq(opts.shuffle, "18446744073709551615");
    cr_assert_eq(opts.memory_per_slot, 2ull << 30);
    cr_assert_eq(opts.paths.n, 1);
    pt_options_fini(&opts);
    refuse("--shuffle=18446744073709551616",
           "--shuffle: want a number up to 18446744073709551615, got '18446744073709551616'", NULL);
    refuse("--shuffle=-1", "--shuffle: want a number up to 18446744073709551615, got '-1'", NULL);
    refuse("--share all", "--share: want slots or none, got 'all'", NULL);
    refuse("--dist load", "--dist: want file, scope, group, test or each, got 'load'", NULL);
    refuse("--only-rerun (", "--only-rerun: want a POSIX extended regular expression, got '('", NULL);
    static const char *const bad[] = {"", "1", "5x", "m", "-5m", "1.5g", "16383k", "99999999999g", "1mm"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "--memory-per-slot=%s", bad[i]);
        cr_assert_eq(parse(line), -1, "%s was taken", line);
        cr_assert(strstr(err.msg, "--memory-per-slot: want a size from 16384k, as 512m or 2g, got '"), "%s",
                  err.msg);
        pt_options_fini(&opts);
    }
}

Test(options, durations)
{
    static const struct {
        const char *line;
        uint32_t ms;
    } good[] = {{"--timeout 30", 30000},      {"--timeout 0", 0},        {"--timeout 1.5s", 1500},
                {"--timeout 2m", 120000},     {"--timeout 1h", 3600000}, {"--timeout .25", 250},
                {"--timeout 3.", 3000},       {"--timeout 0.0001", 1},   {"--timeout 604800", 604800000},
                {"--timeout 168h", 604800000}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        take(good[i].line);
        cr_assert_eq(opts.timeout_ms, good[i].ms, "%s: %u", good[i].line, opts.timeout_ms);
        pt_options_fini(&opts);
    }
    static const char *const bad[] = {"-1",  "1d",  "2mm",  "1.2.3", ".",   "m",
                                      "inf", "nan", "0x10", "169h",  "1e3", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "--timeout=%s", bad[i]);
        cr_assert_eq(parse(line), -1, "%s was taken", line);
        cr_assert(strstr(err.msg, "--timeout: want seconds from 0 to 604800, as 30, 1.5, 2m or 1h, got '"),
                  "%s", err.msg);
        pt_options_fini(&opts);
    }
}

Test(options, wrong_values_say_what_was_wanted)
{
    refuse("--bundles-per-worker 0", "--bundles-per-worker: want a number from 1 to 1000, got '0'", NULL);
    refuse("--bundles-per-worker 1001", "--bundles-per-worker: want a number from 1 to 1000, got '1001'",
           NULL);
    refuse("--bundles-per-worker=-1", "--bundles-per-worker: want a number from 1 to 1000, got '-1'", NULL);
    refuse("--bundles-per-worker ''", "--bundles-per-worker: want a number from 1 to 1000, got ''", NULL);
    refuse("--maxfail 99999999999999999999",
           "--maxfail: want a number from 0 to 1000000, got '99999999999999999999'", NULL);
    refuse("--maxfail 1x", "--maxfail: want a number from 0 to 1000000, got '1x'", NULL);
    refuse("--color blue", "--color: want auto, yes or no, got 'blue'", NULL);
    refuse("--collect there", "--collect: want here or remote, got 'there'", NULL);
    refuse("--dry-run=maybe", "--dry-run: want yes or no, got 'maybe'", NULL);
    refuse("--env 1A=2", "--env: want NAME or NAME=VALUE of less than 128 KiB, got '1A=2'", NULL);
    refuse("--env =2", "--env: want NAME or NAME=VALUE of less than 128 KiB, got '=2'", NULL);
    refuse("--env A-B", "--env: want NAME or NAME=VALUE of less than 128 KiB, got 'A-B'", NULL);
    refuse("--hosts ''", "--hosts: want a LIST, got ''", NULL);
    refuse("--json=", "--json: want a FILE, got ''", NULL);
    refuse("--version=1", "--version: takes no value", NULL);
    refuse("--help=html", "--help: want man or bash, got 'html'", NULL);
    refuse("''", "a path is empty", NULL);
}

Test(options, an_address_to_listen_on)
{
    static const char *const good[] = {"10.0.0.5:7000", "[fd00::1]:0", "laptop:65535", "[::]:1"};
    static const char *const bad[] = {"7000",         ":7000", "a:",     "a:65536", "a:123456",
                                      "fd00::1:7000", "[]:1",  "[::1:5", "a:1x",    "a:-1"};
    for (size_t i = 0; i < 4; i++) {
        char line[64];
        snprintf(line, sizeof(line), "--listen %s", good[i]);
        take(line);
        cr_assert_str_eq(opts.listen, good[i]);
        pt_options_fini(&opts);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "--listen %s", bad[i]);
        cr_assert_eq(parse(line), -1, "%s was taken", bad[i]);
        pt_options_fini(&opts);
    }
}

Test(options, unknown_options_get_a_hint)
{
    refuse("--hots x", "unknown option --hots", "did you mean --hosts?");
    refuse("--junit-xml=x", "unknown option --junit-xml", "did you mean --junitxml?");
    refuse("--proj x", "unknown option --proj", "did you mean --project?");
    refuse("--dryrun", "unknown option --dryrun", "did you mean --dry-run?");
    refuse("--sw", "unknown option --sw", "pytest's own options go after --");
    refuse("-n 4", "unknown option -n", "pytest's own options go after --");
    refuse("-n4", "unknown option -n4", "pytest's own options go after --");
    refuse("--tb=short", "unknown option --tb", "pytest's own options go after --");
    refuse("--collect-only", "unknown option --collect-only", "pytest's own options go after --");
    refuse("--frobnicate", "unknown option --frobnicate", "pytest's own options go after --");
    refuse("-xz", "unknown option -xz", NULL);
    refuse("--=x", "unknown option --", NULL);
    refuse("--\033[31mred", "unknown option --\\x1b[31mred", NULL);
}

Test(options, every_prefix_of_every_option_is_taken_or_refused_in_one_line)
{
    for (size_t i = 0; i < pt_option_count; i++) {
        const char *name = pt_option_rows[i].name;
        for (size_t n = 0; name && n < strlen(name); n++) {
            char line[64];
            snprintf(line, sizeof(line), "--x%.*s", (int)n, name);
            cr_assert_eq(parse(line), -1);
            cr_assert_null(strchr(err.msg, '\n'));
            pt_options_fini(&opts);
        }
    }
}

/* --- the table --- */

Test(options, the_table_is_sound)
{
    for (size_t i = 0; i < pt_option_count; i++) {
        const struct pt_option_row *row = &pt_option_rows[i];
        cr_assert(row->name || row->letter);
        cr_assert(row->help && row->help[strlen(row->help) - 1] == '.', "%s", row->name);
        cr_assert(row->kind != PT_OPTION_CHOICE || row->choices);
        cr_assert(row->kind != PT_OPTION_NUMBER || (row->initial >= row->min && row->initial <= row->max));
        cr_assert(row->kind != PT_OPTION_ALIAS || pt_option_find(row->means, strlen(row->means)));
        cr_assert(!row->fits || row->want);
        cr_assert(!pt_option_takes_value(row) || row->value || row->choices);
        for (size_t j = 0; j < i; j++) {
            cr_assert(!row->letter || row->letter != pt_option_rows[j].letter);
            cr_assert(!row->name || !pt_option_rows[j].name || strcmp(row->name, pt_option_rows[j].name));
        }
    }
}

/* Run parse(line), which prints, and give what came to stdout. */
static char *printed(const char *line)
{
    FILE *tmp = tmpfile();
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    dup2(fileno(tmp), STDOUT_FILENO);
    int rc = parse(line);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    cr_assert_eq(rc, 1, "%s: %s", line, err.msg);
    pt_options_fini(&opts);
    long n = lseek(fileno(tmp), 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    cr_assert_eq(pread(fileno(tmp), text, (size_t)n, 0), n);
    fclose(tmp);
    return text;
}

Test(options, version)
{
    char *text = printed("--hosts x --version --nonsense");
    cr_assert_str_eq(text, "ptremote " PTREMOTE_VERSION "\n");
    free(text);
}

Test(options, help_has_every_option_and_fits_80_columns)
{
    char *text = printed("--help");
    char *letter = printed("-h");
    cr_assert_str_eq(text, letter);
    for (size_t i = 0; i < pt_option_count; i++) {
        char term[64];
        snprintf(term, sizeof(term), "--%s", pt_option_rows[i].name ? pt_option_rows[i].name : "help");
        cr_assert(strstr(text, term), "%s is not in --help", term);
    }
    cr_assert(strstr(text, "Usage: ptremote [--hosts h1:8,h2:8] [options] [PATH...] [-- PYTEST-ARGS...]"));
    cr_assert(strstr(text, "Exit codes:\n  0  all tests passed\n"));
    char *rest = text;
    char *line;
    while ((line = strsep(&rest, "\n"))) {
        cr_assert(strlen(line) <= 80 || strstr(line, "  ptremote "), "too wide: %s", line);
        cr_assert(!*line || line[strlen(line) - 1] != ' ', "space at the end: %s", line);
    }
    free(text);
    free(letter);
}

/* Feed text to a shell command; its exit status, and what it wrote to stdout and stderr. */
static int filter(const char *command, const char *text, char *out, size_t size)
{
    char file[] = "/tmp/ptremote-test-XXXXXX";
    char line[512];
    int fd = mkstemp(file);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    snprintf(line, sizeof(line), "{ %s; } <%s 2>&1", command, file);
    FILE *pipe = popen(line, "r");
    size_t n = fread(out, 1, size - 1, pipe);
    out[n] = '\0';
    int status = pclose(pipe);
    unlink(file);
    return WEXITSTATUS(status);
}

Test(options, man_page_has_every_option_and_no_warning)
{
    char out[4096];
    char *text = printed("--help=man");
    cr_assert(!strncmp(text, ".TH PTREMOTE 1 ", 15));
    cr_assert(strstr(text, "\\fB\\-\\-bundles\\-per\\-worker\\fR \\fIN\\fR\n"));
    cr_assert(strstr(text, "\n.SH EXIT CODES\n"));
    size_t tagged = 0;
    for (const char *p = text; (p = strstr(p, "\n.TP\n\\fB\\-")); p++)
        tagged++;
    cr_assert_eq(tagged, pt_option_count);
    if (filter("command -v groff", "", out, sizeof(out)) == 0) {
        cr_assert_eq(filter("groff -man -ww -z -Tascii", text, out, sizeof(out)), 0);
        cr_assert_str_eq(out, "");
    }
    free(text);
}

/* What bash would offer with the cursor at the end of line. */
static void complete(const char *line, char *out, size_t size)
{
    char *text = printed("--help=bash");
    char command[512];
    snprintf(command, sizeof(command),
             "bash -c 'source /dev/stdin; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _ptremote; "
             "echo \"${COMPREPLY[*]}\"'",
             line);
    cr_assert_eq(filter(command, text, out, size), 0, "%s", out);
    free(text);
}

Test(options, bash_completes)
{
    char out[4096];
    complete("ptremote --host", out, sizeof(out));
    cr_assert_str_eq(out, "--hosts --hostfile --host-key\n");
    complete("ptremote --host-key a", out, sizeof(out));
    cr_assert_str_eq(out, "accept-new\n");
    complete("ptremote --color = y", out, sizeof(out));
    cr_assert_str_eq(out, "yes\n");
    complete("ptremote --color =", out, sizeof(out));
    cr_assert_str_eq(out, "auto yes no\n");
    complete("ptremote --project /us", out, sizeof(out));
    cr_assert_str_eq(out, "/usr\n");
    complete("ptremote -- /us", out, sizeof(out));
    cr_assert_str_eq(out, "/usr\n");
    complete("ptremote hist", out, sizeof(out));
    cr_assert_str_eq(out, "history\n");
    complete("ptremote tests hist", out, sizeof(out));
    cr_assert_str_eq(out, "\n");
    complete("ptremote report --j", out, sizeof(out));
    cr_assert_str_eq(out, "--junitxml --json\n");
    complete("ptremote --maxfail \"\"", out, sizeof(out));
    cr_assert_str_eq(out, "\n");
}
