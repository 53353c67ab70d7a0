/* SPDX-License-Identifier: Apache-2.0 */
#include "replay_inside.h"

#include "common/auto.h"
#include "common/err.h"
#include "json.h"
#include "whole_file.h"

#include <stdlib.h>
#include <string.h>

#define VERSION    1
#define MAX_HOSTS  65536
#define MAX_WORKER 65535

static int no_memory(struct pt_err *err)
{
    return pt_err_set(err, "out of memory");
}

/* --- reading --- */

static int copy_how(struct pt_replay *r, const struct pt_json *root, struct pt_err *err)
{
    struct pt_fields top = {.object = root};
    struct pt_fields how = {.object = pt_field_object(&top, "how")};
    const char *seed = NULL, *isolate = NULL, *dist = NULL;
    if (how.object) {
        seed = pt_field_str(&how, "hash_seed");
        isolate = pt_field_str(&how, "isolate");
        dist = pt_field_str(&how, "dist");
    }
    if (pt_fields_end(&top, "run", err) < 0 || (how.object && pt_fields_end(&how, "how", err) < 0))
        return -1;
    r->hash_seed = strdup(seed ? seed : "");
    r->isolate = strdup(isolate ? isolate : "");
    r->dist = strdup(dist ? dist : "");
    return r->hash_seed && r->isolate && r->dist ? 0 : no_memory(err);
}

/* The host of that name, added when new. NULL: memory ended. */
static struct pt_replay_host *host_named(struct pt_replay *r, const char *name)
{
    uint32_t id = pt_interned_add(&r->names, name);
    if (id == PT_NONE)
        return NULL;
    if (id >= r->nlisted) {
        struct pt_replay_host *all = realloc(r->listed, (id + 1) * sizeof(*all));
        if (!all)
            return NULL;
        memset(all + r->nlisted, 0, (id + 1 - r->nlisted) * sizeof(*all));
        r->listed = all;
        r->nlisted = id + 1;
    }
    return &r->listed[id];
}

static int read_hosts(struct pt_replay *r, const struct pt_json *hosts, struct pt_err *err)
{
    for (const struct pt_json *h = pt_json_first(hosts); h; h = pt_json_next(h)) {
        const char *name = pt_json_text(pt_json_get(h, "name"));
        if (!name)
            return pt_err_set(err, "hosts: one without a name");
        if (r->names.n >= MAX_HOSTS)
            return pt_err_set(err, "hosts: more than %d", MAX_HOSTS);
        struct pt_fields f = {.object = h};
        struct pt_replay_host *host = host_named(r, name);
        if (!host)
            return no_memory(err);
        host->slots = pt_field_u32(&f, "slots", MAX_WORKER, 0);
        if (pt_fields_end(&f, "hosts", err) < 0)
            return -1;
    }
    return 0;
}

/* Hosts that ran a test together; nothing when it was one. */
static int read_shares(struct pt_replay *r, const struct pt_json *hosts, struct pt_ran *out,
                       struct pt_err *err)
{
    out->spread = pt_json_count(hosts) > 1;
    for (const struct pt_json *h = pt_json_first(hosts); h && out->spread; h = pt_json_next(h)) {
        if (!pt_json_text(h))
            return pt_err_set(err, "a test: hosts: not names");
        if (r->names.n >= MAX_HOSTS)
            return pt_err_set(err, "hosts: more than %d", MAX_HOSTS);
        struct pt_replay_host *host = host_named(r, pt_json_text(h));
        if (!host)
            return no_memory(err);
        host->shared = true;
    }
    return 0;
}

