/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of several ranks: what is dealt as one, where, in which order, and what is told of them. */
#include "plan_ranks_lab.h"

/* --- what is dealt as one --- */

Test(plan_ranks, a_bundle_has_tests_of_one_number_of_ranks)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC);
    uint32_t ranks[240], host, told = 0;
    bool numa[240];
    seed = 3;
    for (uint32_t i = 0; i < 240; i++) {
        struct pt_plan_unit unit = of_ranks(ranks[i] = pick(5));
        unit.numa = numa[i] = pick(4) == 0;
        add(plan, unit, i < 120 ? "a.py" : "b.py", i, 1, 0.001);
        ranks[i] += ranks[i] == 0;
    }
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    const struct pt_bundle *b;
    uint32_t groups = 0;
    while ((b = next(plan, &host))) {
        for (uint32_t i = 0; i < count_tests(b); i++) {
            uint32_t test = test_at(b, i)->test;
            cr_assert_eq(b->ranks, ranks[test]);
            cr_assert_eq(b->flags, numa[test] ? PT_BUNDLE_NUMA : 0);
        }
        cr_assert_eq(b->rank, PT_NONE);
        told += count_tests(b);
        groups += b->ranks > 1;
        finish(plan, host, b);
    }
    cr_assert_eq(told, 240);
    cr_assert_lt(groups, 20, "small ones are joined");
    pt_plan_destroy(plan);
}

/* Of a file and of many: as nothing is stolen from it, no bundle is much against what is left. */
static void never_much(uint32_t files, uint32_t per_file, double seconds)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    uint32_t left = files * per_file, before = 0;
    for (uint32_t f = 0; f < files; f++) {
        char path[32];
        snprintf(path, sizeof(path), "f_%u.py", f);
        add(plan, of_ranks(2), path, f * per_file, per_file, seconds);
    }
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    uint32_t host, n;
    for (const struct pt_bundle *b; (b = next(plan, &host)); left -= n) {
        n = count_tests(b);
        cr_assert_leq(n, 1 + 1.5 * fmax(left / 8.0, files * per_file / 160.0), "%u of %u left", n, left);
        for (uint32_t i = 0; files == 1 && i < n; i++)
            cr_assert_eq(test_at(b, i)->test, before + i, "in order");
        before += n;
        finish(plan, host, b);
    }
    cr_assert_eq(left, 0);
    pt_plan_destroy(plan);
}

Test(plan_ranks, a_bundle_is_short_against_what_is_left)
{
    never_much(1, 400, 1.0);
    never_much(1, 400, -1.0);
    never_much(50, 8, 1.0);
    never_much(50, 8, -1.0);
}

Test(plan_ranks, a_file_is_parted_between_atoms_only)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    uint32_t atoms[200], host, at = 0;
    struct pt_plan_unit unit = of_ranks(3);
    for (uint32_t i = 0; i < 200; i++)
        atoms[i] = i / 7;
    unit.atoms = atoms;
    add(plan, unit, "f.py", 0, 200, 1.0);
    unit.alone = true;
    add(plan, unit, "whole.py", 200, 200, 0.9);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    bool whole = false;
    for (const struct pt_bundle *b; (b = next(plan, &host)); finish(plan, host, b)) {
        if (first_test(b) >= 200) {
            whole = count_tests(b) == 200;
            continue;
        }
        cr_assert_eq(first_test(b), at);
        cr_assert_eq(first_test(b) % 7, 0);
        cr_assert_lt(count_tests(b), 80);
        at += count_tests(b);
    }
    cr_assert(whole && at == 200);
    pt_plan_destroy(plan);
}

/* What a file costs to begin with is paid by each part. */
Test(plan_ranks, a_file_that_costs_much_to_begin_has_long_parts)
{
    uint32_t bundles[2] = {0}, host;
    for (uint32_t dear = 0; dear < 2; dear++) {
        struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
        struct pt_bundle_test tests[100];
        float seconds[100];
        uint32_t atoms[100];
        char ids[100][16];
        for (uint32_t i = 0; i < 100; i++) {
            snprintf(ids[i], sizeof(ids[i]), "f.py::%u", i);
            tests[i] = (struct pt_bundle_test){.test = i, .nodeid = ids[i]};
            seconds[i] = 0.1f;
            atoms[i] = i;
        }
        struct pt_bundle_file file = {.path = (char[]){"f.py"}, .tests = tests, .ntests = 100};
        struct pt_plan_unit unit = of_ranks(2);
        unit.files = &file;
        unit.nfiles = 1;
        unit.atoms = atoms;
        unit.seconds_of = seconds;
        unit.seconds = 10 + 2 * dear;
        cr_assert_eq(pt_plan_add(plan, &unit, NULL), 0);
        pt_plan_collected(plan);
        pt_plan_host(plan, 0, 4);
        pt_plan_host(plan, 1, 4);
        for (const struct pt_bundle *b; (b = next(plan, &host)); finish(plan, host, b))
            bundles[dear]++;
        cr_assert(pt_plan_over(plan));
        pt_plan_destroy(plan);
    }
    cr_assert_leq(bundles[1], 4);
    cr_assert_gt(bundles[0], 12);
}

