/* SPDX-License-Identifier: Apache-2.0 */
/* A master that lies: archives that a receiver must refuse, with one clear line and nothing written outside
 * the tree. */
#include "hostile_lab.h"

/* The members are sent for the three files; the receiver must fail and its message hold `words`. */
static void refused(const struct member *members, size_t n, const char *words)
{
    static unsigned char archive[1 << 20];
    struct talk t;
    open_talk(&t);
    put_archive(&t.out, archive, build(members, n, true, archive, sizeof(archive)));
    say(&t);
    listen_to_words(&t, PT_C_FAIL, words);
    close_talk(&t, 1);
    cr_assert_neq(access(LAB_TREE "/b/c.txt", F_OK), 0);
}

#define REFUSED(words, ...)                                                                                  \
    do {                                                                                                     \
        const struct member list[] = {__VA_ARGS__};                                                          \
        refused(list, PT_COUNT(list), words);                                                                \
    } while (0)

TestSuite(sync_hostile, .init = lab_open, .fini = lab_close);

/* --- names and kinds --- */

Test(sync_hostile, names)
{
    static const char *const names[] = {"../escaped",
                                        "b/../../escaped",
                                        "/tmp/ptremote-escaped",
                                        "a.txt",
                                        "l/c.txt",
                                        "3",
                                        "00",
                                        "0 ",
                                        "+0",
                                        "-1",
                                        "0/0",
                                        "4294967295",
                                        "4294967296"};
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        char words[64];
        snprintf(words, sizeof(words), "'%s' was not asked for", names[i]);
        REFUSED(words, {.name = names[i], .text = "alpha"});
    }
}

Test(sync_hostile, name_twice)
{
    REFUSED("'0' was not asked for", GOOD_A, GOOD_A);
}

Test(sync_hostile, out_of_order)
{
    REFUSED("'2' was not asked for", GOOD_D, GOOD_A);
}

Test(sync_hostile, one_missing)
{
    REFUSED("'b/c.txt' is missing", GOOD_A);
}

Test(sync_hostile, one_too_many)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D, {.name = "3", .text = "x"}};
    struct talk t;
    open_talk(&t);
    put_archive(&t.out, archive, build(list, 4, true, archive, sizeof(archive)));
    say(&t);
    listen_to_words(&t, PT_C_FAIL, "'3' was not asked for");
    close_talk(&t, 1);
}

Test(sync_hostile, kinds)
{
    REFUSED("is not a plain file", {.name = "0", .link = "/etc/passwd", .hard = true});
    REFUSED("is not a plain file", {.name = "0", .type = AE_IFLNK, .link = "/etc/passwd"});
    REFUSED("is not a plain file", {.name = "0", .type = AE_IFCHR});
    REFUSED("is not a plain file", {.name = "0", .type = AE_IFBLK});
    REFUSED("is not a plain file", {.name = "0", .type = AE_IFIFO});
    REFUSED("is not a plain file", {.name = "0", .type = AE_IFDIR});
}

/* --- content --- */

Test(sync_hostile, wrong_size)
{
    REFUSED("'a.txt' has not the size", {.name = "0", .text = "alphabet"});
    REFUSED("'a.txt' has not the size", {.name = "0", .text = "alph"});
    REFUSED("'a.txt' has not the size", {.name = "0"});
}

Test(sync_hostile, wrong_content_is_asked_for_again)
{
    static unsigned char archive[1 << 16];
    const struct member bad[] = {GOOD_A, {.name = "1", .text = "GAMMA"}, GOOD_D};
    const struct member good[] = {GOOD_C};
    struct talk t;
    open_talk(&t);
    put_archive(&t.out, archive, build(bad, 3, true, archive, sizeof(archive)));
    say(&t);
    listen_to_words(&t, PT_C_RESEND, "'b/c.txt' has not the content");
    cr_assert_neq(access(LAB_TREE "/b/c.txt", F_OK), 0);
    struct pt_manifest *m = lab_scan();
    put_offer(&t, pt_manifest_root(m), PT_OFFER_WHOLE, 0, NULL);
    put_manifest(&t, m);
    say(&t);
    listen_to(&t, PT_C_NEED);
    cr_assert_eq(pt_get_u32(&t.body), 3);
    cr_assert_eq(pt_get_u32(&t.body), 1);
    cr_assert_eq(pt_get_u8(&t.body), 2, "only what was wrong");
    put_archive(&t.out, archive, build(good, 1, true, archive, sizeof(archive)));
    say(&t);
    listen_to(&t, PT_C_SYNCED);
    lab_same("here", t.host.tree);
    close_talk(&t, 0);
    pt_manifest_destroy(m);
}

static void not_an_archive(const void *data, size_t n)
{
    struct talk t;
    open_talk(&t);
    put_archive(&t.out, data, n);
    say(&t);
    listen_to(&t, 0);
    cr_assert(t.type == PT_C_FAIL || t.type == PT_C_RESEND);
    close_talk(&t, t.type == PT_C_FAIL);
    cr_assert_neq(access(LAB_TREE "/a.txt", F_OK), 0);
}

Test(sync_hostile, other_format)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    not_an_archive(archive, build(list, 3, false, archive, sizeof(archive)));
}

Test(sync_hostile, garbage)
{
    static unsigned char garbage[300000];
    memset(garbage, 'x', sizeof(garbage));
    not_an_archive(garbage, 5000);
    lab_run("rm -rf cache");
    not_an_archive(garbage, sizeof(garbage));
}

