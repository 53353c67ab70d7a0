/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: the other end of push.h, run in a process of its own that the agent forks, so that a slow disk or a
 * hostile archive never stops the agent. Blocking. */
#include "common/err.h"

struct pt_receive_options {
    const char *cache;      /* the cache folder (0700) */
    const char *machine_id; /* workspaces of machines that share a home are apart */
    const char *project;    /* key of the workspace */
};

/* Take a workspace for this run: the first of PROJECT, PROJECT.2 ... that no other run holds, made when new.
 * Gives its tree's path (heap) and a lock descriptor to keep open while the run lasts (close-on-exec; NULL on
 * failure). Called by the agent before it forks the receiver. */
char *pt_workspace_take(const struct pt_receive_options *options, int *lock_fd, struct pt_err *err);

/* Hold a workspace's folder, CACHE/ws/MACHINE/PROJECT, as a run does: a descriptor; -1 with EWOULDBLOCK when
 * one has it. */
int pt_workspace_hold(const char *folder);

/* Serve SURVEY, MANIFEST and bulk frames from fd until it ends; TREE, NEED, SYNCED, RESEND, LOG, FAIL frames
 * go to the same fd. `tree` is what pt_workspace_take gave; the store is in the folder `cache`. 0 at the end
 * of fd, -1 when it could not go on (a FAIL frame was sent). Changes the umask. */
int pt_receive(int fd, const char *tree, const char *cache, struct pt_err *err);
