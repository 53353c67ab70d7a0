/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: archives into folders. Only plain files come out of one, only under names that were asked for, never
 * through a link, and under their final name only once they are whole and checked. */
#include "sync/manifest.h"

#include <sys/types.h>

struct pt_err;

struct pt_unpack {
    const struct pt_manifest *manifest;
    const unsigned char *need; /* the files that were asked for, a bit for each entry */
    int tree, temp;            /* where files end up, and where they are written; one file system */
    /* The next bytes of the archive, good until the next call: how many, 0 at their end, -1 to give up. */
    ssize_t (*read)(void *arg, const void **data);
    /* The mtime to give to a file. */
    int64_t (*mtime)(void *arg, const struct pt_entry *e);
    void *arg;
    uint64_t files, bytes; /* what was written so far */
};

/* 0 when every file that was asked for is in place, 1 when the bytes ended before the archive did, -1 (read
 * gave up, a file cannot be written, or the archive is not what was asked for: err says which). What was
 * written before stays. */
int pt_unpack_archive(struct pt_unpack *u, struct pt_err *err);

/* A small tar of files and folders, plain or in zstd, into the folder `dir`, which is made when it is not
 * there. Existing files are replaced. */
int pt_unpack_tar(const void *data, size_t size, const char *dir, struct pt_err *err);
