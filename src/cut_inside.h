/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of cut share: cut.c takes and holds back, cut_units.c puts tests together, cut_parts.c cuts
 * long files, cut_shuffle.c mixes. */
#include "cut.h"

#define PT_CUT_BYTES (8u << 20) /* of node ids and paths in one unit: half of what a frame takes */
#define PT_CUT_RUN   1000       /* tests of a unit in order, after which it ends with the file */
#define PT_CUT_SHARE 1.0        /* seconds: no file is cut that takes less */

/* A test on its way into a unit. Strings are the caller's, or in the arena once it is held back. */
struct pt_cut_item {
    struct pt_bundle_test test;
    const char *path, *group; /* group NULL: none */
    uint64_t needs;
    uint32_t scope;               /* bytes of the node id, never 0 */
    uint32_t host, weight, ranks; /* ranks never 0 */
    bool numa;
    enum pt_exclusive exclusive;
    float seconds, setup, teardown; /* expected; negative: not known */
    float import;                   /* of the file; negative: not known */
    float share;                    /* of the import, when the file's tests go separate ways */
};

/* What items have in common that are in one slice. */
enum {
    PT_CUT_FILE = 1,   /* path and host */
    PT_CUT_SCOPE = 2,  /* and class */
    PT_CUT_TRAITS = 4, /* weight, ranks, numa, exclusive, needs */
    PT_CUT_GROUP = 8,  /* group, ranks and numa; an item without a group is a slice */
};

/* order[start[i] .. start[i + 1]) are the items of slice i; slices and items in the order they came. */
struct pt_cut_slices {
    uint32_t *order, *start;
    uint32_t n;
};
/* seq: the items to sort, n of them. -1 when memory ends. */
int pt_cut_slices_init(struct pt_cut_slices *s, const struct pt_cut_item *items, const uint32_t *seq,
                       uint32_t n, unsigned by);
void pt_cut_slices_fini(struct pt_cut_slices *s);

struct pt_cut_chunk;

/* A file that may have to be cut. */
struct pt_cut_job {
    struct pt_cut_item *items;
    uint32_t n;
    double seconds; /* with its import */
};

struct pt_cut {
    struct pt_cut_spec spec;
    pt_cut_unit_fn *unit;
    void *arg;
    bool ended;
    struct pt_cut_chunk *arena;
    struct pt_cut_item *held;
    uint32_t nheld, cap_held;
    uint32_t *ranks; /* test numbers as pytest would run them */
    uint32_t nranks;
    struct pt_cut_job *jobs;
    uint32_t njobs, cap_jobs;
    double least, most;    /* seconds of the jobs */
    double known;          /* seconds of all known tests and imports so far, times their weight */
    uint64_t nknown, nnot; /* tests */
    /* the unit that is being made */
    struct pt_bundle_test *tests;
    struct pt_bundle_file *files;
    float *seconds;
    uint32_t cap_tests, cap_files, cap_seconds;
};

/* Expected seconds of all: of what came, or (most) at least of what history has. */
double pt_cut_total(const struct pt_cut *cut, bool most);
/* What a file may take uncut; infinite while no slots are known. */
double pt_cut_share(const struct pt_cut *cut, double total);
/* Says so; -1. */
int pt_cut_no_memory(struct pt_err *err);
/* Room for n in *array of *cap elements. */
int pt_cut_room(void *array, uint32_t *cap, uint32_t n, size_t size);

/* One unit of these items (indexes into items), or several when it is too large for a frame. seconds:
 * expected of all, or negative; like: its host and traits. atoms, seconds_of may be NULL. */
struct pt_cut_piece {
    const struct pt_cut_item *items;
    const uint32_t *order;
    uint32_t n;
    const uint32_t *atoms;
    const float *seconds_of;
    double seconds;
    struct pt_cut_item like;
    bool alone;
};
int pt_cut_give(struct pt_cut *cut, const struct pt_cut_piece *piece, struct pt_err *err);
/* Makes and gives the units of these items as dist wants. */
int pt_cut_units(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *seq, uint32_t n,
                 struct pt_err *err);
/* Gives the tests of one file, equal traits, in one part or several. total: of all; 0: never cut it. */
int pt_cut_parts(struct pt_cut *cut, const struct pt_cut_item *items, const uint32_t *order, uint32_t n,
                 double total, struct pt_err *err);

/* Mixes seq: n indexes into items. -1 when memory ends. */
int pt_cut_shuffle(const struct pt_cut_item *items, uint32_t *seq, uint32_t n, uint64_t seed);
/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t pt_cut_random(uint64_t *state);
/* 0 .. n-1, each equally likely; n at least 1. */
uint64_t pt_cut_bounded(uint64_t *state, uint64_t n);
