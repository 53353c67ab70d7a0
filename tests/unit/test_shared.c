/* SPDX-License-Identifier: Apache-2.0 */
/* The file by which a host knows a shared tree. */
#include "shared.h"

#include "common/auto.h"
#include "common/err.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char top[64], path[256];
static struct pt_shared s;
static struct pt_err err;

static const char *at(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", top, name);
    return path;
}

static void set_up(void)
{
    strcpy(top, "/tmp/ptshared.XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    cr_assert(mkdir(at("tree"), 0755) == 0);
    err = PT_ERR_INIT;
}

static void tear_down(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", top);
    cr_assert_eq(system(command), 0);
}

TestSuite(shared, .init = set_up, .fini = tear_down);

static void init(const char *state)
{
    char root[128], state_dir[128];
    snprintf(root, sizeof(root), "%s/tree", top);
    snprintf(state_dir, sizeof(state_dir), "%s/%s", top, state);
    cr_assert_eq(pt_shared_init(&s, root, state_dir, &err), 0, "%s", err.msg);
}

static void expect_proof(const char *folder)
{
    char text[64] = "";
    cr_assert(strncmp(s.proof, folder, strlen(folder)) == 0, "%s", s.proof);
    snprintf(path, sizeof(path), "%s/tree/%s", top, s.proof);
    cr_expect_str_eq(path, s.path);
    pt_auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_expect_eq(read(fd, text, sizeof(text) - 1), 32);
    cr_expect_str_eq(text, s.secret);
}

Test(shared, lies_in_the_state_folder_of_the_tree)
{
    cr_assert(mkdir(at("tree/state"), 0700) == 0);
    init("tree/state");
    expect_proof("state/shared-");
    pt_shared_fini(&s);
    pt_shared_fini(&s);
    cr_expect_eq(rmdir(at("tree/state")), 0, "it is not empty, or gone");
}

Test(shared, lies_in_the_tree_when_the_state_is_elsewhere)
{
    cr_assert(mkdir(at("tree-state"), 0700) == 0);
    init("tree-state");
    expect_proof(".ptremote/shared-");
    pt_shared_fini(&s);
    cr_expect_eq(rmdir(at("tree")), 0, "something was left in the tree");
}

Test(shared, leaves_a_folder_that_was_there)
{
    cr_assert(mkdir(at("tree/.ptremote"), 0700) == 0);
    init("none");
    expect_proof(".ptremote/shared-");
    pt_shared_fini(&s);
    cr_expect_eq(rmdir(at("tree/.ptremote")), 0);
}

Test(shared, is_another_each_time)
{
    char secret[33];
    struct pt_shared first;
    init("none");
    first = s;
    strcpy(secret, s.secret);
    init("none");
    cr_expect_str_neq(secret, s.secret);
    cr_expect_str_neq(first.proof, s.proof);
    pt_shared_fini(&s);
    pt_shared_fini(&first);
    cr_expect_eq(rmdir(at("tree")), 0, "something was left in the tree");
}

Test(shared, a_tree_that_cannot_be_written)
{
    char root[128];
    snprintf(root, sizeof(root), "%s/tree", top);
    cr_assert(symlink("nowhere", at("tree/.ptremote")) == 0);
    cr_assert_eq(pt_shared_init(&s, root, "/none", &err), -1);
    cr_expect_eq(err.kind, PT_ERR_USAGE);
    cr_expect(strstr(err.msg, "--shared-fs: cannot write ") == err.msg, "%s", err.msg);
    pt_shared_fini(&s);
}
