/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: an archive into the store and into the workspace, in one pass. Only blobs that were announced or
 * asked for come out of it, only with their size, and what has not their digest does not stay. */
#include "sync/segment.h"
#include "sync/there/place.h"
#include "sync/there/store.h"

struct pt_unpack {
    const struct pt_manifest *manifest;
    const unsigned char *expected; /* a bit for each blob: what the archive has */
    struct pt_placer *placer;      /* NULL: nothing is lacking */
    struct pt_store *store;        /* may be NULL */
    /* The next segment, good until the next call: 1, 0 at the end of the archive, -1 to give up. */
    int (*next)(void *arg, struct pt_segment *out, struct pt_err *err);
    /* The store cannot take more; it is done without. Called at most once. */
    void (*warn)(void *arg, const struct pt_err *err);
    void *arg;
};

/* 0: all that was expected came. 1: some of it must be sent again, err says what. -1: next gave up, a file
 * cannot be written, or this is not what was expected. What was checked is in the store, or will be once
 * pt_store_end was called, which is left to the caller. */
int pt_unpack_archive(const struct pt_unpack *u, struct pt_err *err);
