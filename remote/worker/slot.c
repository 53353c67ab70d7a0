/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a slot:
 *
 *   WAITING --SESSION--> STARTING --UP--> READY --BUNDLE--> RUNNING --DONE--> READY ...
 *
 * A runner that dies is told as a DEATH and followed by a new one (STARTING), which gets what is left of the
 * bundle. What dies takes a test or a file off the bundle, so this ends; a runner that dies without having
 * got anywhere is followed at most MAX_FRUITLESS times in a row, then the slot is STOPPED: broken. A test
 * over its time, and all that runs at CANCEL, is killed (KILLING) and dealt with once it has ended. QUIT lets
 * the runner end its session (ENDING), kills it after the grace, and ends in GONE with a BYE. */
#include "remote/worker/slot.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "remote/worker/deathnote.h"
#include "remote/worker/rank.h"
#include "remote/worker/slot_inside.h"
#include "remote/worker/tell.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MAX_FRUITLESS 3
#define AGAIN_MS      200        /* before a runner that follows one that got nowhere */
#define OUTPUT_LIMIT  (8 << 20)  /* the output file starts again from nothing above this */
#define QUEUE_HIGH    (4u << 20) /* bytes to the hub at which the runner has to wait */
#define QUEUE_LOW     (1u << 20)
#define PAUSED_MS     1000 /* a test that cannot report because we do not read is given this more */

static const char *const state_names[] = {"waiting", "starting", "ready",   "running",
                                          "killing", "ending",   "stopped", "gone"};
_Static_assert(PT_COUNT(state_names) == STATES, "one name for each state");
#define TO(s) (1u << (s))
static const unsigned edges[STATES] = {
    [WAITING] = TO(STARTING) | TO(STOPPED) | TO(GONE),
    [STARTING] = TO(STARTING) | TO(READY) | TO(RUNNING) | TO(KILLING) | TO(STOPPED),
    [READY] = TO(RUNNING) | TO(STARTING) | TO(KILLING) | TO(ENDING) | TO(STOPPED),
    [RUNNING] = TO(READY) | TO(STARTING) | TO(KILLING) | TO(ENDING) | TO(STOPPED),
    [KILLING] = TO(STARTING) | TO(STOPPED) | TO(GONE),
    [ENDING] = TO(KILLING) | TO(GONE),
    [STOPPED] = TO(GONE),
};

static void on_hub_frame(void *arg, struct pt_frame *frame);
static void on_hub_closed(void *arg, const char *why);
static void on_hub_sent(void *arg);
static void on_runner_frame(void *arg, struct pt_frame *frame);
static void on_runner_ended(void *arg, uint32_t status, const char *why);
static const struct pt_conn_callbacks hub_callbacks = {on_hub_frame, on_hub_closed, on_hub_sent};
static const struct pt_runner_callbacks runner_callbacks = {on_runner_frame, on_runner_ended};

void pt_slot_move(struct pt_slot *slot, enum pt_slot_state to)
{
    if (!(edges[slot->state] & TO(to)))
        pt_error("rank %u: %s after %s: a bug", slot->rank, state_names[to], state_names[slot->state]);
    pt_debug("rank %u: %s, was %s", slot->rank, state_names[to], state_names[slot->state]);
    slot->state = to;
}

void pt_slot_send(struct pt_slot *slot, struct pt_buf *msg)
{
    if (msg->bad)
        pt_error("rank %u: out of memory: a message is lost", slot->rank);
    else
        pt_conn_send(slot->hub, msg->data, msg->len);
    pt_buf_fini(msg);
    if (slot->runner && !slot->paused && pt_conn_queued(slot->hub) > QUEUE_HIGH) {
        slot->paused = true;
        pt_runner_pause(slot->runner, true);
    }
}

static void on_hub_sent(void *arg)
{
    struct pt_slot *slot = arg;
    if (slot->runner && slot->paused && pt_conn_queued(slot->hub) < QUEUE_LOW) {
        slot->paused = false;
        pt_runner_pause(slot->runner, false);
    }
}

/* --- the runner's life --- */

void pt_slot_stop_timers(struct pt_slot *slot)
{
    pt_loop_cancel(slot->loop, slot->limit);
    pt_loop_cancel(slot->loop, slot->leaving);
    slot->limit = slot->leaving = 0;
}

void pt_slot_kill(struct pt_slot *slot, uint8_t cause, bool dump)
{
    pt_slot_stop_timers(slot);
    slot->cause = cause;
    slot->lasted = pt_now_ms() - slot->began;
    pt_slot_move(slot, KILLING);
    pt_runner_kill(slot->runner, dump);
}

