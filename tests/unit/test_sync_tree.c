/* SPDX-License-Identifier: Apache-2.0 */
/* Trees that go from a push to a receiver, and what is found when they go again. */
#include "sync_lab.h"

#include <locale.h>
#include <sched.h>
#include <sys/mount.h>

TestSuite(sync_tree, .init = lab_open, .fini = lab_close);

static void everything_survives(const char *locale)
{
    cr_assert_not_null(setlocale(LC_ALL, locale));
    lab_text("here/plain.py", "x = 1\n");
    lab_text("here/empty", "");
    lab_text("here/run.sh", "#!/bin/sh\n");
    chmod("here/run.sh", 0755);
    lab_text("here/secret", "s");
    chmod("here/secret", 0600);
    lab_text("here/readonly/inside", "r");
    chmod("here/readonly/inside", 0444);
    lab_text("here/with\nnewline/and\ttab", "n");
    lab_text("here/not\xff\xfeutf8", "b");
    lab_text("here/caf\xc3\xa9", "nfc");
    lab_text("here/cafe\xcc\x81", "nfd");
    lab_text("here/ leading and trailing ", "s");
    lab_text("here/-rf", "dash");
    lab_text("here/\xe6\x97\xa5\xe6\x9c\xac/"
             "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
             "56789/"
             "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
             "56789",
             "long");
    mkdir("here/void", 0755);
    mkdir("here/void/deeper", 0711);
    symlink("plain.py", "here/link");
    symlink("../plain.py", "here/readonly/up");
    symlink("nowhere", "here/dangling");
    symlink("void", "here/folder\xff");
    chmod("here/readonly", 0555);
    struct lab_result r = lab_sync();
    cr_assert_eq(r.files, r.need);
    cr_assert_eq(lab_sync().sent, 0);
    chmod("here/readonly", 0755);
}

Test(sync_tree, everything_survives_in_c)
{
    everything_survives("C");
}

Test(sync_tree, everything_survives_in_utf8)
{
    everything_survives("C.UTF-8");
}

Test(sync_tree, unchanged_sends_nothing)
{
    lab_text("here/a/b/c.py", "x = 1\n");
    symlink("a", "here/l");
    mkdir("here/e", 0755);
    lab_sync();
    struct lab_result r = lab_sync();
    cr_assert_eq(r.tree, 0);
    cr_assert_eq(r.sent, 0);
    cr_assert_eq(r.files + r.bytes + r.removed + r.synced.files_reused, 0);
    cr_assert_eq(r.synced.files_right, 1);
    cr_assert_eq(r.synced.bytes_right, 6);
}

Test(sync_tree, empty_tree)
{
    cr_assert_eq(lab_sync().need, 0);
    lab_text("here/a", "1");
    cr_assert_eq(lab_sync().files, 1);
    unlink("here/a");
    struct lab_result r = lab_sync();
    cr_assert_eq(r.files, 0);
    cr_assert_eq(r.removed, 1);
}

Test(sync_tree, only_what_changed)
{
    for (int i = 0; i < 50; i++) {
        char path[64], text[64];
        snprintf(path, sizeof(path), "here/d%d/f%d.py", i % 5, i);
        snprintf(text, sizeof(text), "x = %d\n", i);
        lab_text(path, text);
    }
    cr_assert_eq(lab_sync().files, 50);
    lab_text("here/d1/f1.py", "y = 1\n");
    lab_text("here/d1/new.py", "n\n");
    unlink("here/d2/f2.py");
    lab_run("rm -r here/d3");
    chmod("here/d4/f4.py", 0755);
    struct lab_result r = lab_sync();
    cr_assert_eq(r.need, 0, "what is likely missing came along");
    cr_assert_eq(r.files, 2);
    cr_assert_eq(r.removed, 12);
    cr_assert_eq(r.synced.files_right, 38);
}

Test(sync_tree, kinds_change)
{
    lab_text("here/a", "file");
    lab_text("here/b/inside", "folder");
    symlink("a", "here/c");
    lab_text("here/d/e/f", "deep");
    lab_sync();
    lab_run("cd here && rm a && mkdir a && echo x > a/x && rm -r b && ln -s c b && rm c && echo file > c && "
            "rm -r d/e && echo now-a-file > d/e");
    lab_sync();
    lab_run("cd here && rm -r a b c d && ln -s x c && mkdir b && echo q > a && ln -s a d");
    lab_sync();
}

Test(sync_tree, what_tests_did_is_put_right)
{
    lab_text("here/kept.py", "k = 1\n");
    lab_text("here/edited.py", "e = 1\n");
    lab_text("here/removed.py", "r = 1\n");
    lab_text("here/touched.py", "t = 1\n");
    lab_text("here/d/replaced", "was a file");
    symlink("kept.py", "here/link");
    mkdir("here/empty", 0755);
    lab_sync();
    lab_run("cd " LAB_TREE
            " && echo 'e = 2' > edited.py && rm removed.py && touch touched.py && chmod 0700 kept.py && "
            "rm d/replaced && mkdir d/replaced && echo x > d/replaced/x && ln -sf /etc/passwd link && rmdir "
            "empty && "
            "mkdir -p out/a/b/c && echo log > out/a/b/c/log && mkfifo pipe && chmod 0 out/a && chmod 0500 .");
    struct lab_result r = lab_sync();
    cr_assert_eq(r.tree, 0);
    cr_assert_eq(r.need + r.sent, 0, "the store has it");
    cr_assert_eq(r.synced.files_reused, 3);
    cr_assert_geq(r.removed, 6);
}

