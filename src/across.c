/* SPDX-License-Identifier: Apache-2.0 */
#include "across.h"

#include "common/auto.h"

#include <stdio.h>
#include <string.h>

#define STARTS 64 /* hosts that a set is tried from */

_Static_assert(PT_ADDRESSES_MAX <= 64, "a bit for each address of a host");

struct choice {
    struct pt_across_host *hosts;
    uint32_t n;
    uint64_t *reached; /* [i * n + k]: the addresses of k that i reached, a bit each */
    uint32_t *set;     /* in the order they came to it */
    uint64_t *open;    /* of each in the set: the addresses that all others of it reached */
    uint32_t nset;
};

const char *pt_address_text(uint32_t address, char text[PT_ADDRESS_TEXT])
{
    snprintf(text, PT_ADDRESS_TEXT, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
             address & 255);
    return text;
}

/* Bytes of "4.1" in "4.1.4"; 0 when it is no version. */
static size_t series_of(const char *version)
{
    size_t n = strspn(version, "0123456789");
    size_t minor = n && version[n] == '.' ? strspn(version + n + 1, "0123456789") : 0;
    return minor && n + minor < 16 ? n + 1 + minor : 0;
}

static bool same_series(const char *a, const char *b)
{
    return series_of(a) == series_of(b) && memcmp(a, b, series_of(a)) == 0;
}

/* Is what it said of itself enough for any set? */
static bool is_able(struct pt_across_host *h)
{
    const struct pt_listening *l = h->listening;
    const char *why = NULL;
    if (!l || !h->reached)
        why = "it did not say in time which hosts it reaches";
    else if (!series_of(l->mpi))
        why = "no Open MPI was found there; name its mpirun by --mpirun";
    else if (l->run_dir[0] != '/' || l->worker[0] != '/')
        why = "it named no folder of its own";
    else if (!l->n)
        why = "it has no IPv4 address that others could reach";
    snprintf(h->why, sizeof(h->why), "%s", why ? why : "");
    return h->asked && !why;
}

static void read_reached(struct choice *c, uint32_t i)
{
    const struct pt_reached *m = c->hosts[i].reached;
    for (uint32_t k = 0; m && k < m->n; k++) {
        uint32_t whom = m->hosts[k].host;
        const struct pt_listening *l = whom < c->n && whom != i ? c->hosts[whom].listening : NULL;
        for (uint32_t a = 0; l && a < l->n; a++)
            if (l->addresses[a].address == m->hosts[k].address)
                c->reached[(size_t)i * c->n + whom] |= 1ull << a;
    }
}

static uint64_t reach(const struct choice *c, uint32_t i, uint32_t whom)
{
    return c->reached[(size_t)i * c->n + whom];
}

/* The address that both have, and that each reached as the other's: one machine. */
static bool shared_address(const struct choice *c, uint32_t i, uint32_t k, uint32_t *address)
{
    const struct pt_listening *a = c->hosts[i].listening;
    const struct pt_listening *b = c->hosts[k].listening;
    for (uint32_t x = 0; x < a->n; x++)
        for (uint32_t y = 0; y < b->n; y++)
            if (a->addresses[x].address == b->addresses[y].address && reach(c, k, i) >> x & 1 &&
                reach(c, i, k) >> y & 1) {
                *address = a->addresses[x].address;
                return true;
            }
    return false;
}

