/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What ps(1) shows: the roles of this program run from one file, and look apart. */

/* Once, first thing in main. */
void pt_title_init(int argc, char **argv);
/* What the calling process is from now on ("keeper"); at most 6 bytes. */
void pt_title_set(const char *role);
