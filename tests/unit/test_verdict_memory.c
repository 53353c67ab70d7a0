/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation of the verdict fails in turn: a test still has one outcome, and nothing leaks. */
#include "fail_alloc.h"

#undef strndup
#define strndup(s, n) (fail_now() ? NULL : (strndup)(s, n))
#include "src/verdict.c"

#include <criterion/criterion.h>

static void use(void)
{
    static const struct pt_count counts[] = {{"passed", 1}, {"rerun", 2}, {"error", 1}};
    struct pt_err err = PT_ERR_INIT;
    struct pt_verdict *v = pt_verdict_create(&err);
    if (!v) {
        cr_assert_str_eq(err.msg, "verdict: out of memory");
        return;
    }
    uint32_t n = 0;
    for (int i = 0; i < 3000; i++) {
        uint32_t test = pt_verdict_add_test(v);
        if (test == PT_NONE)
            continue;
        cr_assert_eq(test, n++);
        cr_assert_eq(pt_verdict_set(v, test, 1, PT_OUTCOME_ERROR, counts, 3), PT_COUNTED_FIRST);
        cr_assert_eq(pt_verdict_set(v, test, 1, PT_OUTCOME_CRASHED, NULL, 0), PT_COUNTED_INSTEAD);
    }
    cr_assert(pt_verdict_sum_ok(v));
    cr_assert_eq(pt_verdict_total(v, PT_OUTCOME_CRASHED), n);
    cr_assert_leq(pt_verdict_count_of(v, "passed"), 1, "at most the one whose memory was refused");
    pt_verdict_destroy(v);
}

Test(verdict_memory, every_allocation_in_turn)
{
    long at = 0;
    do {
        fail_hit = false;
        fail_at = ++at;
        use();
    } while (fail_hit && at < 200);
    fail_at = 0;
    use();
}
