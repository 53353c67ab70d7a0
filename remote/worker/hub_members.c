/* SPDX-License-Identifier: Apache-2.0 */
/* What the members of groups say. Who sends what makes no sense is lost, and its group falls; the hub never
 * ends for it. */
#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "remote/worker/conn.h"
#include "remote/worker/hub_groups_inside.h"
#include "remote/worker/rank.h"
#include "remote/worker/tell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static void send_welcome(struct pt_hub_peer *peer)
{
    const struct pt_live *live = peer->group;
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_RANK_WELCOME);
    pt_put_u32(&msg, live->group.index);
    pt_put_u32(&msg, pt_live_number(live, peer->rank));
    pt_put_u32(&msg, live->nspread > 0);
    pt_frame_end(&msg, mark);
    pt_conn_send(peer->conn, msg.data, msg.len);
    pt_buf_fini(&msg);
}

/* --- joining --- */

static struct pt_live *find_group(const struct pt_hub_groups *groups, uint32_t id)
{
    struct pt_live *live = groups->live;
    while (live && live->group.id != id)
        live = live->next;
    return live;
}

int pt_hub_groups_join(struct pt_hub_groups *groups, struct pt_hub_peer *peer, struct pt_frame *frame)
{
    struct pt_hub *hub = groups->hub;
    uint32_t id = pt_get_u32(&frame->body), rank = pt_get_u32(&frame->body), size = pt_get_u32(&frame->body);
    struct pt_live *live = pt_get_end(&frame->body) ? find_group(groups, id) : NULL;
    if (!live || live->group.ranks != size || pt_group_join(&live->group, rank) < 0)
        return -1;
    bool all = true;
    pt_hub_unlink(peer);
    peer->group = live;
    peer->rank = rank;
    live->peers[rank] = peer;
    for (uint32_t i = 0; i < size; i++)
        all = all && live->peers[i];
    if (all)
        pt_live_time(live, 0, NULL);
    send_welcome(peer);
    pt_conn_send(peer->conn, hub->limit.data, hub->limit.len);
    pt_conn_send(peer->conn, hub->session.data, hub->session.len);
    pt_conn_pause(peer->conn, hub->paused);
    return 0;
}

/* --- a bundle --- */

static void put_bind(struct pt_buf *msg, uint32_t n, uint32_t cpu)
{
    size_t mark = pt_frame_begin(msg, PT_RANK_BIND);
    pt_put_u32(msg, n);
    if (n)
        pt_put_u32(msg, cpu);
    pt_frame_end(msg, mark);
}

static void bind_ranks(struct pt_live *live, bool alone)
{
    struct pt_hub_groups *groups = live->groups;
    bool bind = groups->bind && !live->nspread;
    uint32_t *cpus = bind ? calloc(live->group.ranks, sizeof(*cpus)) : NULL;
    if (!cpus)
        return;
    bool fits = pt_cores_take(&groups->cores, live->group.id, live->group.ranks, alone, cpus);
    for (uint32_t i = 0; i < live->group.ranks; i++) {
        struct pt_buf msg = {0};
        put_bind(&msg, fits, cpus[i]);
        pt_conn_send(live->peers[i]->conn, msg.data, msg.len);
        pt_buf_fini(&msg);
    }
    free(cpus);
}

void pt_live_give(struct pt_live *live)
{
    struct pt_hub_groups *groups = live->groups;
    struct pt_queue *queue = &groups->hub->queue;
    struct pt_queue_item *item =
        live->nspread ? pt_queue_remove(queue, live->bundle) : pt_queue_take_ranks(queue, live->group.ranks);
    struct pt_bundle bundle;
    struct pt_buf frame = {0};
    if (pt_queue_open(item, &bundle) < 0)
        frame.bad = true;
    free(item);
    bool alone = !frame.bad && bundle.flags & PT_BUNDLE_NUMA;
    if (frame.bad || pt_group_take(&live->group, &bundle, groups->fresh == PT_FRESH_TEST, &frame, NULL) < 0) {
        frame.bad = true;
        pt_hub_tell(groups->hub, &frame); /* no memory: the hub ends */
        return;
    }
    bind_ranks(live, alone);
    pt_live_send(live, frame.data, frame.len);
    pt_buf_fini(&frame);
}

