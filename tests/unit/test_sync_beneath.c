/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "sync/beneath.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDERS 300
#define OTHERS  3

static char top[64];

static void setup(void)
{
    snprintf(top, sizeof(top), "/tmp/pt-beneath-XXXXXX");
    cr_assert_not_null(mkdtemp(top));
}

static void teardown(void)
{
    rmdir(top);
}

TestSuite(sync_beneath, .init = setup, .fini = teardown, .timeout = 60);

/* Folders in folders, each with a file; some may not be written. */
static void grow(int dir)
{
    for (int i = 0; i < FOLDERS; i++) {
        char name[3][64];
        snprintf(name[0], sizeof(name[0]), "%d", i);
        snprintf(name[1], sizeof(name[1]), "%d/inner", i);
        snprintf(name[2], sizeof(name[2]), "%d/inner/file", i);
        cr_assert_eq(mkdirat(dir, name[0], 0700), 0);
        cr_assert_eq(mkdirat(dir, name[1], 0700), 0);
        pt_auto_fd int fd = openat(dir, name[2], O_WRONLY | O_CREAT, 0600);
        cr_assert(fd >= 0);
        if (i % 10 == 0)
            cr_assert_eq(fchmodat(dir, name[1], 0, 0), 0);
    }
}

static int open_top(void)
{
    int dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert(dir >= 0);
    return dir;
}

Test(sync_beneath, all_that_is_in_a_folder_goes)
{
    pt_auto_fd int dir = open_top();
    grow(dir);
    cr_expect_eq(pt_purge(dir), 0);
    cr_expect_eq(rmdir(top), 0, "%s", strerror(errno));
}

/* What another takes away first is no failure: between them, nothing stays. */
Test(sync_beneath, several_may_empty_one_folder)
{
    pt_auto_fd int dir = open_top();
    int go[2];
    pid_t others[OTHERS];
    grow(dir);
    cr_assert_eq(pipe(go), 0);
    for (int i = 0; i < OTHERS; i++) {
        others[i] = fork();
        cr_assert(others[i] >= 0);
        if (others[i] == 0) {
            char byte;
            close(go[1]);
            if (read(go[0], &byte, 1) != 0)
                _exit(2);
            int own = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            _exit(own >= 0 && pt_purge(own) < 0 ? 1 : 0);
        }
    }
    close(go[0]);
    close(go[1]);
    cr_expect_eq(pt_purge(dir), 0, "%s", strerror(errno));
    for (int i = 0; i < OTHERS; i++) {
        int status = 0;
        cr_assert_eq(waitpid(others[i], &status, 0), others[i]);
        cr_expect_eq(status, 0, "another failed: %x", (unsigned)status);
    }
    cr_expect_eq(pt_purge(dir), 0);
    cr_expect_eq(rmdir(top), 0, "%s", strerror(errno));
}
