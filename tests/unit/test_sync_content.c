/* SPDX-License-Identifier: Apache-2.0 */
/* Where content comes from: the store, another path, chunks of a file that was; and what stays besides. */
#include "sync/there/store.h"
#include "sync_lab.h"

#include <sched.h>
#include <sys/mount.h>

TestSuite(sync_content, .init = lab_open, .fini = lab_close);

#define LARGE (12u << 20)

static unsigned char *noise(size_t n)
{
    unsigned char *data = malloc(n);
    for (size_t i = 0; i < n; i++)
        data[i] = (unsigned char)(random() >> 7);
    return data;
}

static void branch(int which)
{
    for (int i = 0; i < 200; i++) {
        char path[64], text[64];
        snprintf(path, sizeof(path), "here/d%d/f%d.py", i % 9, i);
        snprintf(text, sizeof(text), "x = %d\n", i % 3 ? i : i + 1000 * which);
        lab_text(path, text);
    }
}

Test(sync_content, branch_and_back_sends_no_blob)
{
    branch(1);
    cr_assert_eq(lab_sync().files, 200);
    branch(2);
    cr_assert_eq(lab_sync().files, 67);
    branch(1);
    struct lab_result r = lab_sync();
    cr_assert_eq(r.need, 0);
    cr_assert_eq(r.files + r.bytes, 0);
    cr_assert_eq(r.synced.files_reused, 67);
    cr_assert_eq(r.synced.files_right, 133);
    cr_assert_lt(r.sent, 10000);
}

Test(sync_content, new_workspace_from_the_store)
{
    branch(1);
    lab_sync();
    lab_run("rm -r cache/ws");
    lab_forget();
    struct lab_result r = lab_sync();
    cr_assert_eq(r.need, 0);
    cr_assert_eq(r.synced.files_reused, 200);
    cr_assert_eq(lab_sync().sent, 0);
}

Test(sync_content, lost_store_is_asked_for)
{
    branch(1);
    lab_sync();
    lab_run("rm -r cache/ws && cd cache/store/*/ && for f in *.pack; do printf x | "
            "dd of=$f bs=1 seek=200 conv=notrunc status=none; done");
    struct lab_result r = lab_sync();
    cr_assert_gt(r.need, 0);
    cr_assert_eq(r.synced.files_reused + r.files, 200);
    cr_assert_eq(lab_sync().sent, 0);
}

Test(sync_content, the_same_content_travels_once)
{
    unsigned char *data = noise(100000);
    lab_write("here/a", data, 100000);
    lab_write("here/b/c", data, 100000);
    lab_write("here/b/d", data, 100000);
    chmod("here/b/d", 0755);
    free(data);
    struct lab_result r = lab_sync();
    cr_assert_eq(r.need, 1);
    cr_assert_lt(r.sent, 110000);
    cr_assert_eq(r.files, 1);
    cr_assert_eq(r.synced.files_reused, 2);
    cr_assert_eq(r.synced.bytes_reused, 200000);
}

Test(sync_content, renamed_folder_sends_no_blob)
{
    branch(1);
    lab_sync();
    lab_run("mv here/d1 here/moved");
    struct lab_result r = lab_sync();
    cr_assert_eq(r.files, 0);
    cr_assert_eq(r.need, 0);
}

Test(sync_content, one_byte_at_the_front)
{
    unsigned char *data = noise(LARGE + 1);
    lab_write("here/big", data + 1, LARGE);
    struct lab_result r = lab_sync();
    cr_assert_geq(r.sent, LARGE);
    lab_write("here/big", data, LARGE + 1);
    r = lab_sync();
    cr_assert_eq(r.files, 1);
    cr_assert_lt(r.sent, 5u << 20, "%llu", (unsigned long long)r.sent);
    cr_assert_eq(r.bytes + r.synced.bytes_reused, LARGE + 1);
    lab_write("here/big", data + 1, LARGE);
    r = lab_sync();
    cr_assert_lt(r.sent, 10000);
    cr_assert_eq(r.synced.files_reused, 1);
    free(data);
}

