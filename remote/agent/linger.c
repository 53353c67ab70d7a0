/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/linger.h"

#include "common/auto.h"
#include "remote/agent/attach.h"
#include "remote/agent/door.h"
#include "remote/agent/launch.h"
#include "remote/agent/state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define KEPT_MAX (1u << 20) /* bytes of what is kept besides the end of the workers */

struct pt_linger {
    struct pt_agent *agent;
    pt_linger_fn *attached;
    void *arg;
    int listener, guest; /* guest: who came to the door, and has not said what for; or -1 */
    bool armed;          /* LINGER was said, of this launch */
    bool away;
    int64_t until;
    struct pt_buf kept;   /* frames, while away */
    struct pt_buf exited; /* EXITED of the last launch: it may have been said to nobody */
    struct pt_buf served; /* the same of the fork server under it */
    uint32_t launch;      /* of exited */
};

/* --- the door --- */

static void show_out(struct pt_linger *linger)
{
    if (linger->guest < 0)
        return;
    pt_loop_unwatch(linger->agent->loop, linger->guest);
    close(linger->guest);
    linger->guest = -1;
}

/* Is it this run that is wanted, and may it be had? Also when its workers ended, and that was perhaps said to
 * nobody. */
static bool is_wanted(const struct pt_linger *linger, const struct pt_attach *want)
{
    const struct pt_agent *a = linger->agent;
    return strcmp(want->run, a->setup.run) == 0 && want->host == a->setup.host &&
           strcmp(want->dir, a->dir->path) == 0 &&
           (linger->away || linger->exited.len || pt_linger_may(linger));
}

static uint32_t number(const struct pt_linger *linger)
{
    uint32_t runs = pt_launcher_number(linger->agent->launcher);
    return runs ? runs : linger->launch;
}

static void on_guest(void *arg, int fd, short revents)
{
    struct pt_linger *linger = arg;
    struct pt_attach want = {0};
    struct pt_err err = PT_ERR_INIT;
    size_t taken = 0;
    (void)revents;
    pt_auto_fd int channel = pt_attach_take(fd, &want, &taken, &err);
    bool yes = channel >= 0 && is_wanted(linger, &want);
    if (channel < 0)
        pt_warn("attach: %s", err.msg);
    bool told = pt_attach_answer(fd, yes);
    show_out(linger);
    pt_attach_fini(&want);
    if (yes && told)
        linger->attached(linger->arg, pt_steal_fd(&channel), taken);
}

/* One at a time: who comes later has the place of one who said nothing. */
static void on_accept(void *arg, int fd, short revents)
{
    struct pt_linger *linger = arg;
    struct pt_err err = PT_ERR_INIT;
    (void)revents;
    pt_auto_fd int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (peer < 0)
        return;
    if (pt_door_peer(peer, "attach", &err) < 0) {
        pt_warn("%s", err.msg);
        return;
    }
    show_out(linger);
    if (pt_loop_watch(linger->agent->loop, peer, POLLIN, on_guest, linger) == 0)
        linger->guest = pt_steal_fd(&peer);
}

/* --- away --- */

bool pt_linger_may(const struct pt_linger *linger)
{
    const struct pt_agent *a = linger ? linger->agent : NULL;
    return a && linger->armed && !a->failed && a->synced && pt_bulk_idle(&a->bulk) &&
           pt_launcher_number(a->launcher);
}

void pt_linger_arm(struct pt_linger *linger)
{
    if (linger)
        linger->armed = true;
}

void pt_linger_leave(struct pt_linger *linger)
{
    linger->away = true;
    linger->until = pt_now_ms() + linger->agent->setup.linger_ms;
}

bool pt_linger_away(const struct pt_linger *linger)
{
    return linger && linger->away;
}

bool pt_linger_over(const struct pt_linger *linger)
{
    return pt_linger_away(linger) && pt_now_ms() >= linger->until;
}

static void remember(struct pt_buf *what, const struct pt_buf *frame)
{
    pt_buf_clear(what);
    pt_buf_append(what, frame->data, frame->len);
}

/* The end of a collector shows by its stream, which is gone with the channel. */
bool pt_linger_keep(struct pt_linger *linger, const struct pt_buf *frame)
{
    if (!linger)
        return false;
    uint8_t type = frame->data[4], program = frame->len > PT_FRAME_HEAD ? frame->data[PT_FRAME_HEAD] : 0;
    if (type == PT_C_EXITED && program == PT_PROGRAM_WORKERS) {
        remember(&linger->exited, frame);
        linger->launch = pt_launcher_ended(linger->agent->launcher);
    } else if (type == PT_C_EXITED && program == PT_PROGRAM_FORKSERVER) {
        remember(&linger->served, frame);
    } else if (linger->away && linger->kept.len + frame->len < KEPT_MAX && type == PT_C_FAIL) {
        pt_buf_append(&linger->kept, frame->data, frame->len);
    }
    return linger->away;
}

void pt_linger_forget(struct pt_linger *linger)
{
    if (!linger)
        return;
    pt_buf_fini(&linger->exited);
    pt_buf_fini(&linger->served);
    linger->launch = 0;
    linger->armed = false;
}

static void say(struct pt_agent *a, struct pt_buf *kept)
{
    struct pt_buf frames = *kept;
    *kept = (struct pt_buf){0};
    pt_agent_send(a, &frames);
}

static void say_again(struct pt_agent *a, const struct pt_buf *what)
{
    struct pt_buf frame = {0};
    pt_buf_append(&frame, what->data, what->len);
    if (frame.len)
        pt_agent_send(a, &frame);
}

void pt_linger_return(struct pt_linger *linger)
{
    struct pt_agent *a = linger->agent;
    struct pt_buf b = {0};
    linger->away = false;
    size_t mark = pt_frame_begin(&b, PT_C_ATTACHED);
    pt_put_u32(&b, number(linger));
    pt_frame_end(&b, mark);
    pt_agent_send(a, &b);
    if (linger->kept.len)
        say(a, &linger->kept);
    say_again(a, &linger->served);
    say_again(a, &linger->exited);
}

/* --- life --- */

struct pt_linger *pt_linger_create(struct pt_agent *a, pt_linger_fn *attached, void *arg, struct pt_err *err)
{
    struct pt_linger *linger = calloc(1, sizeof(*linger));
    if (!linger) {
        pt_err_set(err, "out of memory");
        return NULL;
    }
    *linger = (struct pt_linger){.agent = a, .attached = attached, .arg = arg, .guest = -1};
    linger->listener = pt_door_open(a, PT_ATTACH_SOCKET, on_accept, linger, err);
    if (linger->listener >= 0)
        return linger;
    pt_linger_destroy(linger);
    return NULL;
}

void pt_linger_destroy(struct pt_linger *linger)
{
    if (!linger)
        return;
    show_out(linger);
    if (linger->listener >= 0) {
        pt_loop_unwatch(linger->agent->loop, linger->listener);
        close(linger->listener);
    }
    pt_buf_fini(&linger->kept);
    pt_buf_fini(&linger->exited);
    pt_buf_fini(&linger->served);
    free(linger);
}
