/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A tree that this host sees where it lies, as over NFS: nothing is sent, and nothing of it is ours. */
struct pt_err;
struct pt_setup;

/* The real path of setup->shared (heap), once it has proved to be the tree that the master means; NULL with
 * the reason. */
char *pt_shared_find(const struct pt_setup *setup, struct pt_err *err);
