/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* All that is in a file. */
#include "common/wire.h"

struct pt_err;

/* Appends it to out, at most `max` bytes. 0; 1 there is no such file, and err says so too; -1 anything else.
 */
int pt_whole_file(const char *path, size_t max, struct pt_buf *out, struct pt_err *err);
