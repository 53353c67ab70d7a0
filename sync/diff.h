/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: what a workspace lacks to be a tree, and the part of it that needs no bytes from the master. */
#include "sync/manifest.h"
#include "sync/record.h"
#include "sync/survey.h"

struct pt_diff {
    unsigned char *need; /* a bit for each entry of the tree: a file whose content must come */
    size_t nneed;
    size_t extra; /* paths that are not in the tree */
    bool local;   /* folders or links are missing, or modes differ */
    bool reread;  /* what stat(2) said did not vouch for some files: they were read, and are right */
};

/* A place where a tree is put: descriptors of the tree's folder and of one for what is on its way in or out.
 */
struct pt_place {
    int tree, temp;
};

/* The record vouches for files that look as they did when it was written; others of the right size are read.
 */
int pt_diff_make(struct pt_diff *d, const struct pt_manifest *target, const struct pt_record *record,
                 const struct pt_survey *survey, const struct pt_place *place, struct pt_err *err);
void pt_diff_fini(struct pt_diff *d);

/* Remove what is not in the tree or of another kind; make its folders and links. */
int pt_diff_settle(const struct pt_manifest *target, const struct pt_survey *survey,
                   const struct pt_place *place, struct pt_err *err);
/* The last step: every mode, and the stamps of what is there now; stamps has room for each entry. */
int pt_diff_seal(const struct pt_manifest *target, const struct pt_place *place, struct pt_stamp *stamps,
                 struct pt_err *err);

/* The mtime for a file that is written now: the tree's, but never the whole second of what it replaces, which
 * Python would take for the same source. */
int64_t pt_diff_mtime(const struct pt_entry *e, const struct pt_record *record,
                      const struct pt_survey *survey);
