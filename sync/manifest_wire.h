/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The entries of a manifest as bytes. */
#include "sync/manifest.h"

/* What the root begins with, and an encoded manifest. */
void pt_manifest_put_head(struct pt_buf *b, enum pt_digest_algorithm algorithm);
/* All of an entry, or what the root covers: without its mtime, and without the chunks, whose digest it has.
 */
enum pt_put { PT_PUT_ROOT, PT_PUT_ALL };
void pt_manifest_put_entry(struct pt_buf *b, const struct pt_entry *e, enum pt_put what);

/* Add the next n entries of the reader to m, which is not sealed: in order, each path once. Whatever is wrong
 * with one in itself makes the reader bad, and so does the end of memory. */
void pt_manifest_get_entries(struct pt_reader *r, uint32_t n, struct pt_manifest *m);
/* A path or a link's target of 1 to PT_PATH_LIMIT - 1 bytes without NUL; borrowed, not terminated. */
const char *pt_manifest_get_name(struct pt_reader *r, size_t *n);

/* pt_manifest_add of strings that are not terminated; -1 when memory ends. */
int pt_manifest_take(struct pt_manifest *m, const struct pt_entry *entry, size_t path_len, size_t link_len);