/* No runner will be started any more. */
static void stop(struct pt_slot *slot, const void *why, size_t n)
{
    struct pt_buf msg = {0};
    pt_tell_broken(&msg, slot->rank, why, n);
    pt_slot_send(slot, &msg);
    pt_work_fini(&slot->work);
    pt_slot_move(slot, STOPPED);
}

static void say_bye(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    pt_tell_bye(&msg, slot->rank);
    pt_slot_send(slot, &msg);
    pt_slot_move(slot, GONE);
}

/* The runner sleeps, or is not there yet: what comes from here on is of what it does next. */
static void mark_output(struct pt_slot *slot)
{
    struct stat st = {.st_size = 0};
    pt_slot_bound_output(slot, OUTPUT_LIMIT);
    slot->mark = fstat(slot->spec.output, &st) == 0 ? st.st_size : 0;
}

void pt_slot_bound_output(struct pt_slot *slot, off_t most)
{
    struct stat st;
    if (fstat(slot->spec.output, &st) == 0 && st.st_size > most && ftruncate(slot->spec.output, 0) == 0)
        slot->mark = 0;
}

static void start_runner(struct pt_slot *slot)
{
    struct pt_err err = PT_ERR_INIT;
    mark_output(slot);
    pt_buf_clear(&slot->broken);
    slot->cause = PT_CAUSE_DIED;
    slot->began = pt_now_ms();
    slot->up = slot->progress = slot->ended = slot->paused = false;
    slot->spec.delay_ms = (int64_t)slot->fruitless * AGAIN_MS;
    slot->runner = pt_runner_create(slot->loop, &slot->spec, &runner_callbacks, slot, &err);
    pt_slot_move(slot, STARTING);
    if (slot->runner)
        pt_runner_send(slot->runner, slot->session.data, slot->session.len);
    else
        stop(slot, err.msg, strlen(err.msg));
}

void pt_slot_finish(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    pt_tell_done(&msg, slot->rank, &slot->work.bundle);
    pt_slot_send(slot, &msg);
    pt_work_fini(&slot->work);
}

static void give_rest(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    mark_output(slot);
    if (pt_work_rest(&slot->work, &msg) == 0) {
        pt_runner_send(slot->runner, msg.data, msg.len);
        pt_slot_move(slot, RUNNING);
    } else {
        pt_error("rank %u: out of memory: the runner is given up", slot->rank);
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
    }
    pt_buf_fini(&msg);
}

void pt_slot_feed(struct pt_slot *slot)
{
    if (slot->work.left) {
        give_rest(slot);
        return;
    }
    if (slot->work.active)
        pt_slot_finish(slot);
    if (slot->state != READY)
        pt_slot_move(slot, READY);
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_RANK_READY);
    pt_put_u32(&msg, slot->rank);
    pt_frame_end(&msg, mark);
    pt_slot_send(slot, &msg);
}

void pt_slot_on_limit(void *arg)
{
    struct pt_slot *slot = arg;
    slot->limit = 0;
    if (slot->paused)
        slot->limit = pt_loop_after(slot->loop, PAUSED_MS, pt_slot_on_limit, slot);
    else
        pt_slot_kill(slot, PT_CAUSE_TIMEOUT, true);
}

void pt_slot_on_leaving(void *arg)
{
    struct pt_slot *slot = arg;
    slot->leaving = 0;
    pt_slot_kill(slot, PT_CAUSE_TIMEOUT, !slot->ended);
}

/* --- the end of a runner --- */

static void on_runner_frame(void *arg, struct pt_frame *frame)
{
    struct pt_slot *slot = arg;
    if (slot->state == KILLING)
        return;
    if (pt_slot_obey(slot, frame) < 0) {
        pt_warn("rank %u: the runner sent a message that makes no sense (type %u)", slot->rank, frame->type);
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
    }
}

static void tell_death(struct pt_slot *slot, uint32_t status)
{
    struct pt_buf msg = {0};
    struct pt_death death = {.rank = slot->rank, .cause = slot->cause, .status = status};
    if (slot->state != KILLING)
        slot->lasted = pt_now_ms() - slot->began;
    death.duration_us = (uint64_t)slot->lasted * 1000;
    if (pt_work_died(&slot->work, &death))
        slot->progress = true;
    pt_deathnote_read(&death, slot->spec.output, slot->mark, pt_runner_capture(slot->runner));
    pt_death_encode(&death, 0, &msg);
    pt_slot_send(slot, &msg);
    free(death.stack);
    free(death.output);
}

