/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails in turn while reports are read and made: an error or the whole thing, no leak. cJSON
 * allocates by hooks that are made to fail with the rest. */
#include "fail_alloc.h"

#include "src/common/wire.c"
#include "src/json.c"
#include "src/report.c"

#include <criterion/criterion.h>

static void *hook_malloc(size_t n)
{
    return fail_now() ? NULL : (malloc)(n);
}

static void use_hooks(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = hook_malloc, .free_fn = free});
}

static bool read_one(void)
{
    static const char text[] =
        "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"counts\":{\"failed\":1},\"problems\":[{\"sections\":"
        "[[\"a\",\"b\"]]}],\"message\":\"\\u0000\"}";
    struct pt_report r;
    struct pt_err err = PT_ERR_INIT;
    if (pt_report_decode(text, sizeof(text) - 1, &r, &err) < 0) {
        cr_assert(err.msg[0]);
        return false;
    }
    cr_assert(r.nproblems == 1 && r.ncounts == 1 && strcmp(r.message, "\\x00") == 0);
    pt_report_fini(&r);
    return true;
}

static bool make_one(void)
{
    struct pt_death d = {
        .phase = PT_PHASE_CALL, .cause = PT_CAUSE_DIED, .stack = (char *)"stack", .output = (char *)"out"};
    struct pt_report file = {.nodeid = "a.py", .outcome = PT_OUTCOME_ERROR, .longrepr = "E"};
    struct pt_buf b = {0};
    bool ok = pt_report_from_death(&d, 0, "a.py::x", "a.py", false, &b) == 0;
    pt_buf_clear(&b);
    ok = pt_report_of_file(&file, "a.py::x", "a.py", "h1", &b) == 0 && ok;
    pt_buf_clear(&b);
    struct pt_note note = {.nodeid = "a.py::x"};
    ok = pt_report_missing(&note, "a.py", "h1", &b) == 0 && ok;
    if (ok)
        cr_assert(b.data[b.len - 1] == '}');
    pt_buf_fini(&b);
    return ok;
}

static void each_in_turn(bool (*use)(void))
{
    long at = 0;
    bool ok;
    do {
        fail_hit = false;
        fail_at = ++at;
        ok = use();
        cr_assert(ok != fail_hit, "allocation %ld", at);
    } while (fail_hit && at < 1000);
    cr_assert(ok);
}

Test(report_memory, reading, .init = use_hooks)
{
    each_in_turn(read_one);
}

Test(report_memory, making, .init = use_hooks)
{
    each_in_turn(make_one);
}
