/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/err.h"
#include "project.h"
#include "remove_tree.h"
#include "tools.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char top[64];

/* In the place of the one that unpacks what the program carries: says where it was to be. */
char *pt_tools_python(const char *where, struct pt_err *err)
{
    struct stat st;
    cr_assert_eq(stat(where, &st), 0);
    cr_expect_eq(st.st_mode & 077, 0, "nobody else may write there");
    (void)err;
    return strdup(where);
}

static void setup(void)
{
    char name[] = "/tmp/pt-project-XXXXXX";
    cr_assert_not_null(mkdtemp(name));
    snprintf(top, sizeof(top), "%s", name);
    setenv("HOME", "/nonexistent", 1);
}

static void teardown(void)
{
    cr_assert_eq(chdir("/"), 0);
    remove_tree(top);
}

static char *under(const char *below)
{
    static char paths[4][PATH_MAX];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, PATH_MAX, "%s%s%s", top, below[0] ? "/" : "", below);
    return path;
}

/* All folders of a path below top. */
static char *folder(const char *below)
{
    char *path = under(below);
    for (char *p = path + strlen(top) + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(path, 0700);
            *p = '/';
        }
    mkdir(path, 0700);
    return path;
}

static void write_file(const char *below, const char *text)
{
    FILE *f = fopen(under(below), "w");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
}

/* From the folder `cwd` below top, the project found must be `want` below top (NULL: none). */
static void finds(const char *cwd, const char *want)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(chdir(under(cwd)), 0);
    pt_auto_free char *found = pt_project_find(NULL, &err);
    cr_expect_str_eq(err.msg, "");
    if (!want)
        cr_expect_null(found);
    else
        cr_expect(found && strcmp(found, under(want)) == 0, "from %s: %s", cwd, found ? found : "none");
}

TestSuite(project, .init = setup, .fini = teardown);

Test(project, the_checkout_around_here_is_found)
{
    folder("repo/.git");
    folder("repo/a/b/c");
    finds("repo", "repo");
    finds("repo/a/b/c", "repo");
}

Test(project, the_nearest_checkout_wins)
{
    folder("repo/.git");
    folder("repo/vendored/.git");
    folder("repo/vendored/src");
    finds("repo/vendored/src", "repo/vendored");
    finds("repo/vendored", "repo/vendored");
    finds("repo", "repo");
}

Test(project, a_worktree_has_a_file_instead)
{
    folder("repo/.git/worktrees/wt");
    folder("wt/tests");
    write_file("wt/.git", "gitdir: ../repo/.git/worktrees/wt\n");
    finds("wt/tests", "wt");
}

Test(project, links_are_followed_to_the_real_place)
{
    folder("repo/.git");
    folder("repo/tests");
    cr_assert_eq(symlink(under("repo/tests"), under("link")), 0);
    finds("link", "repo");
}

Test(project, without_a_checkout_there_is_none)
{
    folder("plain/x");
    finds("plain/x", NULL);
    cr_assert_eq(chdir("/"), 0);
    struct pt_err err = PT_ERR_INIT;
    pt_auto_free char *found = pt_project_find(NULL, &err);
    cr_expect(!found || strcmp(found, "/") == 0);
}

Test(project, a_vanished_working_directory_is_no_project)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(chdir(folder("gone")), 0);
    cr_assert_eq(rmdir(under("gone")), 0);
    cr_expect_null(pt_project_find(NULL, &err));
    pt_auto_free char *below = pt_project_cwd(top);
    cr_expect_str_eq(below, "");
    cr_expect_null(pt_project_state(top, "state"));
}

Test(project, the_option_beats_the_checkout)
{
    struct pt_err err = PT_ERR_INIT;
    folder("repo/.git");
    folder("repo/part");
    cr_assert_eq(chdir(under("repo")), 0);
    pt_auto_free char *found = pt_project_find("part/../part/", &err);
    cr_expect_str_eq(found, under("repo/part"));
}

Test(project, an_option_that_is_no_folder_is_refused)
{
    static const char *const names[] = {"missing", "file", "", "file/x"};
    cr_assert_eq(chdir(top), 0);
    write_file("file", "");
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        struct pt_err err = PT_ERR_INIT;
        cr_expect_null(pt_project_find(names[i], &err));
        cr_expect_eq(err.kind, PT_ERR_USAGE);
        cr_expect(strncmp(err.msg, "--project ", 10) == 0, "%s", err.msg);
    }
}

