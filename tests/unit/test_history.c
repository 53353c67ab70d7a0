/* SPDX-License-Identifier: Apache-2.0 */
#include "history_inside.h"
#include "ledger_lab.h"

#include <math.h>

TestSuite(history, .init = lab_make, .fini = lab_remove);

static struct pt_history *load(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_history *h = pt_history_create(l, &err);
    cr_assert_not_null(h, "%s", err.msg);
    return h;
}

static void saw(struct pt_history *h, const char *host, const char *nodeid, double setup, double call)
{
    char file[64];
    snprintf(file, sizeof(file), "%.*s", (int)strcspn(nodeid, ":"), nodeid);
    struct pt_took took = {setup, call, 0.001};
    cr_assert_eq(pt_history_saw(h, host, file, nodeid, 0, &took), 0);
}

static double call_of(const struct pt_history *h, const char *nodeid)
{
    char file[64];
    struct pt_took took;
    snprintf(file, sizeof(file), "%.*s", (int)strcspn(nodeid, ":"), nodeid);
    return pt_history_test(h, file, nodeid, 0, &took) ? took.call : -1;
}

static void keep(struct pt_history *h, struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(pt_history_keep(h, l, &err), 0, "%s", err.msg);
    cr_assert_not(pt_ledger_dirty(l));
}

static int count_row(void *arg, const struct pt_ledger_duration *d)
{
    uint32_t *n = arg;
    n[0]++;
    n[1] += d->run == n[2];
    return 0;
}

/* Rows that this run wrote. */
static uint32_t written(struct pt_ledger *l)
{
    uint32_t n[3] = {0, 0, (uint32_t)pt_ledger_run_id(l)};
    cr_assert_eq(pt_ledger_each_duration(l, count_row, n, NULL), 0);
    return n[1];
}

Test(history, of_nothing)
{
    struct pt_history *h = load(NULL);
    struct pt_took took;
    cr_assert_not(pt_history_test(h, "a.py", "a.py::x", 0, &took));
    cr_assert_lt(pt_history_import(h, "a.py"), 0);
    cr_assert_eq(pt_history_total(h), 0);
    cr_assert_eq(pt_history_speed(h, "h1"), 1);
    char *modules = pt_history_preload(h);
    cr_assert_str_eq(modules, "");
    free(modules);
    pt_history_destroy(h);
    pt_history_destroy(NULL);
}

Test(history, is_kept_from_run_to_run)
{
    struct pt_ledger *l = lab_open();
    struct pt_took took = {0.5, 1, -1};
    lab_begin(l, "r1");
    struct pt_history *h = load(l);
    cr_assert_eq(pt_history_saw(h, "h1", "a.py", "a.py::x[::]", 0, &took), 0);
    took.call = 2;
    cr_assert_eq(pt_history_saw(h, "h1", "a.py", "a.py::x[::]", 1, &took), 0);
    cr_assert_eq(pt_history_imported(h, "h1", "a.py", 0.25, (const char *const[]){"numpy"}, 1), 0);
    keep(h, l);
    pt_history_destroy(h);
    pt_ledger_close(l);
    l = lab_open();
    h = load(l);
    cr_assert(pt_history_test(h, "a.py", "a.py::x[::]", 1, &took));
    cr_assert(took.setup == 0.5 && took.call == 2 && took.teardown < 0);
    cr_assert(pt_history_test(h, "a.py", "a.py::x[::]", 0, &took));
    cr_assert_eq(took.call, 1);
    cr_assert_not(pt_history_test(h, "a.py", "a.py::x[::]", 2, &took));
    cr_assert_not(pt_history_test(h, "b.py", "a.py::x[::]", 0, &took));
    cr_assert_eq(pt_history_import(h, "a.py"), 0.25);
    cr_assert_float_eq(pt_history_total(h), 1.5 + 2.5 + 0.25, 1e-6);
    pt_history_destroy(h);
    pt_ledger_close(l);
}