/* What is left of it waits again, before all others; or it is done. */
static void settle(struct pt_live *live)
{
    struct pt_hub *hub = live->groups->hub;
    struct pt_work *work = &live->group.work;
    struct pt_bundle rest;
    if (!work->active)
        return;
    if (!work->left) {
        pt_groups_tell_done(hub, &work->bundle);
    } else if (!hub->order.len && pt_group_rest(&live->group, &rest) == 0) {
        pt_queue_back(&hub->queue, &rest);
        pt_bundle_fini(&rest);
    }
    pt_group_finish(&live->group);
}

static void tell_test(struct pt_live *live, uint32_t test)
{
    struct pt_buf msg = {0};
    pt_group_tell(&live->group, test, &msg);
    *pt_live_tries(live) = 0;
    pt_hub_tell(live->groups->hub, &msg);
}

static void on_done(struct pt_live *live)
{
    struct pt_hub_groups *groups = live->groups;
    uint32_t test;
    while (!groups->hub->order.len && (test = pt_group_untold(&live->group)) != PT_NONE)
        tell_test(live, test);
    pt_cores_give(&groups->cores, live->group.id);
    settle(live);
    live->used = ++groups->clock;
    if ((groups->fresh != PT_FRESH_NOT || live->nspread) && live->group.state == PT_GROUP_IDLE)
        pt_live_leave(live, PT_GROUP_LEAVE_MS);
    pt_hub_groups_deal(groups);
}

/* --- a fall --- */

static void on_late_fall(void *arg)
{
    struct pt_live *live = arg;
    live->timer = 0;
    pt_live_fallen(live, true);
}

/* True when there is nothing more to wait for: of one that vanished its launcher tells. */
static bool is_told(const struct pt_live *live)
{
    return pt_group_fallen(&live->group) && (!live->group.fall.lost || live->ended);
}

void pt_live_fallen(struct pt_live *live, bool late)
{
    struct pt_hub_groups *groups = live->groups;
    uint8_t *tries = pt_live_tries(live);
    struct pt_buf msg = {0};
    if (live->group.state != PT_GROUP_FALLING || (!late && !is_told(live)))
        return;
    if (!groups->cancelled) {
        uint32_t status = live->ended ? live->status : SIGKILL;
        uint32_t told = pt_group_tell_fall(&live->group, status, live->output ? live->output : "", &msg);
        pt_hub_tell(groups->hub, &msg);
        if (told)
            *tries = 0;
        else if (!live->group.fall.leaving && *tries < PT_GROUP_TRIES)
            ++*tries;
        settle(live);
    }
    if (*tries >= PT_GROUP_TRIES && !groups->hub->order.len)
        pt_live_give_up(live, "they ended twice in a row before any test had run");
    pt_live_end(live);
    pt_hub_groups_deal(groups);
}

static void on_fall(struct pt_live *live)
{
    struct pt_buf msg = {0};
    pt_frame_end(&msg, pt_frame_begin(&msg, PT_RANK_FALL));
    pt_loop_cancel(live->groups->hub->loop, live->hung);
    live->hung = 0;
    for (uint32_t i = 0; i < live->group.ranks; i++)
        if (live->peers[i] && !live->group.members[i].answered)
            pt_conn_send(live->peers[i]->conn, msg.data, msg.len);
    pt_buf_fini(&msg);
    pt_live_time(live, PT_GROUP_FALL_MS, on_late_fall);
}

/* A rank died (its DEATH), or is gone without (NULL). The group may be gone afterwards. */
static int on_died(struct pt_live *live, uint32_t rank, const struct pt_frame *frame)
{
    bool fell = live->group.state == PT_GROUP_FALLING;
    if (live->groups->cancelled) {
        pt_live_end(live);
        return 0;
    }
    if (pt_group_died(&live->group, rank, frame ? frame->data : NULL, frame ? frame->len : 0) < 0)
        return -1;
    if (!fell)
        on_fall(live);
    pt_live_fallen(live, false);
    return 0;
}

/* --- ranks that wait for one that failed --- */

static void arm(struct pt_live *live);

