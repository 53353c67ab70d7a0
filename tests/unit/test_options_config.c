/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pt_options opts;
static struct pt_err err;

/* The words of line, split at spaces, as the command line. */
static void take(const char *line)
{
    char copy[256];
    char *argv[16] = {(char[]){"ptremote"}};
    int argc = 1;
    snprintf(copy, sizeof(copy), "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    err = PT_ERR_INIT;
    cr_assert_eq(pt_options_parse(argc, argv, &opts, &err), 0, "'%s': %s", line, err.msg);
}

static char folder[64];

static void make_folder(void)
{
    snprintf(folder, sizeof(folder), "/tmp/ptremote-test-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    unsetenv("PTREMOTE_HOSTS");
    unsetenv("XDG_CONFIG_HOME");
    setenv("HOME", folder, 1);
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert_eq(system(command), 0);
}

static const char *put_bytes(const char *name, const char *text, size_t n)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    cr_assert_eq(fwrite(text, 1, n, f), n);
    fclose(f);
    return path;
}

static const char *put(const char *name, const char *text)
{
    return put_bytes(name, text, strlen(text));
}

static void make_user_config(const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/.config", folder);
    mkdir(path, 0700);
    put(".config/ptremote.conf", text);
}

TestSuite(config, .init = make_folder, .fini = remove_folder);

static void refuse_config(enum pt_options_from from, const char *text, size_t n, const char *msg,
                          const char *hint)
{
    char want[512];
    const char *path = put_bytes("ptremote.conf", text, n);
    take("--hosts keep");
    cr_assert_eq(pt_options_load_config(&opts, from, path, &err), -1, "taken: %s", text);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    snprintf(want, sizeof(want), "%s:%s", path, msg);
    cr_assert_str_eq(err.msg, want);
    if (hint)
        cr_assert(strstr(err.hint, hint), "%s", err.hint);
    cr_assert_str_eq(opts.hosts, "keep");
    cr_assert_eq(opts.bundles_per_worker, 10);
    pt_options_fini(&opts);
}

static void refuse_line(enum pt_options_from from, const char *text, const char *msg, const char *hint)
{
    refuse_config(from, text, strlen(text), msg, hint);
}

Test(config, a_file_is_read_below_the_command_line)
{
    const char text[] =
        "# ours\r\n[ptremote]\n\n hosts = h1:8, h2:8 \ntimeout=2m\nrequire-all-hosts = yes\n"
        "bundles-per-worker = 20\nenv = A=from file\nenv = B\nexitfirst = yes\nverbose = 2\ninit = x = y # z";
    const char *path = put("ptremote.conf", text);
    take("--timeout 5 --env A=1 -q");
    cr_assert_eq(pt_options_load_config(&opts, PT_OPTIONS_PROJECT, path, &err), 0, "%s", err.msg);
    cr_assert_str_eq(opts.hosts, "h1:8, h2:8");
    cr_assert_eq(opts.timeout_ms, 5000);
    cr_assert(opts.require_all_hosts);
    cr_assert_eq(opts.bundles_per_worker, 20);
    cr_assert_eq(opts.maxfail, 1);
    cr_assert_eq(opts.verbose, 2);
    cr_assert_eq(opts.quiet, 1);
    cr_assert_str_eq(opts.init, "x = y # z");
    cr_assert_eq(opts.env.n, 3);
    cr_assert_str_eq(opts.env.item[0], "A=from file");
    cr_assert_str_eq(opts.env.item[2], "A=1");
    cr_assert_null(opts.env.item[3]);
    pt_options_fini(&opts);
}

Test(config, paths_are_meant_from_the_folder_of_the_file)
{
    char want[256];
    const char text[] =
        "hostfile = hosts.txt\njson = /abs/out.json\nssh-config = ~/cfg\nremote-dir = scratch";
    const char *path = put("ptremote.conf", text);
    take("--junitxml here.xml");
    cr_assert_eq(pt_options_load_config(&opts, PT_OPTIONS_USER, path, &err), 0, "%s", err.msg);
    snprintf(want, sizeof(want), "%s/hosts.txt", folder);
    cr_assert_str_eq(opts.hostfile, want);
    snprintf(want, sizeof(want), "%s/cfg", folder);
    cr_assert_str_eq(opts.ssh_config, want);
    cr_assert_str_eq(opts.json, "/abs/out.json");
    cr_assert_str_eq(opts.junitxml, "here.xml");
    cr_assert_str_eq(opts.remote_dir, "scratch");
    pt_options_fini(&opts);
}

Test(config, errors_name_file_and_line)
{
    refuse_line(PT_OPTIONS_USER, "\n\nhots = a", "3: unknown option 'hots'", "did you mean hosts?");
    refuse_line(PT_OPTIONS_USER, "timeout = soon",
                "1: timeout: want seconds from 0 to 604800, as 30, 1.5, 2m or 1h, got 'soon'", NULL);
    refuse_line(PT_OPTIONS_USER, "hosts", "1: want 'option = value', got 'hosts'", NULL);
    refuse_line(PT_OPTIONS_USER, "= 3", "1: want 'option = value', got '= 3'", NULL);
    refuse_line(PT_OPTIONS_USER, "[other]", "1: want 'option = value', got '[other]'", NULL);
    refuse_line(PT_OPTIONS_USER, "hosts =", "1: hosts: want a LIST, got ''", NULL);
    refuse_line(PT_OPTIONS_USER, "hostfile =", "1: hostfile: want a FILE, got ''", NULL);
    refuse_line(PT_OPTIONS_USER, "debug = 1", "1: debug: want yes or no, got '1'", NULL);
    refuse_line(PT_OPTIONS_USER, "hosts = a\nhosts = b", "2: hosts is set a second time", NULL);
    refuse_line(PT_OPTIONS_USER, "maxfail = 2\nexitfirst = yes", "2: exitfirst is set a second time", NULL);
    refuse_line(PT_OPTIONS_USER, "dry-run = yes", "1: dry-run can only be given on the command line", NULL);
    refuse_line(PT_OPTIONS_USER, "help = man", "1: help can only be given on the command line", NULL);
    refuse_config(PT_OPTIONS_USER, "debug = yes\0\n", 13, " has a NUL byte, so it is no text", NULL);
}

Test(config, a_project_cannot_change_trust)
{
    static const char *const names[] = {"ssh-config", "host-key", "state-dir", "listen"};
    for (size_t i = 0; i < 4; i++) {
        char text[64];
        char msg[128];
        snprintf(text, sizeof(text), "bundles-per-worker = 3\n%s = accept-new", names[i]);
        snprintf(msg, sizeof(msg), "2: %s cannot be set by a project's file", names[i]);
        refuse_line(PT_OPTIONS_PROJECT, text, msg, "~/.config/ptremote.conf");
    }
    const char *path = put("ptremote.conf", "host-key = accept-new");
    take("");
    cr_assert_eq(pt_options_load_config(&opts, PT_OPTIONS_USER, path, &err), 0);
    cr_assert_eq(opts.host_key, PT_HOST_KEY_ACCEPT_NEW);
    pt_options_fini(&opts);
}

Test(config, what_is_no_file_is_refused_or_absent)
{
    char path[256];
    take("");
    snprintf(path, sizeof(path), "%s/absent", folder);
    cr_assert_eq(pt_options_load_config(&opts, PT_OPTIONS_USER, path, &err), 0);
    cr_assert_eq(pt_options_load_config(&opts, PT_OPTIONS_USER, folder, &err), -1);
    snprintf(path, sizeof(path), "%s/pipe", folder);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(pt_options_load_config(&opts, PT_OPTIONS_USER, path, &err), -1);
    cr_assert(strstr(err.msg, "want a file of at most"));
    pt_options_fini(&opts);
}

Test(config, every_prefix_of_a_file_is_taken_or_refused)
{
    const char text[] = "[ptremote]\n# c\nhosts = a:1\ntimeout = 2m\nenv = A=1\ncolor = no\n";
    for (size_t n = 0; n < sizeof(text); n++) {
        const char *path = put_bytes("ptremote.conf", text, n);
        take("");
        int rc = pt_options_load_config(&opts, PT_OPTIONS_PROJECT, path, &err);
        cr_assert(rc == 0 || (rc == -1 && strstr(err.msg, "ptremote.conf:")), "%zu: %s", n, err.msg);
        pt_options_fini(&opts);
    }
}

Test(config, sources_come_in_their_order)
{
    make_user_config("timeout = 1\nmaxfail = 1\nhosts = user\nexclude = u");
    put("ptremote.conf", "timeout = 2\nhosts = project\nexclude = p");
    take("--exclude c");
    cr_assert_eq(pt_options_complete(&opts, folder, &err), 0, "%s", err.msg);
    cr_assert_str_eq(opts.hosts, "project");
    cr_assert_eq(opts.timeout_ms, 2000);
    cr_assert_eq(opts.maxfail, 1);
    cr_assert_eq(opts.exclude.n, 3);
    cr_assert_str_eq(opts.exclude.item[0], "u");
    cr_assert_str_eq(opts.exclude.item[1], "p");
    cr_assert_str_eq(opts.exclude.item[2], "c");
    pt_options_fini(&opts);

    setenv("PTREMOTE_HOSTS", "env", 1);
    take("");
    cr_assert_eq(pt_options_complete(&opts, folder, &err), 0);
    cr_assert_str_eq(opts.hosts, "env");
    pt_options_fini(&opts);

    take("--hostfile f");
    cr_assert_eq(pt_options_complete(&opts, folder, &err), 0);
    cr_assert_null(opts.hosts, "a host file on the command line hides lists below");
    cr_assert_str_eq(opts.hostfile, "f");
    pt_options_fini(&opts);

    setenv("PTREMOTE_HOSTS", "", 1);
    setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
    take("");
    cr_assert_eq(pt_options_complete(&opts, NULL, &err), 0);
    cr_assert_str_eq(opts.hosts, "local");
    cr_assert_eq(opts.timeout_ms, 0);
    cr_assert(opts.grace_ms == 10000 && opts.mpi_grace_ms == 3000);
    pt_options_fini(&opts);
}

Test(config, without_git_the_working_folder_has_the_projects_file)
{
    put("ptremote.conf", "timeout = 2\nhosts = project");
    make_user_config("timeout = 1\nmaxfail = 1");
    cr_assert_eq(chdir(folder), 0);
    take("");
    cr_assert_eq(pt_options_complete(&opts, NULL, &err), 0, "%s", err.msg);
    cr_assert_str_eq(opts.hosts, "project");
    cr_assert_eq(opts.timeout_ms, 2000);
    cr_assert_eq(opts.maxfail, 1);
    pt_options_fini(&opts);

    put("ptremote.conf", "host-key = accept-new");
    take("");
    cr_assert_eq(pt_options_complete(&opts, NULL, &err), -1, "it may set no more than another project's");
    pt_options_fini(&opts);
}

Test(config, list_and_file_of_one_source_go_together)
{
    put("ptremote.conf", "hosts = a\nhostfile = b");
    take("");
    cr_assert_eq(pt_options_complete(&opts, folder, &err), 0, "%s", err.msg);
    cr_assert_str_eq(opts.hosts, "a");
    cr_assert_not_null(opts.hostfile);
    pt_options_fini(&opts);
}

Test(config, a_glob_of_one_name_keeps_it_in_every_folder)
{
    take("--keep *.o --keep build/ --keep /top --keep a/b");
    cr_assert_eq(pt_options_complete(&opts, NULL, &err), 0, "%s", err.msg);
    cr_assert_eq(opts.keep.n, 4);
    cr_assert_str_eq(opts.keep.item[0], "**/*.o");
    cr_assert_str_eq(opts.keep.item[1], "**/build/");
    cr_assert_str_eq(opts.keep.item[2], "/top");
    cr_assert_str_eq(opts.keep.item[3], "a/b");
    pt_options_fini(&opts);
}

static void refuse_together(const char *line, const char *msg)
{
    take(line);
    cr_assert_eq(pt_options_complete(&opts, NULL, &err), -1, "'%s' was taken", line);
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_str_eq(err.msg, msg);
    pt_options_fini(&opts);
}

Test(config, what_makes_no_sense_together_is_refused)
{
    refuse_together("--sync-only --dry-run", "--sync-only and --dry-run exclude each other");
    refuse_together("--sync-only --shared-fs /p", "--sync-only has nothing to send with --shared-fs");
    take("--shared-fs /p --dry-run");
    cr_assert_eq(pt_options_complete(&opts, NULL, &err), 0, "%s", err.msg);
    pt_options_fini(&opts);
}