/* Five percent, or what a clock cannot tell, is the same; what is used is written before it is forgotten. */
Test(history, only_what_changed_is_written)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    struct pt_history *h = load(l);
    saw(h, "h1", "a.py::x", 0, 1);
    saw(h, "h1", "a.py::y", 0, 1);
    saw(h, "h1", "a.py::z", 0, 0.0003);
    keep(h, l);
    cr_assert_eq(written(l), 3);
    pt_history_destroy(h);
    lab_begin(l, "r2");
    h = load(l);
    saw(h, "h1", "a.py::x", 0, 1.04);
    saw(h, "h1", "a.py::y", 0, 1.2);
    saw(h, "h1", "a.py::z", 0, 0.0004);
    saw(h, "h1", "a.py::new", 0, 1);
    keep(h, l);
    cr_assert_eq(written(l), 2);
    keep(h, l);
    pt_history_destroy(h);
    for (int i = 3; i < PT_LEDGER_LEARNED / 2 + 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%d", i);
        lab_begin(l, name);
    }
    h = load(l);
    saw(h, "h1", "a.py::x", 0, 1);
    keep(h, l);
    cr_assert_eq(written(l), 1, "the same, but of a run long ago");
    cr_assert_eq(call_of(h, "a.py::x"), 1);
    pt_history_destroy(h);
    pt_ledger_close(l);
}

Test(history, what_no_clock_says_is_no_time)
{
    struct pt_history *h = load(NULL);
    struct pt_took bad[] = {{-1, -1, -1}, {NAN, INFINITY, -INFINITY}, {1e300, -1, NAN}};
    for (size_t i = 0; i < 3; i++)
        cr_assert_eq(pt_history_saw(h, "h1", "a.py", "a.py::x", 0, &bad[i]), 0);
    cr_assert_lt(call_of(h, "a.py::x"), 0);
    cr_assert_eq(pt_history_imported(h, "h1", "a.py", NAN, NULL, 0), 0);
    cr_assert_eq(pt_history_imported(h, "h1", "a.py", -1, NULL, 0), 0);
    cr_assert_lt(pt_history_import(h, "a.py"), 0);
    pt_history_destroy(h);
}

/* --- speeds --- */

/* A run: test i on host (i + shift) % hosts, which needs base[i] / speed. */
static void simulate(struct pt_ledger *l, const char *name, int shift, const double *speed, int hosts, int n)
{
    char host[16], id[32];
    lab_begin(l, name);
    struct pt_history *h = load(l);
    for (int i = 0; i < n; i++) {
        int at = (i + shift) % hosts;
        double base = 0.02 + 0.01 * (i * 7 % 13), noise = 1 + 0.02 * (i * 5 % 7 - 3);
        snprintf(host, sizeof(host), "h%d", at);
        snprintf(id, sizeof(id), "f%d.py::t%d", i % 9, i);
        saw(h, host, id, 0, base * noise / speed[at]);
    }
    keep(h, l);
    pt_history_destroy(h);
}

Test(history, learns_how_fast_hosts_are)
{
    const double speed[] = {1, 2, 0.5};
    struct pt_ledger *l = lab_open();
    simulate(l, "r1", 0, speed, 3, 120);
    struct pt_history *h = load(l);
    cr_assert_eq(pt_history_speed(h, "h0"), 1, "nothing ran on two hosts yet");
    pt_history_destroy(h);
    for (int i = 1; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%d", i + 1);
        simulate(l, name, i, speed, 3, 120);
    }
    h = load(l);
    cr_assert_float_eq(pt_history_speed(h, "h0"), 1, 0.05);
    cr_assert_float_eq(pt_history_speed(h, "h1"), 2, 0.1);
    cr_assert_float_eq(pt_history_speed(h, "h2"), 0.5, 0.05);
    cr_assert_eq(pt_history_speed(h, "h3"), 1);
    for (int i = 0; i < 120; i++) {
        char id[32];
        snprintf(id, sizeof(id), "f%d.py::t%d", i % 9, i);
        double base = 0.02 + 0.01 * (i * 7 % 13);
        cr_assert(fabs(call_of(h, id) / base - 1) < 0.15, "%s: %g, not %g", id, call_of(h, id), base);
    }
    pt_history_destroy(h);
    pt_ledger_close(l);
}

