/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: everything of a tree but the content of files: what is too much goes, folders and links are made,
 * modes are set. */
#include "sync/there/diff.h"

/* Where a tree is put, and what is known of it. */
struct pt_site {
    struct pt_present present;
    int temp; /* descriptor of a folder for what is on its way in or out; on the tree's file system */
    const struct pt_manifest *target;
    const struct pt_diff *diff;
};

/* What is not in the tree or of another kind goes; its folders and links are made. */
int pt_settle(const struct pt_site *site, struct pt_err *err);
/* The last step: every mode, and the stamps of what is there now; stamps has room for each entry. clock_ns is
 * what time it is on the file system. */
int pt_settle_seal(const struct pt_site *site, int64_t clock_ns, struct pt_stamp *stamps, struct pt_err *err);

/* Something has the name of entry i already, where nothing should be: because the file system does not tell
 * it from that of another entry? -1 and err says which, else 0. */
int pt_settle_collision(const struct pt_site *site, size_t i, struct pt_err *err);
/* errno in words: that this cannot be done with path. -1. */
int pt_settle_cannot(const char *verb, const char *path, struct pt_err *err);