static void on_hung(void *arg)
{
    struct pt_live *live = arg;
    uint32_t test;
    uint8_t phase;
    live->hung = 0;
    while (pt_group_hung(&live->group, pt_now_ms(), &test, &phase)) {
        struct pt_buf msg = {0};
        size_t mark = pt_frame_begin(&msg, PT_RANK_HUNG);
        pt_put_u32(&msg, test);
        pt_put_u8(&msg, phase);
        pt_frame_end(&msg, mark);
        pt_live_send(live, msg.data, msg.len);
        pt_buf_fini(&msg);
    }
    arm(live);
}

static void arm(struct pt_live *live)
{
    struct pt_loop *loop = live->groups->hub->loop;
    int64_t due = pt_group_due(&live->group), now = pt_now_ms();
    pt_loop_cancel(loop, live->hung);
    live->hung = due < 0 ? 0 : pt_loop_after(loop, due > now ? due - now : 0, on_hung, live);
}

static int on_failed(struct pt_live *live, uint32_t rank, struct pt_reader *r)
{
    uint32_t test = pt_get_u32(r);
    uint8_t phase = pt_get_u8(r);
    if (!pt_get_end(r) ||
        pt_group_failed(&live->group, rank, test, phase, pt_now_ms() + live->groups->mpi_grace) < 0)
        return -1;
    if (live->group.state == PT_GROUP_BUSY || live->group.state == PT_GROUP_LEAVING)
        arm(live);
    return 0;
}

/* --- what members say --- */

/* With the member's rank instead of the rank in the group. */
static void pass_on(struct pt_live *live, uint32_t rank, const struct pt_frame *frame)
{
    struct pt_buf msg = {0};
    pt_buf_append(&msg, frame->data, frame->len);
    if (!msg.bad)
        pt_set_u32(&msg, PT_FRAME_HEAD + 8, PT_MEMBER(live->group.index, rank));
    if (frame->type == PT_L_STARTED && !msg.bad)
        pt_hub_pass_started(live->groups->hub, msg.data, msg.len);
    else if (frame->type != PT_L_STARTED)
        pt_hub_tell(live->groups->hub, &msg);
    pt_buf_fini(&msg);
}

static int on_started(struct pt_live *live, uint32_t rank, const struct pt_frame *frame, struct pt_reader *r)
{
    pt_get_u32(r);
    pt_get_u32(r);
    uint32_t test = pt_get_u32(r);
    if (!pt_get_end(r) || pt_group_started(&live->group, rank, test) < 0)
        return -1;
    if (rank == 0)
        pass_on(live, rank, frame);
    return 0;
}

static int on_report(struct pt_live *live, uint32_t rank, const struct pt_frame *frame)
{
    uint32_t test;
    int rc = pt_group_reported(&live->group, rank, frame->data, frame->len, &test);
    if (rc == 1 && !live->groups->cancelled)
        tell_test(live, test);
    return rc < 0 ? -1 : 0;
}

static int on_rank_done(struct pt_live *live, uint32_t rank, struct pt_reader *r)
{
    uint32_t bundle = pt_get_u32(r);
    pt_get_u32(r);
    if (!pt_get_end(r) || !live->group.work.active || bundle != live->group.work.bundle.bundle)
        return -1;
    if (pt_group_done(&live->group, rank) && live->group.state != PT_GROUP_FALLING)
        on_done(live);
    return 0;
}

static char *describe(uint32_t rank, const char *what, const char *text, size_t n)
{
    char *out = NULL;
    n = n > 65536 ? 65536 : n;
    if (asprintf(&out, "rank %u %s:\n%.*s", rank, what, (int)n, text) < 0)
        return NULL;
    return out;
}

static int on_broken(struct pt_live *live, uint32_t rank, struct pt_reader *r)
{
    size_t n;
    const char *text = pt_get_bytes(r, &n);
    if (!pt_get_end(r))
        return -1;
    if (live->group.state != PT_GROUP_STARTING)
        return on_died(live, rank, NULL);
    pt_auto_free char *why = describe(rank, "cannot start pytest", text, n);
    pt_live_failed(live, why ? why : "a rank cannot start pytest");
    return 0;
}

/* Before the group was up. */
static int on_early_death(struct pt_live *live, uint32_t rank, struct pt_reader *r)
{
    struct pt_death death;
    if (pt_death_decode(r, &death, NULL) < 0)
        return -1;
    const char *text = death.output && *death.output ? death.output : death.stack;
    pt_auto_free char *why = describe(rank, "died", text, strlen(text));
    pt_death_fini(&death);
    pt_live_failed(live, why ? why : "a rank died");
    return 0;
}

