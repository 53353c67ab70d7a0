/* SPDX-License-Identifier: Apache-2.0 */
/* ptremote-worker: one rank for each slot of a host, started by the agent's mpirun. Every rank supervises one
 * runner (slot.h); rank 0 also holds the link to the master (hub.h). Between MPI_Init and MPI_Finalize no MPI
 * call is made: a rank that waits sleeps in poll(2). With --group it is a member (member.h), one for each
 * rank of a group: that makes no MPI call at all, its runner does. */
#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/message.h"
#include "remote/worker/hub.h"
#include "remote/worker/local.h"
#include "remote/worker/member.h"
#include "remote/worker/rank.h"
#include "remote/worker/slot.h"
#include "remote/worker/world.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define JOIN_MS 30000 /* for rank 0 to listen */

struct worker {
    struct pt_loop *loop;
    struct pt_hub *hub;
    struct pt_slot *slot;
    const char *run_dir;
    uint32_t host, launch, rank, size;
    struct pt_member_config member; /* group NONE: it is none */
    int rc;
    bool over;
};

static bool is_member(const struct worker *worker)
{
    return worker->member.group != PT_NONE;
}

static void finish(struct worker *worker, int rc)
{
    if (!worker->over)
        worker->rc = rc;
    worker->over = true;
    pt_loop_stop(worker->loop);
}

static void on_hub_over(void *arg, const char *why)
{
    if (why)
        pt_error("%s", why);
    finish(arg, why ? 1 : 0);
}

static void on_slot_over(void *arg, bool ended)
{
    struct worker *worker = arg;
    finish(worker, ended ? 0 : 1);
}

static int get_number(const char *name, const char *text, uint32_t *out, struct pt_err *err)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || *end || end == text || text[0] == '-' || value > 1000000)
        return pt_err_set(err, "%s: want a number from 0 to 1000000, got '%s'", name, text);
    *out = (uint32_t)value;
    return 0;
}

static int get_options(struct worker *worker, int argc, char **argv, struct pt_err *err)
{
    uint32_t seen = 0;
    worker->member.group = worker->member.far = PT_NONE;
    for (int i = 1; i + 1 < argc; i += 2) {
        int rc = 0;
        if (strcmp(argv[i], "--run-dir") == 0 && ++seen)
            worker->run_dir = argv[i + 1];
        else if (strcmp(argv[i], "--host") == 0 && ++seen)
            rc = get_number(argv[i], argv[i + 1], &worker->host, err);
        else if (strcmp(argv[i], "--launch") == 0 && ++seen)
            rc = get_number(argv[i], argv[i + 1], &worker->launch, err);
        else if (strcmp(argv[i], "--group") == 0 && ++seen)
            rc = get_number(argv[i], argv[i + 1], &worker->member.group, err);
        else if (strcmp(argv[i], "--far") == 0 && ++seen)
            rc = get_number(argv[i], argv[i + 1], &worker->member.far, err);
        if (rc < 0)
            return -1;
    }
    uint32_t want = 3 + is_member(worker) + (worker->member.far != PT_NONE);
    if (argc != 1 + 2 * (int)want || seen != want || !worker->run_dir ||
        (worker->member.far != PT_NONE && !is_member(worker)))
        return pt_err_set(
            err, "usage: ptremote-worker --run-dir DIR --host N --launch K [--group G [--far HOST]]");
    return 0;
}

/* Whoever holds the key must not be read by others, nor leave it in a core file. */
static void harden(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    prctl(PR_SET_DUMPABLE, 0);
}

static char *get_env(const char *name, const char *otherwise)
{
    static char empty[] = "";
    char *value = getenv(name);
    if (!value && otherwise)
        value = getenv(otherwise);
    return value ? value : empty;
}