/* The number of the node id in its table, and which of equal ids this is. */
static const char *intern(struct pt_replay *r, const char *nodeid, uint32_t host, uint32_t *occurrence)
{
    uint32_t table = strcmp(r->dist, "each") == 0 ? host : 0;
    if (table >= r->nids) {
        uint32_t n = table + 1;
        struct pt_interned *ids = realloc(r->ids, n * sizeof(*ids));
        r->ids = ids ? ids : r->ids;
        uint32_t **seen = ids ? realloc(r->seen, n * sizeof(*seen)) : NULL;
        if (!seen)
            return NULL;
        r->seen = seen;
        for (; r->nids < n; r->nids++) {
            ids[r->nids] = (struct pt_interned){0};
            seen[r->nids] = NULL;
        }
    }
    uint32_t cap = r->ids[table].cap, id = pt_interned_add(&r->ids[table], nodeid);
    if (id == PT_NONE)
        return NULL;
    if (r->ids[table].cap != cap) {
        uint32_t *seen = realloc(r->seen[table], r->ids[table].cap * sizeof(*seen));
        if (!seen)
            return NULL;
        memset(seen + cap, 0, (r->ids[table].cap - cap) * sizeof(*seen));
        r->seen[table] = seen;
    }
    *occurrence = r->seen[table][id]++;
    return r->ids[table].text[id];
}

/* Where it ran: 1; 0 it did not run; -1. */
static int read_place(struct pt_replay *r, const struct pt_json *object, struct pt_ran *out,
                      struct pt_err *err)
{
    struct pt_fields f = {.object = object};
    const char *host = pt_field_str(&f, "host");
    out->worker = pt_field_u32(&f, "worker", MAX_WORKER, PT_NONE);
    out->bundle = pt_field_u32(&f, "bundle", PT_NONE - 1, PT_NONE);
    out->ranks = pt_field_u32(&f, "ranks", PT_RANKS_MAX, out->ranks);
    out->ranks = out->ranks ? out->ranks : 1;
    out->started = pt_field_num(&f, "started", -1);
    const struct pt_json *hosts = pt_field_array(&f, "hosts");
    if (pt_fields_end(&f, "a test", err) < 0)
        return -1;
    if (!host || out->worker == PT_NONE || out->bundle == PT_NONE)
        return 0;
    if (r->names.n >= MAX_HOSTS)
        return pt_err_set(err, "hosts: more than %d", MAX_HOSTS);
    out->host = pt_interned_add(&r->names, host);
    if (out->host == PT_NONE)
        return no_memory(err);
    return read_shares(r, hosts, out, err) < 0 ? -1 : 1;
}

static int add(struct pt_replay *r, const struct pt_ran *t, struct pt_err *err)
{
    if (r->ntests == r->cap_tests) {
        uint32_t cap = r->cap_tests ? 2 * r->cap_tests : 256;
        struct pt_ran *tests = realloc(r->tests, cap * sizeof(*tests));
        if (!tests)
            return no_memory(err);
        r->tests = tests;
        r->cap_tests = cap;
    }
    r->tests[r->ntests++] = *t;
    return 0;
}

static int read_test(struct pt_replay *r, const struct pt_json *object, uint32_t at, struct pt_err *err)
{
    struct pt_fields f = {.object = object};
    struct pt_ran t = {.at = at};
    const char *nodeid = pt_field_str(&f, "nodeid");
    uint32_t said = pt_field_u32(&f, "occurrence", PT_MAX_TESTS, PT_NONE);
    t.ranks = pt_field_u32(&f, "ranks", PT_RANKS_MAX, 1);
    const struct pt_json *first = pt_json_first(pt_field_array(&f, "tries"));
    if (pt_json_kind(object) != PT_JSON_OBJECT || pt_fields_end(&f, "a test", err) < 0)
        return err && err->msg[0] ? -1 : pt_err_set(err, "not an object");
    if (!nodeid || !*nodeid || strlen(nodeid) > PT_MAX_NODEID)
        return pt_err_set(err, "nodeid: missing, or too long");
    if (first && pt_json_kind(first) != PT_JSON_OBJECT)
        return pt_err_set(err, "tries: not objects");
    int ran = read_place(r, first ? first : object, &t, err);
    if (ran < 0)
        return -1;
    /* Equal ids count also where they did not run. */
    if (!(t.nodeid = intern(r, nodeid, ran ? t.host : 0, &t.occurrence)))
        return no_memory(err);
    if (said != PT_NONE)
        t.occurrence = said;
    return ran ? add(r, &t, err) : 0;
}

