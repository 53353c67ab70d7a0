/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: what was last written into a workspace: the manifest, and what stat(2) said of each entry then. */
#include "sync/manifest.h"
#include "sync/stamp.h"

struct pt_record {
    struct pt_manifest *manifest;
    struct pt_stamp *stamps; /* of each entry of the manifest */
    int64_t clock_ns;        /* of the file system, before the first stamp was taken */
};

/* A record that is missing or damaged gives an empty one: manifest NULL. */
void pt_record_load(struct pt_record *r, const char *path);
/* -1 with errno. */
int pt_record_save(const struct pt_record *r, const char *path);
void pt_record_fini(struct pt_record *r);
/* The stamp that path had, with its entry; NULL when there is none. */
const struct pt_stamp *pt_record_find(const struct pt_record *r, const char *path,
                                      const struct pt_entry **entry);
