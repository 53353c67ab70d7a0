/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "common/shortage.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

TestSuite(shortage, .timeout = 100);

Test(shortage, what_the_system_says_is_known)
{
    static const int all[] = {EMFILE, EAGAIN, ENOMEM, ENOSPC, EDQUOT};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        cr_expect_not_null(pt_shortage_next(strerror(all[i])), "%s", strerror(all[i]));
    cr_expect_not_null(strstr(pt_shortage_next("/bin/sh: 1: Cannot fork"), "ulimit -u"));
    cr_expect_null(pt_shortage_next(""));
    cr_expect_null(pt_shortage_next(strerror(EACCES)));
}

Test(shortage, a_step_that_is_named_stays)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "collecting: Too many open files");
    cr_expect_eq(pt_shortage_hint(&err), -1);
    cr_expect_eq(err.kind, PT_ERR_INFRA, "the machine is the reason, not we");
    cr_expect_str_eq(err.hint, "allow more open files (ulimit -n)");
    pt_err_set_kind(&err, PT_ERR_USAGE, "x: No space left on device");
    pt_err_hint(&err, "elsewhere");
    pt_shortage_hint(&err);
    cr_expect_eq(err.kind, PT_ERR_USAGE);
    cr_expect_str_eq(err.hint, "elsewhere");
    pt_err_set(&err, "a thing of ours");
    err.kind = PT_ERR_INTERNAL;
    pt_shortage_hint(&err);
    cr_expect(err.kind == PT_ERR_INTERNAL && !err.hint[0]);
    cr_expect_eq(pt_shortage_hint(NULL), -1);
}