Test(project, home_and_the_root_are_not_sent_by_accident)
{
    struct pt_err err = PT_ERR_INIT;
    folder("home/me/work");
    cr_assert_eq(symlink(under("home"), under("users")), 0);
    const char *const names[] = {"home/me", "home/me/", "users/me", "home/./me"};
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        setenv("HOME", under(names[i]), 1);
        cr_expect_eq(pt_project_check(under("home/me"), false, &err), -1, "HOME=%s", names[i]);
        cr_expect_eq(err.kind, PT_ERR_USAGE);
        cr_expect_not_null(strstr(err.msg, under("home/me")));
        cr_expect_not_null(strstr(err.hint, "--project"));
        cr_expect_eq(pt_project_check(under("home/me"), true, &err), 0, "it was asked for");
        cr_expect_eq(pt_project_check(under("home/me/work"), false, &err), 0);
    }
    cr_expect_eq(pt_project_check("/", false, &err), -1);
    cr_expect_eq(pt_project_check("/", true, &err), 0);
}

Test(project, no_home_is_no_trouble)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_eq(pt_project_check(top, false, &err), 0);
    setenv("HOME", "", 1);
    cr_assert_eq(chdir(top), 0);
    cr_expect_eq(pt_project_check(top, false, &err), 0);
    unsetenv("HOME");
    cr_expect_eq(pt_project_check(top, false, &err), 0);
}

Test(project, the_state_is_in_the_project_or_where_it_was_asked)
{
    cr_assert_eq(chdir(top), 0);
    pt_auto_free char *usual = pt_project_state("/p", NULL), *absolute = pt_project_state("/p", "/s/t"),
                      *relative = pt_project_state("/p", "s");
    cr_expect_str_eq(usual, "/p/.ptremote");
    cr_expect_str_eq(absolute, "/s/t");
    cr_expect_str_eq(relative, under("s"));
}

/* From the folder `cwd` below top, the record of runs is in `want` below top. */
static void records_in(const char *cwd, const char *project, const char *state_dir, const char *want)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(chdir(under(cwd)), 0);
    pt_auto_free char *found = pt_project_state_here(project, state_dir, &err);
    cr_expect(found && strcmp(found, under(want)) == 0, "from %s: %s%s", cwd, found ? found : "", err.msg);
}

Test(project, the_record_of_runs_is_found_from_below)
{
    folder("repo/.git");
    folder("repo/tests/.ptremote");
    write_file("repo/tests/.ptremote/ledger.sqlite", "");
    folder("plain/.ptremote");
    folder("plain/a/.ptremote");
    folder("plain/a/b");
    write_file("plain/.ptremote/ledger.sqlite", "");
    records_in("repo/tests", NULL, NULL, "repo/.ptremote");
    records_in("plain", NULL, NULL, "plain/.ptremote");
    records_in("plain/a/b", NULL, NULL, "plain/.ptremote");
    records_in("plain/a", "../../repo/tests", NULL, "repo/tests/.ptremote");
    records_in("plain/a", NULL, "b", "plain/a/b");
    records_in("plain/a", "nowhere", "b", "plain/a/b");
    write_file("plain/a/.ptremote/ledger.sqlite", "");
    records_in("plain/a/b", NULL, NULL, "plain/a/.ptremote");
}

Test(project, where_no_record_of_runs_is_one_line_says_so)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(chdir(folder("plain")), 0);
    cr_expect_null(pt_project_state_here(NULL, NULL, &err));
    cr_expect(err.kind == PT_ERR_USAGE && strstr(err.msg, "no runs are recorded"), "%s", err.msg);
    cr_expect_null(pt_project_state_here("nowhere", NULL, &err));
    cr_expect(err.kind == PT_ERR_USAGE && strstr(err.msg, "--project nowhere"), "%s", err.msg);
    cr_expect_null(pt_project_state_here("nowhere", NULL, NULL));
    cr_assert_eq(chdir(folder("gone")), 0);
    cr_assert_eq(rmdir(under("gone")), 0);
    cr_expect_null(pt_project_state_here(NULL, NULL, &err));
    cr_expect_null(pt_project_state_here(NULL, "state", &err));
    cr_expect_eq(err.kind, PT_ERR_USAGE);
}

