/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_lab.h"

static const char *cut_all(struct lab_cut *lab, struct pt_cut_spec spec, const char *const *files)
{
    lab_create(lab, spec);
    for (; *files; files++)
        lab_add(lab, *files);
    lab_end(lab);
    return lab->units.text;
}

#define CUT(spec, ...) cut_all(&lab, (struct pt_cut_spec)spec, (const char *const[]){__VA_ARGS__, NULL})
#define SPEC(...)                                                                                            \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

Test(cut, a_file_is_a_unit)
{
    struct lab_cut lab;
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_FILE, .split = true), "a.py::x a.py::K::y a.py::z", "b.py::x"),
                     "a.py::x a.py::K::y a.py::z|b.py::x");
    cr_assert(lab.units.last.host == PT_NONE && lab.units.last.rank == PT_NONE && !lab.units.last.alone);
    cr_assert_lt(lab.units.last.seconds, 0, "nothing is known");
    lab_destroy(&lab);
}

Test(cut, nothing_is_nothing)
{
    struct lab_cut lab;
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_GROUP), "", ""), "");
    lab_destroy(&lab);
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_FILE, .shuffle = true), ""), "");
    lab_destroy(&lab);
    pt_cut_destroy(NULL);
}

/* As pytest-xdist's loadscope: a class, or the module's functions, also when others come between. */
Test(cut, a_scope_is_a_class_or_the_modules_functions)
{
    struct lab_cut lab;
    cr_assert_str_eq(
        CUT(SPEC(.dist = PT_DIST_SCOPE),
            "a.py::x a.py::K::y[1::2] a.py::K::y[] a.py::L::In::z a.py::w[::] a.py::K::v", "b.py::K::y"),
        "a.py::x a.py::w[::]|a.py::K::y[1::2] a.py::K::y[] a.py::K::v|a.py::L::In::z|b.py::K::y");
    lab_destroy(&lab);
}

/* As pytest-xdist's loadgroup: over files; tests without a group go alone, and at once. */
Test(cut, a_group_goes_over_files)
{
    struct lab_cut lab;
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_GROUP});
    lab_add(&lab, "a.py::x@g a.py::y a.py::z@h a.py::w@g");
    cr_assert_str_eq(lab.units.text, "a.py::y");
    lab_add(&lab, "b.py::x@g b.py::y");
    lab_add(&lab, "a.py::late@g");
    lab_end(&lab);
    cr_assert_str_eq(lab.units.text, "a.py::y|b.py::y|a.py::x a.py::w >b.py::x >a.py::late|a.py::z");
    lab_destroy(&lab);
}

/* A group is never split: it gets what any of its tests must have. */
Test(cut, a_group_of_unequal_tests_stays_whole)
{
    struct lab_cut lab;
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_GROUP), "a.py::x@g*3 a.py::y@g? a.py::z@g!*2"),
                     "a.py::x a.py::y a.py::z");
    cr_assert_eq(lab.units.last.weight, 3);
    cr_assert_eq(lab.units.last.needs, 1);
    cr_assert_eq(lab.units.last.exclusive, PT_EXCLUSIVE_HOST);
    lab_destroy(&lab);
}

Test(cut, a_test_alone)
{
    struct lab_cut lab;
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_TEST), "a.py::x a.py::x#1 a.py::y@g", "b.py::x@g"),
                     "a.py::x|a.py::x#1|a.py::y|b.py::x");
    lab_destroy(&lab);
}

Test(cut, duplicates_are_separate_and_stay_in_their_unit)
{
    struct lab_cut lab;
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_FILE), "a.py::x a.py::y a.py::x#1 a.py::y#1"),
                     "a.py::x a.py::y a.py::x#1 a.py::y#1");
    lab_destroy(&lab);
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_SCOPE, .wait = true), "a.py::K::x a.py::K::x#1"),
                     "a.py::K::x a.py::K::x#1");
    lab_destroy(&lab);
}

Test(cut, unequal_tests_of_a_file_never_share_a_unit)
{
    struct lab_cut lab;
    const char *file = "a.py::a a.py::b*2 a.py::c a.py::d? a.py::e*2 a.py::f! a.py::g*2?";
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_FILE, .split = true), file),
                     "a.py::a a.py::c|a.py::b a.py::e|a.py::d|a.py::f|a.py::g");
    cr_assert(lab.units.last.weight == 2 && lab.units.last.needs == 1);
    lab_destroy(&lab);
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_SCOPE), file),
                     "a.py::a a.py::c|a.py::b a.py::e|a.py::d|a.py::f|a.py::g");
    lab_destroy(&lab);
}

Test(cut, a_weight_of_one_is_none)
{
    struct lab_cut lab;
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_FILE), "a.py::a a.py::b*1"), "a.py::a a.py::b");
    lab_destroy(&lab);
}

