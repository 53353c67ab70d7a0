/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/room.h"

#include "common/auto.h"
#include "remote/agent/child.h"
#include "remote/agent/launch.h"
#include "remote/agent/least.h"
#include "remote/agent/machine.h"
#include "remote/agent/rundir.h"
#include "remote/agent/state.h"
#include "remote/agent/title.h"
#include "sync/there/cache.h"
#include "sync/there/uses.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define END_MS     1000 /* for the child to end by itself */
#define NICE       19
#define IO_IDLE    (3 << 13) /* ioprio_set(2) has no header */
#define ANSWER_MAX 8192      /* its frame, which a pipe takes whole */
#define PLACES     4

struct pt_room {
    struct pt_agent *agent;
    struct pt_uses *uses;
    uint64_t limit; /* bytes; 0: none */
    bool done;      /* once a run is enough */
    pid_t pid;
    int from; /* the child's answer */
    uint64_t timer;
};

/* --- what is used --- */

static void beat(void *arg)
{
    struct pt_room *room = arg;
    pt_uses_beat(room->uses);
    room->timer = pt_loop_after(room->agent->loop, PT_USES_BEAT_MS, beat, room);
}

void pt_room_use(struct pt_room *room, const char *path)
{
    size_t n = room ? strlen(room->agent->cache) : 0;
    if (room && path && strncmp(path, room->agent->cache, n) == 0 && path[n] == '/')
        pt_uses_add(room->uses, path + n + 1);
}

/* The last `parts` parts of a path whose last one does not count: "ws/MACHINE/PROJECT" of ".../tree". The
 * cache may have been named by a link, these have not. */
static void use_end_of(const struct pt_room *room, char *path, int parts)
{
    char *at = strrchr(path, '/');
    if (!at)
        return;
    *at = '\0';
    while (parts-- > 0)
        if (!(at = memrchr(path, '/', (size_t)(at - path))))
            return;
    pt_uses_add(room->uses, at + 1);
}

static void use_own(struct pt_room *room)
{
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[n > 0 ? n : 0] = '\0';
    use_end_of(room, program, 2);
    pt_auto_free char *tree = room->agent->tree ? strdup(room->agent->workspace) : NULL;
    if (tree)
        use_end_of(room, tree, 3);
}

struct pt_room *pt_room_create(struct pt_agent *a, struct pt_err *err)
{
    struct pt_room *room = calloc(1, sizeof(*room));
    if (!room) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    room->agent = a;
    room->from = -1;
    if (a->set_up) {
        room->uses = pt_uses_create(a->cache, a->machine_id, a->setup.run);
        use_own(room);
        room->timer = pt_loop_after(a->loop, PT_USES_BEAT_MS, beat, room);
    }
    return room;
}

/* --- the child --- */

static void put_size(uint64_t bytes, char out[32])
{
    if (bytes >= 1000000000)
        snprintf(out, 32, "%.1f GB", (double)bytes / 1e9);
    else
        snprintf(out, 32, "%.1f MB", (double)bytes / 1e6);
}

/* What a run is told, for those who ask for details. Nothing when nothing went. */
static void bound(const struct pt_room *room, struct pt_buf *out)
{
    struct pt_cache_done done;
    struct pt_err err = PT_ERR_INIT;
    char size[32], text[PT_CACHE_NAMES + 200];
    const struct pt_agent *a = room->agent;
    int rc = pt_cache_bound(a->cache, a->machine_id, room->limit, &done, &err);
    if (rc == 0 && done.removed == 0)
        return;
    put_size(done.bytes, size);
    if (rc < 0)
        snprintf(text, sizeof(text), "no room was made: %s", err.msg);
    else
        snprintf(text, sizeof(text), "%s of the cache were removed, used last longest ago: %s", size,
                 done.names);
    size_t mark = pt_frame_begin(out, PT_C_LOG);
    pt_put_u8(out, PT_LOG_INFO);
    pt_put_str(out, text);
    pt_frame_end(out, mark);
}

/* The places that the boot tries where none is named. */
static size_t default_places(char *places[PLACES])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    size_t n = 0;
    if (cache && cache[0] == '/' && asprintf(&places[n], "%s/ptremote", cache) > 0)
        n++;
    if (home && home[0] == '/' && asprintf(&places[n], "%s/.cache/ptremote", home) > 0)
        n++;
    if (asprintf(&places[n], "/var/tmp/ptremote-%u", (unsigned)getuid()) > 0)
        n++;
    return n;
}

/* "run R: what it uses", for each place that something stayed in. */
static void add_kept(struct pt_buf *kept, const struct pt_cache_done *done)
{
    char text[PT_CACHE_NAMES + PT_CACHE_RUNS + 20];
    int n = snprintf(text, sizeof(text), "%s%s%s: %s", kept->len ? "; " : "",
                     done->runs[0] ? "run " : "a run", done->runs, done->names);
    if (done->names[0] && n > 0)
        pt_buf_append(kept, text, strlen(text));
}

static uint64_t clean_place(const struct pt_agent *a, const char *place, struct pt_buf *kept)
{
    struct pt_cache_done done;
    struct stat st;
    if (lstat(place, &st) < 0 || (place != a->cache && (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())))
        return 0;
    if (pt_cache_clean(place, a->machine_id, &done, NULL) < 0)
        return 0;
    add_kept(kept, &done);
    return done.bytes;
}

