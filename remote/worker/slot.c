/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a slot:
 *
 *   WAITING --SESSION--> STARTING --UP--> READY --BUNDLE--> RUNNING --DONE--> READY ...
 *
 * A runner that dies is told as a DEATH and followed by a new one (STARTING), which gets what is left of the
 * bundle. What dies takes a test or a file off the bundle, so this ends; a runner that dies without having
 * got anywhere is followed at most PT_SLOT_FRUITLESS times in a row, then the slot is STOPPED: broken. A test
 * over its time, a runner over its memory, and all that runs at DROP and CANCEL, is killed (KILLING) and
 * dealt with once it has ended. A session that runs tests in children outlives them: it says which way one
 * died, also out of KILLING when that was for a test's time, and is given the rest. A runner that ends its
 * session unasked wants a fresh process to go on. QUIT lets the runner end its test and its session (ENDING),
 * kills it after the grace, and ends in GONE with a BYE.
 *
 * A member of a group (member.h) gets WELCOME before SESSION, and no second runner: one that ends is told as
 * a DEATH, or BROKEN when it never came up, and the slot is STOPPED. */
#include "remote/worker/slot.h"

#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "remote/worker/deathnote.h"
#include "remote/worker/member.h"
#include "remote/worker/memory.h"
#include "remote/worker/rank.h"
#include "remote/worker/slot_inside.h"
#include "remote/worker/tell.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define AGAIN_MS 200 /* before a runner that follows one that got nowhere */

static const char *const state_names[] = {"waiting", "starting", "ready",   "running",
                                          "killing", "ending",   "stopped", "gone"};
_Static_assert(PT_COUNT(state_names) == STATES, "one name for each state");
#define TO(s) (1u << (s))
static const unsigned edges[STATES] = {
    [WAITING] = TO(STARTING) | TO(STOPPED) | TO(GONE),
    [STARTING] = TO(STARTING) | TO(READY) | TO(RUNNING) | TO(KILLING) | TO(STOPPED),
    [READY] = TO(RUNNING) | TO(STARTING) | TO(KILLING) | TO(ENDING) | TO(STOPPED),
    [RUNNING] = TO(RUNNING) | TO(READY) | TO(STARTING) | TO(KILLING) | TO(ENDING) | TO(STOPPED),
    [KILLING] = TO(STARTING) | TO(READY) | TO(RUNNING) | TO(KILLING) | TO(ENDING) | TO(STOPPED) | TO(GONE),
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
    pt_slot_throttle(slot);
}

static void on_hub_sent(void *arg)
{
    pt_slot_flush(arg);
}

static void on_hub_frame(void *arg, struct pt_frame *frame)
{
    pt_slot_hear(arg, frame);
}

/* --- the runner's life --- */

void pt_slot_look(struct pt_slot *slot)
{
    uint32_t test, phase;
    int64_t since;
    if (pt_runner_place(slot->runner, &test, &phase, &since) && pt_work_moved(&slot->work, test, phase) &&
        since > slot->began && since <= pt_now_ms())
        slot->began = since;
}

uint64_t pt_slot_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void pt_slot_clock(struct pt_slot *slot)
{
    uint64_t now = pt_slot_now();
    slot->lasted = pt_now_ms() - slot->began;
    slot->test_lasted = now > slot->test_began ? now - slot->test_began : 0;
}

void pt_slot_kill(struct pt_slot *slot, uint8_t cause, bool dump)
{
    pt_slot_stop_timers(slot);
    pt_slot_look(slot);
    slot->cause = cause;
    pt_slot_clock(slot);
    pt_slot_move(slot, KILLING);
    if (!dump || !slot->member || !pt_member_dump(slot))
        pt_runner_kill(slot->runner, dump);
}

void pt_slot_stop(struct pt_slot *slot, const void *why, size_t n)
{
    struct pt_buf msg = {0};
    pt_tell_broken(&msg, slot->rank, why, n);
    pt_slot_send(slot, &msg);
    pt_slot_forget_asked(slot);
    pt_work_fini(&slot->work);
    pt_slot_move(slot, STOPPED);
}

void pt_slot_say_bye(struct pt_slot *slot)
{
    slot->leaves = true;
    pt_slot_flush(slot);
}

void pt_slot_start(struct pt_slot *slot)
{
    struct pt_err err = PT_ERR_INIT;
    pt_output_restart(&slot->output);
    pt_slot_mark(slot);
    pt_buf_clear(&slot->broken);
    slot->cause = PT_CAUSE_DIED;
    slot->oom_kills = pt_memory_oom_kills();
    slot->began = pt_now_ms();
    slot->up = slot->progress = slot->ended = slot->paused = slot->dumping = false;
    slot->nasked = slot->late = 0;
    slot->spec.delay_ms = (int64_t)slot->fruitless * AGAIN_MS;
    slot->runner = pt_runner_create(slot->loop, &slot->spec, &runner_callbacks, slot, &err);
    pt_slot_move(slot, STARTING);
    if (!slot->runner) {
        pt_slot_stop(slot, err.msg, strlen(err.msg));
        return;
    }
    pt_runner_send(slot->runner, slot->session.data, slot->session.len);
    pt_slot_watch(slot);
}

