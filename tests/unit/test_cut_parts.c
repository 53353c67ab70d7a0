/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_lab.h"

static struct pt_history *history(void)
{
    struct pt_history *h = pt_history_create(NULL, NULL);
    cr_assert_not_null(h);
    return h;
}

static void imported(struct pt_history *h, const char *file, double seconds)
{
    cr_assert_eq(pt_history_imported(h, "h", file, seconds, NULL, 0), 0);
}

/* All at once, as an ordinary run gives it. */
static void cut_both(struct lab_cut *lab, const struct pt_history *h, uint32_t slots,
                     const char *const *words)
{
    lab_create(lab, (struct pt_cut_spec){
                        .dist = PT_DIST_FILE, .split = true, .wait = true, .slots = slots, .history = h});
    for (; *words; words++)
        lab_add(lab, *words);
    lab_end(lab);
}
#define CUT(h, slots, ...) cut_both(&lab, h, slots, (const char *const[]){__VA_ARGS__, NULL})

static double longest(const struct lab_cut *lab)
{
    double most = 0;
    for (uint32_t i = 0; i < lab->units.n; i++)
        most = fmax(most, lab->units.seconds[i]);
    return most;
}

/* Sixty seconds in one file, five in a hundred others, four slots: no part is above half of what a slot does.
 */
Test(cut_parts, a_long_file_is_cut)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    char file[32], words[64];
    lab_knows(h, "long.py", "t", 60, 1.0, 0);
    imported(h, "long.py", 0.05);
    lab_create(&lab, (struct pt_cut_spec){
                         .dist = PT_DIST_FILE, .split = true, .wait = true, .slots = 4, .history = h});
    lab_add(&lab, lab_words("long.py", "t", 60));
    for (int i = 0; i < 100; i++) {
        snprintf(file, sizeof(file), "s%d.py", i);
        lab_knows(h, file, "t", 1, 0.05, 0);
        snprintf(words, sizeof(words), "%s::t0", file);
        lab_add(&lab, words);
    }
    lab_end(&lab);
    uint32_t parts = lab.units.n - 100;
    cr_assert(parts >= 7 && parts <= 10, "%u parts", parts);
    cr_assert_leq(longest(&lab), 8.3);
    cr_assert_float_eq(lab.units.sum, 60 + 100 * 0.052 + 60 * 0.002 + parts * 0.05, 0.01);
    cr_assert_str_eq(lab.units.text + strlen(lab.units.text) - 8, "9.py::t0");
    cr_assert_eq(lab.units.sizes[0], lab.units.atoms[0], "any test of it can be taken by an idle slot");
    lab_destroy(&lab);
    pt_history_destroy(h);
}

Test(cut_parts, what_is_short_enough_stays_whole)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    lab_knows(h, "a.py", "t", 10, 0.09, 0);
    lab_knows(h, "b.py", "t", 20, 1, 0);
    CUT(h, 8, lab_words("a.py", "t", 10));
    cr_assert_eq(lab.units.n, 1, "below a second nothing is cut");
    lab_destroy(&lab);
    lab_create(&lab, (struct pt_cut_spec){
                         .dist = PT_DIST_FILE, .split = true, .wait = true, .slots = 1, .history = h});
    for (int i = 0; i < 5; i++)
        lab_add(&lab, lab_words("b.py", "t", 20));
    lab_end(&lab);
    cr_assert_eq(lab.units.n, 1, "one file, one slot: every cut only costs");
    lab_destroy(&lab);
    pt_history_destroy(h);
}

Test(cut_parts, never_means_never)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    lab_knows(h, "a.py", "t", 60, 1, 0);
    lab_create(&lab, (struct pt_cut_spec){.dist = PT_DIST_FILE, .wait = true, .slots = 4, .history = h});
    lab_add(&lab, lab_words("a.py", "t", 60));
    lab_end(&lab);
    cr_assert_eq(lab.units.n, 1);
    cr_assert_null(lab.units.last.atoms, "not by an idle slot either");
    cr_assert_float_eq(lab.units.seconds[0], 60.12, 0.01);
    lab_destroy(&lab);
    pt_history_destroy(h);
}

