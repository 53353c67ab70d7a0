/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: what lies in a workspace, by stat(2) alone. */
#include "sync/stamp.h"

#include <stddef.h>

struct pt_err;

struct pt_node {
    char *path;
    mode_t mode; /* type and permission bits, as they were found */
    struct pt_stamp stamp;
};

struct pt_survey {
    struct pt_node *nodes; /* sorted by path */
    size_t n, cap;
    bool loosened; /* a folder had to be opened up to be looked into: its mode is not what nodes says */
};

/* Everything beneath the folder; links are not followed. */
int pt_survey_take(struct pt_survey *s, int tree, struct pt_err *err);
void pt_survey_fini(struct pt_survey *s);
/* NULL when there is no such path. */
const struct pt_node *pt_survey_find(const struct pt_survey *s, const char *path);
