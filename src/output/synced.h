/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What bringing the tree to a host came to, in words. */
#include <stddef.h>
#include <stdint.h>

struct pt_synced_words {
    uint64_t wire;                       /* bytes that travelled */
    uint64_t files_sent, bytes_sent;     /* that were written from them */
    uint64_t files_reused, bytes_reused; /* that were there already, in the workspace or in the store */
    uint64_t removed;                    /* paths */
    double seconds;
};

/* "3 files sent (12.1 KB, 4.0 KB on the wire), 2884 reused, 1 removed, in 0.05 s" */
void pt_synced_words(const struct pt_synced_words *w, char *out, size_t size);
/* "12.1 KB" */
void pt_bytes_words(uint64_t bytes, char *out, size_t size);