Test(plan_ranks, a_test_of_a_parted_file_runs_again_with_its_ranks)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    add(plan, of_ranks(3), "f.py", 0, 100, 1.0);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    uint32_t host[3];
    const struct pt_bundle *b[3];
    for (uint32_t i = 0; i < 2; i++)
        b[i] = next(plan, &host[i]);
    uint32_t again = test_at(b[1], 2)->test;
    char id[32];
    snprintf(id, sizeof(id), "f.py::t%u", again);
    finish(plan, host[0], b[0]);
    cr_assert(pt_plan_told(plan, again));
    cr_assert_eq(pt_plan_again(plan, again, NULL), 0);
    b[2] = next(plan, &host[2]);
    cr_assert_eq(count_tests(b[2]), 1);
    cr_assert_eq(b[2]->ranks, 3);
    cr_assert_eq(host[2], host[0], "the other host");
    cr_assert_str_eq(test_at(b[2], 0)->nodeid, id);
    cr_assert_eq(test_at(b[2], 0)->test, again);
    pt_plan_destroy(plan);
}

/* --- where --- */

Test(plan_ranks, as_many_ranks_as_the_host_has_slots)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    uint32_t host, other;
    add(plan, of_ranks(PT_PLAN_ALL), "all.py", 0, 1, 1);
    add(plan, of_ranks(PT_PLAN_ALL), "all.py", 1, 1, 1);
    for (uint32_t i = 2; i < 20; i++)
        add(plan, plain_unit(), "light.py", i, 1, 0.2);
    pt_plan_host(plan, 0, 3);
    const struct pt_bundle *all = next(plan, &host);
    cr_assert(all->ranks == 3 && all->rank == PT_NONE);
    cr_assert_null(next(plan, NULL), "nothing beside it");
    pt_plan_host(plan, 1, 2);
    pt_plan_lost(plan, 0, NULL, NULL);
    all = next(plan, &other);
    cr_assert(other == 1 && all->ranks == 2 && all->attempt == 2, "%u ranks", all->ranks);
    cr_assert_null(next(plan, NULL));
    finish(plan, 1, all);
    all = next(plan, &other);
    cr_assert(first_test(all) == 1 && all->ranks == 2);
    finish(plan, 1, all);
    const struct pt_bundle *light = next(plan, &host);
    cr_assert(light && light->ranks == 1 && first_test(light) >= 2);
    pt_plan_destroy(plan);
}

/* A host is drained for it, though light ones come all the time. */
Test(plan_ranks, all_slots_of_a_busy_host)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC);
    const struct pt_bundle *held[8];
    uint32_t n = 0;
    pt_plan_host(plan, 0, 2);
    for (uint32_t i = 0; i < 30; i++)
        add(plan, plain_unit(), "light.py", i, 1, 1);
    while ((held[n] = next(plan, NULL)))
        n++;
    add(plan, of_ranks(PT_PLAN_ALL), "all.py", 40, 1, 1);
    while (n > 0) {
        cr_assert_null(next(plan, NULL));
        finish(plan, 0, held[--n]);
    }
    const struct pt_bundle *all = next(plan, NULL);
    cr_assert_eq(first_test(all), 40);
    cr_assert_eq(all->ranks, 2);
    pt_plan_destroy(plan);
}

Test(plan_ranks, more_slots_than_ranks_are_kept)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_unit wide = of_ranks(2), narrow = of_ranks(4);
    wide.weight = 3;
    narrow.weight = 2;
    add(plan, wide, "wide.py", 0, 1, 1);
    add(plan, narrow, "narrow.py", 1, 1, 1);
    for (uint32_t i = 2; i < 8; i++)
        add(plan, plain_unit(), "light.py", i, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    const struct pt_bundle *b = next(plan, NULL);
    cr_assert(b->ranks == 4 && first_test(b) == 1, "a unit weighs its ranks at least");
    cr_assert_null(next(plan, NULL));
    finish(plan, 0, b);
    b = next(plan, NULL);
    cr_assert(b->ranks == 2 && first_test(b) == 0);
    cr_assert_eq(next(plan, NULL)->ranks, 1);
    cr_assert_null(next(plan, NULL), "one slot beside three");
    pt_plan_destroy(plan);
}

