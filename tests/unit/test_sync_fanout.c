/* SPDX-License-Identifier: Apache-2.0 */
/* One tree to several lanes: the same bytes for each, each set packed and compressed once. */
#include "fanout_lab.h"

TestSuite(sync_fanout, .init = lab_open, .fini = lab_close);

/* Files of all sorts of sizes, a large one among them: some 30 MB. */
static void many_sizes(void)
{
    static const size_t sizes[] = {0, 1, 511, 512, 513, 1023, 65536, 100000, 1048576, 3000000, 8388608};
    char name[32];
    for (size_t i = 0; i < PT_COUNT(sizes); i++) {
        snprintf(name, sizeof(name), "size.%02zu", i);
        lab_file(name, sizes[i], i % 2);
    }
    for (size_t i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "file.%03zu", i);
        lab_file(name, i * 7, false);
    }
    lab_file("large", PT_CHUNKED_FROM + 6500000, true);
}

static void reads_back(uint32_t from, uint32_t step, int level)
{
    char *data = NULL;
    size_t n = 0;
    bool whole;
    uint64_t bytes = 0;
    uint32_t blobs = 0;
    struct pt_fanout *f = lab_fanout(lab_scan(), 1);
    const struct pt_manifest *m = pt_fanout_manifest(f);
    pt_auto_free unsigned char *need = lab_need(f, from, step);
    struct lab_lane *lane = lab_join(f, need, level);
    lane->keep = open_memstream(&data, &n);
    lab_drain(lane);
    fclose(lane->keep);
    lab_whole(lane);
    for (uint32_t i = from; i < pt_manifest_blobs(m); i += step, blobs++)
        bytes += pt_manifest_blob(m, i).size;
    cr_assert_eq(lab_read_back(m, need, data, n, &whole), blobs);
    cr_assert(whole);
    cr_assert_eq(pt_parcel_total(lane->parcel), bytes);
    cr_assert(level > 0 ? lane->wire < lane->raw && lane->packed > 0 : lane->packed == 0);
    cr_assert(level == 0 || lane->packed < lane->segments, "noise was compressed");
    lab_leave(lane);
    free(data);
    pt_fanout_destroy(f);
}

Test(sync_fanout, everything_reads_back)
{
    many_sizes();
    reads_back(0, 1, 0);
    reads_back(0, 1, 3);
}

Test(sync_fanout, some_of_it_reads_back)
{
    many_sizes();
    reads_back(1, 2, 0);
    reads_back(2, 3, 1);
}

Test(sync_fanout, nothing_is_an_archive_too)
{
    lab_file("a", 100, false);
    struct pt_fanout *f = lab_fanout(lab_scan(), 1);
    pt_auto_free unsigned char *need = lab_need(f, 1, 1);
    struct lab_lane *lane = lab_join(f, need, 0);
    lab_drain(lane);
    lab_whole(lane);
    cr_assert_eq(lane->raw, 1024);
    cr_assert_eq(pt_parcel_total(lane->parcel), 0);
    lab_leave(lane);
    pt_fanout_destroy(f);
}

Test(sync_fanout, the_first_segments_are_small)
{
    lab_file("a", 8 * LAB_MIB, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 1);
    struct lab_lane *lane = lab_join(f, NULL, 0);
    for (uint32_t size = 64u << 10; lab_step(lane) && lane->segments < 7; size *= size < LAB_MIB ? 2 : 1)
        cr_assert_eq(lane->last_raw, size);
    lab_leave(lane);
    pt_fanout_destroy(f);
}

Test(sync_fanout, lanes_of_all_kinds_get_the_same)
{
    enum { LANES = 8 };
    static const int levels[LANES] = {0, 1, 9, 0, 3, 3, 1, 0};
    struct lab_lane *lanes[LANES];
    pthread_t threads[LANES];
    many_sizes();
    struct pt_fanout *f = lab_fanout(lab_scan(), LANES);
    for (size_t i = 0; i < LANES; i++) {
        lanes[i] = lab_join(f, NULL, levels[i]);
        cr_assert_eq(pthread_create(&threads[i], NULL, lab_drain_thread, lanes[i]), 0);
    }
    for (size_t i = 0; i < LANES; i++) {
        pthread_join(threads[i], NULL);
        lab_whole(lanes[i]);
        cr_assert_eq(memcmp(lanes[i]->result, lanes[0]->result, PT_DIGEST), 0, "%zu", i);
    }
    cr_assert_eq(pt_fanout_packs(f), 1);
    for (size_t i = 0; i < LANES; i++)
        lab_leave(lanes[i]);
    pt_fanout_destroy(f);
}

