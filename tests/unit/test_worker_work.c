/* SPDX-License-Identifier: Apache-2.0 */
#include "fail_alloc.h"
#include "remote/worker/work.c"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* Three files with 2, 3 and 1 tests, numbered 10, 11 | 20, 21, 22 | 30. */
static struct pt_work make_work(void)
{
    static const uint32_t counts[] = {2, 3, 1};
    struct pt_bundle bundle = {.bundle = 5, .attempt = 2, .timeout_ms = 100, .nfiles = 3};
    struct pt_work work;
    bundle.files = calloc(3, sizeof(*bundle.files));
    for (uint32_t f = 0; f < 3; f++) {
        bundle.files[f].path = strdup(f == 0 ? "a.py" : f == 1 ? "b.py" : "c.py");
        bundle.files[f].tests = calloc(counts[f], sizeof(*bundle.files[f].tests));
        bundle.files[f].ntests = counts[f];
        for (uint32_t k = 0; k < counts[f]; k++)
            bundle.files[f].tests[k] =
                (struct pt_bundle_test){.test = (f + 1) * 10 + k, .occurrence = k, .nodeid = strdup("x")};
    }
    cr_assert_eq(pt_work_init(&work, &bundle, NULL), 0);
    return work;
}

/* What the next runner would get, as "a.py:10,11 b.py:20 ". */
static const char *rest(struct pt_work *work)
{
    static char text[256];
    struct pt_buf buf = {0};
    struct pt_bundle bundle;
    struct pt_reader body;
    uint8_t type;
    size_t total;
    strcpy(text, "");
    if (!work->left)
        return "nothing";
    cr_assert_eq(pt_work_rest(work, &buf), 0);
    cr_assert_eq(pt_frame_next(buf.data, buf.len, PT_MAX_FRAME, &type, &body, &total), 1);
    cr_assert_eq(type, PT_R_BUNDLE);
    cr_assert_eq(pt_bundle_decode(&body, &bundle, NULL), 0);
    cr_assert(bundle.bundle == 5 && bundle.attempt == 2 && bundle.timeout_ms == 100);
    for (uint32_t f = 0; f < bundle.nfiles; f++) {
        strcat(text, bundle.files[f].path);
        for (uint32_t k = 0; k < bundle.files[f].ntests; k++)
            sprintf(text + strlen(text), "%c%u", k ? ',' : ':', bundle.files[f].tests[k].test);
        strcat(text, " ");
    }
    pt_bundle_fini(&bundle);
    pt_buf_fini(&buf);
    return text;
}

Test(work, a_test_dies)
{
    struct pt_work work = make_work();
    struct pt_death death = {0};
    cr_assert_str_eq(rest(&work), "a.py:10,11 b.py:20,21,22 c.py:30 ");
    cr_assert_eq(pt_work_importing(&work, 0), 0);
    cr_assert_eq(pt_work_started(&work, 10, PT_PHASE_SETUP), 0);
    cr_assert_eq(pt_work_reported(&work, 10), 0);
    cr_assert_eq(pt_work_importing(&work, 1), 0);
    cr_assert_eq(pt_work_started(&work, 20, PT_PHASE_SETUP), 0);
    cr_assert(pt_work_moved(&work, 20, PT_PHASE_CALL));
    cr_assert(pt_work_died(&work, &death));
    cr_assert(death.test == 20 && death.file == PT_NONE && death.phase == PT_PHASE_CALL && death.bundle == 5);
    cr_assert_str_eq(rest(&work), "a.py:11 b.py:21,22 c.py:30 ");
    pt_work_fini(&work);
}

