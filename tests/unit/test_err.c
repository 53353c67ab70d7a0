/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

Test(err, set_fills_the_message_and_gives_minus_one)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_eq(pt_err_set(&err, "host %s: %d", "n3", 7), -1);
    cr_expect_str_eq(err.msg, "host n3: 7");
    cr_expect_str_eq(err.hint, "");
    cr_expect_eq(err.kind, PT_ERR_INTERNAL);
}

Test(err, a_kind_stays_through_wraps)
{
    struct pt_err err = PT_ERR_INIT;
    cr_expect_eq(pt_err_set_kind(&err, PT_ERR_INFRA, "timed out after %d s", 10), -1);
    cr_expect_eq(pt_err_hint(&err, "is %s up?", "n3"), -1);
    cr_expect_eq(pt_err_wrap(&err, "connect"), -1);
    cr_expect_eq(pt_err_wrap(&err, "host %s", "n3"), -1);
    cr_expect_str_eq(err.msg, "host n3: connect: timed out after 10 s");
    cr_expect_str_eq(err.hint, "is n3 up?");
    cr_expect_eq(err.kind, PT_ERR_INFRA);
}

Test(err, a_new_error_has_not_the_hint_of_the_old)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "first");
    pt_err_hint(&err, "do this");
    pt_err_set(&err, "second");
    cr_expect_str_eq(err.hint, "");
    pt_err_hint(&err, "do that");
    pt_err_set_kind(&err, PT_ERR_USAGE, "third");
    cr_expect_str_eq(err.hint, "");
}

Test(err, nobody_needs_to_listen)
{
    cr_expect_eq(pt_err_set(NULL, "x"), -1);
    cr_expect_eq(pt_err_set_kind(NULL, PT_ERR_USAGE, "x"), -1);
    cr_expect_eq(pt_err_wrap(NULL, "x"), -1);
    cr_expect_eq(pt_err_hint(NULL, "x"), -1);
}

Test(err, a_message_is_one_line_without_controls)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "a\nb\tc\rd\x1b[31me\x7f");
    cr_expect_str_eq(err.msg, "a\\x0ab\\x09c\\x0dd\\x1b[31me\\x7f");
    pt_err_wrap(&err, "x\ny\x01");
    cr_expect_str_eq(err.msg, "x\\x0ay\\x01: a\\x0ab\\x09c\\x0dd\\x1b[31me\\x7f");
    pt_err_hint(&err, "h\n\x1b");
    cr_expect_str_eq(err.hint, "h\\x0a\\x1b");
    for (int c = 1; c < 0x20; c++) {
        pt_err_set(&err, "%c", c);
        cr_expect(err.msg[0] == '\\' && err.msg[1] == 'x', "control %d", c);
    }
}

Test(err, what_is_too_long_is_cut)
{
    struct pt_err err = PT_ERR_INIT;
    char *lengthy = calloc(1, 3 * PT_ERR_MAX);
    memset(lengthy, 'x', 3 * PT_ERR_MAX - 1);
    pt_err_set(&err, "%s", lengthy);
    cr_expect_eq(strlen(err.msg), PT_ERR_MAX - 1);
    pt_err_hint(&err, "%s", lengthy);
    cr_expect_eq(strlen(err.hint), PT_ERR_MAX - 1);
    pt_err_wrap(&err, "front");
    cr_expect_eq(strlen(err.msg), PT_ERR_MAX - 1);
    cr_expect_eq(strncmp(err.msg, "front: xx", 9), 0);
    pt_err_wrap(&err, "%s", lengthy);
    cr_expect_eq(strlen(err.msg), PT_ERR_MAX - 1);
    for (size_t n = PT_ERR_MAX - 4; n < PT_ERR_MAX + 2; n++) { /* where the colon has no room any more */
        pt_err_set(&err, "end");
        pt_err_wrap(&err, "%.*s", (int)n, lengthy);
        cr_expect_eq(strlen(err.msg), PT_ERR_MAX - 1);
    }
    free(lengthy);
}

Test(err, a_message_may_be_wrapped_with_itself)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "inner");
    pt_err_wrap(&err, "seen %s", err.msg);
    cr_expect_str_eq(err.msg, "seen inner: inner");
}

Test(err, an_empty_prefix_adds_nothing)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set(&err, "inner");
    pt_err_wrap(&err, "%s", "");
    cr_expect_str_eq(err.msg, "inner");
}

Test(err, errno_is_kept)
{
    struct pt_err err = PT_ERR_INIT;
    errno = ENOSPC;
    pt_err_set(&err, "%s", strerror(EACCES));
    pt_err_set_kind(&err, PT_ERR_INFRA, "x");
    pt_err_wrap(&err, "y");
    pt_err_hint(&err, "z");
    cr_expect_eq(errno, ENOSPC);
}
