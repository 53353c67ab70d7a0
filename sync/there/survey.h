/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: what lies in a workspace, by stat(2) alone. */
#include "sync/stamp.h"

#include <stddef.h>

struct pt_err;

struct pt_node {
    const char *path;
    mode_t mode; /* type and permission bits, as they were found */
    bool shared; /* a file that has other names as well */
    struct pt_stamp stamp;
};

struct pt_survey {
    struct pt_node *nodes; /* sorted by path, as a manifest is */
    size_t n, cap;
    bool loosened;    /* a folder had to be opened up to be looked into: its mode is not what nodes says */
    int64_t clock_ns; /* of the file system, before anything was looked at */
    uint32_t ms;      /* what it took */
    struct pt_survey_text *text;
};

/* Everything beneath the folder; links are not followed. `folder` is where the clock is asked. */
int pt_survey_take(struct pt_survey *s, int tree, const char *folder, struct pt_err *err);
void pt_survey_fini(struct pt_survey *s);
/* NULL when there is no such path. */
const struct pt_node *pt_survey_find(const struct pt_survey *s, const char *path);