/* Why host i cannot be with those of the set; open: its addresses that all of them reached. */
static bool fits(const struct choice *c, uint32_t i, uint64_t *open, char *why, size_t size)
{
    char text[PT_ADDRESS_TEXT];
    const struct pt_listening *own = c->hosts[i].listening;
    *open = own->n < 64 ? (1ull << own->n) - 1 : UINT64_MAX;
    for (uint32_t m = 0; m < c->nset; m++) {
        uint32_t k = c->set[m];
        uint32_t address;
        const char *name = c->hosts[k].name;
        const struct pt_listening *other = c->hosts[k].listening;
        *open &= reach(c, k, i);
        if (!same_series(own->mpi, other->mpi))
            snprintf(why, size, "Open MPI %.*s there, %.*s on %s", (int)series_of(own->mpi), own->mpi,
                     (int)series_of(other->mpi), other->mpi, name);
        else if (!reach(c, k, i))
            snprintf(why, size, "%s cannot reach it (%s); open TCP between them", name,
                     pt_address_text(own->addresses[0].address, text));
        else if (!reach(c, i, k))
            snprintf(why, size, "it cannot reach %s (%s); open TCP between them", name,
                     pt_address_text(other->addresses[0].address, text));
        else if (shared_address(c, i, k, &address))
            snprintf(why, size, "it is the same machine as %s (%s)", name, pt_address_text(address, text));
        else if (!*open)
            snprintf(why, size, "it has no address that both %s and %s reach", c->hosts[c->set[0]].name,
                     name);
        else if (!(c->open[m] & reach(c, i, k)))
            snprintf(why, size, "it reaches no address of %s that the others do", name);
        else
            continue;
        return false;
    }
    return true;
}

static void add(struct choice *c, uint32_t i, uint64_t open)
{
    for (uint32_t m = 0; m < c->nset; m++)
        c->open[m] &= reach(c, i, c->set[m]);
    c->set[c->nset] = i;
    c->open[c->nset++] = open;
}

/* The set that has host `first`, and its slots. With `tell`, why others are not in it. */
static uint64_t gather(struct choice *c, uint32_t first, bool tell)
{
    uint64_t slots = 0;
    c->nset = 0;
    for (uint32_t k = 0; k <= c->n; k++) {
        uint32_t i = k == 0 ? first : k - 1;
        char why[PT_ERR_MAX] = "";
        uint64_t open;
        if ((k && i == first) || !c->hosts[i].in)
            continue;
        if (fits(c, i, &open, why, sizeof(why))) {
            add(c, i, open);
            slots += c->hosts[i].slots;
        }
        if (tell)
            snprintf(c->hosts[i].why, sizeof(c->hosts[i].why), "%s", why);
    }
    return slots;
}

/* Who is able is `in` until the set is known. */
static void choose(struct choice *c)
{
    uint64_t most = 0;
    uint32_t best = PT_NONE;
    uint32_t starts = 0;
    uint32_t able = 0;
    for (uint32_t i = 0; i < c->n; i++)
        able += c->hosts[i].in;
    c->nset = 0;
    for (uint32_t i = 0; i < c->n && starts < STARTS && c->nset < able; i++) {
        if (!c->hosts[i].in)
            continue;
        starts++;
        uint64_t slots = gather(c, i, false);
        if (best == PT_NONE || (c->nset > 1 && slots > most)) {
            best = i;
            most = c->nset > 1 ? slots : 0;
        }
    }
    c->nset = 0;
    if (best != PT_NONE)
        gather(c, best, true);
    for (uint32_t i = 0; i < c->n; i++)
        c->hosts[i].in = false;
    for (uint32_t m = 0; m < c->nset && c->nset > 1; m++) {
        struct pt_across_host *h = &c->hosts[c->set[m]];
        h->in = true;
        h->address = h->listening->addresses[__builtin_ctzll(c->open[m])];
    }
}

int pt_across_choose(struct pt_across_host *hosts, uint32_t n, struct pt_err *err)
{
    struct choice c = {.hosts = hosts, .n = n};
    pt_auto_free uint64_t *reached = calloc((size_t)n * n + 1, sizeof(*reached));
    pt_auto_free uint32_t *set = calloc(n + 1, sizeof(*set));
    pt_auto_free uint64_t *open = calloc(n + 1, sizeof(*open));
    if (!reached || !set || !open)
        return pt_err_set(err, "out of memory");
    c.reached = reached;
    c.set = set;
    c.open = open;
    for (uint32_t i = 0; i < n; i++)
        hosts[i].in = is_able(&hosts[i]);
    for (uint32_t i = 0; i < n; i++)
        if (hosts[i].in)
            read_reached(&c, i);
    choose(&c);
    return 0;
}
