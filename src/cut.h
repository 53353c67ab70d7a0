/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* CUT: which tests stay together. Tests, what their marks say and what earlier runs took become the plan's
 * units. Pure. */
#include "plan.h"

struct pt_cut;
struct pt_history;

enum pt_dist { PT_DIST_FILE, PT_DIST_SCOPE, PT_DIST_GROUP, PT_DIST_TEST, PT_DIST_EACH };

struct pt_cut_spec {
    enum pt_dist dist;
    bool split;    /* files that would end the run late may be cut */
    bool wait;     /* nothing is given before pt_cut_end: sequential, static, replay */
    bool in_order; /* sequential: units come in the order of pt_cut_order */
    bool shuffle;
    uint64_t seed;
    uint32_t slots;                   /* of all hosts, as far as known; 0: not known yet */
    const struct pt_history *history; /* may be NULL */
};

/* What a test's marks say. Zero-initialised is: nothing. */
struct pt_traits {
    uint32_t scope;    /* bytes of the node id up to the end of its class or module; 0: its file */
    const char *group; /* or NULL */
    uint32_t weight;
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
/* More slots became known. */
void pt_cut_slots(struct pt_cut *cut, uint32_t slots);
/* A file's tests in the order to run, copied; host: with PT_DIST_EACH the one they are for, else PT_NONE. May
 * call unit. */
int pt_cut_add(struct pt_cut *cut, const char *path, const struct pt_cut_test *tests, uint32_t n,
               uint32_t host, struct pt_err *err);
/* The order of all tests as pytest would run them: test numbers. Before pt_cut_end; optional. */
int pt_cut_order(struct pt_cut *cut, const uint32_t *tests, uint32_t n, struct pt_err *err);
/* Nothing more comes: gives what was held back. */
int pt_cut_end(struct pt_cut *cut, struct pt_err *err);
