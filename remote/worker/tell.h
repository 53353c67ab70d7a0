/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a rank tells the master, as frames with a place for the sequence number (0) and its own. Pure. */
#include "common/message.h"

void pt_tell_started(struct pt_buf *out, uint32_t rank, const struct pt_bundle *bundle, uint32_t test);
void pt_tell_report(struct pt_buf *out, uint32_t rank, const struct pt_bundle *bundle, uint32_t test,
                    uint8_t outcome, const void *json, size_t n);
/* bundle may be NULL: between bundles. */
void pt_tell_note(struct pt_buf *out, uint32_t rank, const struct pt_bundle *bundle, const void *json,
                  size_t n);
void pt_tell_done(struct pt_buf *out, uint32_t rank, const struct pt_bundle *bundle);
void pt_tell_broken(struct pt_buf *out, uint32_t rank, const void *text, size_t n);
void pt_tell_recalled(struct pt_buf *out, uint32_t bundle, bool given_back);
/* rank PT_NONE: all of them. */
void pt_tell_bye(struct pt_buf *out, uint32_t rank);
