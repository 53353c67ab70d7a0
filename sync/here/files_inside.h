/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What files.c, listed.c and follow.c share. */
#include "sync/here/choose.h"
#include "sync/here/files.h"
#include "sync/here/git.h"
#include "sync/here/scan.h"
#include "sync/here/walk.h"

#include <sys/stat.h>

struct pt_files {
    const struct pt_tree_spec *spec;
    int root;
    struct pt_choose choose;
    struct pt_walk walk;
    struct pt_hashcache *cache;
    struct pt_git *git;
    struct pt_item **items;
    atomic_uint followed;

    /* Of git's list: folders that have their place, as a hash table, and the last of them. */
    struct pt_folder **known;
    size_t nknown, known_cap;
    struct pt_folder *last;
    size_t listed; /* paths that git named */
    struct pt_paths untracked;
};

/* How a folder is visited: its state. */
enum { PT_VISIT_PLAIN = 1, PT_VISIT_LISTED = 2, PT_VISIT_EXTRA = 4 };

/* Put what git lists into the tree, and visit it. 1, 0 when git has nothing to list. */
int pt_listed_visit(struct pt_files *f, struct pt_err *err);
/* Give an item what stat(2) says, and what follows from that: its digest, target, a visit to what is in it.
 * dir is the descriptor of its folder. */
int pt_files_look(struct pt_worker *w, struct pt_folder *in, int dir, struct pt_item *x, struct pt_err *err);
/* A file is there: take it, with its digest if the cache knows it. */
int pt_files_take(struct pt_files *f, struct pt_item *x);
/* A folder in the place of x is there: have it visited. */
int pt_files_enter(struct pt_worker *w, struct pt_folder *in, struct pt_item *x, const struct stat *st,
                   unsigned state, struct pt_err *err);

/* Of a link: when it leads out of the tree (or of the folder that a followed link leads to), take what is
 * there in its place. */
int pt_follow(struct pt_worker *w, struct pt_folder *in, int dir, struct pt_item *x, struct pt_err *err);