/* The folder b turns into a link to a place outside after the receiver has looked. */
Test(sync_hostile, folder_becomes_a_link)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    struct talk t;
    lab_text("here/b/keep", "k");
    lab_sync();
    unlink("here/b/keep");
    lab_text("here/b/keep2", "k");
    lab_run("mkdir -p " LAB_TREE "/b && cp here/b/keep2 " LAB_TREE "/b/");
    open_talk(&t);
    lab_run("mv " LAB_TREE "/b moved && ln -s ../../../../../canary " LAB_TREE "/b");
    put_archive(&t.out, archive, build(list, 3, true, archive, sizeof(archive)));
    say(&t);
    listen_to_words(&t, PT_C_FAIL, "cannot write 'b/c.txt' on the host");
    close_talk(&t, 1);
}

/* Under a name that should be free lies another of the tree's files: what a file system that does not tell
 * case apart does. */
Test(sync_hostile, two_names_are_one_file)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    struct talk t;
    open_talk(&t);
    lab_text(LAB_TREE "/b/d.txt", "x");
    cr_assert_eq(link(LAB_TREE "/b/d.txt", LAB_TREE "/b/c.txt"), 0);
    put_archive(&t.out, archive, build(list, 3, true, archive, sizeof(archive)));
    say(&t);
    listen_to_words(&t, PT_C_FAIL, "'b/d.txt' and 'b/c.txt' are one and the same");
    close_talk(&t, 1);
}

Test(sync_hostile, every_truncation_asks_again)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    size_t size = build(list, 3, true, archive, sizeof(archive));
    cr_assert_geq(size, 4096);
    for (size_t n = 0; n < 3072 + 1024; n += n < 24 ? 1 : 97) {
        struct talk t;
        open_talk(&t);
        put_archive(&t.out, archive, n);
        say(&t);
        listen_to(&t, PT_C_RESEND);
        close_talk(&t, 0);
        lab_run("rm -rf cache");
    }
}

/* --- segments --- */

static void segment_refused(uint8_t packed, uint32_t raw, const void *data, size_t n)
{
    struct talk t;
    open_talk(&t);
    put_empty(&t.out, PT_B_ARCHIVE);
    put_segment(&t.out, packed, raw, data, n);
    put_empty(&t.out, PT_B_END);
    say(&t);
    listen_to(&t, PT_C_FAIL);
    close_talk(&t, 1);
}

Test(sync_hostile, segments)
{
    static unsigned char big[PT_SEGMENT_MAX + 1];
    struct pt_buf packed = {0}, bomb = {0};
    cr_assert_eq(pt_segment_pack(big, 1000, 1, &packed, NULL), 0);
    cr_assert_eq(pt_deflate(big, sizeof(big), &bomb, NULL), 0);
    segment_refused(0, 0, "", 0);
    segment_refused(1, 0, packed.data, packed.len);
    segment_refused(0, 5, "four", 4);
    segment_refused(0, 3, "four", 4);
    segment_refused(0, sizeof(big), big, sizeof(big));
    segment_refused(1, PT_SEGMENT_MAX, "", 0);
    segment_refused(1, 999, packed.data, packed.len);
    segment_refused(1, 1001, packed.data, packed.len);
    segment_refused(1, 1000, packed.data, packed.len - 1);
    segment_refused(1, 1000, "garbage", 7);
    segment_refused(2, 1000, packed.data, packed.len);
    segment_refused(1, 1000, bomb.data, bomb.len);
    segment_refused(1, PT_SEGMENT_MAX, bomb.data, bomb.len);
    pt_buf_append(&packed, packed.data, packed.len);
    segment_refused(1, 1000, packed.data, packed.len);
    pt_buf_fini(&packed);
    pt_buf_fini(&bomb);
}

/* Bytes without end, as headers of the first entry, or after the last. */
static void endless(const unsigned char *archive, size_t n, const unsigned char *more)
{
    struct talk t;
    struct pt_buf packed = {0};
    open_talk(&t);
    put_empty(&t.out, PT_B_ARCHIVE);
    if (n)
        put_segment(&t.out, 0, (uint32_t)n, archive, n);
    cr_assert_eq(pt_segment_pack(more, PT_SEGMENT_MAX, 1, &packed, NULL), 0);
    for (int i = 0; i < 64; i++)
        put_segment(&t.out, 1, PT_SEGMENT_MAX, packed.data, packed.len);
    say(&t);
    listen_to(&t, PT_C_FAIL);
    close_talk(&t, 1);
    pt_buf_fini(&packed);
}

Test(sync_hostile, archives_without_end)
{
    static unsigned char archive[1 << 16], more[PT_SEGMENT_MAX];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    size_t size = build(list, 3, true, archive, sizeof(archive));
    endless(archive, size, more);
    lab_run("rm -rf cache");
    for (size_t at = 0; at < sizeof(more); at += 1024) {
        unsigned char *head = more + at;
        memcpy(head, archive, 512);
        head[156] = 'x'; /* a pax header of 512 bytes */
        memcpy(head + 124, "00000001000", 11);
        unsigned sum = 0;
        memset(head + 148, ' ', 8);
        for (size_t i = 0; i < 512; i++)
            sum += head[i];
        snprintf((char *)head + 148, 8, "%06o", sum);
        memset(head + 512, 'y', 512);
        memcpy(head + 512, "512 comment=", 12);
        head[1023] = '\n';
    }
    endless(archive, 0, more);
}

Test(sync_hostile, connection_ends_in_the_archive)
{
    static unsigned char archive[1 << 16];
    const struct member list[] = {GOOD_A, GOOD_C, GOOD_D};
    size_t size = build(list, 3, true, archive, sizeof(archive));
    struct talk t;
    open_talk(&t);
    put_archive(&t.out, archive, size);
    t.out.len -= PT_FRAME_HEAD + 20;
    say(&t);
    close_talk(&t, 1);
}
