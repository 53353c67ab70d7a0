/* SPDX-License-Identifier: Apache-2.0 */
/* Small tars that go into a folder: plain files and folders only, and nothing outside. */
#include "hostile_lab.h"
#include "sync/smalltar.h"

TestSuite(sync_smalltar, .init = lab_open, .fini = lab_close);

static int untar(const struct member *m, size_t n, struct pt_err *err)
{
    static unsigned char tar[1 << 16];
    size_t size = build(m, n, true, tar, sizeof(tar));
    return pt_unpack_tar(tar, size, "out", err);
}

Test(sync_smalltar, of_files)
{
    const struct member list[] = {{.name = "p/", .type = AE_IFDIR},
                                  {.name = "p/__init__.py", .text = "a"},
                                  {.name = "p/q/deep/x.py", .text = "x"}};
    struct pt_err err = PT_ERR_INIT;
    cr_assert_eq(untar(list, 3, &err), 0, "%s", err.msg);
    cr_assert_eq(untar(list, 3, &err), 0, "again: %s", err.msg);
    pt_auto_free char *text = lab_read("out/p/q/deep/x.py");
    cr_assert_str_eq(text, "x");
}

Test(sync_smalltar, refused)
{
    const struct member bad[] = {
        {.name = "../escaped", .text = "x"},           {.name = "/tmp/ptremote-escaped", .text = "x"},
        {.name = "a/../../escaped", .text = "x"},      {.name = "l", .type = AE_IFLNK, .link = "/etc"},
        {.name = "h", .link = "/etc/x", .hard = true}, {.name = "d", .type = AE_IFCHR},
    };
    for (size_t i = 0; i < PT_COUNT(bad); i++) {
        struct pt_err err = PT_ERR_INIT;
        cr_assert_eq(untar(&bad[i], 1, &err), -1, "%s", bad[i].name);
        cr_assert(err.msg[0]);
    }
    cr_assert_neq(access("escaped", F_OK), 0);
    cr_assert_neq(access("/tmp/ptremote-escaped", F_OK), 0);
}

Test(sync_smalltar, through_a_link_there)
{
    const struct member list[] = {{.name = "l/x", .text = "x"}};
    mkdir("outside", 0755);
    mkdir("out", 0755);
    symlink("../outside", "out/l");
    cr_assert_eq(untar(list, 1, NULL), -1);
    cr_assert_neq(access("outside/x", F_OK), 0);
}

Test(sync_smalltar, truncated)
{
    static unsigned char tar[1 << 16];
    const struct member list[] = {{.name = "a", .text = "alpha"}, {.name = "b", .text = "beta"}};
    size_t size = build(list, 2, true, tar, sizeof(tar));
    cr_assert_eq(pt_unpack_tar(tar, size, "out", NULL), 0);
    for (size_t n = 0; n < 1024 && n < size; n += 64)
        if (n != 0 && n % 512 != 0)
            cr_assert_eq(pt_unpack_tar(tar, n, "out", NULL), -1, "%zu", n);
}
