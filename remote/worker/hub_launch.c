/* SPDX-License-Identifier: Apache-2.0 */
/* How groups start and end, by the agent. A group is ours until the agent said ENDED; what it tells of the
 * group's launcher is why a group did not come up, or how a rank died that could not say so. */
#include "common/auto.h"
#include "common/err.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/quote.h"
#include "remote/worker/conn.h"
#include "remote/worker/hub_groups_inside.h"
#include "remote/worker/local.h"
#include "remote/worker/rank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define REASON_MAX  (64u << 10) /* of what a launcher said last */
#define NOT_STARTED (127 << 8)  /* status of one that the agent could not start; the output says why */

static void on_agent_frame(void *arg, struct pt_frame *frame);
static void on_agent_closed(void *arg, const char *why);
static const struct pt_conn_callbacks agent_callbacks = {on_agent_frame, on_agent_closed, NULL};

struct pt_hub_groups *pt_hub_groups_create(struct pt_hub *hub, struct pt_err *err)
{
    struct pt_hub_groups *groups = calloc(1, sizeof(*groups));
    if (!groups || !(groups->tries = calloc(hub->config.slots + 1, sizeof(*groups->tries)))) {
        free(groups);
        pt_err_set(err, "out of memory");
        return NULL;
    }
    groups->hub = hub;
    return groups;
}

/* --- one group --- */

static void drop_peers(struct pt_live *live)
{
    for (uint32_t i = 0; live->peers && i < live->group.ranks; i++)
        if (live->peers[i]) {
            pt_conn_destroy(live->peers[i]->conn);
            free(live->peers[i]);
            live->peers[i] = NULL;
        }
}

static void stop_timers(struct pt_live *live)
{
    pt_loop_cancel(live->groups->hub->loop, live->timer);
    pt_loop_cancel(live->groups->hub->loop, live->hung);
    live->timer = live->hung = 0;
}

static void free_live(struct pt_live *live)
{
    for (struct pt_live **at = &live->groups->live; *at; at = &(*at)->next)
        if (*at == live) {
            *at = live->next;
            break;
        }
    stop_timers(live);
    drop_peers(live);
    pt_cores_give(&live->groups->cores, live->group.id);
    pt_group_fini(&live->group);
    free(live->peers);
    free(live->spread);
    free(live->output);
    free(live);
}

void pt_hub_groups_destroy(struct pt_hub_groups *groups)
{
    if (!groups)
        return;
    while (groups->live)
        free_live(groups->live);
    pt_conn_destroy(groups->agent);
    pt_sizes_fini(&groups->sizes);
    pt_cores_fini(&groups->cores);
    free(groups->tries);
    free(groups);
}

void pt_live_send(struct pt_live *live, const void *frames, size_t n)
{
    for (uint32_t i = 0; i < live->group.ranks; i++)
        if (live->peers[i])
            pt_conn_send(live->peers[i]->conn, frames, n);
}

void pt_live_time(struct pt_live *live, int64_t ms, void (*late)(void *live))
{
    struct pt_loop *loop = live->groups->hub->loop;
    pt_loop_cancel(loop, live->timer);
    live->timer = late ? pt_loop_after(loop, ms, late, live) : 0;
}

static void on_free(void *arg)
{
    struct pt_live *live = arg;
    struct pt_hub_groups *groups = live->groups;
    live->timer = 0;
    free_live(live);
    pt_hub_groups_deal(groups);
}

static void ask_agent(struct pt_hub_groups *groups, struct pt_buf *msg)
{
    if (groups->agent && !msg->bad)
        pt_conn_send(groups->agent, msg->data, msg->len);
    pt_buf_fini(msg);
}

void pt_live_end(struct pt_live *live)
{
    struct pt_buf msg = {0};
    if (live->group.state == PT_GROUP_ENDING)
        return;
    live->group.state = PT_GROUP_ENDING;
    stop_timers(live);
    drop_peers(live);
    pt_cores_give(&live->groups->cores, live->group.id);
    pt_group_finish(&live->group);
    if (live->ended) {
        pt_live_time(live, 0, on_free);
    } else {
        size_t mark = pt_frame_begin(&msg, PT_G_END);
        pt_put_u32(&msg, live->group.id);
        pt_frame_end(&msg, mark);
        ask_agent(live->groups, &msg);
    }
    pt_hub_close_when_done(live->groups->hub);
}

