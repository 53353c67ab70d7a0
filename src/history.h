/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What tests, files and hosts took in earlier runs, and what this one adds. Seconds are those of a host of
 * speed 1; a host of speed 2 needs half of them. Kept in the ledger as each host measured them, so that what
 * is learned of a host's speed later holds for them too.
 * A host's speed comes from tests that ran on another one before: the median of the ratios, smoothed over the
 * runs. The mean (geometric) of all hosts is 1, and so is a host that is not known. */
#include "common/message.h"

struct pt_err;
struct pt_history;
struct pt_ledger;

struct pt_took {
    double setup, call, teardown; /* seconds; negative: not known */
};

/* Loads what the ledger has (NULL: nothing). */
struct pt_history *pt_history_create(struct pt_ledger *ledger, struct pt_err *err);
void pt_history_destroy(struct pt_history *h);

/* False when it never ran. */
bool pt_history_test(const struct pt_history *h, const char *file, const char *nodeid, uint32_t occurrence,
                     struct pt_took *out);
/* To import and collect the file; negative: not known. */
double pt_history_import(const struct pt_history *h, const char *file);
/* All that the last runs of all known files took. */
double pt_history_total(const struct pt_history *h);
/* Speed of the host of that name; 1 when not known. */
double pt_history_speed(const struct pt_history *h, const char *host);
/* Modules that most files import, comma separated (heap); "" when none. For --preload auto. Each session says
 * which file was first to import a module: one that several files were first to import, and at least half as
 * many as the one most often told, is needed nearly everywhere. NULL when memory ends. */
char *pt_history_preload(const struct pt_history *h);

/* What this run saw, in the host's own seconds. host: its name. -1 when memory ends. */
int pt_history_saw(struct pt_history *h, const char *host, const char *file, const char *nodeid,
                   uint32_t occurrence, const struct pt_took *took);
/* modules: what is no module's name is left out. */
int pt_history_imported(struct pt_history *h, const char *host, const char *file, double seconds,
                        const char *const *modules, size_t nmodules);
/* Learns the hosts' speeds and writes what is new or changed by more than 5 % into the ledger. Commits. */
int pt_history_keep(struct pt_history *h, struct pt_ledger *ledger, struct pt_err *err);

/* --- whole files, for exchange with others --- */

struct pt_history_file {
    double execution, setup, teardown; /* setup: import and what the first test alone had to set up */
    uint32_t count;                    /* tests; 0: not known */
};
/* Said by others, of a file that h has no test of; else nothing is done. Negative is taken for 0. */
int pt_history_assume(struct pt_history *h, const char *file, const struct pt_history_file *what);
/* What was assumed of a file that h has no test of. */
bool pt_history_assumed(const struct pt_history *h, const char *file, struct pt_history_file *out);
typedef int pt_history_file_fn(void *arg, const char *file, const struct pt_history_file *what);
/* Files that h has tests of, sorted by path; this run's are in it. fn: 0 to go on, else that is returned. -1
 * when memory ends. */
int pt_history_each_file(const struct pt_history *h, pt_history_file_fn *fn, void *arg);
