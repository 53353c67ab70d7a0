/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/agent/linger.h"

#include "common/auto.h"
#include "remote/agent/absence.h"
#include "remote/agent/attach.h"
#include "remote/agent/door.h"
#include "remote/agent/launch.h"
#include "remote/agent/state.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct pt_linger {
    struct pt_agent *agent;
    pt_linger_fn *attached;
    void *arg;
    int listener, guest; /* guest: who came to the door, and has not said what for; or -1 */
    struct pt_absence absence;
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
           (linger->absence.away || linger->absence.exited.len || pt_linger_may(linger));
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
    return a && linger->absence.armed && !a->failed && a->synced && pt_bulk_idle(&a->bulk) &&
           pt_launcher_number(a->launcher);
}

void pt_linger_arm(struct pt_linger *linger)
{
    if (linger)
        linger->absence.armed = true;
}

void pt_linger_leave(struct pt_linger *linger)
{
    pt_absence_begin(&linger->absence, pt_now_ms() + linger->agent->setup.linger_ms);
}

bool pt_linger_away(const struct pt_linger *linger)
{
    return linger && linger->absence.away;
}

bool pt_linger_over(const struct pt_linger *linger)
{
    return linger && pt_absence_over(&linger->absence, pt_now_ms());
}

bool pt_linger_keep(struct pt_linger *linger, const struct pt_buf *frame)
{
    return linger && pt_absence_keep(&linger->absence, frame, pt_launcher_ended(linger->agent->launcher));
}

void pt_linger_forget(struct pt_linger *linger)
{
    if (linger)
        pt_absence_forget(&linger->absence);
}

void pt_linger_return(struct pt_linger *linger)
{
    struct pt_buf frames = {0};
    pt_absence_end(&linger->absence, pt_launcher_number(linger->agent->launcher), &frames);
    pt_agent_send(linger->agent, &frames);
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
    pt_absence_fini(&linger->absence);
    free(linger);
}
