/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails once: a message, and nothing leaked. */
#include "ledger_lab.h"

#include "fail_alloc.h"

#include "src/common/wire.c"
#include "src/history.c"
#include "src/history_files.c"
#include "src/history_keep.c"
#include "src/interned.c"
#include "src/replay.c"
#include "src/replay_units.c"
#include "src/runtime_data.c"
#include "src/whole_file.c"

TestSuite(history_memory, .init = lab_make, .fini = lab_remove);

static int see_file(void *arg, const char *file, const struct pt_history_file *what)
{
    (void)arg, (void)file, (void)what;
    return 0;
}

static bool note(struct pt_history *h)
{
    static const char *const modules[] = {"numpy", "scipy"};
    char file[16], id[32];
    struct pt_took took = {0.1, 0.2, 0.3};
    for (int i = 0; i < 140; i++) {
        snprintf(file, sizeof(file), "f%d.py", i % 70);
        snprintf(id, sizeof(id), "%s::t%d", file, i);
        if (pt_history_saw(h, i % 3 ? "h1" : "h2", file, id, 0, &took) < 0 ||
            pt_history_saw(h, i % 3 ? "h2" : "h3", file, id, 0, &took) < 0 ||
            pt_history_imported(h, "h1", file, 0.1, modules, 2) < 0)
            return false;
    }
    return true;
}

static bool use_history(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_history *h = pt_history_create(l, &err);
    bool whole = h && note(h) && pt_history_each_file(h, see_file, NULL) == 0;
    char *modules = whole ? pt_history_preload(h) : NULL;
    if (h && whole && modules)
        cr_assert_str_eq(modules, "numpy,scipy");
    whole = whole && modules && pt_history_keep(h, l, &err) == 0;
    if (err.msg[0])
        cr_assert_not_null(strstr(err.msg, "out of memory"), "%s", err.msg);
    free(modules);
    pt_history_destroy(h);
    return whole;
}

static void each(bool (*use)(struct pt_ledger *l), struct pt_ledger *l)
{
    for (long n = 1;; n++) {
        fail_at = n;
        fail_hit = false;
        bool whole = use(l);
        fail_at = 0;
        cr_assert_eq(whole, !fail_hit, "allocation %ld", n);
        if (!fail_hit)
            break;
    }
}

Test(history_memory, every_allocation)
{
    struct pt_ledger *l = lab_open();
    lab_begin(l, "r1");
    each(use_history, l);
    each(use_history, l);
    pt_ledger_close(l);
}

static bool runtime_data(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_took took = {0.1, 0.2, 0.3};
    (void)l;
    struct pt_history *h = pt_history_create(NULL, &err);
    bool whole = h && pt_history_saw(h, "h", "b.py", "b.py::x", 0, &took) == 0 &&
                 pt_runtime_read(lab_path("data.json"), h, &err) == 0 &&
                 pt_runtime_write(lab_path("data.json"), h, &err) == 0;
    if (err.msg[0]) {
        cr_assert_eq(err.kind == PT_ERR_USAGE, false, "%s", err.msg);
        cr_assert_not_null(strstr(err.msg, "memory"), "%s", err.msg);
    }
    pt_history_destroy(h);
    return whole;
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(lab_path(name), "w");
    fputs(text, f);
    fclose(f);
}

Test(history_memory, runtime_data)
{
    put("data.json", "{\"a.py\":{\"execution_time\":7,\"setup_time\":7,\"teardown_time\":7}}");
    each(runtime_data, NULL);
}

static bool find(void *arg, const char *nodeid, uint32_t occurrence, struct pt_bundle_test *test,
                 const char **path)
{
    *path = "a.py";
    *test = (struct pt_bundle_test){
        .test = (*(uint32_t *)arg)++, .occurrence = occurrence, .nodeid = (char *)(uintptr_t)nodeid};
    return true;
}

static int unit(void *arg, const struct pt_plan_unit *u, struct pt_err *err)
{
    (void)arg, (void)u, (void)err;
    return 0;
}

static bool replay(struct pt_ledger *l)
{
    struct pt_err err = PT_ERR_INIT;
    const uint32_t hosts[70] = {0};
    uint32_t number = 0, gone;
    (void)l;
    struct pt_replay *r = pt_replay_read(lab_path("run.json"), &err);
    bool whole = r && pt_replay_units(r, hosts, find, unit, &number, &gone, &err) == 0;
    if (!whole) {
        cr_assert_not_null(strstr(err.msg, "out of memory"), "%s", err.msg);
        cr_assert_eq(err.kind, PT_ERR_INTERNAL);
    }
    pt_replay_destroy(r);
    return whole;
}

Test(history_memory, replay)
{
    char text[65536] = "{\"version\":1,\"how\":{\"dist\":\"each\"},\"tests\":[";
    for (int i = 0; i < 300; i++)
        sprintf(text + strlen(text),
                "%s{\"nodeid\":\"a.py::t%d\",\"host\":\"h%d\",\"worker\":0,\"bundle\":1}", i ? "," : "", i,
                i < 200 ? i % 3 : i % 70);
    strcat(text, "]}");
    put("run.json", text);
    each(replay, NULL);
}