Test(work, a_file_dies_by_the_number_the_second_runner_knows)
{
    struct pt_work work = make_work();
    struct pt_death death = {0};
    rest(&work);
    for (uint32_t test = 10; test < 12; test++)
        cr_assert_eq(pt_work_reported(&work, test), 0);
    cr_assert_str_eq(rest(&work), "b.py:20,21,22 c.py:30 ");
    cr_assert_eq(pt_work_importing(&work, 2), -1, "only two files are left");
    cr_assert_eq(pt_work_importing(&work, 0), 0);
    cr_assert(pt_work_died(&work, &death));
    cr_assert(death.test == PT_NONE && death.file == 1 && death.phase == PT_PHASE_COLLECT);
    cr_assert_str_eq(death.path, "b.py");
    cr_assert_str_eq(rest(&work), "c.py:30 ");
    cr_assert_eq(pt_work_started(&work, 30, PT_PHASE_TEARDOWN), 0);
    cr_assert(pt_work_died(&work, &death));
    cr_assert_str_eq(rest(&work), "nothing");
    pt_work_fini(&work);
}

Test(work, between_tests_nothing_is_lost)
{
    struct pt_work work = make_work();
    struct pt_death death = {0};
    rest(&work);
    cr_assert_eq(pt_work_started(&work, 10, PT_PHASE_CALL), 0);
    cr_assert_eq(pt_work_reported(&work, 10), 0);
    cr_assert_not(pt_work_died(&work, &death));
    cr_assert(death.test == PT_NONE && death.file == PT_NONE && death.phase == PT_PHASE_SESSION);
    cr_assert_str_eq(rest(&work), "a.py:11 b.py:20,21,22 c.py:30 ");
    pt_work_fini(&work);
    cr_assert_not(pt_work_died(&work, &death));
    cr_assert_eq(death.bundle, PT_NONE, "no bundle at all");
}

Test(work, what_has_not_begun_can_be_taken)
{
    struct pt_work work = make_work();
    struct pt_death death = {0};
    const uint32_t asked[] = {10, 30, 99, 11, 21, 21, 20};
    uint32_t given[7];
    rest(&work);
    cr_assert_eq(pt_work_reported(&work, 10), 0);
    cr_assert_eq(pt_work_started(&work, 20, PT_PHASE_CALL), 0);
    cr_assert_eq(pt_work_take(&work, asked, 7, given), 3);
    cr_assert(given[0] == 30 && given[1] == 11 && given[2] == 21, "not what is told or runs, nothing twice");
    cr_assert_eq(work.left, 2);
    cr_assert_str_eq(rest(&work), "b.py:20,22 ");
    cr_assert_eq(pt_work_importing(&work, 0), 0);
    cr_assert(pt_work_died(&work, &death), "the file takes what is left of it");
    cr_assert_eq(work.left, 0);
    cr_assert_eq(pt_work_take(&work, asked, 7, given), 0);
    pt_work_fini(&work);
    cr_assert_eq(pt_work_take(&work, asked, 7, given), 0, "no bundle");
}

Test(work, what_cannot_be_true_is_refused)
{
    struct pt_work work = make_work();
    rest(&work);
    cr_assert_not(pt_work_moved(&work, PT_NONE, PT_PHASE_CALL));
    cr_assert_eq(pt_work_started(&work, 20, PT_PHASE_SETUP), 0);
    cr_assert_not(pt_work_moved(&work, 10, PT_PHASE_CALL), "it does not run");
    cr_assert_not(pt_work_moved(&work, 20, PT_PHASE_COLLECT));
    cr_assert_not(pt_work_moved(&work, 20, PT_PHASE_SESSION));
    cr_assert_not(pt_work_moved(&work, 20, 0x100 + PT_PHASE_CALL));
    cr_assert_eq(work.phase, PT_PHASE_SETUP);
    cr_assert_eq(pt_work_started(&work, 99, PT_PHASE_CALL), -1);
    cr_assert_eq(pt_work_started(&work, 10, PT_PHASE_COLLECT), -1);
    cr_assert_eq(pt_work_started(&work, 10, PT_PHASE_SESSION), -1);
    cr_assert_eq(pt_work_reported(&work, 12), -1);
    cr_assert_eq(pt_work_reported(&work, 11), 0);
    cr_assert_eq(pt_work_reported(&work, 11), 1, "told once");
    cr_assert_eq(pt_work_started(&work, 11, PT_PHASE_SETUP), 1);
    cr_assert_eq(work.test, PT_NONE, "a test that was told does not die again");
    cr_assert_eq(work.left, 5);
    pt_work_fini(&work);
    cr_assert_eq(pt_work_reported(&work, 11), -1, "no bundle");
}

