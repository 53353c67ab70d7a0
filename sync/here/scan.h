/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: the manifest of a tree on disk. */
#include "sync/manifest.h"

#include <stdatomic.h>

struct pt_tree_spec {
    const char *root;         /* absolute */
    const char *const *extra; /* --extra-files globs, below root; ** works; ignored files count */
    size_t nextra;
    const char *const *exclude; /* --exclude globs */
    size_t nexclude;
    const char *own;   /* a path below root that is our own, as .ptremote is anywhere; or NULL */
    const char *cache; /* file of the hash cache, or NULL */
    enum pt_digest_algorithm algorithm;
    bool copy_links;          /* --copy-links: what links out of the tree lead to is sent in their place */
    const atomic_int *cancel; /* becomes non-zero: give up; may be NULL */
};

/* Scan the tree: git's file list where there is git, else everything but caches and VCS folders. Reads only
 * what the hash cache does not know. Errors name the path. */
struct pt_manifest *pt_manifest_scan(const struct pt_tree_spec *spec, struct pt_err *err);
