/* SPDX-License-Identifier: Apache-2.0 */
/* Which slots of the machine the hub has, where other runs share them. What is used is counted anew each
 * time, from the bundles that ranks and groups have. */
#include "common/err.h"
#include "common/log.h"
#include "remote/worker/hub_groups_inside.h"
#include "remote/worker/tell.h"

static uint32_t count_used(const struct pt_hub *hub)
{
    uint32_t n = 0;
    for (const struct pt_hub_peer *peer = hub->peers; peer; peer = peer->next)
        n += peer->bundle != PT_NONE;
    for (const struct pt_live *live = hub->groups->live; live; live = live->next)
        if (live->group.work.active)
            n += live->nspread ? live->spread[0].ranks : live->group.ranks;
    return n;
}

/* Bundles for one rank that could be dealt now. */
static uint32_t count_wanted(const struct pt_hub *hub)
{
    uint32_t ready = 0, waits = 0;
    for (const struct pt_hub_peer *peer = hub->peers; peer; peer = peer->next)
        ready += peer->ready;
    for (const struct pt_queue_item *item = hub->queue.head; item && waits < ready; item = item->next)
        waits += item->ranks <= 1;
    return waits;
}

bool pt_hub_may_run(struct pt_hub *hub, uint32_t ranks)
{
    if (!hub->sharing)
        return true;
    uint32_t used = count_used(hub), group = ranks > 1 ? ranks : hub->group_waits;
    struct pt_sharing_wish wish = {.step = group ? group : 1, .want = used + group + count_wanted(hub)};
    if (wish.want < used + ranks)
        wish.want = used + ranks; /* a group's only rank here */
    pt_sharing_keep(hub->sharing, used);
    bool may = pt_sharing_take(hub->sharing, ranks, ranks > 1 ? 0 : group, &wish);
    if (ranks > 1)
        hub->group_waits = may ? 0 : ranks;
    return may;
}

void pt_hub_let_go(struct pt_hub *hub)
{
    if (!hub->sharing)
        return;
    pt_sharing_keep(hub->sharing, count_used(hub));
    if (!hub->queue.head) {
        hub->group_waits = 0;
        pt_sharing_rest(hub->sharing);
    }
}

static void on_may_have(void *arg)
{
    struct pt_hub *hub = arg;
    if (hub->ended)
        return;
    pt_hub_groups_deal(hub->groups);
    pt_hub_deal(hub);
    pt_hub_let_go(hub);
}

static void on_waits(void *arg, const char *run, const char *who, uint32_t held, uint32_t slots)
{
    struct pt_hub *hub = arg;
    struct pt_buf msg = {0};
    const struct pt_waits waits = {
        .run = (char *)(uintptr_t)run, .who = (char *)(uintptr_t)who, .held = held, .slots = slots};
    pt_waits_encode(&waits, &msg);
    if (!msg.bad)
        pt_hub_pass_started(hub, msg.data, msg.len);
    pt_buf_fini(&msg);
}

void pt_hub_share(struct pt_hub *hub)
{
    static const struct pt_sharing_callbacks callbacks = {on_may_have, on_waits};
    const struct pt_hub_config *config = &hub->config;
    struct pt_err err = PT_ERR_INIT;
    if (!config->share || !config->slots)
        return;
    const struct pt_sharing_config sharing = {.folder = config->share,
                                              .run = config->run,
                                              .who = config->who,
                                              .host = config->host,
                                              .slots = config->slots};
    hub->sharing = pt_sharing_create(hub->loop, &sharing, &callbacks, hub, &err);
    if (!hub->sharing)
        pt_warn("the slots are not shared with other runs: %s", err.msg);
}
