/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails in turn while reports of ranks are made: an error or the whole thing, no leak. cJSON
 * allocates by hooks that are made to fail with the rest. */
#include "fail_alloc.h"

#include "group_words.h"

#include "src/common/wire.c"
#include "src/json.c"
#include "src/ranks_told.c"

#include "src/ranks.c"
#include "src/ranks_fall.c"
#include "src/ranks_problems.c"
#include "src/ranks_stack.c"

static void *hook_malloc(size_t n)
{
    return fail_now() ? NULL : (malloc)(n);
}

static void use_hooks(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = hook_malloc, .free_fn = free});
}

static const struct pt_ranks_of here = {.nodeid = "a.py::x", .path = "a.py", .host = "h1", .grace = 3};

#define CASE                                                                                                 \
    "[[\"testcase\",{},null,[[\"failure\",{},\"E\",[]],[\"properties\",{},null,[[\"property\",{},null,[]]]]" \
    "]]]"

static void two_ranks(struct words *w)
{
    words_report(
        w, PT_OUTCOME_FAILED,
        "{\"nodeid\":\"a\",\"outcome\":\"failed\",\"longrepr\":\"E\",\"stdout\":\"o\",\"properties\":"
        "[[\"a\",\"b\"]],\"problems\":[{\"longrepr\":\"E\",\"sections\":[[\"a\",\"b\"]]}],\"junit\":" CASE
        "}");
    words_report(w, PT_OUTCOME_PASSED, "{\"nodeid\":\"a\",\"outcome\":\"passed\",\"stderr\":\"e\"}");
}

static bool done(int rc, struct pt_buf *b, const struct pt_err *err)
{
    cr_expect(rc == 0 ? b->data[b->len - 1] == '}' : err->msg[0] != '\0');
    pt_buf_fini(b);
    return rc == 0;
}

static bool merge_two(const struct words *w)
{
    struct pt_ranks m = {.of = w->n, .words = (struct pt_rank_word *)w->words};
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf b = {0};
    int rc = pt_ranks_report(&m, &here, &b, &err);
    return done(rc, &b, &err);
}

static bool tell_fall(const struct words *w)
{
    struct pt_fall m = {.of = w->n,
                        .test = 7,
                        .path = (char *)"",
                        .text = (char *)"",
                        .phase = PT_PHASE_CALL,
                        .cause = PT_CAUSE_DEADLOCK,
                        .words = (struct pt_rank_word *)w->words};
    struct pt_err err = PT_ERR_INIT;
    struct pt_buf b = {0};
    int rc = pt_ranks_fall_report(&m, &here, &b, &err);
    return done(rc, &b, &err);
}

static void each_in_turn(bool (*use)(const struct words *w), const struct words *w)
{
    long at = 0;
    bool ok;
    do {
        fail_hit = false;
        fail_at = ++at;
        ok = use(w);
        fail_at = 0;
        cr_assert(ok != fail_hit, "allocation %ld", at);
    } while (fail_hit && at < 3000);
    cr_assert(ok && at > 20);
}

Test(ranks_memory, a_report_of_all, .init = use_hooks)
{
    struct words w = {0};
    two_ranks(&w);
    each_in_turn(merge_two, &w);
    words_fini(&w);
}

Test(ranks_memory, a_group_that_ended, .init = use_hooks)
{
    struct words w = {0};
    two_ranks(&w);
    for (int i = 0; i < 3; i++)
        words_death(&w, (struct pt_death){.cause = (uint8_t)(i ? PT_CAUSE_DEADLOCK : PT_CAUSE_DIED),
                                          .phase = PT_PHASE_CALL,
                                          .status = 11,
                                          .stack = (char *)"Thread 0x12",
                                          .output = (char *)"out"});
    each_in_turn(tell_fall, &w);
    words_fini(&w);
}