Test(cut, each_host_gets_its_own)
{
    struct lab_cut lab;
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_EACH, .split = true});
    lab_add_for(&lab, "a.py::x a.py::y", 0);
    cr_assert_eq(lab.units.last.host, 0);
    lab_add_for(&lab, "a.py::x a.py::y", 1);
    cr_assert_eq(lab.units.last.host, 1);
    cr_assert_eq(lab.units.last.rank, PT_NONE);
    lab_end(&lab);
    cr_assert_str_eq(lab.units.text, "a.py::x a.py::y|a.py::x a.py::y");
    lab_destroy(&lab);
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_EACH, .wait = true});
    lab_add_for(&lab, "a.py::x", 0);
    lab_add_for(&lab, "a.py::x", 1);
    lab_add_for(&lab, "a.py::y", 0);
    lab_end(&lab);
    cr_assert_str_eq(lab.units.text, "a.py::x a.py::y|a.py::x");
    lab_destroy(&lab);
}

/* A file that comes again is one unit when all is waited for. */
Test(cut, a_file_in_several_calls)
{
    struct lab_cut lab;
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_FILE, .split = true), "a.py::x", "b.py::x", "a.py::y"),
                     "a.py::x|b.py::x|a.py::y");
    lab_destroy(&lab);
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_FILE, .wait = true), "a.py::x", "b.py::x", "a.py::y"),
                     "a.py::x a.py::y|b.py::x");
    lab_destroy(&lab);
    cr_assert_str_eq(CUT(SPEC(.dist = PT_DIST_SCOPE, .wait = true), "a.py::K::x", "b.py::x", "a.py::K::y"),
                     "a.py::K::x a.py::K::y|b.py::x");
    lab_destroy(&lab);
}

Test(cut, the_order_of_pytest_counts_where_all_is_waited_for)
{
    struct lab_cut lab;
    const uint32_t order[] = {4, 1, 77, 1, 3, 2};
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_FILE, .wait = true});
    lab_add(&lab, "a.py::0 a.py::1 a.py::2");
    lab_add(&lab, "b.py::3 b.py::4");
    cr_assert_str_eq(lab.units.text, "");
    cr_assert_eq(pt_cut_order(lab.cut, order, 6, NULL), 0);
    lab_end(&lab);
    cr_assert_str_eq(lab.units.text, "b.py::4 b.py::3|a.py::1 a.py::2 a.py::0");
    lab_destroy(&lab);
}

Test(cut, sequential_keeps_the_order_over_files)
{
    struct lab_cut lab;
    const uint32_t order[] = {0, 3, 1, 2, 4};
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_TEST, .in_order = true});
    lab_add(&lab, "a.py::0 a.py::1 a.py::2");
    lab_add(&lab, "b.py::3 b.py::4*2");
    cr_assert_eq(pt_cut_order(lab.cut, order, 5, NULL), 0);
    lab_end(&lab);
    cr_assert_str_eq(lab.units.text, "a.py::0 >b.py::3 >a.py::1 a.py::2|b.py::4");
    cr_assert(lab.units.last.alone && lab.units.last.weight == 2);
    lab_destroy(&lab);
}

Test(cut, a_long_order_is_cut_between_files)
{
    struct lab_cut lab;
    struct pt_cut_test tests[300];
    char ids[300][64];
    lab_create(&lab, (struct pt_cut_spec){.in_order = true});
    for (uint32_t f = 0; f < 10; f++) {
        char path[32];
        snprintf(path, sizeof(path), "f%u.py", f);
        for (uint32_t i = 0; i < 300; i++) {
            snprintf(ids[i], sizeof(ids[i]), "%s::t%u", path, i);
            tests[i] = (struct pt_cut_test){.test = {.test = lab.next++, .nodeid = ids[i]}};
        }
        cr_assert_eq(pt_cut_add(lab.cut, path, tests, 300, PT_NONE, NULL), 0);
    }
    lab_end(&lab);
    cr_assert_eq(lab.units.n, 3);
    cr_assert(lab.units.sizes[0] == 1200 && lab.units.sizes[1] == 1200 && lab.units.sizes[2] == 600);
    lab_destroy(&lab);
}

/* A frame takes 16 MiB. */
Test(cut, a_unit_fits_into_a_frame)
{
    struct lab_cut lab;
    enum { N = 40, LONG = 1 << 19 };
    struct pt_cut_test tests[N];
    char *id = malloc(LONG + 1);
    memset(id, 'x', LONG);
    memcpy(id, "a.py::", 6);
    id[LONG] = '\0';
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_FILE});
    for (uint32_t i = 0; i < N; i++)
        tests[i] = (struct pt_cut_test){.test = {.test = i, .nodeid = id, .occurrence = i}};
    lab.next = N;
    cr_assert_eq(pt_cut_add(lab.cut, "a.py", tests, N, PT_NONE, NULL), 0);
    lab_end(&lab);
    cr_assert_eq(lab.units.n, 3);
    cr_assert_eq(lab.units.sizes[0], 15);
    lab_destroy(&lab);
    free(id);
}

