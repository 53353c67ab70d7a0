/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which paths of a project make up the tree that is sent. */
#include "sync/manifest.h"
#include "sync/paths.h"

/* Files, links, and folders (all but those that only lead to something listed), sorted; a path may vanish at
 * any time. Where there is git: tracked, and untracked but not ignored; of the untracked no caches and no
 * virtual environments. Else: all but caches, VCS folders and virtual environments. Then --extra-files globs,
 * from the root; then without what --exclude globs cover, which match at any depth when they have no slash.
 * Never
 * `.ptremote`. Errors name the path. */
int pt_files_list(const struct pt_tree_spec *spec, struct pt_paths *out, struct pt_err *err);

/* What every error about a path in the tree ends with. */
int pt_files_hint(struct pt_err *err, const char *path);
