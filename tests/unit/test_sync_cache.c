/* SPDX-License-Identifier: Apache-2.0 */
/* What goes from a cache that is too large, what goes when it is cleaned, and what never goes. */
#include "sync/there/cache.h"
#include "sync/there/uses.h"
#include "sync_lab.h"

#include <sys/file.h>
#include <sys/prctl.h>
#include <time.h>

TestSuite(sync_cache, .init = lab_open, .fini = lab_close);

#define HOUR   3600
#define DAY    (24 * HOUR)
#define OLD    "bin/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define NEW    "bin/fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define BUILT  OLD "-0123456789abcdef"
#define PYTHON "python/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define CODE   "pycache/suite-0a1b-0123456789abcdef"
#define PACK   "store/blake2b/0123456789abcdef"

static char cache[96];

/* Good until the call after the next. */
static const char *in_cache(const char *path)
{
    static char out[2][400];
    static unsigned n;
    char *at = out[n++ % 2];
    snprintf(at, 400, "%s/%s", cache, path);
    return at;
}

static void age(const char *path, time_t seconds)
{
    struct timespec now, times[2];
    clock_gettime(CLOCK_REALTIME, &now);
    times[0] = times[1] = (struct timespec){.tv_sec = now.tv_sec - seconds};
    cr_assert_eq(utimensat(AT_FDCWD, in_cache(path), times, AT_SYMLINK_NOFOLLOW), 0, "%s", path);
}

static bool is_there(const char *path)
{
    struct stat st;
    return lstat(in_cache(path), &st) == 0;
}

/* A file of so many KiB; then the age of `marked`. */
static void put(const char *path, size_t kib, const char *marked, time_t seconds)
{
    char *data = calloc(kib, 1024), name[400];
    snprintf(name, sizeof(name), "cache/%s", path);
    memset(data, 'x', kib * 1024);
    lab_write(name, data, kib * 1024);
    free(data);
    if (marked)
        age(marked, seconds);
}

static void put_workspace(const char *path, size_t kib, time_t seconds)
{
    char name[300], lock[300];
    snprintf(name, sizeof(name), "%s/tree/deep/file", path);
    snprintf(lock, sizeof(lock), "%s/lock", path);
    put(lock, 0, NULL, 0);
    put(name, kib, lock, seconds);
}

/* 100 KiB of each kind, each older than the one before: the program most of all. */
static void fill(void)
{
    snprintf(cache, sizeof(cache), "%s/cache", lab_dir);
    put_workspace("ws/here/new", 100, 2 * DAY);
    put_workspace("ws/here/old", 100, 3 * DAY);
    put_workspace("ws/elsewhere/old", 100, 4 * DAY);
    put(PACK ".idx", 0, NULL, 0);
    put(PACK ".pack", 100, PACK ".idx", 5 * DAY);
    put(CODE "/file", 100, CODE, 6 * DAY);
    put(PYTHON "/file", 100, PYTHON, 7 * DAY);
    put(BUILT "/file", 100, BUILT, 8 * DAY);
    put(OLD "/file", 100, OLD, 9 * DAY);
}

static struct pt_cache_done bound(uint64_t kib)
{
    struct pt_cache_done done;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_cache_bound(cache, "here", kib << 10, &done, &err), 0, "%s", err.msg);
    cr_expect_not(is_there("gone"), "what goes is left half-way");
    return done;
}

static struct pt_cache_done clean(void)
{
    struct pt_cache_done done;
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_cache_clean(cache, "here", &done, &err), 0, "%s", err.msg);
    cr_expect_not(is_there("gone"), "what goes is left half-way");
    return done;
}

/* --- a bound --- */

