/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The folders of one run on this host: short, 0700, gone when the run is. Locked as long as their owner
 * lives, so that what a killed one left is found and removed by the next. */
#include <stdbool.h>

struct pt_err;

struct pt_rundir {
    char *path; /* sockets, Open MPI's session folder, and `temp`: a link to the tests' temporary files */
    char *shm;  /* on /dev/shm, for Open MPI's segments; NULL when there is none */
    int lock, shm_lock;
};

/* The first usable of $XDG_RUNTIME_DIR, /tmp and /var/tmp; err names each that is not, and why. */
int pt_rundir_create(struct pt_rundir *dir, struct pt_err *err);
/* Where runs of this user on this machine meet (a folder that any of them makes and removes): below
 * $XDG_RUNTIME_DIR, /run/user/UID or /tmp, whichever is usable first. */
#define PT_RUNDIR_SHARE 128
void pt_rundir_share(char path[PT_RUNDIR_SHARE]);
/* Is this the name of a folder as pt_rundir_create makes them, and the folder this user's alone? */
bool pt_rundir_is_ours(const char *path);
/* Removes what killed runs left beside them. */
void pt_rundir_tidy(const struct pt_rundir *dir);
/* Removes what killed runs left in any place. */
void pt_rundir_clean(void);
/* Removes the folders; twice does no harm. */
void pt_rundir_remove(const struct pt_rundir *dir);
