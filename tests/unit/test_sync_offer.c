/* SPDX-License-Identifier: Apache-2.0 */
/* A master that lies: offers, manifests and deltas that a receiver must refuse, and those that it must take
 * although they were made for something else. */
#include "hostile_lab.h"
#include "sync/delta.h"

TestSuite(sync_offer, .init = lab_open, .fini = lab_close);

/* `data` comes as the manifest, or as the delta, of `root`; the receiver must fail. */
static void object_refused(uint8_t type, const void *data, size_t n, const unsigned char *root,
                           const char *words)
{
    struct talk t = {0};
    watch();
    lab_start(&t.host);
    put_offer(&t, root, type == PT_B_DELTA ? PT_OFFER_DELTA : PT_OFFER_WHOLE, 0, NULL);
    put_object(&t.out, type, data, n);
    say(&t);
    listen_to_words(&t, PT_C_FAIL, words);
    close_talk(&t, 1);
}

Test(sync_offer, manifest_of_another_root)
{
    struct pt_buf plain = {0};
    unsigned char root[PT_DIGEST] = {1};
    lab_text("here/a", "1");
    struct pt_manifest *m = lab_scan();
    pt_manifest_encode(m, &plain);
    object_refused(PT_B_MANIFEST, plain.data, plain.len, root, "not the one that was announced");
    object_refused(PT_B_MANIFEST, "garbage", 7, root, "malformed");
    pt_buf_fini(&plain);
    pt_manifest_destroy(m);
}

Test(sync_offer, a_manifest_of_a_billion_entries)
{
    struct pt_buf plain = {0};
    lab_text("here/a", "1");
    struct pt_manifest *m = lab_scan();
    pt_manifest_encode(m, &plain);
    pt_set_u32(&plain, 4 + 1 + PT_DIGEST, 1000000000);
    object_refused(PT_B_MANIFEST, plain.data, plain.len, pt_manifest_root(m), "malformed");
    pt_buf_fini(&plain);
    pt_manifest_destroy(m);
}

Test(sync_offer, bombs)
{
    size_t n = 260u << 20;
    void *zeros = calloc(1, n);
    unsigned char root[PT_DIGEST] = {1};
    object_refused(PT_B_MANIFEST, zeros, n, root, "more than was allowed");
    object_refused(PT_B_DELTA, zeros, n, root, "more than was allowed");
    free(zeros);
}

Test(sync_offer, deltas)
{
    struct pt_buf delta = {0}, garbled = {0};
    three_files();
    struct pt_manifest *base = lab_scan();
    lab_sync();
    lab_text("here/a.txt", "omega");
    struct pt_manifest *target = lab_scan();
    cr_assert_eq(pt_delta_encode(base, target, &delta), 0);
    const unsigned char *root = pt_manifest_root(target);
    unsigned char other[PT_DIGEST] = {1};
    object_refused(PT_B_DELTA, "garbage", 7, root, "malformed");
    object_refused(PT_B_DELTA, delta.data, delta.len, other, "not the one that was announced");
    for (size_t n = 37; n < delta.len; n += 5)
        object_refused(PT_B_DELTA, delta.data, n, root, "delta");
    pt_buf_append(&garbled, delta.data, delta.len);
    pt_set_u32(&garbled, 4 + 1 + 2 * PT_DIGEST, 1000000000);
    object_refused(PT_B_DELTA, garbled.data, garbled.len, root, "malformed");
    pt_buf_fini(&garbled);
    pt_buf_fini(&delta);
    pt_manifest_destroy(base);
    pt_manifest_destroy(target);
}

/* A delta on what is not known here, with an archive: dropped, and the whole manifest asked for. */
Test(sync_offer, a_delta_on_something_else)
{
    static unsigned char archive[1 << 16];
    const struct member all[] = {GOOD_A, GOOD_C, GOOD_D};
    struct pt_buf delta = {0};
    struct talk t = {0};
    three_files();
    struct pt_manifest *target = lab_scan();
    lab_text("here/a.txt", "omega");
    struct pt_manifest *base = lab_scan();
    cr_assert_eq(pt_delta_encode(base, target, &delta), 0);
    lab_start(&t.host);
    put_offer(&t, pt_manifest_root(target), PT_OFFER_DELTA, 3, (const unsigned char *)"\1");
    put_object(&t.out, PT_B_DELTA, delta.data, delta.len);
    put_archive(&t.out, archive, build(all, 1, true, archive, sizeof(archive)));
    say(&t);
    listen_to(&t, PT_C_TREE);
    put_manifest(&t, target);
    say(&t);
    listen_to(&t, PT_C_NEED);
    put_archive(&t.out, archive, build(all, 3, true, archive, sizeof(archive)));
    say(&t);
    listen_to(&t, PT_C_SYNCED);
    lab_text("here/a.txt", "alpha");
    lab_same("here", t.host.tree);
    close_talk(&t, 0);
    pt_manifest_destroy(base);
    pt_manifest_destroy(target);
    pt_buf_fini(&delta);
}

