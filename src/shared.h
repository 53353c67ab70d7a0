/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --shared-fs, here: a file in the tree that no other tree has, by which a host knows that it sees this one.
 */
struct pt_err;

struct pt_shared {
    char *proof;     /* its path below the tree */
    char *path;      /* the same here */
    char *folder;    /* above it, when it was made for it; else NULL */
    char secret[33]; /* what it holds */
};

/* Write the file: into the state folder when that lies in the tree, else into .ptremote at its top. */
int pt_shared_init(struct pt_shared *s, const char *root, const char *state_dir, struct pt_err *err);
/* Removes it; twice does no harm. */
void pt_shared_fini(struct pt_shared *s);
