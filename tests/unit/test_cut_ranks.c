/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of several ranks never share a unit with others. */
#include "cut_lab.h"

struct got {
    uint32_t n, ranks[64], weight[64], tests[64];
    bool numa[64], atoms[64];
};

static int take(void *arg, const struct pt_plan_unit *unit, struct pt_err *err)
{
    struct got *got = arg;
    (void)err;
    cr_assert_lt(got->n, 64);
    got->ranks[got->n] = unit->ranks;
    got->weight[got->n] = unit->weight;
    got->numa[got->n] = unit->numa;
    got->atoms[got->n] = unit->atoms != NULL;
    for (uint32_t f = 0; f < unit->nfiles; f++)
        got->tests[got->n] += unit->files[f].ntests;
    got->n++;
    return 0;
}

struct kind {
    uint32_t ranks, weight;
    bool numa;
    const char *group;
};

static struct got cut(struct pt_cut_spec spec, const struct kind *kinds, uint32_t n, uint32_t files)
{
    struct got got = {0};
    struct pt_cut_test tests[64];
    char ids[64][48], path[32];
    struct pt_cut *c = pt_cut_create(&spec, take, &got, NULL);
    cr_assert_not_null(c);
    for (uint32_t f = 0; f < files; f++) {
        snprintf(path, sizeof(path), "f%u.py", f);
        for (uint32_t i = 0; i < n; i++) {
            snprintf(ids[i], sizeof(ids[i]), "%s::t%u", path, i);
            tests[i] = (struct pt_cut_test){.test = {.test = f * n + i, .nodeid = ids[i]},
                                            .traits = {.ranks = kinds[i].ranks,
                                                       .weight = kinds[i].weight,
                                                       .numa = kinds[i].numa,
                                                       .group = kinds[i].group}};
        }
        cr_assert_eq(pt_cut_add(c, path, tests, n, PT_NONE, NULL), 0);
    }
    cr_assert_eq(pt_cut_end(c, NULL), 0);
    pt_cut_destroy(c);
    return got;
}

static uint32_t of(const struct got *got, uint32_t ranks, bool numa)
{
    uint32_t tests = 0;
    for (uint32_t i = 0; i < got->n; i++)
        tests += got->ranks[i] == ranks && got->numa[i] == numa ? got->tests[i] : 0;
    return tests;
}

Test(cut_ranks, a_file_is_a_unit_for_each_number_of_ranks)
{
    const struct kind kinds[] = {{.ranks = 0},           {.ranks = 2}, {.ranks = 1},
                                 {.ranks = 3},           {.ranks = 2}, {.ranks = 2, .numa = true},
                                 {.ranks = PT_PLAN_ALL}, {.ranks = 3}};
    for (unsigned wait = 0; wait < 2; wait++)
        for (unsigned split = 0; split < 2; split++) {
            struct pt_cut_spec spec = {.dist = PT_DIST_FILE, .split = split, .wait = wait, .slots = 4};
            struct got got = cut(spec, kinds, 8, 1);
            cr_assert_eq(got.n, 5);
            cr_assert(of(&got, 1, false) == 2 && of(&got, 2, false) == 2 && of(&got, 3, false) == 2 &&
                      of(&got, 2, true) == 1 && of(&got, PT_PLAN_ALL, false) == 1);
            for (uint32_t i = 0; i < got.n; i++)
                cr_assert_eq(got.atoms[i], split, "the plan may part it");
        }
}

Test(cut_ranks, the_weight_is_no_less_than_the_ranks)
{
    const struct kind kinds[] = {
        {.ranks = 4, .weight = 2}, {.ranks = 2, .weight = 8}, {.ranks = PT_PLAN_ALL}};
    struct got got = cut((struct pt_cut_spec){.dist = PT_DIST_TEST}, kinds, 3, 1);
    cr_assert_eq(got.n, 3);
    cr_assert(got.weight[0] == 4 && got.weight[1] == 8 && got.weight[2] == 1);
}

Test(cut_ranks, a_group_is_one_for_each_number_of_ranks)
{
    const struct kind kinds[] = {{.ranks = 2, .group = "g"},  {.group = "g"},
                                 {.ranks = 2, .group = "h"},  {.ranks = 2, .weight = 6, .group = "g"},
                                 {.weight = 3, .group = "g"}, {.ranks = 2}};
    struct got got = cut((struct pt_cut_spec){.dist = PT_DIST_GROUP}, kinds, 6, 3);
    uint32_t pairs = 0, singles = 0;
    cr_assert_eq(got.n, 3 + 3, "g of 2, g of 1, h, and three without a group");
    for (uint32_t i = 0; i < got.n; i++) {
        pairs += got.ranks[i] == 2 && got.weight[i] == 6 && got.tests[i] == 6;
        singles += got.ranks[i] == 1 && got.weight[i] == 3 && got.tests[i] == 6;
    }
    cr_assert(pairs == 1 && singles == 1);
}

Test(cut_ranks, scopes_and_orders_are_cut_where_the_ranks_change)
{
    const struct kind kinds[] = {{.ranks = 2}, {.ranks = 2}, {.ranks = 1}, {.ranks = 2}};
    struct got got = cut((struct pt_cut_spec){.dist = PT_DIST_SCOPE}, kinds, 4, 1);
    cr_assert_eq(got.n, 2);
    cr_assert_eq(of(&got, 2, false), 3);
    got = cut((struct pt_cut_spec){.in_order = true}, kinds, 4, 2);
    cr_assert_eq(got.n, 5);
    const uint32_t ranks[] = {2, 1, 2, 1, 2}, tests[] = {2, 1, 3, 1, 1};
    for (uint32_t i = 0; i < 5; i++)
        cr_assert(got.ranks[i] == ranks[i] && got.tests[i] == tests[i]);
}

/* As many parts as there are places for them, not as there are slots. */
Test(cut_ranks, a_long_file_is_cut_for_the_places_of_its_ranks)
{
    uint32_t parts[2];
    for (uint32_t wide = 0; wide < 2; wide++) {
        struct pt_history *h = pt_history_create(NULL, NULL);
        lab_knows(h, "long.py", "t", 60, 1.0, 0);
        struct pt_cut_spec spec = {
            .dist = PT_DIST_FILE, .split = true, .wait = true, .slots = 8, .history = h};
        struct got got = {0};
        struct pt_cut *c = pt_cut_create(&spec, take, &got, NULL);
        struct pt_cut_test tests[60];
        char ids[60][32];
        for (uint32_t i = 0; i < 60; i++) {
            snprintf(ids[i], sizeof(ids[i]), "long.py::t%u", i);
            tests[i] = (struct pt_cut_test){.test = {.test = i, .nodeid = ids[i]},
                                            .traits = {.ranks = wide ? 4 : 1}};
        }
        cr_assert_eq(pt_cut_add(c, "long.py", tests, 60, PT_NONE, NULL), 0);
        cr_assert_eq(pt_cut_end(c, NULL), 0);
        parts[wide] = got.n;
        pt_cut_destroy(c);
        pt_history_destroy(h);
    }
    cr_assert_geq(parts[0], 8);
    cr_assert(parts[1] >= 2 && parts[1] < parts[0], "%u and %u", parts[0], parts[1]);
}
