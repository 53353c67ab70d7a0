/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/outbox.c"
#include "remote/worker/spool.c"
#include "remote/worker/tell.c"

#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

static void add_done(struct pt_outbox *box)
{
    struct pt_buf msg = {0};
    pt_tell_done(&msg, 3, 7, 1);
    cr_assert_eq(pt_outbox_add(box, msg.data, msg.len), 0);
    pt_buf_fini(&msg);
}

/* A frame of n bytes whose content depends on which it is. */
static void add_sized(struct pt_outbox *box, uint64_t which, size_t n)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_L_NOTE);
    pt_put_u64(&msg, 0);
    while (msg.len < n)
        pt_put_u64(&msg, which * 1000003 + msg.len);
    pt_frame_end(&msg, mark);
    cr_assert_eq(pt_outbox_add(box, msg.data, msg.len), 0);
    pt_buf_fini(&msg);
}

/* The number of the next to say, 0: none; its content must be right when it was added by add_sized. */
static uint64_t say(struct pt_outbox *box, bool sized)
{
    struct pt_err err = PT_ERR_INIT;
    const unsigned char *frame;
    size_t n;
    int rc = pt_outbox_next(box, &frame, &n, &err);
    cr_assert_geq(rc, 0, "%s", err.msg);
    if (rc == 0)
        return 0;
    struct pt_reader r = {.p = frame, .left = n};
    cr_assert_eq(pt_get_u32(&r), n - 4);
    pt_get_u8(&r);
    uint64_t seq = pt_get_u64(&r);
    for (size_t at = PT_FRAME_HEAD + 8; sized && at < n; at += 8)
        cr_assert_eq(pt_get_u64(&r), seq * 1000003 + at);
    return seq;
}

Test(outbox, numbers_are_put_in_and_kept_until_acknowledged)
{
    struct pt_outbox box;
    pt_outbox_init(&box);
    for (uint64_t seq = 1; seq <= 300; seq++) {
        add_done(&box);
        cr_assert_eq(say(&box, false), seq);
    }
    size_t one = pt_outbox_bytes(&box) / 300;
    cr_assert_eq(pt_outbox_ack(&box, 100), 0);
    cr_assert_eq(pt_outbox_bytes(&box), 200 * one);
    cr_assert_eq(pt_outbox_ack(&box, 100), 0, "twice is once");
    cr_assert_eq(pt_outbox_ack(&box, 99), -1, "not backwards");
    cr_assert_eq(pt_outbox_ack(&box, 301), -1, "not what was never sent");
    cr_assert_eq(pt_outbox_ack(&box, UINT64_MAX), -1);
    cr_assert_not(pt_outbox_empty(&box));
    cr_assert_eq(pt_outbox_ack(&box, 300), 0);
    cr_assert(pt_outbox_empty(&box));
    cr_assert_eq(pt_outbox_bytes(&box), 0);
    add_done(&box);
    cr_assert_eq(pt_outbox_ack(&box, 301), -1, "not what was not said yet");
    pt_outbox_fini(&box);
}

Test(outbox, a_frame_without_room_for_a_number_is_refused)
{
    struct pt_outbox box;
    pt_outbox_init(&box);
    cr_assert_eq(pt_outbox_add(&box, "123456789012", 12), -1);
    cr_assert_eq(box.last, 0);
    pt_outbox_fini(&box);
}

Test(outbox, a_new_link_begins_with_what_is_not_acknowledged)
{
    struct pt_outbox box;
    pt_outbox_init(&box);
    for (int i = 0; i < 10; i++)
        add_done(&box);
    for (uint64_t seq = 1; seq <= 6; seq++)
        cr_assert_eq(say(&box, false), seq);
    cr_assert_eq(pt_outbox_ack(&box, 2), 0);
    for (int links = 0; links < 3; links++) {
        cr_assert_eq(pt_outbox_ack(&box, 4), 0);
        pt_outbox_rewind(&box);
        cr_assert(pt_outbox_waits(&box));
        for (uint64_t seq = 5; seq <= 10; seq++)
            cr_assert_eq(say(&box, false), seq);
        cr_assert_eq(say(&box, false), 0);
        cr_assert_not(pt_outbox_waits(&box));
    }
    cr_assert_eq(pt_outbox_ack(&box, 10), 0);
    pt_outbox_rewind(&box);
    cr_assert_eq(say(&box, false), 0);
    add_done(&box);
    cr_assert_eq(say(&box, false), 11);
    pt_outbox_fini(&box);
}

/* --- the disk --- */

static char dir[64];

