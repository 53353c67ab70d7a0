/* SPDX-License-Identifier: Apache-2.0 */
#include "rerun.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct pt_report of(unsigned outcome)
{
    return (struct pt_report){.nodeid = "a.py::x", .outcome = (uint8_t)outcome, .phase = PT_PHASE_CALL};
}

Test(rerun, only_what_went_wrong)
{
    struct pt_rerun *r = pt_rerun_create(1, NULL, 0, NULL);
    for (unsigned o = PT_OUTCOME_NONE; o < PT_OUTCOMES; o++) {
        struct pt_report report = of(o);
        bool want = o == PT_OUTCOME_FAILED || o == PT_OUTCOME_ERROR || o == PT_OUTCOME_CRASHED ||
                    o == PT_OUTCOME_TIMEOUT;
        cr_assert_eq(pt_rerun_wanted(r, 1, &report), want, "%s", pt_outcome_name(o));
        cr_assert_not(pt_rerun_wanted(NULL, 1, &report));
    }
    pt_rerun_destroy(r);
}

Test(rerun, so_often_and_no_more)
{
    struct pt_report report = of(PT_OUTCOME_FAILED);
    for (uint32_t times = 0; times < 4; times++) {
        struct pt_rerun *r = pt_rerun_create(times, NULL, 0, NULL);
        for (uint32_t tries = 1; tries < 7; tries++)
            cr_assert_eq(pt_rerun_wanted(r, tries, &report), tries <= times, "%u of %u", tries, times);
        pt_rerun_destroy(r);
    }
    struct pt_rerun *r = pt_rerun_create(UINT32_MAX, NULL, 0, NULL);
    cr_assert_not(pt_rerun_wanted(r, PT_RERUN_MAX + 1, &report));
    pt_rerun_destroy(r);
}

Test(rerun, not_a_file_that_cannot_be_imported_nor_the_end_of_the_session)
{
    struct pt_rerun *r = pt_rerun_create(3, NULL, 0, NULL);
    struct pt_report report = of(PT_OUTCOME_ERROR);
    report.phase = PT_PHASE_COLLECT;
    cr_assert_not(pt_rerun_wanted(r, 1, &report));
    report = of(PT_OUTCOME_FAILED);
    report.stop = "enough";
    cr_assert_not(pt_rerun_wanted(r, 1, &report));
    pt_rerun_destroy(r);
}

Test(rerun, any_expression_in_any_text)
{
    char *only[] = {(char *)"^E +Connection(Reset|Refused)Error", (char *)"Time ?out"};
    struct pt_rerun *r = pt_rerun_create(1, only, 2, NULL);
    struct pt_report report = of(PT_OUTCOME_FAILED);
    cr_assert_not(pt_rerun_wanted(r, 1, &report), "it says nothing");
    report.message = "assert 1 == 2";
    report.longrepr = "def x():\n>   assert 1 == 2\nE   assert 1 == 2";
    cr_assert_not(pt_rerun_wanted(r, 1, &report));
    report.longrepr = "def x():\n>   f()\nE   ConnectionResetError: gone";
    cr_assert(pt_rerun_wanted(r, 1, &report), "begins a line");
    report.longrepr = "saw ConnectionResetError";
    cr_assert_not(pt_rerun_wanted(r, 1, &report));
    report.message = "Timeout: 3 s";
    cr_assert(pt_rerun_wanted(r, 1, &report));
    report.message = NULL;
    struct pt_problem problem = {.longrepr = "Time out"};
    report.problems = &problem;
    report.nproblems = 1;
    cr_assert(pt_rerun_wanted(r, 1, &report));
    pt_rerun_destroy(r);
}

Test(rerun, a_long_text_is_looked_through_from_its_end)
{
    char *only[] = {(char *)"needle"};
    struct pt_rerun *r = pt_rerun_create(1, only, 1, NULL);
    struct pt_report report = of(PT_OUTCOME_FAILED);
    size_t n = PT_RERUN_TEXTS + 4096;
    char *text = malloc(n + 1);
    memset(text, 'x', n);
    text[n] = '\0';
    memcpy(text, "needle", 6);
    report.longrepr = text;
    cr_assert_not(pt_rerun_wanted(r, 1, &report));
    memcpy(text + n - 6, "needle", 6);
    cr_assert(pt_rerun_wanted(r, 1, &report));
    free(text);
    pt_rerun_destroy(r);
}

Test(rerun, a_bad_expression_is_named)
{
    char *only[] = {(char *)"fine", (char *)"a(b"};
    struct pt_err err = PT_ERR_INIT;
    cr_assert_null(pt_rerun_create(1, only, 2, &err));
    cr_assert_eq(err.kind, PT_ERR_USAGE);
    cr_assert_not_null(strstr(err.msg, "--only-rerun: 'a(b'"), "%s", err.msg);
    pt_rerun_destroy(NULL);
}