/* What every part has to set up again speaks against parts. */
Test(cut_parts, dear_fixtures_make_fewer_parts)
{
    struct lab_cut lab;
    uint32_t before = 1000;
    const double fixed[] = {0, 2, 8, 40, 400};
    for (size_t i = 0; i < 5; i++) {
        struct pt_history *h = history();
        lab_knows(h, "a.py", "t", 40, 1, fixed[i]);
        CUT(h, 8, lab_words("a.py", "t", 40));
        cr_assert_leq(lab.units.n, before);
        cr_assert_float_eq(lab.units.sum, 40.08 + lab.units.n * fixed[i], 0.1);
        before = lab.units.n;
        lab_destroy(&lab);
        pt_history_destroy(h);
    }
    cr_assert_eq(before, 1);
}

/* Import counts as the fixtures do. */
Test(cut_parts, a_dear_import_makes_one_part)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    lab_knows(h, "a.py", "t", 10, 1, 0);
    imported(h, "a.py", 300);
    CUT(h, 8, lab_words("a.py", "t", 10));
    cr_assert_eq(lab.units.n, 1);
    cr_assert_float_eq(lab.units.seconds[0], 310, 0.1);
    lab_destroy(&lab);
    pt_history_destroy(h);
}

/* Six classes of four seconds: cut between them. One of sixty: cut, as nothing else helps. */
Test(cut_parts, classes_stay_whole_unless_they_are_the_long_part)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    char words[2048] = "", prefix[32];
    for (int k = 0; k < 6; k++) {
        snprintf(prefix, sizeof(prefix), "K%d::t", k);
        lab_knows(h, "a.py", prefix, 4, 1, 0);
        sprintf(words + strlen(words), "%s%s", k ? " " : "", lab_words("a.py", prefix, 4));
    }
    CUT(h, 2, words);
    cr_assert_gt(lab.units.n, 1);
    for (uint32_t i = 0; i < lab.units.n; i++) {
        cr_assert_eq(lab.units.sizes[i] % 4, 0);
        cr_assert_eq(lab.units.atoms[i] * 4, lab.units.sizes[i]);
    }
    lab_destroy(&lab);
    lab_knows(h, "b.py", "K::t", 60, 1, 0);
    CUT(h, 4, lab_words("b.py", "K::t", 60));
    cr_assert_gt(lab.units.n, 4);
    lab_destroy(&lab);
    pt_history_destroy(h);
}

/* A class that nothing is known of is one atom; functions are one each; a group is never parted. */
Test(cut_parts, atoms_of_what_is_not_known)
{
    struct lab_cut lab;
    CUT(NULL, 4, "a.py::f a.py::g[1] a.py::g[2] a.py::K::x a.py::K::y a.py::L::x a.py::h");
    cr_assert_eq(lab.units.n, 1);
    cr_assert_eq(lab.units.atoms[0], 6);
    lab_destroy(&lab);
    CUT(NULL, 4, "a.py::a a.py::b@g a.py::c a.py::d@h a.py::e@g a.py::f a.py::i@h a.py::j a.py::k@k");
    cr_assert_eq(lab.units.atoms[0], 4, "a | b .. i, as two groups overlap | j | k");
    lab_destroy(&lab);
}

/* A function whose first parameter sets up for the others (a module fixture) stays whole while it is short.
 */
Test(cut_parts, parameters_that_share_a_set_up_stay_together)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    char words[4096];
    lab_knows(h, "a.py", "f", 10, 0.4, 0);
    lab_knows(h, "a.py", "g[", 10, 0.1, 0.5);
    snprintf(words, sizeof(words), "%s", lab_words("a.py", "f", 10));
    sprintf(words + strlen(words), " %s", lab_words("a.py", "g[", 10));
    CUT(h, 1, words);
    cr_assert_eq(lab.units.n, 1);
    cr_assert_eq(lab.units.atoms[0], 11, "ten of f, all of g");
    lab_destroy(&lab);
    pt_history_destroy(h);
}

Test(cut_parts, groups_are_not_parted_by_parts)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    char words[4096] = "";
    lab_knows(h, "a.py", "t", 40, 1, 0);
    for (int i = 0; i < 40; i++)
        sprintf(words + strlen(words), "%sa.py::t%d%s", i ? " " : "", i, i == 5 || i == 30 ? "@g" : "");
    CUT(h, 8, words);
    cr_assert_geq(lab.units.n, 3);
    cr_assert_geq(longest(&lab), 26);
    lab_destroy(&lab);
    pt_history_destroy(h);
}