Test(project, a_key_is_stable_and_apart_for_every_folder)
{
    pt_auto_free char *a = pt_project_key("/home/me/app"), *again = pt_project_key("/home/me/app"),
                      *b = pt_project_key("/home/you/app"), *c = pt_project_key("/home/me/app2");
    cr_expect_str_eq(a, again);
    cr_expect_str_neq(a, b);
    cr_expect_str_neq(a, c);
    cr_expect(strncmp(a, "app-", 4) == 0 && strncmp(b, "app-", 4) == 0 && strlen(a) == 4 + 12, "%s", a);
}

Test(project, a_key_is_harmless_whatever_the_folder)
{
    static const char *const roots[] = {
        "/",
        "/a b",
        "/..",
        "/.",
        "/$(id)",
        "/'\"\n\t",
        "/\xff\xc3\xa4",
        "/x/a_name_that_is_very_much_longer_than_any_name_should_ever_be_at_all"};
    for (size_t i = 0; i < PT_COUNT(roots); i++) {
        pt_auto_free char *key = pt_project_key(roots[i]);
        cr_assert_not_null(key);
        cr_expect_eq(strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"),
                     strlen(key), "%s", key);
        cr_expect(key[0] != '-' && strlen(key) <= 32 + 1 + 12, "%s", key);
    }
}

Test(project, the_working_directory_is_told_below_the_top)
{
    folder("p/tests/unit");
    folder("p2/x");
    static const char *const rows[][2] = {{"p", ""}, {"p/tests/unit", "tests/unit"}, {"p2/x", ""}, {"", ""}};
    for (size_t i = 0; i < PT_COUNT(rows); i++) {
        cr_assert_eq(chdir(under(rows[i][0])), 0);
        pt_auto_free char *cwd = pt_project_cwd(under("p"));
        cr_expect_str_eq(cwd, rows[i][1]);
    }
    cr_assert_eq(chdir("/usr"), 0);
    pt_auto_free char *cwd = pt_project_cwd("/");
    cr_expect_str_eq(cwd, "usr");
    cr_assert_eq(chdir("/"), 0);
    pt_auto_free char *none = pt_project_cwd("/");
    cr_expect_str_eq(none, "");
}

/* The value that wins: a later one is put over an earlier one. */
static const char *value_of(const struct pt_env *env, uint32_t n, const char *name)
{
    const char *value = NULL;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(env[i].name, name) == 0)
            value = env[i].value;
    return value;
}

Test(project, what_words_mean_in_the_environment)
{
    char *words[] = {(char *)"SET=a=b", (char *)"EMPTY=",        (char *)"TAKEN",
                     (char *)"MISSING", (char *)"TZ=Asia/Tokyo", NULL};
    struct pt_words option = {.item = words, .n = 5};
    uint32_t n = 99;
    clearenv();
    setenv("LANG", "de_DE.UTF-8", 1);
    setenv("LC_ALL", "C", 1);
    setenv("TZ", "Europe/Berlin", 1);
    setenv("PYTEST_ADDOPTS", "-ra", 1);
    setenv("TAKEN", "here \xff", 1);
    setenv("SECRET", "stays", 1);
    setenv("LANGUAGES", "stays", 1);
    setenv("XLC_ALL", "stays", 1);
    struct pt_env *env = pt_project_env(&option, &n);
    cr_assert_not_null(env);
    cr_expect_eq(n, 8);
    cr_expect_str_eq(value_of(env, n, "LANG"), "de_DE.UTF-8");
    cr_expect_str_eq(value_of(env, n, "LC_ALL"), "C");
    cr_expect_str_eq(value_of(env, n, "PYTEST_ADDOPTS"), "-ra");
    cr_expect_str_eq(value_of(env, n, "TZ"), "Asia/Tokyo", "--env wins");
    cr_expect_str_eq(value_of(env, n, "SET"), "a=b");
    cr_expect_str_eq(value_of(env, n, "EMPTY"), "");
    cr_expect_str_eq(value_of(env, n, "TAKEN"), "here \xff");
    cr_expect_null(value_of(env, n, "MISSING"));
    cr_expect_null(value_of(env, n, "SECRET"));
    pt_project_env_free(env, n);
    pt_project_env_free(NULL, 0);
}

Test(project, nothing_to_tell_is_no_error)
{
    struct pt_words option = {0};
    uint32_t n = 99;
    clearenv();
    setenv("PATH", "/bin", 1);
    struct pt_env *env = pt_project_env(&option, &n);
    cr_expect_not_null(env);
    cr_expect_eq(n, 0);
    pt_project_env_free(env, n);
}

