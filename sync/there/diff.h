/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: what a workspace lacks to be a tree. Nothing is changed here. */
#include "sync/manifest.h"
#include "sync/there/record.h"
#include "sync/there/survey.h"

#define PT_NOWHERE UINT32_MAX

/* What there is of an entry of the tree. */
struct pt_match {
    uint32_t node;  /* in the survey, or NOWHERE */
    uint32_t was;   /* in the record's manifest, or NOWHERE */
    bool wrong;     /* a file whose content is not there */
    bool make;      /* a folder or a link that is not there */
    bool touch;     /* something of it will be another than the survey says */
    bool shuts_out; /* a folder there, whose mode does not let its owner in */
};

struct pt_diff {
    struct pt_match *entries; /* of each entry of the tree */
    bool *going;              /* of each node: it is not in the tree, or of another kind */
    size_t wrong, extra;      /* files to be written, nodes that go and are not in the tree */
    size_t right;             /* files whose content is there */
    uint64_t right_bytes;
    bool local;  /* something is to be removed, made, or to get another mode */
    bool reread; /* what stat(2) said did not vouch for some files: they were read, and are right */
};

/* What the workspace has. */
struct pt_present {
    int tree; /* descriptor of the folder */
    const struct pt_record *record;
    const struct pt_survey *survey;
};

/* The record vouches for files that look as they did when it was written; others of the right size are read.
 * What is not in the tree and covered by one of the globs stays. */
int pt_diff_make(struct pt_diff *d, const struct pt_manifest *target, const struct pt_present *present,
                 char *const *keep, size_t nkeep, struct pt_err *err);
void pt_diff_fini(struct pt_diff *d);

/* The mtime for entry i when it is written now: the tree's, but never the whole second of what it replaces,
 * which Python would take for the same source. */
int64_t pt_diff_mtime(const struct pt_diff *d, const struct pt_manifest *target, size_t i,
                      const struct pt_present *present);
