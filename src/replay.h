/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* REPLAY: a run's JSON file says which test ran where, in which bundle and order; the same again
 * (docs/protocol.md 7.4). */
#include "plan.h"

struct pt_replay;

/* Checks all of it; a file that is none gives one line that names it and what is wrong. */
struct pt_replay *pt_replay_read(const char *path, struct pt_err *err);
void pt_replay_destroy(struct pt_replay *r);
/* What must be as it was: "" when the file does not say. */
const char *pt_replay_hash_seed(const struct pt_replay *r);
const char *pt_replay_isolate(const struct pt_replay *r);
const char *pt_replay_dist(const struct pt_replay *r);
/* Hosts of that run that ran tests: 0 .. n-1 in its order; name and slots that are needed there. */
size_t pt_replay_hosts(const struct pt_replay *r);
const char *pt_replay_host(const struct pt_replay *r, size_t i, uint32_t *slots);
/* The tests of this run, by node id and occurrence: number, file; false when it was not collected. */
typedef bool pt_replay_find_fn(void *arg, const char *nodeid, uint32_t occurrence,
                               struct pt_bundle_test *test, const char **path);
typedef int pt_replay_unit_fn(void *arg, const struct pt_plan_unit *unit, struct pt_err *err);
/* Gives the units, pinned, those of one worker in the order to run (tests of several ranks: those of one
 * group of ranks, with as many ranks as then, pinned to the host): host_of[i] is the number that host i of
 * the file has now (PT_NONE: none, its tests are left out). Tests of that run that find does not know, or
 * gave before (a run of --dist each is replayed on the first of its hosts), are left out and counted in
 * *gone. */
int pt_replay_units(const struct pt_replay *r, const uint32_t *host_of, pt_replay_find_fn *find,
                    pt_replay_unit_fn *unit, void *arg, uint32_t *gone, struct pt_err *err);
