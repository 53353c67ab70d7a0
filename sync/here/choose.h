/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: what of a project is wanted. */
#include "sync/here/ignore.h"
#include "sync/here/scan.h"
#include "sync/manifest.h"

#include <stdatomic.h>

struct pt_choose {
    const struct pt_tree_spec *spec;
    struct pt_ignore *ignore;
    char **anywhere, **path; /* the --exclude globs without a slash, and with one */
    size_t nanywhere, npath;
    atomic_bool *hit; /* which of spec->extra found something */
};

/* Reads .ptremoteignore in the folder `root`. */
int pt_choose_init(struct pt_choose *c, const struct pt_tree_spec *spec, int root, struct pt_err *err);
void pt_choose_fini(struct pt_choose *c);
/* False for what --exclude, .ptremoteignore, or being our own takes away: one level, whatever lies above. */
bool pt_choose_wants(const struct pt_choose *c, const char *path, const char *name, bool is_folder);
/* The same with all levels above. */
bool pt_choose_wants_all(const struct pt_choose *c, const char *path);
/* What --extra-files say of a path: PT_ITEM_EXTRA, PT_ITEM_ENTER. */
unsigned pt_choose_extra(struct pt_choose *c, const char *path, const char *name, bool is_folder);
/* -1 when one of --extra-files found nothing. */
int pt_choose_all_hit(const struct pt_choose *c, struct pt_err *err);

/* Made by tools, found in any tree, of use to nobody elsewhere. */
bool pt_choose_junk(const char *name, size_t n);
bool pt_choose_below_junk(const char *path);
