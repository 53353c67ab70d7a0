/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails once: a message, and nothing leaked. */
#include "fail_alloc.h"

#include "src/cut.c"
#include "src/cut_parts.c"
#include "src/cut_shuffle.c"
#include "src/cut_units.c"
#include "src/interned.c"

#include <criterion/criterion.h>

static int count(void *arg, const struct pt_plan_unit *unit, struct pt_err *err)
{
    (void)err;
    for (uint32_t i = 0; i < unit->nfiles; i++)
        *(uint32_t *)arg += unit->files[i].ntests;
    return 0;
}

static bool add_all(struct pt_cut *cut, struct pt_err *err)
{
    char path[16], id[2][32], group[] = "g";
    const uint32_t order[] = {5, 3, 1};
    for (uint32_t f = 0; f < 70; f++) {
        snprintf(path, sizeof(path), "f%u.py", f % 60);
        for (uint32_t i = 0; i < 2; i++)
            snprintf(id[i], sizeof(id[i]), "%s::t%u", path, i);
        struct pt_cut_test tests[] = {
            {.test = {.test = 2 * f, .nodeid = id[0]}, .traits = {.group = group}},
            {.test = {.test = 2 * f + 1, .nodeid = id[1]}, .traits = {.weight = f % 3}}};
        if (pt_cut_add(cut, path, tests, 2, PT_NONE, err) < 0)
            return false;
    }
    return pt_cut_order(cut, order, 3, err) == 0 && pt_cut_end(cut, err) == 0;
}

static bool run(struct pt_cut_spec spec)
{
    struct pt_err err = PT_ERR_INIT;
    uint32_t tests = 0;
    struct pt_cut *cut = pt_cut_create(&spec, count, &tests, &err);
    bool whole = cut && add_all(cut, &err);
    if (whole)
        cr_assert_eq(tests, 140);
    else
        cr_assert_str_eq(err.msg, "units of tests: out of memory");
    pt_cut_destroy(cut);
    return whole;
}

/* Seconds are known of one file, so that it is held back and cut. */
static struct pt_history *history(void)
{
    struct pt_history *h = pt_history_create(NULL, NULL);
    struct pt_history_file what = {.execution = 60, .count = 2};
    cr_assert_eq(pt_history_assume(h, "f7.py", &what), 0);
    return h;
}

Test(cut_memory, every_allocation)
{
    struct pt_history *h = history();
    const struct pt_cut_spec specs[] = {
        {.dist = PT_DIST_FILE, .split = true, .history = h},
        {.dist = PT_DIST_FILE, .split = true, .wait = true, .shuffle = true, .slots = 3, .history = h},
        {.dist = PT_DIST_SCOPE},
        {.dist = PT_DIST_GROUP},
        {.dist = PT_DIST_TEST, .wait = true},
        {.in_order = true},
    };
    for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++)
        for (long n = 1;; n++) {
            fail_at = n;
            fail_hit = false;
            bool whole = run(specs[i]);
            fail_at = 0;
            cr_assert_eq(whole, !fail_hit);
            if (!fail_hit)
                break;
        }
    pt_history_destroy(h);
}