/* 1-rank tests beside, but never in the way. */
Test(plan_ranks, light_ones_fill_the_gap_beside)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_unit three = of_ranks(3), one = plain_unit();
    three.alone = one.alone = true;
    for (uint32_t i = 0; i < 3; i++)
        add(plan, three, "three.py", i, 1, 1);
    for (uint32_t i = 10; i < 20; i++)
        add(plan, one, "one.py", i, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    for (uint32_t i = 0; i < 3; i++) {
        const struct pt_bundle *b = next(plan, NULL), *light = next(plan, NULL);
        cr_assert_eq(first_test(b), i);
        cr_assert_eq(first_test(light), 10 + 2 * i);
        cr_assert_null(next(plan, NULL));
        finish(plan, 0, light);
        cr_assert_eq(first_test(light = next(plan, NULL)), 11 + 2 * i, "the gap is filled again");
        cr_assert_null(next(plan, NULL));
        finish(plan, 0, light);
        finish(plan, 0, b);
    }
    pt_plan_destroy(plan);
}

/* What is lighter, but not light, does not keep a heavy one waiting either. */
Test(plan_ranks, a_stream_of_pairs_does_not_starve_a_wide_one)
{
    struct pt_plan *plan = plan_of(1, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_unit pair = of_ranks(2);
    const struct pt_bundle *held[2];
    pair.alone = true;
    for (uint32_t i = 0; i < 20; i++)
        add(plan, pair, "pair.py", i, 1, 1);
    pt_plan_host(plan, 0, 4);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq((held[i] = next(plan, NULL))->ranks, 2);
    add(plan, of_ranks(4), "wide.py", 50, 1, 0.1);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_null(next(plan, NULL));
        finish(plan, 0, held[i]);
    }
    cr_assert_eq(first_test(next(plan, NULL)), 50);
    pt_plan_destroy(plan);
}

Test(plan_ranks, nothing_of_a_group_is_called_back_stolen_or_copied)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    uint32_t host, bundle;
    struct pt_plan_steal steal;
    add(plan, of_ranks(4), "f.py", 0, 6, 10);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 4);
    while (next(plan, NULL))
        ;
    for (uint32_t t = 0; t < 4; t++) {
        cr_assert_eq(pt_plan_recall(plan, &host, &bundle), 0);
        cr_assert_eq(pt_plan_steal(plan, &steal), 0);
        pt_plan_told(plan, t);
        for (const struct pt_bundle *b; (b = next(plan, NULL));)
            cr_assert_eq(b->attempt, 1);
    }
    pt_plan_destroy(plan);
}

/* --- what is told --- */

Test(plan_ranks, more_ranks_than_any_host_has_slots)
{
    struct pt_plan *plan = plan_of(3, PT_SCHEDULE_DYNAMIC);
    struct pt_plan_unit gpu = of_ranks(3), heavy = plain_unit();
    uint32_t want = 0, most = 0;
    gpu.needs = 1;
    heavy.weight = 9;
    add(plan, of_ranks(6), "six.py", 0, 1, 1);
    add(plan, gpu, "gpu.py", 1, 1, 1);
    add(plan, heavy, "heavy.py", 2, 1, 1);
    pt_plan_labels(plan, 1, 1);
    pt_plan_collected(plan);
    pt_plan_host(plan, 0, 4);
    pt_plan_host(plan, 1, 2);
    uint32_t said = 1u << pt_plan_impossible(plan);
    cr_assert_eq(said, 2);
    cr_assert(pt_plan_lacks_slots(plan, 1, &want, &most) && want == 3 && most == 2,
              "of those with the label");
    cr_assert_eq(pt_plan_impossible(plan), PT_NONE, "the third may have enough");
    pt_plan_expect(plan, 2, 5);
    pt_plan_together(plan, NULL, 0);
    for (uint32_t test; (test = pt_plan_impossible(plan)) != PT_NONE; said |= 1u << test) {
        bool lacks = pt_plan_lacks_slots(plan, test, &want, &most);
        cr_assert_eq(lacks, test != 2);
        if (test == 0)
            cr_assert(want == 6 && most == 5);
    }
    cr_assert_eq(said, 7);
    cr_assert_not(pt_plan_lacks_slots(plan, 99, &want, &most));
    pt_plan_destroy(plan);
}

