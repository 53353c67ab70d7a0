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
/* rank PT_NONE: no rank had it. */
void pt_tell_done(struct pt_buf *out, uint32_t rank, uint32_t bundle, uint32_t attempt);
void pt_tell_broken(struct pt_buf *out, uint32_t rank, const void *text, size_t n);
void pt_tell_recalled(struct pt_buf *out, uint32_t bundle, bool given_back);
void pt_tell_stolen(struct pt_buf *out, uint32_t rank, uint32_t attempt, const struct pt_steal *given);
/* bundle and test may be PT_NONE. */
void pt_tell_output(struct pt_buf *out, uint32_t rank, uint32_t bundle, uint32_t test, const void *bytes,
                    size_t n);
/* rank PT_NONE: all of them. */
void pt_tell_bye(struct pt_buf *out, uint32_t rank);
