/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Room in this host's cache: a child of low priority removes what no run uses, once the workers were started
 * (BOUND), or all at once (CLEAN). Also says what of the cache this run uses. */
#include <stdbool.h>
#include <sys/types.h>

struct pt_agent;
struct pt_err;
struct pt_reader;
struct pt_room;

/* Says that this run, its workspace and this program are used. NULL when memory ends. */
struct pt_room *pt_room_create(struct pt_agent *a, struct pt_err *err);
/* Gives the child a second to end. */
void pt_room_destroy(struct pt_room *room);

/* BOUND; CLEAN, which no SETUP goes before. */
int pt_room_bound(struct pt_room *room, struct pt_reader *body, struct pt_err *err);
int pt_room_clean(struct pt_agent *a, struct pt_reader *body, struct pt_err *err);
void pt_room_advance(struct pt_room *room);

/* This folder, an absolute path in the cache, is used from now on. Say it before looking whether it is there.
 * NULL is fine for both. */
void pt_room_use(struct pt_room *room, const char *path);

pid_t pt_room_pid(const struct pt_room *room);
bool pt_room_reaped(struct pt_room *room, pid_t pid, int status);