Test(sync_cache, what_was_used_last_longest_ago_goes)
{
    static const char *const order[] = {
        OLD, BUILT, PYTHON, CODE, PACK ".pack", "ws/elsewhere/old", "ws/here/old", "ws/here/new"};
    fill();
    cr_expect_eq(bound(2000).removed, 0);
    for (size_t gone = 0; gone < PT_COUNT(order); gone++) {
        uint64_t left = (uint64_t)(PT_COUNT(order) - gone) * 110;
        struct pt_cache_done done = bound(left - 60);
        cr_expect_eq(done.removed, 1, "%zu: %u went: %s", gone, done.removed, done.names);
        cr_expect(done.bytes >= 100 << 10 && done.bytes < 140 << 10);
        for (size_t i = 0; i < PT_COUNT(order); i++)
            cr_expect_eq(is_there(order[i]), i > gone, "%s after %zu", order[i], gone);
    }
    cr_expect_not(is_there(PACK ".idx"));
    cr_expect(is_there("ws/here"));
}

Test(sync_cache, several_go_at_once_and_are_named)
{
    fill();
    struct pt_cache_done done = bound(350);
    cr_expect_eq(done.removed, 5);
    cr_expect_str_eq(done.names, "bin/01234567, bin/01234567, python/01234567, " CODE ", " PACK ".pack");
    cr_expect(is_there("ws/elsewhere/old") && is_there("ws/here/old") && is_there("ws/here/new"));
}

Test(sync_cache, is_not_looked_at_again_and_again)
{
    fill();
    pt_uses_destroy(pt_uses_create(cache, "here", "run"));
    cr_expect_eq(bound(2000).removed, 0);
    put_workspace("ws/here/more", 4000, 10 * DAY);
    cr_expect_eq(bound(2000).removed, 0, "it was far below a moment ago");
    cr_expect_eq(bound(900).removed, 1, "it was near that");
    put_workspace("ws/here/more", 4000, 10 * DAY);
    age("use/size", HOUR / 4);
    cr_expect_eq(bound(2000).removed, 1);
    put_workspace("ws/here/more", 4000, 10 * DAY);
    put("use/size", 1, NULL, 0);
    cr_expect_eq(bound(2000).removed, 1, "that is no size");
    cr_expect_eq(clean().kept, 0);
    cr_expect_not(is_there("use"));
}

Test(sync_cache, a_workspace_that_a_run_has_stays)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_receive_options o = {.cache = cache, .machine_id = "here", .project = "old"};
    int lock = -1;
    fill();
    pt_auto_free char *tree = pt_workspace_take(&o, &lock, &err);
    cr_assert_not_null(tree, "%s", err.msg);
    age("ws/here/old/lock", 20 * DAY);
    struct pt_cache_done done = bound(0);
    cr_expect(done.kept == 1 && done.removed == 7, "%u, %u", done.kept, done.removed);
    cr_expect(is_there("ws/here/old/tree/deep/file"));
    close(lock);
    cr_expect_eq(bound(0).removed, 1);
    cr_expect_not(is_there("ws/here/old"));
}

Test(sync_cache, what_is_said_to_be_used_stays)
{
    fill();
    struct pt_uses *one = pt_uses_create(cache, "here", "run-1"),
                   *two = pt_uses_create(cache, "elsewhere", "run-2");
    cr_assert(one && two);
    pt_uses_add(one, OLD);
    pt_uses_add(two, "ws/elsewhere/old");
    pt_uses_add(two, PYTHON);
    age(OLD, 9 * DAY);
    cr_expect_eq(bound(0).removed, 5);
    cr_expect(is_there(OLD) && is_there("ws/elsewhere/old") && is_there(PYTHON));
    pt_uses_destroy(one);
    pt_uses_destroy(two);
    age(PYTHON, 9 * DAY);
    cr_expect_eq(bound(0).removed, 3);
}

Test(sync_cache, saying_it_is_using_it)
{
    fill();
    struct pt_uses *uses = pt_uses_create(cache, "here", "run");
    pt_uses_add(uses, OLD);
    pt_uses_add(uses, "bin/not there");
    pt_uses_destroy(uses);
    cr_expect_eq(bound(0).kept, 1, "others may be about to use what was used a moment ago");
    cr_expect(is_there(OLD));
    age(OLD, HOUR + 60);
    cr_expect_eq(bound(0).removed, 1);
}