static void describe(char *text, size_t size, const struct pt_slot *slot, uint32_t status, const char *why)
{
    int st = (int)status;
    if (why)
        snprintf(text, size, "no runner could be started: %s\n", why);
    else if (WIFSIGNALED(st))
        snprintf(text, size, "%u runners in a row got nowhere; the last was killed by signal %d (%s)\n",
                 slot->fruitless, WTERMSIG(st), strsignal(WTERMSIG(st)));
    else
        snprintf(text, size, "%u runners in a row got nowhere; the last ended with status %d\n",
                 slot->fruitless, WEXITSTATUS(st));
}

/* There will be no other runner: say why, with what the last one left. */
static void give_up(struct pt_slot *slot, uint32_t status, const char *why)
{
    static const int none[2] = {-1, -1};
    struct pt_death death = {0};
    char text[512];
    struct pt_buf msg = {0};
    describe(text, sizeof(text), slot, status, why);
    pt_buf_append(&msg, text, strlen(text));
    pt_deathnote_read(&death, slot->spec.output, slot->mark, none);
    pt_buf_append(&msg, death.output, death.output ? strlen(death.output) : 0);
    pt_buf_append(&msg, death.stack, death.stack ? strlen(death.stack) : 0);
    stop(slot, msg.data, msg.len);
    pt_buf_fini(&msg);
    free(death.stack);
    free(death.output);
}

/* The runner is gone and told of. */
static void go_on(struct pt_slot *slot, uint32_t status, const char *why, bool reached)
{
    slot->fruitless = slot->progress ? 0 : slot->fruitless + 1;
    if (slot->quitting)
        say_bye(slot);
    else if (slot->cancelled)
        pt_slot_move(slot, STOPPED);
    else if (slot->broken.len)
        stop(slot, slot->broken.data, slot->broken.len);
    else if ((why && !reached) || slot->fruitless >= MAX_FRUITLESS)
        give_up(slot, status, why);
    else
        start_runner(slot);
}

static void on_runner_ended(void *arg, uint32_t status, const char *why)
{
    struct pt_slot *slot = arg;
    pt_slot_stop_timers(slot);
    pt_debug("rank %u: the runner ended, wait status 0x%x%s%s", slot->rank, status, why ? ": " : "",
             why ? why : "");
    if (slot->up && !slot->cancelled && !(slot->ended && slot->quitting))
        tell_death(slot, status);
    pt_auto_free char *reason = why ? strdup(why) : NULL;
    bool reached = pt_runner_reached(slot->runner);
    pt_runner_destroy(slot->runner);
    slot->runner = NULL;
    go_on(slot, status, reason, reached);
}

/* --- what the hub says --- */

static void on_session(struct pt_slot *slot, struct pt_frame *frame)
{
    if (slot->state != WAITING)
        return;
    pt_buf_clear(&slot->session);
    pt_buf_append(&slot->session, frame->data, frame->len);
    if (slot->session.bad) {
        stop(slot, "out of memory", strlen("out of memory"));
        return;
    }
    slot->session.data[PT_FRAME_HEAD - 1] = PT_R_SESSION;
    start_runner(slot);
}

static void on_bundle(struct pt_slot *slot, struct pt_frame *frame)
{
    struct pt_bundle bundle;
    struct pt_err err = PT_ERR_INIT;
    bool welcome = (slot->state == READY || slot->state == STARTING) && !slot->work.active;
    if (pt_bundle_decode(&frame->body, &bundle, &err) < 0) {
        pt_error("rank %u: %s", slot->rank, err.msg);
        return;
    }
    if (!welcome) {
        pt_bundle_fini(&bundle);
        return;
    }
    if (pt_work_init(&slot->work, &bundle, &err) < 0)
        pt_error("rank %u: %s", slot->rank, err.msg);
    else if (slot->state == READY)
        pt_slot_feed(slot);
}

static void on_cancel(struct pt_slot *slot)
{
    slot->cancelled = true;
    if (slot->state == WAITING)
        pt_slot_move(slot, STOPPED);
    else if (slot->runner && slot->state != KILLING)
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
    else if (slot->runner)
        pt_runner_kill(slot->runner, false);
}