Test(sync_content, a_large_file_that_a_test_wrote_over)
{
    unsigned char *data = noise(LARGE);
    lab_write("here/big", data, LARGE);
    free(data);
    chmod("here/big", 0444);
    lab_sync();
    lab_run("chmod u+w " LAB_TREE "/big && printf XXXX | dd of=" LAB_TREE
            "/big bs=1 seek=5000000 conv=notrunc status=none");
    struct lab_result r = lab_sync();
    cr_assert_eq(r.sent, 0);
    cr_assert_eq(r.synced.files_reused, 1);
    lab_run("touch " LAB_TREE "/big");
    r = lab_sync();
    cr_assert_eq(r.synced.files_right, 1);
}

Test(sync_content, zeros_are_holes)
{
    struct stat st;
    int fd = open("here/sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    cr_assert_eq(pwrite(fd, "front", 5, 0), 5);
    cr_assert_eq(pwrite(fd, "back", 4, (64 << 20) - 4), 4);
    close(fd);
    struct lab_result r = lab_sync();
    cr_assert_lt(r.sent, 1u << 20);
    cr_assert_eq(stat(LAB_TREE "/sparse", &st), 0);
    cr_assert_eq(st.st_size, 64 << 20);
    cr_assert_lt(st.st_blocks * 512, 1 << 20);
    fd = open("here/zero", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    cr_assert_eq(ftruncate(fd, 64 << 20), 0);
    close(fd);
    lab_sync();
    cr_assert_eq(stat(LAB_TREE "/zero", &st), 0);
    cr_assert_lt(st.st_blocks, 8);
}

/* --- the store and its room --- */

Test(sync_content, a_full_store_is_done_without)
{
    mkdir("cache", 0700);
    mkdir("cache/store", 0700);
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "cache/store", "tmpfs", 0, "size=200k") < 0)
        cr_skip_test("needs root for a small file system");
    unsigned char *data = noise(3u << 20);
    lab_write("here/big", data, 3u << 20);
    lab_text("here/small", "s");
    free(data);
    struct lab_result r = lab_sync();
    cr_assert_eq(r.files, 2);
    cr_assert_eq(r.logs, 1);
    cr_assert_eq(lab_sync().sent, 0);
    cr_assert_eq(umount("cache/store"), 0);
}

Test(sync_content, no_folder_for_the_store)
{
    mkdir("cache", 0700);
    lab_text("cache/store", "a file");
    lab_text("here/small", "s");
    struct lab_result r = lab_sync();
    cr_assert_eq(r.files, 1);
    cr_assert_eq(r.logs, 1);
}

static size_t packs(void)
{
    size_t n = 0;
    DIR *d = opendir("cache/store/blake2b");
    cr_assert_not_null(d);
    for (const struct dirent *e; (e = readdir(d));)
        n += strstr(e->d_name, ".pack") != NULL;
    closedir(d);
    return n;
}

/* One edit after the other gives one small pack each; they are merged as soon as there is time. */
/* The master lost its memory of the store, and sends unasked what is there. */
Test(sync_content, what_is_there_is_stored_once)
{
    branch(1);
    lab_sync();
    branch(2);
    lab_sync();
    size_t before = packs();
    pt_known_destroy(lab_known);
    lab_known = NULL;
    branch(1);
    struct lab_result r = lab_sync();
    cr_assert_gt(r.sent, 3000);
    cr_assert_eq(r.need, 0);
    cr_assert_eq(packs(), before);
}

Test(sync_content, small_packs_are_merged_when_idle)
{
    struct lab_host h;
    lab_start(&h);
    for (int i = 0; i < 30; i++) {
        char text[32];
        snprintf(text, sizeof(text), "x = %d\n", i);
        lab_text("here/m.py", text);
        struct pt_manifest *m = lab_scan();
        cr_assert_eq(lab_push(&h, m).state, PT_PUSH_DONE);
        pt_manifest_destroy(m);
    }
    for (int i = 0; i < 6000 && packs() > 16; i++)
        usleep(10000);
    cr_assert_leq(packs(), 16);
    lab_text("here/m.py", "x = 3\n");
    struct pt_manifest *m = lab_scan();
    struct lab_result r = lab_push(&h, m);
    cr_assert_eq(r.synced.files_reused + r.files, 1);
    lab_same("here", h.tree);
    cr_assert_eq(lab_stop(&h), 0);
    pt_manifest_destroy(m);
    cr_assert_eq(lab_sync().sent, 0);
}

/* --- what stays --- */