Test(work, an_empty_bundle_is_done)
{
    struct pt_work work;
    struct pt_bundle bundle = {.bundle = 1};
    cr_assert_eq(pt_work_init(&work, &bundle, NULL), 0);
    cr_assert_str_eq(rest(&work), "nothing");
    cr_assert_eq(pt_work_started(&work, 0, PT_PHASE_CALL), -1);
    pt_work_fini(&work);
}

/* Without memory there is no bundle, or no rest, and never a test that is told for nothing. */
Test(work, every_allocation_fails)
{
    struct pt_work whole = make_work();
    for (long n = 1;; n++) {
        struct pt_bundle bundle = {.bundle = 1, .nfiles = 1};
        struct pt_work work;
        struct pt_buf out = {0};
        bundle.files = calloc(1, sizeof(*bundle.files));
        fail_at = n;
        fail_hit = false;
        int rc = pt_work_init(&work, &bundle, NULL);
        if (rc == 0)
            rc = pt_work_rest(&whole, &out);
        fail_at = 0;
        cr_assert_eq(rc, fail_hit ? -1 : 0);
        cr_assert_eq(whole.left, 6);
        pt_work_fini(&work);
        pt_buf_fini(&out);
        if (!fail_hit)
            break;
    }
    pt_work_fini(&whole);
}

Test(work, who_failed_is_not_hung)
{
    struct pt_work work = make_work();
    cr_assert_not(pt_work_hung(&work, 10, PT_PHASE_TEARDOWN));
    cr_assert_eq(pt_work_failed(&work, 10, PT_PHASE_SETUP), -1, "it does not run");
    cr_assert_eq(pt_work_started(&work, 10, PT_PHASE_SETUP), 0);
    cr_assert(pt_work_hung(&work, 10, PT_PHASE_SETUP) && pt_work_hung(&work, 10, PT_PHASE_CALL));
    cr_assert_not(pt_work_hung(&work, 11, PT_PHASE_CALL));
    cr_assert_not(pt_work_hung(&work, PT_NONE, PT_PHASE_CALL));
    cr_assert(pt_work_moved(&work, 10, PT_PHASE_CALL));
    cr_assert_not(pt_work_hung(&work, 10, PT_PHASE_SETUP), "it left that phase");
    cr_assert(pt_work_hung(&work, 10, PT_PHASE_CALL));
    cr_assert_eq(pt_work_failed(&work, 99, PT_PHASE_CALL), -1);
    cr_assert_eq(pt_work_failed(&work, 10, PT_PHASE_COLLECT), -1);
    cr_assert_eq(pt_work_failed(&work, 10, PT_PHASE_SESSION), -1);
    cr_assert_eq(pt_work_failed(&work, 10, PT_PHASE_CALL), 1);
    cr_assert_not(pt_work_hung(&work, 10, PT_PHASE_CALL));
    cr_assert_not(pt_work_hung(&work, 10, PT_PHASE_TEARDOWN));
    cr_assert_eq(pt_work_reported(&work, 10), 0);
    cr_assert_eq(pt_work_failed(&work, 10, PT_PHASE_CALL), 0, "it was told");
    cr_assert_eq(pt_work_started(&work, 11, PT_PHASE_SETUP), 0);
    cr_assert(pt_work_hung(&work, 11, PT_PHASE_CALL));
    pt_work_fini(&work);
}
