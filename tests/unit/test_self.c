/* SPDX-License-Identifier: Apache-2.0 */
#include "common/auto.h"
#include "common/self.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD "PTREMOTE_TEST_SELF"

/* A copy of this program, started by the test below: a byte once it runs, and its path once it is told to say
 * it. */
__attribute__((constructor)) static void child(void)
{
    char byte, path[PT_SELF_MAX];
    if (!getenv(CHILD))
        return;
    if (write(1, "r", 1) != 1 || read(0, &byte, 1) != 1 || pt_self_path(path) < 0 ||
        write(1, path, strlen(path)) < 0)
        _exit(1);
    _exit(0);
}

static char dir[64], program[128], other[128];

static void copy_self(const char *path)
{
    struct stat st;
    pt_auto_fd int in = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    pt_auto_fd int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    cr_assert(in >= 0 && out >= 0 && fstat(in, &st) == 0);
    for (off_t at = 0; at < st.st_size;)
        cr_assert_gt(sendfile(out, in, &at, (size_t)(st.st_size - at)), 0);
}

static void init(void)
{
    strcpy(dir, "/tmp/pt-self-XXXXXX");
    cr_assert(mkdtemp(dir));
    snprintf(program, sizeof(program), "%s/program (deleted)", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    copy_self(program);
}

static void fini(void)
{
    unlink(program);
    unlink(other);
    rmdir(dir);
}

TestSuite(self, .init = init, .fini = fini, .timeout = 100);

/* What the copy says of itself, after `meanwhile`. */
static void expect_path(void (*meanwhile)(void))
{
    int to[2], from[2];
    char byte, said[PT_SELF_MAX] = "", *argv[] = {program, NULL}, *env[] = {(char *)CHILD "=1", NULL};
    cr_assert(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        execve(program, argv, env);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    cr_assert_eq(read(from[0], &byte, 1), 1, "%s does not run", program);
    if (meanwhile)
        meanwhile();
    cr_assert_eq(write(to[1], "x", 1), 1);
    size_t n = 0;
    for (ssize_t got; (got = read(from[0], said + n, sizeof(said) - 1 - n)) > 0;)
        n += (size_t)got;
    int status = -1;
    waitpid(pid, &status, 0);
    close(to[1]);
    close(from[0]);
    cr_expect_eq(status, 0);
    cr_expect_str_eq(said, program);
}

static void replace(void)
{
    copy_self(other);
    cr_assert_eq(rename(other, program), 0);
}

Test(self, as_it_was_started)
{
    expect_path(NULL);
}

Test(self, after_another_took_its_place)
{
    expect_path(replace);
}