Test(sync_cache, a_young_workspace_of_another_machine_stays)
{
    fill();
    age("ws/elsewhere/old/lock", HOUR / 2);
    age("ws/here/new/lock", HOUR / 2);
    cr_expect_eq(bound(0).kept, 1);
    cr_expect(is_there("ws/elsewhere/old") && !is_there("ws/here/new"));
}

Test(sync_cache, what_a_killed_one_left_goes)
{
    fill();
    put("gone/abcdef/0/tree/file", 10, NULL, 0);
    cr_expect_eq(bound(2000).removed, 0);
    put("gone/abcdef/0/tree/file", 10, NULL, 0);
    int lock = open(in_cache("gone/abcdef"), O_RDONLY | O_CLOEXEC);
    cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0);
    struct pt_cache_done done;
    cr_assert_eq(pt_cache_bound(cache, "here", 0, &done, NULL), 0);
    cr_expect(is_there("gone/abcdef/0/tree/file"), "another one is at it");
    close(lock);
    cr_expect_eq(bound(0).removed, 0);
}

Test(sync_cache, while_others_begin_nothing_goes)
{
    fill();
    pt_uses_destroy(pt_uses_create(cache, "here", "run"));
    int stop = pt_uses_stop(cache);
    cr_assert_geq(stop, 0);
    struct pt_cache_done done = bound(0);
    cr_expect(done.removed == 0 && done.kept == 8);
    close(stop);
    cr_expect_eq(bound(0).removed, 8);
}

/* --- what is not ours --- */

Test(sync_cache, no_link_is_followed_and_nothing_else_is_touched)
{
    static const char *const stay[] = {"mine.txt",           "bin/mine/file",    "ws/mine/folder/file",
                                       "store/mine/file",    "python/mine/file", "pycache/mine",
                                       "../outside/ws/file", "../outside/file"};
    fill();
    for (size_t i = 0; i < PT_COUNT(stay); i++)
        put(stay[i], 10, NULL, 0);
    cr_assert_eq(symlink("../../outside", in_cache("ws/linked")), 0);
    cr_assert_eq(symlink("../../../outside", in_cache("ws/here/linked")), 0);
    cr_assert_eq(symlink("../../../../../outside", in_cache("ws/here/old/tree/linked")), 0);
    cr_assert_eq(symlink("../../outside", in_cache(NEW)), 0);
    struct pt_cache_done done = clean();
    cr_expect_eq(done.removed, 8, "%u went", done.removed);
    for (size_t i = 0; i < PT_COUNT(stay); i++)
        cr_expect(is_there(stay[i]), "%s is gone", stay[i]);
    cr_expect(is_there("ws/linked") && is_there("ws/here/linked") && is_there(NEW));
}

Test(sync_cache, folders_that_are_links_are_left_alone)
{
    fill();
    cr_assert_eq(rename(in_cache("ws"), in_cache("../moved")), 0);
    cr_assert_eq(symlink("../moved", in_cache("ws")), 0);
    cr_expect_eq(clean().removed, 5);
    cr_expect(is_there("../moved/here/old/tree/deep/file"));
}

/* --- clean --- */

Test(sync_cache, all_goes_and_its_own_folder)
{
    fill();
    put_workspace("ws/here/hard", 1, 0);
    cr_assert_eq(chmod(in_cache("ws/here/hard/tree/deep"), 0), 0);
    cr_expect_eq(clean().kept, 0);
    cr_expect(is_there("") && rmdir(cache) == 0, "it is not empty");
    fill();
    cr_assert_eq(rename(cache, "ptremote"), 0);
    snprintf(cache, sizeof(cache), "%s/ptremote", lab_dir);
    cr_expect_eq(clean().removed, 8);
    cr_expect_not(is_there(""));
}

Test(sync_cache, what_a_live_run_uses_is_kept_and_named)
{
    fill();
    struct pt_uses *uses = pt_uses_create(cache, "here", "run-1");
    pt_uses_add(uses, "ws/here/old");
    pt_uses_add(uses, OLD);
    struct pt_cache_done done = clean();
    cr_expect_str_eq(done.names, "bin/01234567, store/blake2b, ws/here/old");
    cr_expect_str_eq(done.runs, "run-1");
    cr_expect(done.kept == 3 && done.removed == 5, "%u, %u", done.kept, done.removed);
    pt_uses_destroy(uses);
    cr_expect_eq(clean().removed, 3);
    cr_expect(is_there("") && rmdir(cache) == 0, "it is not empty");
}