static int start_hub(struct worker *worker, int *own, struct pt_err *err)
{
    int ends[2];
    struct pt_hub_config config = {.run_dir = worker->run_dir,
                                   .host = worker->host,
                                   .launch = worker->launch,
                                   .slots = worker->size,
                                   .run = get_env("PTREMOTE_RUN", NULL),
                                   .who = get_env("PTREMOTE_SHARE", NULL),
                                   .share = getenv("PTREMOTE_SHARE_DIR")};
    harden();
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return pt_err_set(err, "socketpair: %s", strerror(errno));
    worker->hub = pt_hub_create(worker->loop, &config, ends[0], on_hub_over, worker, err);
    if (worker->hub) {
        *own = ends[1];
        return 0;
    }
    close(ends[1]);
    return -1;
}

static int reach_hub(const struct worker *worker, struct pt_err *err)
{
    char path[PT_LOCAL_PATH];
    if (is_member(worker) && worker->member.far != PT_NONE)
        return pt_member_reach(&worker->member, worker->run_dir, err);
    if (pt_local_path(path, worker->run_dir, PT_RANK_SOCKET, err) < 0)
        return -1;
    pt_auto_fd int fd = pt_local_connect(path, JOIN_MS, err);
    if (fd < 0 || pt_local_check_peer(fd, err) < 0)
        return pt_err_wrap(err, "rank 0");
    return pt_steal_fd(&fd);
}

/* Which rank this is, of how many. mpirun ends all members when MPI lost one of their runners: what became of
 * each is still to be told, so they ignore SIGTERM, and go when their hub does. */
static int find_rank(struct worker *worker, int *argc, char ***argv, struct pt_err *err)
{
    if (!is_member(worker)) {
        int rank, size;
        pt_world_start(argc, argv, &rank, &size);
        worker->rank = (uint32_t)rank;
        worker->size = (uint32_t)size;
        return 0;
    }
    signal(SIGTERM, SIG_IGN);
    if (pt_member_find(&worker->member, err) < 0 || pt_member_check_folder(worker->run_dir, err) < 0)
        return -1;
    worker->rank = worker->member.rank;
    worker->size = worker->member.size;
    return 0;
}

static int start(struct worker *worker, struct pt_err *err)
{
    bool member = is_member(worker);
    struct pt_slot_config config = {.run_dir = worker->run_dir,
                                    .cwd = get_env("PTREMOTE_CWD", "PTREMOTE_WORKSPACE"),
                                    .workspace = get_env("PTREMOTE_WORKSPACE", NULL),
                                    .run = get_env("PTREMOTE_RUN", NULL),
                                    .host = worker->host,
                                    .rank = worker->rank,
                                    .slots = worker->size,
                                    .member = member ? &worker->member : NULL};
    int hub = -1;
    if (member && get_env("PTREMOTE_SLOTS", NULL)[0] &&
        get_number("PTREMOTE_SLOTS", get_env("PTREMOTE_SLOTS", NULL), &config.slots, err) < 0)
        return -1;
    if (!config.workspace[0])
        return pt_err_set(err, "PTREMOTE_WORKSPACE is not set");
    if (!(worker->loop = pt_loop_create(err)))
        return -1;
    bool first = worker->rank == 0 && !member;
    if (first && start_hub(worker, &hub, err) < 0)
        return -1;
    if (!first && (hub = reach_hub(worker, err)) < 0)
        return -1;
    worker->slot = pt_slot_create(worker->loop, &config, hub, on_slot_over, worker, err);
    return worker->slot ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct worker worker = {.rc = 1};
    struct pt_err err = PT_ERR_INIT;
    pt_log_setup(getenv("PTREMOTE_DEBUG") ? PT_LOG_DEBUG : PT_LOG_WARN, "ptremote-worker");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that grew too large is a full disk */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (get_options(&worker, argc, argv, &err) < 0) {
        pt_error("%s", err.msg);
        return 4;
    }
    if (find_rank(&worker, &argc, &argv, &err) < 0 || start(&worker, &err) < 0)
        pt_error("%s", err.msg);
    else if (pt_loop_run(worker.loop) < 0)
        pt_error("poll: %s", strerror(errno));
    pt_slot_destroy(worker.slot);
    pt_hub_destroy(worker.hub);
    pt_loop_destroy(worker.loop);
    if (worker.rc != 0)
        _exit(worker.rc); /* mpirun ends the other ranks */
    if (!is_member(&worker))
        pt_world_end();
    return 0;
}
