/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* HERE: what a host's store is thought to have, as prefixes of digests: a guess that saves a question. The
 * host itself says what it needs. */
#include "common/wire.h"
#include "sync/manifest.h"

struct pt_known;

#define PT_KNOWN_MAX (1u << 20) /* prefixes of 8 bytes */

/* NULL when memory ends. */
struct pt_known *pt_known_create(void);
/* NULL is fine. */
void pt_known_destroy(struct pt_known *k);
/* The host has all blobs of that tree; what is too much for the set begins anew with them. 1 when that was
 * news, 0 when it was not, -1 when memory ends. */
int pt_known_add(struct pt_known *k, const struct pt_manifest *m);
/* k may be NULL. */
bool pt_known_has(const struct pt_known *k, const unsigned char digest[PT_DIGEST]);
size_t pt_known_count(const struct pt_known *k);

void pt_known_encode(const struct pt_known *k, struct pt_buf *out);
/* Takes what encode wrote from r, which goes bad when it is anything else; NULL then. */
struct pt_known *pt_known_decode(struct pt_reader *r);
