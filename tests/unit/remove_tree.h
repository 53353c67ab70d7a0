/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A test's folder goes, with all that is in it. */
#include <ftw.h>
#include <stdio.h>

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* What cannot be removed stays. */
static inline void remove_tree(const char *path)
{
    nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS);
}
