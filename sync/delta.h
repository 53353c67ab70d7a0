/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What turns one manifest into another: the paths that went, the entries that came or changed. */
#include "sync/manifest.h"

/* Append the difference to out; -1 when memory ends. */
int pt_delta_encode(const struct pt_manifest *base, const struct pt_manifest *target, struct pt_buf *out);
/* The target, mtimes as well. Refuses what decode of a manifest refuses, another base than the one it was
 * made from, a path removed that is not there, a root that differs. */
struct pt_manifest *pt_delta_apply(const struct pt_manifest *base, const void *data, size_t len,
                                   struct pt_err *err);
/* The root of the manifest that a delta was made from, or NULL when this is none. */
const unsigned char *pt_delta_base(const void *data, size_t len);