Test(sync_content, kept_files_stay)
{
    static const char *const globs[] = {"/build", "**/*.o", "deep/**/log"};
    lab_keep = globs;
    lab_nkeep = PT_COUNT(globs);
    lab_text("here/a.py", "1");
    lab_text("here/src/b.c", "2");
    lab_sync();
    lab_run("cd " LAB_TREE
            " && mkdir -p build/x src/sub deep/er/still gone/far && echo 1 > build/x/lib.so && "
            "echo 2 > src/b.o && echo 3 > src/sub/c.o && echo 4 > src/junk && echo 5 > deep/er/still/log && "
            "echo 6 > deep/er/still/other && echo 7 > gone/far/away");
    struct lab_host h;
    lab_start(&h);
    struct pt_manifest *m = lab_scan();
    struct lab_result r = lab_push(&h, m);
    cr_assert_eq(r.state, PT_PUSH_DONE);
    cr_assert_eq(r.removed, 5, "%llu", (unsigned long long)r.removed);
    cr_assert_eq(lab_stop(&h), 0);
    pt_manifest_destroy(m);
    cr_assert_eq(access(LAB_TREE "/build/x/lib.so", F_OK), 0);
    cr_assert_eq(access(LAB_TREE "/src/sub/c.o", F_OK), 0);
    cr_assert_eq(access(LAB_TREE "/deep/er/still/log", F_OK), 0);
    cr_assert_neq(access(LAB_TREE "/deep/er/still/other", F_OK), 0);
    cr_assert_neq(access(LAB_TREE "/src/junk", F_OK), 0);
    cr_assert_neq(access(LAB_TREE "/gone", F_OK), 0);
    lab_keep = NULL;
    lab_nkeep = 0;
    lab_sync();
}

Test(sync_content, the_tree_wins_over_what_is_kept)
{
    static const char *const globs[] = {"build"};
    lab_keep = globs;
    lab_nkeep = 1;
    lab_text("here/a.py", "1");
    lab_sync();
    lab_run("cd " LAB_TREE " && mkdir build && echo x > build/x");
    lab_text("here/build", "now a file");
    lab_sync();
}

Test(sync_content, two_names_of_one_file_become_two)
{
    struct stat a, b;
    lab_text("here/a", "same");
    lab_text("here/b", "same");
    lab_sync();
    lab_run("cd " LAB_TREE " && ln -f a b");
    lab_sync();
    cr_assert_eq(stat(LAB_TREE "/a", &a), 0);
    cr_assert_eq(stat(LAB_TREE "/b", &b), 0);
    cr_assert_neq(a.st_ino, b.st_ino);
}

static ino_t record_file(void)
{
    struct stat st;
    cr_assert_eq(stat("cache/ws/machine/project/record", &st), 0);
    return st.st_ino;
}

/* A folder that nobody may write in is no reason to write. */
Test(sync_content, closed_folders_stay_closed)
{
    ino_t before = 0;
    lab_text("here/d/a", "1");
    chmod("here/d", 0555);
    lab_sync();
    /* Files that were just written are read again for a moment. */
    for (int i = 0; i < 6000 && before != record_file(); i++) {
        before = record_file();
        lab_sync();
    }
    cr_assert_eq(before, record_file());
    chmod("here/d", 0755);
    lab_text("here/d/b", "2");
    chmod("here/d", 0555);
    lab_sync();
    chmod("here/d", 0755);
}

/* A connection that stays: SURVEY, trees one after the other, content that came earlier. */
Test(sync_content, one_connection_many_trees)
{
    struct lab_host h;
    struct pt_buf survey = {0};
    lab_start(&h);
    for (int i = 0; i < 6; i++) {
        branch(i % 3);
        pt_frame_end(&survey, pt_frame_begin(&survey, PT_C_SURVEY));
        cr_assert(lab_write_all(h.fd, &survey));
        struct pt_manifest *m = lab_scan();
        struct lab_result r = lab_push(&h, m);
        cr_assert_eq(r.state, PT_PUSH_DONE, "%s", r.err.msg);
        cr_assert(i < 3 || r.files == 0, "%d: %llu", i, (unsigned long long)r.files);
        lab_same("here", h.tree);
        pt_manifest_destroy(m);
    }
    cr_assert_eq(lab_stop(&h), 0);
    pt_buf_fini(&survey);
}