void pt_slot_finish(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    pt_slot_output(slot);
    pt_tell_done(&msg, slot->rank, slot->work.bundle.bundle, slot->work.bundle.attempt);
    pt_slot_send(slot, &msg);
    pt_slot_forget_asked(slot);
    pt_work_fini(&slot->work);
}

static void give_rest(struct pt_slot *slot)
{
    struct pt_buf msg = {0};
    pt_slot_mark(slot);
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

/* --- the end of a runner --- */

static void on_runner_frame(void *arg, struct pt_frame *frame)
{
    struct pt_slot *slot = arg;
    bool lives = frame->type == PT_R_DIED && slot->dumping;
    if (slot->state == KILLING && !(lives && pt_runner_spare(slot->runner)))
        return;
    if (pt_slot_obey(slot, frame) < 0) {
        pt_warn("rank %u: the runner sent a message that makes no sense (type %u)", slot->rank, frame->type);
        pt_slot_kill(slot, PT_CAUSE_DIED, false);
    }
}

/* Somebody else's SIGKILL, while the kernel was killing for memory. */
static uint8_t cause_of(const struct pt_slot *slot, uint32_t status)
{
    bool killed = slot->state != KILLING && WIFSIGNALED((int)status) && WTERMSIG((int)status) == SIGKILL;
    return killed && pt_memory_oom_kills() > slot->oom_kills ? PT_CAUSE_OOM : slot->cause;
}

static void add_weight(const struct pt_slot *slot, struct pt_death *death)
{
    char *text = NULL;
    if (asprintf(&text, "%llu MiB, limit %llu MiB\n%s", (unsigned long long)slot->heavy >> 20,
                 (unsigned long long)slot->limits.memory >> 20, death->output ? death->output : "") < 0)
        return;
    free(death->output);
    death->output = text;
}

void pt_slot_tell_death(struct pt_slot *slot, uint32_t status)
{
    struct pt_buf msg = {0};
    struct pt_death death = {.rank = slot->rank, .cause = cause_of(slot, status), .status = status};
    if (slot->state != KILLING) {
        pt_slot_look(slot);
        pt_slot_clock(slot);
    }
    death.duration_us = (uint64_t)slot->lasted * 1000;
    if (pt_work_died(&slot->work, &death))
        slot->progress = true;
    if (death.test != PT_NONE) {
        death.began_us = slot->test_began;
        death.lasted_us = slot->test_lasted;
    }
    pt_deathnote_read(&death, slot->spec.output, slot->mark, pt_member_dumped(slot),
                      pt_runner_capture(slot->runner));
    if (slot->member)
        pt_member_add_native(slot, &death);
    if (death.cause == PT_CAUSE_MEMORY)
        add_weight(slot, &death);
    pt_death_encode(&death, 0, &msg);
    pt_slot_send(slot, &msg);
    free(death.stack);
    free(death.output);
}

static void describe(char *text, size_t size, const struct pt_slot *slot, uint32_t status, const char *why)
{
    int st = (int)status;
    char who[64] = "the runner";
    if (!slot->member)
        snprintf(who, sizeof(who), "%u runners in a row got nowhere; the last", slot->fruitless);
    if (why)
        snprintf(text, size, "no runner could be started: %s\n", why);
    else if (WIFSIGNALED(st))
        snprintf(text, size, "%s was killed by signal %d (%s)\n", who, WTERMSIG(st), strsignal(WTERMSIG(st)));
    else
        snprintf(text, size, "%s ended with status %d\n", who, WEXITSTATUS(st));
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
    pt_deathnote_read(&death, slot->spec.output, slot->mark, -1, none);
    pt_buf_append(&msg, death.output, death.output ? strlen(death.output) : 0);
    pt_buf_append(&msg, death.stack, death.stack ? strlen(death.stack) : 0);
    pt_slot_stop(slot, msg.data, msg.len);
    pt_buf_fini(&msg);
    free(death.stack);
    free(death.output);
}

/* The runner is gone; `told`: by a DEATH, or by the DONE of a bundle that was dropped. */
static void go_on(struct pt_slot *slot, uint32_t status, const char *why, bool reached, bool told)
{
    slot->fruitless = slot->progress ? 0 : slot->fruitless + 1;
    if (slot->quitting)
        pt_slot_say_bye(slot);
    else if (slot->cancelled)
        pt_slot_move(slot, STOPPED);
    else if (slot->broken.len)
        pt_slot_stop(slot, slot->broken.data, slot->broken.len);
    else if (slot->member && told)
        pt_slot_move(slot, STOPPED);
    else if (slot->member || (why && !reached) || slot->fruitless >= PT_SLOT_FRUITLESS)
        give_up(slot, status, why);
    else
        pt_slot_start(slot);
}

/* Not of one that never came up, that nobody wants to hear of, or that had ended its session before. */
static bool is_death(const struct pt_slot *slot, uint32_t status)
{
    bool busy = slot->work.test != PT_NONE || slot->work.file != PT_NONE;
    bool crashed = status != 0 && slot->state != KILLING; /* on its way out */
    bool fallen = slot->cause == PT_CAUSE_FALL;
    if ((!slot->up && !fallen) || slot->cancelled || slot->dropped)
        return false;
    if (slot->member && !slot->quitting)
        return true;
    return fallen || !slot->ended || (!slot->quitting && (busy || crashed));
}

/* A member owes nothing after its runner but the DONE of what was dropped. */
static void forget_rest(struct pt_slot *slot)
{
    pt_member_end(slot);
    pt_slot_forget_asked(slot);
    if (!slot->dropped)
        pt_work_fini(&slot->work);
}

static void on_runner_ended(void *arg, uint32_t status, const char *why)
{
    struct pt_slot *slot = arg;
    pt_slot_stop_timers(slot);
    pt_debug("rank %u: the runner ended, wait status 0x%x%s%s", slot->rank, status, why ? ": " : "",
             why ? why : "");
    pt_slot_output(slot);
    bool told = is_death(slot, status) || slot->dropped;
    if (told && !slot->dropped)
        pt_slot_tell_death(slot, status);
    if (slot->member)
        forget_rest(slot);
    pt_slot_answer(slot);
    if (slot->work.active && !slot->quitting && (slot->dropped || !slot->work.left))
        pt_slot_finish(slot);
    slot->progress = slot->progress || slot->dropped;
    slot->dropped = false;
    pt_auto_free char *reason = why ? strdup(why) : NULL;
    bool reached = pt_runner_reached(slot->runner);
    pt_runner_destroy(slot->runner);
    slot->runner = NULL;
    go_on(slot, status, reason, reached, told);
}

static void on_hub_closed(void *arg, const char *why)
{
    struct pt_slot *slot = arg;
    pt_debug("rank %u: the hub: %s", slot->rank, why);
    slot->over(slot->arg, slot->state == GONE || (slot->member && pt_member_closed(slot, why)));
}

/* --- create, destroy --- */

/* A member's file has no name: a run may have many groups. */
static int open_output(const struct pt_slot_config *config, struct pt_err *err)
{
    char path[PT_LOCAL_PATH], name[48];
    const struct pt_member_config *member = config->member;
    if (member)
        snprintf(name, sizeof(name), "out.%u.%u", member->group, member->rank);
    else
        snprintf(name, sizeof(name), "out.%u", config->rank);
    if (pt_local_path(path, config->run_dir, name, err) < 0)
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && member)
        unlink(path);
    return fd < 0 ? pt_err_set(err, "%s: %s", path, strerror(errno)) : fd;
}

