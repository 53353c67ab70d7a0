/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/memory.c"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MIB ((uint64_t)1 << 20)

/* A process with so much memory of its own and so much of its parent's, and one below it with as much. */
static pid_t start_tree(size_t own, const char *shared, size_t nshared)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fork() == 0)
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        char *mine = mmap(NULL, own, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memset(mine, 1, own);
        volatile char sum = 0;
        for (size_t i = 0; i < nshared; i += 4096)
            sum = (char)(sum + shared[i]);
        if (write(ready[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    for (int i = 0; i < 2; i++)
        cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end_tree(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

Test(memory, a_process_and_what_it_started)
{
    size_t nshared = 64 * MIB;
    char *shared = mmap(NULL, nshared, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(shared, 1, nshared);
    pid_t pid = start_tree(40 * MIB, shared, nshared);
    uint64_t plain = pt_memory_of_tree(pid, UINT64_MAX), parts = pt_memory_of_tree(pid, 100 * MIB);
    cr_expect(plain >= 208 * MIB && plain < 320 * MIB, "%llu MiB", (unsigned long long)(plain / MIB));
    cr_expect(parts >= 80 * MIB && parts < 160 * MIB, "%llu MiB: what is shared counts by part",
              (unsigned long long)(parts / MIB));
    end_tree(pid);
    cr_expect_eq(pt_memory_of_tree(pid, 0), 0, "it is gone");
    munmap(shared, nshared);
}

/* Both ways to find descendants give the same. */
Test(memory, without_lists_of_children)
{
    struct tree tree = {.n = 0};
    pid_t pid = start_tree(MIB, "", 0);
    add(&tree, pid);
    add_by_parents(&tree);
    cr_expect_eq(tree.n, 2);
    unsigned threads = MAX_THREADS;
    struct tree other = {.n = 0};
    add(&other, pid);
    add_children(&other, pid, &threads);
    cr_expect_eq(other.n, 2);
    cr_expect_eq(other.pids[1], tree.pids[1]);
    end_tree(pid);
}

Test(memory, numbers_in_lines)
{
    cr_expect_eq(find_number("a 1\noom_kill 7\nb 2\n", "oom_kill "), 7);
    cr_expect_eq(find_number("oom_kill 8", "oom_kill "), 8);
    cr_expect_eq(find_number("xoom_kill 8\n", "oom_kill "), 0);
    cr_expect_eq(find_number("", "oom_kill "), 0);
    struct tree tree = {.n = 0};
    for (long pid = 2; pid < 2 * MAX_PROCESSES; pid++) {
        add(&tree, pid);
        add(&tree, pid);
    }
    cr_expect_eq(tree.n, MAX_PROCESSES);
    pt_memory_oom_kills();
}