/* Speeds are relative: they do not drift off, however many runs there are. */
Test(history, speeds_stay_around_one)
{
    const double speed[] = {10, 10, 10};
    struct pt_ledger *l = lab_open();
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof(name), "r%d", i);
        simulate(l, name, i, speed, 3, 60);
    }
    struct pt_history *h = load(l);
    for (int i = 0; i < 3; i++) {
        char host[16];
        snprintf(host, sizeof(host), "h%d", i);
        cr_assert_float_eq(pt_history_speed(h, host), 1, 0.06);
    }
    pt_history_destroy(h);
    pt_ledger_close(l);
}

/* One odd test does not make a slow host. */
Test(history, one_odd_test_is_not_the_host)
{
    struct pt_ledger *l = lab_open();
    char id[32];
    lab_begin(l, "r1");
    struct pt_history *h = load(l);
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof(id), "a.py::t%d", i);
        saw(h, "h1", id, 0, 1);
    }
    for (int i = 0; i < 30; i++) {
        snprintf(id, sizeof(id), "a.py::t%d", i);
        saw(h, "h2", id, 0, i < 5 ? 1000 : 1);
    }
    keep(h, l);
    cr_assert_float_eq(pt_history_speed(h, "h2"), 1, 0.01);
    pt_history_destroy(h);
    pt_ledger_close(l);
}

Test(history, many_pairs)
{
    struct pt_history *h = load(NULL);
    char id[32];
    for (int host = 0; host < 2; host++)
        for (int i = 0; i < 3 * PT_HISTORY_PAIRS; i++) {
            snprintf(id, sizeof(id), "a.py::t%d", i);
            saw(h, host ? "h2" : "h1", id, 0, host ? 0.5 : 1);
        }
    cr_assert_eq(h->npairs, PT_HISTORY_PAIRS);
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    keep(h, l);
    cr_assert_float_eq(pt_history_speed(h, "h2") / pt_history_speed(h, "h1"), 2, 0.01);
    pt_history_destroy(h);
    pt_ledger_close(l);
}

Test(history, the_median)
{
    unsigned x = 1;
    for (size_t n = 1; n < 200; n++) {
        double v[200], sorted[200];
        for (size_t i = 0; i < n; i++) {
            x = x * 1664525u + 1013904223u;
            sorted[i] = v[i] = (double)(x >> 16) / (n % 3 ? 1 : 8192 * 4096.0) - (n % 2 ? 0 : 30000);
            if (n % 5 == 0)
                sorted[i] = v[i] = floor(v[i] / 9000);
        }
        for (size_t i = 0; i < n; i++)
            for (size_t k = i + 1; k < n; k++)
                if (sorted[k] < sorted[i]) {
                    double t = sorted[i];
                    sorted[i] = sorted[k];
                    sorted[k] = t;
                }
        cr_assert_eq(pt_history_median(v, n), sorted[n / 2]);
    }
}

/* --- imports and modules --- */

/* The least of a run is what one more part of a file costs; a lucky run is not believed for ever. */
Test(history, imports)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    struct pt_history *h = load(l);
    const double first[] = {0.5, 0.1, 0.3};
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pt_history_imported(h, "h1", "a.py", first[i], NULL, 0), 0);
    cr_assert_float_eq(pt_history_import(h, "a.py"), 0.1, 1e-9);
    keep(h, l);
    pt_history_destroy(h);
    h = load(l);
    cr_assert_eq(pt_history_imported(h, "h1", "a.py", 0.5, NULL, 0), 0);
    cr_assert_float_eq(pt_history_import(h, "a.py"), 0.3, 1e-9);
    pt_history_destroy(h);
    pt_ledger_close(l);
}

static void modules(struct pt_history *h, const char *file, const char *names)
{
    char text[256], *save;
    const char *list[16];
    size_t n = 0;
    snprintf(text, sizeof(text), "%s", names);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
        list[n++] = w;
    cr_assert_eq(pt_history_imported(h, "h1", file, 0.1, list, n), 0);
}

static void preload_is(const struct pt_history *h, const char *want)
{
    char *got = pt_history_preload(h);
    cr_assert_str_eq(got, want);
    free(got);
}

