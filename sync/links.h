/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Where the symlinks of a tree lead. */
#include "sync/manifest.h"

/* True when following `link` through the tree's own links leads out of the tree: an absolute target, or more
 * ".." than folders. Loops and targets that are not there stay inside. */
bool pt_link_leaves(const struct pt_manifest *m, const struct pt_entry *link);

/* The same for the link `path` to `target` in the folder `root` on disk, where the tree begins at the folder
 * `top` of it ("" is all of it), which the path begins with; for a tree in which what links out of it lead to
 * is in their place. */
bool pt_link_leaves_folder(int root, const char *top, const char *path, const char *target);
