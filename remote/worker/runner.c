/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/worker/runner.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/loop.h"
#include "remote/worker/local.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_RUNNER_FRAME (PT_MAX_FRAME - 64) /* it must still fit a frame when rank and bundle are added */
#define SERVER_PATIENCE  60000               /* ms to wait for the fork server to come up */
#define RETRY_MS         50
#define DUMP_MS          1000  /* from SIGABRT to SIGKILL */
#define DUMP_CHILD_MS    3000  /* the same where a child has to die, and its session to tell of it */
#define MUTE_MS          10000 /* a process that closed its control socket is killed after this */
#define LAST_WORDS       (64u << 20)

struct pt_runner {
    struct pt_loop *loop;
    struct pt_runner_spec spec;
    const struct pt_runner_callbacks *cb;
    void *arg;
    struct pt_conn *control, *fork;
    int child_end; /* of the control socket, until the process has it */
    int capture[2];
    int place;
    pid_t pid;
    uint64_t timer;
    int64_t deadline; /* for the fork server to answer */
    bool ending, killed;
};

static void on_control_frame(void *arg, struct pt_frame *frame);
static void on_control_closed(void *arg, const char *why);
static void on_fork_frame(void *arg, struct pt_frame *frame);
static void on_fork_closed(void *arg, const char *why);
static void try_fork(void *arg);

static const struct pt_conn_callbacks control_callbacks = {on_control_frame, on_control_closed, NULL};
static const struct pt_conn_callbacks fork_callbacks = {on_fork_frame, on_fork_closed, NULL};

struct pt_runner *pt_runner_create(struct pt_loop *loop, const struct pt_runner_spec *spec,
                                   const struct pt_runner_callbacks *cb, void *arg, struct pt_err *err)
{
    int ends[2] = {-1, -1};
    struct pt_runner *runner = calloc(1, sizeof(*runner));
    if (!runner || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        pt_err_set(err, "runner: %s", strerror(errno));
        free(runner);
        return NULL;
    }
    *runner = (struct pt_runner){
        .loop = loop, .spec = *spec, .cb = cb, .arg = arg, .capture = {-1, -1}, .place = -1};
    runner->child_end = ends[1];
    runner->deadline = pt_now_ms() + SERVER_PATIENCE;
    runner->control = pt_conn_create(loop, ends[0], MAX_RUNNER_FRAME, &control_callbacks, runner, err);
    if (runner->control)
        runner->timer = pt_loop_after(loop, spec->delay_ms, try_fork, runner);
    if (!runner->timer) {
        pt_runner_destroy(runner);
        return NULL;
    }
    return runner;
}

static void set_capture(struct pt_runner *runner, int out, int err)
{
    for (int i = 0; i < 2; i++)
        if (runner->capture[i] >= 0)
            close(runner->capture[i]);
    runner->capture[0] = out;
    runner->capture[1] = err;
}

static void set_place(struct pt_runner *runner, int fd)
{
    if (runner->place >= 0)
        close(runner->place);
    runner->place = fd;
}

void pt_runner_destroy(struct pt_runner *runner)
{
    if (!runner)
        return;
    pt_loop_cancel(runner->loop, runner->timer);
    pt_conn_destroy(runner->control);
    pt_conn_destroy(runner->fork);
    if (runner->child_end >= 0)
        close(runner->child_end);
    set_capture(runner, -1, -1);
    set_place(runner, -1);
    free(runner);
}

static void set_timer(struct pt_runner *runner, int64_t ms, pt_call_fn *fn)
{
    pt_loop_cancel(runner->loop, runner->timer);
    runner->timer = pt_loop_after(runner->loop, ms, fn, runner);
}

/* What the runner had said before it ended is still in the socket: it counts. A child of a test may hold the
 * socket's other end, so its end is not waited for. */
static void end(struct pt_runner *runner, uint32_t status, const char *why)
{
    if (runner->ending)
        return;
    runner->ending = true;
    pt_loop_cancel(runner->loop, runner->timer);
    runner->timer = 0;
    pt_conn_drain(runner->control, LAST_WORDS);
    runner->cb->ended(runner->arg, status, why);
}

/* --- the fork server --- */

static int ask(struct pt_runner *runner)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_F_RUN);
    pt_put_str(&msg, runner->spec.cwd);
    pt_put_u32(&msg, runner->spec.nenv);
    for (uint32_t i = 0; i < runner->spec.nenv; i++) {
        pt_put_str(&msg, runner->spec.env[i].name);
        pt_put_str(&msg, runner->spec.env[i].value);
    }
    pt_frame_end(&msg, mark);
    const int fds[2] = {runner->child_end, runner->spec.output};
    int rc = msg.bad ? -1 : pt_conn_send_fds(runner->fork, msg.data, msg.len, fds, 2);
    pt_buf_fini(&msg);
    close(pt_steal_fd(&runner->child_end));
    return rc;
}

