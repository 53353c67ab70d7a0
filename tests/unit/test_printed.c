/* SPDX-License-Identifier: Apache-2.0 */
#include "common/err.h"
#include "printed.h"
#include "remove_tree.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN "20261121-101112-abcdef"

static char dir[64];

static void make(void)
{
    snprintf(dir, sizeof(dir), "/tmp/ptremote-printed-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void clean(void)
{
    remove_tree(dir);
}

TestSuite(printed, .init = make, .fini = clean);

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/output%s%s", dir, *name ? "/" : "", name);
    return path;
}

static int create(const char *run)
{
    struct pt_err err = PT_ERR_INIT;
    int fd = pt_printed_create(dir, run, &err);
    cr_expect((fd < 0) == (err.msg[0] != '\0'), "%s", err.msg);
    return fd;
}

Test(printed, what_is_written_is_read)
{
    char got[8] = "";
    struct stat st;
    cr_expect_not(pt_printed_is(dir, RUN));
    int to = create(RUN);
    cr_assert(to >= 0 && write(to, "some", 4) == 4);
    cr_assert(pread(to, got, 2, 1) == 2 && strcmp(got, "om") == 0);
    cr_expect(pt_printed_is(dir, RUN));
    int from = pt_printed_open(dir, RUN);
    cr_assert(from >= 0 && read(from, got, sizeof(got)) == 4 && memcmp(got, "some", 4) == 0);
    cr_assert(stat(path_of(RUN), &st) == 0 && (st.st_mode & 0777) == 0600);
    cr_assert(stat(path_of(""), &st) == 0 && (st.st_mode & 0777) == 0700);
    cr_expect(create(RUN) < 0, "a second time");
    close(from);
    close(to);
}

Test(printed, names_that_are_no_runs)
{
    static const char *const names[] = {
        "",           ".",           "..",           "../" RUN,
        RUN "/x",     "2026-11-21",  "a" RUN,        RUN "g",
        "20261121",   "-20261121-a", "20261121-0/a", "20261121-0123456789abcdef0123456789abcdef",
        "20261121-\n"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        cr_expect(create(names[i]) < 0, "%s", names[i]);
        cr_expect(pt_printed_open(dir, names[i]) < 0, "%s", names[i]);
        cr_expect_not(pt_printed_is(dir, names[i]), "%s", names[i]);
    }
}

Test(printed, links_are_not_followed)
{
    char other[96];
    snprintf(other, sizeof(other), "%s/other", dir);
    cr_assert_eq(mkdir(other, 0700), 0);
    cr_assert_eq(symlink(other, path_of("")), 0);
    cr_expect(create(RUN) < 0);
    cr_assert(unlink(path_of("")) == 0 && mkdir(path_of(""), 0700) == 0);
    cr_assert_eq(symlink("/etc/hostname", path_of(RUN)), 0);
    cr_expect(create(RUN) < 0);
    cr_expect(pt_printed_open(dir, RUN) < 0);
    cr_assert(unlink(path_of(RUN)) == 0 && mkfifo(path_of(RUN), 0600) == 0);
    cr_expect(pt_printed_open(dir, RUN) < 0);
}

Test(printed, the_oldest_go)
{
    char name[32];
    close(create(RUN)); /* makes the folder */
    close(open(path_of("of somebody else"), O_CREAT | O_WRONLY, 0600));
    for (int i = 0; i < PT_PRINTED_RUNS + 5; i++) {
        snprintf(name, sizeof(name), "20200101-0000%02d-abcdef", i);
        close(open(path_of(name), O_CREAT | O_WRONLY, 0600));
    }
    close(create("20261121-101113-abcdef"));
    cr_expect(access(path_of("of somebody else"), F_OK) == 0);
    cr_expect(pt_printed_is(dir, RUN));
    cr_expect_not(pt_printed_is(dir, "20200101-000006-abcdef"));
    cr_expect(pt_printed_is(dir, "20200101-000007-abcdef"));
    close(create("19990101-000000-abcdef"));
    cr_expect(pt_printed_is(dir, "19990101-000000-abcdef"), "the new one, though the clock went back");
}