/* Nobody leaves of itself: who is gone then is lost. */
static int on_bye(struct pt_live *live, uint32_t rank)
{
    if (live->group.state != PT_GROUP_LEAVING && live->group.state != PT_GROUP_FALLING)
        return -1;
    live->group.members[rank].bye = true;
    for (uint32_t i = 0; i < live->group.ranks; i++)
        if (!live->group.members[i].bye)
            return 0;
    if (live->group.state == PT_GROUP_LEAVING)
        pt_live_end(live);
    return 0;
}

static int on_ready(struct pt_live *live, uint32_t rank, struct pt_reader *r)
{
    if (pt_get_u32(r) != rank || !pt_get_end(r) || !live->groups->hub->session.len)
        return -1;
    bool up = live->group.state == PT_GROUP_STARTING;
    if (pt_group_ready(&live->group, rank) && up)
        live->used = ++live->groups->clock;
    pt_hub_groups_deal(live->groups);
    return 0;
}

static int on_told(struct pt_live *live, uint32_t rank, const struct pt_frame *frame)
{
    struct pt_reader r = frame->body;
    if (pt_get_u64(&r) != 0)
        return -1;
    struct pt_reader whole = r;
    if (pt_get_u32(&r) != rank || r.bad)
        return -1;
    switch (frame->type) {
    case PT_L_STARTED:
        return on_started(live, rank, frame, &r);
    case PT_L_REPORT:
        return on_report(live, rank, frame);
    case PT_L_DEATH:
        return live->group.state == PT_GROUP_STARTING ? on_early_death(live, rank, &whole)
                                                      : on_died(live, rank, frame);
    case PT_L_NOTE:
        pass_on(live, rank, frame);
        return 0;
    case PT_L_OUTPUT:
        pass_on(live, rank, frame);
        pt_hub_stir(live->groups->hub);
        return 0;
    case PT_L_DONE:
        return on_rank_done(live, rank, &r);
    case PT_L_BROKEN:
        return on_broken(live, rank, &r);
    case PT_L_BYE:
        return on_bye(live, rank);
    default:
        return frame->type == PT_L_STOLEN ? 0 : -1;
    }
}

static int obey(struct pt_hub_peer *peer, struct pt_frame *frame)
{
    struct pt_reader r = frame->body;
    if (frame->type == PT_RANK_READY)
        return on_ready(peer->group, peer->rank, &r);
    if (frame->type == PT_RANK_FAILED)
        return pt_get_u32(&r) == peer->rank ? on_failed(peer->group, peer->rank, &r) : -1;
    return on_told(peer->group, peer->rank, frame);
}

static void on_late_end(void *arg)
{
    struct pt_live *live = arg;
    live->timer = 0;
    pt_live_failed(live, "a rank went before its group was up");
}

/* The connection is of no more use. */
static void lose(struct pt_hub_peer *peer, const char *why)
{
    struct pt_live *live = peer->group;
    uint32_t rank = peer->rank;
    live->peers[rank] = NULL;
    pt_conn_destroy(peer->conn);
    free(peer);
    pt_debug("rank %u of group %u is gone: %s", rank, live->group.id, why);
    if (live->group.state == PT_GROUP_STARTING) {
        live->group.members[rank].ready = false;           /* it does not come up any more */
        pt_live_time(live, PT_GROUP_FALL_MS, on_late_end); /* what its launcher says tells more */
    } else if (live->group.state == PT_GROUP_LEAVING && !live->group.work.active) {
        on_bye(live, rank);
    } else if (!live->group.members[rank].bye) {
        on_died(live, rank, NULL);
    }
}

void pt_hub_groups_frame(struct pt_hub_peer *peer, struct pt_frame *frame)
{
    if (peer->group->groups->hub->ended || obey(peer, frame) == 0)
        return;
    pt_warn("rank %u of a group sent a message that makes no sense (type %u)", peer->rank, frame->type);
    lose(peer, "it sent a message that makes no sense");
}

void pt_hub_groups_closed(struct pt_hub_peer *peer, const char *why)
{
    lose(peer, why);
}