Test(sync_tree, leftovers_go_without_a_byte)
{
    lab_text("here/kept.py", "k = 1\n");
    mkdir("here/empty", 0755);
    symlink("kept.py", "here/link");
    lab_sync();
    lab_run("cd " LAB_TREE
            " && mkdir -p .pytest_cache/v && echo x > .pytest_cache/v/x && rmdir empty && rm link");
    struct lab_result r = lab_sync();
    cr_assert_eq(r.tree, 0);
    cr_assert_eq(r.sent, 0);
    cr_assert_eq(r.removed, 3);
}

Test(sync_tree, an_edit_that_hides)
{
    /* Same size, mtime set back, before and after the caches could know the file. */
    lab_text("here/t.py", "assert 1\n");
    lab_mtime("here/t.py", 1000000000, 5);
    lab_sync();
    lab_text("here/t.py", "assert 0\n");
    lab_mtime("here/t.py", 1000000000, 5);
    cr_assert_eq(lab_sync().files, 1);
    pt_auto_free char *text = lab_read(LAB_TREE "/t.py");
    cr_assert_str_eq(text, "assert 0\n");
    lab_run("cd " LAB_TREE " && echo 'assert 2' > t.py && touch -d @1000000000 t.py");
    cr_assert_eq(lab_sync().synced.files_reused, 1);
}

static time_t second_of(const char *path)
{
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    return st.st_mtim.tv_sec;
}

Test(sync_tree, other_content_has_another_second)
{
    lab_text("here/m.py", "x = 1\n");
    lab_mtime("here/m.py", 1500000000, 123456789);
    lab_sync();
    cr_assert_eq(second_of(LAB_TREE "/m.py"), 1500000000);
    lab_text("here/m.py", "x = 2\n");
    lab_mtime("here/m.py", 1500000000, 987654321);
    lab_sync();
    time_t second = second_of(LAB_TREE "/m.py");
    cr_assert_gt(second, 1500000000);
    lab_text("here/m.py", "x = 3\n");
    lab_mtime("here/m.py", 1500000000, 0);
    lab_sync();
    cr_assert_gt(second_of(LAB_TREE "/m.py"), second);
}

Test(sync_tree, restored_content_differs_in_second_from_the_dirt)
{
    lab_text("here/m.py", "x = 1\n");
    lab_mtime("here/m.py", 1500000000, 0);
    lab_sync();
    lab_run("echo 'x = 9' > " LAB_TREE "/m.py && touch -d @1500000000 " LAB_TREE "/m.py");
    lab_sync();
    cr_assert_neq(second_of(LAB_TREE "/m.py"), 1500000000);
}

Test(sync_tree, mtimes_travel_beside)
{
    lab_text("here/m.py", "x = 1\n");
    lab_mtime("here/m.py", 1234567890, 987654321);
    lab_sync();
    struct stat st;
    cr_assert_eq(stat(LAB_TREE "/m.py", &st), 0);
    cr_assert_eq(st.st_mtim.tv_sec, 1234567890);
    cr_assert_eq(st.st_mtim.tv_nsec, 987654321);
    lab_mtime("here/m.py", 1234567899, 0);
    cr_assert_eq(lab_sync().tree, 0);
}

Test(sync_tree, five_thousand_files)
{
    for (int i = 0; i < 5000; i++) {
        char path[64], text[64];
        snprintf(path, sizeof(path), "here/d%d/e%d/f%d.py", i % 10, i % 100, i);
        snprintf(text, sizeof(text), "x = %d\n", i);
        lab_text(path, text);
    }
    cr_assert_eq(lab_sync().files, 5000);
    cr_assert_eq(lab_sync().sent, 0);
}

Test(sync_tree, big_file_is_streamed)
{
    size_t n = 24u << 20;
    unsigned char *data = malloc(n);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        data[i] = (unsigned char)x;
    }
    lab_write("here/big.bin", data, n);
    free(data);
    struct lab_result r = lab_sync();
    cr_assert_eq(r.bytes, n);
    cr_assert_geq(r.sent, n);
    cr_assert_eq(r.files, 1);
}

