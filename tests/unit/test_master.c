/* SPDX-License-Identifier: Apache-2.0 */
#include "master.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

Test(master, knows_itself)
{
    char word[PT_MASTER_MAX];
    long pid = 0;
    pt_master_self(word);
    cr_expect_eq(pt_master_state(word, &pid), PT_MASTER_HERE);
    cr_expect_eq(pid, getpid());
}

/* Its word; it lives until the pipe's end is closed. */
static pid_t child(char *word, int *end)
{
    int life[2], said[2];
    cr_assert(pipe(life) == 0 && pipe(said) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        char byte, own[PT_MASTER_MAX] = "";
        close(life[1]);
        pt_master_self(own);
        _exit(write(said[1], own, sizeof(own)) == sizeof(own) && read(life[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(life[0]);
    close(said[1]);
    for (size_t n = 0; n < PT_MASTER_MAX;) {
        ssize_t got = read(said[0], word + n, PT_MASTER_MAX - n);
        cr_assert_gt(got, 0);
        n += (size_t)got;
    }
    close(said[0]);
    *end = life[1];
    return pid;
}

Test(master, is_gone_once_it_has_ended)
{
    char word[PT_MASTER_MAX];
    siginfo_t info;
    int end;
    pid_t pid = child(word, &end);
    cr_expect_eq(pt_master_state(word, NULL), PT_MASTER_HERE);
    close(end);
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    cr_expect_eq(pt_master_state(word, NULL), PT_MASTER_GONE, "also while nobody has reaped it");
    waitpid(pid, NULL, 0);
    cr_expect_eq(pt_master_state(word, NULL), PT_MASTER_GONE);
}

/* What cannot be looked at is not gone. */
Test(master, is_not_known_where_no_file_can_be_opened)
{
    char word[PT_MASTER_MAX];
    struct rlimit none = {0};
    pt_master_self(word);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &none), 0);
    none.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum pt_master_state state = pt_master_state(word, NULL);
    none.rlim_cur = none.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_expect_eq(state, PT_MASTER_UNKNOWN);
    cr_expect_eq(pt_master_state(word, NULL), PT_MASTER_HERE);
}

/* The word with its nth part (from 0) replaced. */
static void expect(const char *with, int nth, enum pt_master_state want)
{
    char word[PT_MASTER_MAX], other[2 * PT_MASTER_MAX] = "", *rest = word, *part;
    pt_master_self(word);
    for (int i = 0; (part = strsep(&rest, " ")); i++)
        snprintf(other + strlen(other), sizeof(other) - strlen(other), "%s%s", i ? " " : "",
                 i == nth ? with : part);
    cr_expect_eq(pt_master_state(other, NULL), want, "%s", other);
}

Test(master, another_one_with_its_number_is_not_it)
{
    expect("another-machine", 0, PT_MASTER_UNKNOWN);
    expect("another-boot", 1, PT_MASTER_GONE);
    expect("0", 2, PT_MASTER_GONE);
    expect("12", 3, PT_MASTER_GONE);
    expect("x", 3, PT_MASTER_UNKNOWN);
    cr_expect_eq(pt_master_state("", NULL), PT_MASTER_UNKNOWN);
    cr_expect_eq(pt_master_state(NULL, NULL), PT_MASTER_UNKNOWN);
}
