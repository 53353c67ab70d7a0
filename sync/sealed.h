/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Small files of our own that are replaced whole and checked by a digest at their end. */
#include "common/wire.h"

/* Write data and its digest to a temporary file beside path and rename it there; mode 0600. -1 with errno. */
int pt_sealed_write(const char *path, const struct pt_buf *data);
/* Append the data without its digest to out. -1 when there is no such file, or it is not what was written. */
int pt_sealed_read(const char *path, struct pt_buf *out);
