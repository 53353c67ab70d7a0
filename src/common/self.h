/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The file that this program runs from. */

#define PT_SELF_MAX 4096

/* Its path, also where another of the same name has taken its place. 0, or -1 with errno. */
int pt_self_path(char path[PT_SELF_MAX]);
