/* SPDX-License-Identifier: Apache-2.0 */
#include "history_inside.h"

#include "common/err.h"
#include "ledger.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAIR_LEAST 0.005 /* seconds below which two hosts cannot be compared */

/* FNV-1a, 32 bits. */
static uint32_t hash_text(const char *s, uint32_t h)
{
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

/* Room for one more; *items stays as it was when memory ends. */
static int room(void *items, uint32_t *cap, uint32_t n, size_t size)
{
    void **at = items;
    if (n < *cap)
        return 0;
    uint32_t more = *cap ? *cap * 2 : 64;
    void *grown = realloc(*at, more * size);
    if (!grown)
        return -1;
    *at = grown;
    *cap = more;
    return 0;
}

uint32_t pt_history_host_add(struct pt_history *h, const char *name)
{
    uint32_t n = h->hosts.n;
    if (room(&h->host, &h->cap_hosts, n, sizeof(*h->host)) < 0)
        return PT_NONE;
    uint32_t i = pt_interned_add(&h->hosts, name);
    if (i == n)
        h->host[i] = (struct pt_history_host){.speed = 1};
    return i;
}

uint32_t pt_history_file_add(struct pt_history *h, const char *path)
{
    uint32_t n = h->files.n;
    if (room(&h->file, &h->cap_files, n, sizeof(*h->file)) < 0)
        return PT_NONE;
    uint32_t i = pt_interned_add(&h->files, path);
    if (i == n)
        h->file[i] = (struct pt_history_source){.import = -1};
    return i;
}

/* --- tests --- */

static uint32_t *test_slot(const struct pt_history *h, uint32_t hash, uint32_t file, const char *nodeid,
                           uint32_t occurrence)
{
    uint32_t i = hash & (h->nslots - 1);
    for (; h->slots[i]; i = (i + 1) & (h->nslots - 1)) {
        const struct pt_history_entry *e = &h->tests[h->slots[i] - 1];
        if (e->hash == hash && e->occurrence == occurrence && e->file == file &&
            strcmp(e->nodeid, nodeid) == 0)
            break;
    }
    return &h->slots[i];
}

static uint32_t hash_test(const char *nodeid, uint32_t occurrence)
{
    uint32_t h = hash_text(nodeid, 2166136261u ^ (occurrence * 2654435761u));
    return h ^ h >> 15;
}

static int grow_slots(struct pt_history *h)
{
    uint32_t n = h->nslots ? h->nslots * 2 : 256;
    uint32_t *slots = calloc(n, sizeof(*slots));
    if (!slots)
        return -1;
    for (uint32_t i = 0; i < h->ntests; i++) {
        uint32_t k = h->tests[i].hash & (n - 1);
        while (slots[k])
            k = (k + 1) & (n - 1);
        slots[k] = i + 1;
    }
    free(h->slots);
    h->slots = slots;
    h->nslots = n;
    return 0;
}

static struct pt_history_entry *find_test(const struct pt_history *h, uint32_t file, const char *nodeid,
                                          uint32_t occurrence)
{
    if (file == PT_NONE || !h->nslots)
        return NULL;
    uint32_t at = *test_slot(h, hash_test(nodeid, occurrence), file, nodeid, occurrence);
    return at ? &h->tests[at - 1] : NULL;
}

/* A new one without times; NULL when memory ends. */
static struct pt_history_entry *add_test(struct pt_history *h, uint32_t file, const char *nodeid,
                                         uint32_t occurrence)
{
    if ((h->ntests * 2 >= h->nslots && grow_slots(h) < 0) ||
        room(&h->tests, &h->cap_tests, h->ntests, sizeof(*h->tests)) < 0)
        return NULL;
    char *copy = strdup(nodeid);
    if (!copy)
        return NULL;
    uint32_t hash = hash_test(nodeid, occurrence);
    *test_slot(h, hash, file, nodeid, occurrence) = h->ntests + 1;
    struct pt_history_entry *e = &h->tests[h->ntests++];
    *e = (struct pt_history_entry){
        .nodeid = copy, .file = file, .occurrence = occurrence, .hash = hash, .host = PT_NONE};
    h->file[file].has_tests = true;
    return e;
}

static void put_times(struct pt_history_entry *e, uint32_t host, double setup, double call, double teardown)
{
    e->host = host;
    e->setup = (float)setup;
    e->call = (float)call;
    e->teardown = (float)teardown;
}

static double sum_of(double setup, double call, double teardown)
{
    return fmax(setup, 0) + fmax(call, 0) + fmax(teardown, 0);
}

double pt_history_scaled(const struct pt_history *h, uint32_t host, double seconds)
{
    return seconds < 0 || host == PT_NONE ? seconds : seconds * h->host[host].speed;
}

bool pt_history_near(double a, double b)
{
    return fabs(a - b) <= fmax(0.05 * fabs(b), 0.0002) && (a < 0) == (b < 0);
}

/* --- loading --- */

static int load_speed(void *arg, const char *name, double speed)
{
    struct pt_history *h = arg;
    uint32_t i = pt_history_host_add(h, name);
    if (i == PT_NONE)
        return -1;
    if (speed > 0 && isfinite(speed))
        h->host[i] = (struct pt_history_host){.speed = speed, .known = true};
    return 0;
}

static int load_import(void *arg, const struct pt_ledger_import *i)
{
    return pt_history_load_import(arg, i->host, i->file, i->seconds, i->modules, i->run);
}

static int load_test(void *arg, const struct pt_ledger_duration *d)
{
    struct pt_history *h = arg;
    uint32_t host = *d->host ? pt_history_host_add(h, d->host) : PT_NONE;
    uint32_t file = pt_history_file_add(h, d->file);
    if (file == PT_NONE || (*d->host && host == PT_NONE))
        return -1;
    struct pt_history_entry *e = add_test(h, file, d->nodeid, d->occurrence);
    if (!e)
        return -1;
    put_times(e, host, d->setup, d->call, d->teardown);
    e->run = d->run > 0 ? (uint32_t)d->run : 0;
    h->total += pt_history_scaled(h, host, sum_of(d->setup, d->call, d->teardown));
    return 0;
}

struct pt_history *pt_history_create(struct pt_ledger *ledger, struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    struct pt_history *h = calloc(1, sizeof(*h));
    if (h && !ledger)
        return h;
    if (h && pt_ledger_each_speed(ledger, load_speed, h, &why) == 0 &&
        pt_ledger_each_import(ledger, load_import, h, &why) == 0 &&
        pt_ledger_each_duration(ledger, load_test, h, &why) == 0)
        return h;
    pt_history_destroy(h);
    if (why.msg[0] && err)
        *err = why;
    else
        pt_err_set(err, "what earlier runs took: out of memory");
    return NULL;
}

void pt_history_destroy(struct pt_history *h)
{
    if (!h)
        return;
    for (uint32_t i = 0; i < h->ntests; i++)
        free(h->tests[i].nodeid);
    for (uint32_t i = 0; i < h->files.n; i++)
        free(h->file[i].modules);
    pt_interned_fini(&h->hosts);
    pt_interned_fini(&h->files);
    free(h->host);
    free(h->file);
    free(h->tests);
    free(h->slots);
    free(h->pairs);
    free(h);
}

/* --- asking --- */

bool pt_history_test(const struct pt_history *h, const char *file, const char *nodeid, uint32_t occurrence,
                     struct pt_took *out)
{
    const struct pt_history_entry *e = find_test(h, pt_interned_find(&h->files, file), nodeid, occurrence);
    if (!e)
        return false;
    *out = (struct pt_took){.setup = pt_history_scaled(h, e->host, e->setup),
                            .call = pt_history_scaled(h, e->host, e->call),
                            .teardown = pt_history_scaled(h, e->host, e->teardown)};
    return true;
}

double pt_history_total(const struct pt_history *h)
{
    return h->total;
}

double pt_history_speed(const struct pt_history *h, const char *host)
{
    uint32_t i = pt_interned_find(&h->hosts, host);
    return i == PT_NONE ? 1 : h->host[i].speed;
}

/* --- noting --- */

/* The test ran on another host before: remember how they compare. Of many, some are kept, none preferred. */
static int compare_hosts(struct pt_history *h, const struct pt_history_entry *e, uint32_t host,
                         double seconds)
{
    double before = sum_of(e->setup, e->call, e->teardown);
    if (e->host == PT_NONE || e->host == host || before < PAIR_LEAST || seconds < PAIR_LEAST)
        return 0;
    if (!h->pairs && !(h->pairs = calloc(PT_HISTORY_PAIRS, sizeof(*h->pairs))))
        return -1;
    uint32_t at = h->npairs;
    h->pairs_seen++;
    if (at == PT_HISTORY_PAIRS)
        at = (uint32_t)(((uint64_t)(h->pairs_seen * 2654435761u) * h->pairs_seen) >> 32);
    if (at >= PT_HISTORY_PAIRS)
        return 0;
    h->npairs += at == h->npairs;
    h->pairs[at] = (struct pt_history_pair){.a = host, .b = e->host, .ratio = before / seconds};
    return 0;
}

static bool same_times(const struct pt_history *h, const struct pt_history_entry *e, uint32_t host,
                       const struct pt_took *took)
{
    return pt_history_near(pt_history_scaled(h, host, took->setup),
                           pt_history_scaled(h, e->host, e->setup)) &&
           pt_history_near(pt_history_scaled(h, host, took->call), pt_history_scaled(h, e->host, e->call)) &&
           pt_history_near(pt_history_scaled(h, host, took->teardown),
                           pt_history_scaled(h, e->host, e->teardown));
}

static double checked(double v)
{
    return v >= 0 && v < 1e9 ? v : -1;
}

int pt_history_saw(struct pt_history *h, const char *host, const char *file, const char *nodeid,
                   uint32_t occurrence, const struct pt_took *took)
{
    struct pt_took t = {checked(took->setup), checked(took->call), checked(took->teardown)};
    double seconds = sum_of(t.setup, t.call, t.teardown);
    if (t.setup < 0 && t.call < 0 && t.teardown < 0)
        return 0;
    uint32_t at = pt_history_host_add(h, host), f = pt_history_file_add(h, file);
    if (at == PT_NONE || f == PT_NONE)
        return -1;
    struct pt_history_entry *e = find_test(h, f, nodeid, occurrence);
    bool fresh = !e;
    if (!e && !(e = add_test(h, f, nodeid, occurrence)))
        return -1;
    if (!fresh && compare_hosts(h, e, at, seconds) < 0)
        return -1;
    if (fresh || !same_times(h, e, at, &t)) {
        put_times(e, at, t.setup, t.call, t.teardown);
        e->changed = true;
    }
    e->seen = true;
    return 0;
}
