/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/keeper.h"

#include "common/err.h"
#include "remote/agent/agent.h"
#include "remote/agent/child.h"
#include "remote/agent/least.h"
#include "remote/agent/rundir.h"
#include "remote/agent/sweep.h"
#include "remote/agent/title.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SWEEP_MS 9000
#define SAID     4

/* In the words of errno, to who still listens to the login. */
static int fail(int fd)
{
    dprintf(fd, "ptremote-agent: cannot begin: %s\n", strerror(errno));
    return -1;
}

/* Nothing of the login stays open: sshd would wait for it. `channel` becomes 3, and 4 is the login's stderr
 * until the agent has begun. */
static int leave_login(int *channel)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int from[] = {fcntl(null, F_DUPFD_CLOEXEC, SAID + 1), fcntl(*channel, F_DUPFD_CLOEXEC, SAID + 1)};
    if (null < 0 || from[0] < 0 || from[1] < 0 || dup3(STDERR_FILENO, SAID, O_CLOEXEC) < 0)
        return fail(STDERR_FILENO);
    for (int fd = 0; fd < 3; fd++)
        if (dup2(from[0], fd) < 0)
            return fail(SAID);
    if (dup3(from[1], 3, O_CLOEXEC) < 0)
        return fail(SAID);
    *channel = 3;
    pt_child_close_from(SAID + 1);
    return 0;
}

static void wait_for(pid_t agent)
{
    for (pid_t pid = 0; pid != agent;)
        if ((pid = waitpid(-1, NULL, 0)) < 0 && errno != EINTR)
            return;
}

int pt_keeper_run(int channel, const char *cache)
{
    struct pt_rundir dir;
    struct pt_err err = PT_ERR_INIT;
    int lifeline[2];
    setsid();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    pt_title_set("keeper");
    pt_child_origin();
    if (leave_login(&channel) < 0 || ((chdir("/") < 0 || pipe2(lifeline, O_CLOEXEC) < 0) && fail(SAID) < 0))
        return 1;
    int rc = pt_rundir_create(&dir, &err);
    pid_t agent = fork();
    if (agent == 0) {
        struct pt_agent_start start = {
            .channel = channel, .lifeline = lifeline[0], .cache = cache, .dir = &dir};
        close(lifeline[1]);
        start.said = SAID;
        start.why = rc < 0 ? &err : NULL;
        _exit(pt_agent_run(&start));
    }
    if (agent < 0)
        fail(SAID);
    close(SAID);
    close(channel);
    close(lifeline[0]);
    pt_least_sweep(NULL);
    pt_rundir_tidy(&dir);
    if (agent > 0)
        wait_for(agent);
    pt_sweep_all(SWEEP_MS);
    pt_rundir_remove(&dir);
    return 0;
}
