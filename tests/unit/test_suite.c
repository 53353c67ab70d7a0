/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "suite.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct pt_suite *make(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_suite *s = pt_suite_create(&err);
    cr_assert_not_null(s, "%s", err.msg);
    return s;
}

Test(suite, an_empty_one_has_nothing)
{
    struct pt_suite *s = make();
    cr_expect_eq(pt_suite_tests(s), 0);
    cr_expect_eq(pt_suite_files(s), 0);
    cr_expect_null(pt_suite_get(s, 0));
    cr_expect_null(pt_suite_path(s, 0));
    cr_expect_null(pt_suite_get(s, PT_NONE));
    cr_expect_null(pt_suite_path(s, PT_NONE));
    pt_suite_destroy(s);
    pt_suite_destroy(NULL);
}

Test(suite, things_are_numbered_as_they_came)
{
    struct pt_suite *s = make();
    cr_expect_eq(pt_suite_file(s, "b.py"), 0);
    cr_expect_eq(pt_suite_file(s, "a.py"), 1);
    cr_expect_eq(pt_suite_file(s, "b.py"), 0, "a known file keeps its number");
    cr_expect_eq(pt_suite_add(s, 1, "a.py::t", 0), 0);
    cr_expect_eq(pt_suite_add(s, 0, "b.py::t", 0), 1);
    cr_expect_eq(pt_suite_add(s, 0, "b.py::t", 1), 2, "the same id may come twice in a file");
    cr_expect_eq(pt_suite_tests(s), 3);
    cr_expect_eq(pt_suite_files(s), 2);
    cr_expect_str_eq(pt_suite_path(s, 1), "a.py");
    const struct pt_suite_test *t = pt_suite_get(s, 2);
    cr_expect(t && strcmp(t->nodeid, "b.py::t") == 0 && t->file == 0 && t->occurrence == 1);
    cr_expect_null(pt_suite_get(s, 3));
    cr_expect_null(pt_suite_path(s, 2));
    pt_suite_destroy(s);
}

Test(suite, a_test_of_no_file_is_refused)
{
    struct pt_suite *s = make();
    cr_expect_eq(pt_suite_add(s, 0, "a.py::t", 0), PT_NONE);
    cr_expect_eq(pt_suite_add(s, PT_NONE, "a.py::t", 0), PT_NONE);
    pt_suite_file(s, "a.py");
    cr_expect_eq(pt_suite_add(s, 1, "a.py::t", 0), PT_NONE);
    cr_expect_eq(pt_suite_tests(s), 0);
    pt_suite_destroy(s);
}

Test(suite, strings_are_its_own)
{
    struct pt_suite *s = make();
    char path[16] = "a.py", nodeid[16] = "a.py::t";
    pt_suite_add(s, pt_suite_file(s, path), nodeid, 0);
    memset(path, 'x', 4);
    memset(nodeid, 'x', 7);
    cr_expect_str_eq(pt_suite_path(s, 0), "a.py");
    cr_expect_str_eq(pt_suite_get(s, 0)->nodeid, "a.py::t");
    pt_suite_destroy(s);
}

/* Grows its tables many times; every file is found again, before and after. */
Test(suite, many_files_are_told_apart)
{
    enum { FILES = 20000, TESTS = 3 };
    struct pt_suite *s = make();
    char path[64], nodeid[80];
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof(path), "d%u/test_%u.py", i % 7, i);
        cr_assert_eq(pt_suite_file(s, path), i);
        for (uint32_t k = 0; k < TESTS; k++) {
            snprintf(nodeid, sizeof(nodeid), "%s::t%u", path, k);
            cr_assert_eq(pt_suite_add(s, i, nodeid, 0), i * TESTS + k);
        }
    }
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof(path), "d%u/test_%u.py", i % 7, i);
        cr_assert_eq(pt_suite_file(s, path), i);
        cr_assert_str_eq(pt_suite_path(s, i), path);
        snprintf(nodeid, sizeof(nodeid), "%s::t2", path);
        cr_assert_str_eq(pt_suite_get(s, i * TESTS + 2)->nodeid, nodeid);
        cr_assert_eq(pt_suite_get(s, i * TESTS + 2)->file, i);
    }
    cr_expect_eq(pt_suite_files(s), FILES);
    cr_expect_eq(pt_suite_tests(s), FILES * TESTS);
    pt_suite_destroy(s);
}

Test(suite, any_path_is_a_path)
{
    static const char *const paths[] = {"", " ", "a", "a ", "A", "a\n", "\xc3\xa4", "\xff", "a/", "./a"};
    struct pt_suite *s = make();
    for (uint32_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        cr_expect_eq(pt_suite_file(s, paths[i]), i);
    for (uint32_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        cr_expect_eq(pt_suite_file(s, paths[i]), i);
    pt_suite_destroy(s);
}