Test(cut_parts, exclusive_tests_are_not_cut)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    char words[4096] = "";
    lab_knows(h, "a.py", "t", 40, 1, 0);
    for (int i = 0; i < 40; i++)
        sprintf(words + strlen(words), "%sa.py::t%d!", i ? " " : "", i);
    CUT(h, 8, words);
    cr_assert_eq(lab.units.n, 1);
    lab_destroy(&lab);
    pt_history_destroy(h);
}

/* A new test of a known file takes what the others take; too many new ones, and nothing is known. */
Test(cut_parts, new_tests)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    lab_knows(h, "a.py", "t", 3, 1, 0);
    CUT(h, 1, "a.py::t0 a.py::t1 a.py::t2 a.py::new");
    cr_assert_float_eq(lab.units.seconds[0], 4, 0.02);
    lab_destroy(&lab);
    CUT(h, 1, "a.py::t0 b.py::x");
    lab_destroy(&lab);
    pt_history_destroy(h);
}

/* What Testplan's file says of a whole file is enough to cut it. */
Test(cut_parts, by_what_others_said)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    struct pt_history_file what = {.execution = 60, .setup = 0.1, .teardown = 0.1, .count = 60};
    cr_assert_eq(pt_history_assume(h, "a.py", &what), 0);
    CUT(h, 4, lab_words("a.py", "t", 60));
    cr_assert(lab.units.n == 8 || lab.units.n == 9, "%u parts", lab.units.n);
    cr_assert_float_eq(lab.units.sum, 60 + lab.units.n * 0.2, 0.01);
    lab_destroy(&lab);
    pt_history_destroy(h);
}

/* --- streaming --- */

static void stream(struct lab_cut *lab, const struct pt_history *h, uint32_t slots)
{
    lab_create(lab, (struct pt_cut_spec){.dist = PT_DIST_FILE, .split = true, .slots = slots, .history = h});
}

/* 200 s on two slots: share is 50 s at most. A file of 10 s may yet be one to cut until 40 s have come. */
Test(cut_parts, a_file_is_held_back_until_it_is_decided)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    char file[16];
    struct pt_history_file what = {.execution = 10, .count = 10};
    for (int i = 0; i < 20; i++) {
        snprintf(file, sizeof(file), "f%d.py", i);
        cr_assert_eq(pt_history_assume(h, file, &what), 0);
    }
    what.execution = 0.5;
    cr_assert_eq(pt_history_assume(h, "short.py", &what), 0);
    what.execution = 300;
    cr_assert_eq(pt_history_assume(h, "long.py", &what), 0);
    stream(&lab, h, 2);
    lab_add(&lab, lab_words("short.py", "t", 10));
    cr_assert_eq(lab.units.n, 1, "short ones go at once");
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(lab.units.n, 1);
        snprintf(file, sizeof(file), "f%d.py", i);
        lab_add(&lab, lab_words(file, "t", 10));
    }
    cr_assert_eq(lab.units.n, 5, "whole");
    lab_add(&lab, lab_words("long.py", "t", 10));
    cr_assert_gt(lab.units.n, 6, "it is to be cut whatever comes");
    lab_end(&lab);
    lab_destroy(&lab);
    pt_history_destroy(h);
}

Test(cut_parts, slots_come_later)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    lab_knows(h, "a.py", "t", 60, 1, 0);
    stream(&lab, h, 0);
    lab_add(&lab, lab_words("a.py", "t", 60));
    cr_assert_eq(lab.units.n, 0);
    pt_cut_slots(lab.cut, 4);
    lab_add(&lab, "b.py::x");
    cr_assert_gt(lab.units.n, 5);
    lab_end(&lab);
    lab_destroy(&lab);
    stream(&lab, h, 0);
    lab_add(&lab, lab_words("a.py", "t", 60));
    lab_end(&lab);
    cr_assert_geq(lab.units.n, 4, "some slots are assumed");
    lab_destroy(&lab);
    pt_history_destroy(h);
}