Test(cut, what_the_caller_says_ends_it)
{
    struct pt_err err = PT_ERR_INIT;
    struct lab_cut lab;
    struct pt_cut_test tests[8];
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_TEST});
    lab.units.fail_after = 2;
    uint32_t n = lab_tests("a.py::x a.py::y a.py::z", &lab.next, tests);
    cr_assert_eq(pt_cut_add(lab.cut, "a.py", tests, n, PT_NONE, &err), -1);
    cr_assert_str_eq(err.msg, "enough");
    cr_assert_eq(lab.units.n, 1);
    lab_destroy(&lab);
}

/* Node ids are no language: whatever is in them, the scope says where the class ends. */
Test(cut, odd_node_ids)
{
    struct lab_cut lab;
    struct pt_cut_test tests[] = {
        {.test = {.test = 0, .nodeid = (char[]){"a.py::K::t[a::b]"}}, .traits = {.scope = 7}},
        {.test = {.test = 1, .nodeid = (char[]){"a.py::K::t[\xff\n]"}}, .traits = {.scope = 7}},
        {.test = {.test = 2, .nodeid = (char[]){"a.py"}}, .traits = {.scope = 999}},
        {.test = {.test = 3, .nodeid = (char[]){""}}},
        {.test = {.test = 4, .nodeid = (char[]){"::"}}, .traits = {.group = ""}},
        {.test = {.test = 5, .nodeid = (char[]){"a.py::t[::x]"}}},
    };
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_SCOPE});
    lab.next = 6;
    cr_assert_eq(pt_cut_add(lab.cut, "a.py", tests, 6, PT_NONE, NULL), 0);
    lab_end(&lab);
    cr_assert_str_eq(lab.units.text, "a.py::K::t[a::b] a.py::K::t[\xff\n]|a.py a.py::t[::x]||::");
    lab_destroy(&lab);
    for (int dist = PT_DIST_FILE; dist <= PT_DIST_EACH; dist++) {
        lab_create(&lab, (struct pt_cut_spec){.dist = (enum pt_dist)dist, .split = true, .shuffle = true});
        lab.next = 6;
        cr_assert_eq(pt_cut_add(lab.cut, "a.py", tests, 6, PT_NONE, NULL), 0);
        lab_end(&lab);
        lab_destroy(&lab);
    }
}

/* Half a million tests, in few files, in many, in groups: each dist takes them in a moment. */
static void many(struct pt_cut_spec spec, uint32_t per_file, bool groups)
{
    enum { N = 500000 };
    struct lab_cut lab;
    struct pt_cut_test *tests = calloc(per_file, sizeof(*tests));
    char *ids = malloc(per_file * 64), path[32], group[16];
    lab_create(&lab, spec);
    for (uint32_t at = 0; at < N; at += per_file) {
        snprintf(path, sizeof(path), "t/f%u.py", at / per_file);
        for (uint32_t i = 0; i < per_file; i++) {
            char *id = ids + i * 64;
            snprintf(id, 64, "%s::K%u::t[%u]", path, i / 10, at + i);
            tests[i] = (struct pt_cut_test){.test = {.test = N - 1 - at - i, .nodeid = id}};
            tests[i].traits.scope = (uint32_t)(strchr(id, '[') - id - 3);
            snprintf(group, sizeof(group), "g%u", at / per_file % 1000);
            tests[i].traits.group = groups && i % 2 ? group : NULL;
            tests[i].traits.weight = groups ? 1 + i % 7 : 0;
        }
        cr_assert_eq(pt_cut_add(lab.cut, path, tests, per_file, PT_NONE, NULL), 0);
    }
    lab.next = N;
    lab_end(&lab);
    lab_destroy(&lab);
    free(tests);
    free(ids);
}

Test(cut, half_a_million_tests)
{
    many((struct pt_cut_spec){.dist = PT_DIST_FILE, .split = true}, 10, false);
    many((struct pt_cut_spec){.dist = PT_DIST_FILE, .split = true, .shuffle = true}, 500000, true);
    many((struct pt_cut_spec){.dist = PT_DIST_SCOPE, .wait = true}, 50000, false);
    many((struct pt_cut_spec){.dist = PT_DIST_GROUP}, 100, true);
    many((struct pt_cut_spec){.in_order = true}, 2, false);
}
