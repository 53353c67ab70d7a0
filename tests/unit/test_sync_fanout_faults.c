/* SPDX-License-Identifier: Apache-2.0 */
/* A tree that is not as the scan saw it: the archive ends early, and what came before is right. */
#include "fanout_lab.h"

TestSuite(sync_fanout_faults, .init = lab_open, .fini = lab_close);

/* Files a, b and c; b is the one that changes. */
static struct pt_manifest *three_files(void)
{
    lab_file("a", 1000, false);
    lab_file("b", 2000, false);
    lab_file("c", 3000, false);
    return lab_scan();
}

static void same_mtime(const char *path, const struct stat *st)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

/* Only a came, whole, and no end of the archive. */
static void ends_after_a(struct pt_manifest *m, enum pt_parcel_got want)
{
    char *data = NULL;
    size_t n = 0;
    bool whole;
    struct pt_fanout *f = lab_fanout(m, 1);
    pt_auto_free unsigned char *need = lab_need(f, 0, 1);
    struct lab_lane *lane = lab_join(f, need, 0);
    lane->keep = open_memstream(&data, &n);
    cr_assert_eq(lab_drain(lane), want);
    fclose(lane->keep);
    cr_assert_not_null(strstr(lane->err.msg, want == PT_PARCEL_CHANGED ? "b changed" : "cannot read b"), "%s",
                       lane->err.msg);
    cr_assert_eq(lab_read_back(m, need, data, n, &whole), 1);
    cr_assert_eq(n, 512 + 1024);
    lab_leave(lane);
    free(data);
    pt_fanout_destroy(f);
}

Test(sync_fanout_faults, another_size)
{
    struct pt_manifest *m = three_files();
    struct stat st;
    cr_assert_eq(stat("b", &st), 0);
    lab_file("b", 2001, false);
    same_mtime("b", &st);
    ends_after_a(m, PT_PARCEL_CHANGED);
}

Test(sync_fanout_faults, another_time)
{
    struct pt_manifest *m = three_files();
    struct stat st;
    cr_assert_eq(stat("b", &st), 0);
    st.st_mtim.tv_nsec = (st.st_mtim.tv_nsec + 1) % 1000000000;
    same_mtime("b", &st);
    ends_after_a(m, PT_PARCEL_CHANGED);
}

Test(sync_fanout_faults, another_mode)
{
    struct pt_manifest *m = three_files();
    cr_assert_eq(chmod("b", 0755), 0);
    ends_after_a(m, PT_PARCEL_CHANGED);
}

Test(sync_fanout_faults, gone)
{
    struct pt_manifest *m = three_files();
    cr_assert_eq(unlink("b"), 0);
    ends_after_a(m, PT_PARCEL_CHANGED);
}

Test(sync_fanout_faults, a_folder_now)
{
    struct pt_manifest *m = three_files();
    cr_assert_eq(unlink("b"), 0);
    cr_assert_eq(mkdir("b", 0644), 0);
    ends_after_a(m, PT_PARCEL_CHANGED);
}

Test(sync_fanout_faults, a_fifo_now)
{
    struct pt_manifest *m = three_files();
    cr_assert_eq(unlink("b"), 0);
    cr_assert_eq(mkfifo("b", 0644), 0);
    ends_after_a(m, PT_PARCEL_CHANGED);
}

Test(sync_fanout_faults, unreadable)
{
    pt_manifest_destroy(three_files());
    cr_assert_eq(chmod("b", 0), 0);
    struct pt_manifest *m = lab_scan();
    if (geteuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    char *data = NULL;
    size_t n = 0;
    struct pt_fanout *f = lab_fanout(m, 1);
    struct lab_lane *lane = lab_join(f, NULL, 0);
    lane->keep = open_memstream(&data, &n);
    cr_assert_eq(lab_drain(lane), PT_PARCEL_FAILED);
    fclose(lane->keep);
    cr_assert_str_eq(lane->err.msg, "cannot read b: Permission denied");
    cr_assert_str_eq(lane->err.hint, "leave it out with --exclude 'b'");
    cr_assert_eq(lane->err.kind, PT_ERR_USAGE);
    cr_assert_eq(n, 512 + 1024);
    lab_leave(lane);
    free(data);
    pt_fanout_destroy(f);
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
}

/* What is done to a large file while the thread waits in the middle of it. */
static void in_the_middle(void (*change)(void))
{
    lab_file("a", 1000, false);
    lab_file("b", 60 * LAB_MIB, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *lane = lab_join(f, NULL, 0), *other = lab_join(f, NULL, 1);
    for (int i = 0; pt_fanout_kept(f) < PT_FANOUT_AHEAD - LAB_MIB; i++) {
        cr_assert_lt(i, LAB_DEADLINE);
        poll(NULL, 0, 1);
    }
    change();
    cr_assert_eq(lab_drain(lane), PT_PARCEL_CHANGED);
    cr_assert_str_eq(lane->err.msg, "b changed while it was sent");
    cr_assert_lt(lane->raw, PT_FANOUT_AHEAD + 6 * LAB_MIB);
    cr_assert_eq(lab_drain(other), PT_PARCEL_CHANGED);
    cr_assert_eq(memcmp(lane->result, other->result, PT_DIGEST), 0);
    lab_leave(lane);
    lab_leave(other);
    pt_fanout_destroy(f);
}

static void write_inside(void)
{
    pt_auto_fd int fd = open("b", O_WRONLY | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "new", 3, 30 * LAB_MIB), 3);
}

static void write_inside_and_hide_it(void)
{
    struct stat st;
    cr_assert_eq(stat("b", &st), 0);
    write_inside();
    same_mtime("b", &st);
}

static void cut_off(void)
{
    cr_assert_eq(truncate("b", 8 * LAB_MIB), 0);
}

Test(sync_fanout_faults, written_while_it_is_packed)
{
    in_the_middle(write_inside);
}

Test(sync_fanout_faults, written_with_its_time_set_back)
{
    in_the_middle(write_inside_and_hide_it);
}

Test(sync_fanout_faults, cut_off_while_it_is_packed)
{
    in_the_middle(cut_off);
}

Test(sync_fanout_faults, who_joins_after_it_hears_the_same)
{
    struct pt_manifest *m = three_files();
    cr_assert_eq(unlink("b"), 0);
    struct pt_fanout *f = lab_fanout(m, 2);
    struct lab_lane *one = lab_join(f, NULL, 0);
    cr_assert_eq(lab_drain(one), PT_PARCEL_CHANGED);
    struct lab_lane *two = lab_join(f, NULL, 3);
    cr_assert_eq(lab_drain(two), PT_PARCEL_CHANGED);
    cr_assert_str_eq(two->err.msg, one->err.msg);
    cr_assert_eq(pt_fanout_packs(f), 1);
    lab_leave(one);
    lab_leave(two);
    pt_fanout_destroy(f);
}
