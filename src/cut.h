/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* CUT: which tests stay together. Tests, what their marks say and what earlier runs took become the plan's
 * units. Pure.
 *
 * dist     unit
 * file     the tests of a file (of one call); long files may become several, see below
 * scope    the tests of a class, or a module's functions: what a node id has up to `scope`
 * group    the tests of a group over all files, at the end, those of one number of ranks; a test without a
 * group test     a test each     as file, for the host it was added for, never in parts
 *
 * Tests of other weight, exclusive or needs never share a unit, but in a group: that takes the greatest
 * weight and exclusive, and needs all that any of them needs. Those of other ranks (of MPI) or numa never do,
 * in a group neither: its tests of 1, of 2, of 3 ranks are three units. Two tests of one node id (occurrence
 * 0, 1
 * ..) are two.
 *
 * In parts (dist file, split). A file is cut when it is expected to take longer than
 *     share = total / slots / 2, at least 1 s
 * Then no part is more than half of what a slot has to do, and as the longest go first, the run does not wait
 * for one. Each part costs once more what the file costs to begin with: C = import + what its first test sets
 * up, and its last tears down, beyond the median of its tests. With n parts, each (with C) at most `part`
 * long, the run is expected to end between
 *     packed = max(even, ceil(n / slots) part)       even = (total + (n - 1) C) / slots
 * when all else is short and fills the gaps, and Graham's bound (1966)
 *     even + (1 - 1 / slots) part
 * where, of tests that take several slots each, n / slots is n by as many of them as the slots hold at once.
 * The n is taken that makes 3/4 packed + 1/4 bound least: parts that come out even on the slots, and short
 * ones rather than long, as expectations err; 1 when no other gains a twentieth. It is at most Testplan's
 * number of parts for the limit `share` (pt_runtime_parts). Parts are runs of the file's order, cut between
 * atoms so that the longest is as short as can be. An atom is a test; or a class whose expected time is
 * unknown or below share, as its tests may know of each other; or a function with all its parameters when its
 * first one sets up something for the others and it is below share; or all tests between the first and the
 * last of an xdist_group.
 *
 * Streaming: a file that is cut whatever else will come, or never, is given at once; others when that is
 * known: total and slots only grow. */
#include "plan.h"

struct pt_cut;
struct pt_history;

enum pt_dist { PT_DIST_FILE, PT_DIST_SCOPE, PT_DIST_GROUP, PT_DIST_TEST, PT_DIST_EACH };

#define PT_CUT_SLOTS 4 /* are assumed when pt_cut_end comes and none are known */

struct pt_cut_spec {
    enum pt_dist dist;
    bool split;     /* files that would end the run late may be cut; false: atoms are units */
    bool wait;      /* nothing is given before pt_cut_end: sequential, static, replay */
    bool in_order;  /* sequential: units are runs of the order, whatever dist is; implies wait */
    bool shuffle;   /* files, scopes in a file, tests in a scope, every order equally likely; implies wait */
    uint64_t seed;  /* the same order everywhere; a file's does not depend on what other files there are */
    uint32_t slots; /* of all hosts, as far as known; 0: not known yet */
    const struct pt_history *history; /* may be NULL; must live until destroy */
};

/* What a test's marks say. Zero-initialised is: nothing. */
struct pt_traits {
    uint32_t scope;    /* bytes of the node id up to the end of its class or module; 0: its file */
    const char *group; /* or NULL */
    uint32_t weight;   /* slots; at least its ranks */
    uint32_t ranks;    /* of MPI; 0 is 1, PT_PLAN_ALL */
    bool numa;
    enum pt_exclusive exclusive;
    uint64_t needs;
};

struct pt_cut_test {
    struct pt_bundle_test test;
    struct pt_traits traits;
};

/* Takes one unit; what it points to holds until it returns. -1 ends the cutting. */
typedef int pt_cut_unit_fn(void *arg, const struct pt_plan_unit *unit, struct pt_err *err);

struct pt_cut *pt_cut_create(const struct pt_cut_spec *spec, pt_cut_unit_fn *unit, void *arg,
                             struct pt_err *err);
void pt_cut_destroy(struct pt_cut *cut);
/* More slots became known: so many in all. What that decides is given with the next call. */
void pt_cut_slots(struct pt_cut *cut, uint32_t slots);
/* A file's tests in the order to run, copied; host: with PT_DIST_EACH the one they are for, else PT_NONE. May
 * call unit. */
int pt_cut_add(struct pt_cut *cut, const char *path, const struct pt_cut_test *tests, uint32_t n,
               uint32_t host, struct pt_err *err);
/* The order of all tests as pytest would run them: test numbers. Before pt_cut_end; optional. Tests that are
 * not in it come last. Of use for what waits for the end. */
int pt_cut_order(struct pt_cut *cut, const uint32_t *tests, uint32_t n, struct pt_err *err);
/* Nothing more comes: gives what was held back. */
int pt_cut_end(struct pt_cut *cut, struct pt_err *err);