Test(sync_tree, two_runs_have_two_workspaces)
{
    lab_text("here/a", "1");
    struct pt_manifest *m = lab_scan();
    struct lab_host one, two;
    lab_start(&one);
    lab_start(&two);
    cr_assert_str_neq(one.tree, two.tree);
    cr_assert_eq(lab_push(&one, m).state, PT_PUSH_DONE);
    cr_assert_eq(lab_push(&two, m).state, PT_PUSH_DONE);
    lab_same("here", one.tree);
    lab_same("here", two.tree);
    pt_auto_free char *first = strdup(one.tree);
    cr_assert_eq(lab_stop(&one), 0);
    lab_start(&one);
    cr_assert_str_eq(one.tree, first);
    cr_assert_eq(lab_stop(&one), 0);
    cr_assert_eq(lab_stop(&two), 0);
    pt_manifest_destroy(m);
    struct stat st;
    for (char *slash = first; (slash = strrchr(first, '/')) && strlen(first) > strlen(lab_dir) + 1;
         *slash = '\0')
        if (stat(first, &st) == 0)
            cr_assert_eq(st.st_mode & 0777, 0700, "%s", first);
}

struct change {
    const char *command;
    bool done;
};

static void change_once(void *arg, const struct pt_push *push)
{
    struct change *c = arg;
    if (pt_push_state(push) == PT_PUSH_SENDING && !c->done)
        lab_run(c->command);
    c->done |= pt_push_state(push) == PT_PUSH_SENDING;
}

static void changed_while_sent(const char *command, const char *name)
{
    unsigned char *data = calloc(1, 8u << 20);
    for (size_t k = 0; k < 8u << 20; k++)
        data[k] = (unsigned char)(random() >> 7);
    lab_write("here/a.bin", data, 8u << 20);
    lab_write("here/y.bin", data, 1u << 20);
    free(data);
    lab_text("here/z.py", "last\n");
    struct pt_manifest *m = lab_scan();
    struct lab_host h;
    lab_start(&h);
    struct change c = {.command = command};
    struct lab_result r = lab_push_hooked(&h, m, change_once, &c);
    cr_assert_eq(r.state, PT_PUSH_STALE, "%s: %d %s", command, (int)r.state, r.err.msg);
    cr_assert_not_null(strstr(r.why, name), "%s", r.why);
    pt_manifest_destroy(m);
    m = lab_scan();
    r = lab_push(&h, m);
    cr_assert_eq(r.state, PT_PUSH_DONE, "%s", r.err.msg);
    lab_same("here", h.tree);
    cr_assert_eq(lab_stop(&h), 0);
    pt_manifest_destroy(m);
}

Test(sync_tree, changed_while_sent_longer)
{
    changed_while_sent("echo more >> here/z.py", "z.py");
}

Test(sync_tree, changed_while_sent_same_size)
{
    changed_while_sent("echo LAST > here/z.py", "z.py");
}

Test(sync_tree, changed_while_sent_gone)
{
    changed_while_sent("rm here/z.py", "z.py");
}

Test(sync_tree, changed_while_sent_shorter)
{
    changed_while_sent("truncate -s 5000000 here/a.bin", "a.bin");
}

Test(sync_tree, several_trees_one_receiver)
{
    struct lab_host h;
    lab_start(&h);
    for (int i = 0; i < 4; i++) {
        char text[32];
        snprintf(text, sizeof(text), "x = %d\n", i);
        lab_text("here/a/m.py", text);
        struct pt_manifest *m = lab_scan();
        cr_assert_eq(lab_push(&h, m).state, PT_PUSH_DONE);
        lab_same("here", h.tree);
        cr_assert_eq(lab_push(&h, m).tree, 0);
        pt_manifest_destroy(m);
    }
    cr_assert_eq(lab_stop(&h), 0);
}

Test(sync_tree, a_damaged_record_costs_reading_only)
{
    lab_text("here/a", "1");
    lab_text("here/b", "2");
    lab_sync();
    lab_run("printf x | dd of=cache/ws/machine/project/record bs=1 seek=40 conv=notrunc status=none");
    struct lab_result r = lab_sync();
    cr_assert_eq(r.tree, 1);
    cr_assert_eq(r.need, 0);
    cr_assert_eq(r.synced.files_right, 2);
    cr_assert_eq(lab_sync().sent, 0);
}

Test(sync_tree, no_space_left)
{
    struct lab_host h;
    mkdir("cache", 0700);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "cache", "tmpfs", 0, "size=1m") < 0)
        cr_skip_test("needs root for a small file system");
    char *data = malloc(3u << 20);
    for (size_t i = 0; i < 3u << 20; i++)
        data[i] = (char)(random() >> 7);
    lab_text("here/a", "small");
    lab_write("here/big", data, 3u << 20);
    free(data);
    struct pt_manifest *m = lab_scan();
    lab_start(&h);
    struct lab_result r = lab_push(&h, m);
    cr_assert_not_null(strstr(r.err.msg, "'big' on the host: No space left"), "%s", r.err.msg);
    cr_assert_not_null(strstr(r.err.hint, "--remote-dir"), "%s", r.err.hint);
    cr_assert_eq(lab_stop(&h), 1);
    cr_assert_eq(access(LAB_TREE "/a", F_OK), 0);
    cr_assert_neq(access(LAB_TREE "/big", F_OK), 0);
    pt_auto_free char *left = lab_dump("cache/ws/machine/project/tmp");
    cr_assert_str_eq(left, "");
    cr_assert_eq(umount("cache"), 0);
    pt_manifest_destroy(m);
}