Test(plan_ranks, a_host_that_is_gone_had_enough_or_may_have_had)
{
    for (uint32_t known = 0; known < 2; known++) {
        struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
        uint32_t want, most;
        add(plan, of_ranks(6), "six.py", 0, 1, 1);
        pt_plan_collected(plan);
        pt_plan_host(plan, 0, 4);
        if (known)
            pt_plan_expect(plan, 1, 8);
        pt_plan_expect(plan, 1, 0);
        pt_plan_never(plan, 1);
        cr_assert_eq(pt_plan_impossible(plan), 0);
        cr_assert_not(pt_plan_lacks_slots(plan, 0, &want, &most));
        pt_plan_destroy(plan);
    }
}

Test(plan_ranks, sizes_that_wait)
{
    struct pt_plan *plan = plan_of(2, PT_SCHEDULE_DYNAMIC);
    struct pt_size sizes[8];
    struct pt_plan_unit gpu = of_ranks(2), two = of_ranks(2);
    gpu.needs = 1;
    two.alone = true;
    add(plan, plain_unit(), "one.py", 0, 4, 1);
    add(plan, gpu, "gpu.py", 4, 2, 1);
    for (uint32_t i = 6; i < 9; i++)
        add(plan, two, "two.py", i, 1, 1);
    add(plan, of_ranks(4), "four.py", 9, 5, 1);
    add(plan, of_ranks(PT_PLAN_ALL), "all.py", 14, 1, 1);
    cr_assert_eq(pt_plan_sizes(plan, 0, sizes, 8), 0, "the host is not there");
    pt_plan_labels(plan, 1, 1);
    pt_plan_host(plan, 0, 3);
    pt_plan_host(plan, 1, 4);
    cr_assert_eq(pt_plan_sizes(plan, 0, sizes, 8), 2);
    cr_assert(sizes[0].ranks == 3 && sizes[0].tests == 1 && sizes[1].ranks == 2 && sizes[1].tests == 3);
    cr_assert_eq(pt_plan_sizes(plan, 1, sizes, 8), 2);
    cr_assert(sizes[0].ranks == 4 && sizes[0].tests == 6 && sizes[1].ranks == 2 && sizes[1].tests == 5);
    cr_assert_eq(pt_plan_sizes(plan, 1, sizes, 1), 1);
    cr_assert_eq(sizes[0].ranks, 4);
    cr_assert_eq(pt_plan_sizes(plan, 1, sizes, 0), 0);
    cr_assert_eq(pt_plan_sizes(plan, 7, sizes, 8), 0);
    cr_assert_eq(pt_plan_waiting_plain(plan), 1);
    cr_assert_eq(pt_plan_waiting(plan), 7);
    pt_plan_destroy(plan);
}

Test(plan_ranks, sizes_at_work_are_over_until_they_run_again)
{
    for (enum pt_schedule s = PT_SCHEDULE_DYNAMIC; s <= PT_SCHEDULE_SEQUENTIAL; s++) {
        struct pt_plan *plan = plan_of(1, s);
        struct pt_size sizes[8];
        uint32_t host;
        struct pt_plan_unit two = of_ranks(2);
        two.alone = true;
        add(plan, two, "two.py", 0, 2, 1);
        pt_plan_collected(plan);
        pt_plan_host(plan, 0, 4);
        cr_assert_eq(pt_plan_sizes(plan, 0, sizes, 8), 1);
        cr_assert_eq(sizes[0].tests, 2);
        const struct pt_bundle *b = next(plan, &host);
        cr_assert_eq(b->ranks, 2);
        cr_assert_eq(b->rank, PT_NONE);
        cr_assert_eq(pt_plan_held(plan, 0), 1);
        cr_assert_eq(pt_plan_held_plain(plan, 0), 0);
        cr_assert_eq(pt_plan_sizes(plan, 0, sizes, 8), 0);
        pt_plan_told(plan, 0);
        cr_assert_eq(pt_plan_again(plan, 0, NULL), 0);
        cr_assert_eq(pt_plan_sizes(plan, 0, sizes, 8), 1);
        cr_assert_eq(sizes[0].tests, 1);
        pt_plan_destroy(plan);
    }
}
