/* SPDX-License-Identifier: Apache-2.0 */
/* What only members of a group do: orders of the hub, the runner's environment, its stacks, its cores. */
#include "remote/worker/member.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/message_across.h"
#include "remote/worker/rank.h"
#include "remote/worker/slot_inside.h"
#include "remote/worker/stacks.h"

#include <dirent.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define CPU_MAX (8 * CPU_SETSIZE)

struct cpus {
    cpu_set_t sets[CPU_MAX / CPU_SETSIZE];
};

struct pt_member {
    struct pt_member_config config;
    bool welcome; /* the hub said who its runner is */
    bool spread;  /* and that the group is on several hosts */
    struct pt_env *env;
    uint32_t nenv;
    char ranks[16], rank[16], pid[16];
    struct cpus own, bound; /* where the member itself may run; where its runner may */
    struct pt_stacks *stacks;
};

/* What Open MPI (PRRTE, PMIx) tells a process about itself. */
static const char *const launcher[] = {"OMPI_", "PMIX_", "PMI_", "ORTE_", "OPAL_", "PRTE_"};

static int find_number(const char *name, uint32_t *out, struct pt_err *err)
{
    const char *text = getenv(name);
    char *end;
    unsigned long value = text ? strtoul(text, &end, 10) : 0;
    if (!text || *end || end == text || text[0] == '-' || value > PT_RANKS_MAX)
        return pt_err_set(err, "%s is %s: a member is started by Open MPI's mpirun", name,
                          text ? text : "not set");
    *out = (uint32_t)value;
    return 0;
}

int pt_member_find(struct pt_member_config *config, struct pt_err *err)
{
    if (find_number("OMPI_COMM_WORLD_RANK", &config->rank, err) < 0 ||
        find_number("OMPI_COMM_WORLD_SIZE", &config->size, err) < 0)
        return -1;
    if (config->rank >= config->size)
        return pt_err_set(err, "rank %u of %u: there is none", config->rank, config->size);
    return 0;
}

int pt_member_check_folder(const char *run_dir, struct pt_err *err)
{
    struct stat here, there;
    char path[PATH_MAX] = "?";
    if (stat(".", &here) == 0 && stat(run_dir, &there) == 0 && here.st_dev == there.st_dev &&
        here.st_ino == there.st_ino)
        return 0;
    if (!getcwd(path, sizeof(path)))
        snprintf(path, sizeof(path), "?");
    return pt_err_set(err, "started in %s, and not in the run's folder %s", path, run_dir);
}

int pt_member_reach(const struct pt_member_config *config, const char *run_dir, struct pt_err *err)
{
    char path[PT_LOCAL_PATH];
    struct pt_buf msg = {0};
    struct pt_relay want = {.host = config->far, .address = PT_NONE, .what = PT_RELAY_HUB};
    if (pt_local_path(path, run_dir, PT_RELAY_SOCKET, err) < 0)
        return -1;
    pt_auto_fd int fd = pt_local_connect(path, 0, err);
    if (fd < 0 || pt_local_check_peer(fd, err) < 0)
        return pt_err_wrap(err, "the agent");
    pt_relay_encode(&want, PT_Y_WANT, &msg);
    bool sent = !msg.bad && send(fd, msg.data, msg.len, MSG_NOSIGNAL) == (ssize_t)msg.len;
    pt_buf_fini(&msg);
    return sent ? pt_steal_fd(&fd) : pt_err_set(err, "the agent: %s", strerror(errno));
}

int pt_member_create(struct pt_slot *slot, const struct pt_member_config *config, struct pt_err *err)
{
    struct pt_member *member = calloc(1, sizeof(*member));
    if (!member)
        return pt_err_set(err, "member: %s", strerror(errno));
    slot->member = member;
    member->config = *config;
    if (sched_getaffinity(0, sizeof(member->own), member->own.sets) < 0)
        memset(&member->own, 0xff, sizeof(member->own));
    member->bound = member->own;
    snprintf(member->ranks, sizeof(member->ranks), "%u", config->size);
    snprintf(member->rank, sizeof(member->rank), "%u", config->rank);
    snprintf(member->pid, sizeof(member->pid), "%d", (int)getpid());
    return 0;
}

void pt_member_destroy(struct pt_member *member)
{
    if (!member)
        return;
    pt_stacks_destroy(member->stacks);
    for (uint32_t i = 0; i < member->nenv; i++)
        free(member->env[i].name);
    free(member->env);
    free(member);
}

void pt_member_join(const struct pt_slot *slot, struct pt_buf *msg)
{
    const struct pt_member_config *config = &slot->member->config;
    size_t mark = pt_frame_begin(msg, PT_RANK_MEMBER);
    pt_put_u32(msg, config->group);
    pt_put_u32(msg, config->rank);
    pt_put_u32(msg, config->size);
    pt_frame_end(msg, mark);
}