static void try_fork(void *arg)
{
    struct pt_runner *runner = arg;
    struct pt_err err = PT_ERR_INIT;
    runner->timer = 0;
    int fd = pt_local_connect(runner->spec.fork_socket, 0, &err);
    if (fd < 0 && pt_now_ms() < runner->deadline) {
        set_timer(runner, RETRY_MS, try_fork);
        return;
    }
    if (fd >= 0 && pt_local_check_peer(fd, &err) < 0) {
        close(fd);
        fd = -1;
    }
    if (fd >= 0)
        runner->fork = pt_conn_create(runner->loop, fd, PT_MAX_FRAME, &fork_callbacks, runner, &err);
    if (runner->fork && ask(runner) < 0)
        pt_err_set(&err, "asking the fork server: %s", strerror(errno));
    if (err.msg[0])
        end(runner, SIGKILL, err.msg);
}

static void on_fork_frame(void *arg, struct pt_frame *frame)
{
    struct pt_runner *runner = arg;
    struct pt_reader *r = &frame->body;
    if (frame->type == PT_F_FAIL) {
        pt_auto_free char *why = pt_get_str(r, PT_MAX_PATH);
        end(runner, SIGKILL, why ? why : "the fork server failed");
        return;
    }
    uint32_t value = pt_get_u32(r);
    if (!pt_get_end(r) || (frame->type != PT_F_PID && frame->type != PT_F_EXIT))
        end(runner, SIGKILL, "the fork server sent a malformed message");
    else if (frame->type == PT_F_EXIT)
        end(runner, value, NULL);
    else
        runner->pid = value > 1 && value < INT32_MAX ? (pid_t)value : 0;
}

static void on_fork_closed(void *arg, const char *why)
{
    struct pt_runner *runner = arg;
    (void)why;
    if (runner->pid)
        kill(-runner->pid, SIGKILL);
    end(runner, SIGKILL, "the fork server ended");
}

/* --- the process --- */

static void on_control_frame(void *arg, struct pt_frame *frame)
{
    struct pt_runner *runner = arg;
    if (frame->type == PT_R_CAPTURE) {
        int fds[2];
        if (pt_conn_take_fds(runner->control, fds, 2) == 0)
            set_capture(runner, fds[0], fds[1]);
        return;
    }
    if (frame->type == PT_R_PLACE) {
        int fd;
        if (pt_conn_take_fds(runner->control, &fd, 1) == 0)
            set_place(runner, fd);
        return;
    }
    runner->cb->frame(runner->arg, frame);
}

static void kill_group(void *arg)
{
    struct pt_runner *runner = arg;
    struct pt_buf msg = {0};
    runner->timer = 0;
    runner->killed = true;
    size_t mark = pt_frame_begin(&msg, PT_F_KILL);
    pt_put_u32(&msg, SIGKILL);
    pt_frame_end(&msg, mark);
    if (runner->fork && !msg.bad)
        pt_conn_send(runner->fork, msg.data, msg.len);
    pt_buf_fini(&msg);
    if (!runner->fork)
        end(runner, SIGKILL, "killed before it was there");
}

static void on_control_closed(void *arg, const char *why)
{
    struct pt_runner *runner = arg;
    (void)why;
    if (!runner->ending && !runner->timer)
        set_timer(runner, MUTE_MS, kill_group);
}

void pt_runner_send(struct pt_runner *runner, const void *frames, size_t n)
{
    pt_conn_send(runner->control, frames, n);
}

void pt_runner_pause(struct pt_runner *runner, bool pause)
{
    pt_conn_pause(runner->control, pause);
}

void pt_runner_catch_up(struct pt_runner *runner)
{
    if (!runner->ending)
        pt_conn_drain(runner->control, LAST_WORDS);
}

static bool ignores_abort(pid_t pid)
{
    char path[64], line[128];
    unsigned long long ignored = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f) && sscanf(line, "SigIgn: %llx", &ignored) != 1)
        continue;
    if (f)
        fclose(f);
    return ignored >> (SIGABRT - 1) & 1;
}

void pt_runner_kill(struct pt_runner *runner, bool dump)
{
    if (runner->ending)
        return;
    bool child = dump && runner->pid && ignores_abort(runner->pid);
    if (dump && runner->pid && kill(child ? -runner->pid : runner->pid, SIGABRT) == 0)
        set_timer(runner, child ? DUMP_CHILD_MS : DUMP_MS, kill_group);
    else
        set_timer(runner, 0, kill_group);
}

bool pt_runner_spare(struct pt_runner *runner)
{
    if (runner->ending || runner->killed)
        return false;
    pt_loop_cancel(runner->loop, runner->timer);
    runner->timer = 0;
    return true;
}

pid_t pt_runner_pid(const struct pt_runner *runner)
{
    return runner->pid;
}

bool pt_runner_reached(const struct pt_runner *runner)
{
    return runner->fork != NULL;
}

bool pt_runner_place(const struct pt_runner *runner, uint32_t *test, uint32_t *phase, int64_t *since)
{
    unsigned char bytes[16];
    if (runner->place < 0 || pread(runner->place, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        return false;
    struct pt_reader r = {.p = bytes, .left = sizeof(bytes)};
    *test = pt_get_u32(&r);
    *phase = pt_get_u32(&r);
    uint64_t ms = pt_get_u64(&r);
    *since = ms < INT64_MAX ? (int64_t)ms : 0;
    return pt_get_end(&r);
}

const int *pt_runner_capture(const struct pt_runner *runner)
{
    return runner->capture;
}
