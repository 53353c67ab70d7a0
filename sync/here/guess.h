/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: what a host most likely lacks of a tree, when it has another one. */
#include "sync/here/known.h"

/* A bit for each blob of target (heap) that is not at the same path in base and not in known (may be NULL),
 * each digest once. NULL when there is none, they have more than `limit` bytes, or memory ends: then the host
 * has to say what it lacks. */
unsigned char *pt_guess(const struct pt_manifest *base, const struct pt_manifest *target,
                        const struct pt_known *known, uint64_t limit);