Test(sync_fanout, lanes_take_turns_as_they_like)
{
    enum { LANES = 5 };
    struct lab_lane *lanes[LANES];
    uint64_t state = 3;
    bool more = true;
    many_sizes();
    struct pt_fanout *f = lab_fanout(lab_scan(), LANES);
    for (size_t i = 0; i < LANES; i++)
        lanes[i] = lab_join(f, NULL, 0);
    while (more) {
        struct lab_lane *lane = lanes[lab_random(&state) % LANES];
        lane->level = (int)(lab_random(&state) % 4);
        if (lane->got != PT_PARCEL_END)
            lab_step(lane);
        more = false;
        for (size_t i = 0; i < LANES; i++)
            more |= lanes[i]->got != PT_PARCEL_END;
    }
    for (size_t i = 0; i < LANES; i++) {
        cr_assert_eq(pt_digest_end(lanes[i]->digest, lanes[i]->result), 0);
        cr_assert_eq(memcmp(lanes[i]->result, lanes[0]->result, PT_DIGEST), 0, "%zu", i);
    }
    cr_assert_eq(pt_fanout_packs(f), 1);
    for (size_t i = 0; i < LANES; i++)
        lab_leave(lanes[i]);
    pt_fanout_destroy(f);
}

Test(sync_fanout, each_set_is_packed_once)
{
    enum { LANES = 6 };
    struct lab_lane *lanes[LANES];
    many_sizes();
    struct pt_fanout *f = lab_fanout(lab_scan(), LANES);
    for (size_t i = 0; i < LANES; i++) {
        pt_auto_free unsigned char *need = lab_need(f, (uint32_t)i % 3, 3);
        lanes[i] = lab_join(f, need, 0);
    }
    for (size_t i = 0; i < LANES; i++) {
        lab_drain(lanes[i]);
        lab_whole(lanes[i]);
        cr_assert_eq(memcmp(lanes[i]->result, lanes[i % 3]->result, PT_DIGEST), 0);
        cr_assert(i % 3 == 0 || memcmp(lanes[i]->result, lanes[0]->result, PT_DIGEST) != 0);
    }
    cr_assert_eq(pt_fanout_packs(f), 3);
    for (size_t i = 0; i < LANES; i++)
        lab_leave(lanes[i]);
    pt_fanout_destroy(f);
}

Test(sync_fanout, a_segment_is_compressed_once_for_all)
{
    struct pt_segment one, two;
    lab_file("a", 3 * LAB_MIB, false);
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *a = lab_join(f, NULL, 3), *b = lab_join(f, NULL, 3);
    enum pt_parcel_got got = PT_PARCEL_SEGMENT;
    while (got == PT_PARCEL_SEGMENT) {
        do {
            lab_await(a);
        } while ((got = pt_parcel_next(a->parcel, 3, &one, NULL)) == PT_PARCEL_NOTHING);
        cr_assert_eq(pt_parcel_next(b->parcel, 9, &two, NULL), got);
        if (got != PT_PARCEL_SEGMENT)
            break;
        cr_assert(one.packed && two.packed);
        cr_assert_eq(one.data, two.data);
        cr_assert_eq(one.size, two.size);
    }
    cr_assert_eq(got, PT_PARCEL_END);
    lab_leave(a);
    lab_leave(b);
    pt_fanout_destroy(f);
}

Test(sync_fanout, the_event_stays_at_the_end)
{
    struct pt_segment s;
    lab_file("a", 3, false);
    struct pt_fanout *f = lab_fanout(lab_scan(), 1);
    struct lab_lane *lane = lab_join(f, NULL, 0);
    lab_drain(lane);
    for (int i = 0; i < 3; i++) {
        struct pollfd p = {.fd = pt_parcel_fd(lane->parcel), .events = POLLIN};
        cr_assert_eq(poll(&p, 1, 0), 1);
        cr_assert_eq(pt_parcel_next(lane->parcel, i, &s, NULL), PT_PARCEL_END);
    }
    lab_leave(lane);
    pt_fanout_destroy(f);
}

