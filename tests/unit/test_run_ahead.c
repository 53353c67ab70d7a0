/* SPDX-License-Identifier: Apache-2.0 */
/* What one run leaves for the hosts of the next to do ahead. */
#include "run_parts.h"

#include "common/auto.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char dir[64];
static struct pt_options opts;
static struct pt_run run;

static void begin(void)
{
    pt_history_destroy(run.history);
    run = (struct pt_run){.opts = &opts, .state_dir = dir, .history = pt_history_create(NULL, NULL)};
    pt_run_ahead_begin(&run);
}

static void init(void)
{
    strcpy(dir, "/tmp/pt-ahead-XXXXXX");
    cr_assert(mkdtemp(dir));
    begin();
}

static void fini(void)
{
    char path[128];
    const char *const names[] = {"sizes", "preload"};
    for (size_t i = 0; i < PT_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    cr_expect_eq(rmdir(dir), 0, "something else was left in %s", dir);
    pt_history_destroy(run.history);
}

TestSuite(run_ahead, .init = init, .fini = fini, .timeout = 100);

static void leave(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

/* The sizes to be told of on so many slots, with the known ones (0 ends them). */
static void expect_sizes(uint32_t slots, const uint32_t *known, const uint32_t *wanted)
{
    struct pt_size list[PT_SIZES_MAX];
    uint32_t n = 0, i = 0;
    for (; known[n]; n++)
        list[n] = (struct pt_size){.ranks = known[n], .tests = 7};
    n = pt_run_ahead_sizes(&run, slots, list, n);
    for (; wanted[i]; i++)
        cr_assert(i < n && list[i].ranks == wanted[i] && list[i].tests > 0, "size %u is not %u", i,
                  wanted[i]);
    cr_assert_eq(n, i);
}

#define L(...) ((const uint32_t[]){__VA_ARGS__, 0})

static void saw(const uint32_t *ranks)
{
    pt_run_ahead_saw(&run, PT_PLAN_ALL);
    for (; *ranks; ranks++)
        pt_run_ahead_saw(&run, *ranks);
}

Test(run_ahead, sizes_of_the_run_before)
{
    expect_sizes(8, L(0), L(0));
    expect_sizes(8, L(4, 2), L(4, 2));
    saw(L(2, 3, 2));
    pt_run_ahead_keep(&run); /* nobody knows what else there is */
    begin();
    expect_sizes(8, L(0), L(0));
    saw(L(2, 4, 1, 3, 2));
    run.collected = true;
    pt_run_ahead_keep(&run);
    begin();
    expect_sizes(8, L(0), L(4, 3, 2));
    expect_sizes(3, L(0), L(3, 2));
    expect_sizes(1, L(0), L(0));
    expect_sizes(8, L(6, 3), L(6, 4, 3, 2));
    saw(L(6, 3));
    run.collected = true;
    expect_sizes(8, L(3), L(3));
    pt_run_ahead_keep(&run);
    begin();
    expect_sizes(8, L(0), L(6, 3));
}

Test(run_ahead, none_are_left_by_a_run_without_any)
{
    leave("sizes", "4\n");
    begin();
    expect_sizes(8, L(0), L(4));
    run.collected = true;
    pt_run_ahead_keep(&run);
    begin();
    expect_sizes(8, L(0), L(0));
}

Test(run_ahead, what_makes_no_sense_is_left_out)
{
    const char *const texts[] = {
        "", "\n\n", "4 2\n", "-3\n", "4\n2\nx", "0x10\n", "1\n0", "4097000\n", "99999999999999999999\n"};
    for (size_t i = 0; i < PT_COUNT(texts); i++) {
        leave("sizes", texts[i]);
        begin();
        expect_sizes(PT_RANKS_MAX, L(0), L(0));
    }
    leave("sizes", "\n4\n\n1\n4\n2");
    begin();
    expect_sizes(8, L(0), L(4, 2));
    FILE *f = fopen(strcat(strcpy((char[128]){0}, dir), "/sizes"), "w");
    for (int i = 2; i < 5000; i++)
        fprintf(f, "%d\n", i);
    fclose(f);
    begin();
    expect_sizes(8, L(0), L(0));
}

static void expect_modules(const char *wanted)
{
    pt_auto_free char *modules = pt_run_preload(&run);
    cr_expect_str_eq(modules, wanted);
}

Test(run_ahead, modules)
{
    struct pt_options given = {.preload = (char *)"auto"};
    run.opts = &given;
    expect_modules("");
    leave("preload", "numpy,mpi4py");
    expect_modules("numpy,mpi4py");
    leave("preload", "os;evil");
    expect_modules("");
    given.preload = (char *)"none";
    expect_modules("");
    given.preload = (char *)"json";
    expect_modules("json");
}
