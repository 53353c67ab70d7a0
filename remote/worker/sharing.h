/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Runs of one user that meet on a machine share its slots. In a folder of that user and machine is a file for
 * each slot, locked by who holds it, and one for each run, locked while its hub lives, that says what it
 * holds and wishes. The kernel lets go of both when a hub is killed. What a folder cannot do is no reason not
 * to run: with one warning, all slots are had. One thread. */
#include <stdbool.h>
#include <stdint.h>

struct pt_err;
struct pt_loop;
struct pt_sharing;

struct pt_sharing_config {
    const char *folder; /* made where it is not there; nobody else's */
    const char *run, *who;
    uint32_t host, slots; /* number of the host in the run; hosts of one run have slots of their own */
};

struct pt_sharing_callbacks {
    /* What was refused may be had now, or soon: ask again. Never from within a call. */
    void (*may_have)(void *arg);
    /* It has been refused slots for a while, most of which that run has; once for each such run in turn. */
    void (*waits)(void *arg, const char *run, const char *who, uint32_t held, uint32_t slots);
};

/* What a run could use: `step` more at least, `want` in all. */
struct pt_sharing_wish {
    uint32_t step, want;
};

/* NULL with err when the folder cannot be used. */
struct pt_sharing *pt_sharing_create(struct pt_loop *loop, const struct pt_sharing_config *config,
                                     const struct pt_sharing_callbacks *callbacks, void *arg,
                                     struct pt_err *err);
/* Lets go of all. NULL is fine. */
void pt_sharing_destroy(struct pt_sharing *s);

/* n more slots are held, or (false) none, and the wish is known to the others until it is had or given up.
 * `spare` more must be left to this run for what it wishes first. */
bool pt_sharing_take(struct pt_sharing *s, uint32_t n, uint32_t spare, const struct pt_sharing_wish *wish);
/* Hold no more than that. */
void pt_sharing_keep(struct pt_sharing *s, uint32_t held);
/* Nothing more is wished. */
void pt_sharing_rest(struct pt_sharing *s);
uint32_t pt_sharing_held(const struct pt_sharing *s);