static void clean(const struct pt_room *room, bool everywhere, struct pt_buf *out)
{
    const struct pt_agent *a = room->agent;
    struct pt_buf kept = {0};
    char *places[PLACES] = {NULL};
    uint64_t bytes = clean_place(a, a->cache, &kept);
    size_t n = everywhere ? default_places(places) : 0;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(places[i], a->cache) != 0)
            bytes += clean_place(a, places[i], &kept);
        free(places[i]);
    }
    pt_rundir_clean();
    size_t mark = pt_frame_begin(out, PT_C_CLEANED);
    pt_put_u64(out, bytes);
    pt_put_bytes(out, kept.data, kept.len);
    pt_frame_end(out, mark);
    pt_buf_fini(&kept);
}

enum what { BOUND, CLEAN, CLEAN_EVERYWHERE };

static int child(const struct pt_room *room, enum what what, int to, pid_t agent)
{
    struct pt_buf out = {0};
    pt_title_set("room");
    pt_child_detach();
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != agent || (to != 3 && dup3(to, 3, O_CLOEXEC) < 0))
        return 1;
    pt_child_close_from(4);
    if (what == BOUND) {
        setpriority(PRIO_PROCESS, 0, NICE);
        syscall(SYS_ioprio_set, 1, 0, IO_IDLE);
        pt_least_files((const char *const[]){room->agent->cache, NULL}, NULL);
        bound(room, &out);
    } else {
        pt_least_sweep(NULL); /* what runs left lies in several places */
        clean(room, what == CLEAN_EVERYWHERE, &out);
    }
    return out.bad || (out.len && write(3, out.data, out.len) != (ssize_t)out.len);
}

static int start(struct pt_room *room, enum what what, struct pt_err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return pt_err_set(err, "making room: %m");
    pid_t agent = getpid();
    room->pid = fork();
    if (room->pid == 0)
        _exit(child(room, what, ends[1], agent));
    close(ends[1]);
    room->from = ends[0];
    if (room->pid < 0)
        return pt_err_set(err, "making room: %m");
    return 0;
}

/* --- when --- */

int pt_room_bound(struct pt_room *room, struct pt_reader *body, struct pt_err *err)
{
    uint64_t limit = pt_get_u64(body);
    if (!pt_get_end(body))
        return pt_err_set(err, "BOUND: malformed message");
    room->limit = limit;
    pt_room_advance(room);
    return 0;
}

/* Once the workers are started: no test waits for it. */
void pt_room_advance(struct pt_room *room)
{
    if (!room || room->done || !room->limit || !room->agent->synced)
        return;
    if (!pt_launcher_running(room->agent->launcher) && !(room->agent->setup.flags & PT_SETUP_SYNC_ONLY))
        return;
    room->done = true;
    if (start(room, BOUND, NULL) < 0)
        pt_debug("no room is made in the cache");
}

int pt_room_clean(struct pt_agent *a, struct pt_reader *body, struct pt_err *err)
{
    uint8_t everywhere = pt_get_u8(body);
    if (!pt_get_end(body) || everywhere > 1 || a->set_up || a->room)
        return pt_err_set(err, "CLEAN: malformed message, or not the first");
    if (!(a->machine_id = pt_machine_id()) || !(a->room = pt_room_create(a, err)))
        return pt_err_set(err, "out of memory");
    return start(a->room, everywhere ? CLEAN_EVERYWHERE : CLEAN, err);
}

/* --- its end --- */

pid_t pt_room_pid(const struct pt_room *room)
{
    return room ? room->pid : 0;
}

/* The answer goes to the master as it is. */
static void pass_on(struct pt_room *room)
{
    struct pt_buf frame = {0};
    struct pt_reader body;
    uint8_t type = 0;
    size_t total = 0;
    char *space = pt_buf_reserve(&frame, ANSWER_MAX);
    ssize_t n = space ? read(room->from, space, ANSWER_MAX) : -1;
    frame.len = n > 0 ? (size_t)n : 0;
    if (pt_frame_next(frame.data, frame.len, ANSWER_MAX, &type, &body, &total) > 0 && total == frame.len &&
        (type == PT_C_LOG || type == PT_C_CLEANED))
        pt_agent_send(room->agent, &frame);
    pt_buf_fini(&frame);
}

bool pt_room_reaped(struct pt_room *room, pid_t pid, int status)
{
    struct pt_err err = PT_ERR_INIT;
    char text[48];
    if (!room || pid != room->pid)
        return false;
    room->pid = 0;
    if (status == 0)
        pass_on(room);
    else
        pt_err_set_kind(&err, PT_ERR_INFRA, "making room in the cache ended unexpectedly (%s)",
                        pt_agent_status(status, text));
    if (status != 0 && !room->agent->set_up)
        pt_agent_fail(room->agent, PT_STAGE_SETUP, &err);
    close(room->from);
    room->from = -1;
    return true;
}

static void wait_for_end(struct pt_room *room)
{
    int status;
    pt_auto_fd int fd = room->pid > 0 ? (int)syscall(SYS_pidfd_open, room->pid, 0) : -1;
    if (fd >= 0 && poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, END_MS) > 0 &&
        waitpid(room->pid, &status, WNOHANG) == room->pid)
        pt_room_reaped(room, room->pid, status);
}

void pt_room_destroy(struct pt_room *room)
{
    if (!room)
        return;
    wait_for_end(room);
    pt_loop_cancel(room->agent->loop, room->timer);
    pt_uses_destroy(room->uses);
    if (room->from >= 0)
        close(room->from);
    free(room);
}