static void on_late_leave(void *arg)
{
    struct pt_live *live = arg;
    live->timer = 0;
    pt_warn("a group of %u ranks did not end its session in time", live->group.ranks);
    pt_live_end(live);
}

void pt_live_leave(struct pt_live *live, uint32_t grace_ms)
{
    struct pt_buf msg = {0};
    size_t mark = pt_frame_begin(&msg, PT_L_QUIT);
    pt_put_u32(&msg, grace_ms);
    pt_frame_end(&msg, mark);
    live->group.state = PT_GROUP_LEAVING;
    pt_live_time(live, (int64_t)grace_ms + PT_GROUP_FALL_MS, on_late_leave);
    pt_live_send(live, msg.data, msg.len);
    pt_buf_fini(&msg);
}

/* --- its start --- */

static void on_late_join(void *arg)
{
    struct pt_live *live = arg;
    char why[96];
    live->timer = 0;
    snprintf(why, sizeof(why), "not all of its ranks were there after %d s", PT_GROUP_JOIN_MS / 1000);
    pt_live_failed(live, why);
}

/* Whether pytest starts here at all is about to be known: where it does not, the host is to blame. */
static bool is_unproven(const struct pt_hub *hub)
{
    const struct pt_hub_peer *peer = hub->peers;
    while (peer && (!peer->started || peer->broken))
        peer = peer->next;
    return peer && !hub->proven;
}

void pt_live_failed(struct pt_live *live, const char *why)
{
    struct pt_hub_groups *groups = live->groups;
    uint8_t *tries = pt_live_tries(live);
    pt_debug("group %u of %u ranks did not come up: %s", live->group.id, live->group.ranks, why);
    if (*tries < PT_GROUP_TRIES)
        ++*tries;
    if (*tries >= PT_GROUP_TRIES && !groups->hub->order.len && !is_unproven(groups->hub))
        pt_live_give_up(live, why);
    pt_live_end(live);
    pt_hub_groups_deal(groups);
}

static bool is_used(const struct pt_hub_groups *groups, uint32_t index)
{
    for (const struct pt_live *live = groups->live; live; live = live->next)
        if (live->group.index == index && !(live->ended && live->group.state == PT_GROUP_ENDING))
            return true;
    return false;
}

static uint32_t find_index(const struct pt_hub_groups *groups)
{
    uint32_t index = 0;
    while (is_used(groups, index))
        index++;
    return index;
}

static void look_at_cores(struct pt_hub_groups *groups)
{
    struct pt_err err = PT_ERR_INIT;
    groups->looked = true;
    if (pt_cores_read(&groups->cores, "/sys", &err) < 0)
        pt_warn("%s", err.msg);
    groups->bind = groups->cores.n >= groups->hub->config.slots;
}

static int copy_spread(struct pt_live *live, const struct pt_bundle *bundle)
{
    live->bundle = bundle->bundle;
    live->spread = calloc(bundle->nspread, sizeof(*live->spread));
    if (!live->spread)
        return -1;
    memcpy(live->spread, bundle->spread, bundle->nspread * sizeof(*live->spread));
    live->nspread = bundle->nspread;
    return 0;
}

static struct pt_live *make_live(struct pt_hub_groups *groups, uint32_t ranks, const struct pt_bundle *spread)
{
    struct pt_live *live = calloc(1, sizeof(*live));
    if (!live)
        return NULL;
    live->groups = groups;
    live->peers = calloc(ranks, sizeof(struct pt_hub_peer *));
    if (pt_group_init(&live->group, ++groups->last, find_index(groups), ranks, NULL) == 0 && live->peers &&
        (!spread || copy_spread(live, spread) == 0))
        return live;
    pt_group_fini(&live->group);
    free(live->peers);
    free(live->spread);
    free(live);
    return NULL;
}

int pt_live_start(struct pt_hub_groups *groups, uint32_t ranks, const struct pt_bundle *spread)
{
    struct pt_buf msg = {0};
    struct pt_live *live = make_live(groups, ranks, spread);
    if (!live) {
        pt_error("a group of %u ranks: out of memory", ranks);
        return -1;
    }
    if (!groups->looked)
        look_at_cores(groups);
    live->next = groups->live;
    groups->live = live;
    pt_live_time(live, PT_GROUP_JOIN_MS, on_late_join);
    size_t mark = pt_frame_begin(&msg, PT_G_START);
    pt_put_u32(&msg, live->group.id);
    pt_put_u32(&msg, ranks);
    pt_put_u8(&msg, spread || !groups->bind);
    pt_put_spread(&msg, live->spread, live->nspread);
    pt_frame_end(&msg, mark);
    ask_agent(groups, &msg);
    return 0;
}

