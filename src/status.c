/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include "common/message_group.h"
#include "common/quote.h"

#include <stdlib.h>
#include <string.h>

#define MAX_HOSTS 65536
#define MAX_RANKS 65536

struct slot {
    struct pt_buf nodeid; /* with its NUL; empty: idle */
    int64_t since;
};

struct group {
    struct slot at;
    uint32_t ranks, bundle;
};

struct host {
    struct slot *slots;
    uint32_t n;
    struct group *groups;
    uint32_t ngroups;
};

struct pt_status {
    struct host *hosts;
    uint32_t n;
};

struct pt_status *pt_status_create(void)
{
    return calloc(1, sizeof(struct pt_status));
}

void pt_status_destroy(struct pt_status *s)
{
    for (uint32_t i = 0; s && i < s->n; i++) {
        for (uint32_t k = 0; k < s->hosts[i].n; k++)
            pt_buf_fini(&s->hosts[i].slots[k].nodeid);
        for (uint32_t k = 0; k < s->hosts[i].ngroups; k++)
            pt_buf_fini(&s->hosts[i].groups[k].at.nodeid);
        free(s->hosts[i].slots);
        free(s->hosts[i].groups);
    }
    if (s)
        free(s->hosts);
    free(s);
}

/* Room for number i in the array; false when memory ends. */
static bool grow(void *array, uint32_t *n, uint32_t i, size_t size)
{
    if (i < *n)
        return true;
    char *p = realloc(*(void **)array, (i + 1) * size);
    if (!p)
        return false;
    memset(p + *n * size, 0, (i + 1 - *n) * size);
    *(void **)array = p;
    *n = i + 1;
    return true;
}

static int set(struct slot *slot, const char *nodeid, int64_t now)
{
    pt_buf_clear(&slot->nodeid);
    slot->since = now;
    if (nodeid)
        pt_buf_append(&slot->nodeid, nodeid, strlen(nodeid) + 1);
    if (!slot->nodeid.bad)
        return 0;
    pt_buf_fini(&slot->nodeid);
    return -1;
}

int pt_status_set(struct pt_status *s, uint32_t host, uint32_t rank, const char *nodeid, int64_t now)
{
    if (!s)
        return 0;
    if (host >= MAX_HOSTS || rank >= MAX_RANKS || !grow(&s->hosts, &s->n, host, sizeof(*s->hosts)))
        return -1;
    struct host *h = &s->hosts[host];
    if (!nodeid && rank >= h->n)
        return 0;
    if (!grow(&h->slots, &h->n, rank, sizeof(*h->slots)))
        return -1;
    return set(&h->slots[rank], nodeid, now);
}

int pt_status_set_group(struct pt_status *s, uint32_t host, uint32_t group, uint32_t ranks, uint32_t bundle,
                        const char *nodeid, int64_t now)
{
    if (!s)
        return 0;
    if (host >= MAX_HOSTS || group >= PT_GROUPS_MAX || !grow(&s->hosts, &s->n, host, sizeof(*s->hosts)))
        return -1;
    struct host *h = &s->hosts[host];
    if (!nodeid && group >= h->ngroups)
        return 0;
    if (!grow(&h->groups, &h->ngroups, group, sizeof(*h->groups)))
        return -1;
    h->groups[group].ranks = ranks;
    h->groups[group].bundle = bundle;
    return set(&h->groups[group].at, nodeid, now);
}

void pt_status_end_bundle(struct pt_status *s, uint32_t host, uint32_t bundle)
{
    for (uint32_t i = 0; s && host < s->n && i < s->hosts[host].ngroups; i++)
        if (s->hosts[host].groups[i].bundle == bundle)
            pt_buf_clear(&s->hosts[host].groups[i].at.nodeid);
}

void pt_status_lost(struct pt_status *s, uint32_t host)
{
    for (uint32_t i = 0; s && host < s->n && i < s->hosts[host].n; i++)
        pt_buf_clear(&s->hosts[host].slots[i].nodeid);
    for (uint32_t i = 0; s && host < s->n && i < s->hosts[host].ngroups; i++)
        pt_buf_clear(&s->hosts[host].groups[i].at.nodeid);
}

/* --- printing --- */

static void put_safe(FILE *out, const char *text)
{
    struct pt_buf b = {0};
    pt_quote_print(&b, text, strlen(text), 0);
    if (!b.bad && b.len)
        fwrite(b.data, 1, b.len, out);
    pt_buf_fini(&b);
}

static double seconds(const struct slot *slot, int64_t now)
{
    return now > slot->since ? (double)(now - slot->since) / 1000 : 0;
}

static void put_slot(const struct slot *slot, uint32_t node, int64_t now, FILE *out)
{
    if (!slot || !slot->nodeid.len) {
        fprintf(out, "  gw%-4u       -\n", node);
        return;
    }
    fprintf(out, "  gw%-4u %7.1f s  ", node, seconds(slot, now));
    put_safe(out, (const char *)slot->nodeid.data);
    fputc('\n', out);
}

static void put_host(const struct pt_status_host *host, FILE *out)
{
    put_safe(out, host->name);
    fputs(": ", out);
    put_safe(out, host->state);
    if (host->slots)
        fprintf(out, ", %u slot%s, %u bundle%s", host->slots, host->slots == 1 ? "" : "s", host->held,
                host->held == 1 ? "" : "s");
    fputc('\n', out);
}

/* The slot or group that is at one test for longest. */
struct longest {
    const struct slot *slot;
    size_t host;
    uint32_t number; /* of the node, or of the group */
    bool is_group;
};

static void put_longest(const struct pt_status_host *hosts, const struct longest *l, int64_t now, FILE *out)
{
    if (!l->slot)
        return;
    fputs("longest: ", out);
    put_safe(out, (const char *)l->slot->nodeid.data);
    fprintf(out, ", for %.1f s on ", seconds(l->slot, now));
    put_safe(out, hosts[l->host].name);
    fprintf(out, l->is_group ? " (group %u)\n" : " (gw%u)\n", l->number);
}

static void weigh(struct longest *l, const struct slot *slot, size_t host, uint32_t number, bool is_group)
{
    if (slot && slot->nodeid.len && !(l->slot && l->slot->since <= slot->since))
        *l = (struct longest){slot, host, number, is_group};
}

static void put_group(const struct group *g, uint32_t number, int64_t now, FILE *out)
{
    if (!g->at.nodeid.len)
        return;
    fprintf(out, "  group %u of %u ranks %7.1f s  ", number, g->ranks, seconds(&g->at, now));
    put_safe(out, (const char *)g->at.nodeid.data);
    fputc('\n', out);
}

void pt_status_print(const struct pt_status *s, const struct pt_status_host *hosts, size_t n, uint32_t untold,
                     int64_t now, FILE *out)
{
    struct longest longest = {0};
    fprintf(out, "status: %u test%s without a result\n", untold, untold == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++) {
        const struct host *h = i < s->n ? &s->hosts[i] : NULL;
        put_host(&hosts[i], out);
        for (uint32_t k = 0; k < hosts[i].slots; k++) {
            const struct slot *slot = h && k < h->n ? &h->slots[k] : NULL;
            put_slot(slot, hosts[i].base + k, now, out);
            weigh(&longest, slot, i, hosts[i].base + k, false);
        }
        for (uint32_t k = 0; h && k < h->ngroups; k++) {
            put_group(&h->groups[k], k, now, out);
            weigh(&longest, &h->groups[k].at, i, k, true);
        }
    }
    put_longest(hosts, &longest, now, out);
    fflush(out);
}
