/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const struct pt_status_host hosts[] = {
    {.name = "h1", .state = "working", .slots = 2, .base = 0, .held = 3},
    {.name = "evil\n\x1b[2J", .state = "working", .slots = 1, .base = 2, .held = 1},
    {.name = "h3", .state = "connecting"},
};

static void check(const struct pt_status *s, int64_t now, const char *want)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    pt_status_print(s, hosts, 3, 7, now, f);
    fclose(f);
    cr_assert_str_eq(text, want, "GOT\n%s", text);
    free(text);
}

Test(status, what_runs_where_and_since_when)
{
    struct pt_status *s = pt_status_create();
    cr_assert_eq(pt_status_set(s, 0, 1, "a.py::x", 1000), 0);
    cr_assert_eq(pt_status_set(s, 1, 0, "b.py::y[\x07]", 500), 0);
    check(s, 13500,
          "status: 7 tests without a result\n"
          "h1: working, 2 slots, 3 bundles\n"
          "  gw0          -\n"
          "  gw1       12.5 s  a.py::x\n"
          "evil\\x0a\\x1b[2J: working, 1 slot, 1 bundle\n"
          "  gw2       13.0 s  b.py::y[\\x07]\n"
          "h3: connecting\n"
          "longest: b.py::y[\\x07], for 13.0 s on evil\\x0a\\x1b[2J (gw2)\n");
    cr_assert_eq(pt_status_set(s, 1, 0, NULL, 2000), 0);
    cr_assert_eq(pt_status_set(s, 0, 1, "a.py::z", 13000), 0);
    check(s, 12000,
          "status: 7 tests without a result\n"
          "h1: working, 2 slots, 3 bundles\n"
          "  gw0          -\n"
          "  gw1        0.0 s  a.py::z\n"
          "evil\\x0a\\x1b[2J: working, 1 slot, 1 bundle\n"
          "  gw2          -\n"
          "h3: connecting\n"
          "longest: a.py::z, for 0.0 s on h1 (gw1)\n");
    pt_status_lost(s, 0);
    pt_status_lost(s, 77);
    check(s, 12000,
          "status: 7 tests without a result\n"
          "h1: working, 2 slots, 3 bundles\n"
          "  gw0          -\n"
          "  gw1          -\n"
          "evil\\x0a\\x1b[2J: working, 1 slot, 1 bundle\n"
          "  gw2          -\n"
          "h3: connecting\n");
    pt_status_destroy(s);
}

Test(status, groups_are_shown_while_they_run_a_test)
{
    struct pt_status *s = pt_status_create();
    cr_assert_eq(pt_status_set(s, 0, 1, "a.py::x", 4000), 0);
    cr_assert_eq(pt_status_set_group(s, 0, 1, 3, 8, "b.py::y[\x07]", 1000), 0);
    cr_assert_eq(pt_status_set_group(s, 1, 0, 2, 9, "c.py::z", 2000), 0);
    check(s, 5000,
          "status: 7 tests without a result\n"
          "h1: working, 2 slots, 3 bundles\n"
          "  gw0          -\n"
          "  gw1        1.0 s  a.py::x\n"
          "  group 1 of 3 ranks     4.0 s  b.py::y[\\x07]\n"
          "evil\\x0a\\x1b[2J: working, 1 slot, 1 bundle\n"
          "  gw2          -\n"
          "  group 0 of 2 ranks     3.0 s  c.py::z\n"
          "h3: connecting\n"
          "longest: b.py::y[\\x07], for 4.0 s on h1 (group 1)\n");
    cr_assert_eq(pt_status_set_group(s, 0, 1, 0, 0, NULL, 0), 0);
    pt_status_end_bundle(s, 1, 9);
    pt_status_end_bundle(s, 7, 9);
    pt_status_end_bundle(NULL, 0, 9);
    check(s, 5000,
          "status: 7 tests without a result\n"
          "h1: working, 2 slots, 3 bundles\n"
          "  gw0          -\n"
          "  gw1        1.0 s  a.py::x\n"
          "evil\\x0a\\x1b[2J: working, 1 slot, 1 bundle\n"
          "  gw2          -\n"
          "h3: connecting\n"
          "longest: a.py::x, for 1.0 s on h1 (gw1)\n");
    pt_status_set_group(s, 0, 1, 3, 8, "b.py::y", 1000);
    pt_status_lost(s, 0);
    cr_assert_eq(pt_status_set_group(s, 0, 256, 3, 8, "b.py::y", 1000), -1);
    cr_assert_eq(pt_status_set_group(s, 0, 2, 0, 0, NULL, 0), 0, "nothing ran there");
    cr_assert_eq(pt_status_set_group(NULL, 0, 1, 3, 8, "b.py::y", 1000), 0);
    pt_status_destroy(s);
}

Test(status, what_is_no_slot)
{
    struct pt_status *s = pt_status_create();
    cr_assert_eq(pt_status_set(s, 0, UINT32_MAX, "x", 0), -1);
    cr_assert_eq(pt_status_set(s, UINT32_MAX, 0, "x", 0), -1);
    cr_assert_eq(pt_status_set(s, 0, 4, NULL, 0), 0, "nothing ran there");
    cr_assert_eq(pt_status_set(s, 0, 4, "beyond its slots", 0), 0);
    check(s, 0,
          "status: 7 tests without a result\n"
          "h1: working, 2 slots, 3 bundles\n"
          "  gw0          -\n"
          "  gw1          -\n"
          "evil\\x0a\\x1b[2J: working, 1 slot, 1 bundle\n"
          "  gw2          -\n"
          "h3: connecting\n");
    pt_status_destroy(s);
    pt_status_destroy(NULL);
}
