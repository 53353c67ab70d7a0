/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include "common/quote.h"
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

#define MAX_HOSTS 65536
#define MAX_RANKS 65536

struct slot {
    struct pt_buf nodeid; /* with its NUL; empty: idle */
    int64_t since;
};

struct host {
    struct slot *slots;
    uint32_t n;
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
        free(s->hosts[i].slots);
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
    struct slot *slot = &h->slots[rank];
    pt_buf_clear(&slot->nodeid);
    slot->since = now;
    if (nodeid)
        pt_buf_append(&slot->nodeid, nodeid, strlen(nodeid) + 1);
    if (!slot->nodeid.bad)
        return 0;
    pt_buf_fini(&slot->nodeid);
    return -1;
}

void pt_status_lost(struct pt_status *s, uint32_t host)
{
    for (uint32_t i = 0; s && host < s->n && i < s->hosts[host].n; i++)
        pt_buf_clear(&s->hosts[host].slots[i].nodeid);
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

static void put_longest(const struct pt_status_host *host, const struct slot *slot, uint32_t node,
                        int64_t now, FILE *out)
{
    fputs("longest: ", out);
    put_safe(out, (const char *)slot->nodeid.data);
    fprintf(out, ", for %.1f s on ", seconds(slot, now));
    put_safe(out, host->name);
    fprintf(out, " (gw%u)\n", node);
}

void pt_status_print(const struct pt_status *s, const struct pt_status_host *hosts, size_t n, uint32_t untold,
                     int64_t now, FILE *out)
{
    const struct slot *longest = NULL;
    size_t host = 0;
    uint32_t rank = 0;
    fprintf(out, "status: %u test%s without a result\n", untold, untold == 1 ? "" : "s");
    for (size_t i = 0; i < n; i++) {
        const struct host *h = i < s->n ? &s->hosts[i] : NULL;
        put_host(&hosts[i], out);
        for (uint32_t k = 0; k < hosts[i].slots; k++) {
            const struct slot *slot = h && k < h->n ? &h->slots[k] : NULL;
            put_slot(slot, hosts[i].base + k, now, out);
            if (!slot || !slot->nodeid.len || (longest && longest->since <= slot->since))
                continue;
            longest = slot;
            host = i;
            rank = k;
        }
    }
    if (longest)
        put_longest(&hosts[host], longest, hosts[host].base + rank, now, out);
    fflush(out);
}
