/* SPDX-License-Identifier: Apache-2.0 */
/* A slow lane beside a fast one: memory stays bounded, the fast one is never held up, nothing is lost. */
#include "fanout_lab.h"

#include <signal.h>
#include <sys/resource.h>

TestSuite(sync_fanout_bounds, .init = lab_open, .fini = lab_close);

/* What may come on top: pieces that a lane holds, and one that is being filled. */
#define SLACK (3 * LAB_MIB)

static void in_bounds(struct pt_fanout *f)
{
    uint64_t kept = pt_fanout_kept(f);
    cr_assert_leq(kept, PT_FANOUT_KEPT + SLACK);
}

static void await_kept(struct pt_fanout *f, uint64_t least)
{
    for (int i = 0; pt_fanout_kept(f) < least; i++) {
        cr_assert_lt(i, LAB_DEADLINE);
        poll(NULL, 0, 1);
    }
}

static bool spill_folder_is_empty(void)
{
    return rmdir(lab_spill) == 0 && mkdir(lab_spill, 0777) == 0;
}

/* 200 MB: noise, text, and a file of holes. */
static void large_tree(void)
{
    lab_file("a.noise", 90 * LAB_MIB, true);
    lab_file("b.text", 30 * LAB_MIB, false);
    lab_file("c.holes", 1, false);
    cr_assert_eq(truncate("c.holes", 80 * LAB_MIB), 0);
}

static void fast_then_slow(int fast, int slow)
{
    large_tree();
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *a = lab_join(f, NULL, fast), *b = lab_join(f, NULL, slow);
    lab_step(b);
    while (lab_step(a))
        in_bounds(f);
    lab_whole(a);
    cr_assert_eq(pt_digest_end(a->digest, a->result), 0);
    cr_assert_eq(lab_spills(), 1);
    cr_assert(spill_folder_is_empty());
    while (lab_step(b))
        in_bounds(f);
    lab_whole(b);
    cr_assert_eq(pt_digest_end(b->digest, b->result), 0);
    cr_assert_eq(memcmp(a->result, b->result, PT_DIGEST), 0);
    cr_assert_eq(pt_fanout_packs(f), 1);
    lab_leave(a);
    lab_leave(b);
    cr_assert_eq(pt_fanout_kept(f), 0);
    pt_fanout_destroy(f);
    cr_assert_eq(lab_spills(), 0);
}

Test(sync_fanout_bounds, stuck_lane_both_stored)
{
    fast_then_slow(0, 0);
}

Test(sync_fanout_bounds, stuck_lane_wants_it_compressed)
{
    fast_then_slow(0, 1);
}

Test(sync_fanout_bounds, stuck_lane_beside_one_that_wants_it_compressed)
{
    fast_then_slow(1, 0);
}