/* Parts never lose or double a test, whatever is known and wherever groups lie. */
Test(cut_parts, every_test_once_in_any_case)
{
    static char words[8192];
    uint64_t state = 7;
    for (int round = 0; round < 400; round++) {
        struct pt_history *h = history();
        struct lab_cut lab;
        uint32_t n = 1 + (uint32_t)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33) % 60;
        words[0] = '\0';
        for (uint32_t i = 0; i < n; i++) {
            char id[64];
            uint32_t r = (uint32_t)((state = state * 6364136223846793005u + 1442695040888963407u) >> 33);
            snprintf(id, sizeof(id), "a.py::%s%st%u", r & 1 ? "K::" : "", r & 2 ? "g[" : "", i);
            sprintf(words + strlen(words), "%s%s%s", i ? " " : "", id,
                    r % 11 == 0   ? "@g"
                    : r % 13 == 0 ? "@h"
                                  : "");
            struct pt_took took = {r % 5 ? 0.01 : 3, (double)(r % 400) / 100, r % 7 ? 0 : -1};
            if (r % 4)
                cr_assert_eq(pt_history_saw(h, "h", "a.py", id, 0, &took), 0);
        }
        CUT(h, 1 + (uint32_t)round % 9, words);
        for (char *c = lab.units.text; *c; c++)
            *c = *c == '|' ? ' ' : *c;
        for (char *from = words, *to = words;; from++) { /* without the groups */
            if (*from == '@')
                from += 2;
            if (!(*to++ = *from))
                break;
        }
        cr_assert_str_eq(lab.units.text, words);
        lab_destroy(&lab);
        pt_history_destroy(h);
    }
}

/* --- what it is for: how late the run ends --- */

static int longest_first(const void *va, const void *vb)
{
    const double *a = va, *b = vb;
    return (*a < *b) - (*a > *b);
}

/* The end of the run over total / slots, when units go longest first to whoever is free. */
static double lateness(struct lab_cut *lab, uint32_t slots, double total)
{
    double ends[64] = {0}, last = 0;
    qsort(lab->units.seconds, lab->units.n, sizeof(lab->units.seconds[0]), longest_first);
    for (uint32_t i = 0; i < lab->units.n; i++) {
        uint32_t best = 0;
        for (uint32_t k = 1; k < slots; k++)
            best = ends[k] < ends[best] ? k : best;
        ends[best] += lab->units.seconds[i];
        last = fmax(last, ends[best]);
    }
    return last / (total / slots);
}

static double late(uint32_t slots, uint32_t tests, double call, double import, double fixture,
                   uint32_t others)
{
    struct pt_history *h = history();
    struct lab_cut lab;
    char file[32], words[64];
    lab_knows(h, "long.py", "t", tests, call, fixture);
    imported(h, "long.py", import);
    lab_create(&lab, (struct pt_cut_spec){
                         .dist = PT_DIST_FILE, .split = true, .wait = true, .slots = slots, .history = h});
    for (uint32_t i = 0; i < others; i++) {
        snprintf(file, sizeof(file), "s%u.py", i);
        lab_knows(h, file, "t", 1, 0.1, 0);
        snprintf(words, sizeof(words), "%s::t0", file);
        lab_add(&lab, words);
    }
    lab_add(&lab, lab_words("long.py", "t", tests));
    lab_end(&lab);
    double total = tests * (call + 0.002) + import + fixture + others * 0.102,
           ratio = lateness(&lab, slots, total);
    lab_destroy(&lab);
    pt_history_destroy(h);
    return ratio;
}

Test(cut_parts, the_run_does_not_end_late)
{
    cr_assert_lt(late(4, 60, 1, 0.05, 0, 100), 1.05);
    cr_assert_lt(late(2, 60, 1, 0.05, 0, 100), 1.05);
    cr_assert_lt(late(8, 60, 1, 0.05, 0, 100), 1.05);
    cr_assert_lt(late(4, 120, 0.5, 0.5, 0.5, 50), 1.15);
    cr_assert_lt(late(4, 60, 1, 0.05, 0, 0), 1.1);
    cr_assert_lt(late(16, 300, 0.1, 0.02, 0, 10), 1.1);
    cr_assert_lt(late(3, 50, 0.7, 0.1, 2, 30), 1.2);
}
