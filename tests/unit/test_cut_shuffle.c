/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_inside.h"
#include "cut_lab.h"

/* The reference values of SplitMix64 for the seed 1234567. */
Test(cut_shuffle, random_numbers_are_the_same_everywhere)
{
    uint64_t state = 1234567;
    cr_assert_eq(pt_cut_random(&state), 6457827717110365317u);
    cr_assert_eq(pt_cut_random(&state), 3203168211198807973u);
    cr_assert_eq(pt_cut_random(&state), 9817491932198370423u);
}

Test(cut_shuffle, bounded_numbers_are_equally_likely)
{
    uint64_t state = 1;
    const uint64_t bounds[] = {1, 2, 3, 7, 10};
    for (size_t b = 0; b < 5; b++) {
        uint32_t count[10] = {0};
        for (int i = 0; i < 100000; i++) {
            uint64_t v = pt_cut_bounded(&state, bounds[b]);
            cr_assert_lt(v, bounds[b]);
            count[v]++;
        }
        double want = 100000.0 / (double)bounds[b], chi = 0;
        for (uint64_t i = 0; i < bounds[b]; i++)
            chi += (count[i] - want) * (count[i] - want) / want;
        cr_assert_lt(chi, 30);
    }
    /* A bound that a plain remainder would favour the lower third of. */
    uint64_t low = 0, bound = UINT64_C(3) << 62;
    for (int i = 0; i < 30000; i++)
        low += pt_cut_bounded(&state, bound) < UINT64_C(1) << 62;
    cr_assert(low > 9500 && low < 10500, "%llu of 30000", (unsigned long long)low);
}

static char *mixed(uint64_t seed, enum pt_dist dist, const char *const *files)
{
    struct lab_cut lab;
    lab_create(&lab, (struct pt_cut_spec){.dist = dist, .shuffle = true, .seed = seed});
    for (; *files; files++)
        lab_add(&lab, *files);
    lab_end(&lab);
    char *text = strdup(lab.units.text);
    lab_destroy(&lab);
    return text;
}
#define MIXED(seed, dist, ...) mixed(seed, dist, (const char *const[]){__VA_ARGS__, NULL})

/* What a seed gave once it always gives. */
Test(cut_shuffle, a_seed_is_an_order)
{
    char *a = MIXED(42, PT_DIST_FILE, "a.py::1 a.py::K::2 a.py::3 a.py::K::4 a.py::5", "b.py::6", "c.py::7");
    char *again =
        MIXED(42, PT_DIST_FILE, "c.py::7", "a.py::1 a.py::K::2 a.py::3 a.py::K::4 a.py::5", "b.py::6");
    cr_assert_str_eq(a, again, "whatever order files come in");
    cr_assert_str_eq(a, "b.py::6|c.py::7|a.py::K::2 a.py::K::4 a.py::3 a.py::1 a.py::5");
    free(a);
    free(again);
}

Test(cut_shuffle, a_files_order_does_not_depend_on_others)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        char *alone = MIXED(seed, PT_DIST_FILE, "a.py::1 a.py::2 a.py::3 a.py::K::4 a.py::K::5");
        char *both =
            MIXED(seed, PT_DIST_FILE, "b.py::6 b.py::7", "a.py::1 a.py::2 a.py::3 a.py::K::4 a.py::K::5");
        cr_assert_not_null(strstr(both, alone));
        free(alone);
        free(both);
    }
}

/* Scopes stay together; each of the 2 orders of scopes times 3! times 2! comes as often as the others. */
Test(cut_shuffle, every_order_is_equally_likely)
{
    enum { ORDERS = 24, ROUNDS = 24000 };
    char *seen[ORDERS] = {NULL};
    uint32_t count[ORDERS] = {0};
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        char *text = MIXED(seed, PT_DIST_FILE, "a.py::1 a.py::K::4 a.py::2 a.py::K::5 a.py::3");
        int i = 0;
        while (i < ORDERS && seen[i] && strcmp(seen[i], text) != 0)
            i++;
        cr_assert_lt(i, ORDERS, "%s", text);
        if (seen[i])
            free(text);
        else
            seen[i] = text;
        count[i]++;
    }
    double chi = 0;
    for (int i = 0; i < ORDERS; i++) {
        chi += (count[i] - 1000.0) * (count[i] - 1000.0) / 1000.0;
        free(seen[i]);
    }
    cr_assert_lt(chi, 50, "24 orders, chi-square of 23 degrees: %f", chi);
}

Test(cut_shuffle, files_too)
{
    uint32_t first[3] = {0};
    for (uint64_t seed = 0; seed < 3000; seed++) {
        char *text = MIXED(seed, PT_DIST_TEST, "a.py::1", "b.py::2", "c.py::3");
        first[text[0] - 'a']++;
        free(text);
    }
    for (int i = 0; i < 3; i++)
        cr_assert(first[i] > 880 && first[i] < 1120, "%u", first[i]);
}

Test(cut_shuffle, sequential_and_groups_follow_it)
{
    struct lab_cut lab;
    lab_create(&lab, (struct pt_cut_spec){.in_order = true, .shuffle = true, .seed = 42});
    lab_add(&lab, "a.py::1 a.py::K::2 a.py::3 a.py::K::4 a.py::5");
    lab_add(&lab, "b.py::6");
    lab_add(&lab, "c.py::7");
    lab_end(&lab);
    cr_assert_str_eq(lab.units.text, "b.py::6 >c.py::7 >a.py::K::2 a.py::K::4 a.py::3 a.py::1 a.py::5");
    lab_destroy(&lab);
    char *groups = MIXED(42, PT_DIST_GROUP, "a.py::1@g a.py::K::2@g", "b.py::6@g", "c.py::7");
    cr_assert_str_eq(groups, "b.py::6 >a.py::K::2 a.py::1|c.py::7");
    free(groups);
}
