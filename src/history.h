/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What tests, files and hosts took in earlier runs, and what this one adds. Seconds are those of a host of
 * speed 1; a host of speed 2 needs half of them. Kept in the ledger. */
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
/* Modules that most files import, comma separated (heap); "" when none. For --preload auto. */
char *pt_history_preload(const struct pt_history *h);

/* What this run saw, in the host's own seconds. host: its name. -1 when memory ends. */
int pt_history_saw(struct pt_history *h, const char *host, const char *file, const char *nodeid,
                   uint32_t occurrence, const struct pt_took *took);
int pt_history_imported(struct pt_history *h, const char *host, const char *file, double seconds,
                        const char *const *modules, size_t nmodules);
/* Learns the hosts' speeds and writes all of this run into the ledger. */
int pt_history_keep(struct pt_history *h, struct pt_ledger *ledger, struct pt_err *err);
