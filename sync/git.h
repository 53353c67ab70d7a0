/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What git says that a tree consists of. */
#include "sync/paths.h"

struct pt_err;

/* Tracked paths, and those that are neither tracked nor ignored, of the working tree at `root`, with those of
 * submodules and of repositories within. Unsorted; a path may come twice or not exist any more.
 * 1 when git listed them, 0 when there is no git or no repository, -1 when git fails. */
int pt_git_list(const char *root, const volatile int *cancel, struct pt_paths *tracked,
                struct pt_paths *untracked, struct pt_paths *unread, struct pt_err *err);