static void on_quit(struct pt_slot *slot, struct pt_reader *r)
{
    struct pt_buf msg = {0};
    uint32_t grace = pt_get_u32(r);
    if (slot->quitting)
        return;
    slot->quitting = true;
    switch (slot->state) {
    case WAITING:
    case STOPPED:
        say_bye(slot);
        break;
    case STARTING:
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
        break;
    case READY:
    case RUNNING:
        pt_frame_end(&msg, pt_frame_begin(&msg, PT_R_QUIT));
        pt_runner_send(slot->runner, msg.data, msg.len);
        pt_buf_fini(&msg);
        slot->leaving = pt_loop_after(slot->loop, grace, pt_slot_on_leaving, slot);
        pt_slot_move(slot, ENDING);
        break;
    default:
        break; /* KILLING ends in BYE */
    }
}

static void on_hub_frame(void *arg, struct pt_frame *frame)
{
    struct pt_slot *slot = arg;
    switch (frame->type) {
    case PT_L_SESSION:
        on_session(slot, frame);
        break;
    case PT_L_BUNDLE:
        on_bundle(slot, frame);
        break;
    case PT_L_CANCEL:
        on_cancel(slot);
        break;
    case PT_L_QUIT:
        on_quit(slot, &frame->body);
        break;
    default:
        pt_error("rank %u: message %u from the hub: a bug", slot->rank, frame->type);
    }
}

static void on_hub_closed(void *arg, const char *why)
{
    struct pt_slot *slot = arg;
    pt_debug("rank %u: the hub: %s", slot->rank, why);
    slot->over(slot->arg, slot->state == GONE);
}

/* --- create, destroy --- */

static int open_output(const char *dir, uint32_t rank, struct pt_err *err)
{
    char path[PT_LOCAL_PATH], name[32];
    snprintf(name, sizeof(name), "out.%u", rank);
    if (pt_local_path(path, dir, name, err) < 0)
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? pt_err_set(err, "%s: %s", path, strerror(errno)) : fd;
}

static void set_spec(struct pt_slot *slot, const struct pt_slot_config *config)
{
    snprintf(slot->worker, sizeof(slot->worker), "h%u.%u", config->host, config->rank);
    snprintf(slot->slots, sizeof(slot->slots), "%u", config->slots);
    static char names[][20] = {"PTREMOTE_WORKSPACE", "PTREMOTE_RUN", "PTREMOTE_WORKER", "PTREMOTE_SLOTS"};
    slot->env[0] = (struct pt_env){names[0], config->workspace};
    slot->env[1] = (struct pt_env){names[1], config->run};
    slot->env[2] = (struct pt_env){names[2], slot->worker};
    slot->env[3] = (struct pt_env){names[3], slot->slots};
    slot->spec = (struct pt_runner_spec){.fork_socket = slot->fork_socket,
                                         .cwd = config->cwd,
                                         .env = slot->env,
                                         .nenv = PT_COUNT(slot->env),
                                         .output = -1};
}

static int join(struct pt_slot *slot, int hub, struct pt_err *err)
{
    struct pt_buf msg = {0};
    slot->hub = pt_conn_create(slot->loop, hub, PT_MAX_FRAME, &hub_callbacks, slot, err);
    if (!slot->hub)
        return -1;
    size_t mark = pt_frame_begin(&msg, PT_L_JOIN);
    pt_put_u32(&msg, slot->rank);
    pt_frame_end(&msg, mark);
    pt_slot_send(slot, &msg);
    return 0;
}

struct pt_slot *pt_slot_create(struct pt_loop *loop, const struct pt_slot_config *config, int hub,
                               pt_slot_over_fn *over, void *arg, struct pt_err *err)
{
    struct pt_slot *slot = calloc(1, sizeof(*slot));
    if (!slot) {
        close(hub);
        pt_err_set(err, "slot: %s", strerror(errno));
        return NULL;
    }
    slot->loop = loop;
    slot->rank = config->rank;
    slot->over = over;
    slot->arg = arg;
    pt_work_fini(&slot->work);
    set_spec(slot, config);
    if (join(slot, hub, err) < 0 ||
        pt_local_path(slot->fork_socket, config->run_dir, PT_FORK_SOCKET, err) < 0 ||
        (slot->spec.output = open_output(config->run_dir, config->rank, err)) < 0) {
        pt_slot_destroy(slot);
        return NULL;
    }
    return slot;
}

void pt_slot_destroy(struct pt_slot *slot)
{
    if (!slot)
        return;
    pt_slot_stop_timers(slot);
    pt_runner_destroy(slot->runner);
    pt_conn_destroy(slot->hub);
    pt_work_fini(&slot->work);
    pt_buf_fini(&slot->session);
    pt_buf_fini(&slot->broken);
    if (slot->spec.output >= 0)
        close(slot->spec.output);
    free(slot);
}