void pt_slot_name(struct pt_slot *slot, uint32_t number)
{
    snprintf(slot->worker, sizeof(slot->worker), "h%u.%u", slot->host, number);
    snprintf(slot->rank_text, sizeof(slot->rank_text), "%u", number);
}

static void set_spec(struct pt_slot *slot, const struct pt_slot_config *config)
{
    pt_slot_name(slot, config->rank);
    snprintf(slot->slots, sizeof(slot->slots), "%u", config->slots);
    static char names[][20] = {"PTREMOTE_WORKSPACE", "PTREMOTE_RUN", "PTREMOTE_WORKER", "PTREMOTE_SLOTS",
                               "PTREMOTE_RANK"};
    slot->env[0] = (struct pt_env){names[0], config->workspace};
    slot->env[1] = (struct pt_env){names[1], config->run};
    slot->env[2] = (struct pt_env){names[2], slot->worker};
    slot->env[3] = (struct pt_env){names[3], slot->slots};
    slot->env[4] = (struct pt_env){names[4], slot->rank_text};
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
    if (slot->member) {
        pt_member_join(slot, &msg);
    } else {
        size_t mark = pt_frame_begin(&msg, PT_L_JOIN);
        pt_put_u32(&msg, slot->rank);
        pt_frame_end(&msg, mark);
    }
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
    slot->host = config->host;
    slot->rank = config->rank;
    slot->over = over;
    slot->arg = arg;
    pt_work_fini(&slot->work);
    set_spec(slot, config);
    if (config->member && pt_member_create(slot, config->member, err) < 0) {
        close(hub);
        pt_slot_destroy(slot);
        return NULL;
    }
    if (join(slot, hub, err) < 0 ||
        pt_local_path(slot->fork_socket, config->run_dir, PT_FORK_SOCKET, err) < 0 ||
        (slot->spec.output = open_output(config, err)) < 0) {
        pt_slot_destroy(slot);
        return NULL;
    }
    pt_output_init(&slot->output, slot->spec.output);
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
    pt_buf_fini(&slot->asked);
    pt_buf_fini(&slot->started);
    pt_output_fini(&slot->output);
    pt_member_destroy(slot->member);
    if (slot->spec.output >= 0)
        close(slot->spec.output);
    free(slot);
}
