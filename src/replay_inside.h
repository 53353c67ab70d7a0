/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What replay.c reads and replay_units.c gives. */
#include "interned.h"
#include "replay.h"

/* Where a test ran. */
struct pt_ran {
    const char *nodeid;
    uint32_t occurrence, host, bundle;
    uint32_t worker; /* the slot; of several ranks: their group */
    uint32_t ranks;
    bool spread; /* over several hosts, the first of which is `host` */
    uint32_t at; /* in the order of collection */
    double started;
};

/* Tests of one bundle on one worker: tests[from .. from + n). */
struct pt_replay_part {
    uint32_t from, n;
    double started;
};

/* A host, at its number among the names. */
struct pt_replay_host {
    uint32_t slots; /* as the file lists it; 0: it does not */
    bool shared;    /* had ranks of tests that several hosts ran together */
};

struct pt_replay {
    char *hash_seed, *isolate, *dist;
    struct pt_interned names;      /* of hosts, as the file lists them and then as they come */
    struct pt_replay_host *listed; /* nlisted of them */
    uint32_t nlisted;
    struct pt_interned *ids; /* node ids: one table, or with dist "each" one for each host */
    uint32_t **seen;         /* how often each id came */
    uint32_t nids;
    uint32_t *host_at, *slots; /* hosts that ran tests: number in names, slots needed */
    size_t nhosts;
    struct pt_ran *tests;
    uint32_t ntests, cap_tests;
    struct pt_replay_part *parts;
    uint32_t nparts;
};
