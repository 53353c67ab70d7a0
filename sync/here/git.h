/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What git says that a tree consists of. */
#include "sync/paths.h"

#include <stdatomic.h>

struct pt_err;
struct pt_git;

/* Have git begin to list the working tree at `root`, with its submodules and the repositories within. 1 when
 * it does, 0 when there is no git or no repository, -1 when it cannot be run. */
int pt_git_start(const char *root, const atomic_int *cancel, struct pt_git **out, struct pt_err *err);
/* NULL is fine; ends what still runs. */
void pt_git_destroy(struct pt_git *g);

/* Told of each path, below prefix unless that is ""; both live as long as the pt_git. A path may come twice
 * or not exist any more. Gives -1 when memory ends. */
typedef int pt_git_take(void *arg, const char *prefix, const char *path, bool tracked);

/* First the most of what is tracked, which git knows soon; then the rest of that, and what is neither tracked
 * nor ignored. Each 1, 0 when this is no repository after all, -1 when git fails. */
int pt_git_tracked(struct pt_git *g, pt_git_take *take, void *arg, struct pt_err *err);
int pt_git_rest(struct pt_git *g, pt_git_take *take, void *arg, struct pt_err *err);
/* Folders that git could not look into; after the rest. */
const struct pt_paths *pt_git_unread(const struct pt_git *g);
