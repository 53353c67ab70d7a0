/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "sent.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/pt-sent.XXXXXX";
static char tree[64], state[64];

static void write_text(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", tree, name);
    FILE *f = fopen(path, "w");
    cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static struct pt_manifest *scan(void)
{
    struct pt_err err = PT_ERR_INIT;
    struct pt_tree_spec spec = {.root = tree, .algorithm = PT_DIGEST_BLAKE2B};
    struct pt_manifest *m = pt_manifest_scan(&spec, &err);
    cr_assert(m, "%s", err.msg);
    return m;
}

static void setup(void)
{
    cr_assert(mkdtemp(folder));
    snprintf(tree, sizeof(tree), "%s/tree", folder);
    snprintf(state, sizeof(state), "%s/state", folder);
    cr_assert(mkdir(tree, 0700) == 0 && mkdir(state, 0700) == 0);
    write_text("a", "one");
    write_text("b", "four");
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    cr_assert(system(command) == 0);
}

TestSuite(sent, .init = setup, .fini = teardown);

Test(sent, a_host_is_missing_everything_at_first)
{
    uint64_t files, bytes;
    struct pt_manifest *m = scan();
    cr_assert_null(pt_sent_load(state, "h1"));
    pt_sent_missing(m, NULL, &files, &bytes);
    cr_expect_eq(files, 2);
    cr_expect_eq(bytes, 7);
    pt_manifest_destroy(m);
}

Test(sent, what_was_saved_is_missing_no_more)
{
    uint64_t files, bytes;
    struct pt_err err = PT_ERR_INIT;
    struct pt_manifest *m = scan();
    cr_assert_eq(pt_sent_save(state, "odd/../name\n", m, &err), 0, "%s", err.msg);
    cr_assert_eq(pt_sent_save(state, "odd/../name\n", m, &err), 0, "%s", err.msg);
    struct pt_manifest *has = pt_sent_load(state, "odd/../name\n");
    cr_assert(has);
    pt_sent_missing(m, has, &files, &bytes);
    cr_expect_eq(files, 0);
    pt_manifest_destroy(m);
    write_text("b", "five");
    m = scan();
    pt_sent_missing(m, has, &files, &bytes);
    cr_expect_eq(files, 1);
    cr_expect_eq(bytes, 4);
    cr_expect_null(pt_sent_load(state, "another"));
    pt_manifest_destroy(m);
    pt_manifest_destroy(has);
}

Test(sent, a_damaged_memory_is_no_memory)
{
    struct pt_err err = PT_ERR_INIT;
    char command[160];
    struct pt_manifest *m = scan();
    cr_assert_eq(pt_sent_save(state, "h1", m, &err), 0);
    snprintf(command, sizeof(command), "for f in %s/sent/*; do truncate -s -3 \"$f\"; done", state);
    cr_assert(system(command) == 0);
    cr_expect_null(pt_sent_load(state, "h1"));
    cr_assert_eq(pt_sent_save(state, "h1", m, &err), 0);
    struct pt_manifest *has = pt_sent_load(state, "h1");
    cr_expect(has);
    pt_manifest_destroy(has);
    pt_manifest_destroy(m);
}