static const atomic_int never = 0;

/* In a session of its own there is no terminal: nobody can be asked, and nobody waits. */
Test(project, without_a_terminal_nobody_is_asked)
{
    pid_t pid = fork();
    if (pid == 0) {
        char answer[8];
        setsid();
        _exit(pt_project_ask("host", "password:", false, answer, sizeof(answer), &never) == -1 ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
}

struct asking {
    const char *prompt, *typed;
    const atomic_int *cancel;
    bool echo;
    int status;
    char shown[512];
};

/* Asks on a terminal of its own; the exit status says how the answer was. */
static void ask(struct asking *a, const char *want)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char answer[16] = "";
        setsid();
        if (open(ptsname(master), O_RDWR) < 0)
            _exit(9);
        int rc = pt_project_ask("h\x1b", a->prompt, a->echo, answer, sizeof(answer), a->cancel);
        _exit(rc < 0 ? 2 : strcmp(answer, want) == 0 ? 0 : 1);
    }
    size_t n = 0;
    bool told = false;
    ssize_t got;
    while (n < sizeof(a->shown) - 1 && (got = read(master, a->shown + n, sizeof(a->shown) - 1 - n)) > 0) {
        n += (size_t)got;
        if (!told && memchr(a->shown, '?', n)) {
            told = true;
            cr_expect_eq(write(master, a->typed, strlen(a->typed)), (ssize_t)strlen(a->typed));
        }
    }
    a->shown[n] = '\0';
    waitpid(pid, &a->status, 0);
    close(master);
}

Test(project, a_password_is_not_shown)
{
    struct asking a = {.prompt = "pass\x1b[2J?", .typed = "sesame\n", .cancel = &never};
    ask(&a, "sesame");
    cr_expect_eq(a.status, 0);
    cr_expect_null(strstr(a.shown, "sesame"));
    cr_expect_not_null(strstr(a.shown, "h\\x1b: pass\\x1b[2J?"), "%s", a.shown);
}

Test(project, an_answer_may_be_shown)
{
    struct asking a = {.prompt = "code?", .typed = "42\n", .cancel = &never, .echo = true};
    ask(&a, "42");
    cr_expect_eq(a.status, 0);
    cr_expect_not_null(strstr(a.shown, "42"));
}

Test(project, what_is_too_long_is_cut_and_an_end_gives_up)
{
    struct asking lengthy = {.prompt = "code?", .typed = "0123456789abcdefghijklmnop\n", .cancel = &never};
    ask(&lengthy, "0123456789abcde");
    cr_expect_eq(lengthy.status, 0);
    struct asking end = {.prompt = "code?", .typed = "\x04", .cancel = &never};
    ask(&end, "");
    cr_expect_eq(WEXITSTATUS(end.status), 2);
}

Test(project, a_run_that_ends_waits_for_no_answer)
{
    static const atomic_int now = 1;
    struct asking a = {.prompt = "code?", .typed = "", .cancel = &now};
    ask(&a, "");
    cr_expect_eq(WEXITSTATUS(a.status), 2);
}

static void package_is_below(const char *state_dir, const char *want)
{
    struct pt_err err = PT_ERR_INIT;
    for (int again = 0; again < 2; again++) {
        pt_auto_free char *path = pt_project_package(state_dir, &err);
        cr_expect(path && strcmp(path, want) == 0, "%s: %s", path ? path : "none", err.msg);
    }
}

Test(project, the_package_is_in_the_cache)
{
    char *cache = under("deep/cache"), *want = under("deep/cache/ptremote");
    folder("deep");
    setenv("XDG_CACHE_HOME", cache, 1);
    package_is_below(NULL, want);
    setenv("HOME", under("home"), 1);
    setenv("XDG_CACHE_HOME", "relative", 1); /* to be ignored, as its definition says */
    package_is_below(NULL, under("home/.cache/ptremote"));
    package_is_below(under("state"), under("state"));
}

Test(project, a_cache_that_cannot_be_made_is_a_usage_error)
{
    struct pt_err err = PT_ERR_INIT;
    write_file("file", "");
    setenv("XDG_CACHE_HOME", under("file"), 1);
    cr_expect_null(pt_project_package(NULL, &err));
    cr_expect(err.kind == PT_ERR_USAGE && strstr(err.msg, under("file")), "%s", err.msg);
}
