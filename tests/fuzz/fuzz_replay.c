/* SPDX-License-Identifier: Apache-2.0 */
/* A run's JSON file to be run again: its tests are given as units, each at most once, or counted as gone. */
#include "common/err.h"
#include "fuzz.h"
#include "replay.h"

struct given {
    uint32_t asked, tests, ranks;
};

/* Tests by the first letters of their ids, so that some are equal; those that begin with '-' are gone. */
static bool find(void *arg, const char *nodeid, uint32_t occurrence, struct pt_bundle_test *test,
                 const char **path)
{
    struct given *g = arg;
    g->asked++;
    if (nodeid[0] == '-')
        return false;
    uint32_t number = (uint8_t)nodeid[0] * 8u + (nodeid[0] ? (uint8_t)nodeid[1] % 8u : 0);
    *test = (struct pt_bundle_test){
        .test = number, .occurrence = occurrence, .nodeid = (char *)(uintptr_t)nodeid};
    *path = number % 2 ? "odd.py" : "even.py";
    return true;
}

static int take_unit(void *arg, const struct pt_plan_unit *unit, struct pt_err *err)
{
    struct given *g = arg;
    (void)err;
    FUZZ_CHECK(unit->nfiles > 0 && unit->ranks >= 1 && unit->ranks <= PT_RANKS_MAX && unit->host < 3);
    for (uint32_t i = 0; i < unit->nfiles; i++) {
        FUZZ_CHECK(unit->files[i].ntests > 0 && unit->files[i].path[0]);
        g->tests += unit->files[i].ntests;
    }
    g->ranks += unit->ranks;
    return g->ranks > 5000 ? -1 : 0;
}

static void use(const struct pt_replay *r)
{
    struct pt_err err = PT_ERR_INIT;
    struct given g = {0};
    uint32_t gone = 0;
    size_t n = pt_replay_hosts(r);
    FUZZ_CHECK(n > 0 && pt_replay_hash_seed(r) && pt_replay_isolate(r) && pt_replay_dist(r));
    uint32_t *host_of = fuzz_starved() ? NULL : calloc(n, sizeof(*host_of));
    if (!host_of)
        return;
    for (size_t i = 0; i < n; i++) {
        uint32_t slots = 0;
        FUZZ_CHECK(pt_replay_host(r, i, &slots) && slots > 0);
        host_of[i] = i % 4 == 3 ? PT_NONE : (uint32_t)i % 4;
    }
    int rc = pt_replay_units(r, host_of, find, take_unit, &g, &gone, &err);
    FUZZ_CHECK(rc < 0 ? fuzz_starved() || g.ranks > 5000 : g.asked <= g.tests + gone);
    free(host_of);
}

void fuzz_one(const uint8_t *data, size_t size)
{
    struct pt_err err = PT_ERR_INIT;
    char path[300];
    snprintf(path, sizeof(path), "%s", fuzz_file("run.json", data, size));
    struct pt_replay *r = pt_replay_read(path, &err);
    FUZZ_CHECK(r || (err.msg[0] && !strchr(err.msg, '\n')));
    if (r)
        use(r);
    pt_replay_destroy(r);
}
