/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/pulse.h"

#include "remote/agent/child.h"
#include "remote/agent/least.h"
#include "remote/agent/state.h"
#include "remote/agent/title.h"

#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define EVERY_MIN 1000 /* between two questions, or looks for an answer */
#define SILENCES  4    /* as many as a host may be silent for; then it does not answer */

struct pt_pulse {
    struct pt_agent *agent;
    pid_t pid;
    int64_t asked;
    unsigned looks; /* in vain: a clock would count the time that this machine was stopped */
    uint64_t timer;
};

static int64_t every(const struct pt_pulse *pulse)
{
    int64_t silence = pulse->agent->setup.silence_ms;
    return silence > EVERY_MIN ? silence : EVERY_MIN;
}

/* Nothing of ours may stay open in it. */
static void ask(struct pt_pulse *pulse)
{
    struct statvfs vfs;
    pulse->asked = pt_now_ms();
    pulse->looks = 0;
    pulse->pid = fork();
    if (pulse->pid != 0)
        return;
    pt_title_set("pulse");
    pt_child_detach();
    pt_child_close_from(0);
    pt_least_files(&(const char *){NULL}, NULL);
    statvfs(pulse->agent->cache, &vfs);
    statvfs(pulse->agent->workspace, &vfs);
    _exit(0);
}

static void fail(struct pt_pulse *pulse)
{
    struct pt_err err = PT_ERR_INIT;
    pt_err_set_kind(&err, PT_ERR_INFRA, "the file system of %s, or of %s, has not answered for %lld s",
                    pulse->agent->cache, pulse->agent->workspace,
                    (long long)(pt_now_ms() - pulse->asked) / 1000);
    pt_err_hint(&err, "see whether its server is up, or name a folder on a local disk with --remote-dir");
    pt_agent_fail(pulse->agent, PT_STAGE_TREE, &err);
}

static void on_time(void *arg)
{
    struct pt_pulse *pulse = arg;
    pulse->timer = 0;
    if (pulse->pid > 0 && ++pulse->looks >= SILENCES) {
        fail(pulse);
        return;
    }
    if (pulse->pid <= 0)
        ask(pulse);
    pulse->timer = pt_loop_after(pulse->agent->loop, every(pulse), on_time, pulse);
}

struct pt_pulse *pt_pulse_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_pulse *pulse = calloc(1, sizeof(*pulse));
    if (!pulse) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    pulse->agent = a;
    pulse->timer = pt_loop_after(a->loop, every(pulse), on_time, pulse);
    return pulse;
}

void pt_pulse_destroy(struct pt_pulse *pulse)
{
    if (!pulse)
        return;
    pt_loop_cancel(pulse->agent->loop, pulse->timer);
    free(pulse);
}

pid_t pt_pulse_pid(const struct pt_pulse *pulse)
{
    return pulse && pulse->pid > 0 ? pulse->pid : 0;
}

bool pt_pulse_reaped(struct pt_pulse *pulse, pid_t pid)
{
    if (!pulse || pid != pulse->pid)
        return false;
    pulse->pid = 0;
    return true;
}
