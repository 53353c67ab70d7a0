/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What each host's workspace was made to be last: STATE/sent/HOST, an encoded manifest. Only a memory: the
 * host itself decides what it needs. */
#include "sync/manifest.h"

/* Remember that the workspace of that host is this tree. Does nothing when it is known already. */
int pt_sent_save(const char *state_dir, const char *host, const struct pt_manifest *m, struct pt_err *err);
/* NULL when nothing (or nothing readable) is known. */
struct pt_manifest *pt_sent_load(const char *state_dir, const char *host);
/* Files and bytes of m that are not in `has` (may be NULL) with the same content. */
void pt_sent_missing(const struct pt_manifest *m, const struct pt_manifest *has, uint64_t *files,
                     uint64_t *bytes);
