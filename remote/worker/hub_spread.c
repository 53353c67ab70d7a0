/* SPDX-License-Identifier: Apache-2.0 */
/* Groups over several hosts. Each is for one bundle: started when that comes, and ended with it, as the slots
 * of the other hosts are others' then. Whether a bundle may run, and where, is the master's to say. */
#include "common/log.h"
#include "remote/worker/hub_groups_inside.h"
#include "remote/worker/rank.h"

#define BIT(state) (1u << (state))
#define HOSTS      4000u /* whose runners have numbers of their own; 32 bits have room for these */

uint8_t *pt_live_tries(const struct pt_live *live)
{
    return &live->groups->tries[live->nspread ? 0 : live->group.ranks];
}

uint32_t pt_live_number(const struct pt_live *live, uint32_t rank)
{
    const struct pt_hub_config *config = &live->groups->hub->config;
    if (!live->nspread)
        return config->slots * (1 + live->group.index) + rank;
    return PT_RANK_SPREAD + (config->host % HOSTS * PT_GROUPS_MAX + live->group.index) * PT_RANKS_MAX + rank;
}

void pt_live_give_up(struct pt_live *live, const char *why)
{
    struct pt_hub_groups *groups = live->groups;
    struct pt_queue_item *item = live->nspread ? pt_queue_remove(&groups->hub->queue, live->bundle) : NULL;
    if (!live->nspread)
        pt_groups_give_up(groups, live->group.ranks, why);
    if (!item)
        return;
    pt_warn("no group of %u ranks over %u hosts: %s", live->group.ranks, live->nspread, why);
    pt_groups_tell_none(groups, item, why);
}

static const struct pt_queue_item *find_waiting(const struct pt_hub_groups *groups, uint32_t bundle)
{
    const struct pt_queue_item *item = pt_queue_spread(&groups->hub->queue, NULL);
    while (item && item->bundle != bundle)
        item = pt_queue_spread(&groups->hub->queue, item);
    return item;
}

static bool has_group(const struct pt_hub_groups *groups, uint32_t bundle)
{
    const unsigned usable = BIT(PT_GROUP_STARTING) | BIT(PT_GROUP_IDLE);
    for (const struct pt_live *live = groups->live; live; live = live->next)
        if (live->nspread && live->bundle == bundle && (usable & BIT(live->group.state)))
            return true;
    return false;
}

/* Those that are up get what they are for; what they are for may have been taken back. */
static void give_or_end(struct pt_hub_groups *groups)
{
    for (struct pt_live *live = groups->live; live; live = live->next) {
        enum pt_group_state state = live->group.state;
        bool unused = state == PT_GROUP_STARTING || state == PT_GROUP_IDLE;
        if (!live->nspread || !unused)
            continue;
        if (!find_waiting(groups, live->bundle))
            pt_live_end(live);
        else if (state == PT_GROUP_IDLE && !groups->hub->group_waits &&
                 pt_hub_may_run(groups->hub, live->spread[0].ranks))
            pt_live_give(live);
    }
}

/* The first one that has no group. */
static const struct pt_queue_item *find_next(const struct pt_hub_groups *groups)
{
    const struct pt_queue_item *item = pt_queue_spread(&groups->hub->queue, NULL);
    while (item && has_group(groups, item->bundle))
        item = pt_queue_spread(&groups->hub->queue, item);
    return item;
}

static int start(struct pt_hub_groups *groups, const struct pt_queue_item *item)
{
    struct pt_bundle bundle;
    if (pt_queue_open(item, &bundle) < 0)
        return -1;
    int rc = pt_live_start(groups, bundle.ranks, &bundle);
    pt_bundle_fini(&bundle);
    return rc;
}

void pt_spread_deal(struct pt_hub_groups *groups)
{
    const struct pt_queue_item *item;
    give_or_end(groups);
    while ((item = find_next(groups))) {
        if (!pt_live_agent(groups))
            pt_groups_tell_none(groups, pt_queue_remove(&groups->hub->queue, item->bundle), groups->no_agent);
        else if (pt_groups_count(groups, BIT(PT_GROUP_STARTING), 0) >= PT_GROUP_STARTS ||
                 !pt_groups_have_room(groups, true) || start(groups, item) < 0)
            return;
    }
}
