/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/launch.h"

#include "common/auto.h"
#include "remote/agent/collect.h"
#include "remote/agent/groups.h"
#include "remote/agent/init.h"
#include "remote/agent/job.h"
#include "remote/agent/kit.h"
#include "remote/agent/linger.h"
#include "remote/agent/links.h"
#include "remote/agent/pulse.h"
#include "remote/agent/python.h"
#include "remote/agent/relay.h"
#include "remote/agent/room.h"
#include "remote/agent/scarce.h"
#include "remote/agent/state.h"
#include "remote/agent/sweep.h"
#include "remote/agent/tools.h"
#include "remote/agent/tree.h"

#include <signal.h>

#define SWEEP_MS   10   /* between two rounds */
#define REMAINS_MS 8000 /* then what cannot be killed is left to the keeper */
#define LINKS_MS   5000 /* for the last bytes of the links to reach the master */
#define SLOTS_MAX  4096u

enum phase {
    IDLE,
    WANTED,   /* waits for programs and environment */
    RUNNING,  /* mpirun lives */
    SWEEPING, /* it ended; what it left is being killed */
    DRAINING, /* the links' last bytes are under way */
};

struct pt_launcher {
    struct pt_agent *agent;
    enum phase phase;
    struct pt_launch launch;
    struct pt_job job;
    uint32_t ended; /* number of the last that ended, or 0 */
    int status;
    bool ending;     /* was told to */
    uint64_t timer;  /* the next step of sweeping, or the end of the grace */
    int64_t give_up; /* in this phase */
};

struct pt_launcher *pt_launcher_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_launcher *l = calloc(1, sizeof(*l));
    if (!l) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    l->agent = a;
    l->job.child.output = -1;
    return l;
}

/* What one mpirun had. */
static void clear(struct pt_launcher *l)
{
    struct pt_agent *a = l->agent;
    if (a->links)
        pt_links_allow(a->links, NULL, 0);
    pt_groups_end(a->groups);
    pt_relays_end(a->relays);
    pt_loop_cancel(a->loop, l->timer);
    l->timer = 0;
    pt_job_fini(&l->job);
}

static void forget(struct pt_launcher *l)
{
    clear(l);
    l->ended = l->launch.launch;
    pt_launch_fini(&l->launch);
    l->phase = IDLE;
}

void pt_launcher_destroy(struct pt_launcher *l)
{
    if (!l)
        return;
    forget(l);
    free(l);
}

bool pt_launcher_idle(const struct pt_launcher *l)
{
    return !l || l->phase == IDLE;
}

const struct pt_launch *pt_launcher_running(const struct pt_launcher *l)
{
    return l && l->phase == RUNNING ? &l->launch : NULL;
}

int pt_launcher_want(struct pt_launcher *l, struct pt_reader *body, struct pt_err *err)
{
    if (l->phase != IDLE)
        return pt_err_set(err, "LAUNCH while workers run");
    if (pt_launch_decode(body, &l->launch, err) < 0)
        return -1;
    if (l->launch.slots == 0 || l->launch.slots > SLOTS_MAX) {
        pt_launch_fini(&l->launch);
        return pt_err_set(err, "launch: %u slots", l->launch.slots);
    }
    l->phase = WANTED;
    l->ending = false;
    pt_launcher_advance(l);
    return 0;
}

uint32_t pt_launcher_number(const struct pt_launcher *l)
{
    return l && l->phase >= RUNNING ? l->launch.launch : 0;
}

uint32_t pt_launcher_ended(const struct pt_launcher *l)
{
    return l ? l->ended : 0;
}

int pt_launcher_relink(struct pt_launcher *l, struct pt_reader *body, struct pt_err *err)
{
    struct pt_launch keys;
    uint32_t runs = pt_launcher_number(l);
    if (pt_launch_decode(body, &keys, err) < 0)
        return -1;
    uint32_t wanted = keys.launch;
    keys.slots = l->launch.slots;
    if (wanted && wanted == runs) {
        pt_launch_fini(&l->launch);
        l->launch = keys;
        pt_links_admit(l->agent->links);
        return 0;
    }
    pt_launch_fini(&keys);
    if (wanted && !runs && wanted == l->ended)
        return 0; /* its EXITED is under way */
    return pt_err_set(err, "RELINK of launch %u, while %u runs", wanted, runs);
}

static void say_launched(struct pt_launcher *l)
{
    struct pt_buf b = {0};
    size_t mark = pt_frame_begin(&b, PT_C_LAUNCHED);
    pt_put_u32(&b, (uint32_t)l->job.child.pid);
    pt_frame_end(&b, mark);
    pt_agent_send(l->agent, &b);
}

static int start(struct pt_launcher *l, struct pt_err *err)
{
    struct pt_job_spec spec = {.launch = &l->launch, .ranks = l->launch.slots, .group = PT_NONE};
    return pt_job_start(&l->job, l->agent, &spec, err);
}