Test(sync_fanout_bounds, everything_is_kept_for_who_is_expected)
{
    large_tree();
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *a = lab_join(f, NULL, 0);
    while (lab_step(a))
        in_bounds(f);
    cr_assert_eq(pt_digest_end(a->digest, a->result), 0);
    lab_leave(a);
    struct lab_lane *b = lab_join(f, NULL, 0);
    lab_drain(b);
    lab_whole(b);
    cr_assert_eq(b->raw / LAB_MIB, 200);
    cr_assert_eq(pt_fanout_packs(f), 1);
    lab_leave(b);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, lanes_far_apart)
{
    enum { LANES = 4 };
    struct lab_lane *lanes[LANES];
    large_tree();
    struct pt_fanout *f = lab_fanout(lab_scan(), LANES);
    for (int i = 0; i < LANES; i++)
        lanes[i] = lab_join(f, NULL, i % 2);
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < LANES; i++)
            for (int k = 0; k < 1 << 2 * i && lanes[i]->got != PT_PARCEL_END; k++)
                more |= lab_step(lanes[i]);
        in_bounds(f);
    }
    for (int i = 0; i < LANES; i++) {
        lab_whole(lanes[i]);
        cr_assert_eq(pt_digest_end(lanes[i]->digest, lanes[i]->result), 0);
        cr_assert_eq(memcmp(lanes[i]->result, lanes[0]->result, PT_DIGEST), 0, "%d", i);
    }
    for (int i = 0; i < LANES; i++)
        lab_leave(lanes[i]);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, sets_that_differ_share_the_bound)
{
    enum { LANES = 20 };
    struct lab_lane *lanes[LANES];
    large_tree();
    struct pt_fanout *f = lab_fanout(lab_scan(), LANES);
    for (uint32_t i = 0; i < LANES; i++) {
        pt_auto_free unsigned char *need = lab_need(f, i, LANES - 1);
        lanes[i] = lab_join(f, need, 0);
    }
    await_kept(f, PT_FANOUT_KEPT - LAB_MIB);
    for (int i = 0; i < LANES; i++) {
        while (lab_step(lanes[i]))
            cr_assert_leq(pt_fanout_kept(f), PT_FANOUT_KEPT + LANES * SLACK);
        lab_whole(lanes[i]);
    }
    for (int i = 0; i < LANES; i++)
        lab_leave(lanes[i]);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, reads_ahead_only_so_far)
{
    lab_file("a", 60 * LAB_MIB, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 1);
    struct lab_lane *a = lab_join(f, NULL, 0);
    await_kept(f, PT_FANOUT_AHEAD - LAB_MIB);
    while (lab_step(a))
        cr_assert_leq(pt_fanout_kept(f), PT_FANOUT_AHEAD + SLACK + 4 * LAB_MIB);
    lab_whole(a);
    cr_assert_eq(lab_spills(), 0);
    lab_leave(a);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, compresses_ahead)
{
    lab_file("a", 40 * LAB_MIB, false);
    struct pt_fanout *f = lab_fanout(lab_scan(), 1);
    struct lab_lane *a = lab_join(f, NULL, 1);
    lab_drain(a);
    lab_whole(a);
    cr_assert_eq(a->packed, a->segments);
    cr_assert_lt(a->wire, a->raw / 2);
    lab_leave(a);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, no_spill_folder)
{
    lab_file("a", 100 * LAB_MIB, true);
    strcat(lab_spill, "/missing");
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    struct lab_lane *a = lab_join(f, NULL, 0), *b = lab_join(f, NULL, 1);
    lab_drain(a);
    lab_drain(b);
    lab_whole(a);
    lab_whole(b);
    cr_assert_eq(memcmp(a->result, b->result, PT_DIGEST), 0);
    lab_leave(a);
    lab_leave(b);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, the_spill_disk_is_full)
{
    lab_file("a", 120 * LAB_MIB, true);
    struct pt_fanout *f = lab_fanout(lab_scan(), 2);
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){10 * LAB_MIB + 5, RLIM_INFINITY}), 0);
    struct lab_lane *a = lab_join(f, NULL, 0), *b = lab_join(f, NULL, 0);
    lab_drain(a);
    lab_drain(b);
    lab_whole(a);
    lab_whole(b);
    cr_assert_eq(memcmp(a->result, b->result, PT_DIGEST), 0);
    lab_leave(a);
    lab_leave(b);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, who_leaves_takes_its_share_along)
{
    large_tree();
    struct pt_fanout *f = lab_fanout(lab_scan(), 3);
    struct lab_lane *a = lab_join(f, NULL, 0), *b = lab_join(f, NULL, 0), *c = lab_join(f, NULL, 1);
    lab_step(b);
    while (a->segments < 150)
        lab_step(a);
    while (c->segments < 149)
        lab_step(c);
    cr_assert_eq(lab_spills(), 1);
    lab_leave(b);
    await_kept(f, LAB_MIB);
    cr_assert_leq(pt_fanout_kept(f), PT_FANOUT_AHEAD + SLACK + 6 * LAB_MIB);
    lab_leave(a);
    lab_drain(c);
    lab_whole(c);
    lab_leave(c);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, leaving_stops_the_packing)
{
    large_tree();
    struct pt_fanout *f = lab_fanout(lab_scan(), 4);
    for (int i = 0; i < 4; i++) {
        struct lab_lane *a = lab_join(f, NULL, i % 2 * 9);
        while (a->segments < (unsigned)i * 3)
            lab_step(a);
        lab_leave(a);
    }
    cr_assert_eq(pt_fanout_kept(f), 0);
    pt_fanout_destroy(f);
}

Test(sync_fanout_bounds, destroyed_while_somebody_is_expected)
{
    large_tree();
    struct pt_fanout *f = lab_fanout(lab_scan(), 4);
    struct lab_lane *a = lab_join(f, NULL, 1);
    lab_step(a);
    lab_leave(a);
    pt_fanout_destroy(f);
}