/* What came before it was asked for counts, needed or not; only the rest is asked for. */
Test(sync_offer, an_archive_with_the_offer)
{
    static unsigned char archive[1 << 16];
    const struct member two[] = {GOOD_A, GOOD_D}, one[] = {GOOD_C};
    struct talk t = {0};
    three_files();
    struct pt_manifest *m = lab_scan();
    lab_start(&t.host);
    put_offer(&t, pt_manifest_root(m), PT_OFFER_WHOLE, 3, (const unsigned char *)"\5");
    put_manifest(&t, m);
    put_archive(&t.out, archive, build(two, 2, true, archive, sizeof(archive)));
    say(&t);
    listen_to(&t, PT_C_NEED);
    cr_assert_eq(pt_get_u32(&t.body), 3);
    cr_assert_eq(pt_get_u32(&t.body), 1);
    cr_assert_eq(pt_get_u8(&t.body), 2);
    put_archive(&t.out, archive, build(one, 1, true, archive, sizeof(archive)));
    say(&t);
    listen_to(&t, PT_C_SYNCED);
    put_offer(&t, pt_manifest_root(m), PT_OFFER_ROOT, 3, (const unsigned char *)"\5");
    put_archive(&t.out, archive, build(two, 2, true, archive, sizeof(archive)));
    say(&t);
    listen_to(&t, PT_C_SYNCED);
    lab_same("here", t.host.tree);
    close_talk(&t, 0);
    pt_manifest_destroy(m);
}

Test(sync_offer, offers_of_other_blobs)
{
    static const struct {
        uint32_t blobs;
        const char *bits;
    } bad[] = {{2, "\3"}, {4, "\7"}, {3, "\10"}, {3, "\377"}, {0, ""}, {9, "\7\0"}};
    three_files();
    struct pt_manifest *m = lab_scan();
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        struct talk t = {0};
        lab_start(&t.host);
        put_offer(&t, pt_manifest_root(m), PT_OFFER_WHOLE, bad[i].blobs, (const unsigned char *)bad[i].bits);
        put_manifest(&t, m);
        put_empty(&t.out, PT_B_ARCHIVE);
        put_empty(&t.out, PT_B_END);
        say(&t);
        listen_to_words(&t, PT_C_FAIL, "malformed");
        close_talk(&t, 1);
    }
    pt_manifest_destroy(m);
}

Test(sync_offer, every_truncation_of_an_offer)
{
    struct talk whole = {0};
    three_files();
    struct pt_manifest *m = lab_scan();
    put_offer(&whole, pt_manifest_root(m), PT_OFFER_ROOT, 3, (const unsigned char *)"\7");
    for (size_t n = PT_FRAME_HEAD; n < whole.out.len; n++) {
        struct talk t = {0};
        lab_start(&t.host);
        pt_buf_append(&t.out, whole.out.data, n);
        pt_frame_end(&t.out, 0);
        say(&t);
        listen_to(&t, PT_C_FAIL);
        close_talk(&t, 1);
    }
    pt_buf_fini(&whole.out);
    pt_manifest_destroy(m);
}

Test(sync_offer, messages_out_of_turn)
{
    static const uint8_t types[] = {0,  PT_B_MANIFEST, PT_B_DATA, PT_B_END, PT_B_ARCHIVE, PT_B_SEGMENT, 64,
                                    255};
    watch();
    for (size_t i = 0; i < PT_COUNT(types); i++) {
        struct talk t = {0};
        lab_start(&t.host);
        put_empty(&t.out, types[i]);
        say(&t);
        listen_to(&t, PT_C_FAIL);
        close_talk(&t, 1);
    }
}

Test(sync_offer, impossible_length)
{
    struct talk t = {0};
    watch();
    lab_start(&t.host);
    pt_put_u32(&t.out, 0xfffffff0u);
    pt_put_u8(&t.out, PT_C_MANIFEST);
    say(&t);
    listen_to(&t, PT_C_FAIL);
    close_talk(&t, 1);
}