Test(sync_fanout, who_comes_late_shares_what_was_kept_for_it)
{
    lab_file("a", 5 * LAB_MIB, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *a = lab_join(f, NULL, 0);
    lab_drain(a);
    lab_whole(a);
    struct lab_lane *b = lab_join(f, NULL, 0);
    lab_drain(b);
    lab_whole(b);
    cr_assert_eq(memcmp(a->result, b->result, PT_DIGEST), 0);
    cr_assert_eq(pt_fanout_packs(f), 1);
    lab_leave(a);
    lab_leave(b);
    pt_fanout_destroy(f);
}

Test(sync_fanout, who_comes_after_all_left_shares_it_too)
{
    lab_file("a", 5 * LAB_MIB, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *a = lab_join(f, NULL, 0);
    lab_step(a);
    lab_leave(a);
    struct lab_lane *b = lab_join(f, NULL, 0);
    lab_drain(b);
    lab_whole(b);
    cr_assert_eq(pt_fanout_packs(f), 1);
    lab_leave(b);
    pt_fanout_destroy(f);
}

Test(sync_fanout, who_comes_after_the_drop_has_a_pack_of_its_own)
{
    lab_file("a", 5 * LAB_MIB, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *a = lab_join(f, NULL, 0);
    pt_fanout_skip(f);
    while (a->segments < 3)
        lab_step(a);
    struct lab_lane *b = lab_join(f, NULL, 0);
    lab_drain(b);
    lab_drain(a);
    lab_whole(a);
    lab_whole(b);
    cr_assert_eq(memcmp(a->result, b->result, PT_DIGEST), 0);
    cr_assert_eq(pt_fanout_packs(f), 2);
    lab_leave(a);
    lab_leave(b);
    pt_fanout_destroy(f);
}

struct visitor {
    struct pt_fanout *f;
    uint64_t state;
    const unsigned char (*want)[PT_DIGEST]; /* of each of the three sets */
};

/* Comes and goes, reads some of a set or all of it, at whatever level. */
static void *visit(void *arg)
{
    struct visitor *v = arg;
    for (int round = 0; round < 12; round++) {
        uint32_t set = (uint32_t)(lab_random(&v->state) % 3), most = (uint32_t)(lab_random(&v->state) % 30);
        pt_auto_free unsigned char *need = lab_need(v->f, set, 3);
        struct lab_lane *lane = lab_join(v->f, need, (int)(lab_random(&v->state) % 3));
        while (lane->segments < most && lab_step(lane))
            lane->level = (int)(lab_random(&v->state) % 3);
        if (lane->got == PT_PARCEL_END) {
            cr_assert_eq(pt_digest_end(lane->digest, lane->result), 0);
            cr_assert_eq(memcmp(lane->result, v->want[set], PT_DIGEST), 0);
        }
        lab_leave(lane);
    }
    return NULL;
}

static void lanes_come_and_go(unsigned expected)
{
    enum { LANES = 6 };
    static unsigned char want[3][PT_DIGEST];
    struct visitor visitors[LANES];
    pthread_t threads[LANES];
    many_sizes();
    struct pt_fanout *f = lab_fanout(lab_scan(), expected);
    for (uint32_t set = 0; set < 3; set++) {
        pt_auto_free unsigned char *need = lab_need(f, set, 3);
        struct lab_lane *lane = lab_join(f, need, 0);
        lab_drain(lane);
        lab_whole(lane);
        memcpy(want[set], lane->result, PT_DIGEST);
        lab_leave(lane);
    }
    for (size_t i = 0; i < LANES; i++) {
        visitors[i] = (struct visitor){f, i + 1, want};
        cr_assert_eq(pthread_create(&threads[i], NULL, visit, &visitors[i]), 0);
    }
    for (size_t i = 0; i < LANES; i++)
        pthread_join(threads[i], NULL);
    cr_assert(expected > 0 || pt_fanout_kept(f) == 0);
    pt_fanout_destroy(f);
}

Test(sync_fanout, lanes_come_and_go_as_expected)
{
    lanes_come_and_go(1000);
}

Test(sync_fanout, lanes_come_and_go_unexpectedly)
{
    lanes_come_and_go(0);
}

Test(sync_fanout, nobody_ever_joins)
{
    lab_file("a", 5, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    for (int i = 0; i < 3; i++)
        pt_fanout_skip(f);
    cr_assert_eq(pt_fanout_packs(f), 0);
    cr_assert_eq(pt_fanout_kept(f), 0);
    pt_fanout_destroy(f);
    pt_fanout_destroy(NULL);
    pt_parcel_leave(NULL);
}

Test(sync_fanout, a_tree_that_lies_nowhere)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = pt_manifest_create(PT_DIGEST_BLAKE2B, NULL, NULL);
    cr_assert_eq(pt_manifest_seal(m, NULL), 0);
    cr_assert_null(pt_fanout_create(m, lab_spill, 1, &err));
    cr_assert(err.msg[0]);
}