Test(history, modules_that_most_files_import)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    struct pt_history *h = load(l);
    modules(h, "a.py", "numpy scipy.sparse rare");
    preload_is(h, "");
    modules(h, "b.py", "scipy.sparse numpy");
    modules(h, "c.py", "numpy");
    modules(h, "d.py", "numpy other");
    modules(h, "a.py", "numpy numpy");
    preload_is(h, "numpy,scipy.sparse");
    modules(h, "e.py", "numpy");
    preload_is(h, "numpy");
    keep(h, l);
    pt_history_destroy(h);
    h = load(l);
    preload_is(h, "numpy");
    modules(h, "a.py", "");
    preload_is(h, "numpy");
    pt_history_destroy(h);
    pt_ledger_close(l);
}

Test(history, what_is_no_module_is_left_out)
{
    struct pt_history *h = load(NULL);
    char text[32];
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof(text), "f%d.py", i);
        modules(h, text, "a,b x;y $(z) .rel 9x ok ../up \xc3\xa9t\xc3\xa9");
    }
    preload_is(h, "ok,\xc3\xa9t\xc3\xa9");
    for (int f = 0; f < 2; f++)
        for (int i = 0; i < 500; i++) {
            snprintf(text, sizeof(text), "m%d", i);
            modules(h, f ? "x.py" : "y.py", text);
        }
    char *got = pt_history_preload(h);
    cr_assert_lt(strlen(got), 400, "there is an end to it");
    free(got);
    pt_history_destroy(h);
}

/* --- whole files --- */

static int tell_file(void *arg, const char *file, const struct pt_history_file *f)
{
    char *out = arg;
    sprintf(out + strlen(out), "%s:%.2f/%.2f/%.2f/%u ", file, f->execution, f->setup, f->teardown, f->count);
    return 0;
}

Test(history, files_as_others_see_them)
{
    char text[256] = "";
    struct pt_history *h = load(NULL);
    saw(h, "h1", "b.py::x", 0, 2);
    saw(h, "h1", "a.py::x", 5, 1);
    saw(h, "h1", "a.py::y", 0, 1);
    saw(h, "h1", "a.py::z", 0, 1);
    cr_assert_eq(pt_history_imported(h, "h1", "a.py", 0.5, NULL, 0), 0);
    cr_assert_eq(pt_history_each_file(h, tell_file, text), 0);
    cr_assert_str_eq(text, "a.py:3.00/5.50/0.00/3 b.py:2.00/0.00/0.00/1 ");
    struct pt_history_file said = {.execution = 60, .setup = -4, .teardown = 1, .count = 6}, got;
    cr_assert_eq(pt_history_assume(h, "a.py", &said), 0);
    cr_assert_not(pt_history_assumed(h, "a.py", &got), "it knows better");
    cr_assert_eq(pt_history_assume(h, "c.py", &said), 0);
    cr_assert(pt_history_assumed(h, "c.py", &got));
    cr_assert(got.execution == 60 && got.setup == 0 && got.teardown == 1 && got.count == 6);
    cr_assert_eq(pt_history_total(h), 61);
    saw(h, "h1", "c.py::x", 0, 2);
    cr_assert_not(pt_history_assumed(h, "c.py", &got));
    pt_history_destroy(h);
}

Test(history, fifty_thousand_tests)
{
    enum { N = 50000 };
    struct pt_ledger *l = lab_open();
    char file[32], id[64];
    for (int run = 0; run < 2; run++) {
        lab_begin(l, run ? "r2" : "r1");
        struct pt_history *h = load(l);
        for (int i = 0; i < N; i++) {
            struct pt_took took = {0.0001, 0.0002, 0.0001};
            snprintf(file, sizeof(file), "tests/f%d.py", i / 500);
            snprintf(id, sizeof(id), "%s::test_%d", file, i);
            cr_assert_eq(pt_history_test(h, file, id, 0, &took), run == 1);
            cr_assert_eq(pt_history_saw(h, "h1", file, id, 0, &took), 0);
        }
        keep(h, l);
        cr_assert_eq(written(l), run ? 0 : N);
        pt_history_destroy(h);
    }
    pt_ledger_close(l);
}
