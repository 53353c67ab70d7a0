/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* THERE: content becomes files. What a workspace lacks is kept by content, so that each is asked for once and
 * written wherever it belongs. A file has its final name only once it is whole. */
#include "sync/offer.h"
#include "sync/there/settle.h"
#include "sync/there/store.h"

struct pt_placer;

/* Of the files that the diff found wrong; empty ones are written now. The site is borrowed; `figures` counts
 * the files and bytes that are written from now on. */
struct pt_placer *pt_placer_create(const struct pt_site *site, struct pt_synced *figures, struct pt_err *err);
void pt_placer_destroy(struct pt_placer *p);

/* How many contents are still lacking. */
size_t pt_placer_lacks(const struct pt_placer *p);
/* Set the bit of the first blob with each content that is still lacking; bits has room for all blobs. */
void pt_placer_need(const struct pt_placer *p, unsigned char *bits);
/* Read what is lacking from the store, but for the blobs whose bits are set in `coming` (may be NULL). What
 * turns out not to be there stays lacking. */
int pt_placer_restore(struct pt_placer *p, struct pt_store *store, const unsigned char *coming,
                      struct pt_err *err);
/* Write content that came in an archive to every place that lacks it; none may. */
int pt_placer_put(struct pt_placer *p, const struct pt_blob *blob, const void *data, struct pt_err *err);
/* It was not that content: the files that were made of it go. */
void pt_placer_undo(struct pt_placer *p, const struct pt_blob *blob);
