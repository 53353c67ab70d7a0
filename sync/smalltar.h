/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tars of our own that are in memory: the Python package, the kit. */
#include <stddef.h>

struct pt_err;

/* A small tar of files and folders, plain or in zstd, into the folder `dir`, which is made when it is not
 * there. Existing files are replaced. */
int pt_unpack_tar(const void *data, size_t size, const char *dir, struct pt_err *err);