/* --- the runner's environment --- */

/* The value is borrowed. */
static int add_env(struct pt_member *member, const char *name, size_t n, const char *value)
{
    char *copy = strndup(name, n);
    if (!copy)
        return -1;
    member->env[member->nenv++] = (struct pt_env){.name = copy, .value = (char *)(uintptr_t)value};
    return 0;
}

static int add_own(struct pt_member *member, const char *name, const char *value)
{
    return add_env(member, name, strlen(name), value);
}

static bool is_launchers(const char *variable)
{
    for (size_t i = 0; i < PT_COUNT(launcher); i++)
        if (strncmp(variable, launcher[i], strlen(launcher[i])) == 0)
            return strchr(variable, '=') != NULL;
    return false;
}

static int make_env(struct pt_slot *slot)
{
    struct pt_member *member = slot->member;
    size_t room = PT_COUNT(slot->env) + 5;
    for (char **v = environ; *v; v++)
        room += is_launchers(*v);
    member->env = calloc(room, sizeof(*member->env));
    int rc = member->env ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < PT_COUNT(slot->env); i++)
        rc = add_own(member, slot->env[i].name, slot->env[i].value);
    for (char **v = environ; rc == 0 && *v; v++)
        if (is_launchers(*v))
            rc = add_env(member, *v, strcspn(*v, "="), strchr(*v, '=') + 1);
    if (rc == 0 && member->spread)
        rc = add_own(member, "PTREMOTE_SPREAD", "1");
    if (rc == 0 && !getenv("OMP_NUM_THREADS"))
        rc = add_own(member, "OMP_NUM_THREADS", "1");
    if (rc < 0 || add_own(member, "PTREMOTE_RANKS", member->ranks) < 0 ||
        add_own(member, "PTREMOTE_GROUP_RANK", member->rank) < 0 ||
        add_own(member, "PTREMOTE_SUPERVISOR", member->pid) < 0)
        return -1;
    slot->spec.env = member->env;
    slot->spec.nenv = member->nenv;
    return 0;
}

/* --- where the runner may run --- */

void pt_member_bind(struct pt_slot *slot)
{
    struct pt_member *member = slot->member;
    char path[64];
    pid_t pid = slot->runner ? pt_runner_pid(slot->runner) : 0;
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *dir = pid ? opendir(path) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int tid = atoi(entry->d_name);
        if (tid > 0 && sched_setaffinity(tid, sizeof(member->bound), member->bound.sets) < 0)
            pt_debug("rank %u: thread %d: sched_setaffinity: %s", slot->rank, tid, strerror(errno));
    }
    if (dir)
        closedir(dir);
}

static int on_bind(struct pt_slot *slot, struct pt_reader *r)
{
    struct cpus cpus = {0};
    uint32_t n = pt_get_u32(r);
    if (n > CPU_MAX)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t cpu = pt_get_u32(r);
        if (cpu >= CPU_MAX)
            return -1;
        CPU_SET_S(cpu, sizeof(cpus), cpus.sets);
    }
    if (!pt_get_end(r))
        return -1;
    cpus = n ? cpus : slot->member->own;
    if (memcmp(&cpus, &slot->member->bound, sizeof(cpus)) == 0)
        return 0;
    slot->member->bound = cpus;
    pt_member_bind(slot);
    return 0;
}

/* --- the stacks of a runner that will be killed --- */

static void on_dumped(void *arg)
{
    struct pt_slot *slot = arg;
    pt_runner_kill(slot->runner, pt_stacks_deaf(slot->member->stacks));
}

bool pt_member_dump(struct pt_slot *slot)
{
    struct pt_member *member = slot->member;
    pid_t pid = pt_runner_pid(slot->runner);
    bool busy = slot->work.test != PT_NONE || slot->work.file != PT_NONE;
    if (!pid || member->stacks)
        return false;
    member->stacks = pt_stacks_create(slot->loop, pid, slot->spec.output, busy, on_dumped, slot);
    return member->stacks != NULL;
}

void pt_member_end(struct pt_slot *slot)
{
    pt_stacks_destroy(slot->member->stacks);
    slot->member->stacks = NULL;
}

off_t pt_member_dumped(const struct pt_slot *slot)
{
    const struct pt_stacks *stacks = slot->member ? slot->member->stacks : NULL;
    return stacks && !pt_stacks_deaf(stacks) ? pt_stacks_from(stacks) : -1;
}

void pt_member_add_native(const struct pt_slot *slot, struct pt_death *death)
{
    const char *native = slot->member->stacks ? pt_stacks_native(slot->member->stacks) : "";
    const char *stack = death->stack ? death->stack : "";
    char *text = NULL;
    if (!*native || asprintf(&text, "%s%sNative frames:\n%s", stack, *stack ? "\n" : "", native) < 0)
        return;
    free(death->stack);
    death->stack = text;
}

