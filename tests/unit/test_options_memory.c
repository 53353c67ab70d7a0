/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails once: a message that is no usage error, and no leak. */
#include "fail_alloc.h"

#include "src/options.c"
#include "src/options_config.c"
#include "src/options_help.c"
#include "src/options_script.c"
#include "src/options_table.c"
#include "src/options_text.c"

#include <criterion/criterion.h>

static char path[] = "/tmp/ptremote-test-XXXXXX";

static int start(struct pt_options *opts, struct pt_err *err)
{
    static const char *const words[] = {"ptremote", "a",   "b", "--env", "A=1", "--json",
                                        "x",        "-xk", "e", "--",    "-s",  NULL};
    char *argv[sizeof(words) / sizeof(words[0])];
    memcpy(argv, words, sizeof(words));
    if (pt_options_parse(11, argv, opts, err))
        return -1;
    if (pt_options_load_config(opts, PT_OPTIONS_USER, path, err))
        return -1;
    return pt_options_complete(opts, "/nonexistent", err);
}

Test(options_memory, every_failure_gives_a_message)
{
    static const char text[] =
        "hosts = h\nenv = B\nenv = C\njunitxml = out/x.xml\nssh-config = ~/c\nmaxfail = 3\n";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    long at = 0;
    do {
        struct pt_options opts;
        struct pt_err err = PT_ERR_INIT;
        fail_hit = false;
        fail_at = ++at;
        int rc = start(&opts, &err);
        fail_at = 0;
        cr_assert_eq(rc, fail_hit ? -1 : 0, "allocation %ld: %s", at, err.msg);
        cr_assert(!fail_hit || strstr(err.msg, "out of memory"), "allocation %ld: %s", at, err.msg);
        cr_assert_eq(err.kind, PT_ERR_INTERNAL);
        if (rc == 0)
            cr_assert(opts.env.n == 3 && opts.paths.n == 2 && !strcmp(opts.hosts, "h"));
        pt_options_fini(&opts);
    } while (fail_hit);
    cr_assert_gt(at, 20);
    unlink(path);
}