/* --- the agent --- */

bool pt_live_agent(struct pt_hub_groups *groups)
{
    char path[PT_LOCAL_PATH];
    struct pt_err err = PT_ERR_INIT;
    int fd = -1;
    if (groups->agent || groups->no_agent[0])
        return groups->agent != NULL;
    if (pt_local_path(path, groups->hub->config.run_dir, PT_GROUP_SOCKET, &err) == 0 &&
        (fd = pt_local_connect(path, 0, &err)) >= 0 && pt_local_check_peer(fd, &err) < 0)
        close(pt_steal_fd(&fd));
    if (fd >= 0)
        groups->agent = pt_conn_create(groups->hub->loop, fd, PT_MAX_FRAME, &agent_callbacks, groups, &err);
    if (!groups->agent)
        snprintf(groups->no_agent, sizeof(groups->no_agent), "the agent cannot be asked: %.120s", err.msg);
    return groups->agent != NULL;
}

/* What a launcher ended with and said last. */
static char *describe_end(const struct pt_live *live)
{
    char how[64];
    char *text = NULL;
    int status = (int)live->status;
    const char *said = live->output ? live->output : "";
    if (status == NOT_STARTED)
        return strdup(said);
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(how, sizeof(how), "ended with status %d", WEXITSTATUS(status));
    if (asprintf(&text, "mpirun %s before all %u ranks were there\n%s", how, live->group.ranks, said) < 0)
        return NULL;
    return text;
}

static void on_late_ranks(void *arg)
{
    struct pt_live *live = arg;
    live->timer = 0;
    if (live->group.state == PT_GROUP_LEAVING && !live->group.work.active) {
        pt_live_end(live);
        return;
    }
    for (uint32_t i = 0; i < live->group.ranks; i++)
        pt_group_died(&live->group, i, NULL, 0);
    pt_live_fallen(live, true);
}

/* Of ranks that were there the sockets end too; they are what tells how. */
static void on_ended(struct pt_live *live)
{
    live->ended = true;
    if (live->group.state == PT_GROUP_FALLING) {
        pt_live_fallen(live, false);
    } else if (live->group.state == PT_GROUP_STARTING) {
        pt_auto_free char *why = describe_end(live);
        pt_live_failed(live, why ? why : "mpirun ended");
    } else {
        pt_live_time(live, PT_GROUP_FALL_MS, on_late_ranks);
    }
}

static void on_agent_frame(void *arg, struct pt_frame *frame)
{
    struct pt_hub_groups *groups = arg;
    size_t n;
    uint32_t id = pt_get_u32(&frame->body), status = pt_get_u32(&frame->body);
    const char *output = pt_get_bytes(&frame->body, &n);
    if (frame->type != PT_G_ENDED || !pt_get_end(&frame->body)) {
        pt_warn("the agent says of groups what makes no sense (type %u)", frame->type);
        return;
    }
    struct pt_live *live = groups->live;
    while (live && (live->group.id != id || live->ended))
        live = live->next;
    if (!live)
        return;
    live->status = status;
    size_t skip = n > REASON_MAX ? n - REASON_MAX : 0;
    live->output = pt_quote_nuls(output + skip, n - skip);
    if (live->group.state == PT_GROUP_ENDING) {
        free_live(live);
        pt_hub_groups_deal(groups);
    } else {
        on_ended(live);
    }
}

/* The agent ends all groups with its socket; bundles that they ran or that wait get none. */
static void on_agent_closed(void *arg, const char *why)
{
    struct pt_hub_groups *groups = arg;
    struct pt_hub *hub = groups->hub;
    struct pt_bundle rest;
    snprintf(groups->no_agent, sizeof(groups->no_agent), "the agent is gone: %.120s", why);
    pt_conn_destroy(groups->agent);
    groups->agent = NULL;
    for (struct pt_live *live = groups->live; live; live = live->next) {
        if (live->group.work.left && !hub->order.len && pt_group_rest(&live->group, &rest) == 0) {
            pt_queue_back(&hub->queue, &rest);
            pt_bundle_fini(&rest);
        }
        pt_live_end(live);
    }
    while (groups->live)
        free_live(groups->live);
    pt_hub_groups_deal(groups);
    if (!hub->ended)
        pt_hub_close_when_done(hub);
}