static int read_tests(struct pt_replay *r, const struct pt_json *tests, struct pt_err *err)
{
    uint32_t at = 0;
    if (!tests)
        return pt_err_set(err, "tests: missing");
    for (const struct pt_json *t = pt_json_first(tests); t; t = pt_json_next(t), at++) {
        if (at >= PT_MAX_TESTS)
            return pt_err_set(err, "tests: more than %u", PT_MAX_TESTS);
        if (read_test(r, t, at, err) < 0)
            return pt_err_wrap(err, "tests[%u]", at);
    }
    return r->ntests ? 0 : pt_err_set(err, "no test in it says where it ran (host, worker and bundle)");
}

/* --- putting in order --- */

static int compare(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

/* Slots and groups of ranks are counted apart. */
static int by_worker(const struct pt_ran *a, const struct pt_ran *b)
{
    int rc = compare(a->host, b->host);
    rc = rc ? rc : compare(a->ranks > 1, b->ranks > 1);
    return rc ? rc : compare(a->worker, b->worker);
}

static int by_bundle(const void *va, const void *vb)
{
    const struct pt_ran *a = va, *b = vb;
    int rc = by_worker(a, b);
    rc = rc ? rc : compare(a->bundle, b->bundle);
    rc = rc ? rc : compare(a->ranks, b->ranks);
    return rc ? rc : compare(a->at, b->at);
}

static int by_start(const void *va, const void *vb)
{
    const struct pt_ran *a = va, *b = vb;
    return a->started != b->started ? (a->started > b->started) - (a->started < b->started)
                                    : compare(a->at, b->at);
}

static bool same_worker(const struct pt_ran *a, const struct pt_ran *b)
{
    return by_worker(a, b) == 0;
}

/* What did not say when it started did so after the test before it in its bundle; the first ones before the
 * first that said so. */
static void fill_starts(struct pt_ran *t, uint32_t n)
{
    double last = -1;
    for (uint32_t i = 0; i < n && last < 0; i++)
        last = t[i].started;
    for (uint32_t i = 0; i < n; i++)
        last = t[i].started = t[i].started < 0 ? last : t[i].started;
}

static int by_part(const void *va, const void *vb, void *arg)
{
    const struct pt_replay *r = arg;
    const struct pt_replay_part *a = va, *b = vb;
    const struct pt_ran *x = &r->tests[a->from], *y = &r->tests[b->from];
    int rc = by_worker(x, y);
    if (!rc && a->started != b->started)
        rc = (a->started > b->started) - (a->started < b->started);
    return rc ? rc : compare(x->bundle, y->bundle);
}

static int find_parts(struct pt_replay *r, struct pt_err *err)
{
    uint32_t end;
    r->parts = malloc(r->ntests * sizeof(*r->parts));
    if (!r->parts)
        return no_memory(err);
    qsort(r->tests, r->ntests, sizeof(*r->tests), by_bundle);
    for (uint32_t i = 0; i < r->ntests; i = end) {
        struct pt_ran *t = &r->tests[i];
        for (end = i + 1; end < r->ntests && same_worker(t, &r->tests[end]) &&
                          t->bundle == r->tests[end].bundle && t->ranks == r->tests[end].ranks;)
            end++;
        fill_starts(t, end - i);
        qsort(t, end - i, sizeof(*t), by_start);
        struct pt_replay_part *before = r->nparts ? &r->parts[r->nparts - 1] : NULL;
        bool follows = before && same_worker(&r->tests[before->from], t);
        r->parts[r->nparts++] = (struct pt_replay_part){
            .from = i, .n = end - i, .started = t->started < 0 && follows ? before->started : t->started};
    }
    qsort_r(r->parts, r->nparts, sizeof(*r->parts), by_part, r);
    return 0;
}

/* Hosts that ran tests, in the file's order; their numbers replace those of the names. */
static int find_hosts(struct pt_replay *r, struct pt_err *err)
{
    pt_auto_free uint32_t *slots = calloc(r->names.n + 1, sizeof(*slots));
    pt_auto_free uint32_t *number = calloc(r->names.n + 1, sizeof(*number));
    r->host_at = malloc((r->names.n + 1) * sizeof(*r->host_at));
    r->slots = malloc((r->names.n + 1) * sizeof(*r->slots));
    if (!slots || !number || !r->host_at || !r->slots)
        return no_memory(err);
    for (uint32_t i = 0; i < r->nlisted; i++)
        if (r->listed[i].shared)
            slots[i] = r->listed[i].slots ? r->listed[i].slots : 1;
    for (uint32_t i = 0; i < r->ntests; i++) {
        const struct pt_ran *t = &r->tests[i];
        uint32_t need = t->spread ? 1 : t->ranks > 1 ? t->ranks : t->worker + 1;
        if (slots[t->host] < need)
            slots[t->host] = need;
    }
    for (uint32_t i = 0; i < r->names.n; i++)
        if (slots[i]) {
            number[i] = (uint32_t)r->nhosts;
            r->host_at[r->nhosts] = i;
            r->slots[r->nhosts++] = slots[i];
        }
    for (uint32_t i = 0; i < r->ntests; i++)
        r->tests[i].host = number[r->tests[i].host];
    return 0;
}

static int take(struct pt_replay *r, const struct pt_json *root, struct pt_err *err)
{
    struct pt_fields f = {.object = root};
    if (pt_json_kind(root) != PT_JSON_OBJECT || pt_field_u32(&f, "version", VERSION, 0) != VERSION)
        return pt_err_set(err, "not a file that --json of this version wrote");
    const struct pt_json *hosts = pt_field_array(&f, "hosts"), *tests = pt_field_array(&f, "tests");
    if (pt_fields_end(&f, "run", err) < 0 || copy_how(r, root, err) < 0 || read_hosts(r, hosts, err) < 0 ||
        read_tests(r, tests, err) < 0 || find_hosts(r, err) < 0)
        return -1;
    return find_parts(r, err);
}

struct pt_replay *pt_replay_read(const char *path, struct pt_err *err)
{
    struct pt_err why = PT_ERR_INIT;
    struct pt_buf text = {0};
    struct pt_json *root = NULL;
    struct pt_replay *r = calloc(1, sizeof(*r));
    int rc = r ? pt_whole_file(path, PT_JSON_MAX, &text, &why) : no_memory(&why);
    if (rc == 0)
        rc = (root = pt_json_parse(text.data, text.len, &why)) ? take(r, root, &why) : -1;
    pt_buf_fini(&text);
    pt_json_destroy(root);
    if (rc == 0)
        return r;
    pt_replay_destroy(r);
    bool memory = strstr(why.msg, "out of memory") != NULL;
    pt_err_set_kind(err, memory ? PT_ERR_INTERNAL : PT_ERR_USAGE, "--replay %s: %s", path, why.msg);
    return NULL;
}

void pt_replay_destroy(struct pt_replay *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->nids; i++) {
        pt_interned_fini(&r->ids[i]);
        free(r->seen[i]);
    }
    pt_interned_fini(&r->names);
    free(r->ids);
    free(r->seen);
    free(r->host_at);
    free(r->slots);
    free(r->listed);
    free(r->tests);
    free(r->parts);
    free(r->hash_seed);
    free(r->isolate);
    free(r->dist);
    free(r);
}

const char *pt_replay_hash_seed(const struct pt_replay *r)
{
    return r->hash_seed;
}

const char *pt_replay_isolate(const struct pt_replay *r)
{
    return r->isolate;
}

const char *pt_replay_dist(const struct pt_replay *r)
{
    return r->dist;
}

size_t pt_replay_hosts(const struct pt_replay *r)
{
    return r->nhosts;
}

const char *pt_replay_host(const struct pt_replay *r, size_t i, uint32_t *slots)
{
    *slots = r->slots[i];
    return r->names.text[r->host_at[i]];
}
