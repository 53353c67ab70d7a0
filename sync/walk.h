/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: one pass over the folders of a project. */
#include "sync/paths.h"

struct pt_err;

enum { PT_WALK_SKIP = 0, PT_WALK_TAKE = 1, PT_WALK_ENTER = 2 };

struct pt_walk {
    int root; /* descriptor of the top folder */
    /* For each file, link and folder: SKIP, TAKE (list it), ENTER (a folder: look inside), or both. */
    int (*choose)(void *arg, const char *path, bool is_folder);
    void *arg;
    const volatile int *cancel;
};

/* Append to out what was to be taken below `folder` ("" is the top). What vanishes meanwhile is passed over;
 * a folder that cannot be read is an error. Links are never followed. */
int pt_walk(const struct pt_walk *w, const char *folder, struct pt_paths *out, struct pt_err *err);