void pt_launcher_advance(struct pt_launcher *l)
{
    if (!l || l->phase != WANTED || !l->agent->env_ready || !l->agent->tooled || pt_kit_busy(l->agent->kit))
        return;
    struct pt_err err = PT_ERR_INIT;
    if (start(l, &err) < 0) {
        forget(l);
        pt_agent_fail(l->agent, PT_STAGE_LAUNCH, &err);
        return;
    }
    l->phase = RUNNING;
    pt_links_allow(l->agent->links, &l->launch, l->job.child.pid);
    pt_groups_allow(l->agent->groups, &l->launch, l->job.child.pid);
    say_launched(l);
}

/* --- the end --- */

static void on_kill(void *arg)
{
    struct pt_launcher *l = arg;
    l->timer = 0;
    if (l->phase == RUNNING)
        kill(l->job.child.pid, SIGKILL);
}

void pt_launcher_end(struct pt_launcher *l, uint32_t grace_ms)
{
    struct pt_buf none = {0};
    if (!l)
        return;
    if (l->phase == WANTED) {
        forget(l);
        pt_agent_exited(l->agent, PT_PROGRAM_WORKERS, 0, &none);
    }
    l->ending = true;
    if (l->phase != RUNNING)
        return;
    kill(l->job.child.pid, grace_ms ? SIGTERM : SIGKILL);
    pt_loop_cancel(l->agent->loop, l->timer);
    l->timer = grace_ms ? pt_loop_after(l->agent->loop, grace_ms, on_kill, l) : 0;
}

/* Before a worker came, what there is too little of is no accident: mpirun would only fail again. */
static bool fail_for_little(struct pt_launcher *l, int status)
{
    struct pt_err err = PT_ERR_INIT;
    char how[48];
    if (status == 0 || pt_links_came(l->agent->links) || pt_scarce(l->agent->dir, &err) == 0)
        return false;
    pt_err_wrap(&err, "mpirun started no worker (%s)", pt_agent_status(status, how));
    forget(l);
    pt_agent_fail(l->agent, PT_STAGE_LAUNCH, &err);
    return true;
}

static void say_exited(struct pt_launcher *l)
{
    struct pt_child child = l->job.child;
    l->job.child = (struct pt_child){.output = -1};
    int status = l->status;
    pt_child_drain(&child);
    if (!l->ending && !pt_linger_away(l->agent->linger) && pt_kit_take(l->agent->kit, status, &child.tail)) {
        clear(l);
        l->phase = WANTED;
        pt_agent_advance(l->agent);
    } else if (!fail_for_little(l, status)) {
        forget(l);
        pt_agent_exited(l->agent, PT_PROGRAM_WORKERS, status, &child.tail);
    }
    pt_child_fini(&child);
}

static void on_drain(void *arg)
{
    struct pt_launcher *l = arg;
    if (pt_links_busy(l->agent->links) && pt_now_ms() < l->give_up)
        l->timer = pt_loop_after(l->agent->loop, SWEEP_MS, on_drain, l);
    else
        say_exited(l);
}

/* Everything below this agent but the other parts' own processes came from the launch that ended, or from its
 * groups. */
static void on_sweep(void *arg)
{
    struct pt_launcher *l = arg;
    const struct pt_agent *a = l->agent;
    const struct pt_spared spared[] = {
        {.pid = pt_init_pid(a->init), .below = true},
        {.pid = pt_tree_pid(a->tree), .below = true},
        {.pid = pt_collector_pid(a->collector), .below = true},
        {.pid = pt_python_pid(a->python), .below = false},
        {.pid = pt_room_pid(a->room), .below = true},
        {.pid = pt_pulse_pid(a->pulse), .below = true},
    };
    int left = pt_sweep_round(spared, PT_COUNT(spared));
    if ((left != 0 || pt_groups_busy(a->groups) || pt_relays_busy(a->relays)) && pt_now_ms() < l->give_up) {
        l->timer = pt_loop_after(l->agent->loop, SWEEP_MS, on_sweep, l);
        return;
    }
    if (left != 0)
        pt_warn("%d processes of the workers cannot be killed", left);
    l->phase = DRAINING;
    l->give_up = pt_now_ms() + LINKS_MS;
    on_drain(l);
}

bool pt_launcher_reaped(struct pt_launcher *l, pid_t pid, int status)
{
    if (!l || l->phase != RUNNING || pid != l->job.child.pid)
        return false;
    pt_loop_cancel(l->agent->loop, l->timer);
    l->job.child.pid = 0;
    l->status = status;
    l->phase = SWEEPING;
    l->give_up = pt_now_ms() + REMAINS_MS;
    pt_links_allow(l->agent->links, NULL, 0);
    pt_groups_end(l->agent->groups);
    pt_relays_end(l->agent->relays);
    on_sweep(l);
    return true;
}