Test(sync_cache, a_program_that_is_being_brought_stays)
{
    fill();
    put(OLD "/new.abcdefgh", 1, NULL, 0);
    put(PYTHON "/new.file", 1, PYTHON "/new.file", 2 * HOUR);
    age(PYTHON, 9 * DAY);
    put("python/new.abcdef/file", 1, NULL, 0);
    struct pt_cache_done done = clean();
    cr_expect_str_eq(done.names, "bin/01234567, python/new.abcd", "%s", done.names);
    cr_expect(is_there(OLD) && !is_there(PYTHON) && is_there("python/new.abcdef"));
}

/* A run that cannot take its word back. */
static void leave_word(const char *machine, const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        pt_uses_add(pt_uses_create(cache, machine, "killed"), path);
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static void age_words(void)
{
    char path[400];
    DIR *d = opendir(in_cache("use"));
    for (const struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof(path), "use/%.255s", e->d_name);
        if (e->d_name[0] != '.')
            age(path, 2 * HOUR);
    }
    closedir(d);
}

Test(sync_cache, a_dead_run_uses_nothing)
{
    fill();
    leave_word("here", "ws/here/old");
    leave_word("elsewhere", "ws/elsewhere/old");
    struct pt_cache_done done = clean();
    cr_expect_str_eq(done.names, "store/blake2b, ws/elsewhere/old", "%s", done.names);
    cr_expect_not(is_there("ws/here/old"));
    age_words();
    cr_expect_eq(clean().kept, 0, "that of another machine said nothing for two hours");
    cr_expect_not(is_there("use"));
}

Test(sync_cache, what_lies_in_use_may_be_anything)
{
    struct pt_cache_done done;
    struct pt_err err = PT_ERR_INIT;
    fill();
    put("use/folder/file", 1, NULL, 0);
    cr_assert_eq(symlink("../../here", in_cache("use/here.link")), 0);
    cr_assert_eq(mkfifo(in_cache("use/here.fifo"), 0600), 0);
    cr_expect_eq(pt_cache_clean(cache, "here", &done, &err), 0);
    cr_expect_eq(done.removed, 0, "who uses what is not known");
    cr_assert_eq(unlink(in_cache("use/here.link")), 0);
    cr_assert_eq(rename(in_cache("use/folder"), in_cache("folder")), 0);
    put("use/here.text", 60, NULL, 0);
    cr_expect_eq(clean().kept, 0);
}

Test(sync_cache, a_cache_that_is_not_there)
{
    struct pt_cache_done done;
    struct pt_err err = PT_ERR_INIT;
    cr_expect_eq(pt_cache_bound("/nonexistent/cache", "here", 0, &done, &err), -1);
    cr_expect_eq(err.kind, PT_ERR_INFRA);
    cr_expect_null(pt_uses_create("/nonexistent/cache", "here", "run"));
    pt_uses_add(NULL, "x");
    pt_uses_beat(NULL);
    pt_uses_destroy(NULL);
}

/* --- workspaces that are taken while others make room --- */

Test(sync_cache, a_workspace_is_taken_or_gone_but_never_both)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_receive_options o = {.cache = cache, .machine_id = "here", .project = "p"};
    fill();
    pid_t pid = fork();
    if (pid == 0) {
        struct pt_cache_done done;
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failure below leaves nobody behind */
        for (;;)
            pt_cache_bound(cache, "here", 0, &done, NULL);
    }
    for (int i = 0; i < 3000; i++) {
        int lock = -1;
        pt_auto_free char *tree = pt_workspace_take(&o, &lock, &err);
        cr_assert_not_null(tree, "%d: %s", i, err.msg);
        cr_assert_eq(access(tree, W_OK), 0, "%d: %s went", i, tree);
        close(lock);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
