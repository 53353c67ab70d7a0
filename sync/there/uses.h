/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: which runs use what of a cache, also runs of other machines that share the folder. Each has a file
 * CACHE/use/MACHINE.RANDOM: its name, then what it uses, a line each. It is locked as long as its run lives;
 * where locks do not reach other machines, one that was not touched for an hour is that of a dead run. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pt_uses;

#define PT_USES_SIZE "size" /* a file beside those of runs, which says nothing of a run */

#define PT_USES_BEAT_MS (10 * 60 * 1000)             /* how often a live run says so */
#define PT_USES_LIVE_NS (3600 * INT64_C(1000000000)) /* a run that said nothing for so long is dead */

/* NULL when it cannot be said, which is no reason not to run: then only age and locks protect. */
struct pt_uses *pt_uses_create(const char *cache, const char *machine_id, const char *run);
/* This folder, named below the cache, is used until destroy; also touches it, as that is when it was used
 * last. Say it first, then look whether it is there. */
void pt_uses_add(struct pt_uses *u, const char *path);
void pt_uses_beat(struct pt_uses *u);
/* NULL is fine. */
void pt_uses_destroy(struct pt_uses *u);

/* Nothing comes into use while this descriptor is open. -1: others hold it for long. */
int pt_uses_stop(const char *cache);

struct pt_user {
    char *run;  /* its name */
    char *text; /* lines of what it uses */
};
struct pt_users {
    struct pt_user *v;
    size_t n;
};
/* All live runs; what dead ones left is removed. -1 when that cannot be known. Fini in any case. */
int pt_users_read(struct pt_users *users, const char *cache, const char *machine_id);
void pt_users_fini(struct pt_users *users);
/* One that uses this folder, or NULL. */
const struct pt_user *pt_users_of(const struct pt_users *users, const char *path);
