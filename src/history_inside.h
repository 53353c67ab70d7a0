/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of history share: history.c looks up and notes down, history_files.c knows of files,
 * history_keep.c learns the hosts' speeds and writes. */
#include "history.h"
#include "interned.h"

#define PT_HISTORY_PAIRS 8192 /* most tests that hosts are compared by */

struct pt_history_host {
    double speed;
    bool known; /* the speed is more than a guess */
    bool changed;
};

struct pt_history_source {
    double import;        /* raw; negative: not known */
    uint32_t import_host; /* who took that long */
    int64_t run;          /* when it was written; 0: never */
    char *modules;        /* comma separated, or NULL */
    bool changed, seen;   /* seen: imported in this run */
    bool has_tests, assumed;
    struct pt_history_file said;
};

/* Times are the host's own. */
struct pt_history_entry {
    char *nodeid;
    uint32_t file, occurrence, host, hash;
    float setup, call, teardown;
    uint32_t run;       /* when it was written; 0: never */
    bool changed, seen; /* seen: in this run */
};

/* One test on two hosts: `ratio` is what b took over what a took. */
struct pt_history_pair {
    uint32_t a, b;
    double ratio;
};

struct pt_history {
    struct pt_interned hosts, files;
    struct pt_history_host *host;
    struct pt_history_source *file;
    uint32_t cap_hosts, cap_files;
    struct pt_history_entry *tests;
    uint32_t ntests, cap_tests;
    uint32_t *slots;
    uint32_t nslots;
    struct pt_history_pair *pairs;
    uint32_t npairs, pairs_seen;
    double total;
};

/* Numbers of a host and a file, added when new; PT_NONE when memory ends. */
uint32_t pt_history_host_add(struct pt_history *h, const char *name);
uint32_t pt_history_file_add(struct pt_history *h, const char *path);
/* Loading: 0 or -1. */
int pt_history_load_import(struct pt_history *h, const char *host, const char *file, double seconds,
                           const char *modules, int64_t run);
/* Seconds of a host as those of speed 1; negative stays. */
double pt_history_scaled(const struct pt_history *h, uint32_t host, double seconds);
/* So much the same that it need not be written again: 5 %, or what a clock cannot tell. */
bool pt_history_near(double a, double b);
double pt_history_median(double *values, size_t n);