/* --- what the runner and the hub say --- */

int pt_member_failed(struct pt_slot *slot, struct pt_reader *r)
{
    struct pt_buf msg = {0};
    uint32_t test = pt_get_u32(r);
    uint8_t phase = pt_get_u8(r);
    int rc = pt_get_end(r) ? pt_work_failed(&slot->work, test, phase) : -1;
    if (rc <= 0)
        return rc;
    size_t mark = pt_frame_begin(&msg, PT_RANK_FAILED);
    pt_put_u32(&msg, slot->rank);
    pt_put_u32(&msg, test);
    pt_put_u8(&msg, phase);
    pt_frame_end(&msg, mark);
    pt_slot_send(slot, &msg);
    return 0;
}

static int on_welcome(struct pt_slot *slot, struct pt_reader *r)
{
    struct pt_member *member = slot->member;
    uint32_t index = pt_get_u32(r), number = pt_get_u32(r), spread = pt_get_u32(r);
    if (!pt_get_end(r) || spread > 1 || member->welcome || slot->state != WAITING)
        return -1;
    pt_debug("rank %u of %u: group %u has index %u", slot->rank, member->config.size, member->config.group,
             index);
    member->welcome = true;
    member->spread = spread;
    pt_slot_name(slot, number);
    if (make_env(slot) < 0)
        pt_slot_stop(slot, "out of memory", strlen("out of memory"));
    return 0;
}

bool pt_member_welcome(const struct pt_slot *slot)
{
    return slot->member->welcome;
}

/* --- the way to a hub on another host --- */

static bool is_unwelcome(const struct pt_member *member)
{
    return member->config.far != PT_NONE && !member->welcome;
}

bool pt_member_closed(const struct pt_slot *slot, const char *why)
{
    const struct pt_member *member = slot->member;
    if (!is_unwelcome(member))
        return true;
    pt_error("rank %u: the hub of host %u was not reached: %s", slot->rank, member->config.far, why);
    return false;
}

bool pt_member_refused(struct pt_slot *slot, const struct pt_frame *frame)
{
    struct pt_reader r = frame->body;
    if (!is_unwelcome(slot->member) || frame->type != PT_Y_REFUSED)
        return false;
    pt_auto_free char *why = pt_get_str(&r, PT_MAX_TEXT);
    slot->over(slot->arg, pt_member_closed(slot, pt_get_end(&r) ? why : "refused"));
    return true;
}

/* --- what else the hub says --- */

static int on_hung(struct pt_slot *slot, struct pt_reader *r)
{
    uint32_t test = pt_get_u32(r);
    uint8_t phase = pt_get_u8(r);
    if (!pt_get_end(r))
        return -1;
    if (slot->runner && slot->state != KILLING)
        pt_runner_catch_up(slot->runner);
    if (slot->state != RUNNING && slot->state != ENDING)
        return 0;
    pt_slot_look(slot);
    if (pt_work_hung(&slot->work, test, phase))
        pt_slot_kill(slot, PT_CAUSE_DEADLOCK, true);
    return 0;
}

/* There is no runner yet. */
static void say_fallen(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    char nothing[] = "";
    struct pt_death death = {.rank = slot->rank,
                             .bundle = PT_NONE,
                             .test = PT_NONE,
                             .file = PT_NONE,
                             .path = nothing,
                             .phase = PT_PHASE_SESSION,
                             .cause = PT_CAUSE_FALL,
                             .status = SIGKILL,
                             .stack = nothing,
                             .output = nothing};
    pt_death_encode(&death, 0, &msg);
    pt_slot_send(slot, &msg);
    pt_slot_move(slot, STOPPED);
}

static int on_fall(struct pt_slot *slot, struct pt_reader *r)
{
    if (!pt_get_end(r))
        return -1;
    if (slot->runner && slot->state != KILLING)
        pt_runner_catch_up(slot->runner);
    switch (slot->state) {
    case WAITING:
        say_fallen(slot);
        break;
    case STARTING:
    case READY:
        pt_slot_kill(slot, PT_CAUSE_FALL, false);
        break;
    case RUNNING:
    case ENDING:
        pt_slot_kill(slot, PT_CAUSE_FALL, true);
        break;
    default:
        break; /* its end was told, or will be */
    }
    return 0;
}

int pt_member_hear(struct pt_slot *slot, struct pt_frame *frame)
{
    switch (frame->type) {
    case PT_RANK_WELCOME:
        return on_welcome(slot, &frame->body);
    case PT_RANK_BIND:
        return on_bind(slot, &frame->body);
    case PT_RANK_HUNG:
        return on_hung(slot, &frame->body);
    case PT_RANK_FALL:
        return on_fall(slot, &frame->body);
    default:
        return -1;
    }
}