static void make_dir(void)
{
    strcpy(dir, "/tmp/ptoutbox.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
    cr_expect_eq(rmdir(dir), 0, "the spool has a name");
}

TestSuite(spool, .init = make_dir, .fini = remove_dir);

/* Says and acknowledges in steps until nothing is left. */
static void drain(struct pt_outbox *box, uint64_t from, uint64_t to)
{
    uint64_t want = from, acked = from - 1;
    while (acked < to) {
        uint64_t seq = say(box, true);
        if (seq)
            cr_assert_eq(seq, want++);
        if (!seq || want % 7 == 0) {
            cr_assert(seq || acked < want - 1, "nothing to say and nothing to wait for at %llu",
                      (unsigned long long)want);
            acked = want - 1;
            cr_assert_eq(pt_outbox_ack(box, acked), 0);
        }
    }
    cr_assert(pt_outbox_empty(box));
}

Test(spool, holds_what_is_too_much_for_the_memory)
{
    struct pt_outbox box;
    pt_outbox_init(&box);
    pt_outbox_spool(&box, dir);
    for (uint64_t seq = 1; seq <= 2000; seq++)
        add_sized(&box, seq, seq % 500 == 0 ? 3u << 20 : 20000);
    cr_assert_lt(pt_outbox_bytes(&box), 8u << 20);
    cr_assert_not(pt_spool_empty(box.spool));
    size_t said = 0; /* bytes, with nothing acknowledged: as many as without a disk, or nearly */
    while (say(&box, true))
        said = pt_outbox_bytes(&box);
    cr_assert(said >= 12u << 20 && said < 17u << 20, "%zu", said);
    pt_outbox_rewind(&box);
    drain(&box, 1, 2000);
    cr_assert_eq(pt_outbox_bytes(&box), 0);
    struct stat st;
    cr_assert(fstat(box.spool->fd, &st) == 0 && st.st_size == 0, "the disk has its room back");
    for (uint64_t seq = 2001; seq <= 2100; seq++)
        add_sized(&box, seq, 100000);
    drain(&box, 2001, 2100);
    pt_outbox_fini(&box);
}

/* Added, said and acknowledged by turns, and links that break between. */
Test(spool, order_holds_whatever_happens_when)
{
    struct pt_outbox box;
    uint32_t seed = 7;
    uint64_t added = 0, said = 0, acked = 0;
    pt_outbox_init(&box);
    pt_outbox_spool(&box, dir);
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t what = (seed >> 24) % 16;
        if (what < 8) {
            add_sized(&box, ++added, 16 + (seed >> 8) % 60000);
        } else if (what < 13) {
            uint64_t seq = say(&box, true);
            cr_assert(seq == 0 || seq == said + 1, "%llu after %llu", (unsigned long long)seq,
                      (unsigned long long)said);
            said = seq ? seq : said;
        } else if (what < 15) {
            acked += said > acked ? (seed >> 8) % (said - acked + 1) : 0;
            cr_assert_eq(pt_outbox_ack(&box, acked), 0);
        } else {
            pt_outbox_rewind(&box);
            said = acked;
        }
    }
    pt_outbox_rewind(&box);
    drain(&box, acked + 1, added);
    pt_outbox_fini(&box);
}

/* Nothing is lost when the disk takes no more; it is only told by the bytes in memory. */
Test(spool, the_disk_is_full)
{
    struct pt_outbox box;
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_IGN);
    pt_outbox_init(&box);
    pt_outbox_spool(&box, dir);
    for (uint64_t seq = 1; seq <= 100; seq++)
        add_sized(&box, seq, 100000);
    cr_assert_not_null(box.spool);
    struct rlimit full = {.rlim_cur = box.spool->end + 50000, .rlim_max = limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &full), 0);
    for (uint64_t seq = 101; seq <= 300; seq++)
        add_sized(&box, seq, 100000);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_gt(pt_outbox_bytes(&box), 16u << 20);
    drain(&box, 1, 300);
    pt_outbox_fini(&box);
}

Test(spool, no_folder_is_no_loss)
{
    struct pt_outbox box;
    pt_outbox_init(&box);
    pt_outbox_spool(&box, "/no/such/folder");
    for (uint64_t seq = 1; seq <= 100; seq++)
        add_sized(&box, seq, 100000);
    cr_assert_null(box.spool);
    drain(&box, 1, 100);
    pt_outbox_fini(&box);
}

Test(spool, damage_is_told)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_outbox box;
    const unsigned char *frame;
    size_t n;
    int rc = 1;
    pt_outbox_init(&box);
    pt_outbox_spool(&box, dir);
    for (uint64_t seq = 1; seq <= 100; seq++)
        add_sized(&box, seq, 100000);
    cr_assert_eq(ftruncate(box.spool->fd, 5000), 0);
    while (rc > 0)
        if ((rc = pt_outbox_next(&box, &frame, &n, &err)) > 0)
            pt_outbox_ack(&box, box.said);
    cr_assert_eq(rc, -1);
    cr_assert_str_eq(err.msg, "what waited on the disk cannot be read: it is gone");
    pt_outbox_fini(&box);
}
