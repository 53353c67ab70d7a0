/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What was sent to a host in earlier runs, a file each in STATE/sent/. Only a memory, which saves questions:
 * the host itself knows what it needs. */
#include "sync/here/known.h"

struct pt_err;
struct pt_sent;

/* What is known of that host, whose cache lies in remote_dir ("" for its usual place); an empty memory when
 * there is no file, or none that can be read. NULL when memory ends. */
struct pt_sent *pt_sent_load(const char *state_dir, const char *host, const char *remote_dir);
/* NULL is fine. */
void pt_sent_destroy(struct pt_sent *s);
/* The root of the tree that the workspace was made last; NULL when nothing is known. */
const unsigned char *pt_sent_root(const struct pt_sent *s);
/* That tree, decoded when first asked for; NULL when nothing is known. The memory's until it is changed. */
const struct pt_manifest *pt_sent_manifest(struct pt_sent *s);
const struct pt_known *pt_sent_known(const struct pt_sent *s);
/* Bytes a second that the way to the host took, 0 when unknown. */
uint64_t pt_sent_rate(const struct pt_sent *s);

/* The workspace is this tree now; `forgot`: of what the memory said the store has, not all was there. */
int pt_sent_tree(struct pt_sent *s, const struct pt_manifest *m, bool forgot, struct pt_err *err);
/* Much is on its way, or was when the last run ended: what arrived of it is not in the memory. On disk at
 * once; a tree that arrived whole ends it. */
void pt_sent_set_unfinished(struct pt_sent *s);
bool pt_sent_unfinished(const struct pt_sent *s);
void pt_sent_set_rate(struct pt_sent *s, uint64_t rate);
/* Write it if it is not as it was loaded or last saved. */
int pt_sent_save(struct pt_sent *s, struct pt_err *err);

/* Files and bytes of m that are not in `has` (may be NULL) with the same content. */
void pt_sent_missing(const struct pt_manifest *m, const struct pt_manifest *has, uint64_t *files,
                     uint64_t *bytes);
