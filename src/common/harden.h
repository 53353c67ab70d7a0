/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A process that holds keys: none of its memory gets into a core file, and others of its user cannot look in.
 */

/* From here on, for the whole process. */
void pt_harden(void);
/* In a child that is to become another program: core files as whoever started us wants them.
 * Async-signal-safe. */
void pt_harden_not(void);
