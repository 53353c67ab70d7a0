/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Which paths of a project make up the tree that is sent, and what stat(2) says of them.
 *
 * Where there is git: tracked, and untracked but not ignored; of the untracked no caches and no virtual
 * environments; and folders that hold nothing at all. Else: all but caches, VCS folders and virtual
 * environments. Then --extra-files globs, from the root. Of these nothing that --exclude globs cover, which
 * match at any depth when they have no slash, nor what .ptremoteignore leaves out. Never `.ptremote`. */
#include "sync/here/hashcache.h"
#include "sync/here/scan.h"

struct pt_err;
struct pt_item;
struct pt_files;

/* Begin: git works from here on. The spec must live as long. NULL on errors, which name the path. */
struct pt_files *pt_files_start(const struct pt_tree_spec *spec, struct pt_err *err);
void pt_files_destroy(struct pt_files *f);
/* Look at everything; files that the cache knows get their digest from it. */
int pt_files_list(struct pt_files *f, struct pt_hashcache *cache, struct pt_err *err);
/* Files, links, and folders (all but those that only lead to nothing), in the order of a manifest, with the
 * top's descriptor in *root; good as long as f. NULL when memory ends. */
struct pt_item *const *pt_files_items(struct pt_files *f, size_t *n, int *root);

/* Errors about a path in the tree. The first is of errno, and gives 0 when the path only vanished. */
int pt_files_unreadable(const char *path, struct pt_err *err);
int pt_files_hint(struct pt_err *err, const char *path);
