/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/guard.h"

#include "common/auto.h"
#include "common/loop.h"
#include "remote/agent/child.h"
#include "remote/agent/least.h"
#include "remote/agent/sweep.h"
#include "remote/agent/title.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define REMAINS_MS 6000 /* then what cannot be killed is left to the agent */
#define TICK_NS    10000000

/* Reaps whoever ended. True once the program did. */
static bool is_over(pid_t program, int *status)
{
    int how;
    for (pid_t pid; (pid = waitpid(-1, &how, WNOHANG)) > 0;)
        if (pid == program) {
            *status = how;
            return true;
        }
    return false;
}

/* mpirun sleeps for a second before it signals its ranks, and again after that: it is not waited for once
 * they are gone. */
static int wait_program(pid_t program, const sigset_t *set, uint32_t grace_ms)
{
    static const struct timespec tick = {.tv_nsec = TICK_NS};
    int status = 0;
    int64_t kill_at = 0; /* 0: nobody asked for its end */
    while (!is_over(program, &status)) {
        if (kill_at && (pt_now_ms() >= kill_at || pt_sweep_children(program, 0) == 0))
            kill(program, SIGKILL);
        if (sigtimedwait(set, NULL, kill_at ? &tick : NULL) != SIGTERM || kill_at)
            continue;
        kill(program, SIGTERM);
        pt_sweep_children(program, SIGTERM);
        kill_at = pt_now_ms() + grace_ms;
    }
    return status;
}

static _Noreturn void end_as(int status)
{
    if (!WIFSIGNALED(status))
        _exit(WEXITSTATUS(status));
    int sig = WTERMSIG(status);
    sigset_t set;
    sigfillset(&set);
    signal(sig, SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), sig);
    _exit(128 + sig);
}

static _Noreturn void guard(pid_t program, const sigset_t *set, const struct pt_guard *how)
{
    pt_child_close_from(0);
    pt_least_sweep(NULL);
    int status = wait_program(program, set, how->grace_ms);
    pt_sweep_all(REMAINS_MS);
    for (size_t i = 0; i < PT_COUNT(how->folders); i++)
        if (how->folders[i])
            pt_sweep_folder(how->folders[i], NULL);
    end_as(status);
}

int pt_guard_fork(const void *arg)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    sigprocmask(SIG_BLOCK, &set, &old);
    pt_title_set("group");
    pid_t self = getpid(), program = fork();
    if (program > 0)
        guard(program, &set, arg);
    if (program < 0)
        return -1;
    sigprocmask(SIG_SETMASK, &old, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    errno = ESRCH;
    return getppid() == self ? 0 : -1;
}
