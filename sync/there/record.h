/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: what was last written into a workspace: the manifest, and what stat(2) said of each entry then. */
#include "sync/manifest.h"
#include "sync/stamp.h"

struct pt_record {
    struct pt_manifest *manifest;
    struct pt_stamp *stamps; /* of each entry of the manifest; inode 0: vouches for nothing */
    bool rebooted;           /* since it was written: nothing was forced to disk then, so no stamp vouches */
};

/* A record that is missing or damaged gives an empty one: manifest NULL. */
void pt_record_load(struct pt_record *r, const char *path);
/* -1 with errno. */
int pt_record_save(const struct pt_record *r, const char *path);
void pt_record_fini(struct pt_record *r);
/* True when `now` shows that the content is still that of entry i. */
bool pt_record_vouches(const struct pt_record *r, size_t i, const struct pt_stamp *now);
